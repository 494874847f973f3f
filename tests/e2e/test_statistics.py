"""Homer's statistics and alarms: a scripted mix of messages, counted to the last one."""
import random
import re
import time

from lib import check, check_equal, check_once, hep3, only_waits, stored_numbers, wait_until
from test_faults import Load

HOUR = 3600


def message(call, start, cseq, headers="", src="192.0.2.1", ts=0, agent="phone/1.0", to_tag="", vias=("192.0.2.1",)):
    """A SIP message as HEP3."""
    number, method = cseq
    via = "".join(f"Via: SIP/2.0/UDP {v};branch=z9hG4bK-{call}-{number}\r\n" for v in vias)
    text = (f"{start}\r\n{via}From: <sip:alice@example.com>;tag=f{call}\r\nTo: <sip:bob@example.net>{';tag=' + to_tag if to_tag else ''}\r\n"
            f"Call-ID: {call}\r\nCSeq: {number} {method}\r\n" + (f"User-Agent: {agent}\r\n" if agent else "") + headers + "Content-Length: 0\r\n\r\n")
    return hep3(text.encode(), src=src, ts=ts)


def request(call, method, number=1, **more):
    return message(call, f"{method} sip:bob@example.net SIP/2.0", (number, method), **more)


def reply(call, code, method, number=1, **more):
    return message(call, f"SIP/2.0 {code} Because", (number, method), **more)


CREDENTIALS = 'Proxy-Authorization: Digest username="alice", realm="x", nonce="n", uri="sip:x", response="r"\r\n'


def mix(ts):
    """Messages, and what Homer's tables must say of them: {(method, auth, totag, cseq): n}, data, ip, useragent, alarms."""
    m = []

    def both(packet):
        m.extend([packet, packet])  # a retransmission
    both(request("c1", "INVITE", ts=ts))
    m.append(reply("c1", 407, "INVITE", ts=ts))
    m.append(request("c1", "ACK", ts=ts))
    m.append(request("c1", "INVITE", 2, headers=CREDENTIALS, ts=ts))
    m.append(reply("c1", 100, "INVITE", 2, ts=ts))
    both(reply("c1", 200, "INVITE", 2, ts=ts, to_tag="t"))
    m.append(request("c1", "INVITE", 3, to_tag="t", ts=ts))
    m.append(request("c1", "UPDATE", 4, to_tag="t", ts=ts))
    m.append(request("c1", "REFER", 5, to_tag="t", ts=ts))
    m.append(request("c1", "BYE", 6, to_tag="t", headers="Reason: Q.850;cause=16\r\n", ts=ts))
    m.append(reply("c1", 200, "BYE", 6, ts=ts))
    m.append(request("c2", "INVITE", src="192.0.2.2", ts=ts, agent="other phone"))
    m.append(reply("c2", 486, "INVITE", src="192.0.2.9", ts=ts))
    m.append(request("c3", "INVITE", src="192.0.2.2", ts=ts, agent="other phone"))
    m.append(request("c3", "CANCEL", src="192.0.2.2", ts=ts))
    m.append(reply("c3", 487, "INVITE", ts=ts))
    m.append(request("c4", "INVITE", ts=ts))
    m.append(reply("c4", 302, "INVITE", ts=ts))
    m.append(request("c5", "BYE", to_tag="t", headers="Reason: Q.850;cause=38;text=\"x\"\r\n", ts=ts))
    m.append(reply("c5", 401, "BYE", ts=ts))
    m.append(request("r1", "REGISTER", ts=ts))
    m.append(reply("r1", 401, "REGISTER", ts=ts))
    m.append(request("r1", "REGISTER", 2, headers=CREDENTIALS.replace("Proxy-", ""), ts=ts))
    m.append(request("o1", "OPTIONS", ts=ts))
    m.append(request("s1", "REGISTER", src="198.51.100.7", agent="friendly-scanner", ts=ts))
    m.append(request("s2", "INVITE", src="198.51.100.7", agent="SIPcli/v1.8", ts=ts))
    for i in range(6):
        m.append(request(f"e{i}", "INVITE", ts=ts))
        m.append(reply(f"e{i}", 503, "INVITE", ts=ts, vias=("192.0.2.50", "192.0.2.60:5060")))
    for i in range(5):
        m.append(reply(f"e{i}", 408, "INVITE", ts=ts))
    method = {("INVITE", 0, 0, ""): 12, ("INVITE", 1, 0, ""): 1, ("INVITE", 0, 1, ""): 1, ("REGISTER", 0, 0, ""): 3, ("REGISTER", 1, 0, ""): 1,
              ("BYE", 0, 0, ""): 2, ("CANCEL", 0, 0, ""): 1, ("OPTIONS", 0, 0, ""): 1, ("REFER", 0, 0, ""): 1, ("UPDATE", 0, 0, ""): 1,
              ("300", 0, 0, ""): 1, ("200", 0, 0, "INVITE"): 1, ("407", 0, 0, "INVITE"): 1, ("200", 0, 0, "BYE"): 1, ("401", 0, 0, "BYE"): 1}
    data = {"sdf": 1, "isa": 11, "sd": 6, "bad": 2, "asr": 100 * 1 // (12 - 1), "ner": 100 * 3 // (12 - 1)}
    ip = {("INVITE", "192.0.2.1"): 10, ("INVITE", "192.0.2.2"): 2, ("INVITE", "198.51.100.7"): 1,
          ("REGISTER", "192.0.2.1"): 2, ("REGISTER", "198.51.100.7"): 1}
    agents = {("INVITE", "phone/1.0"): 9, ("INVITE", "other phone"): 2, ("INVITE", "SIPcli/v1.8"): 1,
              ("REGISTER", "phone/1.0"): 2, ("REGISTER", "friendly-scanner"): 1}
    return m, method, data, ip, agents


def rows(db, sql, database):
    return {tuple(c.decode() for c in row[:-1]): int(row[-1]) for row in db.query(sql, database)}


def check_tables(db, at, wanted, database="homer_db"):
    """The rows of five minutes, each once and no other."""
    when = f"from_date = FROM_UNIXTIME({at}) AND to_date = FROM_UNIXTIME({at + 300})"
    zone = "SET time_zone = '+00:00'; "
    method, data, ip, agents = wanted
    check_equal(rows(db, f"{zone}SELECT method, auth, totag, cseq, total FROM stats_method WHERE {when}", database),
                {(m, str(a), str(t), c): n for (m, a, t, c), n in method.items()}, "stats_method")
    check_equal(rows(db, f"{zone}SELECT type, total FROM stats_data WHERE {when}", database), {(k,): n for k, n in data.items()}, "stats_data")
    check_equal(rows(db, f"{zone}SELECT method, source_ip, total FROM stats_ip WHERE {when}", database), ip, "stats_ip")
    check_equal(rows(db, f"{zone}SELECT method, useragent, total FROM stats_useragent WHERE {when}", database), agents, "stats_useragent")


def alarms(db, database="homer_db"):
    return sorted(tuple(c.decode() for c in row) for row in db.query(
        "SET time_zone = '+00:00'; SELECT UNIX_TIMESTAMP(create_date), type, total, source_ip, description, status FROM alarm_data", database))


def settled_line(h):
    """The metrics, if the line of sums holds."""
    m = h.metrics()
    s = m.sum
    line = s("heptap_statistics_made_total") + s("heptap_statistics_recovered_total") + s("heptap_statistics_rewound_total") \
        - s("heptap_statistics_stored_total") - s("heptap_statistics_in_memory") - s("heptap_statistics_in_spool") \
        - s("heptap_statistics_lost_total")
    check_equal(line, 0, "the line of sums")
    m.check_no_negative()
    return m


def settled(h):
    """All sums written and stored; the metrics."""
    def done():
        m = settled_line(h)
        s = m.sum
        at_rest = s("heptap_statistics_in_memory") == 0 and s("heptap_statistics_in_spool") == 0
        return m if at_rest and s("heptap_statistics_ok") == 1 else None
    return wait_until(done, 60, lambda: f"sums are stored: {h.summary()}")


def looked_once(h, db):
    """Start a server and let its first look at what is due end, so that it takes no part of what a test sends next: it ends with the oldest alarms."""
    db.query("INSERT INTO alarm_data (create_date, type, total, source_ip, description, status) VALUES ('2001-01-01', 'x', 1, '', '', 1)")
    h.start()
    wait_until(lambda: not alarms(db), 60, "its first look")


def sent_and_closed(h, packets):
    """Send, wait until all is stored, and have what is due done: that is looked at at the start, and each minute."""
    before = h.metrics().sum("heptap_received_total")
    h.send(packets)
    h.wait_at_rest(before + len(packets)).check_exact()
    check_equal(h.stop(), 0, "exit code")
    h.start()
    settled(h)


def test_homer3(world):
    """A mix of messages leads to exactly the rows that Homer 3 reads, and a repetition changes only ALL."""
    db = world.database()
    h = world.heptap()
    at = int(time.time() - HOUR) // 300 * 300
    db.query("INSERT INTO alarm_config (type, value) VALUES ('503', 5), ('408', 5), ('403', 0)")
    packets, method, data, ip, agents = mix(at + 61)
    sent_and_closed(h, packets)
    method[("ALL", 0, 0, "")] = len(packets)
    wait_until(lambda: db.number("SELECT COUNT(*) FROM stats_data WHERE type = 'ner'") > 0, 20, "the five minutes are closed")
    wait_until(lambda: len(alarms(db)) == 3, 20, lambda: f"alarms: {alarms(db)}")
    check_tables(db, at, (method, data, ip, agents))
    check_equal(alarms(db), sorted([
        (str(at + 120), "Too Many 503", "6", "0.0.0.0", "service unavailable", "1"),
        (str(at + 120), "Too Many 503", "6", "192.0.2.60", "service unavailable", "1"),
        (str(at + 300), "scanner", "2", "198.51.100.7", "Friendly scanner alarm!", "1")]), "alarms")
    sent_and_closed(h, packets[:20])  # heptap was restarted: they are first copies again
    wait_until(lambda: db.number("SELECT total FROM stats_method WHERE method = 'ALL'") == len(packets) + 20, 20, "counted")
    h.stop()


# ---- other people's tables ----

# Homer 3's statistics.sql: MyISAM, latin1, few keys, columns without a default.
HOMER3_TABLES = """
CREATE TABLE stats_method (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, from_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00',
  to_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00', method varchar(50) NOT NULL DEFAULT '', auth tinyint(1) NOT NULL DEFAULT 0,
  cseq varchar(100) NOT NULL, totag tinyint(1) NOT NULL, total int(20) NOT NULL, PRIMARY KEY (id),
  UNIQUE KEY datemethod (to_date, method, auth, totag), KEY from_date (from_date)) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE stats_data (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, from_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00',
  to_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00', type varchar(50) NOT NULL DEFAULT '', total int(20) NOT NULL,
  PRIMARY KEY (id), KEY from_date (from_date)) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE stats_ip (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, from_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00',
  to_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00', method varchar(50) NOT NULL DEFAULT '', source_ip varchar(255) NOT NULL DEFAULT '0.0.0.0',
  total int(20) NOT NULL, PRIMARY KEY (id), UNIQUE KEY dateip (to_date, method, source_ip)) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE stats_useragent (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, from_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00',
  to_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00', useragent varchar(100) NOT NULL DEFAULT '', method varchar(50) NOT NULL DEFAULT '',
  total int(10) NOT NULL DEFAULT 0, PRIMARY KEY (id), UNIQUE KEY dateua (to_date, method, useragent)) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE alarm_data (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, create_date timestamp NOT NULL DEFAULT '2000-01-01 00:00:00',
  type varchar(50) NOT NULL DEFAULT '', total int(20) NOT NULL, source_ip varchar(150) NOT NULL DEFAULT '0.0.0.0', description varchar(256) NOT NULL,
  status int(1) NOT NULL DEFAULT 1, PRIMARY KEY (id)) ENGINE=MyISAM DEFAULT CHARSET=latin1"""

STAMPS = "from_date timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, to_date timestamp NOT NULL DEFAULT '1971-01-01 00:00:01'"
PARTITIONED = "ENGINE=InnoDB DEFAULT CHARSET=utf8 PARTITION BY RANGE (UNIX_TIMESTAMP({})) (PARTITION pmax VALUES LESS THAN MAXVALUE)"
# Homer 5's schema_statistic.sql: InnoDB, partitioned, a database of its own.
HOMER5_TABLES = f"""
CREATE DATABASE homer_statistic; USE homer_statistic;
CREATE TABLE stats_method (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, {STAMPS}, method varchar(50) NOT NULL DEFAULT '',
  auth tinyint(1) NOT NULL DEFAULT 0, cseq varchar(100) NOT NULL DEFAULT '', totag tinyint(1) NOT NULL DEFAULT 0, total int(20) NOT NULL DEFAULT 0,
  PRIMARY KEY (id, from_date), UNIQUE KEY datemethod (from_date, to_date, method, auth, totag, cseq)) {PARTITIONED.format("from_date")};
CREATE TABLE stats_data (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, {STAMPS}, type varchar(50) NOT NULL DEFAULT '', total int(20) NOT NULL DEFAULT 0,
  PRIMARY KEY (id, from_date), UNIQUE KEY datetype (from_date, to_date, type)) {PARTITIONED.format("from_date")};
CREATE TABLE stats_ip (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, {STAMPS}, method varchar(50) NOT NULL DEFAULT '',
  source_ip varchar(255) NOT NULL DEFAULT '0.0.0.0', total int(20) NOT NULL DEFAULT 0,
  PRIMARY KEY (id, from_date), UNIQUE KEY dateip (from_date, to_date, method, source_ip)) {PARTITIONED.format("from_date")};
CREATE TABLE stats_useragent (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, {STAMPS}, useragent varchar(100) NOT NULL DEFAULT '',
  method varchar(50) NOT NULL DEFAULT '', total int(10) NOT NULL DEFAULT 0,
  PRIMARY KEY (id, from_date), UNIQUE KEY dateua (from_date, to_date, method, useragent)) {PARTITIONED.format("from_date")};
CREATE TABLE alarm_data (id bigint(20) unsigned NOT NULL AUTO_INCREMENT, create_date timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  type varchar(50) NOT NULL DEFAULT '', total int(20) NOT NULL DEFAULT 0, source_ip varchar(150) NOT NULL DEFAULT '0.0.0.0',
  description varchar(256) NOT NULL DEFAULT '', status int(1) NOT NULL DEFAULT 1, PRIMARY KEY (id, create_date)) {PARTITIONED.format("create_date")};
CREATE TABLE alarm_config (id int(20) NOT NULL AUTO_INCREMENT, name varchar(255) NOT NULL DEFAULT '', startdate datetime NOT NULL,
  stopdate datetime NOT NULL, type varchar(50) NOT NULL DEFAULT '', value int(5) NOT NULL DEFAULT 0, notify tinyint(1) NOT NULL DEFAULT 1,
  email varchar(255) NOT NULL DEFAULT '', createdate datetime NOT NULL DEFAULT NOW(), active tinyint(1) NOT NULL DEFAULT 1, PRIMARY KEY (id)) ENGINE=InnoDB"""


def test_homer3_own_tables(world):
    """The tables that Homer 3 installed: no transactions, a key without cseq, one table without a key, no thresholds for alarms."""
    db = world.database()
    db.query("CREATE DATABASE homer_db; USE homer_db; " + HOMER3_TABLES, None)
    h = world.heptap(install=False)
    at = int(time.time() - HOUR) // 300 * 300
    packets, method, data, ip, agents = mix(at + 61)
    half = len(packets) // 2
    h.send(packets[:half])
    h.wait_at_rest(half)
    settled(h)
    h.send([request("ü", "REGISTER", agent="Fön ☎ \xe4", ts=at)])  # latin1 has the first two of these letters
    h.wait_at_rest(half + 1)
    settled(h)
    h.send(packets[half:])
    h.wait_at_rest(len(packets) + 1).check_exact()
    settled(h)
    method[("ALL", 0, 0, "")] = len(packets) + 1
    method[("REGISTER", 0, 0, "")] += 1
    ip[("REGISTER", "192.0.2.1")] += 1
    agents[("REGISTER", b"F\xc3\xb6n ? \xc3\xa4".decode())] = 1
    for key in [k for k in method if k[3] == "BYE"]:
        del method[key]  # its key does not tell them from those to INVITE
    h.stop()
    h.start()
    wait_until(lambda: alarms(db), 20, "the alarm of scanners")
    db.query("SET NAMES utf8mb4; ALTER TABLE stats_useragent CONVERT TO CHARACTER SET utf8mb4")
    check_tables(db, at, (method, data, ip, agents))
    check_equal(alarms(db), [(str(at + 300), "scanner", "2", "198.51.100.7", "Friendly scanner alarm!", "1")], "alarms")
    log = h.log_text()
    check("those to BYE are left out" in log and "stats_data has no key to add by" in log and "stats_ip has no transactions" in log
          and "there is no alarm_config" in log, "what these tables cannot do is told: " + log[-1500:])
    check_equal(db.number("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'homer_db' AND table_name = 'stats_geo'"), 0,
                "tables made that nobody needs")
    h.stop()


def test_homer5_own_tables(world):
    """A database homer_statistic: TOTAL and ALL, packets and octets, alarms by name while they are active; a sum stops at what its column holds."""
    db = world.database()
    db.query(HOMER5_TABLES, None)
    db.query("INSERT INTO alarm_config (name, startdate, stopdate, type, value, active) VALUES ('Gateway', '2000-01-01', '2037-01-01', '503', 5, 1), "
             "('Old', '2000-01-01', '2001-01-01', '503', 0, 1), ('Off', '2000-01-01', '2037-01-01', '408', 0, 0), "
             "('More', '2000-01-01', '2037-01-01', '408', 4, 1)", "homer_statistic")
    db.query("CREATE DATABASE homer_db", None)
    h = world.heptap(install=False, storage="layout: homer5")
    at = int(time.time() - HOUR) // 300 * 300
    packets, method, data, ip, agents = mix(at + 61)
    sent_and_closed(h, packets)
    size = sum(len(p) for p in packets) - len(packets) * (len(hep3(b"")))
    method.update({("TOTAL", 0, 0, ""): len(packets), ("ALL", 0, 0, ""): len(packets) - 2})
    data.update({"packet_count": len(packets), "packet_size": size})
    wait_until(lambda: len(alarms(db, "homer_statistic")) == 4, 20, lambda: f"alarms: {alarms(db, 'homer_statistic')}")
    check_tables(db, at, (method, data, ip, agents), "homer_statistic")
    check_equal(alarms(db, "homer_statistic"), sorted([
        (str(at + 120), "Gateway", "6", "0.0.0.0", "Gateway - 503", "1"),
        (str(at + 120), "Gateway", "6", "192.0.2.60", "Gateway - 503", "1"),
        (str(at + 120), "More", "5", "0.0.0.0", "More - 408", "1"),
        (str(at + 300), "scanner", "2", "198.51.100.7", "Friendly scanner alarm!", "1")]), "alarms")
    check_equal(db.number("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'homer_db' AND table_name LIKE 'stats%'"), 0,
                "tables beside the messages")
    db.query("UPDATE stats_data SET total = 2147483640 WHERE type = 'packet_size'; INSERT INTO alarm_data (create_date, type) "
             "VALUES (DATE_SUB(NOW(), INTERVAL 121 HOUR), 'old'), (DATE_SUB(NOW(), INTERVAL 119 HOUR), 'young')", "homer_statistic")
    sent_and_closed(h, packets[:5])
    wait_until(lambda: db.number("SELECT COUNT(*) FROM alarm_data WHERE type = 'old'", "homer_statistic") == 0, 20, "old alarms go")
    check_equal(db.number("SELECT COUNT(*) FROM alarm_data WHERE type = 'young'", "homer_statistic"), 1, "young alarms")
    check_equal(db.number("SELECT total FROM stats_data WHERE type = 'packet_size'", "homer_statistic"), 2147483647, "a full sum")
    check_equal(db.number("SELECT total FROM stats_data WHERE type = 'packet_count'", "homer_statistic"), len(packets) + 5, "another")
    h.stop()


def test_homer5_beside(world):
    """Without a database homer_statistic they are made beside the daily tables, on demand."""
    db = world.database()
    db.query("CREATE DATABASE homer_db; CREATE DATABASE homer_statistic; CREATE TABLE homer_statistic.stats_method (id int)", None)
    h = world.heptap(install=False, storage="layout: homer5")
    packets = mix(time.time() - HOUR)[0]
    h.send(packets)
    h.wait_at_rest(len(packets)).check_exact()
    wait_until(lambda: db.number("SELECT SUM(total) FROM stats_method WHERE method = 'TOTAL'") == len(packets), 20, "counted")
    check_equal(db.number("SELECT COUNT(*) FROM homer_statistic.stats_method"), 0, "the other one")
    h.stop()


@only_waits
def test_off(world):
    """`statistics: false`: nothing is counted, no thread, no connection; what an earlier start left is stored all the same."""
    db = world.database()
    h = world.heptap()
    db.stop()
    h.send([request(f"x{n}", "INVITE", ts=time.time()) for n in range(50)])
    wait_until(lambda: h.metrics().sum("heptap_statistics_in_spool") > 0, 20, "sums wait")
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 50, 20, "rows wait")
    h.stop()
    h.write(storage="statistics: false")
    h.start()
    db.start()
    h.wait_at_rest(0)
    settled(h)
    check_equal(db.number("SELECT SUM(total) FROM stats_method WHERE method = 'INVITE'"), 50, "what was left")
    wait_until(lambda: h.metrics().sum("heptap_spool_bytes") == 0, 60, "the old segments go")
    h.send([request(f"y{n}", "INVITE", ts=time.time()) for n in range(50)])
    h.wait_at_rest(50).check_exact()
    h.stop()
    h.start()
    check("heptap_statistics" not in h.get("/metrics")[1], "metrics of statistics")
    h.stop()
    check_equal(db.number("SELECT SUM(total) FROM stats_method WHERE method = 'INVITE'"), 50, "after it was switched off")
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture"), 100, "rows")


def test_odd_table_waits_alone(world):
    """A table that takes no sum: one line in the log, messages go on, and the sums arrive once it is mended."""
    db = world.database()
    h = world.heptap()
    db.query("ALTER TABLE stats_ip ADD odd int NOT NULL")
    sent = 0
    for turn in range(3):
        h.send([request(f"t{turn}-{n}", "INVITE", ts=time.time()) for n in range(100)])
        sent += 100
        h.wait_at_rest(sent).check_exact()
    wait_until(lambda: h.metrics().sum("heptap_statistics_ok") == 0, 20, "statistics say so")
    check_equal(h.metrics().sum("heptap_db_up"), 1, "messages are stored")
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture"), 300, "rows")
    check_equal(db.number("SELECT COUNT(*) FROM stats_method"), 0, "nothing in part")
    check_equal(len(re.findall("they wait in the spool", h.log_text())), 1, "lines")
    check("`stats_ip`" in h.log_text() and "'odd'" in h.log_text(), "it names the table and the column")
    db.query("ALTER TABLE stats_ip DROP odd")
    h.stop()
    check_equal(db.number("SELECT SUM(total) FROM stats_method WHERE method = 'INVITE'"), 300, "once")
    check_equal(db.number("SELECT SUM(total) FROM stats_ip"), 300, "once")


# ---- at bad moments ----

def all_counted(db):
    return db.number("SELECT COALESCE(SUM(total), 0) FROM stats_method WHERE method = 'ALL'")


def test_kill_database(world):
    """kill -9 of mariadbd, which forgets what it confirmed in the last second: sums equal the rows, nothing twice."""
    db = world.database(["--innodb-flush-log-at-trx-commit=0"])
    h = world.heptap()
    load = Load(h.port)
    pick = random.Random(5)
    for _ in range(4):
        before = h.metrics().sum("heptap_statistics_stored_total")
        wait_until(lambda: h.metrics().sum("heptap_statistics_stored_total") >= before + 4, 40, "sums flow")
        time.sleep(pick.random())
        db.kill()
        db.start()
    numbers = load.stop()
    h.wait_at_rest(len(numbers), 90).check_exact()
    check_once(db, numbers)
    m = settled(h)
    print(f"        {m.sum('heptap_statistics_rewound_total')} rows of sums rewound")
    wait_until(lambda: settled(h) and all_counted(db) == len(numbers), 20, lambda: f"{len(numbers)} counted: {all_counted(db)}")
    check_equal(db.number("SELECT SUM(total) FROM stats_method WHERE method = 'OPTIONS'"), len(numbers), "OPTIONS")
    h.stop()
    check_equal(all_counted(db), len(numbers), "counted")


def test_kill_heptap(world):
    """kill -9 of heptap under load: nothing is counted twice, and only what came in its last moments is not counted."""
    db = world.database()
    h = world.heptap()
    first, uncounted = 0, 0
    for _ in range(2):
        load = Load(h.port, per_second=1000, first=first)
        wait_until(lambda: len(load.sent_at) > 7000, 60, "messages flow")
        before = all_counted(db)
        h.kill()
        killed_at = time.monotonic()
        numbers = load.stop()
        first = numbers.stop
        uncounted += len([at for at in load.sent_at if killed_at - 3 < at <= killed_at])  # a second, and that the machine may be busy
        h.start()
        h.wait_at_rest(0)
        settled(h)
        stored, counted = len(stored_numbers(db)), all_counted(db)
        check(stored - uncounted <= counted <= stored, f"{counted} counted of {stored} stored; {uncounted} may be missing")
        check(0 < before <= counted and uncounted < stored / 2, f"{before} counted before the kill, {counted} after it: nothing was shown")
    print(f"        {counted} counted of {stored} stored")
    h.stop()


def test_two_servers(world):
    """Two servers share a database: one row for each sum, one asr, and alarms of what both have seen."""
    db = world.database()
    a = world.heptap("a", top="node_id: 1", start=False)
    b = world.heptap("b", top="node_id: 2", start=False, install=False)
    db.query("INSERT INTO alarm_config (type, value) VALUES ('503', 30)")
    for h in (a, b):
        looked_once(h, db)
    at = int(time.time() - HOUR) // 300 * 300
    calls = range(200)
    for n in calls:
        for h in (a, b):
            key = f"{h.port}-{n}"
            h.send([request(key, "INVITE", ts=at + 5, src=f"192.0.2.{n % 9}")] +
                   [reply(key, 200 if n % 4 == 0 else 486, "INVITE", ts=at + 5)])
            if n < 16:
                h.send([reply(key, 503, "INVITE", ts=at + 5)])
    for h in (a, b):
        h.wait_at_rest(416).check_exact()
    settled(a)
    settled(b)
    for h in (a, b):
        h.stop()
    for h in (a, b):
        h.start(wait=False)
    wait_until(lambda: alarms(db), 20, "an alarm")
    check_equal(rows(db, "SELECT method, cseq, total FROM stats_method WHERE method != 'ALL'", "homer_db"),
                {("INVITE", ""): 400, ("200", "INVITE"): 100}, "stats_method")
    check_equal(all_counted(db), 832, "all")
    check_equal(rows(db, f"SELECT type, total FROM stats_data WHERE from_date = FROM_UNIXTIME({at})", "homer_db"),
                {("bad",): 300, ("isa",): 32, ("sd",): 32, ("asr",): 25, ("ner",): 100}, "stats_data")
    check_equal([x[:3] for x in alarms(db)], [(str(at + 60), "Too Many 503", "32")], "alarms")
    check_equal(db.number(f"SELECT COUNT(*) FROM heptap_pending WHERE at = FROM_UNIXTIME({at})"), 0, "pending")
    for h in (a, b):
        wait_until(h.is_ready, 20, "ready")
        h.stop()
