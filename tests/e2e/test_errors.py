"""What the database refuses: each class of error, with rows numbered so that nothing twice and nothing missing can be told."""
import base64
import json
import struct
import subprocess
import time

from lib import check, check_equal, check_once, only_waits, hep3, sip, stored_numbers, wait_until

TRIGGER = """DELIMITER //
CREATE TRIGGER poison BEFORE INSERT ON sip_capture FOR EACH ROW
IF NEW.from_user = 'poison' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no "poison" here'; END IF//"""


def message(number, poison=False):
    text = sip(number)
    return hep3(text.replace(b"sip:alice@", b"sip:poison@") if poison else text)


def rejected(h):
    file = h.folder / "spool" / "rejected.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def number_in(line):
    """The number that a rejected row carries: its Call-ID is in the octets of the row."""
    row = base64.b64decode(line["data"])
    check_equal(struct.unpack("<I", row[:4])[0], len(row), "length of the row")
    return int(row.split(b"Call-ID: n")[1].split(b"@")[0])


def poisoned(world, total, is_poison, settings=None, environment=None, prepare=TRIGGER):
    """Send numbered messages, some of which the table refuses; those and no others are in the file, the rest are stored once."""
    world.database()
    h = world.heptap(start=False, environment=environment, **(settings or {}))
    world.db.query(prepare)
    h.start()
    h.send([message(n, is_poison(n)) for n in range(total)], pause_each=50)
    m = h.wait_at_rest(total)
    m.check_exact()
    bad = [n for n in range(total) if is_poison(n)]
    check_once(world.db, [n for n in range(total) if not is_poison(n)])
    lines = rejected(h)
    check_equal(sorted(number_in(line) for line in lines), bad, "numbers in rejected.jsonl")
    for line in lines:
        check_equal((line["table"], len(line["stream"]), line["seq"] > 0, line["row"] >= 0), ("sip_capture", 16, True, True), "line")
    check_equal(m.sum("heptap_rejected_total"), len(bad), "rejected")
    check_equal(h.stop(), 0, "exit code")
    return m, lines


def test_one_poison_row_costs_itself(world):
    """1 of 2,000: its neighbours are stored, it stands in the file with the server's words."""
    m, lines = poisoned(world, 2000, lambda n: n == 777)
    check_equal(m.sum("heptap_rejected_total", reason="constraint"), 1, "reason")
    check_equal((lines[0]["errno"], lines[0]["error"]), (1644, 'no "poison" here'), "what the server said")


def test_many_poison_rows_cost_themselves(world):
    """One in twenty, in blocks of any size."""
    poisoned(world, 3000, lambda n: n % 20 == 7)


def test_poison_is_found_without_the_server_naming_it(world):
    """The same by halving, as for servers that do not say which row it was."""
    poisoned(world, 2000, lambda n: n % 25 == 3, environment={"HEPTAP_NO_ROW_NUMBER": "1"})


def test_poison_in_multi_row_inserts(world):
    poisoned(world, 2000, lambda n: n % 25 == 3, environment={"HEPTAP_NO_BULK": "1"})


def test_poison_in_multi_row_inserts_halved(world):
    poisoned(world, 1000, lambda n: n % 25 == 3, environment={"HEPTAP_NO_BULK": "1", "HEPTAP_NO_ROW_NUMBER": "1"})


def test_narrow_columns_that_clipping_does_not_know(world):
    """A number out of range, an enum without the value, a value that a CHECK refuses: reasons of their own."""
    world.database()
    h = world.heptap(start=False)
    world.db.query("ALTER TABLE sip_capture MODIFY source_port smallint unsigned NOT NULL, "
                   "MODIFY contact_user enum('', 'known') NOT NULL, ADD CHECK (destination_port <> 666), "
                   "MODIFY expires tinyint NOT NULL")
    h.start()
    def of(n, contact="known", port=5060, expires=60):
        text = sip(n).replace(b"Max-Forwards", f"Contact: <sip:{contact}@192.0.2.1>\r\nExpires: {expires}\r\nMax-Forwards".encode())
        return hep3(text, ports=(5060, port))
    packets = [of(n) for n in range(100)] + [of(100, contact="stranger"), of(101, port=666), of(102, expires=3600)]
    h.send(packets)
    m = h.wait_at_rest(len(packets))
    m.check_exact()
    check_once(world.db, range(100))
    for reason in ("value", "constraint", "range"):
        check_equal(m.sum("heptap_rejected_total", reason=reason), 1, f"rejected as {reason}: {[(l['errno'], l['error']) for l in rejected(h)]}")
    check_equal(sorted(number_in(line) for line in rejected(h)), [100, 101, 102], "in the file")


def test_a_table_that_refuses_everything_waits(world):
    """It is the table then, not the rows: nothing is given up, and all goes in once it is mended."""
    world.database()
    h = world.heptap(start=False)
    world.db.query(TRIGGER)
    h.start()
    h.send([message(n, True) for n in range(1000)], pause_each=50)
    wait_until(lambda: h.metrics().sum("heptap_in_spool") >= 997 and h.metrics().sum("heptap_db_up") == 0, 20, "all of it waits")
    time.sleep(1)
    m = h.metrics()
    lone = [number_in(line) for line in rejected(h)]  # a first message goes alone, and may be its own fault
    check(len(lone) <= 3, f"given up: {lone}")
    check_equal((m.sum("heptap_rejected_total"), m.sum("heptap_stored_total")), (len(lone), 0), "rejected and stored")
    m.check_exact()
    check_equal(h.log_text().count("refuses most rows"), 1, "one line in the log:\n" + h.log_text())
    world.db.query("DROP TRIGGER poison")
    h.wait_at_rest(1000).check_exact()
    check_once(world.db, sorted(set(range(1000)) - set(lone)))
    check_equal(h.log_text().count("stores again"), 1, "and one when it is over")


def test_lone_refusals_are_believed_three_times(world):
    """With little traffic a lone row that is refused is its own fault, but not each after the other."""
    world.database()
    h = world.heptap(start=False)
    world.db.query(TRIGGER)
    h.start()
    for n in range(3):
        h.send([message(n, True)])
        wait_until(lambda: h.metrics().sum("heptap_rejected_total") == n + 1, 10, f"row {n} is rejected")
    h.send([message(3, True)])
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 0, 10, "the fourth is not believed")
    check_equal(h.metrics().sum("heptap_in_spool"), 1, "it waits")
    h.send([message(n) for n in range(4, 40)])
    h.wait_at_rest(40).check_exact()
    check_once(world.db, range(4, 40))
    check_equal(sorted(number_in(line) for line in rejected(h)), [0, 1, 2, 3], "in the file")


def test_refused_rows_of_a_table_without_transactions(world):
    """MyISAM: rows before the refused one are in already and do not come again."""
    world.database()
    h = world.heptap(start=False)
    world.db.query("ALTER TABLE sip_capture REMOVE PARTITIONING")
    world.db.query("ALTER TABLE sip_capture ENGINE=MyISAM")
    world.db.query(TRIGGER)
    h.start()
    h.send([message(n, n % 50 == 9) for n in range(1000)], pause_each=50)
    m = h.wait_at_rest(1000)
    m.check_exact()
    check_once(world.db, [n for n in range(1000) if n % 50 != 9])
    check_equal(sorted(number_in(line) for line in rejected(h)), list(range(9, 1000, 50)), "in the file")
    check("at least once" in h.log_text(), "the engine is named in the log")


def test_rejected_file_is_bounded(world):
    """At its bound it is set aside, and the one before goes."""
    world.database()
    h = world.heptap(start=False, environment={"HEPTAP_REJECT_MAX": "20000"})
    world.db.query(TRIGGER)
    h.start()
    for batch in range(10):
        h.send([message(batch * 500 + n, n % 12 == 0) for n in range(500)], pause_each=100)
        m = h.wait_at_rest((batch + 1) * 500)
    m.check_exact()
    files = {f.name: f.stat().st_size for f in (h.folder / "spool").glob("rejected*")}
    check_equal(sorted(files), ["rejected.jsonl", "rejected.jsonl.1"], "files")
    check(all(size < 20000 + 4000 for size in files.values()), f"sizes {files}")
    check("set aside" in h.log_text(), "told in the log")


@only_waits
def test_an_unknown_error_becomes_the_rows_fault(world):
    """Five tries and half a minute, then the row is rejected and the stream goes on."""
    unknown = TRIGGER.replace("MESSAGE_TEXT", "MYSQL_ERRNO = 5555, MESSAGE_TEXT")
    m, lines = poisoned(world, 100, lambda n: n == 50, prepare=unknown, settings={"storage": "batch_ms: 1000"})
    check_equal(m.sum("heptap_rejected_total", reason="other"), 1, "reason")
    check_equal(lines[0]["errno"], 5555, "what the server said")


def test_another_program_takes_ids_by_auto_increment(world):
    """A shared table: AUTO_INCREMENT goes on behind our highest id, into ours. New ids, nothing lost, nothing twice."""
    world.database()
    h = world.heptap(start=False)
    world.db.query("ALTER TABLE sip_capture REMOVE PARTITIONING; ALTER TABLE sip_capture DROP PRIMARY KEY, MODIFY id bigint unsigned NOT NULL AUTO_INCREMENT, "
                   "ADD PRIMARY KEY (id)")
    h.start()
    other = subprocess.Popen(world.db.client(
        "DELIMITER //\nCREATE PROCEDURE fill() BEGIN DECLARE n INT DEFAULT 0; "
        "DECLARE CONTINUE HANDLER FOR 1062 SET n = n - 1; WHILE n < 3000 DO "
        "INSERT INTO sip_capture (msg, callid) VALUES ('other', CONCAT('other-', n)); SET n = n + 1; END WHILE; END//\n"
        "DELIMITER ;\nCALL fill()", "homer_db"), stderr=subprocess.PIPE)
    sent = 0
    while other.poll() is None or sent < 4000:
        h.send([message(n) for n in range(sent, sent + 40)])
        sent += 40
        time.sleep(0.004)
    check_equal(other.stderr.read(), b"", "the other program")
    m = h.wait_at_rest(sent)
    m.check_exact()
    check_once(world.db, range(sent))
    check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture WHERE callid LIKE 'other-%'"), 3000, "rows of the other program")
    check_equal(m.sum("heptap_rejected_total"), 0, "rejected")
    check(m.sum("heptap_retries_total") >= 0, "retries")
    print(f"        {sent} rows beside 3000 of another program, {m.sum('heptap_retries_total')} retries")


# ---- rights and tables ----

def account(world, rights):
    """A database user of the socket with these rights."""
    world.db.query("CREATE USER IF NOT EXISTS writer@localhost")
    for what in ("heptap_ledger", "heptap_ids"):
        world.db.query(f"GRANT SELECT, INSERT, UPDATE, DELETE ON homer_db.{what} TO writer@localhost")
    world.db.query(f"GRANT {rights} ON homer_db.sip_capture TO writer@localhost")


def waits_then_goes(world, h, mend, total=300, first=0):
    """What is sent waits in the spool; after mend() all of it is there once."""
    h.send([message(n) for n in range(first, first + total)], pause_each=50)
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == total and h.metrics().sum("heptap_db_up") == 0, 30, "rows wait")
    h.metrics().check_exact()
    mend()
    h.wait_at_rest(first + total).check_exact()


def test_no_right_to_insert(world):
    """1142: an alarm, rows wait, and arrive once the right is granted."""
    world.database()
    h = world.heptap(start=False)
    account(world, "SELECT")
    h.write(user="writer")
    h.start(wait=False)
    wait_until(lambda: "ready" in h.log_text(), 10, "heptap runs")
    waits_then_goes(world, h, lambda: world.db.query("GRANT INSERT ON homer_db.sip_capture TO writer@localhost"))
    check_once(world.db, range(300))
    check("denied" in h.log_text(), "the log quotes the server: " + h.log_text())


def test_table_gone_and_no_right_to_make_it(world):
    """1146 where we may not create: an alarm, rows wait until somebody puts the table back."""
    world.database()
    h = world.heptap(start=False)
    account(world, "SELECT, INSERT")
    h.write(user="writer")
    h.start()
    h.send([message(n) for n in range(100)])
    h.wait_at_rest(100)
    world.db.query("RENAME TABLE sip_capture TO away")
    waits_then_goes(world, h, lambda: world.db.query("RENAME TABLE away TO sip_capture"), first=100)
    check_once(world.db, range(400))


def test_table_gone_is_made_again(world):
    """1146 where we may create: it is made."""
    world.database()
    h = world.heptap()
    h.send([message(n) for n in range(100)])
    h.wait_at_rest(100)
    world.db.query("DROP TABLE sip_capture")
    h.send([message(n) for n in range(100, 200)])
    h.wait_at_rest(200).check_exact()
    check_once(world.db, range(100, 200))


def test_column_dropped_and_added_while_running(world):
    """1054: columns are read again; rows go on without it, and with it when it is back."""
    world.database()
    h = world.heptap()
    h.send([message(n) for n in range(100)])
    h.wait_at_rest(100)
    world.db.query("ALTER TABLE sip_capture DROP COLUMN user_agent, DROP COLUMN authorization")
    h.send([message(n) for n in range(100, 200)])
    h.wait_at_rest(200).check_exact()
    check_once(world.db, range(200))
    check_equal(h.log_text().count("not there: user_agent"), 1, "named once in the log:\n" + h.log_text())


def test_read_only_server(world):
    """1290: rows wait and arrive once."""
    world.database()
    h = world.heptap(start=False)
    account(world, "SELECT, INSERT")
    h.write(user="writer")
    h.start()
    h.send([message(n) for n in range(100)])
    h.wait_at_rest(100)
    world.db.query("SET GLOBAL read_only = 1")
    waits_then_goes(world, h, lambda: world.db.query("SET GLOBAL read_only = 0"), first=100)
    check_once(world.db, range(400))


def test_too_many_connections(world):
    """1040 at the start: heptap runs, spools, and stores when there is room."""
    world.database(["--max-connections=10"])
    h = world.heptap(start=False)
    account(world, "SELECT, INSERT")
    h.write(user="writer")
    taken = []
    def take_another():
        taken.append(subprocess.Popen(world.db.client("SELECT SLEEP(60)"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return subprocess.run(world.db.client("DO 1"), capture_output=True).returncode != 0
    wait_until(take_another, 20, "connections are used up")
    h.start(wait=False)
    wait_until(lambda: "Too many connections" in h.log_text(), 10, "told in the log")
    h.send([message(n) for n in range(200)])
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 200, 10, "rows wait")
    for p in taken:
        p.kill()
        p.wait()
    h.wait_at_rest(200).check_exact()
    check_once(world.db, range(200))


def test_small_packets_of_the_server(world):
    """max_allowed_packet of 1 MiB and messages of 60 KB: statements are cut to fit, by bulk and without."""
    for name, environment in (("bulk", {}), ("plain", {"HEPTAP_NO_BULK": "1"})):
        if not world.db:
            world.database(["--max-allowed-packet=1M"])
        world.db.query(f"CREATE DATABASE {name}", None)
        h = world.heptap(name, database=name, environment=environment)
        h.send([hep3(sip(n, size=60000)) for n in range(100)], pause_each=5)
        m = h.wait_at_rest(100)
        m.check_exact()
        check_equal(world.db.number("SELECT COUNT(DISTINCT callid) FROM sip_capture WHERE LENGTH(msg) > 60000", name), 100, name)
        check_equal((m.sum("heptap_retries_total"), h.stop()), (0, 0), "retries, exit code")


def test_lock_of_somebody_else(world):
    """A table locked by another session: rows wait behind it and arrive once."""
    world.database()
    h = world.heptap()
    h.send([message(n) for n in range(100)])
    h.wait_at_rest(100)
    holder = subprocess.Popen(world.db.client("LOCK TABLES sip_capture READ; SELECT SLEEP(3)", "homer_db"), stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    h.send([message(n) for n in range(100, 300)])
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 200, 10, "rows wait")
    check_equal(holder.wait(20), 0, "the other session")
    h.wait_at_rest(300).check_exact()
    check_once(world.db, range(300))


def test_ids_that_somebody_has_taken_are_drawn_again(world):
    """1062: rows with ids right where ours would go on. Whole blocks are tried again with others, until they fit."""
    world.database()
    h = world.heptap(start=False)
    world.db.query("ALTER TABLE sip_capture REMOVE PARTITIONING; ALTER TABLE sip_capture DROP PRIMARY KEY, ADD PRIMARY KEY (id)")
    h.start()
    h.send([message(n) for n in range(100)])
    h.wait_at_rest(100)
    world.db.query("INSERT INTO sip_capture (id, msg, callid) SELECT (SELECT MAX(id) FROM sip_capture) + 20 * seq, 'other', "
                   "CONCAT('other-', seq) FROM seq_1_to_200")
    h.send([message(n) for n in range(100, 1100)], pause_each=50)
    m = h.wait_at_rest(1100)
    m.check_exact()
    check_once(world.db, range(1100))
    check(m.sum("heptap_retries_total") > 0, "blocks were tried again")
    check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture WHERE callid LIKE 'other-%'"), 200, "rows of the other program")
    check_equal((m.sum("heptap_rejected_total"), rejected(h)), (0, []), "rejected")


def test_ids_taken_in_a_table_without_transactions(world):
    world.database()
    h = world.heptap(start=False)
    world.db.query("ALTER TABLE sip_capture REMOVE PARTITIONING; ALTER TABLE sip_capture ENGINE=MyISAM, DROP PRIMARY KEY, "
                   "ADD PRIMARY KEY (id)")
    h.start()
    h.send([message(n) for n in range(100)])
    h.wait_at_rest(100)
    world.db.query("INSERT INTO sip_capture (id, msg, callid) SELECT (SELECT MAX(id) FROM sip_capture) + 100 * seq, 'other', "
                   "CONCAT('other-', seq) FROM seq_1_to_40")
    h.send([message(n) for n in range(100, 1100)], pause_each=50)
    h.wait_at_rest(1100).check_exact()
    check_once(world.db, range(1100))
