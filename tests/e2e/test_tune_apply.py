"""heptap tune apply, verify, rollback and export: in a network of its own, with its own /sys and /var/lib, and on recorded machines.

No setting of the machine that runs the tests is written: /proc/sys/net is that of the network namespace, the rest of /proc/sys and
/proc/irq are read-only for whoever runs inside, and each test looks at the end whether the machine's own values are as they were.
"""
import fcntl
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys

from lib import Skip, check, check_equal
from test_tune import HOSTS, NICS, planner, tree_hash

PAIRS = 2
FRAGMENTS = "/proc/sys/net/ipv4/ipfrag_high_thresh"
FRAGMENTS_TIME = "/proc/sys/net/ipv4/ipfrag_time"
GRO = ("generic-receive-offload", "rx-gro-list", "rx-udp-gro-forwarding")

# What runs inside and is asked by lines of JSON: `values` are all settings, `switch` switches a feature, `fail` has the kernel give up a
# datagram in fragments, which is why the plan wants more room for them.
INSIDE = r'''
import array, fcntl, json, os, socket, struct, sys
from pathlib import Path
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def ask(nic, question):
    data = array.array("B", question)
    fcntl.ioctl(s, 0x8946, struct.pack("16sP", nic.encode(), data.buffer_info()[0]))
    return data.tobytes()
def features(nic):
    count = struct.unpack("IIQI", ask(nic, struct.pack("IIQI", 0x37, 0, 1 << 4, 0)))[3]
    names = ask(nic, struct.pack("III", 0x1b, 4, count) + bytes(32 * count))[12:]
    return [names[32 * i:32 * i + 32].split(b"\0")[0].decode() for i in range(count)]
def active(nic, names):
    words = (len(names) + 31) // 32
    got = ask(nic, struct.pack("II", 0x3a, words) + bytes(16 * words))[8:]
    return {n: struct.unpack_from("I", got, i // 32 * 16 + 8)[0] >> i % 32 & 1 for i, n in enumerate(names) if n}
def switch(nic, name, on):
    names = features(nic)
    at, words = names.index({"generic-receive-offload": "rx-gro"}.get(name, name)), (len(names) + 31) // 32
    question = bytearray(struct.pack("II", 0x3b, words) + bytes(8 * words))
    struct.pack_into("II", question, 8 + at // 32 * 8, 1 << at % 32, (1 << at % 32) * on)
    ask(nic, bytes(question))
def read(path):
    try:
        with open(path, "rb") as f:
            return f.read(4096).decode(errors="replace")
    except OSError as error:
        return f"errno {error.errno}"
def values():
    out = {}
    for top in ("/proc/sys/net", *(f"/sys/class/net/{n}/." for n in os.listdir("/sys/class/net"))):
        for folder, folders, files in os.walk(top):
            if "statistics" in folders:
                folders.remove("statistics")
            for name in files:
                # states and counts are no settings
                if not name.startswith(("carrier", "nf_conntrack_count")) and name not in ("operstate", "uevent", "duplex", "speed"):
                    out[os.path.join(folder, name)] = read(os.path.join(folder, name))
    for nic in os.listdir("/sys/class/net"):
        out[nic + " features"] = active(nic, features(nic))
    return out
def fail():
    Path("/proc/sys/net/ipv4/ipfrag_low_thresh").write_text("1")
    Path("/proc/sys/net/ipv4/ipfrag_high_thresh").write_text("1")
    fcntl.ioctl(s, 0x8922, struct.pack("16si20x", b"lo", 1500))  # SIOCSIFMTU
    s.sendto(bytes(8000), ("127.0.0.1", 9))
    Path("/proc/sys/net/ipv4/ipfrag_high_thresh").write_text("2097152")
    Path("/proc/sys/net/ipv4/ipfrag_low_thresh").write_text("1048576")
def send(port):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port))
print("made", flush=True)
for line in sys.stdin:
    verb, *words = json.loads(line)
    print(json.dumps({"values": values, "switch": switch, "fail": fail, "send": send}[verb](*words)), flush=True)
'''

MAKE = r'''
set -e
mount -t sysfs sysfs /sys
mount --bind "$1" /var/lib
if [ "$2" = root ]; then
	for d in /proc/sys/vm /proc/sys/kernel /proc/sys/fs /proc/irq; do mount --bind $d $d; mount -o remount,bind,ro $d; done
fi
if [ -d "$1/etc" ]; then mount --bind "$1/etc" /etc; fi
ip link set lo up
i=0
while [ $i -lt "$3" ]; do
	ip link add near$i numrxqueues 4 numtxqueues 4 type veth peer name far$i numrxqueues 4 numtxqueues 4
	ip link set near$i up; ip link set far$i up
	i=$((i + 1))
done
exec "$4" -c "$5"
'''


class Host:
    """A network of its own with pairs of interfaces: near0 is paired with far0 and so on. What receives is near."""

    def __init__(self, world, name="host", user=False, own_etc=False, pairs=PAIRS):
        self.lib = world.folder / f"{name}-lib"
        self.lib.mkdir()
        if own_etc:
            shutil.copytree("/etc", self.lib / "etc", symlinks=True, ignore=lambda *_: ["ssl", "alternatives"])
        self.journal = self.lib / "heptap" / "tune.journal"
        self.nics = [f"near{i}" for i in range(pairs)]
        self.keeper = subprocess.Popen(["unshare", *(["--user", "--map-root-user"] if user else []), "--net", "--mount", "--propagation", "private",
                                        "sh", "-c", MAKE, "sh", str(self.lib), "user" if user else "root", str(pairs), sys.executable, INSIDE],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.keeper.stdout.readline() != "made\n":
            raise Skip("no network of its own here: " + self.keeper.communicate()[1].strip())
        at = f"/proc/{self.keeper.pid}/ns"
        self.prefix = ["nsenter", *([f"--user={at}/user", "--preserve-credentials"] if user else []), f"--net={at}/net", f"--mount={at}/mnt", "--"]
        self.inside("fail")
        for nic in self.nics:
            for feature in GRO:
                self.inside("switch", nic, feature, True)
            self.run("sh", "-c", f"echo 1 > /sys/class/net/{nic}/threaded")
        check_equal(self.run("ls", "/sys/class/net").split(), sorted(["lo", *self.nics, *(n.replace("near", "far") for n in self.nics)]), "its /sys")

    def run(self, *command):
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True)
        check_equal((done.returncode, done.stderr), (0, ""), f"{command}")
        return done.stdout

    def inside(self, *words):
        self.keeper.stdin.write(json.dumps(words) + "\n")
        self.keeper.stdin.flush()
        answer = self.keeper.stdout.readline()
        check(answer, f"{words}: no answer")
        return json.loads(answer)

    def values(self):
        out = self.inside("values")
        check(len(out) > 500, f"only {len(out)} values can be read")
        return out

    def heptap(self, world, name="h", more=(), more_top=""):
        """A configuration that names each near interface."""
        top = more_top + "capture:\n" + "\n".join(f"  - {{ name: {nic}, interface: {nic} }}" for nic in self.nics)
        return world.heptap(name=name, install=False, start=False, db_socket="/nowhere/socket", top=top, prefix=[*self.prefix, *more])

    def end(self):
        self.keeper.stdin.close()
        self.keeper.wait(20)


def machine_values():
    """Of this machine itself."""
    out = {}
    for top in ("/proc/sys/net", "/proc/sys/vm", "/proc/sys/kernel", "/proc/sys/fs"):
        for folder, _, files in os.walk(top):
            for name in files:
                # what differs each time, or changes by itself
                if any(word in name for word in ("random", "uuid", "entropy", "count", "ns_last_pid", "_nr", "-nr", "-state", "msg_next", "sem_next", "shm_next")):
                    continue
                if folder == "/proc/sys/vm" and name in ("compact_memory", "drop_caches", "stat_refresh"):
                    continue
                try:
                    with open(os.path.join(folder, name), "rb") as f:
                        out[os.path.join(folder, name)] = f.read(4096)
                except OSError:
                    pass
    return out


def on_host(**settings):
    """Run a test with a Host, and look that this machine is as it was."""
    def wrap(function):
        @functools.wraps(function)
        def inside(world):
            before = machine_values()
            host = Host(world, **settings)
            try:
                function(world, host)
            finally:
                host.end()
            after = machine_values()
            check_equal({k: (v, after[k]) for k, v in before.items() if k in after and after[k] != v}, {}, "settings of this machine")
        return inside
    return wrap


def tune(h, verb, *options, code=0, complaint=""):
    """One command as JSON, its exit code and complaint as expected. @return the object."""
    done = h.command("tune", verb, *options, "--format", "json")
    check_equal((done.returncode, done.stderr.strip()), (code, complaint), f"tune {verb} {options}: {done.stdout[-3000:]}")
    return json.loads(done.stdout)


def states(told):
    """Objects of each state."""
    out = {}
    for one in told["results"]:
        out.setdefault(one["state"], set()).add(one["object"])
    check_equal({state: len(objects) for state, objects in out.items()}, told["counts"], "counts")
    return out


def wanted_here(host):
    """What the plan has to change of such a host that is its own."""
    return {FRAGMENTS, FRAGMENTS_TIME}.union(*(of_nic(nic) for nic in host.nics))


def of_nic(nic):
    return {f"{nic}/features/{feature}" for feature in GRO} | {threaded(nic)}


def threaded(nic):
    return f"/sys/class/net/{nic}/threaded"


def changed(before, after):
    """The names of values that differ."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def own(host):
    """--only: what belongs to this network alone."""
    return ["--only", "ethtool", "--only", "queue", "--only", "/proc/sys/net/ipv4/*"]


@on_host()
def test_apply_verify_rollback(world, host):
    """What the plan wants is written and read back; verify finds it; rollback leaves every value as it was, and no journal."""
    h = host.heptap(world)
    before = host.values()
    plan = json.loads(h.command("tune", "plan", "--format", "json").stdout)
    check_equal({c["object"] for c in plan["changes"] if not c["object"].startswith(("/proc/sys/vm", "/proc/sys/kernel"))}, wanted_here(host), "the plan")
    check_equal(changed(before, host.values()), set(), "values that plan changed")

    told = tune(h, "apply", *own(host))
    check_equal(states(told), {"done": wanted_here(host)}, "apply")
    after = host.values()
    check_equal({name.replace("/./", "/") for name in changed(before, after)},
                {FRAGMENTS, FRAGMENTS_TIME, *map(threaded, host.nics), *(f"{nic} features" for nic in host.nics)}, "values that apply changed")
    check_equal(after[FRAGMENTS], "16777216\n", "limit of fragments")
    for nic in host.nics:
        check_equal([after[f"{nic} features"][f] for f in ("rx-gro", "rx-gro-list", "rx-udp-gro-forwarding")], [0, 0, 0], nic)
        check_equal(after[f"/sys/class/net/{nic}/./threaded"], "0\n", nic)
    for one in told["results"]:
        if one["object"] == FRAGMENTS:
            check_equal((one["was"], one["wanted"], one["is"], one["kind"]), ("2097152", "16777216", "16777216", "sysctl"), "a result")
    check(host.journal.stat().st_mode & 0o777 == 0o600 and told["journal"] == "/var/lib/heptap/tune.journal", "the journal")

    check_equal(states(tune(h, "verify")), {"ok": wanted_here(host)}, "verify")
    again = tune(h, "apply", *own(host))
    check_equal((again["results"], changed(after, host.values())), ([], set()), "the second apply")
    check(again["message"].startswith("nothing to do: "), again["message"])

    back = tune(h, "rollback")
    check_equal(states(back), {"set back": wanted_here(host)}, "rollback")
    check_equal([one["object"] for one in back["results"]], [one["object"] for one in reversed(told["results"])], "order")
    check_equal(changed(before, host.values()), set(), "values that are not as they were")
    check(not host.journal.exists(), "the journal is gone")
    for verb in ("verify", "rollback"):
        told = tune(h, verb)
        check(told["results"] == [] and told["message"].endswith("there is no journal /var/lib/heptap/tune.journal"), f"{verb}: {told}")


@on_host()
def test_text(world, host):
    """A line for each change with its state, values and reason, and the counts. --only means a part."""
    h = host.heptap(world)
    before = host.values()
    done = h.command("tune", "apply", "--only", "near1", "--only", "*/ipfrag_high_thresh")
    check_equal((done.returncode, done.stderr), (0, ""), "apply")
    lines = done.stdout.splitlines()
    check_equal(len(lines), 7, done.stdout)
    check_equal(lines[1].split("; ")[0], "done        near1/features/generic-receive-offload: was on, wanted off, is off", "a feature")
    check_equal(lines[4].split("; ")[0], f"done        {FRAGMENTS}: was 2097152, wanted 16777216, is 16777216", "a sysctl")
    check_equal(lines[5:], ["`heptap tune rollback` sets it back, by /var/lib/heptap/tune.journal", "5 done"], "the end")
    check_equal(changed(before, host.values()), {FRAGMENTS, "near1 features", "/sys/class/net/near1/./threaded"}, "values that apply changed")
    done = h.command("tune", "verify")
    check_equal((done.returncode, done.stdout.splitlines()[-1], done.stdout.count("ok          ")), (0, "5 ok", 5), "verify")
    done = h.command("tune", "rollback")
    check_equal((done.returncode, done.stdout.splitlines()[-2:], done.stdout.count("set back    ")),
                (0, ["nothing is left to set back: /var/lib/heptap/tune.journal is removed", "5 set back"], 5), "rollback")
    check_equal(changed(before, host.values()), set(), "values that are not as they were")
    for words, text in ((("--only", "near9"), "the plan's changes are none that --only means"), (("--only", "irq"), "none that --only means")):
        done = h.command("tune", "apply", *words)
        check(done.returncode == 0 and text in done.stdout and not host.journal.exists(), f"{words}: {done.stdout}{done.stderr}")


@on_host(pairs=4)
def test_changed_by_others(world, host):
    """What somebody else changed since is overridden for verify, and left alone by rollback; an interface that is gone, or another one of its name, has vanished."""
    h = host.heptap(world)
    before = host.values()
    tune(h, "apply", *own(host))
    host.run("sh", "-c", f"echo 5000000 > {FRAGMENTS}")
    host.inside("switch", "near1", "rx-udp-gro-forwarding", True)
    host.run("ip", "link", "del", "near2")
    host.run("sh", "-c", "ip link del near3 && ip link add near3 type veth peer name far3")
    host.inside("switch", "near3", "generic-receive-offload", True)
    mine = of_nic("near2") | of_nic("near3")
    theirs, as_before = {FRAGMENTS}, {"near1/features/rx-udp-gro-forwarding"}
    ours = wanted_here(host) - theirs - as_before - mine

    told = tune(h, "verify", code=3)
    check_equal(states(told), {"overridden": theirs | as_before, "vanished": mine, "ok": ours}, "verify")
    now = {one["object"]: one for one in told["results"]}
    check_equal((now[FRAGMENTS]["is"], now[FRAGMENTS]["note"]), ("5000000", "somebody else changed it"), "who")
    changed_now = host.values()
    back = tune(h, "rollback")
    check_equal(states(back), {"left alone": theirs, "not needed": as_before, "vanished": mine, "set back": ours}, "rollback")
    now = {one["object"]: one for one in back["results"]}
    check_equal(now[FRAGMENTS]["note"], "somebody else changed it to 5000000; it was 2097152 before us", "what is said of it")
    after = host.values()
    check_equal(changed(changed_now, after), {"near0 features", "near1 features", FRAGMENTS_TIME, "/sys/class/net/near0/./threaded", "/sys/class/net/near1/./threaded"},
                "values that rollback changed")
    check_equal((after[FRAGMENTS], after["near0 features"]), ("5000000\n", before["near0 features"]), "values")
    check_equal(after["near1 features"], before["near1 features"], "as before, by us or by them")
    check(not host.journal.exists(), "the journal is gone")


@on_host(pairs=1)
def test_killed_at_each_step(world, host):
    """The process ends before each single line of the journal, which is before and after each single write: rollback finds its way back."""
    h = host.heptap(world)
    before = host.values()
    told = tune(h, "apply", *own(host))
    lines = host.journal.read_bytes().splitlines(keepends=True)
    check_equal(len(lines), 1 + 2 * len(told["results"]), "lines of the journal")
    tune(h, "rollback")
    written = 0
    for i in range(1, len(lines)):
        limit = sum(map(len, lines[:i]))
        # at a file of that size the kernel ends it
        done = subprocess.run([*h.prefix, "prlimit", f"--fsize={limit}:{limit}", "--core=0", h.binary, "tune", "apply", *own(host), "-c", str(h.file)],
                              capture_output=True)
        check_equal((done.returncode, host.journal.read_bytes()), (-signal.SIGXFSZ, b"".join(lines[:i])), f"line {i}: {done.stderr}")
        written += bool(changed(before, host.values()))
        told = tune(h, "rollback")
        check(set(told["counts"]) <= {"set back", "not needed"}, f"line {i}: {told['counts']}")
        check_equal((changed(before, host.values()), host.journal.exists()), (set(), False), f"after line {i}")
    check_equal(written, len(lines) - 2, "rounds in which something had been written")


@on_host(pairs=4)
def test_killed_at_any_moment(world, host):
    """SIGKILL while it writes, wherever that hits."""
    h = host.heptap(world)
    before = host.values()
    tune(h, "apply", *own(host))
    whole = host.journal.stat().st_size
    tune(h, "rollback")
    dice, killed = random.Random(11), 0
    for turn in range(60):
        process = subprocess.Popen([*h.prefix, h.binary, "tune", "apply", *own(host), "-c", str(h.file)], stdout=subprocess.DEVNULL)
        size = dice.randrange(whole // 2)
        while process.poll() is None:
            try:
                if os.stat(host.journal).st_size >= size:
                    break
            except FileNotFoundError:
                pass
        process.kill()
        killed += process.wait(20) == -signal.SIGKILL
        done = h.command("tune", "rollback")
        check_equal((done.returncode, done.stderr), (0, ""), done.stdout)
        check_equal((changed(before, host.values()), host.journal.exists()), (set(), False), f"killed at {size} octets")
        if killed == 8:
            break
    check(killed, f"it was never hit, in {turn} turns")


@on_host(pairs=1)
def test_journals_that_cannot_be_had(world, host):
    """Without a journal nothing is written, and it is said why: held by another, damaged, somebody else's, a link, no space for it."""
    h = host.heptap(world)
    before = host.values()
    journal, name = host.journal, "heptap: /var/lib/heptap/tune.journal: "

    def refused(text):
        told = tune(h, "apply", code=3, complaint=name + text)
        check_equal((told["results"], name + text), ([], "heptap: " + told["error"]), "results")
        check_equal(changed(before, host.values()), set(), f"values, with {text}")

    journal.parent.mkdir()
    journal.touch(mode=0o600)
    with open(journal, "rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused("Resource temporarily unavailable: another program has it open: wait until that is done")
    journal.chmod(0o666)
    refused("Operation not permitted: it is somebody else's, or others may write to it: what it says is not believed")
    journal.unlink()
    journal.symlink_to("elsewhere")
    refused("Too many levels of symbolic links: it is a link: remove it")
    journal.unlink()
    journal.parent.rmdir()
    journal.parent.write_text("no directory")
    refused("Not a directory")
    journal.parent.unlink()

    tune(h, "apply", "--only", "near0")
    lines = journal.read_bytes().splitlines(keepends=True)
    check_equal(lines[-2][:2], b"W\t", "a line that announces")
    lines[-2] = lines[-2].replace(b"off", b"onn", 1)
    journal.write_bytes(b"".join(lines))
    damaged = "heptap: " + name[8:] + "the journal is damaged: `heptap tune rollback` sets back what can be read; then have a look at it and remove it"
    applied = host.values()
    check_equal(tune(h, "apply", code=3, complaint=damaged)["results"], [], "apply with a damaged journal")
    check_equal(changed(applied, host.values()), set(), "values")
    check_equal(len(tune(h, "verify", code=3, complaint=damaged)["results"]), 3, "verify with a damaged journal")
    check_equal(tune(h, "rollback", code=3, complaint=damaged)["counts"], {"set back": 3}, "rollback with a damaged journal")
    check_equal(len([v for v in changed(before, host.values())]), 1, "what the damaged line was of")
    check(journal.exists(), "a damaged journal stays")


@on_host()
def test_few_rights(world, host):
    """Without root there is no journal and nothing is written; with a journal and no capability each change is refused with what it needs."""
    before = host.values()
    world.folder.chmod(0o755)
    nobody = host.heptap(world, "nobody", more=["setpriv", "--reuid=nobody", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"])
    text = "heptap: /var/lib/heptap/tune.journal: No such file or directory: there is no directory for it"
    told = tune(nobody, "apply", code=3, complaint=text)
    check_equal(told["results"], [], "without a directory")
    (host.lib / "heptap").mkdir(mode=0o755)
    text = "heptap: /var/lib/heptap/tune.journal: Permission denied: it may not be opened by us: run as root"
    check_equal(tune(nobody, "apply", code=3, complaint=text)["results"], [], "without the right to write there")
    check_equal(tune(nobody, "verify")["results"], [], "verify")

    shutil.chown(host.lib / "heptap", "nobody")
    told = tune(nobody, "apply", code=3)
    check_equal(states(told)["refused"] & wanted_here(host), wanted_here(host), "refused")
    notes = {one["object"]: one["note"] for one in told["results"]}
    check_equal(notes[FRAGMENTS], "Permission denied: may not be written by us: run as root in the first network namespace", "the sysctl")
    check_equal(notes["near0/features/rx-gro-list"],
                "Operation not permitted: needs CAP_NET_ADMIN in the network namespace of the interface: run as root there", "the feature")
    check(not host.journal.exists(), "the journal is gone")
    check_equal(changed(before, host.values()), set(), "values that are not as they were")

    (host.lib / "heptap").rmdir()
    bare = host.heptap(world, "bare", more=["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
    told = tune(bare, "apply", "--only", "ethtool", "--only", "queue", "--only", FRAGMENTS, code=3)
    check_equal(states(told), {"done": {FRAGMENTS}, "refused": wanted_here(host) - {FRAGMENTS, FRAGMENTS_TIME}}, "root without capabilities")
    check_equal(states(tune(bare, "rollback")), {"set back": {FRAGMENTS}}, "rollback")
    check_equal(changed(before, host.values()), set(), "values that are not as they were")


@on_host(user=True, pairs=2)
def test_root_of_a_user_namespace(world, host):
    """Who is root only in a namespace of users may change what belongs to the network there, and nothing else."""
    h = host.heptap(world)
    before = host.values()
    told = tune(h, "apply", code=3 if tune_refuses_host(h) else 0)
    check_equal(states(told)["done"], wanted_here(host), "done")
    check(all(one["note"].startswith(("Permission denied: ", "Operation not permitted: ")) or "read-only" in one["note"]
              for one in told["results"] if one["state"] == "refused"), f"reasons: {told}")
    check_equal(states(tune(h, "verify")), {"ok": wanted_here(host)}, "verify")
    check_equal(states(tune(h, "rollback")), {"set back": wanted_here(host)}, "rollback")
    check_equal(changed(before, host.values()), set(), "values that are not as they were")


def tune_refuses_host(h):
    """Does the plan want something of the whole machine?"""
    plan = json.loads(h.command("tune", "plan", "--format", "json").stdout)
    return any(c["object"].startswith(("/proc/sys/vm", "/proc/sys/kernel")) for c in plan["changes"])


@on_host(pairs=1)
def test_read_only_settings(world, host):
    """/proc/sys is mounted read-only, as in a container: said; the rest is done."""
    h = host.heptap(world, more=["unshare", "--mount", "sh", "-c", 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"', "sh"])
    before = host.values()
    told = tune(h, "apply", code=3)
    got = states(told)
    mine = of_nic("near0")
    check({FRAGMENTS, FRAGMENTS_TIME} <= got["refused"] and got["done"] == mine, f"states: {got}")
    note = [one["note"] for one in told["results"] if one["object"] == FRAGMENTS][0]
    check("mounted read-only" in note and "container" in note, note)
    check_equal(changed(before, host.values()), {"near0 features", "/sys/class/net/near0/./threaded"}, "values that apply changed")
    check_equal(states(tune(h, "rollback")), {"set back": mine}, "rollback")
    check_equal(changed(before, host.values()), set(), "values that are not as they were")


@on_host(pairs=2, own_etc=True)
def test_persist(world, host):
    """apply --persist writes sysctl.d, .link files and a drop-in to their places; what others made there is left alone; rollback leaves them."""
    h = host.heptap(world)
    etc = host.lib / "etc"
    paths = {"sysctl": etc / "sysctl.d/60-heptap.conf", "near0": etc / "systemd/network/60-heptap-near0.link",
             "near1": etc / "systemd/network/60-heptap-near1.link", "unit": etc / "systemd/system/heptap.service.d/60-tune.conf"}
    paths["near1"].parent.mkdir(parents=True, exist_ok=True)
    paths["near1"].write_text("[Match]\nOriginalName=near1\n")
    told = tune(h, "apply", *own(host), "--persist", code=3)
    check_equal({f["path"]: f["state"] for f in told["files"]},
                {"/" + str(path.relative_to(host.lib)): "refused" if name == "near1" else "written" for name, path in paths.items()}, "files")
    check_equal([f["note"] for f in told["files"] if f["state"] == "refused"], ["what is there was not made by heptap, and is left alone"], "why not")
    check_equal(paths["near1"].read_text(), "[Match]\nOriginalName=near1\n", "a file of others")
    text = paths["sysctl"].read_text()
    check_equal([line for line in text.splitlines() if line and line[0] != "#"], ["-net.ipv4.ipfrag_high_thresh = 16777216", "-net.ipv4.ipfrag_time = 10"], "sysctl.d")
    check("(was 2097152)\n-net.ipv4" in text and paths["sysctl"].stat().st_mode & 0o777 == 0o644, text)
    text = paths["near0"].read_text()
    check("\nOriginalName=near0\n" in text and "\nGenericReceiveOffload=off\n" in text, text)
    text = paths["unit"].read_text()
    check("\nLimitNOFILE=65536\n" in text and f"\nExecStartPre=-+{h.binary} tune apply -c {h.file}\n" in text, text)
    check_equal([str(p) for p in etc.rglob("*.conf.*") if "heptap" in p.name], [], "left over")

    again = tune(h, "apply", *own(host), "--persist", code=3)
    check_equal({f["state"] for f in again["files"]}, {"unchanged", "refused"}, "the second time")
    tune(h, "rollback")
    check(all(path.exists() for path in paths.values()), "files stay")
    paths["near1"].unlink()
    check_equal({f["path"]: f["state"] for f in tune(h, "apply", "--only", FRAGMENTS, "--persist")["files"]}["/etc/systemd/network/60-heptap-near0.link"],
                "unchanged", "a file whose changes are not meant this time")
    tune(h, "rollback")


@on_host(pairs=1)
def test_notrack(world, host):
    """With tune.manage_notrack a table of nftables keeps HEP over UDP out of connection tracking: made, looked at, deleted; others' rules stay."""
    if subprocess.run([*host.prefix, "sh", "-c", "command -v nft"], capture_output=True).returncode != 0:
        raise Skip("no nft here")
    h = host.heptap(world, more_top="tune: { manage_notrack: true }\n")
    mine, tracked = f"udp dport {h.port}", lambda: int(host.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))
    host.run("nft", "add table inet others; add chain inet others in { type filter hook input priority 0; }; add rule inet others in ct state new counter")
    before = host.run("nft", "list", "ruleset")
    for port in (h.port, 9):
        host.inside("send", port)
    check_equal(tracked(), 2, "datagrams that are tracked")

    told = tune(h, "apply", "--only", "table")
    check_equal([(one["object"], one["state"], one["was"], one["is"]) for one in told["results"]], [("nft/inet/heptap", "done", "none", str(h.port))], "apply")
    rules = host.run("nft", "list", "ruleset")
    check(mine in rules and f"udp sport {h.port} notrack" in rules, rules)
    host.run("sh", "-c", "cat /proc/net/nf_conntrack > /dev/null 2>&1; true")
    count = tracked()
    for _ in range(3):
        host.inside("send", h.port)
    check_equal(tracked(), count, "datagrams of HEP that are tracked")
    host.inside("send", 10)
    check_equal(tracked(), count + 1, "others that are")
    check_equal(tune(h, "verify")["counts"], {"ok": 1}, "verify")
    check(tune(h, "apply", "--only", "table")["message"].startswith("nothing to do"), "the second time")
    check_equal(tune(h, "rollback")["counts"], {"set back": 1}, "rollback")
    check_equal(without_counts(host.run("nft", "list", "ruleset")), without_counts(before), "rules")

    # what somebody else added to it is not deleted with it; a table of that name that is not ours is not replaced
    tune(h, "apply", "--only", "table")
    host.run("nft", "add rule inet heptap prerouting counter")
    check_equal(tune(h, "verify", code=3)["counts"], {"overridden": 1}, "verify")
    check_equal(tune(h, "rollback")["counts"], {"left alone": 1}, "rollback")
    told = tune(h, "apply", "--only", "table", code=3)
    check(told["counts"] == {"refused": 1} and "there is a table inet heptap that we did not make" in told["results"][0]["note"], f"{told}")
    check("counter" in host.run("nft", "list", "table", "inet", "heptap"), "it stays")

    bare = host.heptap(world, "bare", more=["setpriv", "--bounding-set=-all", "--inh-caps=-all"], more_top="tune: { manage_notrack: true }\n")
    told = tune(bare, "apply", "--only", "table", code=3)
    check("CAP_NET_ADMIN" in told["results"][0]["note"], f"{told}")


def without_counts(rules):
    return [line for line in rules.splitlines() if "counter" not in line]


# ---- recorded machines ----

def recorded(world, name):
    """@return a tree with a place for the journal, and heptap for it."""
    root = world.folder / name
    subprocess.run(["sh", HOSTS / "unpack.sh", HOSTS / f"{name}.host", root], check=True)
    (root / "var/lib/heptap").mkdir(parents=True)
    return root, planner(world, NICS[name])


def calm(root):
    """Nobody else is in charge of the recorded machine."""
    for comm in (root / "proc").glob("[0-9]*/comm"):
        if comm.read_text().strip() in ("irqbalance", "tuned"):
            comm.unlink()


def test_recorded_round_trips(world):
    """Each recorded machine that nobody else is in charge of: what apply can write is written, holds, and is set back to the octet."""
    wrote = 0
    for name in NICS:
        root, h = recorded(world, name)
        calm(root)
        before = tree_hash(root)
        plan = json.loads(h.command("tune", "plan", "--root", str(root), "--format", "json").stdout)
        check_equal(tree_hash(root), before, f"{name}: after plan")
        wanted = {c["object"]: c for c in plan["changes"]}
        blocked = {o for o, c in wanted.items() if c["blocked"]}
        done = h.command("tune", "apply", "--root", str(root), "--format", "json")
        told = json.loads(done.stdout)
        got = states(told)
        refused = got.get("refused", set())
        good = got.get("done", set()) | got.get("pending", set())
        check_equal((done.returncode, refused | good, refused & good), (3 if refused else 0, set(wanted), set()), f"{name}: {done.stderr}")
        check(blocked <= refused, f"{name}: blocked, and done: {blocked - refused}")
        if not good:
            check_equal(tree_hash(root), before, f"{name}: nothing was done")
            continue
        wrote += len(good)
        check(tree_hash(root) != before, f"{name}: after apply")
        held = states(tune(h, "verify", "--root", str(root)))
        check_equal(held.get("ok", set()) | held.get("pending", set()), good, f"{name}: verify")
        back = tune(h, "rollback", "--root", str(root))
        check_equal([one["object"] for one in back["results"]], [one["object"] for one in reversed(told["results"]) if one["object"] in good], f"{name}: order")
        check_equal(tree_hash(root), before, f"{name}: after rollback")
    check(wrote > 30, f"only {wrote} changes were made")


def test_pending_interrupts(world):
    """An interrupt that is served where it was until it fires again is pending: looked at again after a second, and by verify."""
    root, h = recorded(world, "box16-ixgbe-8q")
    calm(root)
    done = h.command("tune", "apply", "--root", str(root), "--only", "irq")
    pending = done.stdout.count("; takes effect with the next interrupt\n")
    check(pending >= 1, done.stdout)
    check_equal((done.returncode, done.stdout.count("; no interrupt came for a second: `heptap tune verify` looks again\n")), (0, pending), done.stdout)
    check_equal(tune(h, "verify", "--root", str(root))["counts"]["pending"], pending, "verify")

    def fire():
        for file in (root / "proc/irq").glob("*/effective_affinity_list"):
            file.write_text((file.parent / "smp_affinity_list").read_text())
    fire()
    check("pending" not in tune(h, "verify", "--root", str(root))["counts"], "after the next interrupt")
    tune(h, "rollback", "--root", str(root))
    fire()
    # one fires while apply waits
    process = subprocess.Popen([h.binary, "tune", "apply", "--root", str(root), "--only", "irq", "-c", str(h.file)], stdout=subprocess.PIPE, text=True)
    text = ""
    while not text.startswith("pending"):
        text = process.stdout.readline()
        check(text, "apply ended, and nothing was pending")
    number = text.split("/proc/irq/")[1].split("/")[0]
    (root / f"proc/irq/{number}/effective_affinity_list").write_text(text.split("wanted ")[1].split(",")[0] + "\n")
    check(f"done        /proc/irq/{number}/" in process.communicate()[0], "took effect")


def test_others_in_charge(world):
    """A running irqbalance or tuned would undo it: refused, and said what to ban or where to put it."""
    root, h = recorded(world, "box16-ixgbe-8q")
    before = tree_hash(root)
    told = tune(h, "apply", "--root", str(root), "--only", "irq", code=3)
    check_equal(set(states(told)), {"refused"}, "states")
    for one in told["results"]:
        check("irqbalance" in one["note"] and f"--banirq={one['object'].split('/')[3]}" in one["note"], f"{one}")
    check_equal(tree_hash(root), before, "nothing was written")
    root, h = recorded(world, "box64-mlx5-32q")
    before = tree_hash(root)
    told = tune(h, "apply", "--root", str(root), "--only", "sysctl", code=3)
    note = "tuned (process 1402) sets what, as its profile network-latency cannot be read: change its profile, or stop tuned"
    check_equal([(one["object"], one["state"], one["note"]) for one in told["results"]], [("/proc/sys/kernel/numa_balancing", "refused", note)], "tuned")
    profile = root / "etc/tuned/network-latency/tuned.conf"
    profile.parent.mkdir()
    profile.write_text("[sysctl]\nkernel.numa_balancing = 0\n")
    told = tune(h, "apply", "--root", str(root), "--only", "sysctl", code=3)
    check_equal(told["results"][0]["note"], "tuned (process 1402) sets kernel.numa_balancing=0 in /etc/tuned/network-latency/tuned.conf: change its profile, or stop tuned",
                "with its profile")
    shutil.rmtree(profile.parent)
    check_equal(tree_hash(root), before, "nothing was written")


def test_earlier_start_of_the_kernel(world):
    """What was set went with the kernel: verify says so, rollback removes the journal and writes nothing, apply begins anew."""
    root, h = recorded(world, "vm4-virtio-2q")
    boot, journal = root / "proc/sys/kernel/random/boot_id", root / "var/lib/heptap/tune.journal"
    boot.parent.mkdir(parents=True, exist_ok=True)
    gone = "of an earlier start of the kernel, and what was set went with that"
    first, second = [f"/proc/irq/{n}/smp_affinity_list" for n in (27, 29)]
    boot.write_text("first\n")
    tune(h, "apply", "--root", str(root), "--only", first)
    boot.write_text("second\n")
    before = tree_hash(root)
    done = h.command("tune", "verify", "--root", str(root))
    check_equal((done.returncode, gone in done.stderr, tree_hash(root)), (3, True, before), f"verify: {done.stderr}")
    done = h.command("tune", "apply", "--root", str(root), "--only", second)
    check_equal((done.returncode, f"{journal} was {gone}: removed\n" in done.stdout), (0, True), f"apply: {done.stdout}{done.stderr}")
    check_equal(sum(map(len, states(tune(h, "verify", "--root", str(root))).values())), 1, "the new journal")
    boot.write_text("third\n")
    kept = (root / first[1:]).read_text(), (root / second[1:]).read_text()
    done = h.command("tune", "rollback", "--root", str(root))
    check_equal((done.returncode, done.stdout), (0, f"{journal} was {gone}: removed\n"), f"rollback: {done.stderr}")
    check_equal(((root / first[1:]).read_text(), (root / second[1:]).read_text(), journal.exists()), (*kept, False), "nothing is written")


def test_export(world):
    """What the plan wants as files: a comment above each setting; also what apply has done already; files of others are left alone."""
    root, h = recorded(world, "box16-ixgbe-8q")
    calm(root)
    plan = json.loads(h.command("tune", "plan", "--root", str(root), "--format", "json").stdout)
    files = {f["path"]: f for f in tune(h, "export", "--root", str(root))["files"]}
    sysctl, link, unit = "/etc/sysctl.d/60-heptap.conf", "/etc/systemd/network/60-heptap-enp3s0f0.link", "/etc/systemd/system/heptap.service.d/60-tune.conf"
    check_equal((set(files), {f["state"] for f in files.values()}), ({sysctl, link, unit}, {"made"}), "files")
    for change in plan["changes"]:
        where = {"sysctl": sysctl, "ethtool": link, "irq": unit, "queue": unit}[change["kind"]]
        check(change["why"] in files[where]["text"], f"{change['object']}: its reason is not in {where}")
        if change["kind"] == "sysctl":
            check("-" + change["object"][10:].replace("/", ".") + f" = {change['wanted']}\n" in files[where]["text"], change["object"])
    for file in files.values():
        lines = file["text"].splitlines()
        for i, line in enumerate(lines):
            check("=" not in line or line[0] == "#" or lines[i - 1].startswith(("#", "[")) or "Policy=" in line, f"{file['path']}: no comment above {line}")
    done = h.command("tune", "export", "--root", str(root))
    check_equal(done.stdout, "\n".join(f"==> {path} <==\n{files[path]['text']}" for path in (sysctl, link, unit)), "as text")

    out = world.folder / "out"
    check_equal(h.command("tune", "export", "--dir", str(out)).returncode, 3, "without the directory")
    out.mkdir()
    (out / link[1:]).parent.mkdir(parents=True)
    (out / link[1:]).write_text("# mine\n")
    told = {f["path"]: f["state"] for f in tune(h, "export", "--root", str(root), "--dir", str(out), code=3)["files"]}
    check_equal(told, {sysctl: "written", link: "refused", unit: "written"}, "written")
    check_equal((out / link[1:]).read_text(), "# mine\n", "a file of others")
    check_equal((out / sysctl[1:]).read_text(), files[sysctl]["text"], "a file")
    (out / link[1:]).unlink()
    check_equal([f["state"] for f in tune(h, "export", "--root", str(root), "--dir", str(out))["files"]], ["unchanged", "written", "unchanged"], "again")
    (out / unit[1:]).unlink()
    (out / unit[1:]).symlink_to(world.folder / "elsewhere")
    check_equal([f["state"] for f in tune(h, "export", "--root", str(root), "--dir", str(out), code=3)["files"]], ["unchanged", "unchanged", "refused"], "a link")
    check(not (world.folder / "elsewhere").exists(), "nothing is written through a link")
    (out / unit[1:]).unlink()

    # done: no more in the plan, but in the journal; then without that, as after a start of the host with these files
    def settings(path):
        return sorted(line for line in (out / path[1:]).read_text().splitlines() if "=" in line and line[0] != "#")
    wanted = {path: settings(path) for path in (sysctl, link)}
    tune(h, "apply", "--root", str(root))
    for _ in range(2):
        check_equal({f["state"] for f in tune(h, "export", "--root", str(root), "--dir", str(out))["files"]} - {"written", "unchanged"}, set(), "after apply")
        check_equal({path: settings(path) for path in (sysctl, link)}, wanted, "settings")
        (root / "var/lib/heptap/tune.journal").unlink(missing_ok=True)


def test_recorded_notrack(world):
    """Asked for, and refused with the reason where connection tracking is not loaded, nft is not there or the table is another's."""
    root, h = recorded(world, "vm4-virtio-2q")
    h.write(top=h.settings["top"] + "\ntune: { manage_notrack: true }")
    table, count = root / "nft/heptap", root / "proc/sys/net/netfilter/nf_conntrack_count"
    count.unlink(missing_ok=True)

    def planned():
        told = json.loads(h.command("tune", "plan", "--root", str(root), "--format", "json").stdout)
        return [c for c in told["changes"] if c["kind"] == "table"][0]
    check("connection tracking is not loaded" in planned()["blocked"], "without tracking")
    count.parent.mkdir(parents=True, exist_ok=True)
    count.write_text("12\n")
    check_equal((planned()["blocked"], planned()["now"]), ("nft is not installed", "unknown"), "without nft")
    check_equal(tune(h, "apply", "--root", str(root), "--only", "table", code=3)["counts"], {"refused": 1}, "apply without nft")
    table.parent.mkdir()
    table.write_text("other\n")
    check("there is a table inet heptap" in planned()["blocked"], "another table")
    table.write_text("none\n")
    check_equal((planned()["blocked"], planned()["now"], planned()["wanted"], planned()["object"]), (None, "none", str(h.port), "nft/inet/heptap"), "the plan")
    check_equal(tune(h, "apply", "--root", str(root), "--only", "table")["counts"], {"done": 1}, "apply")
    check_equal(table.read_text(), f"{h.port}\n", "the table")
    check("ExecStartPre=" in tune(h, "export", "--root", str(root))["files"][-1]["text"], "it is made again at each start")
    check_equal(tune(h, "rollback", "--root", str(root))["counts"], {"set back": 1}, "rollback")
    check_equal(table.read_text(), "none\n", "the table")


def test_without_a_configuration(world):
    """verify and rollback go by the journal alone: a configuration that is wrong by then, or names the interface no more, does not stop them."""
    root, h = recorded(world, "box16-ixgbe-8q")
    calm(root)
    before = tree_hash(root)
    count = len(tune(h, "apply", "--root", str(root))["results"])
    h.file.write_text("nonsense: [")
    check_equal(h.command("tune", "apply", "--root", str(root)).returncode, 1, "apply")
    check_equal(len(tune(h, "verify", "--root", str(root))["results"]), count, "verify")
    check_equal(tune(h, "rollback", "--root", str(root))["counts"], {"set back": count}, "rollback")
    check_equal(tree_hash(root), before, "the tree")
