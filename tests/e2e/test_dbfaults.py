"""What goes wrong with a database that is still there, or somewhere between it and us: nothing is lost, nothing is stored twice."""
import os
import random
import socket
import subprocess
import threading
import time

from lib import Database, Failure, check, check_equal, check_once, hep3, only_waits, sip, wait_until
from test_faults import ByteProxy, Load, finish


def is_waiting(h, rows):
    m = h.metrics()
    return m.sum("heptap_in_spool") >= rows and m.sum("heptap_db_up") == 0


def told(h):
    """How often the log said that rows wait, and that they are stored again."""
    log = h.log_text()
    return log.count("rows wait in the spool"), log.count("database: stores again")


def plain_user(world, h):
    """The writer of `heptap schema print grants`: no SUPER, and no table that it could make."""
    world.db.query(h.command("schema", "print", "grants").stdout.replace("IDENTIFIED BY 'CHANGE-ME-", "IDENTIFIED BY 'pw-"))
    h.write(user="homer_writer", storage="password: pw-1")


class Session:
    """Another client of the server, one statement at a time; ends when the test says so."""

    def __init__(self, db, *statements, user="root", password=""):
        self.process = subprocess.Popen([*db.client("")[:-2], "-u", user, f"--password={password}", "--unbuffered", "--delimiter=//", "homer_db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.say(*statements)

    def say(self, *statements):
        """Returns when all of them are done."""
        self.begin(*statements, "SELECT 'done'")
        while line := self.process.stdout.readline():
            if line == b"done\n":
                return
        raise Failure("the other session ended: " + self.process.stderr.read().decode())

    def begin(self, *statements):
        """Does not wait."""
        self.process.stdin.write(b"".join(s.encode() + b"//\n" for s in statements))
        self.process.stdin.flush()

    def end(self):
        out, err = self.process.communicate()
        return out + err


# ---- not there ----

class Refuser:
    """A server's socket where each connection is closed at once; when each came."""

    def __init__(self, path):
        self.came_at = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(64)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            while True:
                client, _ = self.listener.accept()
                self.came_at.append(time.monotonic())
                client.close()
        except OSError:
            pass


def test_down_at_start_and_for_long(world):
    """No database at the start: heptap is ready, takes messages, tries ever more rarely and not evenly, says so once; then all is stored."""
    db = world.database()
    h = world.heptap(start=False, storage="writers: 2")
    db.stop()
    os.unlink(db.socket) if os.path.exists(db.socket) else None
    refuser = Refuser(db.socket)
    begun = time.monotonic()
    h.start()
    h.send([hep3(sip(n)) for n in range(500)], pause_each=50)
    wait_until(lambda: is_waiting(h, 500), 20, "rows wait")
    wait_until(lambda: h.metrics().sum("heptap_retries_total") >= 14, 90, "seven tries of each writer")
    tries, took = h.metrics().sum("heptap_retries_total") / 2, time.monotonic() - begun
    pauses = [0.75 * min(0.05 * 2**i, 5) for i in range(int(tries) - 1)]
    check(took >= sum(pauses), f"{tries} tries in {took:.1f} s: at least {sum(pauses):.1f} s should lie between them")
    gaps = {round((b - a) * 1000) for a, b in zip(refuser.came_at, refuser.came_at[1:])}
    check(len(gaps) > 5, f"the tries come evenly: {refuser.came_at}")
    check_equal((h.get("/readyz")[0], told(h)), (200, (1, 0)), "ready; lines in the log:\n" + h.log_text())
    h.metrics().check_exact()
    refuser.listener.close()
    os.unlink(db.socket)
    db.start()
    finish(db, h, range(500))
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 30, "the writer that had nothing to store is back, too")
    check_equal(told(h), (1, 1), "lines in the log:\n" + h.log_text())
    check_equal(h.stop(), 0, "exit code")


def test_each_outage_is_told_once(world):
    """Three outages: one line each when it begins and when it ends."""
    db = world.database()
    h = world.heptap(storage="writers: 2")
    for turn in range(3):
        db.stop()
        h.send([hep3(sip(n)) for n in range(turn * 100, turn * 100 + 100)])
        wait_until(lambda: is_waiting(h, 100), 20, "rows wait")
        check_equal(h.get("/readyz"), (200, "receiving: yes\nstoring: no\nspooling: yes\n"), "readyz")
        db.start()
        h.wait_at_rest((turn + 1) * 100)
        wait_until(lambda: told(h) == (turn + 1, turn + 1), 20, lambda: f"lines in the log: {told(h)}")
    finish(db, h, range(300))
    h.stop()


def test_a_server_that_says_nothing_does_not_keep_us_from_ending(world):
    """It takes connections and is silent: rows wait in the spool, SIGTERM ends heptap all the same, and the next start stores them."""
    db = world.database()
    h = world.heptap(start=False)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(world.folder / "silent"))
        silent.listen(64)
        h.write(db_socket=world.folder / "silent")
        h.start()
        h.send([hep3(sip(n)) for n in range(200)])
        wait_until(lambda: h.metrics().sum("heptap_in_spool") == 200, 20, "rows wait")
        check_equal(h.stop(), 0, "exit code")
    h.write(db_socket=db.socket)
    h.start()
    finish_recovered(db, h, range(200))
    h.stop()


def finish_recovered(db, h, numbers):
    """As finish(), for messages that an earlier start received."""
    def at_rest():
        m = h.metrics()
        return m if m.sum("heptap_stored_total") == len(numbers) and m.sum("heptap_in_spool") == 0 else None
    m = wait_until(at_rest, 90, lambda: f"{len(numbers)} stored: {h.summary()}")
    m.check_exact()
    check_equal(m.sum("heptap_lost_total"), 0, "lost")
    check_once(db, numbers)


# ---- there, and not willing ----

def test_read_only_for_a_user_without_super(world):
    """read_only=1 at the start, taken back, set again under load: rows wait with one line each time."""
    db = world.database()
    h = world.heptap(start=False)
    plain_user(world, h)
    db.query("SET GLOBAL read_only = 1")
    h.start()
    h.send([hep3(sip(n)) for n in range(300)], pause_each=50)
    wait_until(lambda: is_waiting(h, 300) and told(h) == (1, 0), 20, lambda: f"rows wait, said once: {told(h)} {h.summary()}")
    check("read-only" in h.log_text(), "the server's words are in the log:\n" + h.log_text())
    db.query("SET GLOBAL read_only = 0")
    h.wait_at_rest(300)
    wait_until(lambda: told(h) == (1, 1), 20, "told")
    load = Load(h.port, per_second=1000, first=300)
    before = h.metrics().sum("heptap_stored_total")
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 200, 30, "rows flow")
    db.query("SET GLOBAL read_only = 1")
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 0, 20, "down")
    db.query("SET GLOBAL read_only = 0")
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 20, "up")
    numbers = load.stop()
    finish(db, h, range(numbers.stop))
    check_equal((told(h), h.stop()), ((2, 2), 0), "lines in the log, exit code:\n" + h.log_text())


def test_no_connection_left(world):
    """Ours are killed and taken by others (1040), then our account has as many as it may (1203): rows wait until there is room."""
    db = world.database(["--max-connections=10", "--max-user-connections=5"])
    h = world.heptap(start=False)
    plain_user(world, h)
    h.start()
    h.send([hep3(sip(n)) for n in range(100)])
    h.wait_at_rest(100)
    reserve = Session(db)  # the one that is kept for an administrator
    others = []
    def nobody_can_come():
        try:
            others.append(Session(db))
        except (Failure, BrokenPipeError):
            others.append(None)
        kill_connections(reserve)
        return others[-1] is None
    wait_until(nobody_can_come, 30, "connections are used up")
    h.send([hep3(sip(n)) for n in range(100, 300)])
    wait_until(lambda: is_waiting(h, 200) and told(h)[0] == 1, 20, "rows wait, told once")
    for other in filter(None, others):
        other.end()
    h.wait_at_rest(300)
    reserve.say("SET GLOBAL max_user_connections = 1")
    def only_somebody_else_of_our_account():
        kill_connections(reserve)
        try:
            return Session(db, user="homer_writer", password="pw-1")
        except Failure:
            return None
    other = wait_until(only_somebody_else_of_our_account, 20, "the account is used up")
    h.send([hep3(sip(n)) for n in range(300, 400)])
    wait_until(lambda: is_waiting(h, 100), 20, "rows wait")
    other.end()
    reserve.say("SET GLOBAL max_user_connections = 5")
    finish(db, h, range(400))
    reserve.end()
    h.stop()


def kill_connections(session, what=""):
    session.say("BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR 1094, 1095 SET @gone = 1; "
                "FOR c IN (SELECT id FROM information_schema.processlist WHERE user = 'homer_writer') DO "
                f"KILL {what} c.id; END FOR; END")


def test_connections_and_statements_are_killed(world):
    """KILL and KILL QUERY at any moment."""
    db = world.database()
    h = world.heptap(start=False)
    plain_user(world, h)
    h.start()
    load = Load(h.port, per_second=3000)
    administrator = Session(db)
    for what in ("CONNECTION", "QUERY", "SOFT", "QUERY", "HARD", "QUERY") * 4:
        before = h.metrics().sum("heptap_stored_total")
        wait_until(lambda: h.metrics().sum("heptap_stored_total") > before, 60, "rows flow")
        kill_connections(administrator, what)
    administrator.end()
    m = finish(db, h, load.stop())
    check(m.sum("heptap_retries_total") > 0, "none of them was felt")
    check_equal((m.sum("heptap_rejected_total"), h.stop()), (0, 0), "rejected, exit code")


TRIGGER = """DELIMITER !!
CREATE TRIGGER poison BEFORE INSERT ON sip_capture FOR EACH ROW
IF NEW.from_user = 'poison' THEN SIGNAL SQLSTATE '45000' SET {}MESSAGE_TEXT = 'not now'; END IF!!"""


def poison(number):
    return hep3(sip(number).replace(b"sip:alice@", b"sip:poison@"))


def test_a_stream_that_is_held_up_does_not_disturb_another(world):
    """What an earlier start left is refused for as long as a trigger is there: one line, live rows go on, and it comes in when it may."""
    db = world.database()
    h = world.heptap()
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 20, "up")
    db.stop()
    h.send([poison(n) for n in range(1000)], pause_each=50)
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 1000, 20, "rows wait")
    h.kill()
    db.start()
    db.query(TRIGGER.format(""))
    h.start()
    load = Load(h.port, per_second=1000, first=1000)
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > 3000, 60, "live rows are stored")
    wait_until(lambda: h.metrics().sum("heptap_retries_total") >= 4, 60, "the old ones are tried")
    m = h.metrics()
    m.check_no_negative()
    log = h.log_text().split(" cores, ")[-1]
    check_equal((log.count("rows wait in the spool"), log.count("stores again"), m.sum("heptap_db_up"), m.sum("heptap_rejected_total")),
                (1, 0, 0, 0), "lines in the log, up, rejected:\n" + log)
    db.query("DROP TRIGGER poison")
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 60, "up")
    numbers = range(load.stop().stop)
    wait_until(lambda: h.metrics().sum("heptap_stored_total") >= len(numbers) and h.metrics().sum("heptap_in_spool") == 0, 60, "all is stored")
    h.metrics().check_exact()
    check_once(db, numbers)
    h.stop()


@only_waits
def test_errors_that_are_no_rows_fault(world):
    """Errors of a server in need, of a lone row and for longer than an unknown error is believed to be the server's: it waits, and comes."""
    codes = {"lock_table_full": 1206, "engine": 1030, "changed_since_read": 1020, "crashed": 1194, "temporary": 1297}
    db = world.database()
    servers = {}
    for name, code in codes.items():
        db.query(f"CREATE DATABASE {name}", None)
        h = servers[name] = world.heptap(name, database=name, start=False)
        db.query(TRIGGER.format(f"MYSQL_ERRNO = {code}, "), name)
        h.start()
        h.send([poison(1)])
    begun = time.monotonic()
    for name, h in servers.items():
        wait_until(lambda: told(h)[0] == 1, 30, f"{name}: told")
    wait_until(lambda: time.monotonic() > begun + 40, 60, "longer than BLAME_US")
    for name, h in servers.items():
        m = h.metrics()
        check_equal((m.sum("heptap_rejected_total"), m.sum("heptap_in_spool"), told(h)), (0, 1, (1, 0)), f"{name}: rejected, waiting, lines")
        db.query("DROP TRIGGER poison", name)
    for name, h in servers.items():
        h.wait_at_rest(1).check_exact()
        check_equal((db.number("SELECT COUNT(*) FROM sip_capture", name), h.stop()), (1, 0), f"{name}: stored, exit code")


# ---- locks ----

def locked(world, statements, seconds, release=("COMMIT", "UNLOCK TABLES")):
    """Another session holds locks while rows come."""
    db = world.database()
    h = world.heptap()
    h.send([hep3(sip(n)) for n in range(100)])
    h.wait_at_rest(100)
    other = Session(db, *statements)
    load = Load(h.port, per_second=1000, first=100)
    wait_until(lambda: h.metrics().sum("heptap_in_spool") > 300, 30, "rows wait")
    time.sleep(seconds)
    h.metrics().check_no_negative()
    other.say(*release)
    before = h.metrics().sum("heptap_stored_total")
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 300, 60, "rows flow again")
    m = finish(db, h, range(load.stop().stop))
    other.end()
    check_equal(m.sum("heptap_rejected_total"), 0, "rejected")
    check_equal(h.stop(), 0, "exit code")
    return m, h


def test_ledger_row_is_locked(world):
    """SELECT ... FOR UPDATE of the whole ledger in somebody's open transaction."""
    locked(world, ["BEGIN", "SELECT COUNT(*) FROM heptap_ledger FOR UPDATE"], 2)


def test_ledger_and_leases_are_locked(world):
    """LOCK TABLES ... WRITE, as a dump or a repair takes them."""
    locked(world, ["LOCK TABLES heptap_ledger WRITE, heptap_ids WRITE, sip_capture WRITE"], 2)


def test_global_read_lock(world):
    """FLUSH TABLES WITH READ LOCK, as a backup takes it."""
    locked(world, ["FLUSH TABLES WITH READ LOCK"], 2)


@only_waits
def test_lock_is_held_longer_than_we_wait(world):
    """1205 after twenty seconds: the transaction comes again, as often as it takes."""
    m, h = locked(world, ["BEGIN", "SELECT COUNT(*) FROM heptap_ledger FOR UPDATE"], 25)
    check(m.sum("heptap_retries_total") > 0, "it was tried again")


def test_ddl_waits_for_a_metadata_lock(world):
    """ALTER TABLE waits behind somebody's open transaction, our rows behind it; then the table is another one."""
    db = world.database()
    h = world.heptap()
    load = Load(h.port, per_second=1000)
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > 300, 30, "rows flow")
    reader = Session(db, "BEGIN", "SELECT COUNT(*) FROM sip_capture")
    ddl = Session(db)
    ddl.begin("ALTER TABLE sip_capture ADD COLUMN extra int NOT NULL DEFAULT 3, DROP COLUMN user_agent, ALGORITHM=COPY")
    wait_until(lambda: db.number("SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE '%metadata lock%'") >= 2, 30,
               "the ALTER waits, and we behind it")
    wait_until(lambda: h.metrics().sum("heptap_in_spool") > 500, 30, "rows wait")
    reader.end()
    ddl.say("DO 1")
    ddl.end()
    before = h.metrics().sum("heptap_stored_total")
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 500, 60, "rows flow again")
    m = finish(db, h, load.stop())
    check_equal((m.sum("heptap_rejected_total"), db.number("SELECT COUNT(*) FROM sip_capture WHERE extra <> 3")), (0, 0), "rejected, default")
    h.stop()


def test_deadlock(world):
    """1213: somebody with more at stake holds the ledger and wants our rows; we are rolled back, and come again."""
    db = world.database()
    db_heavy = "INSERT INTO heavy SELECT seq FROM seq_1_to_50000"
    h = world.heptap()
    db.query("CREATE TABLE heavy (n INT PRIMARY KEY) ENGINE=InnoDB")
    load = Load(h.port, per_second=1000)
    def deadlocks():
        return db.number("SELECT COUNT FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'")
    db.query("SET GLOBAL innodb_monitor_enable = 'lock_deadlocks'")
    before = deadlocks()
    for turn in range(3):
        seen = h.metrics().sum("heptap_stored_total")
        wait_until(lambda: h.metrics().sum("heptap_stored_total") > seen + 100, 60, "rows flow")
        other = Session(db, "BEGIN", db_heavy, "SELECT COUNT(*) FROM heptap_ledger FOR UPDATE")
        wait_until(lambda: h.metrics().sum("heptap_in_spool") > 500, 20, "we wait for the ledger")
        other.say("SELECT COUNT(*) FROM sip_capture FOR UPDATE", "ROLLBACK")
        other.end()
    numbers = load.stop()
    m = finish(db, h, numbers)
    check(deadlocks() >= before + 3, f"{deadlocks() - before} deadlocks: nothing was tested")
    check(m.sum("heptap_retries_total") > 0, "we were rolled back at least once")
    h.stop()


# ---- packets of the server's size ----

def test_server_takes_smaller_packets(world):
    """max_allowed_packet lowered while we are connected, and from the next connection on: a message that cannot go by itself is
    refused alone, with bulk statements and without, and nothing else waits for it."""
    world.database()
    for name, environment in (("bulk", {}), ("plain", {"HEPTAP_NO_BULK": "1"})):
        world.db.query(f"CREATE DATABASE {name}; SET GLOBAL max_allowed_packet = 16777216", None)
        h = world.heptap(name, database=name, environment=environment, storage="batch_ms: 200")
        sizes = {n: 40000 if n % 60 == 30 else 300 + n * 7 for n in range(900)}
        def send(first, last):
            h.send([hep3(sip(n, size=sizes[n])) for n in range(first, last)], pause_each=30)
        send(0, 300)
        h.wait_at_rest(300)
        world.db.query("SET GLOBAL max_allowed_packet = 16384", None)
        send(300, 600)
        h.wait_at_rest(600)
        world.db.stop()
        world.db.start(["--max-allowed-packet=16384"])
        wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 20, "connected again")
        send(600, 900)
        m = h.wait_at_rest(900)
        m.check_exact()
        too_large = [n for n in range(600, 900) if sizes[n] > 16000]
        check_equal(m.sum("heptap_rejected_total"), len(too_large), "rejected")
        got = {int(r[0]) for r in world.db.query("SELECT SUBSTRING(callid, 2, LOCATE('@', callid) - 2) FROM sip_capture", name)}
        check_equal(set(range(900)) - got, set(too_large), "not stored")
        check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture", name), 900 - len(too_large), "rows")
        check_equal(h.stop(), 0, "exit code")


def test_packets_that_are_all_too_large_wait(world):
    """It is the server's setting then, not the messages: they wait, and go once it is raised."""
    world.database(["--max-allowed-packet=16384"])
    h = world.heptap(storage="batch_ms: 500")
    h.send([hep3(sip(n, size=40000)) for n in range(200)], pause_each=20)
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 0 and told(h)[0] == 1, 20, "rows wait")
    check("max_allowed_packet" in h.log_text(), "the setting is named in the log:\n" + h.log_text())
    lone = h.metrics().sum("heptap_rejected_total")
    world.db.query("SET GLOBAL max_allowed_packet = 1048576")
    m = h.wait_at_rest(200)
    m.check_exact()
    check(lone <= 3 and m.sum("heptap_rejected_total") == lone, f"rejected: {lone}, {m.sum('heptap_rejected_total')}")
    check_equal(world.db.number("SELECT COUNT(DISTINCT callid) FROM sip_capture WHERE LENGTH(msg) > 40000"), 200 - lone, "stored")
    h.stop()


# ---- no room on the server ----

def test_disk_of_the_server_is_full(world):
    """The file system of its tables fills under load and is freed: whatever error that makes, rows wait and come once."""
    disk = world.small_disk(world.folder / "db" / "data", 320)
    subprocess.run(["cp", "-a", f"{world.template}/.", str(disk.inside)], check=True)
    world.db = db = Database(world.folder / "db", ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"])
    db.prefix = disk.prefix
    db.start()
    h = world.heptap()
    first = 0
    for turn in range(2):
        load = Load(h.port, per_second=1500, first=first, size=2000)
        wait_until(lambda: h.metrics().sum("heptap_stored_total") > first + 300, 30, "rows flow")
        disk.fill(leave=1 << 19)
        wait_until(lambda: disk.fill() or h.metrics().sum("heptap_db_up") == 0 or db.process.poll() is not None, 60, "the server has no room")
        wait_until(lambda: h.metrics().sum("heptap_in_spool") > 1000, 30, "rows wait")
        disk.empty()
        if db.process.poll() is not None:
            db.start()
        wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 60, "stores again")
        first = load.stop().stop
        m = finish(db, h, range(first))
    check_equal(m.sum("heptap_rejected_total"), 0, "rejected")
    print("        said: " + "; ".join(line.split(": ", 3)[3] for line in h.log_text().splitlines() if "rows wait in" in line))
    check_equal(h.stop(), 0, "exit code")


# ---- the way between ----

def test_cut_after_any_octet(world):
    """Connections cut after a number of octets from either side: in the greeting, in rows, in the ledger, in COMMIT, in its OK."""
    db = world.database()
    pick = random.Random(20261121)
    plans = []

    def plan():
        """One anywhere, one after some transactions, or the waits between would grow."""
        plans.append(1)
        side, most = pick.choice([("client", 18), ("server", 12)])
        if len(plans) % 2:
            return (side, int(2 ** pick.uniform(0, most)), "cut") if len(plans) <= 16 else None
        return ("server", pick.randrange(5000, 10000), "cut") if len(plans) <= 16 else None

    proxy = ByteProxy(world.folder, db.socket, plan)
    h = world.heptap(db_socket=db.socket, start=False)
    h.write(db_socket=proxy.path)
    h.start()
    load = Load(h.port, per_second=3000)
    wait_until(lambda: len(plans) > 16 and h.metrics().sum("heptap_db_up") == 1, 120, lambda: f"16 cuts: {proxy.done}")
    m = finish(db, h, load.stop())
    check_equal((m.sum("heptap_rows_rewound_total"), m.sum("heptap_rejected_total"), h.stop()), (0, 0, 0), "rewound, rejected, exit code")
    proxy.close()


def test_slow_way_to_the_server(world):
    """Twenty milliseconds for each piece, both ways: blocks grow, rows arrive."""
    db = world.database()
    proxy = ByteProxy(world.folder, db.socket, lambda: None, pause=0.02)
    h = world.heptap(db_socket=db.socket, start=False)
    h.write(db_socket=proxy.path)
    h.start()
    load = Load(h.port, per_second=2000)
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > 5000, 60, "rows flow")
    m = finish(db, h, load.stop())
    check_equal((m.sum("heptap_retries_total"), h.stop()), (0, 0), "retries, exit code")
    proxy.close()


@only_waits
def test_half_open(world):
    """Nothing comes through any more and nobody is told, at a random octet: half a minute later a new connection goes on."""
    db = world.database()
    pick = random.Random(5)
    plans = []

    def plan():
        plans.append(1)
        return ("client", pick.randrange(20000, 60000), "mute") if len(plans) <= 3 else None  # of ht-admin, ht-stat and the writer

    proxy = ByteProxy(world.folder, db.socket, plan)
    h = world.heptap(db_socket=db.socket, start=False)
    h.write(db_socket=proxy.path)
    h.start()
    load = Load(h.port, per_second=500)
    wait_until(lambda: proxy.done["mute"] and h.metrics().sum("heptap_in_spool") > 1000, 60, "rows wait")
    wait_until(lambda: told(h) == (1, 1), 180, "it was noticed, and is over")
    finish(db, h, load.stop(), 180)
    check_equal(h.stop(), 0, "exit code")
    proxy.close()
