"""Events: what goes wrong is told once to each who listens, over HTTP and by datagram; and who listens costs little."""
import json
import os
import re
import select
import signal
import socket
import subprocess

from lib import check, check_equal, chunk, hep3, only_waits, sip, wait_until
from test_control import put
from test_overload import Flood, of_call

MIB = 1 << 20
RESIDENT = 'heptap_memory_bytes{group="process",kind="resident"}'

# What is freed is gone: AddressSanitizer keeps it for a while else.
AT_ONCE = {"ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}


class Subscriber:
    """A client of /api/events, octet by octet: chunks are taken apart here."""

    def __init__(self, h, headers="", receive_buffer=None):
        self.events, self.comments, self.raw, self.text, self.is_over = [], 0, b"", b"", False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", h.http))
        self.socket.sendall(f"GET /api/events HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        while b"\r\n\r\n" not in self.raw:
            more = self.socket.recv(1)
            check(more, "closed instead of an answer")
            self.raw += more
        self.head, self.raw = self.raw.decode(), b""
        self.status = int(self.head.split()[1])

    def poll(self):
        """Read what is there; the events so far."""
        while not self.is_over and select.select([self.socket], [], [], 0)[0]:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            self.is_over = not more
            self.raw += more
        while match := re.match(rb"([0-9a-fA-F]+)\r\n", self.raw):
            begin, size = match.end(), int(match[1], 16)
            if len(self.raw) < begin + size + 2:
                break
            check_equal(self.raw[begin + size:begin + size + 2], b"\r\n", "end of a chunk")
            self.text += self.raw[begin:begin + size]
            self.raw = self.raw[begin + size + 2:]
        while b"\n\n" in self.text:
            block, self.text = self.text.split(b"\n\n", 1)
            self.take(block.decode())
        return self.events

    def take(self, block):
        if block.startswith(":"):
            self.comments += 1
            return
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        check_equal(set(fields), {"event", "id", "data"}, "fields")
        event = json.loads(fields["data"])
        check_equal((event["event"], str(event["id"])), (fields["event"], fields["id"]), "name and id, and those in the object")
        check_whole(event)
        check(not self.events or event["id"] > self.events[-1]["id"], "ids grow")
        self.events.append(event)

    def close(self):
        self.socket.close()


class Receiver:
    """Who gets datagrams."""

    def __init__(self):
        self.events = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.address = "udp:127.0.0.1:%d" % self.socket.getsockname()[1]

    def poll(self):
        while True:
            try:
                datagram = self.socket.recv(65536)
            except BlockingIOError:
                return self.events
            check(datagram.endswith(b"}\n") and datagram.count(b"\n") == 1, f"one line: {datagram!r}")
            event = json.loads(datagram)
            check_whole(event)
            check(not self.events or event["id"] > self.events[-1]["id"], "ids grow")
            self.events.append(event)


def check_whole(event):
    check_equal(event["node"], "node1", "node")
    check(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", event["at"]), f"time: {event['at']}")


def names(listener):
    """Of all events but those of the host, which others load."""
    return [e["event"] for e in listener.poll() if not e["event"].startswith("host_")]


def wait_names(listener, wanted, seconds=40):
    """Exactly these, in this order."""
    wait_until(lambda: len(names(listener)) >= len(wanted), seconds, lambda: f"{wanted}, but {listener.events}")
    check_equal(names(listener), wanted, "events")


def wait_for(listener, name, seconds=60, where=lambda e: True):
    def found():
        return next((e for e in listener.poll() if e["event"] == name and where(e)), None)
    return wait_until(found, seconds, lambda: f"{name}, but {names(listener)}")


def events(receivers=(), more=""):
    return f"events: {{ receivers: [{', '.join(repr(r.address) for r in receivers)}] {more} }}"


def test_database_down_and_up(world):
    """Two subscribers and a receiver hear of it once; the first event of all is this one. Who comes later is told that it is down, and
    the others are not told again."""
    db, receiver = world.database(), Receiver()
    h = world.heptap(top=events([receiver]))
    one, two = Subscriber(h), Subscriber(h)
    check_equal(one.status, 200, "status")
    check("Content-Type: text/event-stream\r\n" in one.head and "Cache-Control: no-store\r\n" in one.head, f"headers: {one.head}")
    h.send([hep3(sip(1))])
    h.wait_at_rest(1)
    db.kill()
    h.send([hep3(sip(2))])
    for listener in (receiver, one, two):
        wait_names(listener, ["database_down"])
        check_equal(listener.events[0], receiver.events[0], "the same for all")
    check_equal(receiver.events[0]["id"], 1, "nothing was told before")
    late, later = Subscriber(h), Receiver()
    wait_names(late, ["database_down"])
    check("rows_in_spool" in late.events[0], "details")
    h.write(top=events([later, receiver]))
    check_equal(put(h, "/api/reload"), 200, "another receiver")
    wait_names(later, ["database_down", "reload_done"])
    db.start()
    for listener in (one, two, late, receiver):
        wait_names(listener, ["database_down", "reload_done", "database_up"])
    wait_names(later, ["database_down", "reload_done", "database_up"])
    h.wait_at_rest(2)
    m = h.metrics()
    check_equal((m.sum("heptap_event_subscribers"), m.sum("heptap_event_receivers"), m.sum("heptap_events_total")), (3, 2, 5), "listeners, events")
    check_equal((m.sum("heptap_events_sent_total", to="subscribers"), m.sum("heptap_events_sent_total", to="receivers"),
                 m.sum("heptap_events_dropped_total")), (9, 6, 0), "sent, dropped")
    check_equal(h.stop(), 0, "exit code")
    wait_until(lambda: one.poll() and one.is_over, 10, "the end is told")
    for listener in (one, two, late, receiver, later):
        check_equal(names(listener), ["database_down", "reload_done", "database_up"], "nothing more, not even for the stop")


def test_nobody_listens(world):
    """Then nothing is told later, and nothing was compared: the first event that somebody hears of is number 1."""
    db = world.database()
    h = world.heptap()
    db.kill()
    h.send([hep3(sip(1))])
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 0, 40, "down")
    first = Subscriber(h)
    wait_names(first, ["database_down"])
    check_equal(first.events[0]["id"], 1, "nothing was counted before")
    first.close()
    wait_until(lambda: h.metrics().sum("heptap_event_subscribers") == 0, 20, "gone")
    check_equal(put(h, "/api/reload"), 200, "reload that nobody hears of")
    db.start()
    h.wait_at_rest(1)
    check_equal(h.metrics().sum("heptap_events_total"), 1, "events")
    second = Subscriber(h)
    check_equal(put(h, "/api/reload"), 200, "reload")
    wait_names(second, ["reload_done"])
    check_equal(second.events[0]["id"], 2, "the second event")
    check_equal(h.stop(), 0, "exit code")


def test_reload(world):
    """Done, with remarks; refused, with complaints; by HTTP and by signal. Receivers come and go with it."""
    world.database()
    first, second = Receiver(), Receiver()
    h = world.heptap(top=events([first]))
    one = Subscriber(h)
    good = h.file.read_text()
    h.write(top=events([first, second]) + "\nmemory: 2G")
    check_equal(put(h, "/api/reload"), 200, "a good file")
    wait_names(one, ["reload_done"])
    check_equal(one.events[0]["remarks"], "memory was changed; that takes effect at the next start\n", "remarks")
    for receiver in (first, second):
        wait_names(receiver, ["reload_done"])
    h.file.write_text(good.replace("node: node1", "nod: \"é☎\""))
    os.kill(h.process.pid, signal.SIGHUP)
    check(":1:1: nod: unknown key" in wait_for(one, "reload_refused")["complaints"], f"complaints: {one.events}")
    wait_names(second, ["reload_done", "reload_refused"])
    h.file.write_text(good)
    check_equal(put(h, "/api/reload"), 200, "one receiver again")
    wait_names(first, ["reload_done", "reload_refused", "reload_done"])
    wait_names(one, ["reload_done", "reload_refused", "reload_done"])
    check_equal(h.metrics().sum("heptap_event_receivers"), 1, "receivers")
    check_equal(names(second), ["reload_done", "reload_refused"], "the other one hears nothing more")
    check_equal(h.stop(), 0, "exit code")


def test_receiver_that_nobody_is_at(world):
    """What is refused is counted and said once in the log; when somebody is there he gets what comes then."""
    world.database()
    receiver = Receiver()
    port = receiver.socket.getsockname()[1]
    receiver.socket.close()
    h = world.heptap(top=events([receiver]))
    for _ in range(4):
        check_equal(put(h, "/api/reload"), 200, "reload")
    wait_until(lambda: h.metrics().sum("heptap_events_dropped_total", reason="receiver") >= 3, 20, "refused")
    check_equal(h.log_text().count(f"events: udp:127.0.0.1:{port}: Connection refused"), 1, "said once")
    receiver.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.socket.bind(("127.0.0.1", port))
    receiver.socket.setblocking(False)
    check_equal(put(h, "/api/reload"), 200, "reload")
    wait_names(receiver, ["reload_done"])
    check_equal(receiver.events[0]["id"], 5, "the first that it could take")


def test_agent_silent_and_back(world):
    """Told once each time; an agent of which nothing was stored is nobody to be missed; another time takes effect by a reload."""
    world.database()
    receiver = Receiver()
    h = world.heptap(top=events([receiver], ", agent_silent: 2s"), listener="keys: [k]")
    one = Subscriber(h)
    key = chunk(14, b"k")

    def speak(n):
        h.send([hep3(sip(n), capture_id=101, extra=key + chunk(0x13, b"edge")), hep3(sip(n), capture_id=102)])
    for turn in range(2):
        speak(turn)
        wait_names(one, ["agent_silent", "agent_back"] * turn + ["agent_silent"])
        wait_names(receiver, names(one))
        e = one.events[-1]
        check_equal((e["agents"], e["address"], e["capture_id"], e["name"], e["source"]), (1, "127.0.0.1", 101, "edge", "agents"), "who")
        check(e["last_seen"] < e["at"], f"last seen: {e}")
        speak(turn + 2)
        wait_names(one, ["agent_silent", "agent_back"] * (turn + 1))
    wait_names(one, ["agent_silent", "agent_back"] * 2 + ["agent_silent"])
    h.write(top=events([receiver], ", agent_silent: 0"))
    check_equal(put(h, "/api/reload"), 200, "reload")
    wait_for(one, "reload_done")
    speak(9)
    late = Subscriber(h)
    check_equal(put(h, "/api/reload"), 200, "reload")
    wait_names(late, ["reload_done"])
    wait_names(one, ["agent_silent", "agent_back"] * 2 + ["agent_silent", "reload_done", "reload_done"])
    check_equal(h.stop(), 0, "exit code")


def refused_file(h):
    """A configuration with long complaints."""
    h.file.write_text(h.file.read_text() + "".join(f"unknown_key_number_{n}: 1\n" for n in range(20)))


def test_subscriber_that_never_reads(world):
    """It is cut when enough waits for it, and counted; memory stays as it is, and who reads gets everything."""
    world.database()
    h = world.heptap(environment=AT_ONCE)
    refused_file(h)
    reader, count = Subscriber(h), 100
    for _ in range(count):  # until memory is what it needs
        check_equal(put(h, "/api/reload"), 422, "reload")
    stuck = Subscriber(h, receive_buffer=4096)
    check_equal(h.metrics().sum("heptap_event_subscribers"), 2, "subscribers")
    before = h.metrics().values[RESIDENT]
    while h.metrics().sum("heptap_event_subscribers_cut_total") == 0:
        check(count < 3000, "it is cut at last")
        for _ in range(25):
            check_equal(put(h, "/api/reload"), 422, "reload")
            count += 1
        reader.poll()
    m = h.metrics()
    check_equal((m.sum("heptap_event_subscribers"), m.sum("heptap_event_subscribers_cut_total")), (1, 1), "subscribers, cut")
    check_equal(m.sum("heptap_events_dropped_total", reason="slow"), 1, "the event it was cut at")
    check(m.values[RESIDENT] < before + 8 * MIB, f"resident: {before} octets, then {m.values[RESIDENT]}")
    wait_until(lambda: len(reader.poll()) >= count, 20, lambda: f"{count} events, but {len(reader.events)}")
    check_equal([e["id"] for e in reader.events], list(range(1, count + 1)), "each event for who reads")
    check(all(500 < len(e["complaints"]) <= 1024 for e in reader.events), "complaints are cut")
    wait_until(lambda: (stuck.poll(), stuck.is_over)[1], 20, "the stuck one hears that it is over")
    check(0 < len(stuck.events) < count, f"it got {len(stuck.events)} of {count}")
    check_equal(h.stop(), 0, "exit code")


def test_subscriber_that_talks(world):
    """What a subscriber sends is not kept: after a while it is not even taken."""
    world.database()
    h = world.heptap(environment=AT_ONCE)
    talker = Subscriber(h)
    before, sent = h.metrics().values[RESIDENT], 0
    talker.socket.setblocking(False)
    while sent < 64 * MIB and select.select([], [talker.socket], [], 3)[1]:
        sent += talker.socket.send(b"x" * 65536)
    m = h.metrics()
    check(m.values[RESIDENT] < before + 8 * MIB, f"resident: {before} octets, {m.values[RESIDENT]} after {sent} that came")
    check_equal(put(h, "/api/reload"), 200, "reload")
    wait_names(talker, ["reload_done"])
    check_equal(h.stop(), 0, "exit code")


def test_too_many_subscribers(world):
    """Sixteen have a place, another one gets 503 until one of them leaves; the rest of the server answers all the time."""
    world.database()
    h = world.heptap()
    some = [Subscriber(h) for _ in range(16)]
    check_equal({s.status for s in some}, {200}, "sixteen")
    check_equal([Subscriber(h).status for _ in range(3)], [503] * 3, "too many")
    m = h.metrics()
    check_equal((m.sum("heptap_event_subscribers"), m.sum("heptap_event_subscribers_refused_total")), (16, 3), "subscribers, refused")
    some.pop().close()
    wait_until(lambda: h.metrics().sum("heptap_event_subscribers") == 15, 20, "one has left")
    some.append(Subscriber(h))
    check_equal(some[-1].status, 200, "its place")
    check_equal(put(h, "/api/reload"), 200, "reload")
    for s in some:
        wait_names(s, ["reload_done"])
    for s in some[:8]:  # without a word
        s.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    wait_until(lambda: h.metrics().sum("heptap_event_subscribers") == 8, 20, "eight have left")
    check_equal(h.stop(), 0, "exit code")


def test_other_clients(world):
    """HTTP/1.0 gets the same without chunks; a request behind the one that does not end is not answered; who closes his side has left;
    curl shows each event as it comes."""
    world.database()
    h = world.heptap()
    old, two, half = (socket.create_connection(("127.0.0.1", h.http), 20) for _ in range(3))
    old.sendall(b"GET /api/events HTTP/1.0\r\n\r\n")
    two.sendall(b"GET /api/events?x=1 HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 5\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    curl = subprocess.Popen(["curl", "-sN", f"http://127.0.0.1:{h.http}/api/events"], stdout=subprocess.PIPE)
    try:
        wait_until(lambda: h.metrics().sum("heptap_event_subscribers") == 3, 20, "three")
        half.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
        check(half.recv(100), "it is answered")
        half.shutdown(socket.SHUT_WR)
        while half.recv(4096):
            pass
        check_equal(put(h, "/api/reload"), 200, "reload")
        check_equal([curl.stdout.readline() for _ in range(4)], [b":\n", b"\n", b"event: reload_done\n", b"id: 1\n"], "curl")
    finally:
        curl.kill()
        curl.wait()
    wait_until(lambda: h.metrics().sum("heptap_event_subscribers") == 2, 20, "curl has left")
    check_equal(h.stop(), 0, "exit code")
    texts = [b"".join(iter(lambda: s.recv(4096), b"")) for s in (old, two)]
    check(b"chunked" not in texts[0] and re.search(rb"\r\n\r\n:\n\nevent: reload_done\nid: 1\ndata: {.*}\n\n$", texts[0]), f"HTTP/1.0: {texts[0]}")
    check(b"chunked" in texts[1] and texts[1].count(b"HTTP/1.1") == 1, f"two requests: {texts[1]}")


def test_who_may_subscribe(world):
    """With a token file the token is asked for; only GET is answered."""
    world.database()
    h = world.heptap(start=False)
    (h.folder / "token").write_text("open sesame\n")
    h.file.write_text(h.file.read_text().replace(f"'127.0.0.1:{h.http}' }}", f"'127.0.0.1:{h.http}', token_file: '{h.folder / 'token'}' }}"))
    h.start()
    check_equal(Subscriber(h).status, 401, "without it")
    check_equal(Subscriber(h, "Authorization: Bearer wrong\r\n").status, 401, "with a wrong one")
    one = Subscriber(h, "Authorization: Bearer open sesame\r\n")
    check_equal(one.status, 200, "with it")
    check_equal(put(h, "/api/events", "open sesame"), 405, "PUT")
    with socket.create_connection(("127.0.0.1", h.http), 20) as s:
        s.sendall(b"HEAD /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer open sesame\r\n\r\n")
        check(s.recv(4096).startswith(b"HTTP/1.1 405 "), "HEAD")
    check_equal(put(h, "/api/reload", "open sesame"), 200, "reload")
    wait_names(one, ["reload_done"])
    check_equal(h.stop(), 0, "exit code")


@only_waits
def test_spool_that_fills_up(world):
    """Each class that is shed is told, and the sum of all losses is what is counted; when the database is back all is normal again.
    Meanwhile comments keep the connection alive."""
    db, receiver = world.database(), Receiver()
    h = world.heptap(start=False, top=f"hep_threads: 1\n{events([receiver], ', agent_silent: 0')}", spool_max="64M")
    db.stop()
    h.start()
    one = Subscriber(h)
    wait_names(one, ["database_down"])
    flood, turn = Flood(h), 0
    while h.metrics().sum("heptap_spool_ok") == 1:
        check(turn < 400, "the spool is full at last")
        flood.fill(MIB // 2, turn)
        h.send([hep3(sip(turn * 100 + n, "REGISTER")) for n in range(20)])
        turn += 1
    wait_for(one, "spool_refuses")
    classes = [e["class"] for e in one.events if e["event"] == "spool_shedding"]
    check(classes == sorted(set(classes)) and classes and classes[-1] >= 4, f"classes rise, each once: {classes}")
    check(all(e["spool_bytes"] > 40 * MIB and e["rows_in_spool"] > 0 for e in one.events if e["event"].startswith("spool_")), "details")
    db.start()
    wait_for(one, "database_up")
    wait_for(one, "spool_normal", 90)
    h.wait_at_rest(flood.sent)
    m = h.metrics()
    shed = m.sum("heptap_shed_total", reason="spool")
    check(shed > 0, "something was shed")
    wait_until(lambda: sum(e.get("shed_spool", 0) for e in one.poll()) == shed, 30,
               lambda: f"{shed} shed, told: {[e for e in one.events if e['event'] == 'loss']}")
    check(all(sum(v for k, v in e.items() if k in ("shed_spool", "shed_memory", "kernel_dropped", "rows_damage", "rows_shutdown", "statistics_rows")) > 0
              for e in one.events if e["event"] == "loss"), "no loss of nothing")
    check_equal([n for n in names(one) if n.endswith("normal")], ["spool_normal"], "normal once")
    wait_until(lambda: (one.poll(), one.comments)[1] >= 3, 40, "comments")
    check_equal(names(receiver), names(one), "the receiver heard the same")
    check_equal(h.stop(), 0, "exit code")


def test_disk_that_is_full_at_the_end(world):
    """No room for another segment, then for none at all; what is lost at the stop is told by the last datagram."""
    receiver = Receiver()
    db, disk = world.database(), world.small_disk(world.folder / "disk", 48)
    h = world.heptap(start=False, top=f"hep_threads: 1\n{events([receiver], ', agent_silent: 0')}", spool=disk.folder / "spool", prefix=disk.prefix)
    db.stop()
    h.start()
    flood, turn = Flood(h), 0
    while h.metrics().sum("heptap_spool_ok") == 1:
        check(turn < 60, "the disk is full at last")
        flood.fill(MIB, turn)
        turn += 1
    wait_for(receiver, "spool_reserve_missing")
    wait_for(receiver, "spool_refuses")
    check_equal(wait_for(receiver, "spool_shedding")["class"], 4, "all but calls")
    wait_until(lambda: h.metrics().sum("heptap_in_memory") > 0, 20, "rows that have no place")
    check_equal(h.stop(60), 0, "exit code")
    lost = re.search(r"rows stored, (\d+) lost", h.log_text())
    check(lost and int(lost[1]) > 0, f"rows were lost: {h.log_text()[-500:]}")
    check_equal(sum(e.get("rows_shutdown", 0) for e in receiver.poll()), int(lost[1]), "they were told")
    check_equal(names(receiver)[-1], "loss", "the last event")


def test_memory_near_its_limit(world):
    """The disk is full and blocks pile up: their group of memory is told once, and when they are free again."""
    db, disk = world.database(), world.small_disk(world.folder / "disk", 24)
    h = world.heptap(start=False, top="hep_threads: 1\nmemory: 64M", spool=disk.folder / "spool", prefix=disk.prefix)
    db.stop()
    h.start()
    one, flood = Subscriber(h), Flood(h)
    disk.fill()
    while "memory_high" not in names(one):
        check(flood.sent < 20000, "blocks are taken at last")
        flood.send(hep3(of_call(f"5-fill-{flood.sent + n}", "INVITE", 20_000)) for n in range(20))
        disk.fill()  # what a segment gave back
    event = wait_for(one, "memory_high")
    check(event["group"] == "blocks" and event["limit"] * 0.8 < event["used"] <= event["limit"], f"which group: {event}")
    disk.empty()
    db.start()
    event = wait_for(one, "memory_normal")
    check(event["group"] == "blocks" and event["used"] < event["limit"] * 0.7, f"and back: {event}")
    h.wait_at_rest(flood.sent)
    check_equal([n for n in names(one) if n.startswith("memory_")], ["memory_high", "memory_normal"], "once each")
    check_equal(h.stop(), 0, "exit code")
