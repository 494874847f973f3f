"""Against Debian's Kamailio with its sipcapture module and four children: the same load into the same table of the same server.

Per table (Homer's version 4 with the four columns more that this Kamailio wants, DYNAMIC and COMPRESSED): the highest rate of HEP 3 over UDP at which nothing is lost over some seconds, and
CPU seconds of either program and of mariadbd per million rows at a rate that both carry. Rounds alternate; only ratios mean something.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import lib  # noqa: E402
import tables  # noqa: E402
from bench import corpus, process_cpu  # noqa: E402

CONFIG = """\
debug=0
log_stderror=yes
fork=yes
children=4
disable_tcp=yes
auto_aliases=no
listen=udp:127.0.0.1:{port}
socket_workers=4
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules"
loadmodule "pv.so"
loadmodule "db_mysql.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "mysql://peer:peer@127.0.0.1:{database}/homer_db")
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "hep_capture_on", 1)
modparam("sipcapture", "table_name", "sip_capture")
modparam("sipcapture", "capture_node", "node1")
request_route {{
	sip_capture();
	exit;
}}
onreply_route {{
	sip_capture();
	drop;
}}
"""


def descendants(pid):
    out = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            out += descendants(int(child))
    return out


class Kamailio:
    name = "kamailio sipcapture"

    def __init__(self, folder, db):
        self.port = lib.free_port()
        self.folder = folder / f"k{self.port}"
        self.folder.mkdir()
        (self.folder / "cfg").write_text(CONFIG.format(port=self.port, database=db.port))
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(["kamailio", "-DD", "-E", "-m", "256", "-M", "16", "-f", str(self.folder / "cfg"), "-Y", str(self.folder)],
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        time.sleep(2)
        if self.process.poll() is not None:
            raise lib.Failure((self.folder / "log").read_text()[-2000:])

    def cpu(self):
        return sum(process_cpu(p) for p in descendants(self.process.pid))

    def end(self):
        self.process.terminate()
        self.process.wait(20)


class Heptap:
    name = "heptap"

    def __init__(self, folder, db, binary):
        self.h = lib.Heptap(binary, folder / f"h{lib.free_port()}", "''", storage=f"password: peer\n  host: 127.0.0.1\n  port: {db.port}", user="peer")
        self.h.start()
        self.port = self.h.port

    def cpu(self):
        return process_cpu(self.h.process.pid)

    def end(self):
        self.h.stop()
        shutil.rmtree(self.h.folder)


class Peer:
    def __init__(self, options, folder):
        self.options, self.folder = options, pathlib.Path(folder)
        self.build = pathlib.Path(options.build)
        self.file = self.folder / "datagrams"
        corpus(self.file)
        port = lib.free_port()
        self.db = lib.Database(self.folder / "db", ["--skip-networking=0", "--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve",
                                                    "--innodb-buffer-pool-size=2G", "--innodb-flush-log-at-trx-commit=2", "--innodb-log-file-size=1G",
                                                    "--max-connections=100", "--sql-mode="])
        self.db.install()
        self.db.port = port
        self.db.start()
        self.db.query("CREATE DATABASE homer_db; CREATE USER peer@'127.0.0.1' IDENTIFIED BY 'peer'; GRANT ALL ON *.* TO peer@'127.0.0.1'", None)

    def start(self, which):
        self.db.query("TRUNCATE sip_capture")
        return Kamailio(self.folder, self.db) if which == "kamailio" else Heptap(self.folder, self.db, self.build / "heptap")

    def table(self, row_format):
        self.db.query("DROP TABLE IF EXISTS sip_capture")
        engine = tables.COMPRESSED if row_format == "COMPRESSED" else "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8"
        self.db.query(tables.create(tables.changed(tables.HOMER5, msg="varchar(3000) NOT NULL DEFAULT ''"), engine))

    def rows(self):
        return self.db.number("SELECT COUNT(*) FROM sip_capture")

    def settled(self):
        """Rows once they have stopped to come."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 2.0:
            now = self.rows()
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.3)
        return last

    def round(self, which, rate, seconds):
        """@return sent, stored, seconds until all was stored, CPU of the program and of mariadbd per million rows."""
        program = self.start(which)
        count = int(rate * seconds)
        own, server = program.cpu(), process_cpu(self.db.process.pid)
        begun = time.monotonic()
        subprocess.run([self.build / "tests/bench/bench_send", str(self.file), str(program.port), str(count), str(rate)], check=True,
                       stdout=subprocess.DEVNULL)
        sending = time.monotonic() - begun
        stored = self.settled()
        took = time.monotonic() - begun - 2.0
        own, server = program.cpu() - own, process_cpu(self.db.process.pid) - server
        program.end()
        per = 1e6 / stored if stored else 0
        return count, stored, took - sending, own * per, server * per

    def highest(self, which, low, high):
        """The highest rate without loss and without a backlog of more than a second, to a twentieth."""
        good, cost = 0, (0, 0)
        sent, stored, *_ = self.round(which, 300, 4)
        share = stored / sent  # what it takes at all: the peer refuses some valid replies at any rate
        if share < 1:
            print(f"    {which} stores {share:.1%} of the messages at any rate; the others do not count as lost by it")
        while high / max(low, 1) > 1.06:
            rate = int((low * high) ** 0.5)
            sent, stored, late, own, server = self.round(which, rate, self.options.seconds)
            is_good = stored >= int(sent * share * 0.999) and late < 1.0 + self.options.seconds * 0.05
            print(f"    {which} at {rate}/s: {stored} of {sent}, {late:.1f} s behind, CPU per million rows {own:.1f} + mariadbd {server:.1f}", flush=True)
            if is_good:
                good, low, cost = rate, rate, (own, server)
            else:
                high = rate
        return good, cost

    def compare(self, row_format):
        self.table(row_format)
        theirs, their_cost = self.highest("kamailio", 500, 12_000)
        ours, our_cost = self.highest("heptap", max(theirs, 500), 80_000)
        sent, stored, _, own, server = self.round("heptap", max(theirs, 500), self.options.seconds)
        print(f"{row_format}: highest rate without loss over {self.options.seconds} s: heptap {ours}/s, kamailio {theirs}/s: "
              f"{ours / max(theirs, 1):.1f} times (aim: at least {4 if row_format == 'DYNAMIC' else 2})")
        print(f"{row_format}: CPU seconds per million rows: heptap {our_cost[0]:.1f} + mariadbd {our_cost[1]:.1f} at its highest, {own:.1f} + {server:.1f} "
              f"at the other's; kamailio {their_cost[0]:.1f} + mariadbd {their_cost[1]:.1f}: own CPU {own / max(their_cost[0], 0.01):.3f} "
              f"of the other's (aim: at most {1 / 12:.3f})")

    def end(self):
        self.db.stop()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--formats", default="DYNAMIC,COMPRESSED")
    options = p.parse_args()
    folder = tempfile.mkdtemp(prefix="heptap-peer-")
    peer = Peer(options, folder)
    try:
        for row_format in options.formats.split(","):
            peer.compare(row_format)
    finally:
        peer.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
