"""Any table: rows into every version of Homer's, Kamailio's and OpenSIPS' sip_capture as it is, each column checked against what
the test makes of the message by itself."""
import re
import time

import tables
from lib import FIXTURES, check, check_equal, check_once, hep3, hep_legacy, only_waits, sip, wait_until

NOW = int(time.time()) - 60
TAG = "t" * 70


def request():
    """A request in which every column has a value, some of them too long or not valid text."""
    return ("INVITE sip:bob@example.net:5080;x=y SIP/2.0\r\n"
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-" + "b" * 300 + "\r\n"
            f"From: \"A\" <sip:alice@example.com>;tag={TAG}\r\nTo: <sip:carol@example.org>;tag=to-1\r\n"
            "Call-ID: " + "c" * 130 + "\r\nCSeq: 7 INVITE\r\nX-CID: the-other-leg\r\n"
            "P-Asserted-Identity: <sip:pid@example.com>\r\nContact: <sip:con@198.51.100.7:5099>\r\n"
            "Proxy-Authorization: Digest username=\"digest\", realm=\"" + "r" * 300 + "\"\r\nX-OIP: 203.0.113.9:4444\r\n"
            "Diversion: <sip:div@example.com>\r\nReason: SIP;cause=200\r\nExpires: 120\r\nX-One: first\r\nX-Two: second\r\nX-Three: third\r\n"
            "X-RTP-Stat: PS=1,OS=2\r\nContent-Type: text/plain\r\nUser-Agent: agent \U0001f680 caf\u00e9 \u0142\r\n\r\nbody \0").encode() + b"\xff\x80!"


def reply():
    return ("SIP/2.0 183 Sitzung l\u00e4uft\r\nVia: SIP/2.0/TCP [2001:db8::1];branch=z9hG4bK-r\r\nf: <sip:alice@[2001:db8::7]>;tag=f\r\n"
            "t: <sip:bob@example.net>\r\ni: reply-1\r\nCSeq: 8 INVITE\r\nServer: srv\r\nContent-Length: 0\r\n\r\n").encode()


def texts():
    """Columns of the request as octets, before any table cuts them."""
    auth = b'Digest username="digest", realm="' + b"r" * 300 + b'"'
    return {
        "method": b"INVITE", "reply_reason": b"", "ruri": b"sip:bob@example.net:5080;x=y", "ruri_user": b"bob",
        "ruri_domain": b"example.net", "from_user": b"alice", "from_domain": b"example.com", "from_tag": TAG.encode(),
        "to_user": b"carol", "to_domain": b"example.org", "to_tag": b"to-1", "pid_user": b"pid", "contact_user": b"con",
        "auth_user": b"digest", "callid": b"c" * 130, "callid_aleg": b"the-other-leg",
        "via_1": b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-" + b"b" * 300, "via_1_branch": b"z9hG4bK-" + b"b" * 300,
        "cseq": b"7 INVITE", "diversion": b"<sip:div@example.com>", "reason": b"SIP;cause=200", "content_type": b"text/plain",
        "auth": auth, "authorization": auth, "user_agent": "agent \U0001f680 caf\u00e9 \u0142".encode(), "source_ip": b"192.0.2.1",
        "destination_ip": b"192.0.2.2", "contact_ip": b"198.51.100.7", "originator_ip": b"203.0.113.9", "correlation_id": b"corr",
        "rtp_stat": b"PS=1,OS=2", "node": b"node1:7", "msg": request(), "custom_field1": b"first", "custom_field2": b"second",
        "custom_field3": b"third", "remark": b"theirs",
    }


NUMBERS = {"micro_ts": NOW * 1000000, "source_port": 5060, "destination_port": 5061, "contact_port": 5099, "originator_port": 4444,
           "proto": 1, "family": 2, "type": 1, "expires": 120}


def fitted(octets, width, charset):
    """What a column of so many characters holds of these octets. @return text, was cut, was repaired."""
    out, repaired = [], False
    at = 0
    while at < len(octets):
        for n in (1, 2, 3, 4):
            try:
                c = octets[at:at + n].decode("utf-8")
                break
            except UnicodeDecodeError:
                c = None
        if c is None or (charset == "utf8mb3" and ord(c) > 0xffff) or (charset == "latin1" and (ord(c) > 0xff or 0x80 <= ord(c) < 0xa0)):
            repaired = True
            out.append("?")
            at += n if c is not None else 1
        else:
            out.append(c)
            at += n
    cut = len(out) > width
    return "".join(out[:width]), cut, repaired


def columns_of(db, database):
    return [(r[0].decode(), r[1] and int(r[1]), r[2] and r[2].decode()) for r in db.query(
        "SELECT column_name, character_maximum_length, character_set_name FROM information_schema.columns "
        f"WHERE table_schema = '{database}' AND table_name = 'sip_capture' ORDER BY ordinal_position", database)]


def check_variant(world, name, environment=None):
    """One variant: made by somebody else, filled, unchanged."""
    world.db.query(f"CREATE DATABASE {name}", None)
    world.db.query(tables.VARIANTS[name], name)
    before = world.db.query("SHOW CREATE TABLE sip_capture", name)[0][1]
    h = world.heptap(name, install=False, database=name, environment=environment, top="custom_fields: [X-One, X-Two, X-Three]\nlegs: [X-CID]")
    correlation = b"\0\0\0\x11\0\x0acorr"
    h.send([hep3(request(), ports=(5060, 5061), ts=NOW, extra=correlation)])
    h.wait_at_rest(1)
    h.send([hep3(reply(), src="2001:db8::1", dst="2001:db8::2", proto=6, ts=NOW + 0.5, capture_id=4294967295), hep_legacy(1, sip(1))])
    m = h.wait_at_rest(3)
    m.check_exact()
    check_row(world.db, name, m)
    check_others(world.db, name)
    after = world.db.query("SHOW CREATE TABLE sip_capture", name)[0][1]
    before, after = (re.sub(rb" AUTO_INCREMENT=\d+", b"", text).split(b"PARTITION BY")[0] for text in (before, after))
    check_equal(after, before, "the table itself, its partitions aside")
    known = set(texts()) - {"remark"} | set(NUMBERS) | {"id", "date", "msg_raw"}
    missing = known - {c for c, _, _ in columns_of(world.db, name)}
    told = [line for line in h.log_text().splitlines() if "table sip_capture: fills" in line]
    check_equal(len(told), 1, "lines about the table's columns")
    check_equal(set(told[0].split("not there: ")[1].split(", ")) if missing else set(), missing, "columns named as not there")
    check_equal(h.stop(), 0, "exit code")


def check_row(db, name, m):
    columns = columns_of(db, name)
    row = db.query("SELECT " + ", ".join(f"CONVERT({c} USING utf8mb4)" if w else c for c, w, _ in columns) + " FROM sip_capture ORDER BY id LIMIT 1", name)[0]
    clipped, repaired = {}, {}
    for (column, width, charset), got in zip(columns, row):
        if column in ("id", "date"):
            continue
        if column in NUMBERS:
            check_equal(int(got), NUMBERS[column], column)
            continue
        octets = texts()[column]
        want, cut, mended = fitted(octets, width, charset)
        check_equal(got.decode("utf-8"), want, column)
        counted = "auth" if column == "authorization" else column
        clipped[counted] = clipped.get(counted, 0) | cut
        repaired[counted] = repaired.get(counted, 0) | (mended and ("?" in want))
    for column, times in clipped.items():
        check_equal(m.sum("heptap_clipped_total", column=column), int(times), f"clipped {column}")
    for column, times in repaired.items():
        check_equal(m.sum("heptap_repaired_total", column=column) > 0, bool(times), f"repaired {column}")


def check_others(db, name):
    """The reply, IPv6 and with a large capture id; and the message that came without a time."""
    rows = db.query("SELECT method, CONVERT(reply_reason USING utf8mb4), type, source_ip, family, proto, node, callid, user_agent, "
                    "UNIX_TIMESTAMP(date), micro_ts FROM sip_capture WHERE callid IN ('reply-1', 'n1@heptap.test') ORDER BY callid", name)
    check_equal(len(rows), 2, "rows")
    old, answer = rows
    check_equal([v.decode() for v in answer], ["183", "Sitzung l\u00e4uft", "2", "2001:db8::1", "10", "2", "node1:4294967295", "reply-1", "srv",
                                              str(NOW), str(NOW * 1000000 + 500000)], "the reply")
    check_equal((old[0], old[6]), (b"OPTIONS", b"node1"), "the message over HEP 1")
    check(abs(int(old[9]) - time.time()) < 60, "its time is that of the arrival")


def group(*names, environment=None):
    def test(world):
        world.database()
        for name in names:
            check_variant(world, name, environment)
    test.__doc__ = f"Unchanged tables: {', '.join(names)}."
    return test


test_homer3 = group("homer3_v2", "homer3_v3", "homer3_v4")
test_homer5_columns = group("homer5", "with_columns_of_others", "both_names_of_auth")
test_kamailio = group("kamailio_32", "kamailio_40", "kamailio_42")
test_opensips = group("opensips_18", "opensips_22", "opensips_24")
test_character_sets = group("latin1")
test_multi_row_inserts = group("homer3_v4", "opensips_18", "latin1", environment={"HEPTAP_NO_BULK": "1"})


def test_compat(world):
    """Numbers of proto and the fallback of correlation_id, as whom the pages were written for expects."""
    world.database()
    protos = (17, 6, 22, 132, 50)
    for compat, numbers, correlation in (("homer", [1, 2, 3, 4, 5], b""), ("kamailio", [1, 2, 3, 4, 5], b"n1@heptap.test"),
                                         ("opensips", [17, 6, 22, 132, 50], b"")):
        world.db.query(f"CREATE DATABASE {compat}", None)
        h = world.heptap(compat, database=compat, storage=f"compat: {compat}")
        h.send([hep3(sip(1), proto=p) for p in protos])
        h.wait_at_rest(len(protos))
        rows = world.db.query("SELECT proto, correlation_id FROM sip_capture ORDER BY id", compat)
        check_equal(([int(r[0]) for r in rows], {r[1] for r in rows}), (numbers, {correlation}), compat)
        check_equal(h.stop(), 0, "exit code")


# ---- other kinds of rows ----

def test_reports(world):
    """RTCP, reports and logs: each type in its table under the number that Homer knows, payload as it is."""
    world.database()
    h = world.heptap()
    kinds = {5: ("rtcp_capture", 3), 32: ("report_capture", 2), 99: ("report_capture", 4), 34: ("report_capture", 34),
             35: ("report_capture", 35), 37: ("report_capture", 37), 38: ("report_capture", 38), 100: ("logs_capture", 5)}
    payload = b'{"what": "' + b"x" * 5000 + b'", "quote": "\'\\\\"}'
    for kind in kinds:
        h.send([hep3(payload, kind=kind, extra=b"\0\0\0\x11\0\x0acorr"), hep3(b"no id", kind=kind)])
    h.send([hep3(b"{}", kind=53), hep3(b"{}", kind=2), hep3(b"", kind=5)])
    m = h.wait_at_rest(2 * len(kinds) + 3)
    m.check_exact()
    for table in ("rtcp_capture", "report_capture", "logs_capture"):
        rows = world.db.query(f"SELECT type, correlation_id, msg, proto, node, source_ip, destination_port FROM {table}")
        wanted = [[str(t).encode(), c, p, b"1", b"node1:7", b"192.0.2.1", b"5060"] for k, (name, t) in kinds.items() if name == table
                  for c, p in ((b"corr", payload), (b"", b"no id"))]
        check_equal(sorted(rows), sorted(wanted), table)
    check_equal(m.sum("heptap_no_correlation_total"), len(kinds), "without correlation id")
    check_equal((m.sum("heptap_not_sip_total", reason="type"), m.sum("heptap_not_sip_total", reason="empty")), (2, 1), "not stored")
    check_equal(m.sum("heptap_hep_types_total", type="53"), 1, "records of type 53")


def test_quality_report_inside_sip(world):
    """application/vq-rtcpxr: the message is a row, and its body a report about the call that it names."""
    world.database()
    h = world.heptap(storage="batch_rows: 1")
    body = b"VQSessionReport: CallTerm\r\nCallID: the-call@example.com\r\nLocalID: <sip:a@example.com>\r\nQualityEst: MOSCQ=4.1\r\n"
    publish = sip(1, "PUBLISH").replace(b"Content-Length: 0\r\n\r\n", b"Content-Type: application/VQ-RTCPXR; v=1\r\n\r\n") + body
    h.send([hep3(publish), hep3(sip(2))])
    m = h.wait_at_rest(2)
    m.check_exact()
    check_equal(world.db.query("SELECT type, correlation_id, msg FROM report_capture"), [[b"1", b"the-call@example.com", body]], "report")
    check_equal((m.sum("heptap_accepted_total"), m.sum("heptap_rows_made_total")), (2, 3), "messages and rows")
    check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture"), 2, "SIP rows")


def test_sip_inside_json(world):
    """What OpenSIPS wraps is unwrapped; JSON without SIP in it is counted."""
    world.database()
    h = world.heptap()
    wrapped = sip(1).decode().replace("\r\n", "\\r\\n").replace("/", "\\/").replace("alice", "\\u0061li\\u00e7e")
    h.send([hep3(f'{{"a": [1, {{"payload": 2}}], "payload": "{wrapped}"}}'.encode()), hep3(b'{"event": "x"}'), hep3(b'{"payload": "broken')])
    m = h.wait_at_rest(3)
    check_equal(m.sum("heptap_not_sip_total", reason="content"), 2, "not SIP")
    check_equal(world.db.query("SELECT callid, from_user, msg FROM sip_capture"),
                [[b"n1@heptap.test", "ali\u00e7e".encode(), sip(1).replace(b"alice", "ali\u00e7e".encode())]], "row")


def test_layout_homer5(world):
    """A table for each UTC day and kind; days long past share one; reports keep their tables."""
    world.database()
    h = world.heptap(storage="layout: homer5", start=False, install=False)
    world.db.query("CREATE DATABASE IF NOT EXISTS homer_db", None)
    h.start()
    day = 86400
    midnight = NOW - NOW % day
    methods = {"INVITE": "call", "ACK": "call", "BYE": "call", "CANCEL": "call", "PRACK": "call", "UPDATE": "call", "INFO": "call",
               "REFER": "call", "REGISTER": "registration", "OPTIONS": "rest", "SUBSCRIBE": "rest", "NOTIFY": "rest", "MESSAGE": "rest",
               "PUBLISH": "rest", "WHATEVER": "rest"}
    packets, wanted = [], {}
    for age in (0, 1, 40, 366, 400, 4000):
        for n, (method, kind) in enumerate(methods.items()):
            when = midnight - age * day
            suffix = time.strftime("%Y%m%d", time.gmtime(when)) if age <= 366 else "past"
            for event in ("", "Event: refer;id=1\r\n") if method == "NOTIFY" else ("",):
                packets.append(hep3(sip(n, method).replace(b"Max-", event.encode() + b"Max-"), ts=when))
                table = f"sip_capture_{'call' if event else kind}_{suffix}"
                wanted[table] = wanted.get(table, 0) + 1
    packets.append(hep3(b"SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nCall-ID: r\r\n\r\n", ts=midnight - 1))
    key = f"sip_capture_registration_{time.strftime('%Y%m%d', time.gmtime(midnight - 1))}"
    wanted[key] += 1
    packets.append(hep3(b"{}", kind=5, ts=midnight - 40 * day))
    h.send(packets, pause_each=20)
    m = h.wait_at_rest(len(packets))
    m.check_exact()
    got = {t: world.db.number(f"SELECT COUNT(*) FROM {t}") for t in wanted}
    check_equal(got, wanted, "rows of each table")
    check_equal(world.db.number("SELECT COUNT(*) FROM rtcp_capture"), 1, "RTCP")
    check_equal(m.sum("heptap_stored_total", table="sip_capture_call"), sum(n for t, n in wanted.items() if "_call_" in t), "counted as calls")
    ahead = [time.strftime("%Y%m%d", time.gmtime(midnight + n * day)) for n in range(3)]
    names = {r[0].decode() for r in world.db.query("SHOW TABLES")}
    check(all(f"sip_capture_{k}_{d}" in names for k in ("call", "registration", "rest") for d in ahead), f"tables made ahead: {sorted(names)}")
    check("sip_capture" not in names, "no table that nobody fills")


def test_columns_that_are_seldom_filled(world):
    """Columns that no row of a transaction has a value for are left to their defaults; when one has, it is stored, and the others are as before."""
    db = world.database()
    db.query("CREATE DATABASE foreign_db", None)
    db.query(tables.VARIANTS["homer3_v4"], "foreign_db")  # there some have no default: they are always sent
    for h in (world.heptap("ours"), world.heptap("foreign", database="foreign_db", install=False)):
        database = h.settings["database"]
        plain, rich = [hep3(sip(n)) for n in range(40)], []
        for n in range(40, 60):
            message = sip(n).replace(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\r\nDiversion: <sip:d@x>\r\nReason: Q.850;cause=16\r\nExpires: 0\r\n"
                                     b"X-OIP: 192.0.2.9:5070\r\nContact: <sip:c@192.0.2.8:5080>\r\nX-CID: leg-a\r\n")
            rich.append(hep3(message + (b"\xff" if n % 2 else b"")))
        sent = 0
        for packets in (plain[:20], rich, plain[20:]):
            h.send(packets)
            sent += len(packets)
            h.wait_at_rest(sent)
        h.stop()
        m = "diversion, reason, originator_ip, originator_port, contact_port, callid_aleg, pid_user"
        got = db.query(f"SELECT COUNT(*), {m} FROM sip_capture GROUP BY {m} ORDER BY 1", database)
        check_equal(got, [[b"20", b"<sip:d@x>", b"Q.850;cause=16", b"192.0.2.9", b"5070", b"5080", b"leg-a", b""], [b"40", b"", b"", b"", b"0", b"0", b"", b""]],
                    f"{database}: rows")
        if database == "homer_db":
            check_equal(db.query("SELECT expires, COUNT(*), SUM(LENGTH(msg_raw) > 0) FROM sip_capture GROUP BY expires ORDER BY 1"),
                        [[b"-1", b"40", b"0"], [b"0", b"20", b"10"]], "expires and msg_raw")


MANY_CPUS = {"HEPTAP_ROOT": str(FIXTURES / "hosts" / "ctr-unpriv-veth")}


def streams_stored(db):
    return db.number("SELECT COUNT(*) FROM heptap_ledger WHERE seq > 0")


@only_waits
def send_as_taken(h, numbers):
    """No more at a time than the blocks of ten rows hold, however slow the machine is."""
    for at in range(0, len(numbers), 200):
        h.send([hep3(sip(n)) for n in numbers[at:at + 200]], pause_each=20)
        wait_until(lambda: h.metrics().sum("heptap_received_total") == numbers[0] + at + len(numbers[at:at + 200])
                   and h.metrics().sum("heptap_in_memory") == 0, 20, "taken")


@only_waits
def test_compressed_table_has_one_writer(world):
    """On 16 CPUs two writers are there, and one gets rows while the table is ROW_FORMAT=COMPRESSED; both when it is DYNAMIC again."""
    db = world.database()
    h = world.heptap(start=False, environment=MANY_CPUS, storage="batch_rows: 10\n  statistics: false", top="hep_threads: 1")
    db.query("ALTER TABLE sip_capture ROW_FORMAT=COMPRESSED")
    h.start()
    wait_until(lambda: "one writer at a time, in 1 of 1: 1 of 2 writers get rows" in h.log_text(), 20, "told")
    send_as_taken(h, range(5000))
    h.wait_at_rest(5000).check_exact()
    check_equal(streams_stored(db), 1, "streams that have rows")
    db.query("ALTER TABLE sip_capture ROW_FORMAT=DYNAMIC")
    wait_until(lambda: "one writer at a time, in 0 of 1: 2 of 2 writers get rows" in h.log_text(), 90, "told")
    send_as_taken(h, range(5000, 10000))
    h.wait_at_rest(10000).check_exact()
    check_equal(streams_stored(db), 2, "streams that have rows")
    check_once(db, range(10000))
    check_equal(h.log_text().count("writers get rows"), 2, "lines about it")
    check_equal(h.stop(), 0, "exit code")


def test_compressed_daily_table_takes_a_writer_away(world):
    """Layout homer5 on 16 CPUs has four writers; compressed tables of the day take one each, and `writers` in the configuration is obeyed."""
    db = world.database()
    h = world.heptap(environment=MANY_CPUS, storage="layout: homer5", top="hep_threads: 1")
    wait_until(lambda: db.number("SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE 'sip_capture_rest_%'"), 20, "tables made")
    check("4 writers" in h.log_text() and "writers get rows" not in h.log_text(), "four writers")
    check_equal(h.stop(), 0, "exit code")
    for (name,) in db.query("SELECT table_name FROM information_schema.tables WHERE table_name REGEXP '^sip_capture_(call|registration|rest)_[0-9]'"):
        db.query(f"ALTER TABLE {name.decode()} ROW_FORMAT=COMPRESSED")
    h.start()
    wait_until(lambda: "one writer at a time, in 3 of 3: 3 of 4 writers get rows" in h.log_text(), 20, "told")
    h.send(hep3(sip(n, "INVITE")) for n in range(100))
    h.wait_at_rest(100).check_exact()
    check_equal(h.stop(), 0, "exit code")
    h.write(storage="layout: homer5\n  writers: 5")
    h.start()
    h.send(hep3(sip(n, "INVITE")) for n in range(100))
    h.wait_at_rest(100).check_exact()
    check_equal(h.log_text().count("writers get rows"), 1, "what was asked for is not changed")
    check("5 writers" in h.log_text(), "five writers")
    check_equal(h.stop(), 0, "exit code")


# ---- in which order ----

def ids_of_numbers(world, count, calls):
    """What is stored of so many messages of one second, of calls in turn, that came while there was no database: (call, message) by id."""
    world.database()
    h = world.heptap()
    world.db.stop()
    h.send([hep3(sip(n % calls).replace(b"Max-Forwards: 70", b"Max-Forwards: %d" % (n // calls)), ts=NOW) for n in range(count)], pause_each=50)
    wait_until(lambda: h.metrics().sum("heptap_received_total") == count, 20, "all received")
    world.db.start()
    h.wait_at_rest(count).check_exact()
    rows = world.db.query("SELECT callid, SUBSTRING_INDEX(SUBSTRING_INDEX(msg, 'Max-Forwards: ', -1), '\r', 1) FROM sip_capture ORDER BY id")
    check_equal(h.stop(), 0, "exit code")
    return [(r[0], int(r[1])) for r in rows]


def test_messages_of_a_call_stand_together(world):
    """Where a transaction has many rows; each call by itself is in order of arrival."""
    rows = ids_of_numbers(world, 1000, 10)
    check_equal(len(rows), 1000, "rows")
    changes = sum(a[0] != b[0] for a, b in zip(rows, rows[1:]))
    check(changes < 100, f"{changes} times the next row is of another call")
    for call in {r[0] for r in rows}:
        check_equal([r[1] for r in rows if r[0] == call], list(range(100)), f"order of {call}")


def test_few_messages_stay_in_order_of_arrival(world):
    rows = ids_of_numbers(world, 200, 10)
    check_equal([r[1] * 10 + int(r[0][1:2]) for r in rows], list(range(200)), "order")
