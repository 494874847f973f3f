"""A mirror port, in pairs of the same minute (see bench.py), over a veth pair in a network namespace that ends with this program.

(l) CPU per packet of ht-cap-0 at the same rate against a bare TPACKET_V3 loop with the same filter, which only counts: SIP; and what of it is
    left where there is no ring, only frames in memory (bench_packets)
(m) the same: SIP in VXLAN
(n) the same: 50 RTP to each SIP, let through by the filter
(o) packets that the kernel drops when they are sent as fast as they go, against the same loop
(p) time of `heptap import`, from its start to the last row committed, against `tcpdump -r FILE -w /dev/null`, file in the page cache: one packet,
    for start and end; RTP alone; one SIP to 1000 and to 50 RTP; SIP alone, where it is the database that is measured
(t) SIP with `tune.mode: auto` against `off`: CPU per packet of ht-cap-0 at the same rate, and drops as fast as it goes. A veth pair has no
    interrupts: only threads are placed
"""
import argparse
import ctypes
import os
import pathlib
import random
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time

import bench
import lib

RING = 64 << 20
BURST_RING = 640 << 20  # half a second of what the sender can, as rings are sized (plan_ring)
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
MTU = 9000
TO, FROM = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")  # a host behind the mirror port, not the interface itself


class Mix:
    """Frames in a file, over and over; the share of SIP among them, and the filter that lets all of them through."""

    def __init__(self, letter, name, frames, share, bpf, rate):
        self.letter, self.name, self.frames, self.share, self.bpf, self.rate = letter, name, frames, share, bpf, rate
        self.file = None

    def write(self, path):
        with open(path, "wb") as out:
            for frame in self.frames:
                out.write(struct.pack("=I", len(frame)) + frame)
        self.file = path


def udp(src, dst, sport, dport, payload):
    """An Ethernet frame around a datagram."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0x4000, 64, 17, 0, socket.inet_aton(src), socket.inet_aton(dst))
    total = sum(struct.unpack(">10H", head))
    total = (total >> 16) + (total & 0xffff)
    head = head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xffff) + head[12:]
    return TO + FROM + b"\x08\x00" + head + struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


def sip_frames():
    """The SIP of the recorded senders, as it was on the wire before they made HEP of it."""
    found = []
    for name in bench.CAPTURES:
        for packet in lib.udp_payloads(next((lib.FIXTURES / "hep").glob(f"{name}.pcap*"))):
            if lib.chunk(11, b"\x01") in packet:
                at = packet.index(b"\x00\x00\x00\x0f")
                payload = packet[at + 6:at + struct.unpack(">H", packet[at + 4:at + 6])[0]]
                found.append(udp("192.0.2.%d" % (1 + len(found) % 50), "198.51.100.%d" % (1 + len(found) % 7), 5060, 5060, payload))
    return [f for f in found if len(f) <= MTU]


def in_vxlan(frame):
    return udp("203.0.113.1", "203.0.113.2", 49152 + len(frame) % 1000, 4789, b"\x08\0\0\0\0\0\x2a\0" + frame)


def rtp_frames(count, seed=1):
    """20 ms of G.711 each, of two hundred streams."""
    pick = random.Random(seed)
    streams = [(f"192.0.2.{pick.randrange(1, 255)}", f"198.51.100.{pick.randrange(1, 255)}", pick.randrange(10000, 60000, 2),
                pick.randrange(10000, 60000, 2), pick.getrandbits(32)) for _ in range(200)]
    for n in range(count):
        src, dst, sport, dport, ssrc = streams[n % len(streams)]
        yield udp(src, dst, sport, dport, struct.pack(">BBHII", 0x80, 8, n // 200, n // 200 * 160, ssrc) + pick.randbytes(160))


def with_rtp(sip, each):
    rtp = list(rtp_frames(len(sip) * each))
    frames = []
    for i, frame in enumerate(sip):
        frames += [frame, *rtp[i * each:(i + 1) * each]]
    return frames


def mixes():
    sip = sip_frames()
    return {"l": Mix("l", "SIP", sip, 1, "", 50_000), "m": Mix("m", "SIP in VXLAN", [in_vxlan(f) for f in sip], 1, "", 50_000),
            "n": Mix("n", "1 SIP to 50 RTP", with_rtp(sip, 50), 1 / 51, "udp", 200_000)}


def own_network():
    """From here on this program and what it starts have no other network."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK) != 0:
        return False
    for command in ("link set lo up", f"link add send0 mtu {MTU} type veth peer name mirror0 mtu {MTU}", "link set send0 up", "link set mirror0 up"):
        subprocess.run(["ip", *command.split()], check=True)
    for name in ("send0", "mirror0"):
        pathlib.Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1\n")  # it has something to say now and then
    return True


def write_pcap(path, frames, octets):
    """The frames over and over, ten microseconds from one to the next. @return how many."""
    count, size, now = 0, 24, int(time.time()) - 60
    with open(path, "wb", buffering=1 << 20) as out:
        out.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        while size < octets:
            for frame in frames:
                out.write(struct.pack("=4I", now + count // 100_000, count % 100_000 * 10, len(frame), len(frame)) + frame)
                count += 1
                size += 16 + len(frame)
    return count


def run_timed(command):
    """@return wall and CPU seconds; it has to succeed."""
    begin = time.monotonic()
    child = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    lib.check_equal(child.returncode, 0, f"exit code of {command[0]}")
    return time.monotonic() - begin, used.ru_utime + used.ru_stime


class Mirror(bench.Bench):
    def __init__(self, build, folder, pairs):
        self.build, self.folder, self.pairs = pathlib.Path(build), pathlib.Path(folder), pairs
        self.mixes = mixes()
        for letter, mix in self.mixes.items():
            mix.write(self.folder / f"frames-{letter}")

    def send(self, mix, count, rate):
        """@return packets per second."""
        sent, seconds = self.tool("bench_frames", mix.file, "send0", count, rate).split()
        return int(sent) / float(seconds)

    def bare(self, mix, count, rate, ring=RING):
        """@return CPU microseconds for each packet taken, the share dropped, packets per second."""
        loop = subprocess.Popen([self.build / "tests/bench/bench_ring", "mirror0", str(count), str(ring), *([mix.bpf] if mix.bpf else [])],
                                stdout=subprocess.PIPE, text=True)
        loop.stdout.readline()
        speed = self.send(mix, count, rate)
        taken, dropped, _, cpu = loop.communicate()[0].split()
        lib.check_equal(int(taken) + int(dropped), count, "packets of the bare loop")
        return float(cpu) / int(taken) * 1e6, int(dropped) / count, speed

    def ours(self, mix, count, rate, ring=RING, mode="auto"):
        """The same, and the share that was shed."""
        bpf = f", bpf: '{mix.bpf}'" if mix.bpf else ""
        h = lib.Heptap(self.build / "heptap", self.folder / "server", "/nonexistent",
                       top=f"tune: {{ mode: {mode} }}\nhep_threads: 1\ncapture: [{{ name: mirror, interface: mirror0, threads: 1, ring: {ring >> 20}M{bpf} }}]")
        h.start()
        self.warm(int(count * mix.share))
        cpu = lambda m: m.values['heptap_thread_cpu_seconds_total{thread="ht-cap-0"}']
        before = cpu(h.metrics())
        speed = self.send(mix, count, rate)
        seen = lambda m: m.sum("heptap_packets_seen_total") >= count and m.lines()[:2] == (0, 0)
        m = lib.wait_until(lambda: (lambda m: m if seen(m) else None)(h.metrics()), 30, h.summary)
        dropped = m.sum("heptap_kernel_dropped_total")
        used = cpu(m) - before
        m.check_exact()
        h.stop()
        shutil.rmtree(h.folder)
        return used / (count - dropped) * 1e6, dropped / count, speed, m.sum("heptap_shed_total") / count

    def cost(self, letter, seconds=3):
        mix = self.mixes[letter]
        count = mix.rate * seconds
        pairs = [(self.ours(mix, count, mix.rate)[0], self.bare(mix, count, mix.rate)[0]) for _ in range(self.pairs)]
        ours, bare = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        extra = statistics.median(a - b for a, b in pairs)
        memory = self.tool("bench_packets", mix.file, self.pairs, 1 + 200_000 // len(mix.frames)).splitlines()
        memory = statistics.median(float(line.split()[0]) for line in memory)
        print(f"({letter}) {mix.name}, CPU per packet at {mix.rate}/s: heptap {ours:.3f} us (in memory {memory:.3f} us), bare ring {bare:.3f} us, "
              f"difference median {extra:+.3f} us"
              + ("  (aim: at most +1.200)" if mix.share == 1 else ""))
        if mix.share < 1:
            bench.show(f"({letter}) {mix.name}, heptap / bare ring", pairs, "at most", 3)

    def drops(self, count=1_000_000):
        for mix in self.mixes.values():
            n = int(count if mix.share < 1 else count / 4)
            found = [(self.ours(mix, n, 0, BURST_RING), self.bare(mix, n, 0, BURST_RING)) for _ in range(min(self.pairs, 3))]
            ours, bare = ([f[i] for f in found] for i in (0, 1))
            middle = lambda figures, k: statistics.median(f[k] for f in figures)
            print(f"(o) {mix.name} as fast as it goes, {n} packets: heptap drops {middle(ours, 1):.2%} at {middle(ours, 2):.0f}/s and sheds "
                  f"{middle(ours, 3):.2%}, bare ring drops {middle(bare, 1):.2%} at {middle(bare, 2):.0f}/s  (aim: none where the bare ring has none)")

    def placed(self, seconds=3, burst=250_000):
        mix = self.mixes["l"]
        pairs = [[self.ours(mix, mix.rate * seconds, mix.rate, mode=mode)[0] for mode in ("auto", "off")] for _ in range(self.pairs)]
        drops = [[self.ours(mix, burst, 0, mode=mode) for mode in ("auto", "off")] for _ in range(self.pairs)]
        auto, off = ([statistics.median(d[i][k] for d in drops) for k in (1, 2)] for i in (0, 1))
        bench.show(f"(t) {mix.name} at {mix.rate}/s, CPU per packet with tune.mode auto / off", pairs, "at most", 1)
        print(f"(t) {mix.name} as fast as it goes, {burst} packets, rings of {RING >> 20} MiB: auto drops {auto[0]:.2%} at {auto[1]:.0f}/s, "
              f"off {off[0]:.2%} at {off[1]:.0f}/s")

    def imports(self):
        """With statistics, as they are by default."""
        self.database()
        h = lib.Heptap(self.build / "heptap", self.folder / "import", self.db.socket)
        h.install()
        sip, rtp = sip_frames(), list(rtp_frames(10_000))
        self.import_file(h, "start and end", rtp[:1], 25)
        self.import_file(h, "RTP alone", rtp, 200 << 20)
        self.import_file(h, "1 SIP to 1000 RTP", sip[:10] + rtp, 200 << 20)
        self.import_file(h, "1 SIP to 50 RTP", self.mixes["n"].frames, 200 << 20)
        self.import_file(h, "SIP alone", sip, 50 << 20)

    def import_file(self, h, name, frames, octets):
        file = self.folder / "file.pcap"
        count = write_pcap(file, frames, octets)
        file.read_bytes()
        pairs, server = [], 0
        for _ in range(self.pairs):
            self.empty(self.db)
            before = bench.process_cpu(self.db.process.pid)
            ours = run_timed([self.build / "heptap", "import", "-c", h.file, file])
            server = bench.process_cpu(self.db.process.pid) - before
            pairs.append((ours, run_timed(["tcpdump", "-Z", "root", "-r", file, "-w", "/dev/null"])))
        wall, cpu = ([statistics.median(p[who][i] for p in pairs) for who in (0, 1)] for i in (0, 1))
        rows = self.db.number("SELECT COUNT(*) FROM sip_capture")
        print(f"(p) import, {name}, {count} packets, {rows} rows: heptap {wall[0]:.2f} s (CPU {cpu[0]:.2f} s, mariadbd {server:.2f} s), "
              f"tcpdump {wall[1]:.2f} s (CPU {cpu[1]:.2f} s)")
        if count > 1:
            bench.show(f"(p) import, {name}, speed, heptap / tcpdump", [(t[0], o[0]) for o, t in pairs], "at least", 0.5)
        file.unlink()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--only", default="lmnopt")
    options = p.parse_args()
    if not own_network():
        print("(l) to (p) and (t) need a network namespace of their own, which this host does not allow")
        return
    folder, mirror = tempfile.mkdtemp(prefix="heptap-bench-"), None
    try:
        mirror = Mirror(options.build, folder, options.pairs)
        for letter in "lmn":
            if letter in options.only:
                mirror.cost(letter)
        if "o" in options.only:
            mirror.drops()
        if "p" in options.only:
            mirror.imports()
        if "t" in options.only:
            mirror.placed()
    finally:
        if mirror:
            mirror.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
