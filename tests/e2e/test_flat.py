"""Memory that stays where it is: minutes of load, for `make soak`; and a short version of it."""
import os
import pathlib
import re
import struct
import subprocess
import threading
import time

from lib import ROOT, check, check_equal, hep3, only_waits

SENDER = ROOT / "build/release/tests/bench/bench_send"
BUILDING = threading.Lock()  # tests run side by side
TEMPLATE = ("{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.net>\r\n"
            "Call-ID: 0000000000\r\nCSeq: 1 INVITE\r\nUser-Agent: flat\r\nContent-Length: 0\r\n\r\n")


# tables touch their places as these are first used: with few of them that is over before the first third is
SMALL_TABLES = "hep_threads: 1\ntables: { calls: 4096, media: 4096, seen: 4096 }"


def packets(folder):
    """A request and its reply, as the sender reads them."""
    path = folder / "packets"
    with open(path, "wb") as out:
        for start in ("INVITE sip:bob@example.net SIP/2.0", "SIP/2.0 200 OK"):
            packet = hep3(TEMPLATE.format(start=start).encode())
            out.write(struct.pack("=I", len(packet)) + packet)
    return path


def sender():
    with BUILDING:
        if not SENDER.exists():
            subprocess.run(["make", "-s", "-C", str(ROOT), "build/release/tests/bench/bench_send"], check=True)
    return str(SENDER)


def resident(pid):
    return int(re.search(r"RssAnon:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def flat_messages(world, total, rate):
    world.database(["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=1G"])
    h = world.heptap(top=SMALL_TABLES)
    world.db.query("ALTER TABLE sip_capture DROP KEY ruri_user, DROP KEY from_user, DROP KEY to_user, DROP KEY pid_user, DROP KEY auth_user, "
                   "DROP KEY callid_aleg")  # the database is not what is looked at
    path = packets(world.folder)
    load = subprocess.Popen([sender(), str(path), str(h.port), str(total), str(rate), "calls"], stdout=subprocess.PIPE)
    sizes = []
    while load.poll() is None:
        time.sleep(0.5)
        sizes.append((h.metrics().sum("heptap_received_total"), resident(h.process.pid)))
    check_equal(load.wait(), 0, "the sender")
    m = h.wait_at_rest(total, 300)
    m.check_exact()
    taken = m.sum("heptap_accepted_total")
    check(taken > 0.99 * total, f"{taken} of {total} taken, {m.sum('heptap_kernel_dropped_total')} dropped by the kernel")
    check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture"), taken, "rows")
    warm = max(size for seen, size in sizes if seen < total * 0.3)
    end = max(size for seen, size in sizes if seen > total * 0.7)
    print(f"        {taken} messages of {world.db.number('SELECT COUNT(DISTINCT callid) FROM sip_capture')} Call-IDs at {rate}/s: "
          f"{warm:.1f} MiB in the first third, {end:.1f} MiB in the last")
    check(end < warm + 4, f"memory grew from {warm:.1f} to {end:.1f} MiB")
    check_equal(h.stop(), 0, "exit code")


def flat_connections(world, total, rate):
    world.database(["--innodb-flush-log-at-trx-commit=2"])
    h = world.heptap(top=SMALL_TABLES)
    path = packets(world.folder)
    sizes, before = [], descriptors(h.process.pid)
    load = subprocess.Popen([sender(), str(path), str(h.port), str(total), str(rate), "tcp:1"], stdout=subprocess.PIPE)
    while load.poll() is None:
        time.sleep(0.5)
        sizes.append((h.metrics().sum("heptap_received_total"), resident(h.process.pid)))
    check_equal(load.wait(), 0, "the sender")
    m = h.wait_at_rest(total, 120)
    m.check_exact()
    check_equal(m.sum("heptap_accepted_total"), total, "messages")
    check(m.sum("heptap_connections_total") >= total and m.sum("heptap_connections") <= 1, "connections")
    warm = max(size for seen, size in sizes if seen < total * 0.3)
    end = max(size for seen, size in sizes if seen > total * 0.7)
    after = descriptors(h.process.pid)  # how many are open meanwhile is up to the load of the machine
    print(f"        {total} connections of one message: {warm:.1f} MiB in the first third, {end:.1f} MiB in the last; "
          f"{before} descriptors before, {after} after")
    check(end < warm + 2, f"memory grew from {warm:.1f} to {end:.1f} MiB")
    check(after <= before + 5, f"descriptors grew from {before} to {after}")
    check_equal(h.stop(), 0, "exit code")


@only_waits
def test_flat_over_many_calls(world):
    """The short version: 100,000 messages of 10,000 Call-IDs a second."""
    flat_messages(world, 100_000, 20_000)


@only_waits
def test_flat_over_many_connections(world):
    flat_connections(world, 5_000, 2_500)


def soak_five_million_messages(world):
    """5 million messages, 10,000 Call-IDs a second."""
    flat_messages(world, 5_000_000, 20_000)


def soak_hundred_thousand_connections(world):
    """100,000 TCP connections of one message."""
    flat_connections(world, 100_000, 2_500)
