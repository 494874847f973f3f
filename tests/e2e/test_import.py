"""heptap import: capture files into the database, each message once, and every packet of them in the sums."""
import itertools
import os
import pathlib
import pty
import re
import signal
import socket
import struct
import subprocess
import threading
import time

from lib import FIXTURES, Skip, check, check_equal, check_once, expected, hep3, pcap_frames, release_only, sip, stored_numbers, wait_until
from test_corpus import RTCP, check_rows, compare_reports, stored_rows

SIP_FIXTURES = sorted((FIXTURES / "sip").glob("*.pcap*"))
PORTS = {"sample-sngrep-ipip": "5060,5090", "sample-sngrep-ipv6frag": "5060,5062"}  # where theirs is


# ---- files ----

def frame(payload, src="192.0.2.1", dst="192.0.2.2", ports=(5060, 5060), link=1):
    """A UDP datagram over IPv4, in Ethernet or bare."""
    udp = struct.pack(">4H", *ports, len(payload) + 8, 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, len(udp) + 20, 0, 0, 64, 17, 0, socket.inet_aton(src), socket.inet_aton(dst)) + udp
    return bytes(12) + b"\x08\x00" + ip if link == 1 else ip


def pcap_head(order="<", nano=False, link=1):
    return struct.pack(order + "IHHiIII", 0xa1b23c4d if nano else 0xa1b2c3d4, 2, 4, 0, 0, 262144, link)


def pcap_record(ts_us, data, order="<", nano_rest=None, wire=None):
    part = ts_us % 1_000_000 if nano_rest is None else ts_us % 1_000_000 * 1000 + nano_rest
    return struct.pack(order + "4I", ts_us // 1_000_000, part, len(data), wire or len(data)) + data


def ng_block(kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def ng_interface(link, resolution):
    return ng_block(1, struct.pack("<HHI", link, 0, 0) + struct.pack("<HHB3x", 9, 1, resolution) + struct.pack("<HH", 0, 0))


def ng_packet(interface, ticks, data):
    return ng_block(6, struct.pack("<5I", interface, ticks >> 32, ticks & 0xffffffff, len(data), len(data)) + data)


NG_SECTION = ng_block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1))


def now_us():
    return int(time.time()) * 1_000_000


def numbered(path, numbers, ts_us=None, each_us=1000):
    """A file of a request for each number; all records have the same length. @return that length."""
    begin = now_us() if ts_us is None else ts_us
    records = [pcap_record(begin + i * each_us, frame(sip(f"{n:08}"))) for i, n in enumerate(numbers)]
    path.write_bytes(pcap_head() + b"".join(records))
    check_equal(len({len(r) for r in records}), 1, "lengths of records")
    return len(records[0])


# ---- the command ----

class Sums:
    """What a summary says: each line adds up."""

    def __init__(self, out):
        self.text = out
        for name in ("packets", "messages", "rows"):
            left, parts = re.search(rf"^{name}: (.*?) = (.*)$", out, re.M).groups()
            values = {words: int(number) for number, words in re.findall(r"(\d+) ([a-zA-Z ]+?)(?: \+|$)", parts)}
            check_equal(sum(map(int, re.findall(r"\d+", left))), sum(values.values()), f"{name}: both sides of {left} = {parts}")
            setattr(self, name, {"all": int(left.split()[0]), **values})
        self.not_for_us, self.incomplete = self.reasons("not for us"), self.reasons("incomplete")
        check_equal(sum(self.not_for_us.values()), self.packets["not for us"], "reasons of not for us")
        check_equal(sum(self.incomplete.values()), self.packets["incomplete"], "reasons of incomplete")

    def reasons(self, name):
        line = re.search(rf"^{name}: (.*)$", self.text, re.M)
        return {reason: int(number) for reason, number in (part.split() for part in line[1].split(", "))} if line else {}


def sums_of(done, code=0):
    check_equal(done.returncode, code, f"exit code; {done.stdout}{done.stderr}")
    return Sums(done.stdout)


def run_import(h, *words, code=0):
    done = h.command("import", *map(str, words))
    return sums_of(done, code), done.stderr


def start(h, *words, **more):
    return subprocess.Popen([h.binary, "import", *map(str, words), "-c", str(h.file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=h.folder,
                            **more)


class Running:
    """An import that goes on, and what it says meanwhile."""

    def __init__(self, h, *words, **more):
        self.process = start(h, *words, **more)
        self.said = ""
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.said += line.decode()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def end(self, code, seconds=60):
        out = self.process.stdout.read().decode()
        try:
            got = self.process.wait(seconds)
        finally:
            self.process.kill()
        self.reader.join()
        check_equal(got, code, f"exit code; {out}{self.said}")
        return Sums(out)


def world_of(world, **settings):
    world.database()
    return world.heptap(start=False, **settings)


def count(db):
    return db.number("SELECT COUNT(*) FROM sip_capture")


# ---- recorded traffic ----

def test_recorded_sip(world):
    """Each capture of SIP: the rows are those that an independent decoder expects, in their order; every packet is in the sums."""
    h = world_of(world)
    for path in SIP_FIXTURES:
        name = path.name.split(".")[0]
        wanted = expected(path.with_suffix("").with_suffix(".expected.jsonl"))
        world.db.query("TRUNCATE sip_capture")
        s, _ = run_import(h, path, *(["--ports", PORTS[name]] if name in PORTS else []))
        try:
            check_rows(stored_rows(world), wanted)
            check_equal(s.packets["all"], len(list(pcap_frames(path))), "packets")
            messages = len(wanted) + RTCP.get(name, 0)
            check_equal(s.messages, {"all": messages, "accepted": messages, "not SIP": 0, "malformed": 0}, "messages")
            check_equal(s.packets["incomplete"], 0, "incomplete")
            check_equal(s.rows["stored"], messages, "stored")
        except Exception as error:
            raise type(error)(f"{path.name}: {error}") from error


def test_recorded_hep(world):
    """HEP that was on its way to another collector, in captures of UDP and TCP: rows of what is inside."""
    h = world_of(world, top="duplicates: { window: 0 }")  # one was recorded in three places
    for path in sorted((FIXTURES / "hep").glob("*.pcap*")):
        name = path.name.split(".")[0]
        if name == "kamailio-v3-torture":  # what its decoder made of these is no measure; test_corpus has them
            continue
        lines = expected(path.with_suffix("").with_suffix(".expected.jsonl"))
        messages = [e for e in lines if e["hep"]["proto_type"] == 1 and "kind" in e]
        for table in ("sip_capture", "rtcp_capture", "logs_capture", "report_capture"):
            world.db.query(f"TRUNCATE {table}")
        s, _ = run_import(h, path, "--hep-ports=9060")
        try:
            check_rows(stored_rows(world), messages)
            compare_reports(world, lines)
            check_equal((s.messages["all"], s.messages["not SIP"], s.messages["malformed"]),
                        (len(lines), sum(e["hep"]["proto_type"] == 1 and "kind" not in e for e in lines), 0), "messages")
        except Exception as error:
            raise type(error)(f"{path.name}: {error}") from error


def test_files_in_order(world):
    """Several files are read as one: a TCP stream and a datagram in fragments go on in the next file, and ids ascend."""
    h = world_of(world)
    for name, at in (("direct-tcp", 30), ("kamailio-proxy-large", 4), ("direct-udp", 7)):
        path = FIXTURES / "sip" / f"{name}.pcap"
        world.db.query("TRUNCATE sip_capture")
        data, cut = path.read_bytes(), 24
        for _ in range(at):
            cut += 16 + struct.unpack("<I", data[cut + 8:cut + 12])[0]
        first, second = world.folder / "1.pcap", world.folder / "2.pcap"
        first.write_bytes(data[:cut])
        second.write_bytes(data[:24] + data[cut:])
        wanted = expected(path.with_suffix(".expected.jsonl"))
        s, _ = run_import(h, first, second)
        check_equal(s.packets["all"], len(list(pcap_frames(path))), f"{name}: packets")
        check_rows(stored_rows(world), wanted)


# ---- what files look like ----

def test_pcapng_with_several_interfaces(world):
    """Frames of two link types and two resolutions in one file: each with its own time."""
    h = world_of(world)
    begin = now_us()
    path = world.folder / "two.pcapng"
    blocks = [NG_SECTION, ng_interface(1, 6), ng_interface(101, 9)]
    for n in range(100):
        ts = begin + n * 1000 + 7
        blocks.append(ng_packet(1, ts * 1000 + 999, frame(sip(n), link=101)) if n % 2 else ng_packet(0, ts, frame(sip(n))))
        blocks.append(ng_block(5, struct.pack("<III", n % 2, 0, 0)))  # statistics of an interface
    path.write_bytes(b"".join(blocks))
    s, _ = run_import(h, path)
    check_equal((s.packets["all"], s.packets["carriers"], s.rows["stored"]), (100, 100, 100), s.text)
    rows = world.db.query("SELECT callid, micro_ts FROM sip_capture ORDER BY id")
    check_equal([(r[0].decode(), int(r[1])) for r in rows], [(f"n{n}@heptap.test", begin + n * 1000 + 7) for n in range(100)], "rows")


def test_nanoseconds_and_byte_orders(world):
    """Each of the four kinds of pcap: times to the microsecond."""
    h = world_of(world)
    begin = now_us()
    kinds = list(itertools.product("<>", (False, True)))
    files = []
    for at, (order, nano) in enumerate(kinds):
        files.append(world.folder / f"{at}.pcap")
        files[-1].write_bytes(pcap_head(order, nano) + b"".join(
            pcap_record(begin + at * 1000 + n, frame(sip(at * 10 + n)), order, 999 if nano else None) for n in range(10)))
    s, _ = run_import(h, *files)
    check_equal(s.rows["stored"], 40, s.text)
    rows = world.db.query("SELECT micro_ts FROM sip_capture ORDER BY id")
    check_equal([int(r[0]) for r in rows], [begin + at * 1000 + n for at in range(4) for n in range(10)], "times")


def test_cut_frames(world):
    """Frames that were cut by a snap length are incomplete; the others are stored."""
    h = world_of(world)
    path = world.folder / "snap.pcap"
    whole = [frame(sip(n, size=n % 3 * 400)) for n in range(90)]
    path.write_bytes(pcap_head() + b"".join(pcap_record(now_us(), f[:600], wire=len(f)) for f in whole))
    left = [n for n in range(90) if len(whole[n]) <= 600]
    check(0 < len(left) < 90, "some are cut")
    s, _ = run_import(h, path)
    check_equal((s.packets["all"], s.incomplete, s.rows["stored"]), (90, {"snap": 90 - len(left)}, len(left)), s.text)
    check_once(world.db, left)


def test_damaged_files(world):
    """What is before the damage is stored, a line says where it is, the files behind it are read; the exit code is 1."""
    h = world_of(world)
    torn, odd, good = (world.folder / name for name in ("torn.pcap", "odd.pcap", "good.pcap"))
    step = numbered(torn, range(20))
    torn.write_bytes(torn.read_bytes()[:24 + 11 * step + 100])
    numbered(odd, range(20, 40))
    data = bytearray(odd.read_bytes())
    data[24 + 5 * step + 8:24 + 5 * step + 12] = b"\xff\xff\xff\x7f"
    odd.write_bytes(data)
    numbered(good, range(40, 50))
    s, said = run_import(h, torn, odd, good, code=1)
    check_equal((s.packets["all"], s.rows["stored"]), (26, 26), s.text)
    check(f"heptap: {torn}: packet 12, octet {24 + 11 * step}: ends within a packet" in said, said)
    check(f"heptap: {odd}: packet 6, octet {24 + 5 * step}: a packet of impossible length" in said, said)
    check_once(world.db, [*range(11), *range(20, 25), *range(40, 50)])


def test_words_and_files_that_cannot_be(world):
    """Nothing is stored when a word, a file or the database is wrong, and it is said what."""
    h = world_of(world)
    good, text = world.folder / "good.pcap", world.folder / "text"
    numbered(good, range(10))
    text.write_text("no capture file\n" * 10)
    (world.folder / "empty").touch()

    def refused(code, words, *arguments):
        done = h.command("import", *map(str, arguments))
        check_equal((done.returncode, words in done.stderr, done.stdout), (code, True, ""), f"{arguments}: {done.stderr}")

    refused(2, "takes capture files")
    refused(2, "no such option: --port", "--port", "5060", good)
    refused(2, "--ports takes a value", good, "--ports")
    for ports in ("0", "65536", "5060,", "sip", "5060;5061", ",".join(["5060"] * 65)):
        refused(2, "--ports takes up to 64 ports", "--ports", ports, good)
    refused(2, "--bpf: ", "--bpf", "udp prot 5060", good)
    refused(2, "--from takes", "--from", "0", good)
    refused(2, "standard input can be read once", "-", "-")
    refused(1, "none: No such file", good, world.folder / "none")
    refused(1, "Is a directory", good, world.folder)
    refused(1, "text: not a capture file", good, text)
    refused(1, "empty: empty", good, world.folder / "empty")
    world.db.stop()
    refused(3, "the database cannot be reached", good)
    world.db.start()
    check_equal(count(world.db), 0, "rows")


# ---- what is looked at ----

def test_ports_and_filters(world):
    """Ports by default, of the configuration's first source, of the command; a filter instead of them."""
    h = world_of(world)
    path = world.folder / "ports.pcap"
    frames = [(5060, sip(1)), (5061, sip(2)), (5070, sip(3)), (5080, sip(4)), (5060, b"\x80\x00" + bytes(40)), (5060, b"\r\n\r\n"),
              (5060, b"no SIP at all"), (9060, hep3(sip(5)))]
    path.write_bytes(pcap_head() + b"".join(pcap_record(now_us(), frame(p, ports=(port, 40000))) for port, p in frames)
                     + pcap_record(now_us(), bytes(12) + b"\x08\x06" + bytes(28)))

    def stored(wanted, not_for_us, *words):
        s, _ = run_import(h, path, *words)
        check_once(world.db, wanted)
        check_equal((s.packets["all"], s.not_for_us), (9, not_for_us), f"{words}: {s.text}")
        check_equal(s.messages["accepted"], len(wanted), "accepted")
        world.db.query("TRUNCATE sip_capture")
        return s

    s = stored([1, 2], {"not_ip": 1, "port": 3, "content": 1, "keep_alive": 1})
    check_equal(s.messages["not SIP"], 1, "not SIP")
    stored([1, 2, 5], {"not_ip": 1, "port": 2, "content": 1, "keep_alive": 1}, "--hep-ports", "9060")
    stored([3, 4], {"not_ip": 1, "port": 6}, "--ports", "5070,5080")
    stored([4], {"filter": 8}, "--bpf", "udp port 5080")
    h.write(top="capture: [{ name: mirror, interface: lo, ports: [5070], hep_ports: [9060] }, { name: other, interface: lo, ports: [5080] }]")
    stored([3, 5], {"not_ip": 1, "port": 6})
    stored([4, 5], {"not_ip": 1, "port": 6}, "--ports=5080")
    h.write(top="capture: [{ name: mirror, interface: lo, bpf: 'udp and (port 5070 or port 5060)' }]")
    stored([1, 3], {"filter": 4, "content": 1, "keep_alive": 1})
    stored([4], {"not_ip": 1, "port": 7}, "--ports=5080")


def test_filter_by_link_type(world):
    """A filter is compiled for each link type of a file; where it means nothing, no packet is taken, and that is said."""
    h = world_of(world)
    path = world.folder / "two.pcapng"
    blocks = [NG_SECTION, ng_interface(1, 6), ng_interface(101, 6)]
    for n in range(20):
        blocks.append(ng_packet(n % 2, now_us(), frame(sip(n), link=101 if n % 2 else 1)))
    path.write_bytes(b"".join(blocks))
    s, said = run_import(h, path, "--bpf", "udp dst port 5060")
    check_equal((s.rows["stored"], said), (20, said), s.text)
    world.db.query("TRUNCATE sip_capture")
    s, said = run_import(h, path, "--bpf", "ether host 00:00:00:00:00:00")
    check_equal((s.rows["stored"], s.not_for_us), (10, {"filter": 10}), s.text)
    check_equal(said.count("the filter cannot be compiled for link type"), 1, said)


# ---- times ----

def test_old_days(world):
    """Times in a file are kept, however old: rows are in p_past, or in the table of their day, or in that of days over a year ago."""
    h = world_of(world)
    path = world.folder / "old.pcap"
    numbered(path, range(10), ts_us=1_420_070_400_000_000)  # 2015-01-01
    s, _ = run_import(h, path)
    check_equal(s.rows["stored"], 10, s.text)
    check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture PARTITION (p_past) WHERE micro_ts DIV 10000000 = 142007040 AND "
                                "date = FROM_UNIXTIME(micro_ts DIV 1000000)"), 10, "rows of that day")
    daily = world.heptap("daily", install=False, start=False, database="daily", storage="layout: homer5")
    daily.install()
    month = world.folder / "month.pcap"
    midnight = now_us() // 86_400_000_000 * 86_400_000_000 - 30 * 86_400_000_000
    numbered(month, range(10, 30), ts_us=midnight - 10_000)  # ten before midnight, ten from there on
    s, said = run_import(daily, path, month)
    check_equal(s.rows["stored"], 30, s.text)
    check("older than storage.retention_days (10)" in said, said)
    days = [time.strftime("%Y%m%d", time.gmtime(midnight // 1_000_000 - before)) for before in (1, 0)]
    for table in ("past", *days):
        check_equal(int(world.db.query(f"SELECT COUNT(*) FROM sip_capture_rest_{table}", "daily")[0][0]), 10, f"rows of {table}")


def test_statistics(world):
    """They are counted as of messages that an agent sends, in the five minutes of the packets."""
    h = world_of(world)
    run_import(h, FIXTURES / "sip" / "direct-udp.pcap")
    lines = expected(FIXTURES / "sip" / "direct-udp.expected.jsonl")
    times = sorted(int(e["ts"].split(".")[0]) for e in lines)
    rows = world.db.query("SELECT UNIX_TIMESTAMP(from_date), SUM(total) FROM stats_method WHERE method = 'ALL' GROUP BY 1 ORDER BY 1")
    check_equal(sum(int(r[1]) for r in rows), len(lines), "messages counted")
    check_equal([int(r[0]) for r in rows], sorted({t // 300 * 300 for t in times}), "their five minutes")


# ---- pipes ----

def test_standard_input(world):
    """From a pipe: rows are stored while it is open, and the sums are told at its end."""
    h = world_of(world)
    p = start(h, "-", stdin=subprocess.PIPE)
    begin = now_us()
    p.stdin.write(pcap_head())
    for n in range(5):
        p.stdin.write(pcap_record(begin + n, frame(sip(n))))
        p.stdin.flush()
        wait_until(lambda: count(world.db) == n + 1, 20, f"message {n} is stored while the pipe is open")
    p.stdin.write(pcap_record(begin, frame(sip(5)))[:100])
    out, err = p.communicate(timeout=30)
    s = Sums(out.decode())
    check_equal((p.returncode, s.packets["all"], s.rows["stored"]), (1, 5, 5), s.text)
    check(b"standard input: packet 6, octet" in err and b"ends within a packet" in err, err)


def test_interrupted_pipe(world):
    """Ctrl-C while nothing comes, in front of the first packet too: what came is stored."""
    h = world_of(world)
    for first in (b"", pcap_head(), pcap_head() + pcap_record(now_us(), frame(sip(1)))):
        p = start(h, "-", stdin=subprocess.PIPE)
        p.stdin.write(first)
        p.stdin.flush()
        ready = len(first) > 24
        wait_until(lambda: count(world.db) == 1 if ready else is_reading(p.pid), 20, "it waits for the pipe")
        p.send_signal(signal.SIGINT)
        check_equal(p.wait(30), 3, "exit code")
        err = p.stderr.read().decode()
        check("standard input: interrupted before" in err, err)
        check_equal(Sums(p.stdout.read().decode()).rows["stored"], int(ready), "rows")
        p.stdin.close()


def is_reading(pid):
    """Is its first thread in read(2), poll(2) or ppoll(2), on x86 or ARM, with the threads of an import beside it?"""
    names = {(t / "comm").read_text().strip() for t in pathlib.Path(f"/proc/{pid}/task").iterdir()}
    where = pathlib.Path(f"/proc/{pid}/task/{pid}/syscall").read_text().split()[0]
    return "ht-spool" in names and where in ("0", "7", "271", "63", "73")


# ---- large files ----

@release_only
def test_a_million_packets(world):
    """SIP among RTP: exact sums, plain lines where there is no terminal, and no more memory than `memory`."""
    h = world_of(world, top="memory: 128M")
    path = world.folder / "million.pcap"
    begin = now_us()
    media = [frame(b"\x80\x00" + bytes(58), ports=(20000 + n, 30000)) for n in range(49)]
    with open(path, "wb") as f:
        f.write(pcap_head())
        for n in range(20_000):
            f.write(pcap_record(begin + n * 1000, frame(sip(n))) + b"".join(pcap_record(begin + n * 1000, m) for m in media))
    p = start(h, path)
    out, err = p.communicate(timeout=120)
    s = Sums(out.decode())
    check_equal((p.returncode, s.packets, s.not_for_us, s.rows["stored"]),
                (0, {"all": 1_000_000, "carriers": 20_000, "not for us": 980_000, "incomplete": 0}, {"port": 980_000}, 20_000), s.text)
    size = path.stat().st_size / (1 << 20)
    last = re.findall(r"^ *(\d+) %  (\d+) packets  (\d+)/s  ([\d.]+) of ([\d.]+) MiB  \d+:\d\d left$", err.decode(), re.M)[-1]
    check_equal((last[0], last[1], last[3], last[4]), ("100", "1000000", f"{size:.1f}", f"{size:.1f}"), err)
    check("\r" not in err.decode() and "\033" not in err.decode(), "plain lines")
    check_once(world.db, range(20_000))


@release_only
def test_memory_is_bounded(world):
    """A file of far more rows than fit in `memory`: the reader waits for the database, nothing is shed."""
    h = world_of(world, top="memory: 64M")
    path = world.folder / "much.pcap"
    begin = now_us()
    with open(path, "wb") as f:
        f.write(pcap_head())
        for n in range(45_000):
            f.write(pcap_record(begin + n * 1000, frame(sip(n, size=1200))))
    p = start(h, path)
    most = 0
    while p.poll() is None:
        try:
            most = max(most, int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{p.pid}/status").read_text())[1]))
            most_shared = int(re.search(r"RssShmem:\s+(\d+)", pathlib.Path(f"/proc/{p.pid}/status").read_text())[1])
            check(most_shared < 64 << 10, f"{most_shared} KiB shared")
        except (OSError, TypeError):
            pass
        time.sleep(0.02)
    s = Sums(p.stdout.read().decode())
    check_equal((p.returncode, s.rows["stored"], s.messages["accepted"]), (0, 45_000, 45_000), s.text)
    check(0 < most < 160 << 10, f"{most} KiB at most")
    check_once(world.db, range(45_000))


# ---- interruptions ----

@release_only
def test_interrupted_and_gone_on(world):
    """Ctrl-C: what was read is stored, and it says with which packet and octet to go on; then every message is there once."""
    h = world_of(world, top="memory: 64M")
    path, other = world.folder / "long.pcap", world.folder / "other.pcap"
    step = numbered(path, range(120_000), each_us=10)
    numbered(other, range(120_000, 120_010))
    first, tries = 1, 0
    while tries < 2:
        before = count(world.db)
        r = Running(h, path, other, "--from", str(first))
        wait_until(lambda: count(world.db) > before, 30, "it stores")
        r.interrupt()
        s = r.end(3)
        name, number, octet, size, again, rest = re.search(
            r"heptap: (.*): interrupted before packet (\d+), octet (\d+) of (\d+); --from (\d+) goes on there; not read: (.*)\n", r.said).groups()
        check_equal((name, number, int(size), rest), (str(path), again, path.stat().st_size, str(other)), r.said)
        check_equal(int(octet), 24 + (int(number) - 1) * step, "octet")
        check_equal((s.packets["all"], s.rows["stored"]), (int(number) - first, int(number) - first), s.text)
        check_equal(count(world.db), int(number) - 1, "rows")
        first, tries = int(number), tries + 1
    check(1 < first < 120_000, "it was interrupted in the middle")
    s, _ = run_import(h, path, other, "--from", first)
    check_equal(s.rows["stored"], 120_010 - first + 1, s.text)
    check_once(world.db, range(120_010))
    check_equal(world.db.number("SELECT COUNT(*) FROM heptap_ledger"), 0, "streams in the ledger that nobody will ask for")


@release_only
def test_given_up(world):
    """Ctrl-C twice while the database is away: it ends, and says how many rows are not stored."""
    h = world_of(world, top="memory: 64M")
    path = world.folder / "long.pcap"
    numbered(path, range(200_000), each_us=10)
    r = Running(h, path)
    wait_until(lambda: count(world.db) > 0, 30, "it stores")
    world.db.kill()
    wait_until(lambda: "rows wait in the spool" in r.said, 30, lambda: f"it says that it waits: {r.said}")
    r.interrupt()
    wait_until(lambda: "interrupted before packet" in r.said and "another Ctrl-C gives them up" in r.said, 30,
               lambda: f"it stops reading: {r.said}")
    r.interrupt()
    s = r.end(3)
    check_equal(s.rows["all"], s.rows["stored"] + s.rows["not stored"], s.text)
    check(s.rows["not stored"] > 0 and f"given up: {s.rows['not stored']} rows are not stored" in r.said, s.text + r.said)
    world.db.start()
    got = stored_numbers(world.db)
    check(len(got) >= s.rows["stored"] and all(t == 1 for t in got.values()), f"{len(got)} rows in the database; {s.text}")


@release_only
def test_interrupted_while_it_stores(world):
    """Ctrl-C when all is read already: what was read is stored, and nothing was interrupted."""
    h = world_of(world)
    path = world.folder / "some.pcap"
    numbered(path, range(50_000), each_us=10)
    r = Running(h, path)
    wait_until(lambda: "100 %" in r.said, 30, "all is read")
    r.interrupt()
    s = r.end(0)
    check_equal(s.rows["stored"], 50_000, s.text)
    check("interrupted" not in r.said, r.said)
    check_once(world.db, range(50_000))


@release_only
def test_database_killed(world):
    """The database is killed in the middle: the import waits, says so, goes on, and each message is stored once."""
    h = world_of(world, top="memory: 64M")
    path = world.folder / "long.pcap"
    numbered(path, range(100_000), each_us=10)
    r = Running(h, path)
    for most in (0, 20_000):
        wait_until(lambda: count(world.db) > most, 30, "it stores")
        told = r.said.count("rows wait in the spool")
        world.db.kill()
        wait_until(lambda: r.said.count("rows wait in the spool") > told, 30, lambda: f"it says that it waits: {r.said}")
        check(r.process.poll() is None, "it goes on")
        world.db.start()
    s = r.end(0)
    check_equal((s.packets["all"], s.messages["accepted"], s.rows["stored"]), (100_000, 100_000, 100_000 + s.rows["stored"] - s.rows["all"]), s.text)
    check_once(world.db, range(100_000))


def test_beside_a_server(world):
    """An import beside the server of the same node: both store, no id is given twice, and the server's numbers are its own."""
    db = world.database()
    h = world.heptap(top="node_id: 7")
    path = world.folder / "some.pcap"
    numbered(path, range(20_000), each_us=100)
    r = Running(h, path)
    for n in range(100):
        h.send([hep3(sip(n)) for n in range(50_000 + n * 50, 50_050 + n * 50)])
        time.sleep(0.002)
    check_equal(r.end(0).rows["stored"], 20_000, "stored")
    m = h.wait_at_rest(5000)
    m.check_exact()
    check_equal((m.sum("heptap_received_total"), m.sum("heptap_stored_total")), (5000, 5000), "the server's own")
    check_once(db, [*range(20_000), *range(50_000, 55_000)])
    check_equal(db.query("SELECT id >> 43, COUNT(*), COUNT(DISTINCT id) FROM sip_capture GROUP BY 1"), [[b"7", b"25000", b"25000"]], "ids")
    check_equal(db.number("SELECT COUNT(*) FROM (SELECT id, LAG(date) OVER (ORDER BY id) AS before_it, date FROM sip_capture "
                          "WHERE callid < 'n00030000') AS r WHERE before_it > date"), 0, "ids that do not follow the file's seconds")
    check_equal(h.stop(), 0, "exit code of the server")


# ---- as a source of a server ----

def source_of(path, more=""):
    return f"capture: [{{ name: recording, file: '{path}' {more} }}]"


def test_file_of_a_server(world):
    """A file among the sources of a server: its messages are stored once, its packets counted, and the server goes on; with a filter too."""
    world.database()
    path = FIXTURES / "sip" / "sample-sngrep-aaa.pcap"
    wanted = expected(path.with_suffix(".expected.jsonl"))
    h = world.heptap(top=source_of(path))
    m = h.wait_at_rest(len(wanted))
    m.check_exact()
    check_rows(stored_rows(world), wanted)
    check_equal((m.sum("heptap_packets_seen_total", source="recording"), m.sum("heptap_shed_total")), (len(list(pcap_frames(path))), 0), "packets")
    h.send([hep3(sip(1))])
    h.wait_at_rest(len(wanted) + 1)
    check_equal(h.stop(), 0, "exit code")
    check(f"{path}: read to its end: {len(list(pcap_frames(path)))} packets" in h.log_text(), h.log_text())
    world.db.query("TRUNCATE sip_capture")
    h.write(top=source_of(path, ", bpf: 'udp and greater 1000'"))
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_packets_seen_total", source="recording") == len(list(pcap_frames(path))), 20, "read")
    m = h.wait_at_rest(1)
    m.check_exact()
    check(0 < m.sum("heptap_received_total") < len(wanted) and m.sum("heptap_packets_not_for_us_total", reason="filter") > 0, h.summary())
    check_equal(h.stop(), 0, "exit code")


def test_file_of_a_server_that_cannot_be(world):
    """No file, no capture file, a pipe: the server does not start and says why. A damaged one: what is whole is stored."""
    world.database()
    torn, fifo = world.folder / "torn.pcap", world.folder / "fifo"
    step = numbered(torn, range(20))
    torn.write_bytes(torn.read_bytes()[:24 + 11 * step + 100])
    os.mkfifo(fifo)
    h = world.heptap(start=False)
    for file, words in ((world.folder / "none", "No such file"), (h.file, "not a capture file"), (fifo, "not a regular file")):
        h.write(top=source_of(file))
        done = subprocess.run([h.binary, "-c", str(h.file)], capture_output=True, text=True, timeout=20)
        check_equal((done.returncode, f"capture recording: {file}: {words}" in done.stderr), (3, True), done.stderr)
    h.write(top=source_of(torn))
    h.start()
    h.wait_at_rest(11).check_exact()
    check_once(world.db, range(11))
    check_equal(h.stop(), 0, "exit code")
    check(f"{torn}: packet 12: ends within a packet at octet {24 + 11 * step}; the 11 before it are taken" in h.log_text(), h.log_text())


@release_only
def test_file_of_a_server_waits(world):
    """The database is away: a file takes half of the spool and waits, nothing is shed, and the rest of the spool is for agents. A stop in the
    middle says where; what was read is stored by the next start, and an import goes on behind it."""
    db = world.database()
    path = world.folder / "much.pcap"
    begin = now_us()
    path.write_bytes(pcap_head() + b"".join(pcap_record(begin + n, frame(sip(n, size=1200))) for n in range(40_000)))
    h = world.heptap(start=False, spool_max="32M", top=source_of(path))
    db.stop()
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_spool_bytes") > 15 << 20, 30, h.summary)
    h.send([hep3(sip(n)) for n in range(50_000, 50_100)])
    wait_until(lambda: h.metrics().sum("heptap_received_total", source="agents") == 100, 20, h.summary)
    m = h.metrics()
    check_equal((m.sum("heptap_shed_total"), m.sum("heptap_spool_bytes") < 22 << 20), (0, True), h.summary())
    check_equal(h.stop(), 0, "exit code")
    number = int(re.search(r"much.pcap: stopped before packet (\d+), at octet \d+ of", h.log_text())[1])
    check(1 < number < 40_000, h.log_text())
    db.start()
    h.write(top="")
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1 and h.wait_at_rest(0), 30, "stored")
    check_once(db, [*range(number - 1), *range(50_000, 50_100)])
    s, _ = run_import(h, path, "--from", number)
    check_once(db, [*range(40_000), *range(50_000, 50_100)])
    check_equal(h.stop(), 0, "exit code")


# ---- on a terminal ----

@release_only
def test_on_a_terminal(world):
    """There it draws a bar with rate, size and time left; of a pipe, whose end nobody knows, the rate and size alone."""
    h = world_of(world, top="memory: 64M")
    path = world.folder / "long.pcap"
    numbered(path, range(60_000), each_us=10)

    def drawn_by(words, **more):
        try:
            ours, theirs = pty.openpty()
        except OSError as error:
            raise Skip(f"a terminal to draw on is not to be had here: {error}") from error
        p = subprocess.Popen([h.binary, "import", *words, "-c", str(h.file)], stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"},
                             **more)
        os.close(theirs)
        drawn = b""
        try:
            while piece := os.read(ours, 65536):
                drawn += piece
        except OSError:
            pass
        out = p.stdout.read().decode()
        os.close(ours)
        check_equal((p.wait(), Sums(out).rows["stored"]), (0, 60_000), drawn)
        return drawn

    drawn = drawn_by([str(path)])
    check(re.search(rb"\r\[#* *\] +\d+ %  \d+ packets  \d+/s  [\d.]+ of [\d.]+ MiB  \d+:\d\d left", drawn), drawn)
    check(re.search(rb"\r\[#{30}\] 100 %  60000 packets", drawn), drawn)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        drawn = drawn_by(["-"], stdin=cat.stdout)
    check(re.search(rb"\r\d+ packets  \d+/s  [\d.]+ MiB  \033", drawn) and b"left" not in drawn.split(b"rows")[0], drawn)
