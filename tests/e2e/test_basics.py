"""Start, stop, commands, threads, HTTP: what an operator meets first."""
import json
import os
import pathlib
import signal
import socket
import subprocess

from lib import FIXTURES, check, check_equal, check_once, hep3, only_waits, sip, wait_until


def test_first_rows(world):
    """A handful of messages becomes rows with the values that were sent, numbers agree, and the end is clean."""
    db = world.database()
    h = world.heptap()
    h.send([hep3(sip(n), src="2001:db8::1", dst="2001:db8::2", capture_id=70000 + n) for n in range(10)])
    m = h.wait_at_rest(10)
    m.check_exact()
    check_equal(m.sum("heptap_stored_total"), 10, "stored")
    check_once(db, range(10))
    row = db.query("SELECT source_ip, family, node, method, id >> 43 FROM sip_capture WHERE callid = 'n3@heptap.test'")[0]
    check_equal(row, [b"2001:db8::1", b"10", b"node1:70003", b"OPTIONS", b"1"], "row")
    check_equal(h.stop(), 0, "exit code")
    check("10 rows stored, 0 lost" in h.log_text(), "the report at the end: " + h.log_text())


def test_thread_names(world):
    """Threads carry the names of the design; none is called after another one."""
    world.database()
    h = world.heptap(top="hep_threads: 3", storage="writers: 2")
    tasks = pathlib.Path(f"/proc/{h.process.pid}/task")
    names = sorted((t / "comm").read_text().strip() for t in tasks.iterdir())
    if "tsan" in h.binary and names.count("heptap") == 2:
        names.remove("heptap")  # ThreadSanitizer's own thread
    check_equal(names, ["heptap", "ht-admin", "ht-db-0", "ht-db-1", "ht-hep-0", "ht-hep-1", "ht-hep-2", "ht-rcu", "ht-spool", "ht-stat", "ht-watch"],
                "thread names")
    h.stop()


def test_many_threads_and_writers(world):
    """Four receive threads and two writers share the load; each message is stored once."""
    db = world.database()
    h = world.heptap(top="hep_threads: 4", storage="writers: 2")
    for start in range(0, 4000, 100):  # a socket each: the kernel spreads by address and port
        h.send([hep3(sip(n)) for n in range(start, start + 100)])
    h.wait_at_rest(4000).check_exact()
    check_once(db, range(4000))
    check(db.number("SELECT COUNT(*) FROM heptap_ledger WHERE seq > 0 AND stream < 1 << 63") == 2, "both writers have a stream")
    check_equal(db.number("SELECT COUNT(DISTINCT id) FROM sip_capture"), 4000, "different ids")
    h.stop()


def test_multi_row_insert(world):
    """Without bulk statements the same rows arrive by multi-row INSERT."""
    db = world.database()
    h = world.heptap(environment={"HEPTAP_NO_BULK": "1"})
    odd = b"MESSAGE sip:a@b SIP/2.0\r\nCall-ID: n5000@heptap.test\r\nSubject: it's \\ \"q\" \x00 \xff\xfe\r\n\r\n"
    h.send([hep3(sip(n, size=50 * (n % 40))) for n in range(3000)] + [hep3(odd)], pause_each=50)
    h.wait_at_rest(3001).check_exact()
    check_once(db, list(range(3000)) + [5000])
    check_equal(db.query("SELECT msg_raw FROM sip_capture WHERE callid = 'n5000@heptap.test'"), [[odd]], "octets kept")
    h.stop()


def test_repaired_text_keeps_its_octets(world):
    """What is not valid UTF-8 is made readable in msg, and msg_raw has what was sent; a valid message has no msg_raw."""
    db = world.database()
    h = world.heptap()
    bad = sip(1).replace(b"heptap test", b"caf\xe9 \xf0\x9f\x98\x80 \xed\xa0\x80")
    good = sip(2).replace(b"heptap test", "caf\u00e9 \U0001f600".encode())
    h.send([hep3(bad), hep3(good)])
    m = h.wait_at_rest(2)
    check_equal(db.query("SELECT msg_raw, user_agent FROM sip_capture WHERE callid LIKE 'n1@%'"),
                [[bad, "caf? \U0001f600 ???".encode()]], "repaired")
    check_equal(db.query("SELECT msg, LENGTH(msg_raw) FROM sip_capture WHERE callid LIKE 'n2@%'"), [[good, b"0"]], "untouched")
    check_equal((m.sum("heptap_repaired_total", column="msg"), m.sum("heptap_repaired_total", column="user_agent")), (1, 1), "counted")
    h.stop()


def test_clipped_text_is_counted(world):
    """A tag of 4 KB is cut to its column and counted by column; the message is whole."""
    db = world.database()
    h = world.heptap()
    message = sip(1).replace(b"tag=f1", b"tag=" + b"t" * 4096)
    h.send([hep3(message)])
    m = h.wait_at_rest(1)
    check_equal(db.query("SELECT LENGTH(from_tag), LENGTH(msg) FROM sip_capture"), [[b"64", str(len(message)).encode()]], "widths")
    check_equal(m.sum("heptap_clipped_total", column="from_tag"), 1, "counted")
    h.stop()


def test_starts_without_database(world):
    """heptap starts before its database, spools, says so once, and catches up when it is there."""
    db = world.database()
    h = world.heptap(start=False)
    db.stop()
    h.start()
    h.send([hep3(sip(n)) for n in range(500)], pause_each=100)
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 500, 20, "500 rows in the spool")
    check_equal(h.metrics().sum("heptap_db_up"), 0, "heptap_db_up")
    check_equal(h.get("/readyz")[0], 200, "ready: it spools")
    db.start()
    h.wait_at_rest(500).check_exact()
    check_once(db, range(500))
    check_equal(h.log_text().count("rows wait in the spool"), 1, "lines about the database")
    check("stores again" in h.log_text(), "the recovery is logged")
    h.stop()


def test_stop_and_start_again(world):
    """What could not be stored before SIGTERM is stored by the next start, once; the report says how much waits."""
    db = world.database()
    h = world.heptap()
    h.send([hep3(sip(n)) for n in range(100)])
    h.wait_at_rest(100)
    db.stop()
    h.send([hep3(sip(n)) for n in range(100, 400)], pause_each=100)
    wait_until(lambda: h.metrics().sum("heptap_in_spool") == 300, 20, "300 rows in the spool")
    check_equal(h.stop(), 0, "exit code")
    check("300 wait in the spool for the next start" in h.log_text(), "report: " + h.log_text()[-600:])
    db.start()
    h.start()
    wait_until(lambda: h.metrics().sum("heptap_stored_total") == 300, 20, "recovered rows stored")
    m = h.metrics()
    m.check_exact()
    check_equal(m.sum("heptap_rows_recovered_total"), 300, "recovered")
    check_once(db, range(400))
    h.stop()


def test_reload(world):
    """SIGHUP changes what may be changed, names what needs a restart; a wrong file changes nothing and says where."""
    world.database()
    h = world.heptap()
    h.write(listener="allow: [192.0.2.0/24]", top="max_clock_skew: 60\nhep_threads: 2")
    os.kill(h.process.pid, signal.SIGHUP)
    wait_until(lambda: "reload: done" in h.log_text(), 10, "reload")
    check("hep_threads was changed" in h.log_text(), "what needs a restart is named")
    h.send([hep3(sip(1))])
    wait_until(lambda: h.metrics().sum("heptap_denied_total", reason="allow") == 1, 10, "the new allow list counts")
    h.write(listener="allow: [nonsense]")
    os.kill(h.process.pid, signal.SIGHUP)
    wait_until(lambda: "everything stays as it was" in h.log_text(), 10, "refused reload")
    check(f"{h.file}:9:13: hep[].allow[]: " in h.log_text(), "line and column: " + h.log_text()[-500:])
    h.send([hep3(sip(2))])
    wait_until(lambda: h.metrics().sum("heptap_denied_total", reason="allow") == 2, 10, "the old list still counts")
    h.metrics().check_exact()
    h.stop()


def test_reload_storm_under_load(world):
    """A hundred reloads while messages come: none is lost, none is judged by half a configuration."""
    db = world.database()
    h = world.heptap()
    for turn in range(100):
        h.write(top=f"max_clock_skew: {60 + turn}\nlegs: [X-CID, X-Leg-{turn}]\ncustom_fields: [X-{turn}]")
        os.kill(h.process.pid, signal.SIGHUP)
        h.send([hep3(sip(n).replace(b"Max-Forwards", b"X-CID: leg@x\r\nMax-Forwards")) for n in range(turn * 50, turn * 50 + 50)])
    h.wait_at_rest(5000).check_exact()
    check_once(db, range(5000))
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture WHERE callid_aleg = 'leg@x'"), 5000, "legs found")
    wait_until(lambda: "reload: done" in h.log_text(), 10, "reload")
    h.stop()


@only_waits
def test_http(world):
    """Paths, methods, a token, and a bound on connections that leaves the server answering."""
    world.database()
    token = world.folder / "token"
    token.write_text("s3cret\n")
    h = world.heptap(start=False)
    h.file.write_text(h.file.read_text().replace("http: {", f"http: {{ token_file: {token},"))
    h.start()
    check_equal(h.get("/healthz"), (200, "ok\n"), "/healthz")
    check_equal(h.get("/metrics")[0], 401, "/metrics without token")
    check_equal(h.get("/metrics", {"Authorization": "Bearer wrong!"})[0], 401, "/metrics with another token")
    code, text = h.get("/metrics", {"Authorization": "Bearer s3cret"})
    check_equal(code, 200, "/metrics with token")
    heads = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    check_equal(len(heads), len(set(heads)), "each metric family is declared once")
    status = json.loads(h.get("/api/status", {"Authorization": "Bearer s3cret"})[1])
    check_equal((status["node"], status["receiving"], status["rows"]["stored"]), ("node1", True, 0), "/api/status")
    check_equal(h.get("/nothing")[0], 404, "unknown path")
    silent = []
    for _ in range(200):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", h.http))
        silent.append(s)
    check(len(os.listdir(f"/proc/{h.process.pid}/fd")) < 150, "open connections are bounded")
    for s in silent:
        s.close()
    wait_until(lambda: h.get("/healthz")[0] == 200, 30, "answers again")
    h.stop()


def test_wrong_configuration(world):
    """check and start name file, line, column, key and what was expected; exit codes are those of the manual."""
    world.database()
    h = world.heptap(install=False, start=False)
    check_equal(h.command("check").returncode, 0, "check of a good file")
    h.write(top="hep_threads: many\nnod: x")
    done = h.command("check")
    check_equal(done.returncode, 1, "exit code")
    check(f"{h.file}:3:14: hep_threads: " in done.stderr and f"{h.file}:4:1: nod: " in done.stderr, done.stderr)
    check_equal(h.command().returncode, 1, "start with a wrong file")
    check_equal(subprocess.run([h.binary, "nonsense"], capture_output=True).returncode, 2, "usage")
    check_equal(subprocess.run([h.binary, "-c", "/nonexistent"], capture_output=True).returncode, 3, "no file")
    check(subprocess.run([h.binary, "--version"], capture_output=True, text=True).stdout.startswith("heptap "), "--version")
    check("schema" in subprocess.run([h.binary, "help"], capture_output=True, text=True).stdout, "help")


def test_effective_configuration(world):
    """`heptap config` prints what `heptap check` takes, with nothing secret in it."""
    world.database()
    h = world.heptap(install=False, start=False, storage="password: verysecret", listener="keys: [alsosecret]")
    done = h.command("config")
    check_equal(done.returncode, 0, "exit code")
    check("verysecret" not in done.stdout and "alsosecret" not in done.stdout, "a secret is printed")
    again = world.folder / "again.yaml"
    again.write_text(done.stdout)
    check_equal(subprocess.run([h.binary, "check", "-c", str(again)], capture_output=True).returncode, 0, "check of what config printed")


def test_spool_belongs_to_one(world):
    """A second heptap on the same spool refuses to start and says why."""
    world.database()
    first = world.heptap("a")
    second = world.heptap("b", install=False, start=False, spool=first.settings["spool"])
    second.start(wait=False)
    check_equal(second.process.wait(10), 3, "exit code")
    check("another heptap uses it" in second.log_text(), second.log_text())
    first.stop()


def test_schema(world):
    """`schema print` is what `schema install` runs; installing twice changes nothing; partitions are ahead of time."""
    db = world.database()
    h = world.heptap(start=False)
    h.install()
    printed = h.command("schema", "print").stdout
    check("PARTITION p_past" in printed and "@" not in printed.replace("`heptap schema print`", ""), "places are filled in")
    db.query("CREATE DATABASE other", "homer_db")
    check_equal(subprocess.run(db.client(printed, "other"), capture_output=True).returncode, 0, "the printed SQL runs")
    created = [db.query("SHOW CREATE TABLE sip_capture", name)[0][1] for name in ("homer_db", "other")]
    check_equal(created[0], created[1], "the same table")
    names = [r[0].decode() for r in db.query(
        "SELECT partition_name FROM information_schema.partitions WHERE table_schema='homer_db' AND table_name='sip_capture' "
        "ORDER BY partition_ordinal_position")]
    check_equal((names[0], len(names)), ("p_past", 4), "partitions")


def test_partition_is_made_on_demand(world):
    """Rows of a day that has no partition yet wait until ht-admin has made it; rows older than all go to p_past."""
    db = world.database()
    h = world.heptap(start=False)
    db.query("DROP TABLE sip_capture")
    create = h.command("schema", "print").stdout.split("PARTITION p_past")[0]
    db.query(create + "PARTITION p_past VALUES LESS THAN (86400));")
    h.start()
    h.send([hep3(sip(1)), hep3(sip(2), ts=1000)])
    h.wait_at_rest(2).check_exact()
    check_once(db, [1, 2])
    old = db.number("SELECT COUNT(*) FROM sip_capture PARTITION (p_past)")
    check_equal(old, 1, "rows in p_past")
    h.stop()


def test_table_dropped_underneath(world):
    """A table of ours that vanishes is made again and the rows wait for it."""
    db = world.database()
    h = world.heptap()
    h.send([hep3(sip(1))])
    h.wait_at_rest(1)
    db.query("DROP TABLE sip_capture")
    h.send([hep3(sip(2))])
    h.wait_at_rest(2)
    check_once(db, [2])
    h.stop()


def test_column_added_and_dropped(world):
    """A change of the table's columns under a running server costs no row."""
    db = world.database()
    h = world.heptap()
    h.send([hep3(sip(1))])
    h.wait_at_rest(1)
    db.query("ALTER TABLE sip_capture DROP COLUMN custom_field3, ADD COLUMN note varchar(10) NOT NULL DEFAULT 'x'")
    h.send([hep3(sip(2))])
    h.wait_at_rest(2).check_exact()
    check_once(db, [1, 2])
    h.stop()


def test_foreign_owner_stops_a_stream(world):
    """If somebody else takes a live stream's ledger row, nothing is stored twice: the stream stops, rows stay in the spool, and it is said."""
    db = world.database()
    h = world.heptap()
    h.send([hep3(sip(1))])
    h.wait_at_rest(1)
    db.query("UPDATE heptap_ledger SET owner = 42")
    h.send([hep3(sip(2))])
    wait_until(lambda: "somebody else writes it" in h.log_text(), 20, "the stream stops")
    m = h.metrics()
    check_equal((m.sum("heptap_in_spool"), m.sum("heptap_stored_total")), (1, 1), "rows")
    m.check_exact()
    check_once(db, [1])
    h.stop()


def test_durability_memory(world):
    """Segments in memory: the same path, nothing on disk."""
    db = world.database()
    h = world.heptap(spool_more=", durability: memory")
    h.send([hep3(sip(n)) for n in range(300)], pause_each=100)
    h.wait_at_rest(300).check_exact()
    check_once(db, range(300))
    check(not pathlib.Path(h.settings["spool"]).exists(), "no spool directory")
    h.stop()


def test_durability_disk(world):
    """fdatasync on the way: the same rows."""
    db = world.database()
    h = world.heptap(spool_more=", durability: disk")
    h.send([hep3(sip(n)) for n in range(300)], pause_each=100)
    h.wait_at_rest(300).check_exact()
    check_once(db, range(300))
    h.stop()
