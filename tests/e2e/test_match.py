"""heptap match: which rule decides, and why; without a database."""
import datetime
import itertools
import json
import re
import signal
import subprocess

from lib import FIXTURES, ROOT, check, check_equal, expected, hep3, release_only, sip, wait_until
from test_import import PORTS, SIP_FIXTURES, frame, now_us, pcap_head, pcap_record

MANUAL = ROOT / "conf" / "man" / "heptap.yaml.5"


def yaml(text):
    """A string in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def world_of(world, rules, default="store", more=""):
    """A configuration; rules are (name, when, action, scope)."""
    lines = "".join(f"  - {{ name: {yaml(n)}, when: {yaml(w)}, action: {yaml(a)}, scope: {s} }}\n" for n, w, a, s in rules)
    top = f"filters:\n{lines}default_action: {default}\n{more}" if rules else f"default_action: {default}\n{more}"
    return world.heptap(start=False, install=False, db_socket="/nonexistent", top=top)


def run(h, *words, stdin=b"", code=0):
    done = subprocess.run([h.binary, "match", "-c", str(h.file), *map(str, words)], input=stdin, capture_output=True)
    check_equal(done.returncode, code, f"exit code of {words}; {done.stdout[-2000:]}{done.stderr}")
    return done.stdout, done.stderr.decode()


def run_json(h, *words, stdin=b"", code=0):
    """Messages, and the summary."""
    out, _ = run(h, "--json", *words, stdin=stdin, code=code)
    lines = [json.loads(line) for line in out.splitlines()]
    check_equal([e["kind"] for e in lines], ["message"] * (len(lines) - 1) + ["summary"], "kinds of lines")
    return lines[:-1], lines[-1]


def request(method="INVITE", uri="sip:bob@example.com", call="c1", headers="", body="", to_tag="", user="alice"):
    tag = f";tag={to_tag}" if to_tag else ""
    return (f"{method} {uri} SIP/2.0\r\nFrom: <sip:{user}@a.example>;tag=1\r\nTo: <sip:bob@b.example>{tag}\r\nCall-ID: {call}\r\n"
            f"CSeq: 1 {method}\r\n{headers}\r\n{body}").encode()


def reply(status, method="INVITE", call="c1"):
    return f"SIP/2.0 {status}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\r\n".encode()


def joined(*messages):
    return b"\n---\n".join(messages)


def capture_of(path, messages):
    """A file of (time, payload[, ports])."""
    path.write_bytes(pcap_head() + b"".join(pcap_record(m[0], frame(m[1], ports=m[2] if len(m) > 2 else (5060, 5060))) for m in messages))
    return path


# ---- against a naive evaluation ----

def is_request(e):
    return e["kind"] == "request"


def method_of(e):
    return e["method"] if is_request(e) else e.get("cseq_method", "")


# Conditions, and what they mean for a line of an independent decoder.
RULES = {
    "options": ('method == "OPTIONS" || (is_reply && cseq.method == "OPTIONS")', "drop", "message", lambda e: method_of(e) == "OPTIONS"),
    "failed": ('status =~ "^[456]" && !(cseq.method in {"REGISTER"})', "store", "message",
               lambda e: not is_request(e) and str(e["status"])[0] in "456" and e.get("cseq_method") != "REGISTER"),
    "from": ('src.ip in {198.51.100.1, 2001:db8:1::/48} && src.port != 5060', "drop", "dialog",
             lambda e: (e["src_ip"] == "198.51.100.1" or e["src_ip"].startswith("2001:db8:1:")) and e["src_port"] != 5060),
    "user": ('ruri.user =~ "^[a-z]+$" && user_agent !~ "kamailio"', "store", "dialog",
             lambda e: re.search("^[a-z]+$", e.get("ruri_user", "")) and "kamailio" not in e.get("user_agent", e.get("server", ""))),
    "calls": ('method == "INVITE"', "store", "dialog", lambda e: method_of(e) == "INVITE"),
    "port": ("dst.port > src.port", "drop", "message", lambda e: e["dst_port"] > e["src_port"]),
}


class Naive:
    """DESIGN's words: rules in order, the first match wins; dialog scope by the lowest rule of an initial request."""

    def __init__(self, names):
        self.names, self.records = names, {}

    def judge(self, e):
        initial = is_request(e) and not e.get("to_tag") and e["method"] not in ("ACK", "CANCEL")
        record = self.records.get(e.get("call_id"))
        tried = []
        for name in self.names:
            _, _, scope, meaning = RULES[name]
            matches = bool(meaning(e)) if scope == "message" or initial else record == name and method_of(e) not in ("OPTIONS", "REGISTER")
            tried.append((name, matches, "test" if scope == "message" or initial else "record"))
            if matches:
                break
        rule = tried[-1][0] if tried[-1][1] else None
        if rule and initial and RULES[rule][2] == "dialog" and method_of(e) not in ("OPTIONS", "REGISTER"):
            best = [n for n in (record, rule) if n]
            self.records[e["call_id"]] = min(best, key=self.names.index)
        return rule, tried


@release_only
def test_naive(world):
    """What is printed of recorded messages is what a naive evaluation of the rules gives, whatever their order."""
    seen, orders = {}, itertools.cycle(itertools.permutations(RULES))
    for path in SIP_FIXTURES:
        name = path.name.split(".")[0]
        wanted = expected(path.with_suffix("").with_suffix(".expected.jsonl"))
        for names in itertools.islice(orders, 0, 200, 130):  # far from each other
            h = world_of(world, [(n, *RULES[n][:3]) for n in names], default="drop")
            naive, hits = Naive(names), dict.fromkeys([*names, None], 0)
            got, summary = run_json(h, "-r", path, *(["--ports", PORTS[name]] if name in PORTS else []))
            check_equal(len(got), len(wanted), f"{path.name}: messages")
            for m, e in zip(got, wanted):
                rule, tried = naive.judge(e)
                what = f"{path.name} {names} message {e['n']} {e.get('call_id')}"
                check_equal(m["number"], e["n"], f"{what}: number")
                check_equal((m["src_ip"], m["src_port"], m["dst_ip"], m["dst_port"]), (e["src_ip"], e["src_port"], e["dst_ip"], e["dst_port"]), what)
                check_equal((m["method"], m.get("status")), (method_of(e), None if is_request(e) else str(e["status"])), what)
                check_equal([(r["rule"], r["matches"], r["by"]) for r in m["rules"]], tried, f"{what}: rules")
                check_equal((m["rule"], m["stored"]), (rule, rule is not None and RULES[rule][1] == "store"), f"{what}: decision")
                check_equal(m["action"], RULES[rule][1] if rule else "drop", f"{what}: action")
                if m["record"] == "rule":
                    check_equal(m["record_rule"], naive.records[e["call_id"]], f"{what}: record")
                hits[rule] += 1
                for r in m["rules"]:
                    seen[r["rule"], r["matches"], r["by"]] = seen.get((r["rule"], r["matches"], r["by"]), 0) + 1
            check_equal({r["rule"]: r["hits"] for r in summary["rules"]}, hits, f"{path.name}: hits")
            check_equal(summary["packets"], summary["carriers"] + summary["not_for_us"] + summary["incomplete"] + summary["held"], "packets")
            check_equal(summary["judged"], len(wanted), "judged")
    for n, (_, _, scope, _) in RULES.items():  # all of it happened
        for way in ("test", "record") if scope == "dialog" else ("test",):
            for matches in (True, False):
                check(seen.get((n, matches, way), 0) >= 5, f"{n} {matches} by {way}: {seen.get((n, matches, way), 0)} times")


def test_hep(world):
    """HEP in captures is judged like the rest: what is not SIP by its type, and by the record of the call it names."""
    rules = [("rtcp", 'type == "rtcp"', "drop", "message"), ("logs", "type == 'log'", "store", "message"),
             ("calls", 'method == "INVITE" && capture_id > 0', "store", "dialog")]
    h = world_of(world, rules, default="drop")
    kinds = {5: "rtcp", 100: "log", 1: "sip"}
    total = 0
    for path in sorted((FIXTURES / "hep").glob("*.pcap*")):
        lines = [e for e in expected(path.with_suffix("").with_suffix(".expected.jsonl")) if e["hep"]["proto_type"] in kinds]
        if "torture" in path.name:  # what its decoder made of these is no measure
            continue
        got, _ = run_json(h, "-r", path, "--hep-ports=9060")
        lines = [e for e in lines if "kind" in e or e["hep"]["proto_type"] != 1]
        check_equal([m["type"] for m in got], [kinds[e["hep"]["proto_type"]] for e in lines], f"{path.name}: types")
        for m in got:
            if m["type"] != "sip":
                check_equal(m["rule"], {"rtcp": "rtcp", "log": "logs"}[m["type"]], f"{path.name}: rule of {m['type']}")
        total += sum(m["type"] == "rtcp" for m in got)
    check(total > 0, "there was RTCP")
    at = now_us()
    h = world_of(world, [("trunk", 'method == "INVITE" && agent == "edge" && source == "port-7"', "store", "dialog")], default="drop")
    name = b"\x00\x00\x00\x13" + (10).to_bytes(2, "big") + b"edge"
    of_call = b"\x00\x00\x00\x11" + (8).to_bytes(2, "big") + b"c1"
    path = capture_of(world.folder / "h.pcap", [
        (at, hep3(b"{}", kind=5, extra=of_call), (9060, 9060)), (at, hep3(request(), extra=name), (9060, 9060)),
        (at, hep3(b"{}", kind=5, extra=of_call), (9060, 9060)), (at, hep3(b"x", kind=77), (9060, 9060)), (at, b"HEP3\x00\x07x", (9060, 9060)),
        (at, hep3(b"no sip"), (9060, 9060)), (at, request(call="c2"))])
    got, summary = run_json(h, "-r", path, "--hep-ports", "9060", "--source", "port-7")
    check_equal([(m["number"], m["type"], m["callid"], m["rule"], m["agent"]) for m in got],
                [(1, "rtcp", "c1", None, ""), (2, "sip", "c1", "trunk", "edge"), (3, "rtcp", "c1", "trunk", ""), (7, "sip", "c2", None, "")], "decisions")
    check_equal((summary["judged"], summary["not_sip"], summary["malformed"]), (4, 2, 1), "what was not judged")


# ---- what the manual says ----

U, S = (lambda *uris: [request(uri=u) for u in uris]), (lambda *codes: [reply(c) for c in codes])
METHODS = [request(method=m) for m in ("OPTIONS", "NOTIFY", "SUBSCRIBE")]
TRUNKS = {  # each condition: what matches, what does not
    r'ruri =~ "^sip:[^@]+@example\.com(:[0-9]+)?(;.*)?$"': (U("sip:bob@example.com", "sip:+49@example.com:5070;user=phone"),
                                                            U("sip:example.com", "sip:bob@example.comx", "sip:bob@a.example.com", "sip:bob@exampleXcom")),
    r'ruri =~ "^sip:.*@192\.0\.2\.10"': (U("sip:1234@192.0.2.10", "sip:1234@192.0.2.10:5062"), U("sip:1234@192.0.2.1", "sip:192.0.2.10")),
    r'ruri =~ "^sip:.*@10\.20\.(1[6-9]|2[0-9]|3[01])\.[0-9]+"': (U("sip:1@10.20.16.0", "sip:1@10.20.29.7:5061", "sip:1@10.20.31.255"),
                                                                 U("sip:1@10.20.15.1", "sip:1@10.20.32.1", "sip:10.20.16.1")),
    'ruri.host in 10.20.16.0/20': (U("sip:1@10.20.16.0", "sip:10.20.31.255:5061"), U("sip:1@10.20.15.255", "sip:1@10.20.32.0", "sip:1@b.example")),
    r'ruri =~ "@(10\.0\.0\.1|10\.0\.0\.2|sbc\.example\.com):506[01]"': (U("sip:1@10.0.0.1:5060", "sip:1@10.0.0.2:5061", "sip:1@sbc.example.com:5061"),
                                                                        U("sip:1@10.0.0.1", "sip:1@10.0.0.3:5060", "sip:1@10.0.0.1:5062")),
    'src.ip in {10.0.0.1, 10.0.0.2} && src.port in {5060, 5061}': ([], []),  # test_options has it
    'ruri =~ "^sip:[2-9][0-9]{6}@"': (U("sip:2000000@a", "sip:9999999@a"), U("sip:1234567@a", "sip:234567@a", "sip:23456789@a", "tel:2345678")),
    'ruri =~ "^sip:[0-9]{8}@"': (U("sip:00000000@a"), U("sip:1234567@a", "sip:123456789@a", "sip:1234567x@a")),
    'ruri =~ "^sip:8?[0-9]{7}@"': (U("sip:1234567@a", "sip:81234567@a", "sip:8123456@a"), U("sip:71234567@a", "sip:123456@a", "sip:812345678@a")),
    'from.user =~ "^6[0-9]{3}$"': ([request(user=u) for u in ("6000", "6999")], [request(user=u) for u in ("600", "60000", "5999", "x6000")]),
    'ruri =~ "^sip:(?!55)[0-9]{7}@"': (U("sip:5412345@a", "sip:4512345@a"), U("sip:5512345@a", "sip:551234@a")),
    'method =~ "^(OPTIONS|NOTIFY|SUBSCRIBE)$"': ([*METHODS, reply("200 OK", "OPTIONS")], [request(), request(method="XOPTIONS"), request(method="OPTIONSX")]),
    'status =~ "^(1[0-9][0-9]|[3-6][0-9][0-9])$"': (S("100 Trying", "183 x", "302 Moved", "486 Busy", "699 x"), [*S("200 OK", "299 x", "700 x"), request()]),
}


def test_trunks(world):
    """Each condition that the manual has for trunks, as it is written there, takes what it should and nothing else."""
    text = MANUAL.read_text().replace(r"\(dq", '"').replace(r"\e", "\\")
    part = re.search(r"What trunks and routes are told by:\n(.*?)\n\.PP\n", text, re.S)[1]
    found = [re.sub(r"^\.BR? ", "", line).strip() for line in part.splitlines() if re.match(r"\.BR? \"?'", line)]
    found = [re.match(r"\"?'(.*?)'?(?:\" \.)?$", line)[1] for line in found]
    check_equal(sorted(found), sorted(TRUNKS), "conditions of the manual")
    for when, (yes, no) in TRUNKS.items():
        h = world_of(world, [("r", when, "store", "message")], default="drop")
        if yes:
            got, _ = run_json(h, stdin=joined(*yes, *no))
            check_equal([m["stored"] for m in got], [True] * len(yes) + [False] * len(no), when)
    rules = [(f"r{i}", when, "store", "auto") for i, when in enumerate(TRUNKS)]
    done = world_of(world, rules).command("check")
    check_equal((done.returncode, done.stderr), (0, ""), "check of all of them")
    scopes = ["message" if "status" in when else "dialog" for when in TRUNKS]
    check_equal(done.stdout.splitlines()[:-1], [f"rule r{i}: scope {s}" for i, s in enumerate(scopes)], "scopes that check prints")


def test_scopes(world):
    """heptap check prints the scope of each rule: that of its fields, or the one it is given."""
    rules = [("a", "method == 'INVITE'", "store", "auto"), ("b", "is_reply", "store", "auto"), ("c", "body =~ 'x' && $ru =~ 'y'", "store", "auto"),
             ("d", "status >= 300", "store", "dialog"), ("e", "type == 'rtcp'", "drop", "auto"), ("f", "type == 'rtcp'", "drop", "message")]
    done = world_of(world, rules).command("check")
    check_equal(done.returncode, 0, done.stderr)
    check_equal(done.stdout.splitlines()[:-1], [f"rule {n}: scope {s}" for n, s in zip("abcdef", ["dialog", "message", "message", "dialog", "dialog", "message"])],
                "scopes")


# ---- what is shown ----

def test_shown(world):
    """One block for each message: what it is, the rules that were tried with the test that settled them, and what becomes of it."""
    rules = [("noise", 'method == "OPTIONS" || (is_reply && status >= 400)', "drop", "auto"),
             ("trunk", r'ruri =~ "^sip:\d+@" && src.ip in 10.0.0.0/8 && user_agent != "bad"', "store", "auto"),
             ("same", "from.user == to.user", "store", "dialog"), ("rest", "!(is_request)", "limit 1/s", "message")]
    h = world_of(world, rules, default="sample 0%")
    out, err = run(h, "--src", "10.0.0.1:5061", "--dst", "[2001:db8::1]", "--transport=tcp",
                   stdin=joined(request("OPTIONS", call="o"), request(uri="sip:12@b", call="c1"), reply("200 OK"), reply("200 OK", call="c2"),
                                request(uri="sip:x@b", call="c3")))
    blocks = [re.sub(r"T\d\d:\d\d:\d\d\.\d{6}Z", "T", re.sub(r"\d{4}-\d\d-\d\d", "D", b)) for b in re.split(r"^(?=\d+  )", out.decode(), flags=re.M)[1:]]
    head = "DT  tcp 10.0.0.1:5061 > [2001:db8::1]:5060  "
    no_record = "no initial request, and there is no record of its Call-ID"
    check_equal(err, "", "complaints")
    check_equal(blocks[0], f'1  {head}OPTIONS  "o"\n'
                '   yes  noise (drop, scope message): method == "OPTIONS" holds: method is "OPTIONS"\n'
                "   dropped by noise (drop)\n", "OPTIONS")
    check_equal(blocks[1], f'2  {head}INVITE  "c1"\n'
                "   no   noise (drop, scope message): is_reply does not hold\n"
                '   yes  trunk (store, scope dialog): user_agent != "bad" holds: user_agent is empty\n'
                "   stored by trunk (store); a record is made, it names trunk\n", "INVITE")
    check_equal(blocks[2], f'3  {head}200 INVITE  "c1"\n'
                '   no   noise (drop, scope message): status >= 400 does not hold: status is "200"\n'
                "   yes  trunk (store, scope dialog): no initial request; the record of its Call-ID names trunk\n"
                "   stored by trunk (store)\n", "reply")
    check_equal(blocks[3], f'4  {head}200 INVITE  "c2"\n'
                '   no   noise (drop, scope message): status >= 400 does not hold: status is "200"\n'
                f"   no   trunk (store, scope dialog): {no_record}\n   no   same (store, scope dialog): {no_record}\n"
                "   yes  rest (limit 1/s, scope message): is_request does not hold\n"
                "   stored by rest (limit 1/s): within the limit\n", "reply without a record")
    check_equal(blocks[4].split("messages:")[0], f'5  {head}INVITE  "c3"\n'
                "   no   noise (drop, scope message): is_reply does not hold\n"
                r'   no   trunk (store, scope dialog): ruri =~ "^sip:\d+@" does not hold: ruri is "sip:x@b"' "\n"
                '   no   same (store, scope dialog): from.user == to.user does not hold: from.user is "alice", to.user is "bob"\n'
                "   no   rest (limit 1/s, scope message): is_request holds\n"
                "   dropped by default_action (sample 0%): it is not in the sample; a record is made, it names no rule\n", "INVITE of nobody")
    check("messages: 5 = 3 stored + 2 dropped + 0 not SIP + 0 malformed + 0 too long\n" in blocks[4], blocks[4])
    rows = re.findall(r"^ +(\d+) +(\d+) +(\d+)  (\w+)$", blocks[4], re.M)
    check_equal(rows, [("1", "0", "1", "noise"), ("2", "2", "0", "trunk"), ("0", "0", "0", "same"), ("1", "1", "0", "rest"), ("1", "0", "1", "default_action")], "sums")
    out, _ = run(h, "--tests", "--src", "10.0.0.1", stdin=request(uri="sip:12@b"))
    check(b'          method == "OPTIONS" does not hold: method is "INVITE"\n          is_reply does not hold\n' in out, f"all tests: {out.decode()}")
    got, _ = run_json(h, "--tests", "--src", "10.0.0.1", stdin=request(uri="sip:12@b"))
    trunk = got[0]["rules"][1]
    check_equal([t["test"] for t in trunk["tests"]], [r'ruri =~ "^sip:\d+@"', "src.ip in 10.0.0.0/8", 'user_agent != "bad"'], "tests of JSON")
    check_equal(trunk["decided_by"], {"test": 'user_agent != "bad"', "holds": True, "field": "user_agent", "value": ""}, "what decided")


def test_given_up(world):
    """An expression that reaches its limit keeps the message, whatever the rules say, and that is shown and counted."""
    h = world_of(world, [("slow", "body =~ '^(a+)+$'", "drop", "message"), ("table", "method == 'BYE'", "store", "message")], default="drop")
    h.file.write_text(h.file.read_text().replace("name: 'table',", "name: 'table', table: other,"))
    messages = joined(request(body="a" * 2000 + "b"), request(body="a"), request(method="BYE", call="c2"))
    out, _ = run(h, stdin=messages)
    check(re.search(rb"^   \?    slow \(drop, scope message\): body =~ '\^\(a\+\)\+\$' was given up: body is \"a+\" and 1882 octets more\n"
                    rb"   stored: an expression reached its limit\n2 ", out, re.M), out.decode())
    check(b"   stored by table (store); in table other\n" in out and b"stored since an expression reached its limit: 1\n" in out, out.decode())
    got, summary = run_json(h, stdin=messages)
    check_equal([(m["rule"], m["stored"], m["unsure"], m["table"]) for m in got],
                [(None, True, True, ""), ("slow", False, False, ""), ("table", True, False, "other")], "decisions")
    check_equal((got[0]["rules"][0]["matches"], [summary[k] for k in ("judged", "stored", "unsure")]), (None, [3, 2, 1]), "sums")


def test_hostile_text(world):
    """Whatever is in a message, a terminal gets no control character of it, and JSON stays JSON."""
    evil = b"\x1b]0;x\x07\x00\x7f\xc2\x9b31m\xe2\x80\xae\xff\xc3\"\\\t" + "ü".encode()
    h = world_of(world, [("ua", 'user_agent == "x"', "store", "dialog"), ("header", 'header("X-E") =~ "never" || body == "y"', "store", "message")])
    message = request(call="id").replace(b"Call-ID: id", b"Call-ID: " + evil).replace(
        b"\r\n\r\n", b"\r\nUser-Agent: " + evil + b"\r\nX-E: " + b"e" * 9000 + b"\r\n\r\n" + evil * 300)
    out, _ = run(h, stdin=message)
    text = out.decode()  # it is UTF-8
    check_equal(re.sub(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", "", text.replace("\n", "")), "", "control characters")
    check(r"\x1b]0;x\x07\x00\x7f\xc2\x9b31m\xe2\x80\xae\xff\xc3" in text and r"\\\tü" in text, text)
    check(max(map(len, text.splitlines())) < 1500, "values are cut")
    got, _ = run_json(h, stdin=message)
    check_equal(got[0]["callid"], evil.decode(errors="replace").strip() if b"\xff\xc3" not in evil else got[0]["callid"], "Call-ID")
    check("\x1b]0;x\x07\x00\x7f\x9b31m\u202e\ufffd\ufffd\"\\\tü" in got[0]["callid"], repr(got[0]["callid"]))
    value = got[0]["rules"][1]["decided_by"]
    check(value["field"] == "body" and value["value_octets"] == 300 * len(evil) and len(value["value"]) <= 4096, f"cut value: {value['field']}")


def test_stdin(world):
    """Messages on standard input, with a line of --- between them; what is none, or too long, is told, and the others are judged."""
    h = world_of(world, [("a", 'callid =~ "^c"', "store", "message")], default="drop")
    lf = request(call="c9").replace(b"\r\n", b"\n")
    got, summary = run_json(h, stdin=b"\r\n\n" + lf + b"---\n---\r\n\n" + request(call="d", body="--\n----\n --- \n---x\n") + b"\r\n---")
    check_equal([(m["number"], m["callid"], m["stored"]) for m in got], [(1, "c9", True), (2, "d", False)], "messages")
    long = request(call="c5", body="x" * 65536)
    out, err = run(h, "--json", stdin=joined(long, b"nothing", request(call="c2")), code=1)
    check("message 1 has 65" in err and "message 2 does not begin as SIP does" in err, err)
    lines = [json.loads(line) for line in out.splitlines()]
    check_equal([m["number"] for m in lines[:-1]], [3], "what was judged")
    check_equal([lines[-1][k] for k in ("judged", "too_long", "not_sip")], [1, 1, 1], "sums")
    most = request(call="c5")
    most += b"x" * (65535 - len(most))
    check_equal(len(run_json(h, stdin=most)[0]), 1, "the longest message")
    _, err = run(h, stdin=request() + request())
    check("a line of --- separates" in err, f"hint: {err}")
    _, err = run(h, stdin=b"", code=1)
    check("no message came" in err, err)
    _, err = run(h, stdin=(FIXTURES / "sip" / "direct-udp.pcap").read_bytes(), code=1)
    check("-r -" in err, f"hint: {err}")


def test_options(world):
    """Options of messages reach the rules; wrong words are told; exit codes."""
    rules = [("pair", "src.ip in {10.0.0.1, 10.0.0.2} && src.port in {5060, 5061}", "store", "message"), ("v6", "dst.ip == 2001:db8::9 && dst.port == 7", "store", "message"),
             ("tls", "transport == 'tls'", "store", "message"), ("edge", "agent == 'edge 1'", "store", "message"), ("there", "source == 'agents'", "drop", "message"),
             ("here", "source == 'mirror'", "drop", "message")]
    h = world_of(world, rules)
    for words, rule in ((["--src", "10.0.0.1"], "pair"), (["--src=10.0.0.2:5061"], "pair"), (["--src", "10.0.0.2:5062"], "there"), (["--src", "10.0.0.3"], "there"),
                        (["--dst", "[2001:db8::9]:7"], "v6"), (["--transport", "tls"], "tls"), (["--agent", "edge 1"], "edge"), ([], "there"),
                        (["--source", "mirror"], "here"), (["--source", "x"], None)):
        check_equal([m["rule"] for m in run_json(h, *words, stdin=request())[0]], [rule], f"{words}")
    path = FIXTURES / "sip" / "direct-udp.pcap"
    for words in (["x.pcap"], ["-r"], ["--src", "10.0.0.1:0"], ["--src", "10.0.0.1.2"], ["--dst", "[::1"], ["--transport", "dccp"], ["--what"], ["--ports", "5060"],
                  ["-r", path, "--src", "10.0.0.1"], ["-r", path, "--agent", "a"], ["--summary", "--tests"], ["--only", "nobody"], ["-r", path, "--ports", "0"],
                  ["-r", path, "--bpf", "nonsense of"]):
        out, err = run(h, *words, code=2)
        check(out == b"" and err.startswith("heptap: "), f"{words}: {out} {err}")
    both = joined(request(call="1"), request(method="BYE", call="2"))
    h = world_of(world, [("bye", "method == 'BYE'", "drop", "message"), ("never", "method == 'X'", "drop", "message")])
    check_equal([m["callid"] for m in run_json(h, "--only", "bye", stdin=both)[0]], ["2"], "--only")
    check_equal([m["callid"] for m in run_json(h, "--only", "default_action", stdin=both)[0]], ["1"], "--only default_action")
    got, summary = run_json(h, "--only", "never", stdin=both, code=1)
    check_equal((got, summary["judged"]), ([], 2), "--only never")
    out, _ = run(h, "--summary", stdin=both)
    check(out.startswith(b"messages: 2 = 1 stored + 1 dropped"), out)
    check_equal(len(run_json(h, "--summary", stdin=both)[0]), 0, "messages of a summary")
    h.file.write_text("filters: [ { when: 'x' } ]\n")
    check("1:21" in run(h, stdin=both, code=1)[1], "wrong configuration")


def test_captures(world):
    """From a pipe, cut off, of other ports, with a filter: as import does it."""
    h = world_of(world, [("all", "method == 'OPTIONS'", "store", "message")], default="drop")
    at = now_us()
    path = capture_of(world.folder / "a.pcap", [(at + i, sip(i), (5060 + i % 2 * 100,) * 2) for i in range(20)])
    data = path.read_bytes()
    check_equal(len(run_json(h, "-r", "-", stdin=data)[0]), 10, "from a pipe")
    check_equal(len(run_json(h, "-r", path, "--ports=5160")[0]), 10, "of another port")
    got, summary = run_json(h, "-r", path, "--bpf", "udp port 5160 or udp port 5060")
    check_equal((len(got), summary["carriers"]), (20, 20), "with a filter")
    check_equal([m["time"][-8:-1] for m in got], [f".{(at + i) % 1_000_000:06}" for i in range(20)], "times")
    path.write_bytes(data[:-7])
    out, err = run(h, "-r", path, "--json", "--ports", "5060,5160", code=1)
    check_equal(len(out.splitlines()), 20, "messages of a damaged file, and the sums")
    check("packet 20: ends within a packet" in err and "what is before it is judged" in err, err)
    path.write_bytes(b"no capture at all, but long enough for a header")
    check_equal(run(h, "-r", path, code=1)[0], b"", "of no capture")
    check("No such file" in run(h, "-r", world.folder / "none", code=1)[1], "no file")


def test_actions(world):
    """A limit goes by the seconds of the packets; a sample takes whole calls, and the same ones each time."""
    begin = now_us() // 1_000_000 * 1_000_000 - 10_000_000
    h = world_of(world, [("some", "method == 'INVITE'", "sample 30%", "message")], default="limit 2/s")
    times = [begin + s * 1_000_000 + i * 1000 for s in (0, 1, 5) for i in range(5)]
    got, summary = run_json(h, "-r", capture_of(world.folder / "l.pcap", [(t, sip(t)) for t in times]))
    check_equal([m["stored"] for m in got], [True, True, False, False, False] * 3, "limit")
    check_equal(summary["rules"][-1], {"rule": None, "hits": 15, "stored": 6}, "sums of a limit")
    calls = [request(call=f"s{i}") for i in range(2000)]
    path = capture_of(world.folder / "s.pcap", [(begin + i, m) for i, m in enumerate(calls + calls)])
    first = [m["stored"] for m in run_json(h, "-r", path)[0]]
    check_equal(first[:2000], first[2000:], "calls of a sample")
    check(480 <= sum(first[:2000]) <= 720, f"a sample of 30 % has {sum(first[:2000])} of 2000")
    check_equal([m["stored"] for m in run_json(h, stdin=joined(*calls[:100]))[0]], first[:100], "the same from standard input")


def test_records(world):
    """Dialog scope in the order of the file: the lowest rule of all initial requests, replies before them, records that grow old, no room."""
    rules = [("first", "ruri.user == 'one'", "store", "dialog"), ("second", "ruri.user == 'two'", "drop", "dialog")]
    h = world_of(world, rules, default="drop", more="memory: 64M\n")
    one, two = (lambda c: request(uri="sip:one@a", call=c)), (lambda c: request(uri="sip:two@a", call=c))
    bye = lambda c: request("BYE", call=c, to_tag="2")
    at, minute = now_us() - 90_000_000_000, 60_000_000
    messages = [(at, reply("200 OK", call="a")), (at, two("a")), (at, reply("100 x", call="a")), (at, one("a")), (at, bye("a")), (at, two("a")), (at, bye("a")),
                (at, request("ACK", "sip:one@a", call="b")), (at, request("CANCEL", "sip:one@a", call="b")), (at, one("b")),
                (at, request("OPTIONS", call="b", to_tag="2")), (at, request("OPTIONS", "sip:one@a", call="b")),
                # a has been over for more than a minute, b still rings
                (at + 2 * minute, bye("a")), (at + 2 * minute, request("INFO", call="b", to_tag="2")),
                (at + 11 * minute, bye("b")), (at + 13 * minute, bye("b"))]
    got, _ = run_json(h, "-r", capture_of(world.folder / "r.pcap", messages))
    check_equal([(m["callid"], m["rule"], m["record_before"], m["record_rule"]) for m in got],
                [("a", None, "none", None), ("a", "second", "none", "second"), ("a", "second", "rule", "second"), ("a", "first", "rule", "first"),
                 ("a", "first", "rule", "first"), ("a", "second", "rule", "first"), ("a", "first", "rule", "first"),
                 ("b", None, "none", None), ("b", None, "none", None), ("b", "first", "none", "first"),
                 ("b", "first", "rule", "first"), ("b", "first", "never", None),
                 ("a", None, "none", None), ("b", "first", "rule", "first"), ("b", "first", "rule", "first"), ("b", None, "none", None)], "records")
    many = 40_000
    path = capture_of(world.folder / "m.pcap", [(at + i, one(f"m{i}")) for i in range(many)] + [(at + many, bye(f"m{i}")) for i in range(many)])
    out, err = run(h, "-r", path, "--summary", "--json")
    summary = json.loads(out)
    lost = summary["records_lost"]
    check(0 < lost < many and f"{lost} were given up" in err, f"{lost} records were given up; {err}")
    check_equal(summary["rules"][0]["hits"], 2 * many - lost, "what followed the records that were left")


def test_interrupt(world):
    """Ctrl-C: what was judged is told, with the sums, and that it is not all."""
    h = world_of(world, [("all", "method == 'OPTIONS'", "store", "message")])
    p = subprocess.Popen([h.binary, "match", "-c", str(h.file), "-r", "-", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdin.write(pcap_head() + pcap_record(now_us(), frame(sip(1))))
    p.stdin.flush()
    first = json.loads(p.stdout.readline())  # it does not wait for more
    check_equal(first["number"], 1, "first message")
    p.send_signal(signal.SIGINT)
    wait_until(lambda: p.poll() is not None, 20, "it ends")
    check_equal((p.returncode, json.loads(p.stdout.read())["judged"]), (3, 1), "end")
    check("interrupted" in p.stderr.read().decode(), "it says so")
    p.stdin.close()


@release_only
def test_as_import(world):
    """What match says is stored is what import stores of the same file: each message, by several orders of the rules."""
    world.database()
    orders = itertools.cycle(itertools.permutations(RULES))
    for path in SIP_FIXTURES:
        name = path.name.split(".")[0]
        ports = ["--ports", PORTS[name]] if name in PORTS else []
        for names in itertools.islice(orders, 0, 200, 130):
            rules = "".join(f"  - {{ name: {n}, when: {yaml(RULES[n][0])}, action: {RULES[n][1]}, scope: {RULES[n][2]} }}\n" for n in names)
            h = world.heptap(start=False, top=f"filters:\n{rules}default_action: sample 50%\nduplicates: {{ window: 0 }}\n")
            world.db.query("TRUNCATE sip_capture")
            done = h.command("import", str(path), *ports)
            check_equal(done.returncode, 0, done.stderr)
            got = sorted((row[0].decode(), row[1].decode()) for row in world.db.query("SELECT micro_ts, method FROM sip_capture"))
            stored = [m for m in run_json(h, "-r", path, *ports)[0] if m["stored"]]
            want = sorted((str(time_us(m["time"])), m.get("status") or m["method"]) for m in stored)
            check_equal(got, want, f"{path.name} {names}: what is stored")


def time_us(text):
    when = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    return int(when.timestamp()) * 1_000_000 + when.microsecond
