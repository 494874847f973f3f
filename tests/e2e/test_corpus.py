"""Captures of real senders over a real socket, each row field by field against what an independent decoder read."""
import itertools
import json
import random
import re
import time

from lib import FIXTURES, check, check_equal, expected, tcp_streams, udp_payloads

COLUMNS = ["micro_ts", "UNIX_TIMESTAMP(date)", "method", "reply_reason", "ruri", "ruri_user", "ruri_domain", "from_user", "from_domain",
           "from_tag", "to_user", "to_domain", "to_tag", "pid_user", "contact_user", "contact_ip", "contact_port", "auth_user", "callid",
           "callid_aleg", "via_1", "via_1_branch", "cseq", "diversion", "reason", "content_type", "user_agent", "source_ip", "source_port",
           "destination_ip", "destination_port", "expires", "correlation_id", "proto", "family", "type", "node",
           "SHA2(IF(LENGTH(msg_raw) > 0, msg_raw, msg), 256)", "LENGTH(IF(LENGTH(msg_raw) > 0, msg_raw, msg))", "authorization"]

# Where the table is narrower than what was sent.
WIDTH = {"via_1": 256, "callid": 120, "from_tag": 64, "to_tag": 64, "method": 50, "ruri": 200, "ruri_user": 100, "from_user": 100,
         "to_user": 100, "user_agent": 256, "content_type": 256, "reply_reason": 100, "via_1_branch": 80, "contact_user": 120,
         "from_domain": 150, "to_domain": 150, "ruri_domain": 150, "cseq": 25}


def unfold(text):
    """A header value on one line, blanks at its end removed, as the decoder prints it."""
    return re.sub(r"\s*\r?\n\s+", " ", text).strip()


def wanted_times(e):
    if "ts" not in e:  # HEP 1 has no time: it is the arrival, which the test looks at
        return {}
    whole, part = e["ts"].split(".")
    return {"micro_ts": str(int(whole) * 1000000 + int(part)), "UNIX_TIMESTAMP(date)": whole}


def wanted_node(e):
    hep = e.get("hep", {})  # none: the message itself was captured
    return f"node1:{hep['capture_id']}" if "capture_id" in hep else "node1"


def wanted_values(e):
    """Column values that follow from a line of expectations."""
    request = e["kind"] == "request"
    return {
        **wanted_times(e),
        "method": e["method"] if request else str(e["status"]), "reply_reason": e.get("reason_phrase", ""),
        "ruri": e.get("ruri", ""), "ruri_user": e.get("ruri_user", ""), "ruri_domain": e.get("ruri_host", ""),
        "from_user": e.get("from_user", ""), "from_domain": e.get("from_host", ""), "from_tag": e.get("from_tag", ""),
        "to_user": e.get("to_user", ""), "to_domain": e.get("to_host", ""), "to_tag": e.get("to_tag", ""),
        "pid_user": e.get("pai_user", ""), "contact_user": e.get("contact_user", ""), "contact_ip": e.get("contact_host", ""),
        "contact_port": e.get("contact_port", "0"), "auth_user": re.sub('^"(.*)"$', r"\1", e.get("auth_user", "")).split("@")[0],
        "callid": e.get("call_id", ""), "callid_aleg": e.get("x_cid", ""), "via_1": e.get("via_1", ""),
        "via_1_branch": e.get("via_1_branch", ""), "cseq": f"{e.get('cseq_num', '')} {e.get('cseq_method', '')}".strip(),
        "diversion": e.get("diversion", ""), "reason": e.get("reason", ""), "content_type": e.get("content_type", ""),
        "user_agent": e.get("user_agent", e.get("server", "")), "source_ip": e["src_ip"], "source_port": str(e["src_port"]),
        "destination_ip": e["dst_ip"], "destination_port": str(e["dst_port"]), "expires": e.get("expires", "-1"),
        "correlation_id": e.get("hep", {}).get("correlation_id", ""), "proto": {17: "1", 6: "2", 22: "3"}[e["ip_proto"]],
        "family": str(e["family"]), "type": "1" if request else "2", "node": wanted_node(e),
        "SHA2(IF(LENGTH(msg_raw) > 0, msg_raw, msg), 256)": e["msg_sha256"],
        "LENGTH(IF(LENGTH(msg_raw) > 0, msg_raw, msg))": str(e["msg_len"]),
    }


def differences(row, e, is_right_anyway):
    got = {c: (v or b"").decode("utf-8", "replace") for c, v in zip(COLUMNS, row)}
    for column, want in wanted_values(e).items():
        have = got[column]
        if column in ("via_1", "content_type", "user_agent", "diversion", "reason", "cseq", "from_tag", "to_tag", "callid", "callid_aleg"):
            have, want = unfold(have), unfold(want)
        if column == "via_1" and e.get("via_count", 1) > 1:
            have = have[:len(want)]
        if have == want or (column in WIDTH and len(want) > WIDTH[column] and want.startswith(have) and len(have) == WIDTH[column]):
            continue
        if is_right_anyway(column, have, want, e):
            continue
        yield f"n={e['n']} {e.get('call_id')} {column}: got {have!r}, wanted {want!r}"


def capture(name):
    """HEP packets of a capture, and what an independent decoder says of each."""
    path = next((FIXTURES / "hep").glob(f"{name}.pcap*"))
    lines = expected(FIXTURES / "hep" / f"{name}.expected.jsonl")
    payloads = [p for stream in tcp_streams(path) for p in packets_of(stream)] if "v3-tcp" in name else list(udp_payloads(path))
    check_equal(len(payloads), len(lines), "HEP packets in the capture")
    return payloads, lines


def packets_of(stream):
    while stream:
        length = int.from_bytes(stream[4:6], "big")
        yield stream[:length]
        stream = stream[length:]


RTCP = {"sample-sngrep-aaa": 1}  # reports beside the SIP of a capture, of calls that it describes
TABLES = {5: ("rtcp_capture", "3"), 100: ("logs_capture", "5")}
REPORT_COLUMNS = ["micro_ts", "UNIX_TIMESTAMP(date)", "correlation_id", "source_ip", "source_port", "destination_ip", "destination_port",
                  "proto", "family", "type", "node", "SHA2(msg, 256)", "LENGTH(msg)"]


def compare_reports(world, lines, times=1):
    """Rows of records that are not SIP, each as often as it was sent."""
    for kind, (table, number) in TABLES.items():
        wanted = sorted([*wanted_times(e).values(), e["hep"].get("correlation_id", ""), e["src_ip"], str(e["src_port"]), e["dst_ip"],
                         str(e["dst_port"]), {17: "1", 6: "2"}[e["ip_proto"]], str(e["family"]), number, wanted_node(e),
                         e["payload_sha256"], str(e["payload_len"])] for e in lines if e["hep"]["proto_type"] == kind)
        if not wanted:
            continue
        rows = world.db.query(f"SELECT {', '.join(REPORT_COLUMNS)} FROM {table}")
        got = sorted([(v or b"").decode() for v in row] for row in rows)
        check_equal(got, sorted(wanted * times), f"rows of {table}")


def stored_rows(world):
    return world.db.query(f"SELECT {', '.join(COLUMNS)} FROM sip_capture ORDER BY id")


def run_capture(world, name):
    """Send a capture, each packet a datagram, and wait for its rows."""
    payloads, lines = capture(name)
    world.database()
    h = world.heptap(top="hep_threads: 1")
    h.send(payloads, pause_each=50)
    m = h.wait_at_rest(len(payloads))
    m.check_exact()
    messages = [e for e in lines if e["hep"]["proto_type"] == 1 and "kind" in e]
    check_equal(m.sum("heptap_not_sip_total", reason="type"), 0, "records of types without a table")
    rows = stored_rows(world)
    compare_reports(world, lines)
    check_equal(h.stop(), 0, "exit code")
    return lines, messages, rows, m


def joined(messages):
    """What is expected once legs are joined: a header that names the other leg counts for all that follows of its call."""
    aleg, joins, begun = {}, {}, set()
    for e in messages:
        call, before, hep = e.get("call_id", ""), e.get("x_cid", ""), e.get("hep", {})
        if before:
            if before in begun:
                joins.setdefault(before, before)
            aleg.setdefault(call, before)
            joins.setdefault(call, joins.get(before, before))
        if e["kind"] == "request" and e["method"] == "INVITE" and not e.get("to_tag"):
            begun.add(call)
        outside = e.get("cseq_method") == "REGISTER" or (e.get("cseq_method") == "OPTIONS" and not e.get("to_tag"))
        if before or not outside:
            e = {**e, "x_cid": aleg.get(call, ""), "hep": {"correlation_id": joins.get(call, ""), **hep}}
        yield e


def check_rows(rows, messages):
    check_equal(len(rows), len(messages), "rows")
    wrong = [d for row, e in zip(rows, joined(messages)) for d in differences(row, e, lambda *_: False)]
    check(not wrong, f"{len(wrong)} differences:\n    " + "\n    ".join(wrong[:20]))


def compare(world, name):
    _, messages, rows, _ = run_capture(world, name)
    check_rows(rows, messages)
    return rows


def test_kamailio_v3(world):
    """Kamailio siptrace, 106 SIP messages and 7 log records."""
    compare(world, "kamailio-v3-udp")


def test_kamailio_v3_large(world):
    """INVITEs above 4 kB."""
    compare(world, "kamailio-v3-udp-large")


def test_kamailio_v3_network_callback(world):
    """SIP over TCP and IPv6 inside, capture id above 16 bits."""
    compare(world, "kamailio-v3-netcb")


def test_sngrep_v3(world):
    """Times far older than the arrival, auth keys."""
    compare(world, "sngrep-v3-udp")


def test_captagent_v3(world):
    """Another order of chunks."""
    compare(world, "captagent-v3-udp")


def test_hepgenjs_v3(world):
    """Milliseconds in the microseconds chunk; RTCP and log records beside SIP."""
    compare(world, "sample-hepgenjs-v3-udp")


def test_captagent_v3_zlib(world):
    """Compressed payloads."""
    compare(world, "sample-captagent-v3-zlib-udp")


def test_rtpengine_v3(world):
    """RTCP reports only: rows of rtcp_capture and none of sip_capture."""
    _, messages, rows, m = run_capture(world, "rtpengine-v3-rtcp-udp")
    check_equal((len(messages), len(rows)), (0, 0), "SIP messages and rows")
    check_equal(m.sum("heptap_stored_total", table="rtcp_capture"), 7, "stored in rtcp_capture")
    check_equal(m.sum("heptap_hep_types_total", type="5"), 7, "records of type 5")


def test_kamailio_v1(world):
    """HEP 1 has neither time nor capture id: the time is that of the arrival, the node has no number."""
    begun = time.time()
    rows = compare(world, "kamailio-v1-udp")
    for row in rows:
        check(begun - 1 <= int(row[0]) / 1e6 <= time.time(), f"time {row[0]} is not that of the arrival")
        check_equal(int(row[0]) // 1000000, int(row[1]), "date of micro_ts")


def test_kamailio_v2(world):
    """HEP 2 with IPv4 and IPv6, its times and capture id little-endian."""
    compare(world, "kamailio-v2-udp")


def test_opensips_v2(world):
    """NUL octets behind the messages are not stored, and packets of nothing but NUL are no messages."""
    lines, messages, rows, m = run_capture(world, "opensips-v2-udp")
    check_rows(rows, messages)
    check_equal(m.sum("heptap_not_sip_total", reason="empty"), len(lines) - len(messages), "empty")


def compare_over_tcp(world, name, sizes):
    payloads, lines = capture(name)
    world.database()
    h = world.heptap(top="hep_threads: 1")
    h.send_stream(b"".join(payloads), sizes)
    m = h.wait_at_rest(len(payloads))
    m.check_exact()
    check_equal(m.sum("heptap_accepted_total"), len(payloads), "accepted")
    check_rows(stored_rows(world), [e for e in lines if e["hep"]["proto_type"] == 1])
    compare_reports(world, lines)
    check_equal(h.stop(), 0, "exit code")


def test_opensips_v3_tcp(world):
    """What OpenSIPS sent over TCP, in one write."""
    compare_over_tcp(world, "opensips-v3-tcp", itertools.repeat(1 << 20))


def test_opensips_v3_tcp_octet_by_octet(world):
    compare_over_tcp(world, "opensips-v3-tcp", itertools.repeat(1))


def test_kamailio_v3_tcp_random_pieces(world):
    dice = random.Random(5060)
    compare_over_tcp(world, "kamailio-v3-udp", iter(lambda: dice.choice((1, 2, 3, 6, 7, 64, 500, 1460, 5000)), None))


def test_captagent_v3_zlib_tcp_segments(world):
    compare_over_tcp(world, "sample-captagent-v3-zlib-udp", itertools.repeat(1460))


def test_tcp_pieces_of_every_size(world):
    """A capture with large messages in pieces of each size from 1 to its largest packet, a connection each: always the same rows."""
    payloads, lines = capture("kamailio-v3-udp-large")
    stream = b"".join(payloads)
    sizes = range(1, max(map(len, payloads)) + 1, 1)
    world.database()
    h = world.heptap()
    for size in sizes:
        h.send_stream(stream, itertools.repeat(size))
    m = h.wait_at_rest(len(sizes) * len(payloads))
    m.check_exact()
    check_equal(m.sum("heptap_connections_closed_total", reason="end"), len(sizes), "connections that ended as they should")
    rows = world.db.query("SELECT COUNT(*), MIN(id) FROM sip_capture GROUP BY micro_ts, SHA2(msg, 256), source_ip, destination_ip, cseq, "
                          "method, callid, from_tag, to_tag, via_1, correlation_id, node, ruri, source_port, destination_port")
    messages = [e for e in lines if e["hep"]["proto_type"] == 1]
    check_equal(sorted(int(r[0]) for r in rows), [len(sizes)] * len(messages), "rows of each message")
    first = world.db.query(f"SELECT {', '.join(COLUMNS)} FROM sip_capture WHERE id IN ({','.join(r[1].decode() for r in rows)}) "
                           "ORDER BY micro_ts, id")
    check_rows(first, sorted(messages, key=lambda e: e["ts"]))


def test_connections_side_by_side(world):
    """Every v3 capture over its own connections, interleaved octet by octet groups: rows do not mix."""
    names = ["kamailio-v3-udp", "kamailio-v3-netcb", "opensips-v3-tcp", "sngrep-v3-udp", "captagent-v3-udp", "rtpengine-v3-rtcp-udp",
             "sample-hepgenjs-v3-udp", "kamailio-v3-torture"]
    captures = [capture(n) for n in names]
    world.database()
    h = world.heptap(top="hep_threads: 2")
    dice = random.Random(9060)
    streams = [(h.connect(), bytearray(b"".join(p))) for p, _ in captures]
    while streams:
        s, left = dice.choice(streams)
        size = dice.randrange(1, 700)
        s.sendall(left[:size])
        del left[:size]
        if not left:
            s.close()
            streams = [x for x in streams if x[1]]
    lines = [e for _, ls in captures for e in ls]
    m = h.wait_at_rest(len(lines))
    m.check_exact()
    compare_reports(world, lines)
    got = sorted(row[-3].decode() for row in stored_rows(world))
    check_equal(got, sorted(e.get("msg_sha256") or e["payload_sha256"] for e in lines if e["hep"]["proto_type"] == 1), "messages")


def test_torture(world):
    """RFC 4475 as Kamailio mirrors it: each of the 47 is a row with the octets that were sent, and what can be read of it is right."""
    lines, _, rows, m = run_capture(world, "kamailio-v3-torture")
    check_equal(len(rows), len(lines), "rows")
    check_equal(m.sum("heptap_accepted_total"), len(lines), "accepted")
    wrong = [d for row, e in zip(rows, lines) if "kind" in e for d in differences(row, e, is_rfc_text)]
    check(not wrong, f"{len(wrong)} differences:\n    " + "\n    ".join(wrong[:40]))


# What RFC 4475 says where the decoder is short or lenient: by the first word of the Call-ID, column by column.
RFC_TEXT = {
    "intmeth": {"ruri_user": "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*",  # what follows the colon is the password
                "cseq": "139122385 !interesting-Me"},  # as wide as the column
    "longreq": {"via_1_branch": ""},  # the topmost Via has none
    "scalar02": {"cseq": "36893488147419103232 REGI", "expires": "-1"},
    "scalarlg": {"cseq": "9292394834772304023312 OP"},
    "wsinv": {"from_user": "jdrosen", "from_domain": "example.com", "from_tag": "98asjd8", "to_user": "vivekg",
              "to_domain": "chair-dnrc.example.com", "to_tag": "1918181833n", "via_1": "SIP  /   2.0 /UDP 192.0.2.2;branch=390skdjuw",
              "via_1_branch": "390skdjuw", "cseq": "0009 INVITE"},
}


def is_rfc_text(column, have, _want, e):
    return RFC_TEXT.get(e.get("call_id", "").split(".")[0], {}).get(column) == have
