"""The tables that we make: valid everywhere, with what Homer asks for, accounts with no more than they need, and upgrades that lose nothing."""
import os
import pty
import re
import signal
import subprocess
import time

import calls
import tables
from lib import Skip, check, check_equal, check_once, hep3, only_waits, sip, wait_until

# Modes of MySQL 5.7 and 8 by default.
MYSQL_MODES = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
PARTS = ["capture", "reports", "statistics", "users", "configuration"]

# Columns that Homer's pages ask for by name.
HOMER = {
    "sip_capture": "id, date, floor(micro_ts/1000) as milli_ts, micro_ts, method, reply_reason, ruri, ruri_user, ruri_domain, from_user, from_domain, "
                   "from_tag, to_user, to_domain, to_tag, pid_user, contact_user, auth_user, callid, callid_aleg, via_1, via_1_branch, cseq, diversion, "
                   "reason, content_type, auth, user_agent, source_ip, source_port, destination_ip, destination_port, contact_ip, contact_port, "
                   "originator_ip, originator_port, correlation_id, proto, family, rtp_stat, type, node, custom_field1, custom_field2, custom_field3, "
                   "authorization, expires, MD5(msg) as md5sum",
    "rtcp_capture": "id, date, micro_ts, correlation_id, source_ip, source_port, destination_ip, destination_port, proto, family, type, node, msg",
    "report_capture": "id, date, micro_ts, correlation_id, type, msg", "logs_capture": "id, date, micro_ts, correlation_id, type, msg",
    "stats_method": "id, from_date, to_date, method, auth, totag, cseq, total", "stats_data": "id, from_date, to_date, type, total",
    "stats_ip": "id, from_date, to_date, method, source_ip, total", "stats_useragent": "id, from_date, to_date, useragent, method, total",
    "stats_geo": "id, from_date, to_date, method, country, lat, lon, total", "stats_dest_reply": "id, country, prefix, method, status_code, total, from_date, to_date, reason_phrase",
    "stats_generic": "from_date, to_date, type, tag, total", "alarm_data": "id, create_date, type, total, source_ip, description, status",
    "webrtc_capture": "id, date, micro_ts, correlation_id, session_id, method, caller, callee, source_ip, source_port, proto, family, type, node, msg",
    "stats_method_mem": "id, create_date, method, auth, cseq, totag, total", "stats_ip_mem": "id, create_date, method, source_ip, total",
    "stats_useragent_mem": "id, create_date, useragent, method, total", "stats_geo_mem": "id, create_date, method, country, lat, lon, total",
    "stats_dest_mem": "id, create_date, prefix, method, status_code, reason_phrase, country, lat, lon, duration, total",
    "alarm_data_mem": "id, create_date, type, total, source_ip, description, status",
    "alarm_config": "id, name, startdate, stopdate, type, value, notify, email, createdate, active",
    "homer_users.homer_hosts": "id, host, name, status", "homer_users.homer_logon": "userid, useremail, password, userlevel",
    "homer_users.homer_nodes": "id, host, dbname, dbport, dbusername, dbpassword, dbtables, name, status",
    "homer_users.homer_searchlog": "id, useremail, date, search",
    "homer_configuration.user": "uid, gid, grp, username, password, firstname, lastname, email, department, regdate, lastvisit, active",
    "homer_configuration.setting": "id, uid, param_name, param_value, valid_param_from, valid_param_to, param_prio, active",
    "homer_configuration.user_menu": "id, name, alias, icon, weight, active",
    "homer_configuration.alias": "id, gid, ip, port, capture_id, alias, is_stp, status, created",
    "homer_configuration.node": "id, host, dbname, dbport, dbusername, dbpassword, dbtables, name, status",
    "homer_configuration.link_share": "id, uid, uuid, data, expire, active",
    "homer_configuration.api_auth_key": "id, authkey, source_ip, startdate, stopdate, userobject, description, lastvisit, enable",
}
# What the pages and the scripts that count insert, with columns left out.
INSERTS = [
    "INSERT INTO stats_method (from_date, to_date, method, total) VALUES (NOW(), NOW(), 'INVITE', 3) ON DUPLICATE KEY UPDATE total = total + 3",
    "INSERT INTO stats_data (from_date, to_date, type, total) VALUES ('2026-01-01', '2026-01-02', 'asr', 3) ON DUPLICATE KEY UPDATE total = total + 3",
    "INSERT INTO stats_data (from_date, to_date, type, total) VALUES ('2026-01-01', '2026-01-02', 'asr', 3) ON DUPLICATE KEY UPDATE total = total + 3",
    "INSERT INTO alarm_data (create_date, type, total, description) VALUES (NOW(), 'Too Many 503', 9, 'service unavailable')",
    "INSERT INTO homer_users.homer_logon (useremail, password, userlevel) VALUES ('a@b', MD5('x'), 1)",
    "INSERT INTO homer_users.homer_nodes VALUES (NULL, '127.0.0.1', 'homer_db', '3306', 'u', 'p', 'sip_capture', 'n', 1)",
    "INSERT INTO homer_users.homer_hosts (host, name, status) VALUES ('192.0.2.1', 'proxy', 1)",
    "INSERT INTO homer_configuration.user (username, grp, password, active) VALUES ('u', 'users', PASSWORD('x'), 1)",
]


def run(h, *words):
    return h.command("schema", *words)


def test_everything_under_strict_modes(world):
    """All parts are made under the modes of MySQL 8, twice; every column that Homer asks for is there, and its inserts work."""
    world.database([f"--sql-mode={MYSQL_MODES}"])
    h = world.heptap(install=False, start=False)
    for _ in range(2):
        done = run(h, "install", *PARTS)
        check_equal((done.returncode, done.stderr), (0, ""), "install")
    for table, columns in HOMER.items():
        world.db.query(f"SELECT {columns} FROM {table} WHERE 1 = 0")
    for insert in INSERTS:
        world.db.query(insert)
    check_equal(world.db.number("SELECT total FROM stats_data"), 6, "counts add up")
    check_equal(world.db.number("SELECT COUNT(*) FROM homer_users.homer_logon WHERE useremail <> 'a@b'"), 0, "accounts that were shipped")
    for table in ("sip_capture", "rtcp_capture", "report_capture", "logs_capture"):
        names = [r[0].decode() for r in world.db.query("SELECT partition_name FROM information_schema.partitions WHERE table_schema = 'homer_db' "
                                                       f"AND table_name = '{table}' ORDER BY partition_ordinal_position")]
        check(names[0] == "p_past" and len(names) == 4 and all(re.fullmatch(r"p\d{8}", n) for n in names[1:]), f"partitions of {table}: {names}")


def test_print_is_what_install_runs(world):
    """What is printed can be run by hand, as it is."""
    world.database()
    h = world.heptap(install=False, start=False)
    world.db.query("CREATE DATABASE homer_db", None)
    text = run(h, "print", *PARTS).stdout
    world.db.query(text)
    for table, columns in HOMER.items():
        world.db.query(f"SELECT {columns} FROM {table} WHERE 1 = 0")
    check_equal(run(h, "upgrade").stdout, "homer_db: nothing to do\n", "and there is nothing to upgrade")


def test_words(world):
    """Unknown parts, grants that cannot be installed, words too many."""
    world.database()
    h = world.heptap(install=False, start=False)
    for words in ((), ("show",), ("print", "everything"), ("install", "grants"), ("upgrade", "now"), ("upgrade", "--yes", "please")):
        done = run(h, *words)
        check_equal(done.returncode, 2, f"{words}")
        check("schema takes" in done.stderr, f"{words}: {done.stderr}")
    check("CREATE TABLE" not in run(h, "print", "grants").stdout, "grants alone")
    check_equal(world.db.query("SHOW DATABASES LIKE 'homer%'", None), [], "nothing was made")


def grant(world, h):
    """The three accounts, as printed."""
    world.db.query(run(h, "print", "grants").stdout.replace("IDENTIFIED BY 'CHANGE-ME-", "IDENTIFIED BY 'pw-"))


def refused(world, user, sql):
    command = world.db.client(sql, "homer_db")
    command[command.index("root")] = user
    command.insert(1 + command.index("--no-defaults"), f"--password=pw-{ {'homer_writer': 1, 'homer_admin': 2, 'homer_reader': 3}[user] }")
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode != 0 and "denied" in done.stderr


def test_writer_account(world):
    """It stores rows of every kind, and can neither read messages nor change tables."""
    world.database()
    h = world.heptap(start=False)
    run(h, "install", *PARTS)
    grant(world, h)
    h.write(user="homer_writer", storage="password: pw-1")
    h.start()
    h.send([hep3(sip(n)) for n in range(200)] + [hep3(b"{}", kind=k) for k in (5, 35, 100)])
    m = h.wait_at_rest(203)
    m.check_exact()
    check_once(world.db, range(200))
    check_equal(m.sum("heptap_stored_total"), 203, "stored")
    for sql in ("SELECT msg FROM sip_capture", "DROP TABLE sip_capture", "DELETE FROM sip_capture", "ALTER TABLE sip_capture ADD x int",
                "UPDATE rtcp_capture SET msg = ''", "SELECT * FROM homer_users.homer_logon"):
        check(refused(world, "homer_writer", sql), f"the writer may not: {sql}")


def test_admin_account(world):
    """It makes what is missing and partitions ahead; nothing beyond its database."""
    world.database()
    h = world.heptap(start=False)
    run(h, "install", *PARTS)
    grant(world, h)
    world.db.query("CREATE DATABASE homerXdb; CREATE TABLE homerXdb.sip_capture (id int)")
    world.db.query("DROP TABLE sip_capture, rtcp_capture, report_capture, logs_capture, heptap_ledger, heptap_ids")
    h.write(user="homer_admin", storage="password: pw-2")
    h.start()
    h.send([hep3(sip(n)) for n in range(50)] + [hep3(b"{}", kind=k) for k in (5, 35, 100)])
    h.wait_at_rest(53).check_exact()
    check_once(world.db, range(50))
    for sql in ("SELECT * FROM homer_users.homer_logon", "CREATE USER x", "DROP DATABASE homer_users", "DROP TABLE homerXdb.sip_capture"):
        check(refused(world, "homer_admin", sql), f"the administrator may not: {sql}")


def test_reader_account(world):
    """It reads messages and statistics, ticks off alarms, keeps the page's own tables, and changes no message."""
    world.database()
    h = world.heptap(start=False)
    run(h, "install", *PARTS)
    grant(world, h)
    for sql in ("SELECT * FROM sip_capture", "SELECT * FROM stats_method", "UPDATE alarm_data SET status = 0", "SELECT * FROM homer_users.homer_nodes",
                "INSERT INTO homer_users.homer_hosts (host) VALUES ('x')", "DELETE FROM homer_configuration.setting"):
        check(not refused(world, "homer_reader", sql), f"the reader may: {sql}")
    for sql in ("DELETE FROM sip_capture", "INSERT INTO stats_data (type) VALUES ('x')", "DROP TABLE sip_capture", "UPDATE heptap_ledger SET seq = 1"):
        check(refused(world, "homer_reader", sql), f"the reader may not: {sql}")


def test_writer_account_with_daily_tables(world):
    """Tables of days to come cannot be named in a grant; the writer stores into those that somebody made."""
    world.database()
    h = world.heptap(start=False, storage="layout: homer5", install=False)
    run(h, "install")
    grant(world, h)
    h.write(user="homer_admin", storage="password: pw-2\n  layout: homer5")
    h.start()  # makes the daily tables
    h.send([hep3(sip(1))])
    h.wait_at_rest(1)
    h.stop()
    h.write(user="homer_writer", storage="password: pw-1\n  layout: homer5")
    h.start()
    h.send([hep3(sip(2))])
    m = h.wait_at_rest(1)
    check_equal(m.sum("heptap_stored_total"), 1, "stored")
    tables_of_day = [r[0].decode() for r in world.db.query("SHOW TABLES LIKE 'sip_capture_rest_2%'")]
    check_equal(sum(world.db.number(f"SELECT COUNT(*) FROM {t}") for t in tables_of_day), 2, f"rows in {tables_of_day}")
    check(refused(world, "homer_writer", f"SELECT * FROM {tables_of_day[0]}"), "the writer may not read")


def test_another_name(world):
    """storage.table and storage.database are what print, install, grants and upgrade speak of."""
    world.database()
    h = world.heptap(install=False, start=False, database="sip_db", storage="table: messages")
    check_equal(run(h, "install").returncode, 0, "install")
    check_equal([r[0] for r in world.db.query("SHOW TABLES LIKE '%messages'", "sip_db")], [b"messages"], "made")
    check_equal(world.db.query("SHOW TABLES LIKE 'sip_capture'", "sip_db"), [], "nothing under the usual name")
    text = run(h, "print", "grants").stdout
    check("`sip_db`.`messages`" in text and "`sip\\_db`.*" in text and "homer_db" not in text and "sip_capture" not in text, text)
    world.db.query("ALTER TABLE messages DROP COLUMN expires", "sip_db")
    check("ALTER TABLE `messages`" in run(h, "upgrade").stdout, "upgrade")


def test_upgrade_makes_what_is_missing(world):
    """Tables that are not there are made after a yes; without one, and without the database, nothing is."""
    world.database()
    h = world.heptap(install=False, start=False)
    done = run(h, "upgrade", "--yes")
    check_equal((done.returncode, "Unknown database 'homer_db'" in done.stderr), (3, True), done.stderr)
    world.db.query("CREATE DATABASE homer_db", None)
    told = run(h, "upgrade").stdout
    check("-- sip_capture: is missing\nCREATE TABLE IF NOT EXISTS `sip_capture`" in told and "heptap_ids" in told, told)
    check_equal(world.db.query("SHOW TABLES"), [], "nothing was done")
    check_equal(run(h, "upgrade", "--yes").returncode, 0, "upgrade")
    h.start()
    h.send([hep3(sip(n)) for n in range(10)])
    h.wait_at_rest(10)
    check_once(world.db, range(10))
    h.stop()
    world.db.query("DROP TABLE stats_ip; ANALYZE TABLE sip_capture; ALTER TABLE sip_capture DROP KEY callid")
    told = run(h, "upgrade").stdout
    check("-- stats_ip: is missing" in told and "searches by callid have no key" in told, told)
    cost = re.search(r"-- sip_capture: about (\d+) rows, \d+ MiB", told)
    check(cost and 10 <= int(cost.group(1)) <= 20, "what it costs (the server estimates): " + told)
    world.db.query("".join(told.splitlines(True)[:-1]))
    check_equal(run(h, "upgrade").stdout, "homer_db: nothing to do\n", "what it says can be run by hand")


def test_upgrade_narrows_nothing(world):
    """Columns wider than ours become wider still in octets, never narrower; a NULL stays one; a filled pmax stays filled."""
    world.database()
    h = world.heptap(install=False, start=False)
    world.db.query("CREATE DATABASE homer_db", None)
    wide = tables.VARIANTS["homer3_v4"].replace("`callid` varchar(120) NOT NULL", "`callid` varchar(250) NOT NULL")
    wide = wide.replace("`msg` varchar(1500) NOT NULL", "`msg` longtext NOT NULL").replace("`reason` varchar(200) NOT NULL", "`reason` varchar(220) NULL")
    world.db.query(wide.replace("utf8", "latin1"))
    world.db.query("INSERT INTO sip_capture SET date = NOW(), callid = REPEAT('c', 250), msg = 'm', reason = NULL, " + ", ".join(
        f"{c} = ''" for c, t in tables.V4.items() if t == "varchar(256) NOT NULL" or c in ("reply_reason", "to_tag", "contact_user", "auth_user", "via_1_branch",
                                                                                          "cseq", "contact_ip", "node"))
        + ", source_port = 1, destination_port = 1, contact_port = 1, originator_port = 1, proto = 1, type = 1")
    done = run(h, "upgrade", "--yes")
    check_equal((done.returncode, done.stderr), (0, ""), "upgrade")
    got = world.db.query("SELECT column_name, column_type, character_set_name FROM information_schema.columns WHERE table_schema = 'homer_db' AND "
                         "table_name = 'sip_capture' AND column_name IN ('callid', 'msg', 'reason', 'cseq') ORDER BY column_name")
    check_equal(got, [[b"callid", b"varchar(250)", b"utf8mb4"], [b"cseq", b"varchar(25)", b"utf8mb4"], [b"msg", b"longtext", b"utf8mb4"],
                      [b"reason", b"varchar(220)", b"utf8mb4"]], "columns")
    check_equal(world.db.query("SELECT LENGTH(callid), reason, expires FROM sip_capture PARTITION (pmax)"), [[b"250", None, b"-1"]], "the row")
    check(run(h, "upgrade").stdout.endswith("homer_db: nothing to do\n"), "again")


# Statistics of Homer 3's first file: keys that merge or are not there.
OLD_STATISTICS = """CREATE TABLE stats_method (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, from_date timestamp NOT NULL DEFAULT '2000-01-01',
to_date timestamp NOT NULL DEFAULT '2000-01-01', method varchar(50) NOT NULL DEFAULT '', auth tinyint(1) NOT NULL DEFAULT 0, cseq varchar(100) NOT NULL,
totag tinyint(1) NOT NULL, total int(20) NOT NULL, UNIQUE KEY datemethod (to_date, method, auth, totag), KEY to_date (to_date)) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE stats_data (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, from_date timestamp NOT NULL DEFAULT '2000-01-01',
to_date timestamp NOT NULL DEFAULT '2000-01-01', type varchar(50) NOT NULL DEFAULT '', total int(20) NOT NULL) ENGINE=MyISAM DEFAULT CHARSET=latin1;
INSERT INTO stats_data (type, total) VALUES ('asr', 1), ('asr', 2)"""


def test_upgrade_of_old_statistics(world):
    """Keys that counts add up by are made; one that merges too much is named and left; what one table refuses does not keep the others."""
    world.database()
    h = world.heptap(install=False, start=False)
    world.db.query("CREATE DATABASE homer_db", None)
    world.db.query(OLD_STATISTICS)
    done = run(h, "upgrade", "--yes")
    check_equal(done.returncode, 3, "two rows of one bucket refuse the key")
    check("ALTER TABLE `stats_data`" in done.stderr and "Duplicate entry" in done.stderr and "1 refused" in done.stdout, done.stderr + done.stdout)
    check_equal(world.db.number("SELECT COUNT(*) FROM stats_data"), 2, "rows stay")
    world.db.query("SELECT id FROM alarm_config WHERE 1 = 0")  # tables behind the refused one were made
    world.db.query("DELETE FROM stats_data LIMIT 1")
    check_equal(run(h, "upgrade", "--yes").returncode, 0, "with one row")
    for insert in INSERTS[:3]:
        world.db.query(insert.replace("total) VALUES (NOW(), NOW(), 'INVITE'", "cseq, totag, total) VALUES (NOW(), NOW(), 'INVITE', '', 0"))
    check_equal(world.db.number("SELECT SUM(total) FROM stats_data WHERE from_date = '2026-01-01'"), 6, "counts add up")
    check_equal(world.db.number("SELECT COUNT(*) FROM stats_data WHERE from_date = '2026-01-01'"), 1, "in one row")
    told = run(h, "upgrade").stdout
    check("DROP KEY `datemethod`;\n" in told and told.endswith("homer_db: nothing to do\n"), told)
    world.db.query("ALTER TABLE stats_method DROP KEY datemethod")
    check_equal(run(h, "upgrade").stdout, "homer_db: nothing to do\n", "when it is gone")
    world.db.query("ALTER TABLE stats_ip DROP KEY bucket, DROP KEY method, ADD KEY bucket (total), ADD KEY method (total)")
    check_equal(run(h, "upgrade", "--yes").returncode, 0, "names of ours that other keys have")
    check_equal(run(h, "upgrade").stdout, "homer_db: nothing to do\n", "again")


class Terminal:
    """`schema upgrade` with somebody in front of it."""

    def __init__(self, h):
        try:
            ours, theirs = pty.openpty()
        except OSError as error:
            raise Skip(f"a terminal to answer on is not to be had here: {error}") from error
        self.ours, self.text = ours, ""
        self.process = subprocess.Popen([h.binary, "schema", "upgrade", "-c", str(h.file)], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        os.close(theirs)
        os.set_blocking(self.process.stdout.fileno(), False)
        wait_until(self.is_asking, 20, "the question")

    def is_asking(self):
        self.text += (self.process.stdout.read() or b"").decode()
        return "[yes/no] " in self.text

    def answer(self, line):
        os.write(self.ours, line.encode() + b"\n")

    def end(self, seconds=20):
        code = self.process.wait(seconds)
        self.text += (self.process.stdout.read() or b"").decode()
        os.close(self.ours)
        return code


def test_upgrade_asks(world):
    """On a terminal it asks; only yes is a yes."""
    world.database()
    h = world.heptap(start=False)
    run(h, "install")
    world.db.query("ALTER TABLE sip_capture DROP COLUMN expires")
    for word, is_done in (("no", 0), ("y", 0), ("yes", 1)):
        t = Terminal(h)
        t.answer(word)
        check_equal((t.end(), t.text.splitlines()[-1].endswith("done" if is_done else "nothing was done; --yes does it")), (0, True), f"{word}: {t.text}")
        check_equal(world.db.number("SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'homer_db' AND table_name = 'sip_capture' AND "
                                    "column_name = 'expires'"), is_done, f"after {word}")


@only_waits
def test_upgrade_is_patient(world):
    """Somebody who thinks for half a minute, and an ALTER TABLE that takes longer than that, lose nothing."""
    world.database()
    h = world.heptap(start=False)
    run(h, "install")
    world.db.query("ALTER TABLE sip_capture DROP COLUMN expires")
    t = Terminal(h)
    wait_until(lambda: any(int(r[0]) > 31 for r in world.db.query("SELECT time FROM information_schema.processlist WHERE db = 'homer_db' AND command = 'Sleep'",
                                                                 None)), 40, "its session is idle for 31 s and still there")
    world.db.kill(signal.SIGSTOP)
    t.answer("yes")
    time.sleep(32)  # nobody can be asked meanwhile
    check_equal(t.process.poll(), None, "it waits for the server: " + t.text)
    world.db.kill(signal.SIGCONT)
    check_equal((t.end(), t.text.endswith("done\n")), (0, True), t.text)


def test_upgrade_of_tables_of_others(world):
    """What is missing is said first and added after a yes; rows stay; then there is nothing to do, and every column is filled."""
    world.database()
    for name in ("homer3_v2", "homer3_v4", "opensips_18", "latin1"):
        world.db.query(f"CREATE DATABASE {name}", None)
        world.db.query(tables.VARIANTS[name], name)
        h = world.heptap(name, install=False, database=name)
        h.send([hep3(sip(n)) for n in range(20)])
        h.wait_at_rest(20)
        h.stop()
        before = world.db.query("SHOW CREATE TABLE sip_capture", name)
        told = run(h, "upgrade")
        check_equal(told.returncode, 0, f"{name}: {told.stderr}")
        check("expires is missing" in told.stdout and "ADD COLUMN `expires` int" in told.stdout and "nothing was done" in told.stdout, told.stdout)
        check("msg is narrower" in told.stdout and "MODIFY COLUMN `msg` mediumtext" in told.stdout, told.stdout)
        check_equal(world.db.query("SHOW CREATE TABLE sip_capture", name), before, f"{name}: nothing is done without a yes")
        done = run(h, "upgrade", "--yes")
        check_equal((done.returncode, done.stdout.rsplit("\n", 2)[1]), (0, "done"), f"{name}: {done.stderr}")
        again = run(h, "upgrade", "--yes").stdout
        check(again.endswith(f"{name}: nothing to do\n") and "ALTER" not in again and "--convert changes it" in again, f"{name} again: {again}")
        world.db.query(f"SELECT {HOMER['sip_capture']}, msg_raw FROM sip_capture WHERE 1 = 0", name)
        check_equal(world.db.number("SELECT COUNT(DISTINCT callid) FROM sip_capture", name), 20, f"{name}: rows")
        h.start()
        h.send([hep3(sip(n, size=20000) + b"\xff\xf0\x9f\x9a\x80") for n in range(20, 40)])
        h.wait_at_rest(20)
        check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture WHERE LENGTH(msg_raw) > 20000 AND expires = -1", name), 20, f"{name}: new rows")
        check_equal(h.stop(), 0, "exit code")


def test_upgrade_of_daily_tables_and_statistics(world):
    """Every table of ours is compared, the daily ones too; what is not ours is left alone."""
    world.database()
    h = world.heptap(start=False, storage="layout: homer5", install=False)
    world.db.query("CREATE DATABASE homer_db", None)
    for table in ("sip_capture_call_20261101", "sip_capture_rest_past", "sip_capture_call_backup"):
        world.db.query(tables.VARIANTS["homer3_v4"].replace("`sip_capture`", f"`{table}`"))
    world.db.query("CREATE TABLE stats_data (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, from_date timestamp NOT NULL DEFAULT NOW(), type varchar(20))")
    done = run(h, "upgrade", "--yes")
    check_equal(done.returncode, 0, done.stderr)
    check_equal(sorted(set(re.findall(r"ALTER TABLE `(\w+)`", done.stdout))), ["sip_capture_call_20261101", "sip_capture_rest_past", "stats_data"], "changed")
    check(run(h, "upgrade").stdout.endswith("homer_db: nothing to do\n"), "again")
    world.db.query(f"SELECT {HOMER['stats_data']} FROM stats_data")


# What the pages ask, with (from), (to) the window, and values that are there. Source: the statements of webhomer 3 and homer-api 5.
STATEMENTS = [
    "SELECT count(id) AS count FROM T WHERE (`date` BETWEEN '{f}' AND '{t}')",
    "SELECT id FROM T WHERE (`date` BETWEEN '{f}' AND '{t}') LIMIT 100",
    *(f"SELECT count(id) AS count FROM T WHERE (`date` BETWEEN '{{f}}' AND '{{t}}') AND `{c}` = '{{{c}}}'"
      for c in ("ruri_user", "from_user", "to_user", "pid_user", "auth_user", "callid", "callid_aleg")),
    *(f"SELECT *, MD5(msg) AS md5sum FROM T WHERE (`date` BETWEEN '{{f}}' AND '{{t}}') AND `{c}` = '{{{c}}}' ORDER BY id ASC LIMIT 0,25"
      for c in ("ruri_user", "from_user", "to_user", "pid_user", "auth_user", "callid")),
    "SELECT * FROM T WHERE (`date` BETWEEN '{f}' AND '{t}') AND from_user LIKE '{from_user}%' ORDER BY micro_ts ASC LIMIT 0,25",
    "SELECT * FROM T WHERE (`date` BETWEEN '{f}' AND '{t}') AND (`callid` = '{callid}' OR callid_aleg = '{callid}') ORDER BY id ASC LIMIT 0,25",
    "SELECT * FROM T WHERE (`date` BETWEEN '{f}' AND '{t}') AND ( callid = '{callid}' ) ORDER BY micro_ts ASC LIMIT 100",
    "SELECT callid FROM T WHERE (`date` BETWEEN '{f}' AND '{t}') AND callid_aleg = '{callid}'",
    "SELECT * FROM T WHERE (`date` = '{date}') AND id = {id} LIMIT 1",
    "SELECT id, date, floor(micro_ts/1000) AS milli_ts, callid FROM T WHERE (date BETWEEN FROM_UNIXTIME({fu}) AND FROM_UNIXTIME({tu})) LIMIT 100",
    "SELECT DISTINCT(correlation_id) FROM T WHERE (date BETWEEN FROM_UNIXTIME({fu}) AND FROM_UNIXTIME({tu})) AND callid IN ('{callid}', '{callid}_b2b-1') "
    "AND correlation_id != ''",
]
OF_HOMER_5 = ["SELECT id, msg FROM T WHERE (date BETWEEN FROM_UNIXTIME({u} - 300) AND FROM_UNIXTIME({u} + 300)) AND id = {id} LIMIT 1"]


def plan(db, sql, database, table, values):
    """(kind of access, rows looked at) of each line of EXPLAIN."""
    lines = db.query("EXPLAIN " + sql.replace(" T ", f" `{table}` ").format(**values), database)
    return [(line[3].decode() if line[3] else "", int((line[8] or b"0").split()[0])) for line in lines]


def values_in(db, database, table):
    """One value of each column that is asked for, and a window of a minute in the middle."""
    out = {}
    for c in ("ruri_user", "from_user", "to_user", "pid_user", "auth_user", "callid"):
        found = db.query(f"SELECT `{c}` FROM `{table}` WHERE `{c}` <> '' ORDER BY micro_ts LIMIT 100, 1", database)
        out[c] = found[0][0].decode() if found else "nobody"
    out["id"], out["date"], out["u"] = (x.decode() for x in db.query(f"SELECT id, date, micro_ts DIV 1000000 FROM `{table}` WHERE callid = '{out['callid']}'", database)[0])
    u = int(out["u"])
    clock = lambda s: time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(s))
    return {**out, "callid_aleg": out["callid"], "f": clock(u - 30), "t": clock(u + 30), "fu": u - 30, "tu": u + 30}


def test_searches_use_keys(world):
    """Whatever Homer's own table finds by a key, ours does, and does not look at many more rows (EXPLAIN of every statement of the pages)."""
    world.database()
    load = calls.messages(12000)
    begun = int(time.time()) - 7200
    packets = [hep3(sip_, src, dst, ts=begun + n * 0.5) for n, (sip_, src, dst) in enumerate(load)]
    world.db.query("CREATE DATABASE v4; CREATE DATABASE homer5", None)
    world.db.query(tables.VARIANTS["homer3_v4"], "v4")
    for database, layout in (("v4", "homer3"), ("homer_db", "homer3"), ("homer5", "homer5")):
        h = world.heptap(f"h_{database}", database=database, storage=f"layout: {layout}", install=database != "v4", start=False)
        h.start()
        for at in range(0, len(packets), 500):
            h.send(packets[at:at + 500], pause_each=20)
        h.wait_at_rest(len(packets))
        h.stop()
    kinds = [r[0].decode() for r in world.db.query("SHOW TABLES LIKE 'sip_capture_call_2%'", "homer5")]
    of_day = max(kinds, key=lambda t: world.db.number(f"SELECT COUNT(*) FROM {t}", "homer5"))
    targets = {"v4": "sip_capture", "homer_db": "sip_capture", "homer5": of_day}
    plans = {}
    for database, table in targets.items():
        world.db.query(f"ANALYZE TABLE {table}", database)
        values = values_in(world.db, database, table)
        for sql in STATEMENTS + (OF_HOMER_5 if database != "homer_db" else []):
            plans[database, sql] = plan(world.db, sql, database, table, values)
    by_key = 0
    for (database, sql), ours in plans.items():
        theirs = plans["v4", sql]
        if database == "v4" or any(kind == "ALL" for kind, _ in theirs):
            continue
        by_key += 1
        check(all(kind != "ALL" for kind, _ in ours), f"{database}: {sql}: {ours}, Homer's own: {theirs}")
        check(sum(n for _, n in ours) <= 2 * sum(n for _, n in theirs) + 300, f"{database}: {sql}: {ours}, Homer's own: {theirs}")
    check(by_key >= 2 * len(STATEMENTS) - 4, f"{by_key} statements use a key in Homer's own table")


def test_convert(world):
    """--convert makes tables of others ours: what it says first is what it does, rows stay, and then there is nothing to do."""
    world.database()
    for name in ("homer3_v4", "opensips_18"):
        world.db.query(f"CREATE DATABASE {name}", None)
        world.db.query(tables.VARIANTS[name].replace("DEFAULT '2000-01-01 00:00:00'", "DEFAULT '0000-00-00 00:00:00'"), name)
        h = world.heptap(name, install=False, database=name)
        h.send([hep3(sip(n)) for n in range(20)])
        h.wait_at_rest(20)
        h.stop()
        before = world.db.query("SHOW CREATE TABLE sip_capture", name)
        told = run(h, "upgrade", "--convert").stdout
        check("DROP PRIMARY KEY" in told and "ENGINE=InnoDB ROW_FORMAT=DYNAMIC" in told and "other programs cannot write to it" in told, told)
        check_equal(world.db.query("SHOW CREATE TABLE sip_capture", name), before, f"{name}: nothing is done without a yes")
        done = run(h, "upgrade", "--convert", "--yes")
        check_equal((done.returncode, done.stderr), (0, ""), f"{name}: {done.stdout}")
        check_equal(run(h, "upgrade", "--convert").stdout, f"{name}: nothing to do\n", f"{name} again")
        made = world.db.query("SHOW CREATE TABLE sip_capture", name)[0][1].decode()
        check("PRIMARY KEY (`date`,`id`)" in made and "ROW_FORMAT=DYNAMIC" in made and "AUTO_INCREMENT" not in made and "KEY `date`" not in made
              and "ENGINE=InnoDB" in made, made)
        check_equal(world.db.query(f"SELECT DISTINCT row_format, zip_page_size FROM information_schema.innodb_sys_tables WHERE name LIKE '{name}/sip%'", None),
                    [[b"Dynamic", b"0"]], "what InnoDB makes of it")
        check_equal(world.db.number("SELECT COUNT(DISTINCT callid) FROM sip_capture", name), 20, f"{name}: rows")
        h.start()
        h.send([hep3(sip(n)) for n in range(20, 40)])
        h.wait_at_rest(20)
        check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture", name), 40, f"{name}: new rows")
        check_equal(h.stop(), 0, "exit code")
