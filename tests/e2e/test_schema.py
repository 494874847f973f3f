"""The tables that we make: valid everywhere, with what Homer asks for, accounts with no more than they need, and upgrades that lose nothing."""
import re

import tables
from lib import check, check_equal, check_once, hep3, sip

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
    "stats_geo": "id, from_date, to_date, country, lat, lon, total", "stats_dest_reply": "from_date, to_date, prefix, status_code, reason_phrase, total",
    "stats_generic": "from_date, to_date, type, tag, total", "alarm_data": "id, create_date, type, total, source_ip, description, status",
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
    import subprocess
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
    world.db.query("DROP TABLE sip_capture, rtcp_capture, report_capture, logs_capture, heptap_ledger, heptap_ids")
    h.write(user="homer_admin", storage="password: pw-2")
    h.start()
    h.send([hep3(sip(n)) for n in range(50)] + [hep3(b"{}", kind=k) for k in (5, 35, 100)])
    h.wait_at_rest(53).check_exact()
    check_once(world.db, range(50))
    for sql in ("SELECT * FROM homer_users.homer_logon", "CREATE USER x", "DROP DATABASE homer_users"):
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
        check_equal(run(h, "upgrade", "--yes").stdout, f"{name}: nothing to do\n", f"{name} again")
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
    check_equal(run(h, "upgrade").stdout, "homer_db: nothing to do\n", "again")
    world.db.query(f"SELECT {HOMER['stats_data']} FROM stats_data")
