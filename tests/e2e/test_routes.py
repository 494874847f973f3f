"""Rows that a rule sent to a table of its own: once, in a table that is made, kept and dropped as ours are, whatever the spool holds."""
import json
import subprocess
import time

from lib import check, check_equal, hep3, sip, unescape, wait_until

DAY = 86400


def spool(h, folder, rows, node=5, block=50):
    """A spool as it is left behind: rows are (number of sip(), table as octets or None, days from now)."""
    tool = h.binary.rsplit("/", 1)[0] + "/tests/e2e/route_rows"
    lines = "".join(f"{number} {days} {route.hex() if route else '-'}\n" for number, route, days in rows)
    done = subprocess.run([tool, str(folder), str(node), str(block)], input=lines, text=True, capture_output=True)
    check(done.returncode == 0, f"route_rows: {done.returncode} {done.stderr}")
    return folder


def mixed(numbers, routes):
    """Each row to the next of the routes."""
    return [(n, routes[n % len(routes)], 0) for n in numbers]


def numbers_in(db, table, where="1=1"):
    """The numbers of sip() in a table, in order, as often as they are there."""
    return sorted(int(n) for n, in db.query(f"SELECT SUBSTRING(callid, 2, LOCATE('@', callid) - 2) FROM `{table}` WHERE {where}"))


def check_tables(db, wanted, what="rows"):
    """{table: numbers}: each exactly once."""
    for table, numbers in wanted.items():
        check_equal(numbers_in(db, table), sorted(numbers), f"{what} in {table}")


def tables(db):
    return {t.decode() for t, in db.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'homer_db'")}


def shape(db, table):
    """How a table was made, without its name and its days."""
    text = unescape(db.query(f"SHOW CREATE TABLE `{table}`")[0][1]).decode()
    return text.replace(f"`{table}`", "``", 1)


def parts(db, table):
    rows = db.query("SELECT partition_name FROM information_schema.partitions WHERE table_schema = 'homer_db' "
                    f"AND table_name = '{table}' AND partition_name IS NOT NULL ORDER BY partition_ordinal_position")
    return [n.decode() for n, in rows]


def day_name(days):
    return time.strftime("p%Y%m%d", time.gmtime(time.time() + days * DAY))


def rules(*names):
    """A configuration whose rules name these tables."""
    return "filters:\n" + "".join(f"  - {{ name: r{i}, when: 'method == \"X{i}\"', table: '{t}' }}\n" for i, t in enumerate(names))


def replay(h, folder, rows):
    done = h.command("replay", str(folder))
    check_equal((done.returncode, done.stdout), (0, f"{folder}: {rows} rows stored, 0 refused, 0 lost to damage\n"), done.stderr)
    return done.stderr


def at_rest(h, rows):
    """Until everything that was in the spool is stored."""
    def stored():
        m = h.metrics()
        return m if m.sum("heptap_stored_total") == rows and m.sum("heptap_spool_streams_unread") == 0 else None
    m = wait_until(stored, 30, lambda: f"{rows} rows stored: {h.summary()}")
    m.check_exact()
    return m


def test_replayed_rows_have_their_table(world):
    """Tables that are not there are made as sip_capture is; nothing is stored twice, however often it is replayed, nor in two tables."""
    db = world.database()
    h = world.heptap(start=False)
    routes = (None, b"trunk_a", b"Trunk$B", b"sip_capture", b"a" * 64)
    folder = spool(h, world.folder / "copy", mixed(range(1000), routes))
    before = tables(db)
    told = replay(h, folder, 1000)
    wanted = {"sip_capture": [n for n in range(1000) if n % 5 in (0, 3)], "trunk_a": range(1, 1000, 5), "Trunk$B": range(2, 1000, 5),
              "a" * 64: range(4, 1000, 5)}
    check_tables(db, wanted)
    check_equal(tables(db) - before, {"trunk_a", "Trunk$B", "a" * 64}, "tables that were made")
    check_equal(shape(db, "trunk_a"), shape(db, "sip_capture"), "columns, keys and partitions")
    check("table trunk_a made" in told and "goes to" not in told and "go to" not in told, told)
    ids = [db.number(f"SELECT COUNT(DISTINCT id) FROM `{t}`") for t in wanted]
    check_equal(ids, [len(list(n)) for n in wanted.values()], "ids")
    replay(h, folder, 0)
    check_tables(db, wanted, "after a second replay: rows")


def test_rules_of_a_server(world):
    """What a rule chose has its table, reports and what no rule chose theirs; after a reload the next messages go where they go now."""
    db = world.database()
    rule = "filters: [ {{ name: r, when: 'method == \"OPTIONS\"', table: {0} }} ]\n"
    h = world.heptap(top=rule.format("trunk_a"))
    h.send([hep3(sip(n, "OPTIONS" if n % 2 else "MESSAGE")) for n in range(200)])
    h.send([hep3(b"a line of a log", kind=100)])
    h.wait_at_rest(201).check_exact()
    h.write(top=rule.format("trunk_b"))
    check_equal(h.command("reload").returncode, 0, "reload")
    h.send([hep3(sip(n, "OPTIONS" if n % 2 else "MESSAGE")) for n in range(200, 300)])
    m = h.wait_at_rest(301)
    m.check_exact()
    check_tables(db, {"trunk_a": range(1, 200, 2), "trunk_b": range(201, 300, 2), "sip_capture": range(0, 300, 2)})
    check_equal([m.sum("heptap_stored_total", table=t) for t in ("trunk_a", "trunk_b", "sip_capture", "logs_capture")], [100, 50, 150, 1], "by table")
    check_equal(m.sum("heptap_unrouted_total"), 0, "unrouted")
    h.stop()
    check_equal(sum(int(t) for t, in db.query("SELECT total FROM stats_method WHERE method = 'ALL'")), 300, "statistics count all of them")


def test_names_that_cannot_be(world):
    """What is no name, or belongs to something else, costs no row and no table: the usual one has it, the log and a counter say so."""
    db = world.database()
    bad = (b"a`; DROP TABLE sip_capture; -- ", b"`", b"a'b", b"a\0b", b"a b", b"a.b", b"\xc3\xa4", b"\xff\xff", b"x" * 65, b"y" * 300, b"%s%n",
           b"a\nb", b"a\\", b"homer_db`.`alarm_config")
    taken = (b"rtcp_capture", b"REPORT_CAPTURE", b"logs_capture", b"heptap_ledger", b"heptap_ids", b"stats_method", b"alarm_config", b"webrtc_capture")
    h = world.heptap(start=False)
    before = tables(db)
    rows = mixed(range(660), (None, b"trunk_a", *bad, *taken))
    spool(h, h.folder / "spool", rows)
    h.start()
    m = at_rest(h, 660)
    usual = [n for n, route, _ in rows if route != b"trunk_a"]
    check_tables(db, {"sip_capture": usual, "trunk_a": [n for n, route, _ in rows if route == b"trunk_a"]})
    check_equal(tables(db) - before, {"trunk_a"}, "tables that were made")
    check_equal(before - tables(db), set(), "tables that are gone")
    for table in ("rtcp_capture", "report_capture", "logs_capture", "webrtc_capture", "stats_method", "alarm_config", "alarm_data"):
        check_equal(db.number(f"SELECT COUNT(*) FROM {table}"), 0, table)
    check_equal(m.sum("heptap_unrouted_total"), sum(route in bad + taken for _, route, _ in rows), "counted")
    check_equal((m.sum("heptap_stored_total", table="sip_capture"), m.sum("heptap_stored_total", table="trunk_a")),
                (len(usual), 660 - len(usual)), "by table")
    log = h.log_text()
    check_equal((log.count("asks for a table whose name"), log.count("has another use")), (1, 1), "told once for each reason: " + log[-3000:])
    check_equal(h.stop(), 0, "exit code")


def test_no_more_than_32(world):
    """The first 32 names have tables, of which those that rules name are sure; the rest is stored, counted and said once, and stays bounded."""
    db = world.database()
    names = [b"route_%d" % n for n in range(100)]
    h = world.heptap(start=False, top=rules("route_99", "route_98", "route_99"))
    before = tables(db) - {"route_98", "route_99"}
    rows = mixed(range(1000), names)
    spool(h, h.folder / "spool", rows, block=7)
    h.start()
    m = at_rest(h, 1000)
    made = tables(db) - before
    check_equal(len(made), 32, "tables that were made")
    check({"route_98", "route_99"} <= made, f"those of rules: {sorted(made)}")
    wanted = {t: [n for n, route, _ in rows if route.decode() == t] for t in made}
    wanted["sip_capture"] = [n for n, route, _ in rows if route.decode() not in made]
    check_tables(db, wanted)
    check_equal(m.sum("heptap_unrouted_total"), 680, "counted")
    for table, numbers in wanted.items():
        check_equal(m.sum("heptap_stored_total", table=table), len(numbers), f"heptap_stored_total of {table}")
    check_equal(sum(key.startswith("heptap_stored_total{") for key in m.values), 1 + 3 + 32, "labels")
    check_equal(h.log_text().count("rules chose 32 other tables before it"), 1, "told once")
    check_equal(h.stop(), 0, "exit code")


def test_killed_in_between(world):
    """A server that is killed while it stores such rows goes on where it was, and takes rows of a new start and of no rule beside them."""
    db = world.database()
    routes = (None, b"trunk_a", b"trunk_b")
    h = world.heptap(start=False, storage="batch_rows: 100")
    spool(h, h.folder / "spool", mixed(range(30_000), routes), block=100)
    there = "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'trunk_a')"
    for _ in range(3):
        before = db.number("SELECT COUNT(*) FROM trunk_a") if db.number(there) else 0
        h.start(wait=False)
        wait_until(lambda: db.number(there) and db.number("SELECT COUNT(*) FROM trunk_a") > before, 20, "it stores")
        h.kill()
    done = db.number("SELECT COUNT(*) FROM trunk_a")
    check(0 < done < 10_000, f"{done} of 10000 when it was killed: nothing was tested")
    spool(h, h.folder / "spool", mixed(range(30_000, 31_000), routes), block=100)
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 0 and h.metrics().sum("heptap_spool_streams_unread") == 0, 30, "all is stored")
    check_tables(db, {t: [n for n in range(31_000) if n % 3 == i] for i, t in enumerate(("sip_capture", "trunk_a", "trunk_b"))})
    h.metrics().check_exact()
    check_equal(h.stop(), 0, "exit code")


def test_daily_tables_beside(world):
    """With layout homer5 a route is one table with partitions, also one that is called like the daily ones; the rest goes by day and kind."""
    db = world.database()
    today = time.strftime("%Y%m%d", time.gmtime())
    routes = (None, b"trunk_a", b"sip_capture", b"sip_capture_trunks", b"sip_capture_call_" + today.encode())
    h = world.heptap(start=False, storage="layout: homer5")
    folder = spool(h, world.folder / "copy", mixed(range(500), routes))
    told = replay(h, folder, 500)
    check_tables(db, {f"sip_capture_rest_{today}": [n for n in range(500) if n % 5 in (0, 4)], "trunk_a": range(1, 500, 5),
                      "sip_capture": range(2, 500, 5), "sip_capture_trunks": range(3, 500, 5)})
    check("has another use, so messages that a rule chose for it go to the daily tables" in told, told)
    check_equal(parts(db, "trunk_a"), ["p_past", *map(day_name, range(3))], "partitions")
    check_equal(numbers_in(db, f"sip_capture_call_{today}"), [], "a day's calls")


def test_days_and_tables_are_made_while_it_stores(world):
    """Partitions of days ahead on demand; days too far ahead to the reject file under the table's name; a table that was dropped is made again."""
    db = world.database()
    h = world.heptap(start=False)
    replay(h, spool(h, world.folder / "one", [(0, b"trunk_a", 0), (1, b"trunk_a", 6), (2, None, 0)]), 3)
    check_tables(db, {"trunk_a": [0, 1], "sip_capture": [2]})
    check(day_name(6) in parts(db, "trunk_a") and day_name(6) not in parts(db, "sip_capture"), f"{parts(db, 'trunk_a')}")
    far = spool(h, world.folder / "two", [(3, b"trunk_a", 0), (4, b"trunk_a", 300), (5, b"trunk_a", -300)], node=6)
    done = h.command("replay", str(far))
    check_equal((done.returncode, "2 rows stored, 1 refused" in done.stdout), (1, True), done.stdout + done.stderr)
    line, = map(json.loads, (far / "rejected.jsonl").read_text().splitlines())
    check_equal(line["table"], "trunk_a", "table in the reject file")
    check_equal(numbers_in(db, "trunk_a", "date < NOW() - INTERVAL 200 DAY"), [5], "of long ago")
    db.query("DROP TABLE trunk_a")
    replay(h, spool(h, world.folder / "three", [(6, b"trunk_a", 0)], node=7), 1)
    check_tables(db, {"trunk_a": [6]})


def test_dropped_under_a_running_server(world):
    """A table that loses a column, then is renamed, while a server stores into it: the next one is made, and no row is missed or there twice."""
    db = world.database()
    h = world.heptap(start=False, storage="batch_rows: 50")
    rows = [(n, b"trunk_a", 0) for n in range(30_000)]
    spool(h, h.folder / "spool", rows, block=20)
    h.start(wait=False)
    wait_until(lambda: b"trunk_a" in {t for t, in db.query("SHOW TABLES")}, 20, "it is made")
    db.query("ALTER TABLE trunk_a DROP COLUMN user_agent")
    db.query("RENAME TABLE trunk_a TO trunk_old")
    m = at_rest(h, 30_000)
    check("trunk_a" in tables(db), "all was stored before it was renamed: nothing was tested")
    check_equal(sorted(numbers_in(db, "trunk_a") + numbers_in(db, "trunk_old")), list(range(30_000)), "once in one of both")
    check_equal(m.sum("heptap_rejected_total"), 0, "refused")
    check_equal(h.stop(), 0, "exit code")


def test_table_of_another_shape(world):
    """Columns are found by their names, as in any table; one that is called as the route is in the row is nobody's."""
    db = world.database()
    h = world.heptap(start=False)
    db.query("CREATE TABLE trunk_a (id bigint unsigned NOT NULL, `date` timestamp NOT NULL, callid varchar(3) NOT NULL, method varchar(50) NOT NULL, "
             "route varchar(50) NOT NULL DEFAULT 'mine', note int DEFAULT 7, PRIMARY KEY (id))")
    told = replay(h, spool(h, world.folder / "copy", [(n, b"trunk_a", 0) for n in range(10, 20)]), 10)
    check_equal(db.query("SELECT callid, method, route, note, COUNT(*) FROM trunk_a GROUP BY 1, 2, 3, 4 ORDER BY 1"),
                [[b"n1%d" % n, b"OPTIONS", b"mine", b"7", b"1"] for n in range(10)], "rows")
    check("table trunk_a: fills 4 columns; not there: " in told and "route" not in told.split("not there: ")[1].splitlines()[0], told)
    check_equal(parts(db, "trunk_a"), [], "it stays as it is")


def test_ahead_and_retention(world):
    """Tables that rules name are installed, granted, upgraded, given partitions and rid of old ones; those that no rule names any more are kept."""
    db = world.database()
    h = world.heptap(start=False, top=rules("trunk_a", "trunk_b", "rtcp_capture", "trunk_a", "sip_capture"), storage="retention_days: 10")
    check({"trunk_a", "trunk_b"} <= tables(db), "schema install makes them")
    check_equal(shape(db, "trunk_b"), shape(db, "sip_capture"), "as sip_capture")
    printed = h.command("schema", "print").stdout
    check_equal([printed.count(f"CREATE TABLE IF NOT EXISTS `{t}`") for t in ("trunk_a", "trunk_b", "sip_capture", "rtcp_capture")], [1] * 4, printed)
    grants = h.command("schema", "print", "grants").stdout
    check_equal([grants.count(f"GRANT INSERT ON `homer_db`.`{t}` TO") for t in ("trunk_a", "trunk_b", "sip_capture", "rtcp_capture")], [1] * 4, grants)
    then = int(time.time()) // DAY * DAY
    for table in ("trunk_a", "trunk_gone"):
        if table not in tables(db):
            db.query(f"CREATE TABLE {table} LIKE trunk_b")
        db.query(f"ALTER TABLE {table} PARTITION BY RANGE (UNIX_TIMESTAMP(`date`)) (PARTITION p_past VALUES LESS THAN ({then - 30 * DAY}), "
                 f"PARTITION {day_name(-30)} VALUES LESS THAN ({then - 29 * DAY}), PARTITION {day_name(-5)} VALUES LESS THAN ({then - 4 * DAY}))")
    db.query("ALTER TABLE trunk_b DROP COLUMN msg_raw")
    done = h.command("schema", "upgrade", "--yes")
    check_equal((done.returncode, shape(db, "trunk_b")), (0, shape(db, "sip_capture")), done.stdout + done.stderr)
    dry = h.command("schema", "rotate", "--dry-run")
    check(f"ALTER TABLE `trunk_a` DROP PARTITION `{day_name(-30)}`" in dry.stdout, dry.stdout + dry.stderr)
    h.start()
    made = ["p_past", day_name(-5), *map(day_name, range(-4, 3))]
    wait_until(lambda: parts(db, "trunk_a")[:2] == made[:2] and parts(db, "trunk_a")[-1] == made[-1], 20, lambda: f"partitions: {parts(db, 'trunk_a')}")
    check_equal(parts(db, "trunk_gone"), ["p_past", day_name(-30), day_name(-5)], "a table of no rule")
    m = h.metrics()
    check_equal([m.values.get(f'heptap_stored_total{{table="{t}"}}') for t in ("trunk_a", "trunk_b", "trunk_gone")], [0, 0, None], "labels")
    check_equal(h.log_text().count("table rtcp_capture: has another use"), 1, "told at the start")
    check_equal(h.stop(), 0, "exit code")
