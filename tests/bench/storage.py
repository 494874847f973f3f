"""Storage, in pairs of the same minute (see bench.py), with calls, registrations and users of their own, so that keys work as in service.

(g) rows per second of two writers draining a spool against two bare bulk inserts at once
(h) CPU of ht-spool and of all of heptap per million messages with durability spool and disk against memory
(i) arrival to commit at half load: p50 and p99
(j) CPU of mariadbd per million rows into our default table against a bare bulk insert into Homer's version 4 with ROW_FORMAT=DYNAMIC
(k) rows per second after the database was away at 20,000 messages per second against a bare bulk insert
--long: CPU of mariadbd and heptap per million rows at 20 million rows in the table against the first million; the server's buffer pool holds the
indexes (8 GiB) and its log some minutes (8 GiB), as they should in service
"""
import argparse
import shutil
import statistics
import tempfile
import time

import bench
import calls
import lib
import tables

AWAY_S = 10


class Storage(bench.Bench):
    def __init__(self, build, folder, pairs, pool):
        super().__init__(build, folder, pairs)
        self.calls = self.folder / "calls"
        calls.write(self.calls, 200_000)
        self.database(pool)

    def two_writers(self, count=200_000):
        h, kept = self.spooled("g", self.calls, count, writers=2)
        pairs, cpus = [], []
        for _ in range(self.pairs):
            ours, bare = self.drain_ours(self.db, h, kept, count), self.drain_bare(self.db, kept, 2)
            pairs.append((ours[0], bare[0]))
            cpus.append((ours[2], bare[2]))
        print(f"(g) two writers: {statistics.median(p[0] for p in pairs):.0f} rows/s, two bare inserts {statistics.median(p[1] for p in pairs):.0f} rows/s")
        bench.show("(g) rows per second, two writers / two bare inserts", pairs, "at least", 0.85)
        bench.show("(g) mariadbd CPU, two writers / two bare inserts", cpus, "at most", 1.05)

    def durabilities(self, rate=15_000, seconds=5):
        kinds = ("memory", "spool", "disk")
        figures = {k: [] for k in kinds}
        for turn in range(self.pairs):
            for k in kinds:
                figures[k].append(self.durability(f"{k}{turn}", k, rate, seconds))
        for k in kinds[1:]:
            pairs = list(zip(figures[k], figures["memory"]))
            own, spool = (statistics.median(a[i] - b[i] for a, b in pairs) for i in (0, 1))
            print(f"(h) CPU seconds per million messages, durability {k} against memory: heptap {own:+.2f}, of it ht-spool {spool:+.2f}; "
                  f"ratio {statistics.median(a[0] / b[0] for a, b in pairs):.2f}")

    def durability(self, name, kind, rate, seconds):
        h = bench.server(self.build / "heptap", self.folder / name, self.db.socket, top="hep_threads: 1\nmemory: 2G", storage="writers: 1",
                       spool_more=f", durability: {kind}")
        h.install()
        self.empty(self.db)
        h.start()
        self.warm(rate * seconds)
        own = bench.process_cpu(h.process.pid)
        self.tool("bench_send", self.calls, h.port, rate * seconds, rate)
        m = h.wait_at_rest(rate * seconds, 120)
        own = bench.process_cpu(h.process.pid) - own
        stored = m.sum("heptap_stored_total")
        spool = m.values['heptap_thread_cpu_seconds_total{thread="ht-spool"}']
        h.stop()
        shutil.rmtree(h.folder)
        return own / stored * 1e6, spool / stored * 1e6

    def latency(self, seconds=8):
        """Half load: half of what one writer drains here, less what the sender and the receiver beside it need."""
        h, kept = self.spooled("i", self.calls, 100_000)
        drained = self.drain_ours(self.db, h, kept, 100_000)[0]
        rate = int(drained / 4)
        found = []
        for _ in range(self.pairs):
            self.empty(self.db)
            h.start()
            self.tool("bench_send", self.calls, h.port, rate * seconds, rate)
            m = h.wait_at_rest(rate * seconds, 120)
            found.append((quantile(m, 0.5), quantile(m, 0.99)))
            h.stop()
            shutil.rmtree(h.settings["spool"])
        p50, p99 = (statistics.median(f[i] for f in found) for i in (0, 1))
        print(f"(i) arrival to commit at {rate}/s (drains {drained:.0f}/s alone): p50 {p50 * 1e3:.0f} ms (aim: at most 20), "
              f"p99 {p99 * 1e3:.0f} ms (aim: at most 60)")

    def schema(self, count=200_000):
        h, kept = self.spooled("j", self.calls, count)
        self.db.query("CREATE DATABASE IF NOT EXISTS v4", None)
        self.db.query("DROP TABLE IF EXISTS sip_capture; " + tables.create(tables.V4, "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8"), "v4")
        theirs = bench.server(self.build / "heptap", self.folder / "v4", self.db.socket, database="v4", storage="writers: 1", top="hep_threads: 1")
        theirs.install()
        costs = [(self.drain_ours(self.db, h, kept, count)[2], self.drain_bare(self.db, kept, database="v4")[2],
                  self.drain_ours(self.db, theirs, kept, count)[2]) for _ in range(self.pairs)]
        ours, bare, v4 = (statistics.median(c[i] for c in costs) for i in range(3))
        print(f"(j) mariadbd CPU seconds per million rows: our table {ours:.2f}, Homer's version 4 DYNAMIC by a bare bulk insert {bare:.2f}, by heptap {v4:.2f}")
        bench.show("(j) mariadbd CPU, ours / bare insert into Homer's version 4 DYNAMIC", [c[:2] for c in costs], "at most", 0.7)

    def outage(self, seconds=AWAY_S, rate=20_000):
        pairs = []
        for turn in range(min(self.pairs, 3)):
            h = bench.server(self.build / "heptap", self.folder / f"k{turn}", self.db.socket, storage="writers: 1", top="hep_threads: 1")
            h.install()
            self.empty(self.db)
            h.start()
            self.db.stop()
            self.tool("bench_send", self.calls, h.port, rate * seconds, rate)
            waiting = lib.wait_until(lambda: (lambda m: m.sum("heptap_in_memory") == 0 and m.sum("heptap_in_spool"))(h.metrics()), 60, "all is in the spool")
            kept = self.folder / f"kept-k{turn}"
            shutil.copytree(h.settings["spool"], kept)
            self.db.start()
            first, begun, stored = 0, 0, 0
            while stored < waiting:
                m = h.metrics()
                stored = m.sum("heptap_stored_total")
                if stored and not begun:
                    first, begun = stored, time.monotonic()
                time.sleep(0.02)
            ours = (stored - first) / (time.monotonic() - begun)
            m = h.wait_at_rest(rate * seconds)
            m.check_exact()
            lib.check_equal(m.sum("heptap_lost_total") + m.sum("heptap_shed_total"), 0, "losses")
            lib.check_equal(self.db.number("SELECT COUNT(*) FROM sip_capture"), m.sum("heptap_accepted_total"), "rows")
            h.stop()
            pairs.append((ours, self.drain_bare(self.db, kept)[0]))
            shutil.rmtree(kept)
            shutil.rmtree(h.folder)
        bench.show(f"(k) rows per second after {seconds} s without the database, drain / bare insert", pairs, "at least", 0.9)

    def growth(self, millions=20, rate=30_000):
        """A million at a time, all into one partition."""
        h = bench.server(self.build / "heptap", self.folder / "growth", self.db.socket, storage="writers: 1", top="hep_threads: 1", spool_max="20G")
        h.install()
        self.empty(self.db)
        h.start()
        costs, drained = [], 0
        for k in range(millions):
            calls.write(self.calls, 1_000_000, seed=1000 + k)
            own, server = bench.process_cpu(h.process.pid), bench.process_cpu(self.db.process.pid)
            self.tool("bench_send", self.calls, h.port, 1_000_000, rate)
            m = h.wait_at_rest((k + 1) * 1_000_000, 600)
            stored = m.sum("heptap_stored_total") - drained
            drained += stored
            costs.append(((bench.process_cpu(h.process.pid) - own) / stored * 1e6, (bench.process_cpu(self.db.process.pid) - server) / stored * 1e6))
            print(f"    million {k + 1}: heptap {costs[-1][0]:.2f}, mariadbd {costs[-1][1]:.2f}", flush=True)
        h.wait_at_rest(millions * 1_000_000).check_exact()
        h.stop()
        last = [statistics.median(c[i] for c in costs[-3:]) for i in (0, 1)]
        first = [statistics.median(c[i] for c in costs[:3]) for i in (0, 1)]
        print(f"cost of a row at {millions} million rows against the first: heptap {last[0] / first[0]:.2f}, mariadbd {last[1] / first[1]:.2f}, "
              f"together {sum(last) / sum(first):.2f} (aim: at most 1.1)")


def quantile(m, q):
    """Of heptap_store_latency_seconds, linear inside its bucket."""
    buckets = sorted((float("inf") if "+Inf" in k else float(k.split('le="')[1].split('"')[0]), v)
                     for k, v in m.values.items() if k.startswith("heptap_store_latency_seconds_bucket"))
    want, low, below = buckets[-1][1] * q, 0.0, 0.0
    for high, count in buckets:
        if count >= want:
            return low + (high - low) * (want - below) / (count - below) if high != float("inf") else low
        low, below = high, count
    return low


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--only", default="ghijk")
    p.add_argument("--long", action="store_true", help="twenty million rows, and a minute without the database, instead")
    p.add_argument("--millions", type=int, default=20)
    options = p.parse_args()
    folder = tempfile.mkdtemp(prefix="heptap-bench-")
    storage = Storage(options.build, folder, options.pairs, "8G" if options.long else "1G")
    try:
        if options.long:
            if "k" in options.only:
                storage.outage(60)
            storage.growth(options.millions)
            return
        for letter, run in (("g", storage.two_writers), ("h", storage.durabilities), ("i", storage.latency), ("j", storage.schema), ("k", storage.outage)):
            if letter in options.only:
                run()
    finally:
        storage.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
