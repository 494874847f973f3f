"""Captures of real senders over a real socket, each row field by field against what an independent decoder read."""
import json
import re

from lib import FIXTURES, check, check_equal, expected, udp_payloads

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


def wanted_values(e):
    """Column values that follow from a line of expectations."""
    request = e["kind"] == "request"
    microseconds = round(float(e["ts"]) * 1e6) if "ts" in e else None
    if microseconds is not None:
        whole, part = e["ts"].split(".")
        microseconds = int(whole) * 1000000 + int(part)
    return {
        "micro_ts": str(microseconds), "UNIX_TIMESTAMP(date)": str(microseconds // 1000000),
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
        "correlation_id": e["hep"].get("correlation_id", ""), "proto": {17: "1", 6: "2", 22: "3"}[e["ip_proto"]],
        "family": str(e["family"]), "type": "1" if request else "2", "node": f"node1:{e['hep']['capture_id']}",
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


def run_capture(world, name):
    path = next((FIXTURES / "hep").glob(f"{name}.pcap*"))
    lines = expected(FIXTURES / "hep" / f"{name}.expected.jsonl")
    payloads = list(udp_payloads(path))
    check_equal(len(payloads), len(lines), "HEP packets in the capture")
    world.database()
    h = world.heptap(top="hep_threads: 1")
    h.send(payloads, pause_each=50)
    m = h.wait_at_rest(len(payloads))
    m.check_exact()
    messages = [e for e in lines if e["hep"]["proto_type"] == 1 and "kind" in e]
    others = [e for e in lines if e["hep"]["proto_type"] != 1]
    check_equal(m.sum("heptap_not_sip_total", reason="type"), len(others), "HEP records of other types")
    rows = world.db.query(f"SELECT {', '.join(COLUMNS)} FROM sip_capture ORDER BY id")
    check_equal(h.stop(), 0, "exit code")
    return lines, messages, rows, m


def compare(world, name):
    _, messages, rows, _ = run_capture(world, name)
    check_equal(len(rows), len(messages), "rows")
    wrong = [d for row, e in zip(rows, messages) for d in differences(row, e, lambda *_: False)]
    check(not wrong, f"{len(wrong)} differences:\n    " + "\n    ".join(wrong[:20]))


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
    """RTCP reports only: counted, no rows."""
    _, messages, rows, m = run_capture(world, "rtpengine-v3-rtcp-udp")
    check_equal((len(messages), len(rows)), (0, 0), "SIP messages and rows")
    check_equal(m.sum("heptap_not_sip_total", reason="type"), 7, "reports counted")


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
