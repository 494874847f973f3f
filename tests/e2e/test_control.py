"""Switches, and who sends."""
import json
import socket
import time
import urllib.request

from lib import Skip, check, check_equal, check_once, chunk, hep3, hep_legacy, sip, wait_until


def put(h, path, token=None):
    request = urllib.request.Request(f"http://127.0.0.1:{h.http}{path}", method="PUT", headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_capture_off_and_on(world):
    """While a source is off its records are counted as denied, and nothing of it is stored."""
    world.database()
    h = world.heptap()
    h.send([hep3(sip(1))])
    h.wait_at_rest(1)
    done = h.command("capture", "off", "agents")
    check_equal((done.returncode, done.stdout), (0, "capture agents is off\n"), "capture off")
    h.send([hep3(sip(2)), b"not HEP"])
    with h.connect() as s:
        s.sendall(hep3(sip(3)))
        h.wait_at_rest(4)
    check_equal(h.command("capture", "on", "agents").returncode, 0, "capture on")
    h.send([hep3(sip(4))])
    m = h.wait_at_rest(5)
    m.check_exact()
    check_equal(m.sum("heptap_denied_total", reason="off"), 3, "denied while off")
    check_once(world.db, [1, 4])


def test_words_that_are_wrong(world):
    """Usage errors, names that are not there, and a server that is not there."""
    world.database()
    h = world.heptap()
    check_equal(h.command("capture", "off").returncode, 2, "no name")
    check_equal(h.command("capture", "maybe", "agents").returncode, 2, "neither on nor off")
    nobody = h.command("capture", "off", "no/body %")
    check_equal((nobody.returncode, nobody.stderr), (1, "there is no source of that name\n"), "an unknown name")
    check_equal(h.command("reload", "now").returncode, 2, "too many words")
    check_equal(put(h, "/api/capture/agents/maybe"), 404, "neither on nor off over HTTP")
    check_equal(h.get("/api/reload")[0], 405, "GET where PUT is asked for")
    check_equal(put(h, "/metrics"), 405, "PUT where GET is asked for")
    h.stop()
    gone = h.command("reload")
    check_equal(gone.returncode, 3, "no server")
    check("is the server running?" in gone.stderr, f"it says so: {gone.stderr}")


def test_reload_says_what_is_wrong(world):
    """A wrong file changes nothing and is explained; a good one is taken, and what needs a restart is named."""
    world.database()
    h = world.heptap()
    h.write(listener="keys: [secret]\n    alow: [10.0.0.0/8]")
    done = h.command("reload")
    check_equal(done.returncode, 1, "a wrong file: " + done.stderr)
    h.write(listener="keys: [secret]", top="memory: 2G")
    done = h.command("reload")
    check_equal((done.returncode, done.stdout), (0, "memory was changed; that takes effect at the next start\nreloaded\n"), "a good file")
    h.send([hep3(sip(1)), hep3(sip(2), extra=chunk(14, b"secret"))])
    m = h.wait_at_rest(2)
    check_equal(m.sum("heptap_denied_total", reason="key"), 1, "keys are asked for now")
    check_once(world.db, [2])


def test_wrong_file_as_the_server_sees_it(world):
    """The server reads its own file: what is wrong there comes back to who asked."""
    world.database()
    h = world.heptap()
    good = h.file.read_text()
    other = h.file.with_name("other.yaml")
    other.write_text(good)
    h.file.write_text(good.replace("node: node1", "nod: node1"))
    import subprocess
    done = subprocess.run([h.binary, "reload", "-c", str(other)], capture_output=True, text=True)
    check_equal(done.returncode, 1, "exit code")
    check("heptap.yaml:1:1: nod: unknown key" in done.stderr and "stays as it was" in done.stderr, f"what is wrong: {done.stderr}")


def test_token(world):
    """With a token file, switches ask for the token, and the commands know it."""
    world.database()
    h = world.heptap(start=False)
    (h.folder / "token").write_text("open sesame\n")
    h.file.write_text(h.file.read_text().replace(f"'127.0.0.1:{h.http}' }}", f"'127.0.0.1:{h.http}', token_file: '{h.folder / 'token'}' }}"))
    h.start()
    check_equal((put(h, "/api/capture/agents/off"), put(h, "/api/capture/agents/off", "wrong")), (401, 401), "without it")
    check_equal(put(h, "/api/capture/agents/off", "open sesame"), 200, "with it")
    check_equal(h.command("capture", "on", "agents").returncode, 0, "the command")
    check_equal(h.get("/api/agents")[0], 401, "agents are not for everybody")


def test_other_hosts_may_not_switch_without_a_token(world):
    """Only an address of this host's loopback is heard."""
    world.database()
    h = world.heptap(start=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # sends nothing: it says which address of ours would be used
        except OSError:
            raise Skip("this host has no address but its loopback")
        address = s.getsockname()[0]
    h.file.write_text(h.file.read_text().replace(f"'127.0.0.1:{h.http}'", f"'0.0.0.0:{h.http}'"))
    h.start()
    request = urllib.request.Request(f"http://{address}:{h.http}/api/capture/agents/off", method="PUT")
    try:
        urllib.request.urlopen(request, timeout=10)
        code = 200
    except urllib.error.HTTPError as error:
        code = error.code
    check_equal(code, 403, f"from {address}")
    check_equal(h.command("capture", "off", "agents").returncode, 0, "from this host")


def test_agents(world):
    """Who sends: by address and capture id, over UDP and TCP; names, counters, times, and how far a clock is off."""
    world.database()
    h = world.heptap(listener="keys: [k]")
    key = chunk(14, b"k")
    named = chunk(0x13, b"edge \"1\"")
    begun = int(time.time())
    h.send([hep3(sip(n), capture_id=101, extra=key + named, ts=time.time() - 100) for n in range(20)])
    h.send([hep3(sip(50), capture_id=102), hep_legacy(1, sip(51)), b"HEP3", b"junk"])
    with h.connect("127.0.0.9") as s:
        s.sendall(hep3(sip(60), capture_id=101, extra=key) + hep3(sip(61), capture_id=101, extra=key))
    m = h.wait_at_rest(26)
    m.check_exact()
    agents = {(a["address"], a["capture_id"]): a for a in json.loads(h.get("/api/agents")[1])["agents"]}
    check_equal(set(agents), {("127.0.0.1", 101), ("127.0.0.1", 102), ("127.0.0.1", None), ("127.0.0.9", 101)}, "agents")
    a = agents["127.0.0.1", 101]
    check_equal((a["received"], a["accepted"], a["denied"], a["malformed"], a["source"], a["name"]), (20, 20, 0, 0, "agents", 'edge?"1"'), "101")
    check(99 < a["clock_offset_seconds"] < 105, f"its clock is {a['clock_offset_seconds']} s behind")
    check(a["bytes"] > 20 * 300, "octets")
    for when in (a["first_seen"], a["last_seen"]):
        check(begun - 2 <= time.mktime(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone <= begun + 60, f"time {when}")
    check_equal((agents["127.0.0.1", 102]["denied"], agents["127.0.0.1", None]["malformed"], agents["127.0.0.1", None]["denied"]), (1, 2, 1), "others")
    check_equal(agents["127.0.0.9", 101]["accepted"], 2, "over TCP")
    check_equal(m.sum("heptap_table_entries", table="agents"), 4, "entries")
    check("heptap_agent_last_seen_seconds{agent=\"127.0.0.9/101\",source=\"agents\"}" in m.values, "last seen")


def test_more_agents_than_there_is_room_for(world):
    """5,000 capture ids: 4,096 have an entry, the rest is one, and a thousand series are shown."""
    world.database()
    h = world.heptap()
    h.send([hep3(sip(n), capture_id=n) for n in range(5000)], pause_each=50)
    m = h.wait_at_rest(5000)
    agents = json.loads(h.get("/api/agents")[1])
    rest = [a for a in agents["agents"] if a["address"] == "other"]
    check_equal((len(agents["agents"]), rest[0]["received"], agents["evicted"]), (4097, 904, 904), "agents, rest, evicted")
    check_equal(sum(a["received"] for a in agents["agents"]), 5000, "records")
    check_equal(sum(1 for series in m.values if series.startswith("heptap_agent_last_seen_seconds")), 1001, "series")
