"""What a long outage of the database left: the next start receives at once, in as little memory as ever, and stores live rows before old ones."""
import shutil
import subprocess
import time

from lib import check, check_equal, check_once, hep3, release_only, sip, wait_until

ROOM = 64 << 20
FIRST = ",".join(f"'n{n}@heptap.test'" for n in range(20))


def memory(h):
    """Octets resident."""
    with open(f"/proc/{h.process.pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))


def drain(world, h, rows, pace):
    """Start on a spool of so many rows and send beside it until all is stored. @return seconds to ready, numbers sent, largest memory."""
    begun = time.monotonic()
    h.start()
    ready, sent, most, live_first = time.monotonic() - begun, 0, 0, 0
    while (m := h.metrics()).sum("heptap_stored_total") < rows:
        m.check_no_negative()
        most = max(most, memory(h))
        h.send([hep3(sip(n)) for n in range(sent, sent + 20)])
        sent += 20
        if live_first < 20 and m.sum("heptap_in_spool") > rows // 2:
            live_first = world.db.number("SELECT COUNT(*) FROM sip_capture WHERE callid IN (" + FIRST + ")")
        time.sleep(pace)
    h.wait_at_rest(sent, 120).check_exact()
    check(live_first == 20, f"{live_first} of 20 live rows were stored before half of the backlog was")
    return ready, sent, most


@release_only
def test_restart_with_a_backlog(world):
    """A hundred MiB wait: live rows are stored before them, each row once, memory stays as it was."""
    db = world.database()
    h = world.heptap()
    numbers = range(1_000_000, 1_060_000)
    usual = memory(h)
    db.stop()
    for at in range(0, len(numbers), 2000):
        h.send([hep3(sip(n, size=1200)) for n in numbers[at:at + 2000]], pause_each=20)
    waiting = wait_until(lambda: (lambda m: m.sum("heptap_in_memory") == 0 and m.sum("heptap_in_spool"))(h.metrics()), 60, "all is in the spool")
    check_equal(waiting, len(numbers), "rows in the spool")
    h.kill()
    check(sum(f.stat().st_size for f in (h.folder / "spool").glob("*.seg")) > 100 << 20, "a hundred MiB wait")
    db.start()
    _, sent, most = drain(world, h, waiting, 0.02)
    check(most < usual + ROOM, f"{most >> 20} MiB instead of {usual >> 20}")
    check_once(db, [*numbers, *range(sent)])
    check_equal(h.stop(), 0, "exit code")


def soak_backlog_of_ten_gigabytes(world):
    """The same with 10 GiB that are not even in the page cache; says after how long it received."""
    db = world.database(["--innodb-buffer-pool-size=2G", "--innodb-flush-log-at-trx-commit=2", "--innodb-log-file-size=1G"])
    h = world.heptap(spool_max="20G")
    time.sleep(1)
    usual = memory(h)
    h.stop()
    shutil.rmtree(h.settings["spool"])
    tool = h.binary.rsplit("/", 1)[0] + "/tests/bench/bench_backlog"
    rows = int(subprocess.run([tool, h.settings["spool"], str(10 << 30)], check=True, capture_output=True, text=True).stdout)
    for segment in h.settings["spool"].glob("*.seg"):
        subprocess.run(["dd", f"of={segment}", "oflag=nocache", "conv=notrunc,fdatasync", "count=0"], check=True, capture_output=True)
    begun = time.monotonic()
    ready, sent, most = drain(world, h, rows, 0.5)
    seconds = time.monotonic() - begun
    print(f"        {rows} rows: ready after {ready * 1000:.0f} ms, memory {usual >> 20} to {most >> 20} MiB, {rows / seconds:.0f} rows/s beside live ones")
    check(most < usual + ROOM, f"{most >> 20} MiB instead of {usual >> 20}")
    check_equal(db.number("SELECT COUNT(DISTINCT callid) FROM sip_capture"), rows + sent, "each row")
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture"), rows + sent, "once")
    h.stop()
