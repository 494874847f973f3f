"""Legs of calls through a B2BUA, as each kind of header joins them: every row of every leg."""
import os
import signal
import socket
import threading

from lib import check, check_equal, hep3, wait_until

NIL = "0" * 32
HOSTS = ["192.0.2.10", "192.0.2.20", "192.0.2.30", "192.0.2.40"]


class Call:
    """Legs between neighbours in HOSTS: messages with the headers that `more(leg, method, is_reply)` gives."""

    def __init__(self, ids, more):
        self.ids, self.more = ids, more

    def message(self, leg, method, status=None):
        there = (HOSTS[leg], HOSTS[leg + 1])
        start = f"SIP/2.0 {status}" if status else f"{method} sip:bob@b.example SIP/2.0"
        tag = "" if method == "INVITE" and not status else ";tag=bob"
        text = (f"{start}\r\nVia: SIP/2.0/UDP {there[0]}:5060;branch=z9hG4bK-{self.ids[leg]}-{method}\r\nFrom: <sip:alice@a.example>;tag=alice\r\n"
                f"To: <sip:bob@b.example>{tag}\r\nCall-ID: {self.ids[leg]}\r\nCSeq: {2 if method == 'BYE' else 1} {method}\r\n"
                f"{self.more(leg, method, bool(status))}Content-Length: 0\r\n\r\n")
        src, dst = there[::-1] if status else there
        return self.ids[leg], hep3(text.encode(), src=src, dst=dst)

    def setup(self):
        legs = range(len(self.ids))
        for leg in legs:
            yield self.message(leg, "INVITE")
            yield self.message(leg, "INVITE", "100 Trying")
        for status in ("180 Ringing", "200 OK"):
            for leg in reversed(legs):
                yield self.message(leg, "INVITE", status)
        for leg in legs:
            yield self.message(leg, "ACK")

    def end(self):
        for leg in range(len(self.ids)):
            yield self.message(leg, "BYE")
            yield self.message(leg, "BYE", "200 OK")


def on_invite(text):
    """Only the INVITE has it."""
    return lambda leg, method, is_reply: text(leg) if method == "INVITE" and not is_reply else ""


def session(uuid):
    """RFC 7989: every message; the callee's UUID is not known to the first INVITE."""
    callee = uuid[::-1]

    def more(leg, method, is_reply):
        local, remote = (callee, uuid) if is_reply else (uuid, NIL if method == "INVITE" else callee)
        return f"Session-ID: {local};remote={remote}\r\n"
    return more


def names(n):
    return [f"{n}-{leg}@b2bua.example" for leg in ("a", "b", "c")]


def by_x_cid(n):
    ids = names(n)
    return Call(ids, on_invite(lambda leg: f"X-CID: {ids[leg - 1]}\r\n" if leg else ""))


def by_expression(n):
    ids = names(n)
    return Call(ids, on_invite(lambda leg: f"X-Corr: v=1;leg={ids[leg - 1]};x\r\n" if leg else ""))


def by_call_id(n):
    first = names(n)[0]
    return Call([first, f"{first}_b2b-1", f"{first}_b2b-1_b2b-2"], lambda *_: "")


def by_session(n):
    return Call(names(n), session(f"{n:032x}"))


def by_icid(n):
    return Call(names(n), on_invite(lambda leg: "P-Charging-Vector: " + (f"icid-value={n}", f'orig-ioi=a;icid-value="{n}"', f"icid-value={n};term-ioi=x")[leg]
                                    + "\r\n"))


def by_global_call(n):
    return Call(names(n), on_invite(lambda leg: f"X-Global-Call: {n}\r\n"))


NAMED = [("X-CID", by_x_cid), ("'X-Corr =~ \"leg=([^;]+)\"'", by_expression), ("'Call-ID =~ \"^(.+)_b2b-[0-9]+$\"'", by_call_id)]
SHARED = [("Session-ID", by_session), ("P-Charging-Vector", by_icid), ("shared X-Global-Call", by_global_call)]
ALL = ", ".join(entry for entry, _ in NAMED + SHARED)


def rows(db):
    return [tuple(cell.decode() for cell in row) for row in db.query("SELECT callid, callid_aleg, correlation_id FROM sip_capture ORDER BY id")]


def wanted_named(call, messages):
    """Each leg has the one before; the first is one of several from the next one's INVITE on."""
    begun = False
    for callid, _ in messages:
        leg = call.ids.index(callid)
        begun = begun or leg > 0
        yield callid, call.ids[leg - 1] if leg else "", call.ids[0] if begun else ""


def wanted_shared(first, messages):
    """All have the first that came, from its first message on."""
    for callid, _ in messages:
        yield callid, "" if callid == first else first, first


def compare(got, wanted):
    check_equal(len(got), len(wanted), "rows")
    wrong = [f"row {i}: {g} instead of {w}" for i, (g, w) in enumerate(zip(got, wanted)) if g != w]
    check(not wrong, f"{len(wrong)} differences:\n    " + "\n    ".join(wrong[:20]))


def reload(h):
    done = h.log_text().count("reload: done")
    os.kill(h.process.pid, signal.SIGHUP)
    wait_until(lambda: h.log_text().count("reload: done") > done, 10, "reload")


def run(h, messages):
    h.send([packet for _, packet in messages], pause_each=20)


def test_every_kind_joins_three_legs(world):
    """A call by each kind of header, all kinds configured at once, one call amid the other's messages."""
    db = world.database()
    h = world.heptap(top=f"hep_threads: 1\nlegs: [{ALL}]")
    calls = [(make(n), make in [m for _, m in NAMED]) for n, (_, make) in enumerate(NAMED + SHARED)]
    parts, wanted = [], {}
    for call, is_named in calls:
        messages = [*call.setup(), *call.end()]
        parts.append(messages)
        for row in wanted_named(call, messages) if is_named else wanted_shared(call.ids[0], messages):
            wanted.setdefault(row[0], []).append(row)
    messages = [m for together in zip(*parts) for m in together]
    run(h, messages)
    m = h.wait_at_rest(len(messages))
    m.check_exact()
    compare(rows(db), [wanted[callid].pop(0) for callid, _ in messages])
    check_equal(m.sum("heptap_legs_joined_total"), 2 * len(calls), "legs joined")
    check_equal((m.sum("heptap_legs_refused_total"), m.sum("heptap_legs_unsure_total")), (0, 0), "refused, unsure")
    check_equal(h.stop(), 0, "exit code")


def test_last_leg_is_seen_first(world):
    """The tap of the far side is ahead: what is named is the first leg all the same, of a shared value it is whoever came first."""
    db = world.database()
    h = world.heptap(top=f"hep_threads: 1\nlegs: [{ALL}]")
    sent, wanted = [], []
    for n, (_, make) in enumerate(NAMED + SHARED):
        call = make(n)
        early, rest = [call.message(leg, "INVITE") for leg in (2, 1, 0)], list(call.end())
        a, b, c = call.ids
        if n < len(NAMED):
            wanted += [(c, b, b), (b, a, a), (a, "", a)]
            wanted += [(callid, call.ids[call.ids.index(callid) - 1] if callid != a else "", a) for callid, _ in rest]
        else:
            wanted += wanted_shared(c, early + rest)
        sent += early + rest
    run(h, sent)
    h.wait_at_rest(len(sent)).check_exact()
    compare(rows(db), wanted)
    check_equal(h.stop(), 0, "exit code")


def test_reload_changes_what_joins(world):
    """Calls keep what they were joined by; new ones are joined by what is configured then."""
    db = world.database()
    h = world.heptap(top="hep_threads: 1\nlegs: [X-CID]")
    old, other = by_x_cid(1), by_session(2)
    first = [*old.setup(), *other.setup()]
    run(h, first)
    h.wait_at_rest(len(first))
    wanted = [*wanted_named(old, old.setup()), *((callid, "", "") for callid, _ in other.setup())]
    compare(rows(db), wanted)

    h.write(top="hep_threads: 1\nlegs: [Session-ID, 'X-Corr =~ \"leg=([^;]+)\"']")
    reload(h)
    third, fourth, fifth = by_session(3), by_expression(4), by_x_cid(5)
    second = [*old.end(), *other.end(), *third.setup(), *fourth.setup(), *fifth.setup()]
    run(h, second)
    h.wait_at_rest(len(first + second))
    wanted += [(callid, aleg, old.ids[0]) for callid, aleg, _ in wanted_named(old, old.end())]
    wanted += wanted_shared(other.ids[0], other.end())
    wanted += [*wanted_shared(third.ids[0], third.setup()), *wanted_named(fourth, fourth.setup()), *((callid, "", "") for callid, _ in fifth.setup())]
    compare(rows(db), wanted)

    h.write(top="hep_threads: 1\nlegs: []")
    reload(h)
    sixth = by_session(6)
    last = [*third.end(), *fourth.end(), *fifth.end(), *sixth.setup()]
    run(h, last)
    h.wait_at_rest(len(first + second + last)).check_exact()
    wanted += wanted_shared(third.ids[0], third.end())
    wanted += [(callid, aleg, fourth.ids[0]) for callid, aleg, _ in wanted_named(fourth, fourth.end())]
    wanted += [(callid, "", "") for callid, _ in [*fifth.end(), *sixth.setup()]]
    compare(rows(db), wanted)

    h.write(top="hep_threads: 1\nlegs: ['X-Corr =~ \"leg=(\"']")
    os.kill(h.process.pid, signal.SIGHUP)
    wait_until(lambda: "everything stays as it was" in h.log_text(), 10, "refused reload")
    check(f"{h.file}:4:25: legs[]: missing closing parenthesis" in h.log_text(), "line and column: " + h.log_text()[-500:])
    check_equal(h.stop(), 0, "exit code")


def send_each(h, streams):
    """Each stream from a socket of its own, so that the kernel spreads them over the receive threads, at once."""
    def send(packets):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", h.port))
            for n, packet in enumerate(packets):
                s.send(packet)
                if n % 20 == 19:
                    threading.Event().wait(0.001)
    senders = [threading.Thread(target=send, args=(packets,)) for packets in streams]
    for t in senders:
        t.start()
    for t in senders:
        t.join()


def test_legs_come_to_two_threads_at_once(world):
    """Every leg of a call by an agent of its own: whichever is first, all rows of all legs say the same."""
    db = world.database()
    h = world.heptap(top=f"hep_threads: 2\nlegs: [{ALL}]")
    streams = [[] for _ in range(9)]
    calls = {}
    for n in range(1, 301):
        call = SHARED[n % 3][1](n)
        calls[n] = call.ids
        for callid, packet in [*call.setup(), *call.end()]:
            streams[n % 3 * 3 + call.ids.index(callid)].append(packet)
    send_each(h, streams)
    total = sum(len(packets) for packets in streams)
    m = h.wait_at_rest(total)
    m.check_exact()
    check_equal(m.sum("heptap_kernel_dropped_total"), 0, "dropped by the kernel")
    told = {}
    for callid, aleg, correlation in rows(db):
        told.setdefault(callid, set()).add((aleg, correlation))
    firsts = [0, 0, 0]
    for ids in calls.values():
        first = {correlation for callid in ids for _, correlation in told[callid]}
        check(len(first) == 1 and first <= set(ids), f"first legs of {ids}: {first}")
        first = first.pop()
        firsts[ids.index(first)] += 1
        for callid in ids:
            check_equal(told[callid], {("" if callid == first else first, first)}, f"legs of {callid}")
    print(f"        first legs: {firsts}")
    check_equal(m.sum("heptap_legs_joined_total"), 600, "legs joined")
    check_equal(h.stop(), 0, "exit code")
