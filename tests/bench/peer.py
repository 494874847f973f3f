"""heptap and Kamailio's sipcapture on the same load, the same table and the same database, in turn.

Load: the SIP records of recorded captures, HEP 3 over UDP, again and again at a rate. Table: the columns of Homer 3's version 4 and the three
that Kamailio 5 adds. Kamailio has four children, as big a receive buffer as the host lets it have, nothing in its routes but
sip_capture(), and plain INSERT, as INSERT DELAYED is not for InnoDB. For each row format:

- the highest rate without loss (datagrams sent - rows there after the backlog is stored), found by probes and confirmed over a longer run;
- the highest rate at which the rows are there two seconds after the last datagram, since heptap may queue on disk what Kamailio has to lose;
- CPU seconds per million rows of the server (all its processes) and of mariadbd at the same rate, in pairs.

The sender runs on the same host, so only ratios mean something.
"""
import argparse
import math
import os
import pathlib
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import bench  # noqa: E402
import lib  # noqa: E402
import tables  # noqa: E402

FORMATS = {"DYNAMIC": "ROW_FORMAT=DYNAMIC", "COMPRESSED": "ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8"}
AIMS = {"DYNAMIC": 4, "COMPRESSED": 2}  # times the peer's rate
AIM_CPU = 1 / 12  # of the peer's CPU per row
IN_TIME = 2.0  # seconds after the last datagram
PATIENCE = 60  # seconds for a backlog; what is in heptap's spool by then is counted by heptap, not by the table
KAMAILIO = """\
debug=-1
log_stderror=yes
fork=yes
children=4
disable_tcp=yes
auto_aliases=no
maxbuffer=67108864
listen=udp:127.0.0.1:{port}
mpath="{modules}"
loadmodule "pv.so"
loadmodule "db_mysql.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "mysql://root@localhost/homer_db")
modparam("sipcapture", "table_name", "sip_capture")
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "hep_capture_on", 1)
modparam("sipcapture", "capture_node", "node1")
request_route {{
	sip_capture();
	drop;
}}
onreply_route {{
	sip_capture();
	drop;
}}
"""


def load(path):
    """The records that both take: Kamailio refuses replies without a Via, which some captures have. @return how many"""
    count = 0
    with open(path, "wb") as out:
        for name in bench.CAPTURES:
            for packet in lib.udp_payloads(lib.FIXTURES / "hep" / f"{name}.pcap"):
                sip_reply_without_via = b"SIP/2.0 " in packet and b"\nVia:" not in packet and b"\nv:" not in packet
                if lib.chunk(11, b"\x01") in packet and not sip_reply_without_via:
                    out.write(struct.pack("=I", len(packet)) + packet)
                    count += 1
    return count


class Kamailio:
    name = "Kamailio"

    def __init__(self, folder, db):
        self.folder, self.db, self.port, self.process = folder / "kamailio", db, lib.free_port(), None
        self.folder.mkdir(exist_ok=True)
        modules = next(pathlib.Path("/usr/lib").glob("*/kamailio/modules"))
        (self.folder / "cfg").write_text(KAMAILIO.format(port=self.port, modules=modules))

    def start(self):
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(["kamailio", "-DD", "-E", "-m", "64", "-M", "8", "-f", "cfg", "-Y", str(self.folder)], stdout=log, stderr=log,
                                            cwd=self.folder, env={**os.environ, "MYSQL_UNIX_PORT": self.db.socket}, start_new_session=True)
        lib.wait_until(lambda: len(self.pids()) > 4 and self.db.number("SELECT COUNT(*) FROM information_schema.processlist") >= 5, 20,
                       "kamailio is connected: " + (self.folder / "log").read_text(errors="replace")[-600:])

    def pids(self):
        me = self.process.pid
        return [me, *map(int, pathlib.Path(f"/proc/{me}/task/{me}/children").read_text().split())]

    def cpu(self):
        return sum(bench.process_cpu(p) for p in self.pids())

    def waiting(self):
        """Octets in its socket's buffer."""
        for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:]:
            field = line.split()
            if field[1].endswith(f":{self.port:04X}"):
                return int(field[4].split(":")[1], 16)
        raise lib.Failure("kamailio's socket is gone")

    def lost(self, sent):
        """Only its rows tell."""
        return 0

    def drain(self, sent, seconds):
        """Wait until its socket is empty and no row has come for half a second. @return the time at which the last one was seen"""
        rows, seen = -1, time.monotonic()
        while True:
            now = self.db.inserted()
            if now != rows:
                rows, seen = now, time.monotonic()
            elif now >= sent or (self.waiting() == 0 and time.monotonic() - seen > 0.5):
                return seen
            time.sleep(0.05)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                for pid in self.pids()[::-1]:
                    os.kill(pid, signal.SIGKILL)
                self.process.wait(20)


class Ours:
    name = "heptap"

    def __init__(self, options, folder, db):
        self.folder = folder / "heptap"
        self.h = lib.Heptap(pathlib.Path(options.build) / "heptap", self.folder, db.socket, tune="auto")
        self.port = self.h.port

    def start(self):
        shutil.rmtree(self.folder / "spool", ignore_errors=True)
        self.h.log.unlink(missing_ok=True)
        self.h.start()

    def cpu(self):
        return bench.process_cpu(self.h.process.pid)

    def lost(self, sent):
        """What is neither stored nor on its way, by its own count."""
        def at_rest():
            m = self.h.metrics()
            return m if m.sum("heptap_received_total") + m.sum("heptap_kernel_dropped_total") >= sent else None
        m = lib.wait_until(at_rest, 30, "all received or dropped")
        return sent - m.sum("heptap_stored_total") - m.sum("heptap_in_memory") - m.sum("heptap_in_spool")

    def drain(self, sent, seconds):
        """@return the time at which all rows were stored, or None if that took more than so many seconds"""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            m = self.h.metrics()
            if m.sum("heptap_stored_total") >= sent:
                m.check_exact()
                return time.monotonic()
            time.sleep(0.02)
        return None

    def end(self):
        self.h.end()


class Database(lib.Database):
    def inserted(self):
        """INSERT statements so far: Kamailio makes one for each row."""
        return int(self.query("SHOW GLOBAL STATUS LIKE 'Com_insert'", None)[0][1]) - self.before

    def empty(self, row_format):
        self.query("DROP TABLE IF EXISTS sip_capture, heptap_ledger, heptap_ids")
        self.query(tables.create({**tables.V4, **tables.CUSTOM}, f"ENGINE=InnoDB {FORMATS[row_format]} DEFAULT CHARSET=utf8"))
        self.before = 0
        self.before = self.inserted()


class Run:
    """One rate for some seconds: what was lost, when the last row was there, and CPU of either side per million rows."""

    def __init__(self, peer, server, row_format, rate, seconds, patience=PATIENCE):
        db = peer.db
        self.asked, self.late, self.own, self.others = rate, math.inf, math.nan, math.nan
        db.empty(row_format)
        try:
            server.start()
            own, others = server.cpu(), bench.process_cpu(db.process.pid)
            begin = time.monotonic()
            self.sent = int(subprocess.run([peer.build / "tests/bench/bench_send", peer.file, str(server.port), str(rate * seconds), str(rate)],
                                           check=True, capture_output=True, text=True).stdout)
            end = time.monotonic()
            self.rate = self.sent / (end - begin)  # the sender may be slower than it was asked to be
            self.lost = server.lost(self.sent)
            last = None if self.lost else server.drain(self.sent, patience)
            if last is not None:
                self.late = max(0.0, last - end)
                own, others = server.cpu() - own, bench.process_cpu(db.process.pid) - others
                stored = db.number("SELECT COUNT(*) FROM sip_capture")
                self.lost = self.sent - stored
                self.own, self.others = own / max(stored, 1) * 1e6, others / max(stored, 1) * 1e6
        finally:
            server.end()
        if peer.verbose:
            print(f"    {server.name} {row_format} {rate}/s for {seconds} s: sent {self.sent} at {self.rate:.0f}/s, lost {self.lost}, "
                  f"last row {self.late:.1f} s behind, CPU {self.own:.1f} + {self.others:.1f}", flush=True)


def without_loss(run):
    return run.lost == 0


def in_time(run):
    return run.lost == 0 and run.late <= IN_TIME


class Peer:
    def __init__(self, options, folder):
        self.build, self.verbose = pathlib.Path(options.build), options.verbose
        self.probe_s, self.run_s, self.pair_s, self.pairs = (2, 5, 4, 1) if options.quick or options.brief else (3, 20, 10, 2)
        self.file = folder / "datagrams"
        count = load(self.file)
        self.db = Database(folder / "db", ["--sql-mode=", "--innodb-buffer-pool-size=2G", "--innodb-log-file-size=512M",
                                           "--innodb-flush-log-at-trx-commit=2"])
        self.ours, self.theirs = Ours(options, folder, self.db), Kamailio(folder, self.db)
        print(f"{count} datagrams of {len(bench.CAPTURES)} captures", flush=True)

    def start(self):
        self.db.install()
        self.db.start()
        self.db.query("CREATE DATABASE homer_db", None)

    def best(self, server, row_format, good, rate, seconds, patience):
        """A run, and another one if that was not good: what else the host does must not decide."""
        run = Run(self, server, row_format, int(rate), seconds, patience)
        return run if good(run) else Run(self, server, row_format, int(rate), seconds, patience)

    def highest(self, server, row_format, good, begin, patience):
        """Probe by doubling, then halve the gap, then confirm over a longer run, going down until one is good. @return that run"""
        low, high, rate = None, None, begin
        while high is None or low is None or high / low > 1.12:
            probe = self.best(server, row_format, good, rate, self.probe_s, patience)
            if not good(probe):
                high = rate
            elif probe.rate < 0.9 * rate:
                low = probe.rate
                break  # the sender does not go faster
            else:
                low = rate
            rate = rate * 2 if high is None else rate / 2 if low is None else math.sqrt(low * high)
        rate = low
        while True:
            run = self.best(server, row_format, good, rate, self.run_s, PATIENCE if good is without_loss else patience)
            if good(run):
                return run
            rate *= 0.9

    def rates(self, row_format):
        theirs = self.highest(self.theirs, row_format, without_loss, 4000, PATIENCE)
        timely = self.highest(self.ours, row_format, in_time, 2 * theirs.asked, IN_TIME)
        ours = self.highest(self.ours, row_format, without_loss, 2 * timely.asked, 0)
        late = f"last row {ours.late:.0f} s later" if ours.late < PATIENCE else f"not all of it stored {PATIENCE} s later, the rest in the spool"
        print(f"{row_format}: highest rate without loss over {self.run_s} s: heptap {ours.rate:.0f}/s ({late}), "
              f"Kamailio {theirs.rate:.0f}/s ({theirs.late:.1f} s): {ours.rate / theirs.rate:.1f} times")
        print(f"{row_format}: the same with all rows there {IN_TIME:.0f} s after the last datagram: heptap {timely.rate:.0f}/s: "
              f"{timely.rate / theirs.rate:.1f} times (aim: at least {AIMS[row_format]}); CPU seconds per million rows then: heptap {timely.own:.1f} + mariadbd {timely.others:.1f}",
              flush=True)
        return theirs.asked

    def costs(self, row_format, rate):
        """CPU at a rate that both can take. A run that lost something has met a busy host and is done again."""
        pairs, left = [], 3
        while len(pairs) < self.pairs:
            pair = [Run(self, server, row_format, int(rate), self.pair_s) for server in (self.theirs, self.ours)]
            if any(run.lost for run in pair):
                left -= 1
                lib.check(left > 0, f"losses at {rate:.0f}/s again and again: the host is too busy for a comparison")
                continue
            pairs.append(pair)
        theirs, ours = ([statistics.median(getattr(p[i], side) for p in pairs) for side in ("own", "others")] for i in (0, 1))
        print(f"{row_format}: CPU seconds per million rows at {int(rate)}/s: heptap {ours[0]:.1f} + mariadbd {ours[1]:.1f}, "
              f"Kamailio {theirs[0]:.1f} + mariadbd {theirs[1]:.1f}; heptap/Kamailio: server {ours[0] / theirs[0]:.3f} "
              f"(aim: at most {AIM_CPU:.3f}), "
              f"mariadbd {ours[1] / theirs[1]:.2f}, together {sum(ours) / sum(theirs):.2f}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--quick", action="store_true", help="shorter runs: three minutes instead of ten")
    p.add_argument("--brief", action="store_true", help="only CPU at one modest rate: a quarter of a minute")
    p.add_argument("--only", default="", help="only this row format")
    p.add_argument("--verbose", action="store_true", help="each run")
    options = p.parse_args()
    if not shutil.which("kamailio") or not list(pathlib.Path("/usr/lib").glob("*/kamailio/modules/db_mysql.so")):
        print("no comparison with Kamailio: kamailio-mysql-modules is not installed (make bench-long installs it)")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="heptap-peer-"))
    peer = Peer(options, folder)
    try:
        peer.start()
        if options.brief:
            peer.costs("DYNAMIC", 3000)
            return
        for row_format in FORMATS:
            if options.only in row_format:
                peer.costs(row_format, 0.6 * peer.rates(row_format))
    finally:
        peer.db.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
