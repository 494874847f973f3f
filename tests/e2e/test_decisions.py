"""Which messages are stored, and once: rules that choose calls, reloads in the middle of calls and a hundred in a second, copies from several
places, tables that are too small. Each message carries its number as User-Agent, so that it is seen which of them became rows."""
import collections
import pathlib
import re
import socket
import struct
import subprocess
import threading
import time
import urllib.request

from lib import FIXTURES, check, check_equal, chunk, expected, hep3, hep_legacy, release_only, wait_until
from test_corpus import capture as hep_capture
from test_mirror import on_a_pair, replay

SENDERS = 16  # sockets: so that two receive threads have some each
PORTS = "[5060, 5061, 5062, 5090]"


# ---- rules and messages ----

def rule(name, when, action, **more):
    more = "".join(f", {k}: {v}" for k, v in more.items())
    return f"  - {{ name: {name}, when: '{when}', action: {action}{more} }}\n"


def rules(*entries, default="drop", top=""):
    return top + ("filters:\n" + "".join(entries) if entries else "filters: []\n") + f"default_action: {default}\n"


class Sent:
    """Messages on their way, and what is to become of each: by which rule, and whether it is stored."""

    def __init__(self):
        self.count, self.hits, self.filtered, self.stored = 0, collections.Counter(), collections.Counter(), set()

    def message(self, start, callid, method, rule, is_stored, totag=True, more="", body="", **hep):
        number = self.count
        self.count += 1
        self.hits[rule] += 1
        if is_stored:
            self.stored.add(number)
        else:
            self.filtered[rule] += 1
        return hep3((f"{start}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{number}\r\nFrom: <sip:a@a.example>;tag=1\r\n"
                     f"To: <sip:b@b.example>{';tag=2' if totag else ''}\r\nCall-ID: {callid}\r\nCSeq: 1 {method}\r\n"
                     f"User-Agent: m{number}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}").encode(), **hep)

    def request(self, method, user, callid, rule, is_stored, totag=True, **more):
        return self.message(f"{method} sip:{user}@b.example SIP/2.0", callid, method, rule, is_stored, totag, **more)

    def reply(self, status, method, callid, rule, is_stored, **more):
        return self.message(f"SIP/2.0 {status} X", callid, method, rule, is_stored, status > 100, **more)

    def check(self, h, db):
        """At rest all is as it was said: rows, what each rule decided and kept out, the accounting lines."""
        m = h.wait_at_rest(self.count)
        m.check_exact()
        check_equal(m.sum("heptap_received_total"), self.count, "received")
        check_equal(m.sum("heptap_kernel_dropped_total"), 0, "lost by the kernel")
        check_equal(m.sum("heptap_duplicate_total"), 0, "duplicates")
        check_equal(m.sum("heptap_accepted_total"), len(self.stored), "accepted")
        check_equal(by_rule(m, "heptap_rule_hits_total"), self.hits, "hits by rule")
        check_equal(by_rule(m, "heptap_filtered_total"), self.filtered, "filtered by rule")
        check_once(db, self.stored)
        return m


def by_rule(m, name):
    """Without what is 0."""
    found = collections.Counter()
    for series, value in m.values.items():
        if series.startswith(name + "{") and value:
            found[re.search('rule="(.*?)"', series).group(1)] += int(value)
    return found


def check_once(db, numbers):
    rows = [int(r[0][1:]) for r in db.query("SELECT user_agent FROM sip_capture")]
    twice = [n for n, times in collections.Counter(rows).items() if times > 1]
    check(not twice, f"{len(twice)} stored more than once: {sorted(twice)[:10]}")
    missing, more = sorted(set(numbers) - set(rows)), sorted(set(rows) - set(numbers))
    check(not missing and not more, f"missing {len(missing)}: {missing[:10]}, stored without reason {len(more)}: {more[:10]}")


class Senders:
    """Sockets of their own, between which the kernel divides the receive threads. What one sends goes to one thread, in its order."""

    def __init__(self, h, count=SENDERS):
        self.h, self.sockets, self.sent = h, [], 0
        for _ in range(count):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.connect(("127.0.0.1", h.port))
            self.sockets.append(s)

    def send(self, packets, at=None):
        """All of them by one socket, or each by another one."""
        for i, packet in enumerate(packets):
            self.sockets[i % len(self.sockets) if at is None else at].send(packet)
            self.sent += 1
            if self.sent % 50 == 0:
                wait_until(lambda: self.h.metrics().sum("heptap_received_total") >= self.sent - 200, 60, "the server keeps up")

    def wait(self):
        wait_until(lambda: self.h.metrics().sum("heptap_received_total") == self.sent, 60, "received")

    def end(self):
        for s in self.sockets:
            s.close()


# ---- scope dialog ----

TRUNK = (rule("noise", "status == 100", "drop"), rule("trunk", 'ruri.user =~ "^8[0-9]+$"', "store"),
         rule("local", 'ruri.user =~ "^7[0-9]+$"', "drop"), rule("pager", 'is_request && method == "MESSAGE"', "store"))


def call(sent, callid, rule, is_stored):
    """What follows the INVITEs of a call."""
    what = callid, rule, is_stored
    return [sent.reply(100, "INVITE", callid, "noise", False), sent.reply(180, "INVITE", *what), sent.reply(200, "INVITE", *what),
            sent.request("ACK", "c", *what), sent.request("INVITE", "711", *what), sent.reply(200, "INVITE", *what),
            sent.request("OPTIONS", "c", *what), sent.reply(200, "OPTIONS", *what), sent.request("INFO", "812", *what),
            sent.request("BYE", "c", *what), sent.reply(200, "BYE", *what)]


def early(sent, callid):
    """What comes before the INVITE: the record is not there yet."""
    return [sent.request("BYE", "c", callid, "default_action", False), sent.reply(200, "BYE", callid, "default_action", False),
            sent.reply(180, "INVITE", callid, "default_action", False)]


def choose_calls(world, threads):
    """A rule for trunk calls while the rest is dropped. Requests without a To tag come by all sockets, and when they are there the rest does."""
    db = world.database()
    h = world.heptap(top=rules(*TRUNK, top=f"hep_threads: {threads}\n"))
    senders, sent, first, rest = Senders(h), Sent(), [], []
    for n in range(60):
        trunk, local, other, two, back, late = (f"{kind}-{n}@x" for kind in ("trunk", "local", "other", "two", "back", "late"))
        senders.send(early(sent, late))
        first += [sent.request("INVITE", "81", trunk, "trunk", True, False), sent.request("INVITE", "71", local, "local", False, False),
                  sent.request("INVITE", "61", other, "default_action", False, False), sent.request("INVITE", "84", late, "trunk", True, False),
                  sent.request("OPTIONS", "85", f"ping-{n}@x", "trunk", True, False),
                  sent.request("REGISTER", "86", f"reg-{n}@x", "trunk", True, False), sent.request("MESSAGE", "61", f"page-{n}@x", "pager", True, False)]
        hops = [sent.request("INVITE", "71", two, "local", False, False), sent.request("INVITE", "82", two, "trunk", True, False),
                sent.request("INVITE", "83", back, "trunk", True, False), sent.request("INVITE", "72", back, "local", False, False)]
        first += hops if n % 2 else hops[::-1]
        for callid in (trunk, two, back, late):
            rest += call(sent, callid, "trunk", True)
        rest += call(sent, local, "local", False) + call(sent, other, "default_action", False)
        rest += [sent.reply(status, method, f"{kind}-{n}@x", "default_action", False)
                 for status, method, kind in ((200, "OPTIONS", "ping"), (401, "REGISTER", "reg"), (200, "MESSAGE", "page"))]
    senders.wait()
    senders.send(first)
    senders.wait()
    senders.send(rest)
    m = sent.check(h, db)
    check_equal(m.sum("heptap_table_entries", table="calls"), 60 * 6, "records: of INVITEs only")
    senders.end()
    check_equal(h.stop(), 0, "exit code")


def test_calls_are_chosen(world):
    """Every message of the chosen calls and none of the others, whichever hop comes first."""
    choose_calls(world, 1)


def test_calls_are_chosen_by_two_threads(world):
    """The same where each message of a call may be another thread's."""
    choose_calls(world, 2)


def test_sample_keeps_whole_calls(world):
    """Two servers keep the same calls, each with all its messages, and about as many as was asked for."""
    db = world.database()
    top = rules(rule("some", 'method == "INVITE"', "sample 30%"))
    servers = [world.heptap("one", top=top), world.heptap("two", top="node_id: 2\n" + top)]
    for i, h in enumerate(servers):
        senders, sent = Senders(h), Sent()
        for n in range(300):
            what = f"sampled-{n}@x", "some", True
            senders.send([sent.request("INVITE", "81", *what, totag=False, capture_id=i), sent.reply(180, "INVITE", *what, capture_id=i),
                          sent.reply(200, "INVITE", *what, capture_id=i), sent.request("BYE", "c", *what, capture_id=i)], 0)
        senders.end()
        m = h.wait_at_rest(sent.count)
        m.check_exact()
        check_equal(by_rule(m, "heptap_rule_hits_total"), {"some": 1200}, "hits")
        check_equal(m.sum("heptap_filtered_total", rule="some") + m.sum("heptap_accepted_total"), 1200, "kept out and accepted")
    whole = "SELECT callid, COUNT(*) AS n FROM sip_capture WHERE node = 'node1:{}' GROUP BY callid HAVING n = 4"
    kept = [{r[0] for r in db.query(whole.format(i))} for i in (0, 1)]
    check_equal(kept[0], kept[1], "calls of both servers")
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture"), 8 * len(kept[0]), "no call is there in part")
    check(60 < len(kept[0]) < 120, f"{len(kept[0])} of 300 calls for 30 %")


def test_limit_is_of_a_second(world):
    """No more than is allowed in each second that passed, no fewer than in one; the rest is counted."""
    db = world.database()
    h = world.heptap(top=rules(rule("few", 'method == "OPTIONS"', "limit 7/s"), default="store", top="hep_threads: 2\n"))
    senders, sent = Senders(h), Sent()
    begun = time.monotonic()
    senders.send([sent.request("OPTIONS", "x", f"o{n}", "few", True, False) for n in range(500)])
    senders.wait()
    seconds = int(time.monotonic() - begun) + 2
    senders.send([sent.request("INVITE", "x", f"i{n}", "default_action", True, False) for n in range(20)])
    m = h.wait_at_rest(sent.count)
    m.check_exact()
    options = db.number("SELECT COUNT(*) FROM sip_capture WHERE method = 'OPTIONS'")
    check(7 <= options <= 7 * seconds, f"{options} in {seconds} s")
    check_equal(by_rule(m, "heptap_filtered_total"), {"few": 500 - options}, "kept out")
    check_equal(by_rule(m, "heptap_rule_hits_total"), {"few": 500, "default_action": 20}, "hits")
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture WHERE method = 'INVITE'"), 20, "others are not limited")
    senders.end()


# ---- reload in mid-call ----

def reload(h, top):
    h.write(top=top)
    done = h.command("reload")
    check_equal((done.returncode, done.stdout), (0, "reloaded\n"), f"reload: {done.stderr}")


STORE_8, DROP_8 = rule("eights", 'ruri.user =~ "^8"', "store"), rule("eights", 'ruri.user =~ "^8"', "drop")
AFTER = {  # what becomes of the rules, and which rule then decides about a new call to 8, and how
    "the rule is gone": (rules(), "default_action", False),
    "it has another name": (rules(rule("renamed", 'ruri.user =~ "^8"', "store")), "renamed", True),
    "it has moved": (rules(rule("sevens", 'ruri.user =~ "^7"', "store"), rule("nines", 'ruri.user =~ "^9"', "drop"), STORE_8), "eights", True),
    "it drops now": (rules(DROP_8), "eights", False),
    "another one stands before it": (rules(rule("all", 'from.user == "a"', "drop"), STORE_8), "all", False),
    "the default stores now": (rules(DROP_8, default="store"), "eights", False),
}


def mid_call(world, threads):
    """For each change of the rules: calls that began before it go on as they did, those that begin behind it go by it. One server, so that
    the counters go on as well."""
    db = world.database()
    before = rules(STORE_8, top=f"hep_threads: {threads}\n")
    h = world.heptap(top=before)
    senders, sent = Senders(h), Sent()
    for i, (what, (after, new_rule, is_new_stored)) in enumerate(AFTER.items()):
        kept, dropped, later = (f"{kind}-{i}@x" for kind in ("kept", "dropped", "later"))
        senders.send([sent.request("INVITE", "81", kept, "eights", True, False), sent.request("INVITE", "71", dropped, "default_action", False, False)])
        senders.wait()
        senders.send([sent.reply(180, "INVITE", kept, "eights", True), sent.reply(180, "INVITE", dropped, "default_action", False)])
        senders.wait()
        reload(h, f"hep_threads: {threads}\n" + after)
        senders.send([sent.request("INVITE", "81", later, new_rule, is_new_stored, False)])
        senders.send([sent.request("INVITE", "71", kept, "eights", True, False)])  # a second hop
        senders.wait()
        senders.send([m for callid, name, is_stored in ((kept, "eights", True), (dropped, "default_action", False), (later, new_rule, is_new_stored))
                      for m in (sent.reply(200, "INVITE", callid, name, is_stored), sent.request("BYE", "c", callid, name, is_stored))])
        senders.wait()
        try:
            sent.check(h, db)
        except Exception as error:
            raise type(error)(f"{what}: {error}") from error
        reload(h, before)
        senders.send([sent.reply(200, "BYE", kept, "eights", True), sent.reply(200, "BYE", later, new_rule, is_new_stored)])
        senders.wait()
    sent.check(h, db)
    senders.end()
    check_equal(h.stop(), 0, "exit code")


def test_reload_in_mid_call(world):
    """Calls keep their verdict, whatever becomes of the rule that it is of."""
    mid_call(world, 1)


def test_reload_in_mid_call_with_two_threads(world):
    """The same where each message may be another thread's."""
    mid_call(world, 2)


def test_reload_and_subscriptions(world):
    """What no INVITE began is judged anew: until the next request without a To tag no rule of scope dialog matches it."""
    db = world.database()
    everything = rules(rule("all", 'from.user == "a"', "store"))
    h = world.heptap(top=everything)
    senders, sent = Senders(h, 1), Sent()
    senders.send([sent.request("SUBSCRIBE", "s", "s@x", "all", True, False), sent.request("NOTIFY", "s", "s@x", "all", True),
                  sent.reply(200, "NOTIFY", "s@x", "all", True)])
    senders.wait()
    reload(h, everything)
    senders.send([sent.request("NOTIFY", "s", "s@x", "default_action", False), sent.request("SUBSCRIBE", "s", "s@x", "all", True, False),
                  sent.request("NOTIFY", "s", "s@x", "all", True)])
    senders.wait()
    reload(h, rules(rule("none", 'from.user == "a"', "drop"), default="store"))
    senders.send([sent.request("NOTIFY", "s", "s@x", "default_action", True), sent.request("SUBSCRIBE", "s", "s@x", "none", False, False),
                  sent.request("NOTIFY", "s", "s@x", "none", False)])
    sent.check(h, db)
    senders.end()


def test_wrong_rules_change_nothing(world):
    """A file that cannot be read, a condition that cannot be compiled, two rules of one name: who asks is told where, and all goes on."""
    db = world.database()
    good = rules(STORE_8)
    h = world.heptap(top=good)
    senders, sent = Senders(h, 1), Sent()
    senders.send([sent.request("INVITE", "81", "a@x", "eights", True, False)])
    senders.wait()
    wrong = {
        "unknown": (rules(STORE_8, rule("two", 'ruri.usr == "1"', "drop")), r":5:\d+: filters\[\]\.when: expected a field, ! or \(, not ruri\.usr"),
        "bracket": (rules(rule("one", 'ruri =~ "(" && method == "INVITE"', "drop")), r":4:\d+: filters\[\]\.when: "),
        "action": (rules(rule("one", "is_reply", "dropp")), r":4:\d+: filters\[\]\.action: expected store, drop, sample N% or limit N/s"),
        "one name": (rules(STORE_8, DROP_8), r":5:\d+: filters\[\]\.name: 'eights' is also the name of the rule in line 4"),
        "no YAML": ("filters: [\n", r":\d+:\d+: "),
    }
    for what, (text, says) in wrong.items():
        h.write(top=text)
        done = subprocess.run(["curl", "-s", "-X", "PUT", f"http://127.0.0.1:{h.http}/api/reload"], capture_output=True, text=True)
        check(re.search(re.escape(str(h.file)) + says, done.stdout), f"{what}: the server says where: {done.stdout!r}")
        done = h.command("reload")
        check(done.returncode != 0 and re.search(says, done.stderr), f"{what}: the command says where: {done.stderr!r}")
        n = sent.count
        senders.send([sent.request("INVITE", "81", f"b{n}@x", "eights", True, False),
                      sent.request("INVITE", "71", f"c{n}@x", "default_action", False, False), sent.reply(180, "INVITE", "a@x", "eights", True)])
        senders.wait()
    sent.check(h, db)
    senders.end()


# ---- a hundred reloads in a second ----

def side(name, number, threads):
    """Rules and names of headers that belong together, of which the sides have different numbers: of the messages with this number what is
    stored has this side's texts."""
    legs = "X-Leg-A" if name == "A" else "X-Nobody, X-Has, X-Leg-B"
    return rules(rule("shared", f'header("X-Side") == "{number}"', "store"),
                 top=f"hep_threads: {threads}\nlegs: [{legs}]\ncustom_fields: [X-Field-{name}, X-More-{name}]\n")


BOTH = "".join(f"X-Leg-{s}: leg-{s}\r\nX-Field-{s}: field-{s}\r\nX-More-{s}: more-{s}\r\n" for s in "AB")


def storm_packets(sender, n):
    """Messages of their own, and now and then a call, whose messages are stored all or none."""
    head = f"X-Side: {n % 2}\r\n" + BOTH
    callid = f"storm-{sender}-{n}@x"

    def packet(start, method, totag):
        return hep3((f"{start}\r\nFrom: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>{';tag=2' if totag else ''}\r\nCall-ID: {callid}\r\n"
                     f"CSeq: 1 {method}\r\n{head}Content-Length: 0\r\n\r\n").encode())
    yield packet("MESSAGE sip:m SIP/2.0", "MESSAGE", False) if n % 5 else packet("INVITE sip:i SIP/2.0", "INVITE", False)
    if n % 5 == 0:
        yield packet("SIP/2.0 180 Ringing", "INVITE", True)
        yield packet("BYE sip:i SIP/2.0", "BYE", True)


class Storm:
    """Threads that send while another one reloads. Over TCP nothing is lost on the way, so nobody has to hurry."""

    def __init__(self, h, senders, most, pause):
        self.h, self.most, self.pause, self.is_over, self.sent, self.failed = h, most, pause, threading.Event(), [0] * senders, []
        self.threads = [threading.Thread(target=self.send, args=(i,)) for i in range(senders)]

    def send(self, sender):
        try:
            with self.h.connect() as s:
                for n in range(self.most):
                    if self.is_over.is_set():
                        return
                    packets = list(storm_packets(sender, n))
                    s.sendall(b"".join(packets))
                    self.sent[sender] += len(packets)
                    if n % 20 == 19:
                        time.sleep(self.pause)
        except OSError as error:
            self.failed.append(error)

    def reload_all(self, texts, count, seconds):
        """So many reloads, the files in turn; none waits for another 10 ms if the server answers sooner. @return how many it was."""
        begun = time.monotonic()
        for i in range(count):
            self.h.file.write_text(texts[i % len(texts)])
            request = urllib.request.Request(f"http://127.0.0.1:{self.h.http}/api/reload", method="PUT")
            with urllib.request.urlopen(request, timeout=30) as answer:
                check_equal(answer.status, 200, "reload")
            if time.monotonic() > begun + seconds:
                return i + 1
            time.sleep(max(0, begun + (i + 1) * 0.01 - time.monotonic()))
        return count

    def run(self, texts, count, seconds):
        for t in self.threads:
            t.start()
        try:
            done = self.reload_all(texts, count, seconds)
        finally:
            self.is_over.set()
            for t in self.threads:
                t.join()
        check(not self.failed, f"sending: {self.failed}")
        return done


def storm(world, threads):
    """Which configuration judged a row is seen by the row: its number by the rule, its columns by the names of headers."""
    db = world.database()
    is_slow = "release" not in h_mode(world)
    h = world.heptap(top=side("A", 0, threads))
    texts = [h.file.read_text().replace(side("A", 0, threads), text) for text in (side("B", 1, threads), side("A", 0, threads))]
    check(texts[0] != texts[1], "two files")
    s = Storm(h, 8, 400 if is_slow else 20000, 0.05 if is_slow else 0.005)
    reloads = s.run(texts, 100 if is_slow else 500, 5)
    m = h.wait_at_rest(sum(s.sent))
    m.check_exact()
    check_equal(m.sum("heptap_received_total"), sum(s.sent), "received")
    check_equal(m.sum("heptap_accepted_total") + m.sum("heptap_filtered_total"), sum(s.sent), "accepted and filtered")
    check_equal(m.sum("heptap_accepted_total"), db.number("SELECT COUNT(*) FROM sip_capture"), "rows")
    check(reloads >= (20 if is_slow else 100), f"only {reloads} reloads")
    text = "IF(LENGTH(msg_raw) > 0, msg_raw, msg)"
    kinds = db.query(f"SELECT {text} LIKE '%X-Side: 0%', custom_field1, custom_field2, callid_aleg, COUNT(*) FROM sip_capture "
                     "WHERE method = 'MESSAGE' GROUP BY 1, 2, 3, 4")
    print(f"        {reloads} reloads, {sum(s.sent)} messages, {threads} threads: {[(k[0], k[1], int(k[4])) for k in kinds]}", flush=True)
    check_equal({tuple(k[:4]) for k in kinds}, {(b"1", b"field-A", b"more-A", b"leg-A"), (b"0", b"field-B", b"more-B", b"leg-B")},
                "rows by the configuration that judged them, and no others")
    torn = db.query(f"SELECT callid, COUNT(*) AS n, GROUP_CONCAT(method), MIN(custom_field1 = REPLACE(custom_field2, 'more', 'field')) AS whole "
                    "FROM sip_capture WHERE method <> 'MESSAGE' GROUP BY callid HAVING n <> 3 OR NOT whole")
    check(not torn, f"{len(torn)} calls are there in part, or a row mixes two configurations: {torn[:3]}")
    check(db.number("SELECT COUNT(*) FROM sip_capture WHERE method = 'BYE'") > 10, "calls went through the storm")
    check_equal(h.stop(), 0, "exit code")


def h_mode(world):
    return pathlib.Path(world.binary).parent.name


def test_reload_storm(world):
    """A hundred reloads in a second under load: each row is of one configuration, calls are whole, nothing is lost."""
    storm(world, 1)


def test_reload_storm_with_two_threads(world):
    """The same with two receive threads."""
    storm(world, 2)


# ---- copies ----

def key(e):
    """Of a line of expectations: the hop, without ports for TCP, and the message."""
    is_tcp = e["ip_proto"] == 6
    return e["msg_sha256"], e["src_ip"], 0 if is_tcp else e["src_port"], e["dst_ip"], 0 if is_tcp else e["dst_port"]


def keys(lines):
    return collections.Counter(key(e) for e in lines if "kind" in e)


def stored_keys(db):
    rows = db.query("SELECT SHA2(IF(LENGTH(msg_raw) > 0, msg_raw, msg), 256), source_ip, IF(proto = 2, 0, source_port), destination_ip, "
                    "IF(proto = 2, 0, destination_port) FROM sip_capture")
    return collections.Counter((r[0].decode(), r[1].decode(), int(r[2]), r[3].decode(), int(r[4])) for r in rows)


def file_source(path, name="mirror"):
    return f"capture:\n  - {{ name: {name}, file: '{path}', ports: {PORTS} }}\n"


def calls_by_state(lines):
    """How many calls came to a state, by what an independent decoder saw; failed: before they were answered, if ever."""
    states = collections.defaultdict(set)
    for e in lines:
        if e.get("kind") == "request" and e["method"] in ("INVITE", "BYE"):
            states[e["call_id"]].add("setup" if e["method"] == "INVITE" else "ended")
        elif e.get("kind") == "response" and e["cseq_method"] == "INVITE" and e["status"] >= 200:
            if e["status"] < 300:
                states[e["call_id"]].add("answered")
            elif e["status"] not in (401, 407) and not states[e["call_id"]] & {"answered", "ended"}:
                states[e["call_id"]].add("failed")
    return collections.Counter(state for of_call in states.values() for state in of_call)


def proxied(world, hep, mirror, duplicates):
    """A capture of HEP to the listener, the mirror's capture of the same calls as a source: rows as an independent decoder says, and so many
    duplicates that it is known from the captures' description."""
    db = world.database()
    path = FIXTURES / "sip" / f"{mirror}.pcap"
    payloads, lines = hep_capture(hep)
    by_hep, by_mirror = keys(lines), keys(expected(path.with_suffix(".expected.jsonl")))
    check_equal(sum((by_hep & by_mirror).values()), duplicates, "messages that both have")
    h = world.heptap(top=file_source(path))
    m = h.wait_at_rest(sum(by_mirror.values()))
    check_equal(m.sum("heptap_duplicate_total"), 0, "duplicates of the mirror alone")
    h.send(payloads, pause_each=20)
    m = h.wait_at_rest(sum(by_mirror.values()) + len(payloads))
    m.check_exact()
    check_equal(stored_keys(db), by_hep | by_mirror, "rows by hop and message")
    check_equal(m.sum("heptap_duplicate_total"), duplicates, "duplicates")
    check_equal(m.sum("heptap_retransmissions_total"), 0, "retransmissions")
    states = calls_by_state(expected(path.with_suffix(".expected.jsonl")) + [e for e in lines if "kind" in e])
    check_equal({s: m.sum("heptap_calls_total", state=s) for s in ("setup", "answered", "ended", "failed")},
                {s: states[s] for s in ("setup", "answered", "ended", "failed")}, "calls by state")
    check(states["answered"] > 0, "no call is answered")
    check_equal(h.stop(), 0, "exit code")


def test_proxied_calls_by_hep_and_by_mirror(world):
    """UDP. What Kamailio reports otherwise than it was on the wire (CANCEL and ACK with another Max-Forwards) is another message."""
    proxied(world, "kamailio-v3-udp", "kamailio-proxy-udp", 103)


def test_large_calls_by_hep_and_by_mirror(world):
    """In fragments on both ways."""
    proxied(world, "kamailio-v3-udp-large", "kamailio-proxy-large", 12)


def test_ipv6_calls_by_hep_and_by_mirror(world):
    """HEP version 2, whose addresses are of IPv4 and IPv6."""
    proxied(world, "kamailio-v2-udp", "kamailio-proxy-udp-v6", 38)


def test_tcp_calls_by_hep_and_by_mirror(world):
    """TCP, where the proxy tells its listening port and the mirror the one of the connection."""
    proxied(world, "kamailio-v3-netcb", "kamailio-proxy-tcp", 30)


def test_direct_calls_by_hep_and_by_mirror(world):
    """A sender of HEP that has read the same frames."""
    proxied(world, "sngrep-v3-udp", "direct-udp", 23)


def with_time(packet, ts):
    """A packet of HEP 3 with another time."""
    at, out = 6, b""
    while at < len(packet):
        kind, size = struct.unpack(">HH", packet[at + 2:at + 6])
        out += {9: chunk(9, struct.pack(">I", int(ts))), 10: chunk(10, struct.pack(">I", int(ts % 1 * 1e6)))}.get(kind, packet[at:at + size])
        at += size
    return packet[:6] + out


@on_a_pair
def test_copies_of_a_live_mirror(world):
    """A ring and an agent at once, whichever is first."""
    db = world.database()
    path = FIXTURES / "sip" / "kamailio-proxy-udp.pcap"
    payloads, lines = hep_capture("kamailio-v3-udp")
    by_hep, by_mirror = keys(lines), keys(expected(path.with_suffix(".expected.jsonl")))
    mirrored = sum(by_mirror.values())
    h = world.heptap(top=f"capture:\n  - {{ name: mirror, interface: near, ports: {PORTS} }}\n")
    now = time.time()
    h.send([with_time(p, now) for p in payloads[:60]], pause_each=20)
    h.wait_at_rest(60)
    replay(path)
    h.wait_at_rest(60 + mirrored)
    h.send([with_time(p, time.time()) for p in payloads[60:]], pause_each=20)
    m = h.wait_at_rest(len(payloads) + mirrored)
    m.check_exact()
    check(time.time() - now < 5, "the host is too slow for this test's window")
    check_equal(stored_keys(db), by_hep | by_mirror, "rows by hop and message")
    check_equal(m.sum("heptap_duplicate_total"), 103, "duplicates")
    check_equal(h.stop(), 0, "exit code")


# ---- copies that are made here ----

def frame(sip, ident, ports=(5060, 5060)):
    """SIP in UDP between the addresses that hep3() has."""
    udp = struct.pack(">4H", *ports, 8 + len(sip), 0) + sip
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), ident, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
    return b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0" + head + udp


def write_pcap(path, frames):
    """@param frames  (time, octets)"""
    out = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1)
    for ts, octets in frames:
        out += struct.pack("<4I", int(ts), round(ts % 1 * 1e6), len(octets), len(octets)) + octets
    path.write_bytes(out)


def text(n, what="INVITE sip:x@y SIP/2.0"):
    return (f"{what}\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: copy-{n}@x\r\nCSeq: 1 INVITE\r\nUser-Agent: m{n}\r\n\r\n").encode()


def times_stored(db):
    return {int(r[0][1:]): int(r[1]) for r in db.query("SELECT user_agent, COUNT(*) FROM sip_capture GROUP BY user_agent")}


def test_retransmissions_stay(world):
    """Three sendings of a message, half a second apart, from two taps and two agents of which one misses the second: three rows. A message
    that came once by one of them is one row."""
    db = world.database()
    begun = int(time.time()) - 10
    for name in ("tap1", "tap2"):
        write_pcap(world.folder / f"{name}.pcap", [(begun + k / 2 + n / 1000, frame(text(n), 1000 * k + n + 1)) for k in range(3) for n in range(20)])
    h = world.heptap(top=file_source(world.folder / "tap1.pcap", "tap1") + f"  - {{ name: tap2, file: '{world.folder / 'tap2.pcap'}' }}\n")
    h.wait_at_rest(120)
    h.send([hep3(text(n), ts=begun + k / 2 + n / 1000 + 0.01, capture_id=1) for k in range(3) for n in range(20)], pause_each=20)
    h.wait_at_rest(180)
    h.send([hep3(text(n), ts=begun + k / 2 + n / 1000 + 0.01, capture_id=2) for k in (0, 2) for n in range(20)], pause_each=20)
    h.send([hep3(text(99), ts=begun, capture_id=2)])
    m = h.wait_at_rest(221)
    m.check_exact()
    check_equal(times_stored(db), {**{n: 3 for n in range(20)}, 99: 1}, "rows of each")
    check_equal((m.sum("heptap_duplicate_total"), m.sum("heptap_retransmissions_total")), (220 - 60, 40), "duplicates and retransmissions")
    h.stop()


def test_agents_at_once(world):
    """Two agents bring the same messages, each message twice, a second apart, over connections of their own to two receive threads: two rows
    of each, whoever was first."""
    db = world.database()
    count, begun = 400 if "release" not in h_mode(world) else 4000, int(time.time()) - 10
    h = world.heptap(top="hep_threads: 2\n")

    def bring(agent, part):
        with h.connect() as s:
            for at in range(part, count, 100):
                s.sendall(b"".join(hep3(text(n), ts=begun + k, capture_id=agent) for k in (0, 1) for n in range(at, min(at + 25, count))))
    threads = [threading.Thread(target=bring, args=(agent, part)) for part in range(0, 100, 25) for agent in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    m = h.wait_at_rest(4 * count)
    m.check_exact()
    check_equal(times_stored(db), {n: 2 for n in range(count)}, "rows of each")
    check_equal((m.sum("heptap_duplicate_total"), m.sum("heptap_retransmissions_total")), (2 * count, count), "duplicates and retransmissions")
    check_equal(h.stop(), 0, "exit code")


def test_mirror_of_both_directions(world):
    """Each frame twice within a millisecond, with its IP id: one row each. Another id is another packet."""
    db = world.database()
    begun = int(time.time()) - 10
    write_pcap(world.folder / "span.pcap", [(begun + n / 10 + k * 0.0008, frame(text(n), 1 + n)) for n in range(50) for k in range(2)]
               + [(begun + 6 + k * 0.0008, frame(text(77), 600 + k)) for k in range(2)])
    h = world.heptap(top=file_source(world.folder / "span.pcap"))
    m = h.wait_at_rest(102)
    m.check_exact()
    check_equal(times_stored(db), {**{n: 1 for n in range(50)}, 77: 2}, "rows of each")
    check_equal((m.sum("heptap_duplicate_total"), m.sum("heptap_retransmissions_total")), (50, 1), "duplicates and retransmissions")
    h.stop()


def test_window_of_copies(world):
    """Without a window all is stored, and a reload switches that. Time is that of the packets: whose clock is further off than the window
    is long brings no copies but messages of its own."""
    db = world.database()
    h = world.heptap(top="duplicates: { window: 0 }\n")
    now = time.time() - 30

    def both(n, apart=0.0):
        h.send([hep3(text(n), ts=now, capture_id=1), hep3(text(n), ts=now + apart, capture_id=2)])
        return h.wait_at_rest(2 * n + 2)
    m = both(0)
    check_equal((times_stored(db)[0], m.sum("heptap_duplicate_total")), (2, 0), "window 0")
    reload(h, "duplicates: { window: 5 }\n")
    both(1)
    both(2, 4.9)
    m = both(3, 5.1)
    check_equal([times_stored(db)[n] for n in (1, 2, 3)], [1, 1, 2], "window 5: at the same time, 4.9 s apart, 5.1 s apart")
    reload(h, "duplicates: { window: 1 }\n")
    both(4, 0.9)
    m = both(5, 1.1)
    check_equal([times_stored(db)[n] for n in (4, 5)], [1, 2], "window 1")
    reload(h, "duplicates: { window: 0 }\n")
    m = both(6)
    m.check_exact()
    check_equal((times_stored(db)[6], m.sum("heptap_duplicate_total"), m.sum("heptap_retransmissions_total")), (2, 3, 0), "off again")
    reload(h, "duplicates: { window: 10 }\n")
    h.send([hep_legacy(1, text(7)), hep3(text(7), ts=time.time())])
    m = h.wait_at_rest(16)
    check_equal((times_stored(db)[7], m.sum("heptap_duplicate_total")), (1, 4), "a sender without a time, and one that tells it")
    h.stop()


# ---- tables that are too small ----

SMALL = "tables: { calls: 1024, media: 1024, seen: 1024 }\n"


def resident_kib(h):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{h.process.pid}/status").read_text()).group(1))


def callid_of(n):
    """Half of them differ only behind what a record keeps."""
    return f"flood-{n * 2654435761 % 2**32:08x}@x" if n % 2 else f"{'z' * 200}{n}"


def flood(sent, begin, count):
    """INVITEs with session descriptions, each with a Call-ID and addresses of its own."""
    for n in range(begin, begin + count):
        body = f"v=0\r\nc=IN IP4 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\r\nm=audio {10000 + n % 20000 * 2} RTP/AVP 8\r\n"
        yield sent.request("INVITE", "81", callid_of(n), "all", True, False, more="Content-Type: application/sdp\r\n", body=body)


def small_tables(world, threads):
    """Three times as many calls as there is room for, again and again."""
    db = world.database()
    h = world.heptap(top=rules(rule("all", 'from.user == "a"', "store"), top=f"hep_threads: {threads}\n{SMALL}"))
    senders, sent, size, count = Senders(h), Sent(), [], 2000
    for turn in range(4):
        senders.send(flood(sent, turn * count, count))
        senders.wait()
        size.append(resident_kib(h))
    m = sent.check(h, db)
    for table, made in ("calls", sent.count), ("seen", sent.count), ("media", sent.count // 2):  # none for a Call-ID that is too long for it
        entries, evicted = m.sum("heptap_table_entries", table=table), m.sum("heptap_table_evicted_total", table=table)
        check(0 < entries <= 1300, f"{entries} entries of {table}")
        check_equal(entries + evicted, made, f"{table}: entries and evicted")
    if h_mode(world) == "release":
        check(size[-1] - size[0] < 16384, f"memory in KiB after each turn: {size}")
    entries = m.sum("heptap_table_entries", table="calls")
    before = m.sum("heptap_accepted_total")
    senders.send([sent.reply(200, "INVITE", callid_of(n), "all", True) for n in range(4 * count)])
    m = h.wait_at_rest(sent.count)
    m.check_exact()
    known = m.sum("heptap_accepted_total") - before
    check_equal((known, m.sum("heptap_filtered_total", rule="default_action")), (entries, 4 * count - entries),
                "replies of calls that are known, and of others")
    check(entries < m.sum("heptap_calls_total", state="setup") <= 4 * count, "calls: those for which there was a place while the evicted left")
    senders.end()
    check_equal(h.stop(), 0, "exit code")


def test_flood_of_call_ids(world):
    """Memory stays, what goes is counted, each message is stored once, and what belongs to a forgotten call goes by the default action."""
    small_tables(world, 1)


@release_only
def test_flood_of_call_ids_with_two_threads(world):
    """The same with two receive threads."""
    small_tables(world, 2)


def test_calls_in_numbers(world):
    """How calls went, in the metrics: states, classes of failure, the time until it rang and that of talking. An expression that reaches its limit
    keeps the message."""
    db = world.database()
    h = world.heptap(top=rules(rule("hard", 'body =~ "^(a+)+$"', "drop"), default="store"))
    sent, at = Sent(), 1_700_000_000

    def call(name, invite_at, *replies, bye_at=None):
        packets = [sent.request("INVITE", "bob", name, "default_action", True, False, ts=invite_at)]
        packets += [sent.reply(status, "INVITE", name, "default_action", True, ts=invite_at + after) for status, after in replies]
        return packets + ([sent.request("BYE", "bob", name, "default_action", True, ts=bye_at)] if bye_at else [])

    h.send(call("talked", at, (100, 0.25), (180, 1.5), (200, 3), bye_at=at + 63) + call("busy", at, (183, 0.5), (486, 1))
           + call("asked", at, (407, 1)) + call("broken", at, (503, 2)) + call("gone", at, (404, 2)))
    m = sent.check(h, db)
    check_equal({s: m.sum("heptap_calls_total", state=s) for s in ("setup", "answered", "ended", "failed")},
                {"setup": 5, "answered": 1, "ended": 1, "failed": 3}, "states")
    check_equal([m.sum("heptap_calls_failed_total", **{"class": c}) for c in "3456"], [0, 2, 1, 0], "failed by class")
    check_equal((m.values["heptap_call_dial_delay_seconds_sum"], m.sum("heptap_call_dial_delay_seconds_count")), (2.0, 2), "until it rang")
    check_equal((m.values["heptap_call_talk_seconds_sum"], m.sum("heptap_call_talk_seconds_count")), (60.0, 1), "talking")
    check_equal(m.sum("heptap_filter_unsure_total"), 0, "unsure")
    h.send([sent.request("INVITE", "bob", "hard", "default_action", True, False, body="a" * 40 + "!")])
    h.wait_at_rest(sent.count).check_exact()
    check_equal(h.metrics().sum("heptap_filter_unsure_total"), 1, "unsure")
    check_once(db, sent.stored)
    check_equal(h.stop(), 0, "exit code")
