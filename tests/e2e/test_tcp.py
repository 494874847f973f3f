"""TCP agents: limits, time-outs, lost framing, many at once, slow storage."""
import os
import resource
import signal
import socket
import struct
import threading
import time

from lib import check, check_equal, check_once, hep3, only_waits, sip, wait_until


def message(number, method="OPTIONS"):
    return hep3(sip(number, method))


def closed_by_server(s, seconds=5):
    s.settimeout(seconds)
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True
    except socket.timeout:
        return False


def closed(h, reason):
    return h.metrics().sum("heptap_connections_closed_total", reason=reason)


def test_lost_framing_costs_the_connection(world):
    """What is no HEP closes the connection and is counted once; what came before is stored, other connections go on."""
    world.database()
    h = world.heptap()
    other = h.connect()
    other.sendall(message(0))
    cases = [(b"INVITE sip:x SIP/2.0\r\n\r\n", "version"), (b"HEP3\0\5rest", "length"), (b"\x02\x10\x02\x11" + b"\0" * 40, "version"),
             (b"\x16\x03\x01 a TLS hello", "version")]
    for n, (junk, reason) in enumerate(cases):
        s = h.connect()
        s.sendall(message(n + 1) + junk + message(99))
        check(closed_by_server(s), f"closed after {junk[:8]}")
        s.close()
    other.sendall(message(50))
    m = h.wait_at_rest(2 + 2 * len(cases))
    m.check_exact()
    check_once(world.db, [0, 1, 2, 3, 4, 50])
    check_equal((m.sum("heptap_malformed_total", reason="version"), m.sum("heptap_malformed_total", reason="length")), (3, 1), "malformed")
    check_equal((closed(h, "framing"), m.sum("heptap_connections")), (4, 1), "closed for their framing, open")
    other.close()


def test_bad_chunks_do_not_cost_the_connection(world):
    """A packet that cannot be read is counted; the next one begins where it says."""
    world.database()
    h = world.heptap()
    with h.connect() as s:
        s.sendall(message(1) + b"HEP3\0\x0c\0\0\0\x0f\0\0" + message(2) + b"HEP3\0\6" + message(3))
        m = h.wait_at_rest(5)
    m.check_exact()
    check_once(world.db, [1, 2, 3])
    check_equal((m.sum("heptap_malformed_total", reason="chunk"), m.sum("heptap_malformed_total", reason="address")), (1, 1), "malformed")


def test_half_a_packet_at_the_end(world):
    """An agent that goes in the middle of a packet: counted once, as partial."""
    world.database()
    h = world.heptap()
    for cut in (1, 5, 6, 40, len(message(0)) - 1):
        with h.connect() as s:
            s.sendall(message(cut)[:] + message(99)[:cut])
    with h.connect() as s:
        s.sendall(message(1000) + message(99)[:100])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        wait_until(lambda: h.metrics().sum("heptap_accepted_total") == 6, 5, "whole packets are taken")
    m = h.wait_at_rest(12)
    m.check_exact()
    check_equal((m.sum("heptap_malformed_total", reason="partial"), closed(h, "end"), closed(h, "error")), (6, 5, 1), "partial, ended, reset")


def test_limit_of_connections(world):
    """More than max_connections are refused over all threads, and there is room again when one goes."""
    world.database()
    h = world.heptap(listener="max_connections: 20", top="hep_threads: 2")
    held = [h.connect() for _ in range(20)]
    wait_until(lambda: h.metrics().sum("heptap_connections") == 20, 5, "20 are open")
    more = [h.connect() for _ in range(10)]
    check(all(closed_by_server(s) for s in more), "ten more are closed")
    check_equal(h.metrics().sum("heptap_connections_refused_total", reason="limit"), 10, "refused")
    for s in held[:5]:
        s.close()
    wait_until(lambda: closed(h, "end") == 5, 5, "five are gone")
    again = [h.connect() for _ in range(5)]
    for n, s in enumerate(held[5:] + again):
        s.sendall(message(n))
    h.wait_at_rest(20).check_exact()
    check_once(world.db, range(20))


def test_allow_list(world):
    """Who is not allowed is not connected; after a reload that takes an address away its records are denied."""
    world.database()
    h = world.heptap(listener="allow: [127.0.0.1, 127.0.0.2]")
    s = h.connect("127.0.0.2")
    s.sendall(message(1))
    stranger = h.connect("127.0.0.3")
    check(closed_by_server(stranger), "a stranger is closed")
    h.wait_at_rest(1)
    h.write(listener="allow: [127.0.0.1]")
    check_equal(h.command("reload").returncode, 0, "reload")
    s.sendall(message(2))
    m = h.wait_at_rest(2)
    m.check_exact()
    check_equal((m.sum("heptap_denied_total", reason="allow"), m.sum("heptap_connections_refused_total", reason="allow")), (1, 1), "denied, refused")
    check_once(world.db, [1])


def test_time_outs(world):
    """No first packet, half a packet, silence: each closes the connection under its own name, and whoever speaks in time stays."""
    world.database()
    h = world.heptap(listener="first_message_timeout: 2\n    message_timeout: 1\n    idle_timeout: 4")
    silent, half, speaker, drop_by_drop = h.connect(), h.connect(), h.connect(), h.connect()
    half.sendall(message(1) + message(2)[:50])
    begun = time.monotonic()
    while time.monotonic() - begun < 3.5:
        speaker.sendall(message(3))
        drop_by_drop.sendall(b"H" if time.monotonic() - begun < 0.1 else b"")
        time.sleep(0.3)
    m = h.metrics()
    check_equal([closed(h, r) for r in ("first_message", "message", "idle")], [1, 2, 0], "closed so far")
    check_equal(m.sum("heptap_connections"), 1, "the one that speaks is open")
    check(closed_by_server(speaker, 8), "silence closes it too")
    check_equal(closed(h, "idle"), 1, "as idle")
    silent.close()
    h.wait_at_rest(0).check_exact()


def test_dead_hosts_are_found_by_the_kernel(world):
    """Each connection has its keep-alive timer, since nothing that we send would tell."""
    world.database()
    h = world.heptap()
    with h.connect() as s:
        s.sendall(message(1))
        h.wait_at_rest(1)
        with open("/proc/net/tcp") as f:
            lines = [line.split() for line in f.readlines()[1:]]
        timers = [x[5].split(":")[0] for x in lines if x[1].endswith(f":{h.port:04X}") and x[3] == "01"]
        check_equal(timers, ["02"], "timers of the established connection (02: keep-alive)")


def test_two_hundred_agents_at_once(world):
    """Each with packets cut anywhere, interleaved: every message once."""
    world.database()
    h = world.heptap(top="hep_threads: 2")
    streams = [(h.connect(), bytearray(b"".join(message(k * 50 + n) for n in range(50)))) for k in range(200)]
    piece = 1
    while streams:
        for s, left in streams:
            piece = piece * 75 % 1009
            s.sendall(left[:piece])
            del left[:piece]
        for s, left in streams:
            if not left:
                s.close()
        streams = [x for x in streams if x[1]]
    m = h.wait_at_rest(10000)
    m.check_exact()
    check_once(world.db, range(10000))
    check_equal(m.sum("heptap_connections_total"), 200, "connections")


def test_storm_of_short_connections(world):
    """3,000 connections with one message each leave neither memory nor descriptors behind."""
    world.database()
    h = world.heptap()
    def burst(first, count):
        for n in range(first, first + count):
            with h.connect() as s:
                s.sendall(message(n))
        h.wait_at_rest(first + count)
        return memory(h.process.pid), len(os.listdir(f"/proc/{h.process.pid}/fd"))
    before = burst(0, 1000)
    after = burst(1000, 2000)
    check(after[1] <= before[1] + 2, f"descriptors: {before[1]}, then {after[1]}")
    check(after[0] < before[0] + 4 << 20, f"memory: {before[0]}, then {after[0]}")
    check_once(world.db, range(3000))
    h.metrics().check_exact()


def memory(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


@only_waits
def test_slow_storage_slows_agents_for_a_moment(world):
    """The spool is full and the database down: TCP agents are not read for two seconds, then read and shed; nothing is unaccounted."""
    world.database()
    h = world.heptap(top="memory: 64M", spool_more="", storage="batch_rows: 1000")
    h.stop()
    h.file.write_text(h.file.read_text().replace("max: 4G", "max: 16M"))
    world.db.kill(signal.SIGSTOP)
    try:
        h.start(wait=False)
        wait_until(lambda: "ready" in h.log_text().rsplit("stopped:", 1)[-1], 20, "heptap runs")
        big = hep3(sip(1, "INVITE", 20000))
        sent = {"octets": 0, "longest": 0.0, "last": time.monotonic()}
        stop = threading.Event()
        def pour():
            with h.connect() as s:
                while not stop.is_set():
                    begun = time.monotonic()
                    s.sendall(big * 20)
                    sent["longest"] = max(sent["longest"], time.monotonic() - begun)
                    sent["octets"] += len(big) * 20
        t = threading.Thread(target=pour)
        t.start()
        wait_until(lambda: h.metrics().sum("heptap_shed_total") > 2000, 60, "messages are shed")
        m = h.metrics()
        m.check_no_negative()
        stop.set()
        t.join(20)
        check(1.0 < sent["longest"] < 6, f"the agent was held for {sent['longest']:.1f} s at most")
        check_equal(m.sum("heptap_shed_total", **{"class": "5"}), m.sum("heptap_shed_total"), "class of an INVITE")
    finally:
        world.db.kill(signal.SIGCONT)
    m = h.wait_at_rest(sent["octets"] // len(big), 120)
    m.check_exact()
    check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture"), m.sum("heptap_accepted_total"), "stored")


def test_end_with_open_connections(world):
    """SIGTERM: what lies in the sockets is stored, half a packet is counted, connections are closed."""
    world.database()
    h = world.heptap()
    held = [h.connect() for _ in range(50)]
    for n, s in enumerate(held):
        s.sendall(message(n) + message(n + 100) + (message(999)[:30] if n < 10 else b""))
    check_equal(h.stop(), 0, "exit code")
    check(all(closed_by_server(s) for s in held), "all are closed")
    check_once(world.db, [*range(50), *range(100, 150)])
    check("110 messages received, 100 accepted" in h.log_text(), "the report: " + h.log_text()[-300:])
