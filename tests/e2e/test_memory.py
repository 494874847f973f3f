"""What memory is used for, by group, and how near to its limit; and what one agent may send."""
import json
import os
import signal
import socket
import struct
import time

from lib import check, check_equal, chunk, hep3, sip, stored_numbers, wait_until
from test_mirror import capture, on_a_pair
from test_overload import of_call

MIB = 1 << 20
KINDS = ("used", "real_used", "max_used", "limit")


def groups(h):
    """{group: {kind: octets}} of the metrics."""
    found = {}
    for series, value in h.metrics().values.items():
        if series.startswith("heptap_memory_bytes{"):
            group, kind = series.split('"')[1::2]
            found.setdefault(group, {})[kind] = int(value)
    return found


def check_sane(found):
    for group, g in found.items():
        if group == "process":
            check(g["resident"] > MIB, f"resident: {g}")
            continue
        check(g["used"] <= g["max_used"], f"{group}: more than the most: {g}")
        check(g["used"] <= g["real_used"], f"{group}: more than was taken: {g}")
        check("limit" not in g or g["max_used"] <= g["limit"], f"{group}: more than its limit: {g}")


def dump(h):
    """The lines that SIGUSR1 writes: {group: its words}, and the last one."""
    before = len(h.log_text())
    os.kill(h.process.pid, signal.SIGUSR1)
    text = wait_until(lambda: (t := h.log_text()[before:]).endswith("\n") and "resident; `memory` is" in t and t, 10, "the table is in the log")
    lines = [line.split(" info: memory: ")[1] for line in text.splitlines() if " info: memory: " in line]
    check_equal(lines[0].split(), ["KiB", "of", *KINDS], "head of the table")
    return {line.split()[0]: line.split()[1:] for line in lines[1:-1]}, lines[-1]


def test_groups_of_a_server_without_captures(world):
    """Which groups there are, alike in metrics, status and the log; halves of packets in TCP connections come and go, and the most stays."""
    world.database()
    h = world.heptap(listener="max_connections: 100", top="hep_threads: 1")
    at_first = groups(h)
    check_sane(at_first)
    check_equal(set(at_first), {"blocks", "first_copies", "agents", "hep_streams", "http", "process", "calls", "media", "seen"}, "groups")
    check_equal(at_first["agents"]["used"], 0, "agents before any spoke")
    check("limit" not in at_first["http"], "HTTP has a bound on connections, not on octets")
    halves = [h.connect() for _ in range(20)]
    whole = hep3(sip(1, size=40_000))
    for s in halves:
        s.sendall(whole[:30_000])
    full = wait_until(lambda: (g := groups(h))["hep_streams"]["used"] >= at_first["hep_streams"]["used"] + 20 * 40_000 and g, 20, "halves are held")
    check_sane(full)
    for s in halves:
        s.sendall(whole[30_000:])
        s.close()
    h.wait_at_rest(20).check_exact()
    empty = wait_until(lambda: (g := groups(h))["hep_streams"]["used"] == at_first["hep_streams"]["used"] and g, 20, "and let go")
    check_sane(empty)
    check(empty["hep_streams"]["max_used"] >= full["hep_streams"]["used"], f"the most stays: {empty['hep_streams']}")
    check(0 < empty["agents"]["used"] < empty["agents"]["limit"] // 1000, f"one agent: {empty['agents']}")
    check(empty["http"]["max_used"] > 1000, f"answers of HTTP were seen: {empty['http']}")
    check_equal(empty["blocks"]["max_used"] % (empty["blocks"]["limit"] // 64), 0, "blocks are whole ones")

    status = json.loads(h.get("/api/status")[1])["memory"]
    check_equal({g["group"] for g in status["groups"]}, set(empty) - {"process"}, "groups of the status")
    for g in status["groups"]:
        check_equal((g["limit"], g["high"]), (empty[g["group"]].get("limit"), False), f"limit of {g['group']}")
    check(status["resident"] > MIB, "resident memory")
    table, last = dump(h)
    check_equal(set(table), set(empty) - {"process"}, "groups in the log")
    check_equal(table["agents"], [str(empty["agents"][k] >> 10) for k in KINDS] + ["0", "%"], "a line of the table")
    check_equal(table["http"][3], "-", "no limit")
    check(last.endswith("resident; `memory` is 1048576 KiB") and int(last.split()[3]) > 1024, f"the process: {last}")
    check_equal(h.stop(), 0, "exit code")


def test_a_spool_in_memory_is_a_group(world):
    """With durability memory what waits for the database is in memory."""
    db = world.database()
    h = world.heptap(start=False, spool_more=", durability: memory", top="memory: 64M")
    db.stop()
    h.start()
    h.send([hep3(sip(n, size=1000)) for n in range(500)], pause_each=20)
    full = wait_until(lambda: (g := groups(h))["spool"]["used"] >= 500 * 1000 and g, 30, "rows wait in memory")
    check_sane(full)
    check_equal(full["spool"]["limit"], 64 * MIB, "limit")
    check_equal(full["spool"]["max_used"], full["spool"]["used"], "the most")
    check(500 <= full["first_copies"]["used"] < MIB // 16, f"and the first copies of 500 messages are known: {full['first_copies']}")
    db.start()
    h.wait_at_rest(500).check_exact()
    check_equal(h.stop(), 0, "exit code")


def ipv4(body, offset=0, more=False, number=7, proto=17):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), number, more << 13 | offset // 8, 64, proto, 0,
                       socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2"))
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xffff) + (total >> 16)
    return b"\x02" * 12 + b"\x08\x00" + head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xffff) + head[12:] + body


@on_a_pair
def test_what_is_put_together_is_a_group(world):
    """The first fragment of a datagram and the first half of a message over TCP are held until the rest is there."""
    world.database()
    h = world.heptap(top=capture())
    message = sip(1, size=2000)
    datagram = struct.pack(">HHHH", 5060, 5060, len(message) + 8, 0) + message
    segment = struct.pack(">HHIIBBHHH", 40000, 5060, 1000, 1, 0x50, 0x18, 1000, 0, 0)
    rest = struct.pack(">HHIIBBHHH", 40000, 5060, 1000 + 1200, 1, 0x50, 0x18, 1000, 0, 0)
    at_first = groups(h)["reassembly"]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("far", 0))
        wire.send(ipv4(datagram[:1480], more=True))
        half = wait_until(lambda: (g := groups(h)["reassembly"])["used"] > at_first["used"] + 1400 and g, 20, "half of a datagram")
        wire.send(ipv4(segment + message[:1200], number=8, proto=6))
        both = wait_until(lambda: (g := groups(h)["reassembly"])["used"] > half["used"] + 8000 and g, 20, "half of a message over TCP")
        wire.send(ipv4(datagram[1480:], offset=1480))
        wire.send(ipv4(rest + message[1200:], number=9, proto=6))
        m = h.wait_at_rest(2)
        m.check_exact()
    after = wait_until(lambda: (g := groups(h)["reassembly"])["used"] < half["used"] and g, 20, "both are whole")
    check_sane(groups(h))
    check(after["max_used"] >= both["used"], f"the most stays: {after}, before {both}")
    check_equal(stored_numbers(world.db), {1: 2}, "rows")
    check_equal(h.stop(), 0, "exit code")


def test_a_group_near_its_limit_is_told_of_once(world):
    """The disk of the spool is full and blocks pile up: one warning above 80 %, and one line when they are free again."""
    spool = world.folder / "spool"
    disk = world.small_disk(spool, 24)
    db = world.database()
    h = world.heptap(start=False, top="hep_threads: 1\nmemory: 64M", spool=spool, prefix=disk.prefix)
    db.stop()
    h.start()
    sent = 0
    disk.fill()

    def fill():
        nonlocal sent
        h.send([hep3(of_call(f"c{sent + n}", "INVITE", 20_000)) for n in range(20)])
        sent += 20
        wait_until(lambda: (m := h.metrics()).sum("heptap_received_total") + m.sum("heptap_kernel_dropped_total") >= sent, 20, "received")
        disk.fill()  # what a segment gave back
        g = groups(h)["blocks"]
        return g if g["used"] == g["limit"] else None
    full = wait_until(fill, 60, lambda: f"all blocks are taken: {groups(h)}")
    check_equal(full["real_used"], full["limit"], "all of them were used")
    high, low = "memory: blocks had ", "memory: blocks has "
    wait_until(lambda: high in h.log_text(), 10, "a warning")
    check([g["high"] for g in json.loads(h.get("/api/status")[1])["memory"]["groups"] if g["group"] == "blocks"] == [True], "the status says so")
    check(", high" in " ".join(dump(h)[0]["blocks"]) or "high" in dump(h)[0]["blocks"], "and the table")
    fill()
    check_equal((h.log_text().count(high), h.log_text().count(low)), (1, 0), "lines while it is full")
    disk.empty()
    db.start()
    h.wait_at_rest(sent).check_exact()
    wait_until(lambda: low in h.log_text(), 10, "a line when blocks are free again")
    g = groups(h)
    check_sane(g)
    check(g["blocks"]["used"] < g["blocks"]["limit"] // 2 and g["blocks"]["max_used"] == g["blocks"]["limit"], f"the most stays: {g['blocks']}")
    check_equal((h.log_text().count(high), h.log_text().count(low)), (1, 1), "lines in the end")
    check(" warning: " + high in h.log_text(), "it is a warning")
    check_equal(h.stop(), 0, "exit code")


def agents_by_id(h):
    return {a["capture_id"]: a for a in json.loads(h.get("/api/agents")[1])["agents"]}


def test_an_agent_over_its_limit(world):
    """One of two agents sends more than it may: what is above is denied and counted, the other is heard; a reload lifts it."""
    world.database()
    h = world.heptap(listener="max_rate: 50", top="hep_threads: 2")
    begun = time.monotonic()
    with h.connect() as s:
        s.sendall(b"".join(hep3(sip(n), capture_id=1) for n in range(5000)))
        h.send([hep3(sip(10_000 + n), capture_id=2) for n in range(40)])
        m = h.wait_at_rest(5040)
    most = 50 * (int(time.monotonic() - begun) + 2)
    m.check_exact()
    limited = m.sum("heptap_denied_total", reason="limit")
    stored = stored_numbers(world.db)
    check(5000 - most <= limited <= 4950, f"{limited} were denied, at most {most} granted")
    check_equal(sum(1 for n in stored if n < 5000), 5000 - limited, "rows of the first")
    check_equal(sum(1 for n in stored if n >= 10_000), 40, "rows of the second")
    agents = agents_by_id(h)
    check_equal([agents[1][k] for k in ("received", "accepted", "denied", "limited")], [5000, 5000 - limited, limited, limited], "the first")
    check_equal([agents[2][k] for k in ("received", "accepted", "denied", "limited")], [40, 40, 0, 0], "the second")
    line = "hep agents: agent 127.0.0.1/1 sends more than 50 messages a second: what is above is denied"
    check_equal((h.log_text().count(line), h.log_text().count("messages a second")), (1, 1), "lines in the log")

    h.write(listener="max_rate: 0")
    check_equal(h.command("reload").stdout, "reloaded\n", "reload")
    h.send([hep3(sip(20_000 + n), capture_id=1) for n in range(500)], pause_each=50)
    m = h.wait_at_rest(5540)
    m.check_exact()
    check_equal(m.sum("heptap_denied_total", reason="limit"), limited, "denied without a limit")
    check_equal(sum(1 for n in stored_numbers(world.db) if n >= 20_000), 500, "rows without a limit")

    h.write(listener="keys: [k], max_rate: 1".replace(", ", "\n    "))
    check_equal(h.command("reload").returncode, 0, "reload")
    h.send([hep3(sip(30_000 + n), capture_id=3) for n in range(100)], pause_each=50)
    m = h.wait_at_rest(5640)
    h.send([hep3(sip(40_000), capture_id=3, extra=chunk(14, b"k"))])
    m = h.wait_at_rest(5641)
    m.check_exact()
    check_equal((m.sum("heptap_denied_total", reason="key"), m.sum("heptap_denied_total", reason="limit")), (100, limited),
                "who has no key takes nothing of the limit")
    check(40_000 in stored_numbers(world.db), "and who has it is heard")
    check_equal(h.stop(), 0, "exit code")
