"""More than fits: lower classes go first and calls last, by whole Call-IDs, and when there is room again nothing is shed any more."""
import subprocess
import time

from lib import Skip, check, check_equal, chunk, hep3, only_waits, sip, wait_until

MIB = 1 << 20
METHODS = {2: ["OPTIONS"] * 4, 3: ["REGISTER"] * 4, 4: ["SUBSCRIBE", "NOTIFY", "NOTIFY", "MESSAGE"], 5: ["INVITE", "ACK", "INFO", "BYE"]}
DIALOGS = 16


def of_call(name, method, size=0):
    body = "x" * size
    return (f"{method} sip:u@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.net>\r\n"
            f"Call-ID: {name}\r\nCSeq: 1 {method}\r\nContent-Length: {size}\r\n\r\n{body}").encode()


def probe(turn):
    """Four messages each of 16 Call-IDs of each class, one after the other, as they would come."""
    for step in range(4):
        for n in range(DIALOGS):
            yield hep3(b"a line of a log", kind=100, extra=chunk(17, f"1-{turn}-{n}".encode()))
            for klass, methods in METHODS.items():
                yield hep3(of_call(f"{klass}-{turn}-{n}", methods[step]))


class Flood:
    """Sends so that nothing is dropped on the way, and waits until what was sent is in the spool, or the spool takes nothing more."""

    def __init__(self, h):
        self.h = h
        self.sent = 0

    def send(self, packets, slice_of=50):
        packets = list(packets)
        for at in range(0, len(packets), slice_of):
            self.h.send(packets[at:at + slice_of])
            self.sent += len(packets[at:at + slice_of])
            wait_until(self.is_received, 30, "received")

    def is_received(self):
        m = self.h.metrics()
        return m.sum("heptap_received_total") + m.sum("heptap_kernel_dropped_total") >= self.sent and m.lines()[1] == 0

    def settle(self):
        def settled():
            m = self.h.metrics()
            return m if m.sum("heptap_in_memory") == 0 or m.sum("heptap_spool_ok") == 0 else None
        return wait_until(settled, 30, "all is in the spool")

    def fill(self, octets, turn=0):
        """Calls of one long message each."""
        count = max(1, octets // 20_600)
        self.send((hep3(of_call(f"5-fill-{turn}-{n}", "INVITE", 20_000)) for n in range(count)))
        return self.settle()


def level(m, reason="spool"):
    return round(m.values[f'heptap_pressure{{reason="{reason}"}}'] * 80)


def small_spool(world, octets, **settings):
    db = world.database()
    h = world.heptap(start=False, top="hep_threads: 1", **settings)
    h.file.write_text(h.file.read_text().replace("max: 4G", f"max: {octets}"))
    db.stop()
    h.start()
    return db, h


def dialogs_stored(db):
    """{(class, turn, number): messages} of all probes."""
    rows = db.query("SELECT callid FROM sip_capture WHERE callid NOT LIKE '%fill%' AND callid LIKE '_-%' "
                    "UNION ALL SELECT correlation_id FROM logs_capture WHERE correlation_id LIKE '1-%'")
    got = {}
    for (name,) in rows:
        key = tuple(int(part) for part in name.decode().split("-"))
        got[key] = got.get(key, 0) + 1
    return got


def check_turns(got, turns):
    """What a level keeps: classes above it all, classes below it nothing, of the class it has reached whole dialogs."""
    parted = 0
    for turn, at in turns.items():
        for klass in range(1, 6):
            counts = [got.get((klass, turn, n), 0) for n in range(DIALOGS)]
            kept = sum(counts) // 4
            check(set(counts) <= {0, 4}, f"class {klass} at level {at}: a dialog is not whole: {counts}")
            if at <= 16 * (klass - 1):
                check_equal(kept, DIALOGS, f"class {klass} at level {at}, kept")
            elif at >= 16 * klass:
                check_equal(kept, 0, f"class {klass} at level {at}, kept")
            else:
                parted += 0 < kept < DIALOGS
    return parted


@only_waits
def test_full_spool_sheds_by_class_and_whole_dialogs(world):
    """The database is away and the spool fills up: reports go first and calls last, of each Call-ID everything or nothing; when the database
    is back all that was kept arrives, the level falls and nothing more is shed; nothing grows meanwhile, and all is accounted for."""
    size = 128 * MIB
    db, h = small_spool(world, size)
    flood = Flood(h)
    m = flood.fill(int(size * 0.78))
    check_equal((level(m), m.sum("heptap_shed_total")), (0, 0), "pressure and shed at 78 %")
    turns, first_shed, turn = {}, {}, 0
    while m.sum("heptap_spool_ok") == 1 and turn < 200:
        before = level(m)
        shed = {k: m.sum("heptap_shed_total", **{"class": str(k)}) for k in range(1, 6)}
        flood.send(probe(turn))
        m = flood.settle()
        for k in range(1, 6):
            if m.sum("heptap_shed_total", **{"class": str(k)}) > shed[k]:
                first_shed.setdefault(k, turn)
        if level(m) == before and m.sum("heptap_kernel_dropped_total") == 0:
            turns[turn] = before
        m = flood.fill(size // 200, turn)
        turn += 1
    check_equal(m.sum("heptap_spool_ok"), 0, "the spool is full in the end")
    check_equal(sorted(first_shed, key=lambda k: (first_shed[k], k)), [1, 2, 3, 4, 5], "order in which classes are shed")
    check(first_shed[1] < first_shed[2] < first_shed[3] < first_shed[4] < first_shed[5], f"one after the other: {first_shed}")
    check_equal(m.sum("heptap_shed_total", reason="memory"), 0, "shed for want of memory")
    check('"pressure"' in h.get("/api/status")[1], "/api/status")
    check_equal(m.lines()[1], 0, "messages")

    resident = 'heptap_memory_bytes{group="process",kind="resident"}'
    before = h.metrics().values[resident]
    for n in range(30):
        flood.send((hep3(sip(n * 1000 + i, "INVITE" if i % 2 else "OPTIONS", 800)) for i in range(1000)), 200)
    m = h.metrics()
    blocks = m.values['heptap_memory_bytes{group="blocks",kind="limit"}']
    check(m.values[resident] < before + blocks + 8 * MIB, f"resident: {before} octets, then {m.values[resident]}")
    check_equal(m.lines()[1], 0, "messages")

    db.start()
    h.wait_at_rest(flood.sent, 120).check_exact()
    got = dialogs_stored(db)
    parted = check_turns(got, turns)
    check(parted >= 3, f"too few levels in the middle of a class: {turns}")
    m = wait_until(lambda: (x := h.metrics()) and level(x) == 0 and level(x, "memory") == 0 and x, 120, "the level falls")
    shed = m.sum("heptap_shed_total")
    flood.send(probe(999))
    m = h.wait_at_rest(flood.sent)
    m.check_exact()
    check_equal(m.sum("heptap_shed_total"), shed, "shed, when all is well again")
    got = dialogs_stored(db)
    check_equal([got.get((k, 999, n)) for k in range(1, 6) for n in range(DIALOGS)], [4] * 80, "and everything is stored")
    log = h.log_text()
    check_equal((log.count("spool: nearly full, or takes nothing: shedding begins"), log.count("spool: shedding ends")), (1, 1), "log lines")
    for klass in range(2, 6):
        check(f"shedding reaches class {klass}" in log or f"up to class {klass}" in log, f"the log names class {klass}")
    check(log.count("shedding") < 40, "one line per change of class")
    check_equal(h.stop(), 0, "exit code")
    print(f"        {flood.sent} sent, {int(shed)} shed, {len(turns)} turns at a constant level, {parted} of them in the middle of a class")


@only_waits
def test_tcp_agents_are_slowed_for_a_moment_under_pressure(world):
    """The spool is nearly full and blocks are free: a TCP agent is not read for two seconds, then read and shed by class like everybody."""
    db, h = small_spool(world, 16 * MIB)
    flood = Flood(h)
    m = flood.fill(int(16 * MIB * 0.86))
    check(16 <= level(m) < 64 and m.sum("heptap_spool_ok") == 1, f"pressure: {level(m)}")
    received = m.sum("heptap_received_total")
    with h.connect() as s:
        begun = time.monotonic()
        s.sendall(hep3(of_call("call", "INVITE")))
        wait_until(lambda: h.metrics().sum("heptap_received_total") > received, 30, "read at last")
        slowed = time.monotonic() - begun
        check(slowed >= 2, f"read after {slowed:.2f} s, before the moment was over")
        s.sendall(b"".join(hep3(b"a line", kind=100) for _ in range(1000)) + hep3(of_call("call", "BYE")))
        m = wait_until(lambda: (x := h.metrics()).sum("heptap_received_total") == received + 1002 and x, 30, "all is read")
        check_equal(m.sum("heptap_connections"), 1, "open connections")
    check_equal(m.sum("heptap_shed_total", reason="spool", **{"class": "1"}), 1000, "logs are shed")
    check_equal(m.sum("heptap_shed_total"), 1000, "and nothing else")
    db.start()
    h.wait_at_rest(flood.sent + 1002).check_exact()
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture WHERE callid='call'"), 2, "messages of the call")
    check_equal(h.stop(), 0, "exit code")


def tmpfs(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"{' '.join(command[:3])}: {done.stderr.strip()}")


@only_waits
def test_full_disk_sheds_all_but_calls_until_there_is_space(world):
    """A spool directory without space, long before the spool's own limit: calls have what memory is left; with space everything goes on."""
    folder = world.folder / "disk"
    folder.mkdir()
    db = world.database()
    tmpfs(["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(folder)])
    try:
        h = world.heptap(start=False, top="hep_threads: 1", spool=folder / "spool")
        db.stop()
        h.start()
        flood = Flood(h)
        turn = 0
        while (m := flood.fill(4 * MIB, turn)).sum("heptap_spool_ok") == 1:
            turn += 1
            check(turn < 30, "40 MiB are full at last")
        check_equal((m.sum("heptap_shed_total"), level(m)), (0, 64), "shed so far, pressure")
        flood.send(probe(1))
        m = h.metrics()
        shed = [m.sum("heptap_shed_total", reason="spool", **{"class": str(k)}) for k in range(1, 6)]
        check_equal(shed, [64, 64, 64, 64, 0], "shed of each class")
        check(m.sum("heptap_spool_ok") == 0 and "No space left on device" in h.log_text(), "the disk is full")
        tmpfs(["mount", "-o", "remount,size=400m", str(folder)])
        wait_until(lambda: (x := h.metrics()).sum("heptap_spool_ok") == 1 and x.sum("heptap_in_memory") == 0, 30, "the spool takes blocks again")
        wait_until(lambda: level(h.metrics()) == 0, 60, "the level falls")
        flood.send(probe(2))
        db.start()
        m = h.wait_at_rest(flood.sent)
        m.check_exact()
        check_equal(m.sum("heptap_shed_total"), 256, "shed in all")
        check_turns(dialogs_stored(db), {1: 64, 2: 0})
        check_equal(h.stop(), 0, "exit code")
    finally:
        for h in world.servers:
            h.end()
        subprocess.run(["umount", str(folder)], check=True)
