"""Ratios against references of the same minute: five pairs in turn, medians. Absolute figures of a shared machine mean little.

(a) decode + SIP + row against a bare field scan of the same octets
(b) receiver CPU per million datagrams against a bare recvmmsg loop at the same rate
(c) rows per second of one writer draining a spool against a bare bulk insert of the same rows, and CPU of either side
(d) CPU of the whole of heptap from socket to commit, and of mariadbd, per million messages at a steady rate
(e) the same as (b) over one TCP connection, against a loop that reads and frames
(q) nanoseconds of rules per message against the bare pcre2_match() calls for their expressions
(f) the same as (b) and (d) for the mix of all recorded senders: HEP 1, 2 and 3, compressed, RTCP and logs among SIP
(r) the table of calls against a bare cds_lfht with nodes of the same size; a batch of messages at 4 million calls against 1,000; two
    readers against one by CPU time while a writer inserts; 6 GB of memory
(s) a server with `tune.mode: auto` against `off`, which is told nothing else: CPU of a message from socket to commit, what the kernel drops
    of a load beyond what both take
"""
import argparse
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import lib  # noqa: E402

CAPTURES = ["kamailio-v3-udp", "kamailio-v3-netcb", "captagent-v3-udp", "kamailio-v3-udp-large", "sngrep-v3-udp"]
MIX = CAPTURES + ["kamailio-v1-udp", "kamailio-v2-udp", "opensips-v2-udp", "rtpengine-v3-rtcp-udp", "sample-hepgenjs-v3-udp",
                  "sample-captagent-v3-zlib-udp"]
TICKS = os.sysconf("SC_CLK_TCK")


def corpus(path, captures=CAPTURES, all_types=False):
    """The SIP records of the captures, or all records, as one file: u32 length and octets of each."""
    count = 0
    with open(path, "wb") as out:
        for name in captures:
            for packet in lib.udp_payloads(next((lib.FIXTURES / "hep").glob(f"{name}.pcap*"))):
                if all_types or lib.chunk(11, b"\x01") in packet:
                    out.write(struct.pack("=I", len(packet)) + packet)
                    count += 1
    return count


def server(*arguments, **more):
    """As it is installed: placed."""
    return lib.Heptap(*arguments, **{"tune": "auto", **more})


def process_cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def show(label, pairs, better, aim):
    ratios = sorted(a / b for a, b in pairs)
    print(f"{label}: ratio min {ratios[0]:.2f} median {statistics.median(ratios):.2f} max {ratios[-1]:.2f}  (aim: {better} {aim})")


class Bench:
    def __init__(self, build, folder, pairs):
        self.build = pathlib.Path(build)
        self.folder = pathlib.Path(folder)
        self.pairs = pairs
        self.file, self.mix_file = self.folder / "datagrams", self.folder / "mix"
        corpus(self.mix_file, MIX, True)
        print(f"{corpus(self.file)} datagrams of {len(CAPTURES)} captures, {pairs} pairs")

    def tool(self, name, *arguments, **more):
        return subprocess.run([self.build / "tests/bench" / name, *map(str, arguments)], check=True, capture_output=True, text=True,
                              **more).stdout

    def rows(self):
        pairs = [tuple(map(float, line.split())) for line in self.tool("bench_row", self.file, self.pairs).splitlines()]
        ours, scan = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        print(f"(a) decode + SIP + row {ours:.3f} us, bare field scan {scan:.3f} us per message")
        show("(a) row / scan", pairs, "at most", 3.5)

    def rules(self):
        for line in self.tool("bench_filter", 20000, 11).splitlines():
            rules, ours, bare, ratio = line.split()
            aim = "  (aim: at most 0.60)" if rules == "100" else ""
            print(f"(q) {rules} rules {ours} ns per message, bare calls {bare}, ratio {ratio}{aim}")

    def receivers(self, letter="b", file=None, how="", rate=50_000, seconds=4):
        pairs = []
        for turn in range(self.pairs):
            pairs.append((self.receiver_ours(f"{letter}{turn}", file, how, rate, rate * seconds),
                          self.receiver_bare(file, how, rate, rate * seconds)))
        ours, bare = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        extra = statistics.median(a - b for a, b in pairs)
        print(f"({letter}) receiver CPU per million {'packets over TCP' if how else 'datagrams'} at {rate}/s: heptap {ours:.2f} s, "
              f"bare {bare:.2f} s, difference median {extra:+.2f} s  (aim: at most +1.20)")

    def tcp(self):
        self.receivers("e", how="tcp")

    def mix(self):
        self.receivers("f", self.mix_file)
        if not hasattr(self, "db"):
            self.database()
        self.steady("f", self.mix_file)

    def warm(self, count):
        """Have the kernel's page cache as it is on a server that has run for a minute, where the pages of segments that expire are used
        again: on a virtual machine the first touch of a page costs more than writing it."""
        scratch = self.folder / "scratch"
        with open(scratch, "wb") as f:
            for _ in range(count * 1500 >> 20):
                f.write(bytes(1 << 20))
        scratch.unlink()

    def receiver_bare(self, file, how, rate, count):
        port = lib.free_port()
        more = [how] if how else []
        sink = subprocess.Popen([self.build / "tests/bench/bench_sink", str(port), str(count), *more], stdout=subprocess.PIPE, text=True)
        sink.stdout.readline()
        self.tool("bench_send", file or self.file, port, count, rate, *more)
        taken, cpu = sink.communicate()[0].split()
        return float(cpu) / int(taken) * 1e6

    def receiver_ours(self, name, file, how, rate, count):
        h = server(self.build / "heptap", self.folder / name, "/nonexistent", top="hep_threads: 1")
        h.start()
        self.warm(count)
        self.tool("bench_send", file or self.file, h.port, count, rate, *([how] if how else []))
        seen = lambda m: m.sum("heptap_received_total") + m.sum("heptap_kernel_dropped_total")
        lib.wait_until(lambda: seen(h.metrics()) >= count, 30, "all received")
        m = h.metrics()
        cpu = m.values['heptap_thread_cpu_seconds_total{thread="ht-hep-0"}']
        h.stop()
        shutil.rmtree(h.folder)
        return cpu / m.sum("heptap_received_total") * 1e6

    def tables(self):
        lines = [line.split() for line in self.tool("bench_tables", self.pairs, 1000, 100_000, 4_000_000).splitlines()]
        whole = self.tool("bench_calls", self.file, self.pairs, 1000, 100_000, 4_000_000).splitlines()
        lines += [["whole", *line.split()] for line in whole]
        found = {}
        for what, entries, ours, reference in lines:
            found.setdefault((what, int(entries)), []).append((float(ours), float(reference)))
        aims = {"lookup": ("lookup, ns, against a bare cds_lfht", "at most", 1.2),
                "first": ("insertion into memory not used yet, once, ns, likewise", "no", "aim"),
                "batch": ("lookup in a batch, ns, against 1,000 entries", "no", "aim"),
                "message": ("SIP read, call found and noted, ns, against 1,000 entries", "no", "aim"),
                "whole": ("a whole message, datagram to row, ns, against 1,000 entries", "at most", 1.8),
                "seen": ("copy judged, ns, while the oldest are evicted, against 1,000 entries", "no", "aim"),
                "readers": ("two readers against one, lookups per CPU microsecond", "at least", 1.7)}
        for (what, entries), pairs in found.items():
            label, better, aim = aims[what]
            ours, reference = (statistics.median(p[i] for p in pairs) for i in (0, 1))
            print(f"(r) {entries:,} entries, {label}: {ours:.1f} and {reference:.1f}")
            show(f"(r) {what}", pairs, better, aim)

    def database(self, pool="1G"):
        self.db = lib.Database(self.folder / "db", [f"--innodb-buffer-pool-size={pool}", "--innodb-flush-log-at-trx-commit=2",
                                                    f"--innodb-log-file-size={'8G' if pool != '1G' else '512M'}"])
        self.db.install()
        self.db.start()

    def spooled(self, name, file, count, writers=1):
        """A server that is not running, and the spool of so many messages that it left while there was no database."""
        h = server(self.build / "heptap", self.folder / name, "/nonexistent", storage=f"writers: {writers}", top="hep_threads: 1")
        h.start()
        self.tool("bench_send", file, h.port, count, 20_000)
        lib.wait_until(lambda: h.metrics().sum("heptap_received_total") >= count, 30, "all received")
        h.stop()
        h.write(db_socket=self.db.socket)
        h.install()
        kept = self.folder / f"kept-{name}"
        shutil.move(h.settings["spool"], kept)
        return h, kept

    def drain(self, count=150_000):
        self.database()
        db = self.db
        h, kept = self.spooled("c", self.file, count)
        pairs, cpus = [], []
        for _ in range(self.pairs):
            ours, bare = self.drain_ours(db, h, kept, count), self.drain_bare(db, kept)
            pairs.append((ours[0], bare[0]))
            cpus.append((ours[1], ours[2], bare[1], bare[2]))
        per = [statistics.median(c[i] for c in cpus) for i in range(4)]
        print(f"(c) CPU seconds per million rows: heptap {per[0]:.2f} + mariadbd {per[1]:.2f}; bare insert {per[2]:.2f} + mariadbd {per[3]:.2f}")
        show("(c) rows per second, drain / bare insert", pairs, "at least", 0.95)
        show("(c) mariadbd CPU, drain / bare insert", [(c[1], c[3]) for c in cpus], "at most", 1.05)

    def empty(self, db, database="homer_db"):
        db.query("TRUNCATE sip_capture; TRUNCATE heptap_ledger", database)

    def drain_ours(self, db, h, kept, count):
        self.empty(db, h.settings["database"])
        shutil.copytree(kept, h.settings["spool"])
        server = process_cpu(db.process.pid)
        h.start()
        m = lib.wait_until(lambda: (lambda m: m if m.sum("heptap_stored_total") == count else None)(h.metrics()), 120, "drained")
        own = process_cpu(h.process.pid)
        rate = self.drain_rate(h)
        server = process_cpu(db.process.pid) - server
        h.stop()
        shutil.rmtree(h.settings["spool"])
        m.check_exact()
        return rate, own / count * 1e6, server / count * 1e6

    @staticmethod
    def drain_rate(h):
        """From the log: "... rows to be stored" to "stream ... is stored: N rows in T s"."""
        import re
        found = re.findall(r"is stored: (\d+) rows in ([0-9.]+) s", h.log_text().rsplit(" ready in ", 1)[1])
        return sum(int(rows) for rows, _ in found) / max(float(seconds) for _, seconds in found)

    def drain_bare(self, db, kept, processes=1, database="homer_db"):
        self.empty(db, database)
        tool = [str(self.build / "tests/bench/bench_insert"), str(kept), str(db.socket), database, "sip_capture", "1000"]
        parts = [subprocess.Popen(tool + ([str(i), str(processes)] if processes > 1 else []), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                 for i in range(processes)]
        if processes > 1:
            for p in parts:
                p.stdout.readline()
        server = process_cpu(db.process.pid)
        for p in parts:
            p.stdin.write("\n")
            p.stdin.close()
        done = [tuple(map(float, p.stdout.read().split())) for p in parts]
        server = process_cpu(db.process.pid) - server
        rows = sum(d[0] for d in done)
        return rows / max(d[1] for d in done), sum(d[2] for d in done) / rows * 1e6, server / rows * 1e6

    def steady(self, letter="d", file=None, rate=20_000, seconds=6):
        figures = []
        for turn in range(self.pairs):
            h = server(self.build / "heptap", self.folder / f"{letter}s{turn}", self.db.socket, top="hep_threads: 1", storage="writers: 1")
            h.install()
            self.empty(self.db)
            h.start()
            self.warm(rate * seconds)
            own, server, count = process_cpu(h.process.pid), process_cpu(self.db.process.pid), rate * seconds
            self.tool("bench_send", file or self.file, h.port, count, rate)
            m = h.wait_at_rest(count)
            stored = m.sum("heptap_stored_total")
            own, server = process_cpu(h.process.pid) - own, process_cpu(self.db.process.pid) - server
            threads = {k.split('"')[1]: v / stored * 1e6 for k, v in m.values.items() if k.startswith("heptap_thread_cpu")}
            figures.append((own / stored * 1e6, server / stored * 1e6, threads))
            h.stop()
            shutil.rmtree(h.folder)
        own, server = (statistics.median(f[i] for f in figures) for i in (0, 1))
        threads = {t: statistics.median(f[2][t] for f in figures) for t in figures[0][2]}
        print(f"({letter}) CPU seconds per million messages at {rate}/s, socket to commit: heptap {own:.2f} (aim: at most 5.5), mariadbd {server:.2f}; "
              + ", ".join(f"{t} {v:.2f}" for t, v in threads.items() if v >= 0.01))

    def placed(self, steady=20_000, burst=150_000, seconds=4):
        """HEP alone: no interrupt is moved for it, only threads are."""
        if not hasattr(self, "db"):
            self.database()
        figures = {mode: [] for mode in ("auto", "off")}
        for turn in range(self.pairs):
            for mode in figures:
                figures[mode].append(self.placed_once(f"s{mode}{turn}", mode, steady, burst, seconds))
        for mode, found in figures.items():
            own, lost, cpu = (statistics.median(f[i] for f in found) for i in range(3))
            print(f"(s) tune.mode {mode}: {own:.2f} CPU seconds per million messages at {steady}/s, socket to commit; at {burst}/s the kernel "
                  f"drops {lost:.2%}, and the threads that receive take {cpu:.2f} s per million")
        pairs = [[(a[i], b[i]) for a, b in zip(figures["auto"], figures["off"])] for i in (0, 2)]
        show("(s) CPU from socket to commit, auto / off", pairs[0], "at most", 1)
        show("(s) CPU of the threads that receive, auto / off", pairs[1], "at most", 1)

    def placed_once(self, name, mode, steady, burst, seconds):
        h = server(self.build / "heptap", self.folder / name, self.db.socket, top=f"tune: {{ mode: {mode} }}", storage="writers: 1")
        h.install()
        self.empty(self.db)
        h.start()
        count = steady * seconds
        self.warm(count)
        own = process_cpu(h.process.pid)
        self.tool("bench_send", self.file, h.port, count, steady)
        h.wait_at_rest(count)
        own = (process_cpu(h.process.pid) - own) / count * 1e6
        h.stop()
        shutil.rmtree(h.folder)
        return own, *self.placed_burst(name, mode, burst, seconds)

    def placed_burst(self, name, mode, rate, seconds):
        """Without a database, which would take most of both cores."""
        h = server(self.build / "heptap", self.folder / f"{name}b", "/nonexistent", top=f"tune: {{ mode: {mode} }}")
        h.start()
        count = rate * seconds
        self.warm(count)
        self.tool("bench_send", self.file, h.port, count, rate)
        seen = lambda m: m.sum("heptap_received_total") + m.sum("heptap_kernel_dropped_total")
        m = lib.wait_until(lambda: (lambda m: m if seen(m) >= count else None)(h.metrics()), 30, h.summary)
        cpu = sum(v for k, v in m.values.items() if k.startswith('heptap_thread_cpu_seconds_total{thread="ht-hep'))
        h.stop()
        shutil.rmtree(h.folder)
        return m.sum("heptap_kernel_dropped_total") / count, cpu / m.sum("heptap_received_total") * 1e6

    def end(self):
        if hasattr(self, "db"):
            self.db.stop()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--only", default="abcdefqrs")
    options = p.parse_args()
    folder = tempfile.mkdtemp(prefix="heptap-bench-")
    bench = Bench(options.build, folder, options.pairs)
    try:
        for letter, run in (("a", bench.rows), ("b", bench.receivers), ("c", bench.drain), ("d", bench.steady), ("e", bench.tcp), ("f", bench.mix),
                            ("q", bench.rules), ("r", bench.tables), ("s", bench.placed)):
            if letter in options.only:
                run()
    finally:
        bench.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
