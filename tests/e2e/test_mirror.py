"""Mirror ports: captures of real senders by tcpreplay over a pair of interfaces, in a network namespace of the test, into the rings of
AF_PACKET and into libpcap. What is sent on `far` comes in on `near`."""
import fcntl
import functools
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time

from lib import FIXTURES, Skip, check, check_equal, expected, own_network, pcap_frames, wait_until
from test_corpus import COLUMNS, RTCP, check_rows, stored_rows

SIP = FIXTURES / "sip"
EVERYTHING = "greater 1"
PORTS = "[5060, 5061, 5062, 5090]"  # those of the captures
CAPTURES = sorted(SIP.glob("*.pcap*"))
UDP = SIP / "direct-udp.pcap"  # nothing but messages
UDP_V6 = SIP / "direct-udp-v6.pcap"
KEYS = [COLUMNS.index(c) for c in ("SHA2(IF(LENGTH(msg_raw) > 0, msg_raw, msg), 256)", "source_ip", "source_port", "destination_ip",
                                   "destination_port")]


def pair_make():
    subprocess.run("ip link add near type veth peer name far && ip link set near mtu 65535 arp off up && "
                   "ip link set far mtu 65535 arp off up", shell=True, check=True)


def on_a_pair(function):
    """Run a test with the interfaces `near` and `far` in a namespace of its own."""
    @functools.wraps(function)
    def test(world):
        host = os.readlink("/proc/thread-self/ns/net")

        def inside(world):
            if os.readlink("/proc/thread-self/ns/net") == host:
                raise Skip("no network namespace here")
            pathlib.Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")  # it would speak by itself
            pair_make()
            function(world)
        own_network(inside)(world)
    return test


def capture(name="mirror", interface="near", **more):
    """An entry of `capture`. A replay takes no time, so that retransmissions look like packets mirrored twice; legs depend on which ring is first."""
    settings = {"name": name, "interface": interface, "ports": PORTS, **more}
    return "duplicates: { window: 0 }\nlegs: []\ncapture:\n  - { " + ", ".join(f"{k}: {v}" for k, v in settings.items()) + " }"


def replay(path, times=1):
    """@return how many frames were sent."""
    done = subprocess.run(["tcpreplay", "-i", "far", "--topspeed", f"--loop={times}", str(path)], capture_output=True, text=True)
    check_equal(done.returncode, 0, f"tcpreplay of {path}: {done.stdout}{done.stderr}")
    check_equal(re.search(r"Failed packets:\s+(\d+)", done.stdout).group(1), "0", f"frames of {path} that were not sent")
    return int(re.search(r"Successful packets:\s+(\d+)", done.stdout).group(1))


def wanted(path):
    """What must become rows. The time is that of the replay, and there is no sender of HEP."""
    lines = [{**e, "hep": {}} for e in expected(path.with_suffix(".expected.jsonl")) if "kind" in e]
    for e in lines:
        del e["ts"]
        e.pop("x_cid", None)
    return lines


def in_order(rows, lines):
    """Threads store in their own order; the same message of the same ends is the same row."""
    return (sorted(rows, key=lambda r: [(r[k] or b"").decode() for k in KEYS]),
            sorted(lines, key=lambda e: [e["msg_sha256"], e["src_ip"], str(e["src_port"]), e["dst_ip"], str(e["dst_port"])]))


def is_ethernet(path):
    return {link for link, _ in pcap_frames(path)} == {1}


def seen(h):
    return h.metrics().sum("heptap_packets_seen_total", source="mirror")


def rest(h, number, what="heptap_received_total"):
    """At rest with so many messages, the packet line included."""
    h.wait_at_rest(number)

    def ended():
        m = h.metrics()
        return m if m.sum(what) == number and m.lines() == (0, 0, 0) and m.sum("heptap_packets_held") == 0 else None
    return wait_until(ended, 20, lambda: f"{number} of {what}, both lines exact: {h.metrics().lines()}: {h.summary()}")


def replay_all(world, is_everything, **more):
    """Every capture, one after the other, each compared row by row; where all frames pass the filter, their number as well."""
    world.database()
    h = world.heptap(top=capture(**more))
    accepted = sent = 0
    others = [p.name for p in CAPTURES if not is_ethernet(p)]
    print(f"        not replayed over Ethernet, since their link header is another: {', '.join(others)}", flush=True)
    for path in filter(is_ethernet, CAPTURES):
        lines, begun = wanted(path), time.time()
        world.db.query("DELETE FROM sip_capture")
        sent += replay(path)
        accepted += len(lines) + RTCP.get(path.name.split(".")[0], 0)
        if is_everything:
            wait_until(lambda: seen(h) == sent, 20, lambda: f"{path.name}: {sent} frames were sent: {h.summary()}")
        m = rest(h, accepted, "heptap_accepted_total")
        rows = stored_rows(world)
        for row in rows:
            check(begun - 1 <= int(row[0]) / 1e6 <= time.time() + 1, f"{path.name}: time {row[0]} is not that of the replay")
        try:
            check_rows(*in_order(rows, lines))
        except Exception as error:
            raise type(error)(f"{path.name}: {error}") from error
        check_equal(m.sum("heptap_kernel_dropped_total"), 0, "dropped")
        check(seen(h) <= sent, f"{path.name}: seen more often than sent: {h.summary()}")
    check(accepted > 300, f"only {accepted} messages: where are the captures?")
    check_equal(h.stop(), 0, "exit code")


@on_a_pair
def test_ring(world):
    """One ring, by ports."""
    replay_all(world, False)


@on_a_pair
def test_ring_and_everything(world):
    """One ring, every frame passes: as many are seen as tcpreplay says it sent."""
    replay_all(world, True, bpf=f"'{EVERYTHING}'")


@on_a_pair
def test_two_rings(world):
    """Two threads, by ports."""
    replay_all(world, False, threads=2)


@on_a_pair
def test_libpcap(world):
    """libpcap, by ports."""
    replay_all(world, False, method="pcap")


@on_a_pair
def test_libpcap_and_everything(world):
    """libpcap, every frame passes: as many are seen as tcpreplay says it sent."""
    replay_all(world, True, method="pcap", bpf=f"'{EVERYTHING}'")


@on_a_pair
def test_libpcap_any(world):
    """All interfaces at once, whose frames have another link header."""
    replay_all(world, True, method="pcap", interface="any", bpf="'greater 1 and not host 127.0.0.1'")


# ---- interfaces without a link header ----

class Tun:
    """An interface whose packets come in when they are written."""

    def __init__(self, name):
        try:
            self.fd = os.open("/dev/net/tun", os.O_RDWR)
        except OSError as error:
            raise Skip(f"no tun interfaces here: {error}") from error
        fcntl.ioctl(self.fd, 0x400454ca, struct.pack("16sH14x", name.encode(), 0x1001))  # TUNSETIFF: tun, no head of its own
        subprocess.run(f"ip link set {name} mtu 65535 up", shell=True, check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def replay(self, path):
        """@return how many packets there are."""
        packets = [frame[{101: 0, 113: 16, 276: 20}[link]:] for link, frame in pcap_frames(path)]
        for packet in packets:
            os.write(self.fd, packet)
        return len(packets)


def replay_raw(world, **more):
    """The captures that no Ethernet can show: what is behind their link header."""
    world.database()
    with Tun("tun0") as tun:
        h = world.heptap(top=capture(interface="tun0", **more))
        accepted = sent = 0
        for path in [p for p in CAPTURES if not is_ethernet(p)]:
            world.db.query("DELETE FROM sip_capture")
            sent += tun.replay(path)
            accepted += len(wanted(path))
            rest(h, accepted, "heptap_accepted_total")
            check_rows(*in_order(stored_rows(world), wanted(path)))
        check(accepted > 40, f"only {accepted} messages: where are the captures?")
        check_equal(seen(h), sent, "packets seen")
        check_equal(h.stop(), 0, "exit code")


@on_a_pair
def test_ring_without_link_header(world):
    """Raw IP in a ring."""
    replay_raw(world)


@on_a_pair
def test_libpcap_without_link_header(world):
    """Raw IP from libpcap."""
    replay_raw(world, method="pcap")


# ---- what hides ports ----

def be16(*values):
    return struct.pack(f">{len(values)}H", *values)


def ethernet(kind, body):
    return b"\2\0\0\0\0\2\2\0\0\0\0\1" + be16(kind) + body


def ip4(proto, body, ident=0, offset=0, more=False):
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), ident, offset // 8 | more << 13, 64, proto, 0, b"\x0a\0\0\1", b"\x0a\0\0\2") + body


def ip6(following, body):
    return struct.pack(">IHBB16s16s", 0x60000000, len(body), following, 64, b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2") + body


def udp(port, body):
    return be16(50000, port, 8 + len(body), 0) + body


def frames_of_ip4(proto, body, ident):
    """In four fragments, the last first."""
    size = len(body) // 4 // 8 * 8
    cuts = [0, size, 2 * size, 3 * size, len(body)]
    return [ethernet(0x800, ip4(proto, body[i:k], ident, i, k < len(body))) for i, k in reversed([*zip(cuts, cuts[1:])])]


def frames_of_ip6(body, ident):
    """The same of a UDP datagram over IPv6, the second first."""
    size = len(body) // 2 // 8 * 8
    parts = (size, body[size:], 0), (0, body[:size], 1)
    return [ethernet(0x86dd, ip6(44, struct.pack(">BBHI", 17, 0, offset | more, ident) + part)) for offset, part, more in parts]


VXLAN = b"\x08\0\0\0\0\0\7\0"

# By name: frames around an IPv4 packet, whose number is for what needs one.
HIDING = {
    "tag": lambda ip, n: [ethernet(0x8100, be16(100, 0x800) + ip)],
    "two tags": lambda ip, n: [ethernet(0x88a8, be16(7, 0x8100, 100, 0x800) + ip)],
    "three tags": lambda ip, n: [ethernet(0x88a8, be16(7, 0x8100, 8, 0x8100, 100, 0x800) + ip)],
    "IP in IP": lambda ip, n: [ethernet(0x800, ip4(4, ip))],
    "IPv4 in IPv6": lambda ip, n: [ethernet(0x86dd, ip6(4, ip))],
    "GRE": lambda ip, n: [ethernet(0x800, ip4(47, be16(0, 0x800) + ip))],
    "GRE with checksum, key and sequence": lambda ip, n: [ethernet(0x800, ip4(47, be16(0xb000, 0x800, 0, 0, 0, 9, 0, n) + ip))],
    "GRE with Ethernet": lambda ip, n: [ethernet(0x800, ip4(47, be16(0, 0x6558) + ethernet(0x800, ip)))],
    "GRE over IPv6 with a tag": lambda ip, n: [ethernet(0x8100, be16(5, 0x86dd) + ip6(47, be16(0, 0x800) + ip))],
    "ERSPAN I": lambda ip, n: [ethernet(0x800, ip4(47, be16(0, 0x88be) + ethernet(0x800, ip)))],
    "ERSPAN II": lambda ip, n: [ethernet(0x800, ip4(47, be16(0x1000, 0x88be, 0, n, 0x1000, 0, 0, 0) + ethernet(0x800, ip)))],
    "ERSPAN III": lambda ip, n: [ethernet(0x800, ip4(47, be16(0x1000, 0x22eb, 0, n, 0x2000, 0, 0, 0, 0, 0) + ethernet(0x800, ip)))],
    "VXLAN": lambda ip, n: [ethernet(0x800, ip4(17, udp(4789, VXLAN + ethernet(0x800, ip))))],
    "VXLAN with a tag inside": lambda ip, n: [ethernet(0x86dd, ip6(17, udp(4789, VXLAN + ethernet(0x8100, be16(100, 0x800) + ip))))],
    "GENEVE": lambda ip, n: [ethernet(0x800, ip4(17, udp(6081, be16(0, 0x6558, 0, 0x700) + ethernet(0x800, ip))))],
    "TZSP": lambda ip, n: [ethernet(0x800, ip4(17, udp(37008, b"\1\0\0\1\1" + ethernet(0x800, ip))))],
    "MPLS": lambda ip, n: [ethernet(0x8847, be16(1, 0x0040, 2, 0x0140) + ip)],
    "PPPoE": lambda ip, n: [ethernet(0x8864, be16(0x1100, 1, len(ip) + 2, 0x21) + ip)],
    "fragments of VXLAN": lambda ip, n: frames_of_ip4(17, udp(4789, VXLAN + ethernet(0x800, ip)), n),
    "fragments of IPv6": lambda ip, n: frames_of_ip6(udp(4789, VXLAN + ethernet(0x800, ip)), n),
    "fragments in GRE": lambda ip, n: [ethernet(0x800, ip4(47, be16(0, 0x800) + f[14:])) for f in frames_of_ip4(4, ip, n)],
}
TAGS = 3  # the first of them: what has only tags shows its ports


def hide(world, threads=1, **more):
    """Every way of hiding a packet, one after the other, with filters by ports: each message is a row, and RTP, which passes only where
    it is hidden, is none."""
    world.database()
    rtp = ip4(17, be16(20000, 20002, 180, 0) + b"\x80" + bytes(171))
    packets = [frame[14:] for _, frame in pcap_frames(UDP)]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind(("far", 0))
        h = world.heptap(top=capture(threads=threads, **more))
        passed = 0
        for i, (name, around) in enumerate(HIDING.items()):
            world.db.query("DELETE FROM sip_capture")
            s.send(ethernet(0x800, rtp))
            for n, packet in enumerate([*packets, rtp]):
                frames = around(packet, n + 100 * i)
                passed += len(frames) if packet is not rtp or i >= TAGS else 0
                for frame in frames:
                    s.send(frame)
            try:
                rest(h, len(packets) * (i + 1), "heptap_accepted_total")
                check_rows(*in_order(stored_rows(world), wanted(UDP)))
                wait_until(lambda: seen(h) == passed, 20, lambda: f"{passed} passed the filter: {h.summary()}")
            except Exception as error:
                raise type(error)(f"{name}: {error}") from error
        m = wait_until(lambda: h.metrics() if h.metrics().lines() == (0, 0, 0) else None, 20, lambda: f"lines exact: {h.metrics().lines()}")
        check(m.sum("heptap_packets_not_for_us_total", source="mirror", reason="port") >= len(HIDING) - TAGS, f"RTP is counted: {h.summary()}")
        check_equal(m.sum("heptap_packets_incomplete_total"), 0, "incomplete")
        check(m.sum("heptap_reassembly_total", event="fragments_completed") >= len(packets), f"datagrams put together: {h.summary()}")
        status = json.loads(h.get("/api/status")[1])["packets"]
        check_equal(status, {k: m.sum(f"heptap_{n}", source="mirror") for k, n in (
            ("seen", "packets_seen_total"), ("kernel_dropped", "kernel_dropped_total"), ("not_for_us", "packets_not_for_us_total"),
            ("held", "packets_held"), ("incomplete", "packets_incomplete_total"), ("carriers", "carriers_total"))}, "/api/status")
        check_equal(h.stop(), 0, "exit code")


@on_a_pair
def test_ring_and_what_hides_ports(world):
    """Tags, tunnels and fragments into a ring."""
    hide(world)


@on_a_pair
def test_two_rings_and_what_hides_ports(world):
    """Tags, tunnels and fragments into two rings, whose threads share what puts fragments together."""
    hide(world, threads=2)


@on_a_pair
def test_libpcap_and_what_hides_ports(world):
    """Tags, tunnels and fragments into libpcap."""
    hide(world, method="pcap")


# ---- more than there is room for ----

def fill(world, **more):
    """While the server stands still the ring becomes full: what was sent is stored or counted, frame by frame."""
    world.database()
    h = world.heptap(top=capture(bpf=f"'{EVERYTHING}'", ring="1M", **more))
    os.kill(h.process.pid, signal.SIGSTOP)
    try:
        sent = replay(UDP, 1000)
    finally:
        os.kill(h.process.pid, signal.SIGCONT)
    sent += replay(UDP)  # it goes on
    wait_until(lambda: seen(h) == sent, 20, lambda: f"{sent} frames were sent: {h.summary()}")
    dropped = h.metrics().sum("heptap_kernel_dropped_total", source="mirror")
    check(0 < dropped < sent, f"{dropped} of {sent} dropped")
    if "method" not in more:
        check(h.metrics().sum("heptap_ring_freezes_total", source="mirror") > 0, f"the ring was full: {h.summary()}")
    rest(h, sent - dropped, "heptap_accepted_total")
    check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture"), sent - dropped, "rows")
    check_equal(h.stop(), 0, "exit code")


@on_a_pair
def test_full_ring(world):
    """Frames sent are rows and frames dropped."""
    fill(world)


@on_a_pair
def test_full_rings(world):
    """The same of two."""
    fill(world, threads=2)


@on_a_pair
def test_full_libpcap(world):
    """The same of libpcap's buffer."""
    fill(world, method="pcap")


# ---- interfaces that come and go ----

def as_nobody(world, **more):
    """A server that starts as root and gives that up."""
    world.database()
    world.folder.chmod(0o755)
    h = world.heptap(top=capture(**more), run_as="nobody")
    status = pathlib.Path(f"/proc/{h.process.pid}/status").read_text()
    check(not re.search(r"^Uid:.*\b0\b", status, re.M) and re.search(r"^CapEff:\s+0+$", status, re.M), f"it has rights left: {status}")
    return h


def replay_until_seen(h):
    """An interface is looked at each second."""
    before = seen(h)
    wait_until(lambda: replay(UDP) and seen(h) > before, 20, lambda: f"frames arrive again: {h.summary()}: {h.log_text()[-1000:]}")


def check_rows_arrive(world):
    """Each of a capture once, whatever else may still be on its way."""
    world.db.query("DELETE FROM sip_capture WHERE source_ip LIKE '2001:%'")
    replay(UDP_V6)
    lines = wanted(UDP_V6)
    wait_until(lambda: world.db.number("SELECT COUNT(*) FROM sip_capture WHERE source_ip LIKE '2001:%'") == len(lines), 20, "its rows")
    check_rows(*in_order([r for r in stored_rows(world) if b":" in r[KEYS[1]]], lines))


def goes_and_returns(world, times, **more):
    h = as_nobody(world, **more)
    check_rows_arrive(world)
    subprocess.run("ip link set near down", shell=True, check=True)
    wait_until(lambda: "near: the interface is down" in h.log_text(), 20, "the log says that it is down")
    subprocess.run("ip link set near up", shell=True, check=True)
    wait_until(lambda: "near: the interface is up" in h.log_text(), 20, "the log says that it is up")
    replay_until_seen(h)
    check_rows_arrive(world)
    for i in range(times):
        subprocess.run("ip link del near", shell=True, check=True)
        wait_until(lambda: h.log_text().count("it is taken again when it returns") == i + 1, 20, "the log says that it is gone")
        pair_make()
        wait_until(lambda: h.log_text().count("near: the interface is back") == i + 1, 20, "the log says that it is back")
        replay_until_seen(h)
        check_rows_arrive(world)
    wait_until(lambda: h.metrics().lines() == (0, 0, 0), 20, lambda: f"all lines exact: {h.metrics().lines()}: {h.summary()}")
    check_equal(h.metrics().sum("heptap_kernel_dropped_total"), 0, "dropped")
    check_equal(h.stop(), 0, "exit code")


@on_a_pair
def test_interface_of_a_ring(world):
    """Down and up, removed and made again, twice, while the server has no rights."""
    goes_and_returns(world, 2)


@on_a_pair
def test_interface_of_two_rings(world):
    """The same; sockets that share packets have others in store."""
    goes_and_returns(world, 2, threads=2)


@on_a_pair
def test_interface_of_libpcap(world):
    goes_and_returns(world, 2, method="pcap")


# ---- operating ----

@on_a_pair
def test_capture_off_and_on(world):
    """What comes while a source is off is counted and not stored; other sources go on."""
    world.database()
    h = world.heptap(top=capture())
    lines = wanted(UDP)
    replay(UDP)
    rest(h, len(lines))
    done = h.command("capture", "off", "mirror")
    check_equal((done.returncode, done.stdout), (0, "capture mirror is off\n"), "capture off")
    replay(UDP)
    m = rest(h, 2 * len(lines))
    check_equal(m.sum("heptap_denied_total", source="mirror", reason="off"), len(lines), "denied while off")
    check_equal(m.sum("heptap_stored_total"), len(lines), "stored")
    check_equal(h.command("capture", "on", "mirror").returncode, 0, "capture on")
    replay(UDP)
    m = rest(h, 3 * len(lines))
    check_equal(m.sum("heptap_stored_total"), 2 * len(lines), "stored")
    check_equal(h.stop(), 0, "exit code")


@on_a_pair
def test_stop_stores_what_was_captured(world):
    """SIGTERM directly behind the last frame: all that came is stored."""
    world.database()
    for i, more in enumerate(({}, {"threads": 2}, {"method": "pcap"})):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as witness:
            witness.bind(("near", 0))  # before the server: it has each frame after it
            witness.settimeout(20)
            h = world.heptap(f"h{i}", top=f"node_id: {i + 1}\n" + capture(**more))
            world.db.query("DELETE FROM sip_capture")
            for _ in range(replay(UDP)):
                witness.recv(65536)
        os.kill(h.process.pid, signal.SIGTERM)
        check_equal(h.process.wait(40), 0, "exit code")
        check_rows(*in_order(stored_rows(world), wanted(UDP)))


def check_refused(h, text):
    """It does not start, says why, and ends with 3."""
    h.start(wait=False)
    check_equal(h.process.wait(20), 3, f"exit code: {h.log_text()}")
    check(re.search(text, h.log_text()), h.log_text())


@on_a_pair
def test_what_cannot_be_captured(world):
    """A missing interface and missing rights."""
    world.database()
    world.folder.chmod(0o755)
    for i, method in enumerate(("af_packet", "pcap")):
        check_refused(world.heptap(f"missing{i}", start=False, top=capture(interface="nowhere", method=method)),
                      "nowhere: cannot be captured: No such device")
        h = world.heptap(f"rights{i}", start=False, prefix=("setpriv", "--reuid=nobody", "--clear-groups", "--bounding-set=-all"),
                         top=capture(method=method))
        h.folder.chmod(0o777)
        check_refused(h, "near: cannot be captured: .*; capturing needs CAP_NET_RAW")


@on_a_pair
def test_filter_that_the_interface_cannot_have(world):
    """It is right in itself, and asks for what the packets of this interface do not have: not as if there were none."""
    world.database()
    with Tun("tun0"):
        for i, method in enumerate(("af_packet", "pcap")):
            top = capture(interface="tun0", method=method, bpf="'ether host 02:00:00:00:00:01'")
            check_refused(world.heptap(f"h{i}", start=False, top=top), "supported only on ethernet")
