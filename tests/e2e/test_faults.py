"""Breaking things at bad moments: numbered messages prove that nothing is stored twice and nothing is missing that was promised."""
import collections
import os
import random
import re
import signal
import socket
import struct
import threading
import time

from lib import blocks_of, check, check_equal, check_once, hep3, only_waits, release_only, sip, stored_numbers, wait_until


class Load:
    """Numbered messages at a steady rate until stop(); remembers when each was sent."""

    def __init__(self, port, per_second=4000, first=0, method="OPTIONS", size=0):
        self.sent_at = []
        self.first = first
        self.method, self.size = method, size
        self.going = True
        self.port = port
        self.pause = 20 / per_second
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", self.port))
            while self.going:
                for _ in range(20):
                    try:
                        s.send(hep3(sip(self.first + len(self.sent_at), self.method, self.size)))
                    except ConnectionRefusedError:
                        continue
                    self.sent_at.append(time.monotonic())
                time.sleep(self.pause)

    def stop(self):
        self.going = False
        self.thread.join()
        return range(self.first, self.first + len(self.sent_at))


class Relay:
    """A unix socket in front of the server's; serve(client, server) of the subclass begins to pass octets on between each pair."""

    def __init__(self, folder, server_socket):
        self.path = str(folder / "proxy")
        self.server_socket = server_socket
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        self.kept = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.server_socket)
            except OSError:
                client.close()
                continue
            self.serve(client, server)

    def close(self):
        self.listener.close()
        for s in self.kept:
            shut(s)


class Proxy(Relay):
    """on_packet(payload) decides about each packet of a client before it is passed on:
    "pass"; "cut" (the client is cut off, the server's side stays open); "cut-then-pass-later" (the same, and the packet reaches the
    server `later` seconds afterwards, while its session lives)."""

    def __init__(self, folder, server_socket, on_packet, later=2.0, linger=None):
        self.on_packet, self.later, self.linger = on_packet, later, linger
        super().__init__(folder, server_socket)

    def serve(self, client, server):
        state = {"cut": False}
        threading.Thread(target=self.to_client, args=(server, client, state), daemon=True).start()
        threading.Thread(target=self.to_server, args=(client, server, state), daemon=True).start()

    def to_client(self, server, client, state):
        try:
            while data := server.recv(65536):
                if not state["cut"]:
                    client.sendall(data)
        except OSError:
            pass
        if not state["cut"]:
            shut(client)

    def to_server(self, client, server, state):
        try:
            while packet := read_packet(client):
                verdict = self.on_packet(packet[4:])
                if verdict == "pass":
                    server.sendall(packet)
                    continue
                state["cut"] = True
                self.kept.append(server)
                if verdict == "cut-after":
                    server.sendall(packet)
                shut(client)
                if verdict == "cut-then-pass-later":
                    time.sleep(self.later)
                    server.sendall(packet)
                if self.linger is not None:
                    time.sleep(self.linger)
                    shut(server)
                return
        except OSError:
            pass
        shut(server)


class ByteProxy(Relay):
    """It knows nothing of packets. plan() says for each connection what happens to it:
    None, or (side, octet, what): once so many octets came from "client" or "server" the client is cut off at exactly that octet and the
    session of the server lives on for `linger` seconds ("cut"), or neither hears of the other any more ("mute").
    pause is waited before each piece is passed on."""

    def __init__(self, folder, server_socket, plan, pause=0.0, linger=0.2):
        self.plan, self.pause, self.linger = plan, pause, linger
        self.done = collections.Counter()
        super().__init__(folder, server_socket)

    def serve(self, client, server):
        self.kept += [client, server]
        side, octet, what = self.plan() or ("", 0, "")
        state = {"is_over": False}
        for name, source, sink in (("client", client, server), ("server", server, client)):
            threading.Thread(target=self.pump, args=(source, sink, state, octet if side == name else None, what, client, server),
                             daemon=True).start()

    def pump(self, source, sink, state, octet, what, client, server):
        passed = 0
        try:
            while data := source.recv(65536):
                if self.pause:
                    time.sleep(self.pause)
                if state["is_over"]:
                    continue
                if octet is not None and passed + len(data) >= octet:
                    state["is_over"] = True
                    sink.sendall(data[:octet - passed])
                    self.done[what] += 1
                    if what == "cut":
                        shut(client)
                        time.sleep(self.linger)
                        shut(server)
                    continue
                sink.sendall(data)
                passed += len(data)
        except OSError:
            pass
        if not state["is_over"]:
            shut(sink)


def shut(s):
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece:
            return b""
        data += piece
    return data


def read_packet(s):
    head = read_exactly(s, 4)
    return head and head + read_exactly(s, struct.unpack("<I", head[:3] + b"\0")[0])


def finish(db, h, numbers, seconds=90):
    m = h.wait_at_rest(len(numbers), seconds)
    m.check_exact()
    check_equal(m.sum("heptap_kernel_dropped_total") + m.sum("heptap_shed_total") + m.sum("heptap_lost_total"), 0, "losses")
    check_once(db, numbers)
    return m


def kill_database(world, flush, kills=3):
    db = world.database([f"--innodb-flush-log-at-trx-commit={flush}"])
    h = world.heptap()
    load = Load(h.port)
    pick = random.Random(flush)
    for _ in range(kills):
        before = h.metrics().sum("heptap_stored_total")
        wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 1000, 30, "rows flow")
        time.sleep(pick.random() * 0.5)
        db.kill()
        db.start()
    numbers = load.stop()
    m = finish(db, h, numbers)
    print(f"        {len(numbers)} messages, {kills} kills, {m.sum('heptap_rows_rewound_total')} rows rewound")
    check_equal(h.stop(), 0, "exit code")


def test_kill_database_flush_0(world):
    """kill -9 of mariadbd, which then forgets what it confirmed in the last second: stored again, once."""
    kill_database(world, 0)


def test_kill_database_flush_1(world):
    """kill -9 of mariadbd that syncs at each commit."""
    kill_database(world, 1)


def test_kill_database_flush_2(world):
    """kill -9 of mariadbd that leaves its log in the page cache."""
    kill_database(world, 2)


def test_database_forgets_while_idle(world):
    """The database is killed just after a commit and nothing more arrives: the rows come back all the same."""
    db = world.database(["--innodb-flush-log-at-trx-commit=0"])
    h = world.heptap()
    rewound = 0
    for turn in range(8):
        numbers = range(turn * 100, turn * 100 + 100)
        h.send([hep3(sip(n)) for n in numbers])
        wait_until(lambda: h.metrics().sum("heptap_stored_total") - h.metrics().sum("heptap_rows_rewound_total") >= (turn + 1) * 100, 20,
                   "stored")
        db.kill()
        db.start()
        wait_until(lambda: len(stored_numbers(db)) == (turn + 1) * 100, 40, "all rows are there again")
        rewound = h.metrics().sum("heptap_rows_rewound_total")
        if rewound:
            break
    check(rewound > 0, "the database never forgot anything: nothing was tested")
    h.metrics().check_exact()
    check_once(db, range((turn + 1) * 100))
    h.stop()


def kill_heptap(world, kills):
    db = world.database()
    h = world.heptap()
    pick = random.Random(99)
    first, late, worst = 0, set(), 0.0
    allowed = set()
    for _ in range(kills):
        load = Load(h.port, first=first)
        before = h.metrics().sum("heptap_stored_total")
        wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 1000, 30, "rows flow")
        time.sleep(pick.random() * 0.3)
        h.kill()
        killed_at = time.monotonic()
        numbers = load.stop()
        first = numbers.stop
        # What it had read and not appended (batch_ms + 30 ms), or what was in its socket; a second, because the machine may be busy.
        allowed |= {n for n, at in zip(numbers, load.sent_at) if at > killed_at - 1.0}
        late |= {n for n, at in zip(numbers, load.sent_at) if at <= killed_at}
        times = dict(zip(numbers, load.sent_at))
        h.start()
        def settled():
            m = h.metrics()
            return m.sum("heptap_in_spool") + m.sum("heptap_spool_streams_unread") == 0 and m.sum("heptap_db_up") == 1
        wait_until(settled, 60, "the spool of the killed one is stored")
        got = stored_numbers(db)
        lost = [times[n] for n in numbers if n not in got and times[n] <= killed_at]
        if lost:
            worst = max(worst, killed_at - min(lost))
    m = h.metrics()
    m.check_exact()
    got = stored_numbers(db)
    check(all(t == 1 for t in got.values()), "some are stored more than once")
    missing = late - set(got)
    check(missing <= allowed, f"missing, though sent long before the kill: {sorted(missing - allowed)[:10]}")
    print(f"        {kills} kills, {len(missing)} of {len(late)} messages missing, the oldest sent {worst * 1000:.0f} ms before its kill")
    h.stop()


def test_kill_heptap(world):
    """kill -9 of heptap under load: what its spool has is stored once; only what it had just read is missing."""
    kill_heptap(world, 4)


@only_waits
def test_database_stopped_longer_than_the_time_out(world):
    """SIGSTOP of mariadbd for longer than the read time-out: the old session may still commit after the new one asks."""
    db = world.database()
    h = world.heptap()
    load = Load(h.port, per_second=1000)
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > 500, 30, "rows flow")
    os.kill(db.process.pid, signal.SIGSTOP)
    wait_until(lambda: "rows wait in the spool" in h.log_text(), 60, "the read time-out")
    time.sleep(1)
    os.kill(db.process.pid, signal.SIGCONT)
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 60, "stores again")
    finish(db, h, load.stop())
    check_equal(h.stop(), 0, "exit code")


def cut_at_commit(world, verdict, count=3):
    db = world.database()
    cuts = []
    seen = [0]

    def on_packet(payload):
        if payload[:1] != b"\x03" or payload[1:].upper() != b"COMMIT":
            return "pass"
        seen[0] += 1
        if seen[0] % 7 == 0 and len(cuts) < count:
            cuts.append(time.monotonic())
            return verdict
        return "pass"

    proxy = Proxy(world.folder, db.socket, on_packet)
    h = world.heptap(db_socket=proxy.path)
    load = Load(h.port, per_second=2000)
    wait_until(lambda: len(cuts) == count, 60, f"{count} connections cut at COMMIT")
    before = h.metrics().sum("heptap_stored_total")
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 500, 60, "rows flow again")
    m = finish(db, h, load.stop())
    check_equal(m.sum("heptap_rows_rewound_total"), 0, "rewound")
    check_equal(h.stop(), 0, "exit code")
    proxy.close()


def test_cut_between_commit_and_ok(world):
    """The server commits, its OK never arrives, its session lives on: the ledger says so, nothing is stored twice."""
    cut_at_commit(world, "cut-after")


def test_cut_while_the_old_session_still_commits(world):
    """The client is cut off; its COMMIT reaches the server two seconds later, when the new session already waits for the ledger row."""
    cut_at_commit(world, "cut-then-pass-later")


@only_waits
def test_cut_before_commit(world):
    """COMMIT never reaches the server and the old session lives on: it loses its locks after half a minute, then the rows are stored."""
    db = world.database()
    cuts = []

    def on_packet(payload):
        if payload[:1] == b"\x03" and payload[1:].upper() == b"COMMIT" and not cuts:
            cuts.append(1)
            return "cut"
        return "pass"

    proxy = Proxy(world.folder, db.socket, on_packet)
    h = world.heptap(db_socket=proxy.path)
    h.send([hep3(sip(n)) for n in range(200)], pause_each=50)
    finish(db, h, range(200))
    check_equal(len(cuts), 1, "cuts")
    h.stop()
    proxy.close()


def test_cut_anywhere(world):
    """The connection is cut at random packets, rows and ledger updates included, with and without the packet getting through."""
    db = world.database()
    pick = random.Random(7)
    cuts = []

    def on_packet(payload):
        if pick.random() > 0.01 or len(cuts) >= 15 or payload[:1] not in (b"\x03", b"\xfa"):
            return "pass"
        cuts.append(1)
        return pick.choice(["cut-after", "cut-then-pass-later"])

    proxy = Proxy(world.folder, db.socket, on_packet, later=0.3, linger=0.3)
    h = world.heptap(db_socket=proxy.path)
    load = Load(h.port, per_second=2000)
    wait_until(lambda: len(cuts) >= 8, 90, "eight cuts")
    numbers = load.stop()
    proxy.on_packet = lambda payload: "pass"
    for s in proxy.kept:
        shut(s)
    finish(db, h, numbers)
    h.stop()
    proxy.close()


def test_torn_tail_is_cut(world):
    """A block that was being written when the process ended is cut off at the next start and said; whole blocks before it are stored."""
    db = world.database()
    h = world.heptap()
    db.stop()
    h.send([hep3(sip(n)) for n in range(200)], pause_each=50)
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 200, 20, "spooled")
    h.kill()
    segment, = (h.folder / "spool").glob("[0-7]*.seg")  # 8 to f: sums of statistics
    with open(segment, "ab") as f:
        f.write(segment.read_bytes()[:500])
    db.start()
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_stored_total") == 200, 30, "stored")
    m = h.metrics()
    m.check_exact()
    check_equal(m.sum("heptap_spool_torn_bytes_total"), 500, "octets cut")
    check_once(db, range(200))
    h.stop()


def test_damaged_block_costs_only_itself(world):
    """A flipped octet in the middle of a segment: the rows of that block are lost and counted exactly, all others are stored."""
    db = world.database()
    h = world.heptap()
    db.stop()
    for n in range(0, 300, 100):
        h.send([hep3(sip(k)) for k in range(n, n + 100)])
        wait_until(lambda: h.metrics().sum("heptap_in_spool") == n + 100, 20, "spooled")
    h.kill()
    segment, = (h.folder / "spool").glob("[0-7]*.seg")  # 8 to f: sums of statistics
    data = bytearray(segment.read_bytes())
    at = data.index(b"n150@heptap.test")
    data[at] ^= 1
    segment.write_bytes(data)
    db.start()
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 0 and h.metrics().sum("heptap_stored_total") > 0, 30, "stored")
    m = h.metrics()
    m.check_exact()
    lost = m.sum("heptap_lost_total", reason="damage")
    got = stored_numbers(db)
    check(0 < lost < 300 and len(got) + lost == 300, f"stored {len(got)}, lost {lost}")
    check(150 not in got and 0 in got and 299 in got, "the damaged block's rows alone are lost")
    check(list((h.folder / "spool").glob("*.bad")), "the damaged segment is kept")
    h.stop()


@only_waits
def test_spool_is_cleaned(world):
    """Half a minute after they are stored segments go, and with the last one of an earlier start its ledger row."""
    db = world.database()
    h = world.heptap()
    h.send([hep3(sip(n)) for n in range(100)])
    h.wait_at_rest(100)
    h.stop()
    h.start()
    check_equal(len(list((h.folder / "spool").glob("[0-7]*.seg"))), 1, "segments of the earlier start")
    wait_until(lambda: not list((h.folder / "spool").glob("*.seg")), 60, "the segment is removed")
    wait_until(lambda: db.number("SELECT COUNT(*) FROM heptap_ledger") == 0, 20, "the ledger row is removed")
    check_once(db, range(100))
    h.stop()


FAULTS = ["db-kill", "db-stop", "db-pause", "cuts", "heptap-kill", "heptap-stop", "disk-full", "damage"]


class Rounds:
    """Random faults, one after the other, of a database behind a proxy and of a heptap whose spool has a small disk; after each
    the messages of that round are accounted for."""

    def __init__(self, world, seed):
        self.pick, self.seed = random.Random(seed), seed
        self.db = world.database()
        self.cuts = 0
        self.proxy = ByteProxy(world.folder, self.db.socket, self.cut)
        self.disk = world.small_disk(world.folder / "spool", 300)
        self.h = world.heptap(spool=self.disk.folder, prefix=self.disk.prefix, start=False)
        self.h.write(db_socket=self.proxy.path)
        self.h.start()
        self.sent = self.settled = 0
        self.missing = set()

    def cut(self):
        if self.cuts <= 0:
            return None
        self.cuts -= 1
        side, most = self.pick.choice([("client", 20), ("server", 13)])
        return side, int(2 ** self.pick.uniform(0, most)), "cut"

    def rows_flow(self, rows):
        before = self.h.metrics().sum("heptap_stored_total")
        wait_until(lambda: self.h.metrics().sum("heptap_stored_total") >= before + rows, 180, f"rows flow: {self.h.summary()}")

    def seen(self):
        m = self.h.metrics()
        return m.sum("heptap_received_total") + m.sum("heptap_kernel_dropped_total")

    def not_taken(self):
        m = self.h.metrics()
        return m.sum("heptap_shed_total") + m.sum("heptap_kernel_dropped_total")

    def wait_for_rest(self):
        def at_rest():
            m = self.h.metrics()
            waiting = m.sum("heptap_in_spool") + m.sum("heptap_in_memory") + m.sum("heptap_spool_streams_unread")
            return waiting == 0 and m.lines()[1] == 0 and m.sum("heptap_db_up") == 1
        wait_until(at_rest, 180, lambda: f"at rest: {self.h.summary()}")
        self.h.metrics().check_exact()

    # Each fault: what may be missing for it, and how many were lost by damage.

    def db_kill(self, load):
        flush = self.pick.choice([0, 1, 2])
        self.db.query(f"SET GLOBAL innodb_flush_log_at_trx_commit = {flush}")
        self.rows_flow(200)
        self.db.kill()
        self.db.start()

    def db_stop(self, load):
        self.db.stop()
        self.db.start()

    def db_pause(self, load):
        os.kill(self.db.process.pid, signal.SIGSTOP)
        time.sleep(self.pick.choice(self.pauses))
        os.kill(self.db.process.pid, signal.SIGCONT)

    def some_cuts(self, load):
        self.cuts = self.pick.randrange(1, 5)
        for s in self.proxy.kept:
            shut(s)
        self.proxy.kept = []
        wait_until(lambda: self.cuts == 0, 60, "cuts")

    def disk_full(self, load):
        self.disk.fill()
        wait_until(lambda: self.h.metrics().sum("heptap_spool_ok") == 0 or self.disk.fill(), 60, "the disk is full")
        time.sleep(self.pick.random())
        self.disk.empty()
        wait_until(lambda: self.h.metrics().sum("heptap_spool_ok") == 1, 60, "it takes blocks again")

    def heptap_ends(self, load, how):
        """What it had read and not appended is gone, or what was in its socket; a second, because the machine may be busy."""
        ended_at = time.monotonic()
        how()
        numbers = load.stop()
        return {n for n, at in zip(numbers, load.sent_at) if at > ended_at - 1.0}

    def damage(self, load):
        self.db.stop()
        rows = self.h.metrics().sum("heptap_in_spool")
        wait_until(lambda: self.h.metrics().sum("heptap_in_spool") > rows + 500, 60, "rows wait")
        allowed = self.heptap_ends(load, self.h.kill)
        self.db.start()
        stored = set(stored_numbers(self.db, f"id >= {self.settled}"))
        blocks = [b for path in sorted(self.disk.inside.glob("*.seg")) for b in blocks_of(path)]
        waiting = [b for b in blocks if b.numbers and not b.numbers & stored and min(b.numbers) >= load.first]
        lost = set()
        for block in self.pick.sample(waiting[:-1], min(2, len(waiting) - 1)):
            with open(block.path, "r+b") as f:
                f.seek(block.at + self.pick.randrange(block.size))
                octet = f.read(1)[0]
                f.seek(-1, os.SEEK_CUR)
                f.write(bytes([octet ^ 1 << self.pick.randrange(8)]))
            lost |= block.numbers
        check(lost or len(waiting) < 2, "nothing was damaged")
        return allowed, lost

    def round(self, what):
        seen, not_taken, allowed, lost = self.seen(), self.not_taken(), set(), set()
        load = Load(self.h.port, per_second=3000, first=self.sent, method="INVITE")  # which is not shed while there is memory
        self.rows_flow(500)
        time.sleep(self.pick.random() * 0.5)
        if what.startswith("heptap"):
            allowed = self.heptap_ends(load, self.h.kill if what == "heptap-kill" else self.h.stop)
        elif what == "damage":
            allowed, lost = self.damage(load)
        else:
            {"db-kill": self.db_kill, "db-stop": self.db_stop, "db-pause": self.db_pause, "cuts": self.some_cuts,
             "disk-full": self.disk_full}[what](load)
        numbers = load.stop()
        self.sent = numbers.stop
        is_new = self.h.process.poll() is not None
        if is_new:
            self.h.start()
        else:
            wait_until(lambda: self.seen() - seen >= len(numbers), 60, lambda: f"{len(numbers)} more are seen: {self.h.summary()}")
        self.wait_for_rest()
        got = stored_numbers(self.db, f"id >= {self.settled}")
        missing = set(numbers) - set(got)
        check(all(times == 1 for times in got.values()), f"{what}: stored twice: {sorted(n for n, t in got.items() if t > 1)[:10]}")
        check(lost <= missing, f"{what}: damaged and stored: {sorted(lost - missing)[:10]}")
        check_equal(self.h.metrics().sum("heptap_lost_total") if is_new else 0, len(lost), f"{what}: lost")
        if is_new:
            check(missing - lost <= allowed, f"{what}: missing {sorted(missing - lost - allowed)[:10]}")
        else:
            check_equal(len(missing), self.not_taken() - not_taken, f"{what}: missing, but for those that were shed: {sorted(missing)[:10]}")
        self.missing |= missing
        self.settled = self.db.number("SELECT MAX(id) FROM sip_capture") + 1
        return len(numbers), len(missing), len(lost)

    def run(self, faults, pauses):
        self.pauses = pauses
        print(f"        SEED={self.seed}", flush=True)
        for turn, what in enumerate(faults):
            sent, missing, lost = self.round(what)
            print(f"        round {turn}: {what}: {sent} sent, {missing} missing, {lost} of them damaged", flush=True)
        check_once(self.db, set(range(self.sent)) - self.missing)
        check_equal(self.h.stop(), 0, "exit code")
        self.proxy.close()


def seed_of_this_run():
    return int(os.environ.get("SEED", random.randrange(10**6)))


def soak_random_faults(world):
    """A hundred rounds of random kills, stops, pauses, cuts, full disks and damage under load. SEED=n does the same again, as far as
    the machine's pace allows."""
    rounds = Rounds(world, seed_of_this_run())
    rounds.run([rounds.pick.choice(FAULTS) for _ in range(100)], (1, 5, 35))


@release_only
def test_random_faults(world):
    """One round of each fault of soak_random_faults, in random order."""
    rounds = Rounds(world, seed_of_this_run())
    rounds.run(rounds.pick.sample(FAULTS, len(FAULTS)), (1,))


def test_stop_under_load(world):
    """SIGTERM while messages come: what reached the socket is stored or counted, and nothing is stored twice."""
    db = world.database()
    h = world.heptap()
    load = Load(h.port, per_second=20000)
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > 2000, 30, "rows flow")
    check_equal(h.stop(), 0, "exit code")
    load.stop()
    received, accepted, stored, dropped = map(int, re.search(
        r"stopped: (\d+) messages received, (\d+) accepted, 0 shed; (\d+) rows stored, 0 lost, 0 wait.*dropped (\d+)", h.log_text()).groups())
    got = stored_numbers(db)
    check_equal((received, accepted, len(got)), (stored, stored, stored), "received, accepted, stored")
    check(all(t == 1 for t in got.values()), "some are stored more than once")
    last = max(got)
    check(last + 1 - len(got) <= dropped, f"{last + 1 - len(got)} missing before the last stored one, {dropped} counted as dropped")
