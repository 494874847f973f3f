"""heptap replay: the spool of a machine that is gone is stored once, however often it is tried and wherever that is interrupted."""
import hashlib
import os
import pty
import re
import shutil
import signal
import subprocess

from lib import Skip, check, check_equal, check_once, hep3, sip, stored_numbers, wait_until


def left_behind(world, numbers, **settings):
    """The copy of a spool that a server left when it was killed while its database was away."""
    h = world.heptap("dead", top="node_id: 5", **settings)
    world.db.stop()
    for at in range(0, len(numbers), 1000):
        h.send([hep3(sip(n)) for n in numbers[at:at + 1000]], pause_each=50)
        wait_until(lambda: h.metrics().sum("heptap_received_total") >= min(at + 1000, len(numbers)), 60, "received")
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == len(numbers), 60, "spooled")
    h.kill()
    copy = world.folder / "copy"
    shutil.copytree(h.folder / "spool", copy)
    world.db.start()
    return h, copy


def fingerprint(folder):
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


def replay(h, folder):
    return h.command("replay", str(folder))


def start(h, folder):
    return subprocess.Popen([h.binary, "replay", str(folder), "-c", str(h.file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_replay_beside_a_server(world):
    """Beside a server that stores; again; and when the machine comes back with the same spool: each row once, and the folder is not touched."""
    db = world.database()
    dead, copy = left_behind(world, range(500))
    h = world.heptap("live", top="node_id: 6")
    before = fingerprint(copy)
    h.send([hep3(sip(n)) for n in range(1000, 1100)])
    done = replay(h, copy)
    check_equal((done.returncode, done.stdout.splitlines()[0]), (0, f"{copy}: 500 rows stored, 0 refused, 0 lost to damage"), done.stderr)
    h.send([hep3(sip(n)) for n in range(1100, 1200)])
    done = replay(h, copy)
    check_equal((done.returncode, done.stdout), (0, f"{copy}: 0 rows stored, 0 refused, 0 lost to damage\n"), done.stderr)
    check_equal(fingerprint(copy), before, "files")
    h.wait_at_rest(200).check_exact()
    check_equal(db.query("SELECT id >> 43, COUNT(*) FROM sip_capture GROUP BY 1"), [[b"6", b"700"]], "ids are leased here")
    dead.start()
    wait_until(lambda: dead.metrics().sum("heptap_db_up") == 1, 20, "up")
    dead.send([hep3(sip(2000))])
    m = dead.wait_at_rest(1)
    m.check_exact()
    check_equal(m.sum("heptap_stored_total"), 1, "nothing was left for the machine itself")
    check_once(db, [*range(500), *range(1000, 1200), 2000])


def test_replay_of_a_damaged_spool(world):
    """What is damaged is lost and counted, what was being written is left out; the exit code says so."""
    db = world.database()
    _, copy = left_behind(world, range(300), storage="batch_rows: 100")
    segment, = copy.glob("[0-7]*.seg")  # 8 to f: sums of statistics
    data = bytearray(segment.read_bytes())
    data[data.index(b"n150@heptap.test")] ^= 1
    segment.write_bytes(data + data[:500])
    before = fingerprint(copy)
    h = world.heptap("live", start=False)
    done = replay(h, copy)
    stored, lost = map(int, re.search(r": (\d+) rows stored, 0 refused, (\d+) lost", done.stdout).groups())
    check_equal((done.returncode, stored + lost), (1, 300), done.stdout + done.stderr)
    got = stored_numbers(db)
    check(0 < lost < 300 and len(got) == stored and 150 not in got and all(t == 1 for t in got.values()), f"stored {len(got)}, lost {lost}")
    check("cut 500 octets" in done.stderr and "is damaged" in done.stderr, done.stderr)
    check_equal(fingerprint(copy), before, "files")


def test_replay_goes_on_where_it_was_interrupted(world):
    """Ctrl-C says how far it came, kill -9 nothing; the same command goes on from there."""
    db = world.database()
    _, copy = left_behind(world, range(40_000))
    h = world.heptap("live", start=False)
    for number in (signal.SIGINT, signal.SIGKILL):
        before = db.number("SELECT COUNT(*) FROM sip_capture")
        p = start(h, copy)
        wait_until(lambda: db.number("SELECT COUNT(*) FROM sip_capture") > before, 20, "it stores")
        p.send_signal(number)
        out, err = p.communicate(timeout=20)
        if number == signal.SIGINT:
            check_equal(p.returncode, 3, out + err)
            left, blocks = map(int, re.search(r"interrupted with (\d+) of (\d+) blocks to go", err).groups())
            check(0 < left < blocks, err)
    check(db.number("SELECT COUNT(*) FROM sip_capture") < 40_000, "all was stored before the interruption: nothing was tested")
    done = replay(h, copy)
    check_equal(done.returncode, 0, done.stdout + done.stderr)
    check_once(db, range(40_000))


def test_replay_that_cannot_be(world):
    """No such directory, nothing in it, no database, the spool of a server that runs."""
    db = world.database()
    h = world.heptap(start=False)
    empty = world.folder / "empty"
    empty.mkdir()
    check_equal(replay(h, empty / "none").returncode, 1, "no directory")
    check_equal((lambda d: (d.returncode, d.stdout))(replay(h, empty)), (0, f"{empty}: nothing is in it\n"), "empty")
    check_equal(list(empty.iterdir()), [], "and nothing was put there")
    check_equal(h.command("replay").returncode, 2, "no word")
    h.start()
    h.send([hep3(sip(n)) for n in range(10)])
    h.wait_at_rest(10)
    done = replay(h, h.folder / "spool")
    check_equal((done.returncode, "a heptap that runs uses it" in done.stderr), (3, True), done.stderr)
    h.kill()
    db.stop()
    done = replay(h, h.folder / "spool")
    check_equal((done.returncode, "the database cannot be reached" in done.stderr), (3, True), done.stderr)


def test_replay_on_a_terminal(world):
    """There it draws a bar with rate and time left."""
    world.database()
    _, copy = left_behind(world, range(20_000))
    h = world.heptap("live", start=False)
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        raise Skip(f"a terminal to draw on is not to be had here: {error}") from error
    p = subprocess.Popen([h.binary, "replay", str(copy), "-c", str(h.file)], stdout=subprocess.PIPE, stderr=theirs, text=True,
                         env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    drawn = b""
    try:
        while piece := os.read(ours, 65536):
            drawn += piece
    except OSError:
        pass
    check_equal(p.wait(), 0, drawn)
    check(re.search(rb"\r\[#+ *\] +\d+ %  \d+ rows  \d+/s  \d+:\d\d left", drawn), drawn)
    os.close(ours)
