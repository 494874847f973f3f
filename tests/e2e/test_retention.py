"""Partitions and daily tables made ahead, on demand, and dropped by age and by size: ours and other people's, on a real server."""
import base64
import contextlib
import json
import os
import pathlib
import re
import subprocess
import threading
import time

import tables
from lib import Skip, check, check_equal, check_once, hep3, only_waits, release_only, sip, stored_numbers, wait_until

DAY, HOUR = 86400, 3600
SIP_TABLE = "sip_capture"


def midnight(days=0):
    """The beginning of a UTC day, `days` from today."""
    now = int(time.time())
    return now - now % DAY + days * DAY


def day_name(start):
    return time.strftime("p%Y%m%d", time.gmtime(start))


def hour_name(start):
    return time.strftime("p%Y%m%d%H", time.gmtime(start))


def parts(db, table=SIP_TABLE):
    """(name, bound) of each partition, in the table's own order; MAXVALUE is None."""
    rows = db.query("SELECT partition_name, partition_description FROM information_schema.partitions WHERE table_schema = 'homer_db' "
                    f"AND table_name = '{table}' AND partition_name IS NOT NULL ORDER BY partition_ordinal_position")
    return [(n.decode(), None if b == b"MAXVALUE" else int(b)) for n, b in rows]


def names(db, table=SIP_TABLE):
    return [n for n, _ in parts(db, table)]


def place_of(db, number):
    """The partition that holds a message of sip()."""
    return [n for n in names(db) if db.number(f"SELECT COUNT(*) FROM {SIP_TABLE} PARTITION ({n}) WHERE callid = 'n{number}@heptap.test'")]


def days_to_do(first, last):
    """Partitions of days from `first` to `last`, counted from today, as (name, bound)."""
    return [(day_name(midnight(d)), midnight(d + 1)) for d in range(first, last + 1)]


def partition(db, wanted, table=SIP_TABLE):
    """Give an empty table of ours these partitions instead of those it has."""
    text = ", ".join(f"PARTITION {n} VALUES LESS THAN {'MAXVALUE' if b is None else f'({b})'}" for n, b in wanted)
    db.query(f"ALTER TABLE {table} PARTITION BY RANGE (UNIX_TIMESTAMP(`date`)) ({text})")


def filled(world, ages, first=-15, more="", h=None):
    """A stopped heptap, and a table with partitions from `first` days on, in which message n is ages[n] days old (stored by heptap itself)."""
    h = h or world.heptap(start=False)
    partition(world.db, [("p_past", midnight(first)), *days_to_do(first, 2)])
    h.write(storage="retention_days: 0\n  statistics: false")
    h.start()
    h.send([hep3(sip(n), ts=time.time() - age * DAY) for n, age in enumerate(ages)])
    h.wait_at_rest(len(ages)).check_exact()
    check_equal(h.metrics().sum("heptap_partitions_dropped_total"), 0, "dropped with retention_days: 0")
    check_equal(h.stop(), 0, "exit code")
    h.write(storage=more)
    return h


def rotate(h, *words):
    return h.command("schema", "rotate", *words)


def looked(h):
    """The first look is over: sizes are known."""
    wait_until(lambda: h.metrics().sum("heptap_storage_bytes") > 0, 30, "the first look")


# ---- made ahead ----

def test_by_day_and_by_hour(world):
    """Tables are made with partitions of the configured step; the step may change in either direction on a live table, without a hole."""
    db = world.database()
    h = world.heptap(start=False, top="max_clock_skew: 86400", storage="partition: hour")
    hours = [(hour_name(s), s + HOUR) for s in range(midnight(), midnight(3), HOUR)]
    for table in (SIP_TABLE, "rtcp_capture", "report_capture", "logs_capture"):
        check_equal(parts(db, table), [("p_past", midnight()), *hours], f"hours of {table}")
    h.start()
    soon = time.time() + 1.5 * HOUR
    h.send([hep3(sip(1)), hep3(sip(2), ts=soon), hep3(sip(3), ts=midnight() - 5)])
    h.wait_at_rest(3).check_exact()
    check_equal([place_of(db, n) for n in (2, 3)], [[hour_name(soon)], ["p_past"]], "rows by hour")
    h.stop()
    # As if nobody had made any for a day and more: the last one ends in the middle of tomorrow.
    for n, bound in reversed(parts(db)):
        if bound > midnight(1) + 13 * HOUR:
            db.query(f"ALTER TABLE {SIP_TABLE} DROP PARTITION {n}")
    h.write(storage="partition: day")
    h.start()
    looked(h)
    check_equal(parts(db)[-3:], [(hour_name(midnight(1) + 12 * HOUR), midnight(1) + 13 * HOUR), (day_name(midnight(1)), midnight(2)),
                                 (day_name(midnight(2)), midnight(3))], "days behind hours")
    check_equal(h.metrics().sum("heptap_partitions_made_total"), 2, "made")
    h.send([hep3(sip(4), ts=time.time() + DAY - 60)])
    h.wait_at_rest(1).check_exact()
    h.stop()
    db.query(f"ALTER TABLE {SIP_TABLE} DROP PARTITION {day_name(midnight(2))}")
    h.write(storage="partition: hour")
    h.start()
    looked(h)
    got = parts(db)
    check_equal(got[-24:], hours[-24:], "hours behind days")
    check_equal([b for _, b in got], sorted({b for _, b in got}), "bounds")
    check_once(db, [1, 2, 3, 4])
    check_equal(h.stop(), 0, "exit code")


def test_a_name_that_is_taken(world):
    """Somebody who counted hours in another zone has a partition of our name: ours gets another, and rows have their place."""
    db = world.database()
    h = world.heptap(start=False)
    partition(db, [("p_past", midnight(-1)), (day_name(midnight(1)), midnight(1)), (day_name(midnight(2)), midnight(1) + 6 * HOUR)])
    h.start()
    looked(h)
    check_equal(parts(db)[-2:], [(day_name(midnight(1)) + "_2", midnight(2)), (day_name(midnight(2)) + "_2", midnight(3))], "names")
    h.send([hep3(sip(1))])
    h.wait_at_rest(1).check_exact()
    check_equal(h.stop(), 0, "exit code")


def test_after_a_long_rest(world):
    """Nobody made partitions for a year: those of the last week are made one by one, and the first of them also holds what was slept over."""
    db = world.database()
    h = world.heptap(start=False, storage="retention_days: 0")
    partition(db, [("p_past", midnight(-400)), (day_name(midnight(-400)), midnight(-399))])
    h.start()
    h.send([hep3(sip(n), ts=time.time() - age * DAY) for n, age in enumerate((0, 3, 100, 399.5, 500))])
    h.wait_at_rest(5).check_exact()
    check_equal(parts(db), [("p_past", midnight(-400)), (day_name(midnight(-400)), midnight(-399)), *days_to_do(-7, 2)], "partitions")
    check_equal([place_of(db, n)[0] for n in range(5)],
                [day_name(midnight()), day_name(midnight(-3)), day_name(midnight(-7)), place_of(db, 3)[0], "p_past"], "places")
    check_equal(h.stop(), 0, "exit code")


# ---- rows of the future ----

def faked(days):
    """An environment in which a program believes that it is `days` later."""
    for path in pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return {"LD_PRELOAD": str(path), "FAKETIME": f"{days:+d}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    raise Skip("faketime is not installed")


def future(world, layout):
    """Rows that were captured while our clock was six and nine days ahead, found in the spool by a heptap whose clock is right again."""
    db = world.database()
    h = world.heptap(start=False, install=layout == "homer3", storage=f"layout: {layout}")
    db.query("CREATE DATABASE IF NOT EXISTS homer_db", None)
    db.stop()
    for days, numbers in ((9, range(5)), (6, range(5, 10)), (8, range(10, 12))):
        h.environment = {**os.environ, **faked(days)}
        h.start()
        h.send([hep3(sip(n), ts=time.time() + days * DAY) for n in numbers])
        wait_until(lambda: h.metrics().sum("heptap_in_spool") >= len(numbers), 20, "rows in the spool")
        h.kill()
    db.start()
    h.environment = dict(os.environ)
    h.start()
    h.send([hep3(sip(n)) for n in range(20, 25)])
    wait_until(lambda: h.metrics().sum("heptap_rows_recovered_total") == 12, 30, "three streams of earlier starts are found")
    m = h.wait_at_rest(5)
    m.check_exact()
    check_equal((m.sum("heptap_rejected_total", reason="future"), m.sum("heptap_rejected_total")), (7, 7), "rejected")
    lines = [json.loads(line) for line in (pathlib.Path(h.settings["spool"]) / "rejected.jsonl").read_text().splitlines()]
    refused = {int(n) for line in lines for n in re.findall(rb"Call-ID: n(\d+)@", base64.b64decode(line["data"]))}
    check_equal((refused, {"further ahead" in line["error"] for line in lines}), ({0, 1, 2, 3, 4, 10, 11}, {True}), "in rejected.jsonl")
    return db, h


@release_only
def test_rows_of_the_future(world):
    """Six days ahead get partitions on demand; further ahead they go to the reject file, and what comes behind them is stored."""
    db, h = future(world, "homer3")
    check_once(db, [*range(5, 10), *range(20, 25)])
    check_equal(parts(db)[1:], days_to_do(0, 6), "partitions")
    check_equal(place_of(db, 5), [day_name(midnight(6))], "its place")
    check_equal(h.stop(), 0, "exit code")


@release_only
def test_rows_of_the_future_in_daily_tables(world):
    """The same with a table for each day."""
    db, h = future(world, "homer5")
    suffix = {d: time.strftime("%Y%m%d", time.gmtime(midnight(d))) for d in (0, 6)}
    check_equal([db.number(f"SELECT COUNT(*) FROM sip_capture_rest_{suffix[d]}") for d in (6, 0)], [5, 5], "rows")
    check_equal(db.query("SHOW TABLES LIKE 'sip\\_capture\\_rest\\_%'")[-1][0].decode(), f"sip_capture_rest_{suffix[6]}", "the last table")
    check_equal(h.stop(), 0, "exit code")


# ---- by age ----

AGES = [0, 1, 5, 8, 9, 10, 11, 12, 14, 30, 400]


def test_by_age(world):
    """Partitions of which every row is older than ten days go, with a line each; p_past stays, and so does every younger row."""
    db = world.database()
    h = filled(world, AGES)
    check_equal(len(stored_numbers(db)), len(AGES), "rows before")
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_partitions_dropped_total") == 5, 30, "five partitions dropped")
    check_equal(parts(db), [("p_past", midnight(-15)), *days_to_do(-10, 2)], "partitions")
    check_once(db, [n for n, age in enumerate(AGES) if age <= 10 or age > 15])
    dropped = re.findall(r"table sip_capture: partition (p\d+) dropped \(older than retention_days\): about \d+ rows, \d+ bytes", h.log_text())
    check_equal(dropped, [n for n, _ in days_to_do(-15, -11)], "lines, the oldest first")
    h.send([hep3(sip(50), ts=time.time() - 12 * DAY), hep3(sip(51), ts=time.time() - 20 * DAY)])
    h.wait_at_rest(2).check_exact()
    check_equal([place_of(db, 50), place_of(db, 51)], [[day_name(midnight(-10))], ["p_past"]], "late rows")
    check_equal(h.metrics().sum("heptap_partitions_made_total"), 0, "made")
    check_equal(h.stop(), 0, "exit code")


def test_many_that_are_old(world):
    """An archive of hours: a look drops a hundred of them, so that writers do not wait long for ht-admin; the command drops all."""
    db = world.database()
    h = world.heptap(start=False, storage="partition: hour")
    old = [(f"p{n}", midnight(-30) + n * HOUR) for n in range(130)]
    partition(db, [("p_past", midnight(-40)), *old, *days_to_do(-9, 2)])
    h.start()
    looked(h)
    wait_until(lambda: h.metrics().sum("heptap_partitions_dropped_total") >= 100, 30, "a hundred dropped")
    check_equal((h.stop(), names(db)[:2], len(parts(db))), (0, ["p_past", "p100"], 1 + 30 + 12), "partitions after the first look")
    check_equal((rotate(h).returncode, parts(db)[1:]), (0, days_to_do(-9, 2)), "after the command")


def test_by_age_in_daily_tables(world):
    """Daily tables older than ten days go, of ours and by exact name; what only looks like one stays, and so does what is long past."""
    db = world.database()
    h = world.heptap(start=False, install=False, storage="layout: homer5\n  retention_days: 0")
    db.query("CREATE DATABASE homer_db", None)
    h.start()
    methods = ("INVITE", "REGISTER", "OPTIONS")
    h.send([hep3(sip(n, m), ts=time.time() - age * DAY) for n, age in enumerate(AGES) for m in methods] +
           [hep3(b"{}", kind=5, ts=time.time() - age * DAY) for age in (0, 30)])
    h.wait_at_rest(len(AGES) * 3 + 2).check_exact()
    h.stop()
    others = ["sip_capture_call_2026112", "sip_capture_call_20201399", "sip_capture_call_20200101x", "sip_capture_isup_20200101", "x_sip_capture_call_20200101",
              "rtcp_capture_all_20200101", "sip_capture", "sip_capture_call_20200101_old"]
    for table in others:
        db.query(f"CREATE TABLE {table} (id int)")
    db.query("CREATE TABLE sip_capture_call_20200101 (id int, date timestamp NOT NULL) PARTITION BY RANGE (UNIX_TIMESTAMP(date)) "
             "(PARTITION a VALUES LESS THAN (1577840400), PARTITION pmax VALUES LESS THAN MAXVALUE)")
    db.query(f"ALTER TABLE rtcp_capture ADD PARTITION (PARTITION x VALUES LESS THAN ({midnight(4)}))")
    before = {r[0].decode() for r in db.query("SHOW TABLES")}
    h.write(storage="layout: homer5")
    h.start()
    old = {f"sip_capture_{k}_{time.strftime('%Y%m%d', time.gmtime(midnight(-age)))}" for k in ("call", "registration", "rest") for age in AGES if 11 <= age < 366}
    wait_until(lambda: h.metrics().sum("heptap_partitions_dropped_total") >= len(old) + 1, 30, "old tables dropped")
    after = {r[0].decode() for r in db.query("SHOW TABLES")}
    check_equal(before - after, old | {"sip_capture_call_20200101"}, "tables that went")
    check_equal(sum(db.number(f"SELECT COUNT(*) FROM sip_capture_{k}_past") for k in ("call", "registration", "rest")), 3, "rows long past")
    check_equal(db.number("SELECT COUNT(*) FROM rtcp_capture"), 2, "RTCP rows: p_past has the old one")
    check_equal(h.metrics().sum("heptap_partitions_dropped_total"), len(old) + 1, "counted")
    check_equal(h.stop(), 0, "exit code")


def test_statistics(world):
    """Statistics are kept twenty days, or longer if messages are; a look deletes a slice of what is older, the command all of it."""
    db = world.database()
    h = world.heptap(start=False)
    for table, columns, value in (("stats_ip", "source_ip", "seq"), ("stats_method", "method", "seq"), ("stats_data", "type", "seq")):
        db.query(f"INSERT INTO {table} (from_date, to_date, {columns}, total) SELECT NOW() - INTERVAL 21 DAY, NOW() - INTERVAL 21 DAY, {value}, 1 FROM seq_1_to_12000")
        db.query(f"INSERT INTO {table} (from_date, to_date, {columns}, total) SELECT NOW() - INTERVAL 19 DAY, NOW() - INTERVAL 19 DAY, {value}, 1 FROM seq_1_to_100")
    h.start()
    wait_until(lambda: [db.number(f"SELECT COUNT(*) FROM {t}") for t in ("stats_method", "stats_data", "stats_ip")] == [7100] * 3, 30, "one slice of each")
    h.stop()
    h.write(storage="retention_days: 0")
    check_equal((rotate(h).returncode, db.number("SELECT COUNT(*) FROM stats_ip")), (0, 7100), "nothing is old with retention_days: 0")
    h.write(storage="retention_days: 30")
    check_equal((rotate(h).returncode, db.number("SELECT COUNT(*) FROM stats_ip")), (0, 7100), "nothing is old with retention_days: 30")
    h.write(storage="")
    check_equal(rotate(h).returncode, 0, "rotate")
    check_equal([db.number(f"SELECT COUNT(*) FROM {t}") for t in ("stats_method", "stats_ip", "stats_data")], [100, 100, 100], "rows after the command")


# ---- by size ----

def sizes(db):
    """Octets of each partition as the server counts them."""
    db.query("ANALYZE TABLE sip_capture, rtcp_capture, report_capture, logs_capture")
    rows = db.query("SELECT table_name, partition_name, data_length + index_length FROM information_schema.partitions WHERE table_schema = 'homer_db' "
                    "AND table_name LIKE '%\\_capture' AND table_name <> 'webrtc_capture'")
    return {(t.decode(), p.decode()): int(b) for t, p, b in rows}


def test_by_size(world):
    """More than retention_bytes: p_past is emptied, then the oldest days go until it fits; never today's, and it is said if that is not enough."""
    db = world.database()
    ages = [a for a in (20, 9, 8, 7, 0) for _ in range(300)]
    h = world.heptap(start=False)
    partition(db, [("p_past", midnight(-10)), *days_to_do(-10, 2)])
    h.write(storage="retention_days: 0")
    h.start()
    h.send([hep3(sip(n, size=2000), ts=time.time() - age * DAY) for n, age in enumerate(ages)], pause_each=50)
    h.wait_at_rest(len(ages)).check_exact()
    h.stop()
    before = sizes(db)
    total = sum(before.values())
    limit = total - before[(SIP_TABLE, "p_past")] - before[(SIP_TABLE, day_name(midnight(-10)))] - before[(SIP_TABLE, day_name(midnight(-9)))] + 1000
    h.write(storage=f"retention_days: 0\n  retention_bytes: {limit}")
    h.start()
    looked(h)
    wait_until(lambda: h.metrics().sum("heptap_partitions_dropped_total") == 3, 30, "p_past and two days")
    check_equal(parts(db)[:2], [("p_past", midnight(-10)), days_to_do(-8, -8)[0]], "partitions")
    check_once(db, [n for n, age in enumerate(ages) if age < 9])
    check("partition p_past emptied (more than retention_bytes)" in h.log_text(), h.log_text())
    check(h.metrics().sum("heptap_storage_bytes") <= limit, "what is left")
    after = sizes(db)
    check(sum(after.values()) <= limit + after[(SIP_TABLE, "p_past")], "what is left by the server's count, the pages of an empty p_past aside")
    h.stop()
    h.write(storage="retention_days: 0\n  retention_bytes: 1")
    h.start()
    wait_until(lambda: "nothing is left that could be dropped" in h.log_text(), 30, "said")
    check_equal(parts(db), [("p_past", midnight(-10)), *days_to_do(0, 2)], "today and later")
    check_once(db, [n for n, age in enumerate(ages) if age == 0])
    check_equal(names(db, "rtcp_capture")[0], "p_past", "the others' p_past")
    check_equal(h.log_text().count(" emptied "), 1, "what is empty is not emptied")
    check_equal(h.stop(), 0, "exit code")


def test_by_size_in_daily_tables(world):
    """The oldest tables first, what is long past before them, and not those of today."""
    db = world.database()
    h = world.heptap(start=False, install=False, storage="layout: homer5\n  retention_days: 0")
    db.query("CREATE DATABASE homer_db", None)
    h.start()
    h.send([hep3(sip(n), ts=time.time() - age * DAY) for n, age in enumerate((0, 3, 4, 400))])
    h.wait_at_rest(4)
    h.stop()
    h.write(storage="layout: homer5\n  retention_days: 0\n  retention_bytes: 1")
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_partitions_dropped_total") == 3, 30, "three tables dropped")
    order = re.findall(r"table (sip_capture_rest_\w+) dropped \(more", h.log_text())
    check_equal(order, ["sip_capture_rest_past", *(f"sip_capture_rest_{time.strftime('%Y%m%d', time.gmtime(midnight(-d)))}" for d in (4, 3))], "order")
    check_equal(db.number(f"SELECT COUNT(*) FROM sip_capture_rest_{time.strftime('%Y%m%d', time.gmtime(midnight()))}"), 1, "today's row")
    h.send([hep3(sip(9), ts=time.time() - 400 * DAY)])
    h.wait_at_rest(1).check_exact()
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture_rest_past"), 1, "made again when it is needed")
    check_equal(h.stop(), 0, "exit code")


# ---- other people's tables ----

def foreign(world, options=("p999 VALUES LESS THAN (999999999)", "p1000 VALUES LESS THAN (1000000000)", *tables.OLD_PARTITIONS), h=None):
    db = world.database()
    h = world.heptap(start=False)
    db.query(f"DROP TABLE {SIP_TABLE}")
    db.query(tables.create(tables.V4, tables.COMPRESSED, options))
    return db, h


def test_foreign_with_an_empty_rest(world):
    """Homer's version 4 as it is shipped: the empty pmax is split, the old partitions go, ordered as numbers."""
    db, h = foreign(world)
    h.write(storage="statistics: false")
    h.start()
    h.send([hep3(sip(1)), hep3(sip(2), ts=time.time() - 40 * DAY)])
    h.wait_at_rest(2).check_exact()
    looked(h)
    check_equal(parts(db), [*days_to_do(-7, 2), ("pmax", None)], "partitions")
    check_equal([place_of(db, 1), place_of(db, 2)], [[day_name(midnight())], [day_name(midnight(-7))]], "rows")
    order = re.findall(r"partition (\w+) dropped", h.log_text())
    check_equal(order, ["p999", "p1000", "p2013082901", "p2013090822", "p2013090823"], "the oldest first")
    check_equal(h.stop(), 0, "exit code")
    check_equal((rotate(h).stdout, rotate(h).returncode), ("-- nothing to do\n", 0), "later")


def test_foreign_with_a_filled_rest(world):
    """A pmax with rows is never touched: it is said once what that means, rows go there, and what is older is dropped all the same."""
    db, h = foreign(world)
    db.query("INSERT INTO sip_capture SET date = NOW(), callid = 'n0@heptap.test', reply_reason='', to_tag='', contact_user='', auth_user='', via_1='', "
             "via_1_branch='', cseq='', diversion='', reason='', content_type='', auth='', user_agent='', source_port=0, destination_port=0, "
             "contact_ip='', contact_port=0, originator_port=0, correlation_id='', proto=1, rtp_stat='', type=1, node='', msg=''")
    h.start()
    h.send([hep3(sip(n), ts=time.time() - n * DAY) for n in (1, 2, 30)])
    h.wait_at_rest(3).check_exact()
    looked(h)
    check_equal(parts(db), [("pmax", None)], "partitions")
    check_once(db, [0, 1, 2, 30])
    check_equal(h.log_text().count("partition pmax holds rows"), 1, "said")
    done = rotate(h)
    check_equal((done.returncode, "-- table sip_capture: partition pmax holds rows" in done.stdout, "REORGANIZE PARTITION pmax INTO (PARTITION" in done.stdout),
                (0, True, False), "rotate")
    check_equal(h.stop(), 0, "exit code")


def test_foreign_otherwise(world):
    """A table without partitions, and one with ranges of other numbers: said once, filled, and left alone."""
    db, h = foreign(world)
    db.query(f"ALTER TABLE {SIP_TABLE} REMOVE PARTITIONING")
    db.query("ALTER TABLE rtcp_capture PARTITION BY RANGE (id) (PARTITION small VALUES LESS THAN (10), PARTITION large VALUES LESS THAN MAXVALUE)")
    h.write(storage="retention_bytes: 1")
    h.start()
    h.send([hep3(sip(1), ts=time.time() - 40 * DAY), hep3(b"{}", kind=5, ts=time.time() - 40 * DAY)])
    h.wait_at_rest(2).check_exact()
    looked(h)
    check_equal((len(parts(db)), names(db, "rtcp_capture")), (0, ["small", "large"]), "partitions")
    check_equal([h.log_text().count(t) for t in ("table sip_capture: it has no partitions", "rtcp_capture: its partitions are not ranges")], [1, 1], "said")
    check_once(db, [1])
    check_equal(h.metrics().sum("heptap_partitions_dropped_total"), 0, "dropped")
    check_equal(h.stop(), 0, "exit code")


# ---- several at once ----

def test_many_at_once(world):
    """Servers and commands that share the tables make and drop the same things at the same time: all succeed, and the result is that of one."""
    db = world.database()
    first = filled(world, AGES)
    for n in days_to_do(1, 2):
        db.query(f"ALTER TABLE {SIP_TABLE} DROP PARTITION {n[0]}")
    second = world.heptap("second", install=False, start=False, top="node_id: 2")
    for h in (first, second):
        h.start(wait=False)
    codes = []

    def command():
        done = rotate(first)
        codes.append(done.returncode or 0)
        check_equal((done.returncode, done.stderr), (0, ""), "rotate")

    threads = [threading.Thread(target=command) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for h in (first, second):
        wait_until(h.is_ready, 30, "ready")
        looked(h)
        check(" error: " not in h.log_text().lower() and "refuse" not in h.log_text(), h.log_text())
    check_equal(codes, [0] * 6, "exit codes of the commands")
    check_equal(parts(db), [("p_past", midnight(-15)), *days_to_do(-10, 2)], "partitions")
    first.send([hep3(sip(100))])
    second.send([hep3(sip(101))])
    for h in (first, second):
        h.wait_at_rest(1).check_exact()
    check_once(db, [n for n, age in enumerate(AGES) if age <= 10 or age > 15] + [100, 101])
    check_equal((first.stop(), second.stop()), (0, 0), "exit codes")


@contextlib.contextmanager
def reader(db, table=SIP_TABLE):
    """Somebody who has read the table in a transaction that does not end."""
    p = subprocess.Popen([*db.client("x")[:-2], "-n", "homer_db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        p.stdin.write(f"START TRANSACTION; SELECT 'begun', COUNT(*) FROM {table};\n".encode())
        p.stdin.flush()
        check(p.stdout.readline().startswith(b"begun"), "the reader has begun")
        yield
    finally:
        p.stdin.close()
        p.wait(20)


@only_waits
def test_behind_a_reader(world):
    """Readers hold two tables: dropping waits two seconds and is left to the next look, said once for each, while rows are stored as ever. One
    of them ends before the next look, the other does not."""
    db = world.database()
    h = filled(world, AGES)
    partition(db, [("p_past", midnight(-30)), ("old", midnight(-29)), *days_to_do(-1, 2)], "rtcp_capture")
    with reader(db, "rtcp_capture"):
        with reader(db):
            done = rotate(h)
            check_equal(done.returncode, 3, "exit code of rotate")
            check_equal([done.stdout.count(t) for t in ("waits behind a transaction", "DROP PARTITION")], [2, 2], f"one try for each table: {done.stdout}")
            h.start()
            wait_until(lambda: "table sip_capture: partition p" in h.log_text(), 30, "said")
            h.send([hep3(sip(n)) for n in range(100, 400)] + [hep3(b"{}", kind=5)], pause_each=50)
            h.wait_at_rest(301).check_exact()
            check_equal((len(parts(db)), names(db, "rtcp_capture")[1]), (19, "old"), "partitions are there")
            check_equal(h.log_text().count("waits behind a transaction or a long SELECT"), 2, "said")
        wait_until(lambda: h.metrics().sum("heptap_partitions_dropped_total") == 5, 90, "the next look drops what nobody holds")
        check_equal(h.log_text().count("waits behind"), 2, "the other wait is not said again")
        check_equal((parts(db)[1], names(db, "rtcp_capture")[1]), (days_to_do(-10, -10)[0], "old"), "partitions")
    check_equal((rotate(h).returncode, names(db, "rtcp_capture")[1]), (0, days_to_do(-1, -1)[0][0]), "when nobody holds anything")
    check_once(db, [n for n, age in enumerate(AGES) if age <= 10 or age > 15] + list(range(100, 400)))
    check_equal(h.stop(), 0, "exit code")


# ---- clocks ----

def server_clock(db, seconds):
    """What time sessions of ordinary accounts have from now on."""
    db.query(f"SET GLOBAL init_connect = 'SET timestamp = UNIX_TIMESTAMP() + ({seconds})'" if seconds else "SET GLOBAL init_connect = ''")


def as_admin(world, h, more=""):
    """An account without the right to step over init_connect."""
    world.db.query(h.command("schema", "print", "grants").stdout.replace("IDENTIFIED BY 'CHANGE-ME-", "IDENTIFIED BY 'pw-"))
    h.write(user="homer_admin", storage=f"password: pw-2\n  {more}")


def test_clocks_disagree(world):
    """Our clock and the server's are far apart, in either direction: nothing is dropped, nothing made for a day that is not sure to come, it is said."""
    db = world.database()
    h = filled(world, AGES)
    as_admin(world, h, "retention_bytes: 1")
    wanted = [("p_past", midnight(-15)), *days_to_do(-15, 2)]
    for seconds, word in ((40 * DAY, "behind"), (-40 * DAY, "ahead of"), (700, "behind"), (-700, "ahead of")):
        server_clock(db, seconds)
        done = rotate(h)
        check_equal((done.returncode, parts(db)), (0, wanted), f"partitions with {seconds} s: {done.stdout}")
        check(re.search(rf"clocks: ours is {abs(seconds)} s {word} the database server's|clocks: ours is {abs(seconds) - 1} s {word}"
                        rf"|clocks: ours is {abs(seconds) + 1} s {word}", done.stdout), done.stdout)
    server_clock(db, -40 * DAY)
    h.start()
    looked(h)
    check("nothing is dropped" in h.log_text(), h.log_text())
    h.send([hep3(sip(100))])
    h.wait_at_rest(1).check_exact()
    check_equal(parts(db), wanted, "partitions")
    check_equal(h.stop(), 0, "exit code")


def test_row_waits_for_clocks(world):
    """A row needs a partition, and by the server's clock its day is weeks ahead: it waits in the spool, not refused, until the clocks agree."""
    db = world.database()
    h = world.heptap(start=False)
    partition(db, [("p_past", midnight(-50)), (day_name(midnight(-50)), midnight(-30))])
    as_admin(world, h, "retention_days: 0")
    server_clock(db, -40 * DAY)
    h.start()
    h.send([hep3(sip(1))])
    wait_until(lambda: "rows wait in the spool" in h.log_text(), 30, "said")
    m = h.metrics()
    check_equal((m.sum("heptap_in_spool"), m.sum("heptap_rejected_total")), (1, 0), "rows")
    server_clock(db, 0)
    db.query("KILL USER homer_admin@localhost")
    h.wait_at_rest(1).check_exact()
    check_once(db, [1])
    check_equal(h.stop(), 0, "exit code")


def test_old_by_both_clocks(world):
    """Within the ten minutes the earlier clock counts: what is too old by ours alone stays."""
    db = world.database()
    h = filled(world, [0])
    bound = int(time.time()) - 10 * DAY - 200
    db.query(f"TRUNCATE TABLE {SIP_TABLE}")
    partition(db, [("p_past", midnight(-15)), ("old", bound - 600), ("edge", bound), *days_to_do(-9, 2)])
    as_admin(world, h)
    server_clock(db, -400)
    check_equal((rotate(h).returncode, names(db)[:3]), (0, ["p_past", "edge", day_name(midnight(-9))]), "by the earlier clock")
    server_clock(db, 400)
    check_equal((rotate(h).returncode, names(db)[:2]), (0, ["p_past", day_name(midnight(-9))]), "by ours, which is the earlier one now")


# ---- the command ----

def test_rotate_command(world):
    """A dry run prints what a run then does, and changes nothing; exit codes say how it went; an account without the right is told so."""
    db = world.database()
    h = filled(world, AGES)
    db.query(f"ALTER TABLE {SIP_TABLE} DROP PARTITION {day_name(midnight(2))}")
    before = parts(db)
    dry = rotate(h, "--dry-run")
    check_equal((dry.returncode, parts(db)), (0, before), "a dry run")
    wanted = [f"ALTER TABLE `sip_capture` ADD PARTITION (PARTITION `{day_name(midnight(2))}` VALUES LESS THAN ({midnight(3)}));",
              *(f"ALTER TABLE `sip_capture` DROP PARTITION `{n}`;" for n, _ in days_to_do(-15, -11))]
    check_equal([line for line in dry.stdout.splitlines() if not line.startswith("--")], wanted, "statements")
    h.write(user="homer_writer", storage="password: pw-1")
    db.query(h.command("schema", "print", "grants").stdout.replace("IDENTIFIED BY 'CHANGE-ME-", "IDENTIFIED BY 'pw-"))
    denied = rotate(h)
    check_equal((denied.returncode, parts(db)), (3, before), "an account that may not")
    check("denied" in denied.stdout and "refused" in denied.stderr, denied.stdout + denied.stderr)
    h.write(user="root", storage="")
    done = rotate(h)
    check_equal((done.returncode, done.stderr), (0, ""), "a run")
    check_equal([line for line in done.stdout.splitlines() if not line.startswith("--")], wanted, "the same statements")
    check_equal(parts(db), [("p_past", midnight(-15)), *days_to_do(-10, 2)], "partitions")
    check_equal((rotate(h).stdout, rotate(h, "--dry-run").stdout), ("-- nothing to do\n", "-- nothing to do\n"), "again")
    check_equal([rotate(h, "--now").returncode, rotate(h, "--dry-run", "x").returncode], [2, 2], "words")
    h.write(storage="partition: week")
    wrong = rotate(h)
    check_equal((wrong.returncode, "storage.partition" in wrong.stderr), (1, True), "configuration")
    h.write(storage="", database="nowhere")
    check_equal(rotate(h).returncode, 3, "no such database")
    h.write(database="homer_db")
    db.query(f"DROP TABLE {SIP_TABLE}")
    check("-- table sip_capture: not there" in rotate(h).stdout, "no such table")
    db.stop()
    check_equal(rotate(h).returncode, 3, "no server")
