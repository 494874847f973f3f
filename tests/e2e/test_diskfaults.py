"""What goes wrong with the disk that the spool is on, and with the clock: receiving goes on, rows wait, and what is lost is counted."""
import errno
import mmap
import os
import random
import shutil
import struct
import subprocess

from lib import ROOT, Block, blocks_of, check, check_equal, check_once, hep3, only_waits, release_only, sip, stored_numbers, wait_until
from test_faults import Load, finish


class Faults:
    """Errors of the kernel and the time of day as heptap sees them; see faults.c."""

    def __init__(self, world):
        self.file, library = world.folder / "faults", world.folder / "faults.so"
        self.file.write_bytes(bytes(4096))
        with open(self.file, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)
        done = subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, ROOT / "tests" / "e2e" / "faults.c"],
                              capture_output=True, text=True)
        check(done.returncode == 0, f"faults.c: {done.stderr}")
        self.environment = {"LD_PRELOAD": str(library), "HEPTAP_TEST_FAULTS": str(self.file)}

    def writing(self, number):
        self.map[0:4] = struct.pack("<i", number)

    def reading(self, number, name="", first=0, end=2**63):
        self.map[32:96] = name.encode().ljust(64, b"\0")
        self.map[8:24] = struct.pack("<QQ", first, end)
        self.map[4:8] = struct.pack("<i", number)

    def clock(self, seconds):
        self.map[24:32] = struct.pack("<q", int(seconds * 1e6))


def told(h):
    log = h.log_text()
    return log.count("cannot take more"), log.count("takes blocks again")


def of_this_start(h):
    return h.log_text().split(" cores, ")[-1]


# ---- segments ----

def segments(h):
    """Those of messages; sums of statistics have streams of 8 to f."""
    return sorted((h.folder / "spool").glob("[0-7]*.seg"))


def spooled(world, h, total, size=4000):
    """Messages that wait in several segments, and their blocks; heptap has ended."""
    h.write(spool_max="32M")  # segments of 8 MiB
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 20, "up")
    world.db.stop()
    for n in range(0, total, 100):
        h.send([hep3(sip(k, size=size)) for k in range(n, min(n + 100, total))], pause_each=10)
        wait_until(lambda: h.metrics().sum("heptap_in_spool") >= min(n + 100, total) - 2, 20, "spooled")
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == total, 20, "spooled")
    h.kill()
    blocks = [b for path in segments(h) for b in blocks_of(path) if b.numbers]  # not those of statistics
    check_equal(sum(b.rows for b in blocks), total, "rows in the blocks")
    return blocks


def only_those_are_lost(world, h, total, lost):
    """After the damage: what was damaged is counted lost, all else is stored once."""
    world.db.start()
    h.start()
    def settled():
        m = h.metrics()
        return m if m.sum("heptap_in_spool") == 0 and m.sum("heptap_stored_total") + m.sum("heptap_lost_total") >= total else None
    m = wait_until(settled, 90, lambda: f"{total} stored or lost: {h.summary()}")
    m.check_exact()
    check_once(world.db, set(range(total)) - lost)
    check_equal(m.sum("heptap_lost_total", reason="damage"), len(lost), "lost")
    return m


# ---- writing ----

@release_only
def test_errors_of_writing(world):
    """EIO, EROFS, ENOSPC, EDQUOT for everything that changes the spool: one line when it begins and one when it ends, memory holds what
    comes, then all is stored."""
    db = world.database()
    faults = Faults(world)
    h = world.heptap(environment=faults.environment)
    load = Load(h.port, per_second=1000, method="INVITE")  # which memory is for, while the spool takes nothing
    for turn, number in enumerate((errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT)):
        before = h.metrics().sum("heptap_stored_total")
        wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 300, 30, "rows flow")
        faults.writing(number)
        wait_until(lambda: h.metrics().sum("heptap_in_memory") > 500, 30, "memory fills")
        m = h.metrics()
        m.check_no_negative()
        check_equal((m.sum("heptap_spool_ok"), told(h)), (0, (turn + 1, turn)), "spool_ok, lines in the log")
        check(os.strerror(number) in h.log_text(), "the reason is in the log:\n" + h.log_text())
        check_equal(h.get("/readyz")[0], 200, "the database still answers")
        faults.writing(0)
        wait_until(lambda: h.metrics().sum("heptap_spool_ok") == 1 and told(h) == (turn + 1, turn + 1), 30, "it takes blocks again")
    finish(db, h, load.stop())
    check_equal(h.stop(), 0, "exit code")
    h.start()  # and what lies there is whole
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 30, "up")
    h.metrics().check_exact()
    check_once(db, load.stop())
    h.stop()


def no_room(world, fill, make_room, **settings):
    """The database is down and the spool cannot take more: not ready, the oldest lines of defence hold, and it is over when there is room."""
    db = world.database()
    h = world.heptap(top="memory: 64M", **settings)
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 20, "up")
    db.stop()
    load = Load(h.port, per_second=4000, method="INVITE", size=1500)
    fill(h)
    wait_until(lambda: h.metrics().sum("heptap_shed_total") > 1000, 120, lambda: f"messages are shed: {h.summary()}")
    wait_until(lambda: h.get("/readyz")[0] == 503, 30, "not ready: neither storing nor spooling")
    check_equal(told(h)[0], 1, "lines in the log:\n" + h.log_text())
    numbers = load.stop()
    m = h.metrics()
    m.check_no_negative()
    make_room(db)
    wait_until(lambda: h.get("/readyz")[0] == 200, 60, "ready again")
    m = h.wait_at_rest(len(numbers), 150)
    m.check_exact()
    check_equal((m.sum("heptap_lost_total"), told(h)), (0, (1, 1)), "lost, lines in the log:\n" + h.log_text())
    got = stored_numbers(db)
    check(all(times == 1 for times in got.values()), "some are stored more than once")
    check_equal(len(got), len(numbers) - m.sum("heptap_shed_total") - m.sum("heptap_kernel_dropped_total"), "stored, but for those that were shed")
    more = range(numbers.stop, numbers.stop + 500)
    wait_until(lambda: not any(v for k, v in h.metrics().values.items() if k.startswith("heptap_pressure")), 60, "nothing is shed any more")
    h.send([hep3(sip(n)) for n in more], pause_each=50)
    h.wait_at_rest(len(numbers) + 500).check_exact()
    missing = set(more) - set(stored_numbers(db))
    check(not missing, f"not stored after that: {sorted(missing)[:10]}")
    check_equal(h.stop(), 0, "exit code")


def test_disk_of_the_spool_is_filled_by_others(world):
    """Somebody else takes what is free, and gives it back."""
    spool = world.folder / "spool"
    disk = world.small_disk(spool, 24)

    def make_room(db):
        disk.empty()
        db.start()
    no_room(world, lambda h: disk.fill(), make_room, spool=spool, prefix=disk.prefix)


@only_waits
def test_disk_of_the_spool_is_filled_by_us(world):
    """Less room than spool.max and than one segment: what is stored goes half a minute later, and makes room."""
    spool = world.folder / "spool"
    disk = world.small_disk(spool, 24)
    no_room(world, lambda h: None, lambda db: db.start(), spool=spool, prefix=disk.prefix)


@only_waits
def test_spool_max_is_reached(world):
    """The same by configuration."""
    no_room(world, lambda h: None, lambda db: db.start(), spool_max="16M")


# ---- reading ----

@release_only
def test_an_error_of_reading_that_passes(world):
    """EIO for a while, of a live stream and of an old one: nothing is lost, one line."""
    world.database()
    faults = Faults(world)
    h = world.heptap(start=False, environment=faults.environment)
    blocks = spooled(world, h, 2000)
    faults.reading(errno.EIO, blocks[-1].path.name, 0, blocks[0].size)
    world.db.start()
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_retries_total") >= 4, 30, "tried")
    h.send([hep3(sip(n)) for n in range(2000, 2100)])
    wait_until(lambda: h.metrics().sum("heptap_stored_total") >= 100, 30, "live rows do not wait for it")
    check_equal(of_this_start(h).count("rows wait in the spool"), 1, "lines in the log:\n" + h.log_text())
    faults.reading(0)
    wait_until(lambda: len(stored_numbers(world.db)) == 2100 and h.metrics().sum("heptap_in_spool") == 0, 60, "stored")
    faults.reading(errno.EIO)
    h.send([hep3(sip(n)) for n in range(2100, 2200)])
    wait_until(lambda: of_this_start(h).count("rows wait in the spool") == 2, 30, "a live stream waits")
    faults.reading(0)
    wait_until(lambda: len(stored_numbers(world.db)) == 2200, 60, "stored")
    wait_until(lambda: h.metrics().sum("heptap_db_up") == 1, 30, "up")
    m = h.metrics()
    m.check_exact()
    check_equal((m.sum("heptap_lost_total"), h.log_text().count("database: stores again")), (0, 2), "lost; lines in the log")
    check_once(world.db, range(2200))
    h.stop()


@only_waits
def test_a_place_that_stays_unreadable(world):
    """EIO of the same octets for ever: after half a minute they are lost and counted like any damage, what lies behind them is stored."""
    world.database()
    faults = Faults(world)
    h = world.heptap(start=False, environment=faults.environment)
    blocks = spooled(world, h, 4000)
    name = blocks[0].path.name
    bad = [b for b in blocks if b.path.name == name][2:4]
    faults.reading(errno.EIO, name, bad[0].at + 5000, bad[1].at + 200)
    lost = bad[0].numbers | bad[1].numbers
    m = only_those_are_lost(world, h, 4000, lost)
    check_equal((h.folder / "spool" / f"{name}.bad").read_bytes(), (h.folder / "spool" / name).read_bytes(), "kept")
    check_equal(of_this_start(h).count("rows wait in the spool"), 1, "lines in the log:\n" + h.log_text())
    check(m.sum("heptap_retries_total") >= 5, "tried")
    h.stop()


# ---- damage ----

def damaged(world, seed, total=5000):
    """Every kind of damage at random places of several segments."""
    world.database()
    pick = random.Random(seed)
    h = world.heptap(start=False)
    blocks = spooled(world, h, total)
    spool = h.folder / "spool"
    paths = sorted({b.path for b in blocks})
    check(len(paths) >= 3, f"{len(paths)} segments")
    last = blocks[-1]
    bad = set()

    def flip(block, at):
        data = bytearray(block.path.read_bytes())
        data[block.at + at] ^= 1 << pick.randrange(8)
        block.path.write_bytes(data)
        bad.add(block)

    for block in pick.sample(blocks[:-1], 4):
        flip(block, pick.randrange(block.size))
    if pick.random() < 0.5:
        flip(last, pick.randrange(Block.HEAD.size, last.size))  # the head of the last one is all that tells of its rows
    victim = pick.choice(paths[:-1])
    what = pick.choice(["truncated", "removed", "zeros", "garbage inside"])
    inside = [b for b in blocks if b.path == victim]
    if what == "truncated":
        size = pick.randrange(inside[-1].at + inside[-1].size)
        os.truncate(victim, size)
        bad |= {b for b in inside if b.at + b.size > size}
    elif what == "removed" and victim != paths[0]:
        victim.unlink()
        bad |= set(inside)
    elif what == "zeros":
        victim.write_bytes(bytes(victim.stat().st_size))
        bad |= set(inside)
    else:
        block = pick.choice(inside[:-1])
        data = bytearray(victim.read_bytes())
        data[block.at:block.at + 4096] = pick.randbytes(4096)
        victim.write_bytes(data)
        bad.add(block)
    stream = last.path.name[:16]
    for name, content in (("README", b"not ours"), ("0123.seg", b"x" * 5000), (f"{stream}-{1 << 40:016x}.seg.old", last.path.read_bytes()),
                          (f"{pick.getrandbits(62):016x}-{1:016x}.seg", pick.randbytes(5000)),
                          (f"{pick.getrandbits(62):016x}-{7:016x}.seg", b"")):
        (spool / name).write_bytes(content)
    (spool / f"{pick.getrandbits(62):016x}-{1:016x}.seg").mkdir()
    copy = next(p for p in paths if p.exists())
    shutil.copy(copy, spool / f"{stream}-{last.seq + 1:016x}.seg")  # the same blocks again, under a later name
    shutil.copy(copy, spool / f"{pick.getrandbits(62):016x}-{1:016x}.seg")  # and under another stream's
    lost = set().union(*(b.numbers for b in bad))
    return h, lost, f"{what}, {len(bad)} of {len(blocks)} blocks damaged, {len(lost)} messages lost", {b.path.name for b in bad if b.path.exists()}


def test_damaged_segments(world):
    """Flipped bits, a segment truncated, removed, of zeros, or with garbage in it; foreign files, a folder, the same segment under
    other names: as many rows as were in damaged blocks are lost, no other, and damaged segments are kept."""
    seed = 20261121
    h, lost, what, names = damaged(world, seed)
    print(f"        seed {seed}: {what}")
    only_those_are_lost(world, h, 5000, lost)
    kept = {p.name[:-4] for p in (h.folder / "spool").glob("*.bad")}
    check(names <= kept, f"kept {kept}, damaged {names}")
    check_equal(h.stop(), 0, "exit code")


def test_the_last_blocks_are_damaged(world):
    """Several of them, of which nothing that is whole follows: their heads say what is lost."""
    world.database()
    h = world.heptap(start=False)
    bad = spooled(world, h, 3000)[-3:]
    for block in bad:
        data = bytearray(block.path.read_bytes())
        data[block.at + block.size // 2] ^= 1
        block.path.write_bytes(data)
    only_those_are_lost(world, h, 3000, set().union(*(b.numbers for b in bad)))
    check_equal(h.stop(), 0, "exit code")


def soak_damaged_segments(world):
    """The same with ten seeds, the first of which is SEED or a random one."""
    begin = int(os.environ.get("SEED", random.randrange(10**6)))
    for seed in range(begin, begin + 10):
        h, lost, what, _ = damaged(world, seed)
        print(f"        seed {seed}: {what}", flush=True)
        only_those_are_lost(world, h, 5000, lost)
        h.stop()
        world.db.stop()
        shutil.rmtree(world.db.folder)
        shutil.rmtree(h.folder)


# ---- the clock ----

@release_only
def test_the_clock_jumps(world):
    """An hour ahead, back, a day back, ten minutes ahead, under load: nothing is lost, and no latency is of another age."""
    db = world.database()
    faults = Faults(world)
    h = world.heptap(environment=faults.environment)
    load = Load(h.port, per_second=2000)
    for seconds in (3600, 0, -86400, 600, -600, 0):
        before = h.metrics().sum("heptap_stored_total")
        wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 500, 30, "rows flow")
        faults.clock(seconds)
    before = h.metrics().sum("heptap_stored_total")
    wait_until(lambda: h.metrics().sum("heptap_stored_total") > before + 500, 30, "rows flow")
    m = finish(db, h, load.stop())
    m.check_no_negative()
    total, rows = m.values["heptap_store_latency_seconds_sum"], m.values["heptap_store_latency_seconds_count"]
    check(0 <= total <= 86400 * rows, f"latency: {total} s of {rows} rows")
    late = rows - m.values['heptap_store_latency_seconds_bucket{le="60.000"}']
    check(late < rows / 2, f"{late} of {rows} rows are as late as the clock jumped: only those on their way should be")
    check_equal((m.sum("heptap_retries_total"), h.stop()), (0, 0), "retries, exit code")
