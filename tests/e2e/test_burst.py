"""Many messages at once: what is not stored is a number."""
import multiprocessing
import socket

from lib import check, check_equal, hep3, only_waits, sip, stored_numbers, wait_until

BURST = 200_000


def send_burst(port, first, count):
    template = hep3(sip(10_000_000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", port))
        for n in range(first, first + count):
            number = str(10_000_000 + n).encode()
            s.send(template.replace(b"10000000", number))


def seen(m):
    return m.sum("heptap_received_total") + m.sum("heptap_kernel_dropped_total")


def burst(world, count, **settings):
    db = world.database()
    h = world.heptap(**settings)
    sender = multiprocessing.Process(target=send_burst, args=(h.port, 0, count))
    sender.start()
    reads = 0
    while reads < 100:
        h.metrics().check_no_negative()
        reads += 1
    sender.join()
    m = h.wait_at_rest(count, 300)
    m.check_exact()
    got = stored_numbers(db)
    lost = m.sum("heptap_kernel_dropped_total") + m.sum("heptap_shed_total") + m.sum("heptap_lost_total")
    check_equal(max(got.values()), 1, "times each is stored")
    check_equal(len(got) + lost, count, "stored and counted losses")
    check_equal(len(got), m.sum("heptap_stored_total"), "rows and their counter")
    check_equal(sum(v for s, v in m.values.items() if s == "heptap_store_latency_seconds_count"), len(got), "rows in the histogram")
    check_equal(h.stop(), 0, "exit code")
    print(f"        {count} sent, {len(got)} stored, {lost} counted losses, {reads} consistent reads of /metrics")


def test_burst_of_200000(world):
    """200,000 numbered messages as fast as they can be sent: sent = stored + counted losses, /metrics consistent all along."""
    burst(world, BURST)


def test_small_receive_buffer_drops_are_counted(world):
    """A reader that is stopped for a moment: the kernel drops, and every drop is counted though no datagram follows it."""
    import os
    import signal
    db = world.database()
    h = world.heptap()
    os.kill(h.process.pid, signal.SIGSTOP)
    send_burst(h.port, 0, 30_000)
    os.kill(h.process.pid, signal.SIGCONT)
    m = h.wait_at_rest(30_000, 60)
    m.check_exact()
    dropped = m.sum("heptap_kernel_dropped_total")
    check(dropped > 0, "the buffer was large enough for 30,000 datagrams: nothing was tested")
    check_equal(len(stored_numbers(db)) + dropped, 30_000, "stored and dropped")
    h.stop()


@only_waits
def test_full_spool_sheds_and_counts(world):
    """The spool is full and the database away: receiving goes on, what has no room is counted by class, the rest arrives."""
    db = world.database()
    h = world.heptap(start=False, top="memory: 64M\nhep_threads: 1")
    h.file.write_text(h.file.read_text().replace("max: 4G", "max: 16M"))
    db.stop()
    h.start()
    sent = 60_000
    for first in range(0, sent, 2000):
        h.send([hep3(sip(n, method="INVITE" if n % 2 else "OPTIONS", size=900)) for n in range(first, first + 2000)])
        wait_until(lambda: seen(h.metrics()) >= first + 2000, 60, "received")
    m = h.metrics()
    check(m.sum("heptap_shed_total", reason="spool", **{"class": "5"}) > 0, "INVITEs are shed under class 5")
    check(m.sum("heptap_shed_total", reason="spool", **{"class": "2"}) > 0, "OPTIONS are shed under class 2")
    check_equal(m.sum("heptap_spool_ok"), 0, "heptap_spool_ok")
    check_equal(h.get("/readyz")[0], 503, "not ready: neither stores nor spools")
    check_equal(h.log_text().count("cannot take more"), 1, "lines about the spool")
    db.start()
    m = h.wait_at_rest(sent, 120)
    m.check_exact()
    got = stored_numbers(db)
    check_equal(max(got.values()), 1, "times each is stored")
    check_equal(len(got) + m.sum("heptap_shed_total") + m.sum("heptap_kernel_dropped_total"), sent, "stored and counted losses")
    h.stop()
