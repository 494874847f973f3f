"""A server fits itself to its host at start: threads on the cores of the plan, interrupts moved and set back, whatever ends it. Interrupts
are those of recorded machines only; their trees are changed instead of this host's files."""
import functools
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from lib import FIXTURES, Skip, check, check_equal, hep3, only_waits, own_network, release_only, sip, wait_until

HOSTS = FIXTURES / "hosts"
TREE = "vm2-virtio-1q"  # two CPUs, an interrupt for the only queue of eth0
MIRROR = "capture:\n  - { name: mirror, interface: %s }\ntune: { mode: %s }"


def placed(world, *arguments, **more):
    return world.heptap(*arguments, tune="auto", **more)


def tree(world, name=TREE):
    root = world.folder / name
    subprocess.run(["sh", HOSTS / "unpack.sh", HOSTS / f"{name}.host", root], check=True)
    (root / "var/lib").mkdir(parents=True)  # for journals
    return root


def tree_hash(root):
    """Names, modes and contents of what the kernel would have."""
    digest = hashlib.sha256()
    for top in ("proc", "sys"):
        for folder, folders, files in os.walk(root / top):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                digest.update(path.encode() + oct(os.lstat(path).st_mode).encode())
                digest.update(os.readlink(path).encode() if os.path.islink(path) else open(path, "rb").read())
    return digest.hexdigest()


def irq(root, number):
    return (root / f"proc/irq/{number}/smp_affinity_list").read_text().strip()


def cpus(text):
    """The numbers of a list as the kernel writes it."""
    out = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        out |= set(range(int(first), int(last or first) + 1))
    return out


def threads(pid):
    """Name and CPUs of each thread."""
    out = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "status").read_text()
        except OSError:  # it has ended
            continue
        out[re.search(r"^Name:\t(.*)", text, re.M).group(1)] = cpus(re.search(r"^Cpus_allowed_list:\t(.*)", text, re.M).group(1))
    return out


def children(pid):
    return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def plan(h, *arguments):
    done = h.command("tune", "plan", "--format", "json", *arguments)
    check_equal(done.returncode, 0, done.stderr)
    return json.loads(done.stdout)


def check_places(got, told, everywhere, captures):
    """Each thread is where the plan has it; who has no core may run everywhere."""
    place = told["placement"]
    calm, busy = set(place["housekeeping"]) or everywhere, set(place["writers"]) or everywhere
    wanted = {"heptap": calm, "ht-rcu": calm, "ht-spool": calm, "ht-admin": calm, "ht-watch": calm, "ht-stat": busy}
    for i, core in enumerate(place["hep"]):
        wanted[f"ht-hep-{i}"] = everywhere if core is None else {core}
    for i, core in enumerate(captures):
        wanted[f"ht-cap-{i}"] = everywhere if core is None else {core}
    for i in range(told["sizes"]["writers"]):
        wanted[f"ht-db-{i}"] = busy
    check_equal(got, wanted, "where threads may run")


def with_eth0(function):
    """Run a test in a network namespace of its own with a pair of interfaces, one of them eth0, two queues each."""
    @functools.wraps(function)
    def test(world):
        host = os.readlink("/proc/thread-self/ns/net")

        def inside(world):
            if os.readlink("/proc/thread-self/ns/net") == host:
                raise Skip("no network namespace here")
            subprocess.run("ip link add eth0 numrxqueues 2 numtxqueues 2 type veth peer name far numrxqueues 2 numtxqueues 2 && "
                           "ip link set eth0 up && ip link set far up", shell=True, check=True)
            function(world)
        own_network(inside)(world)
    return test


def mirrored(world, root, mode="auto", name="h", **more):
    return placed(world, name, top=MIRROR % ("eth0", mode), environment={"HEPTAP_ROOT": str(root)}, **more)


# ---- this machine ----

def test_threads(world):
    """Every thread is on the cores that `heptap tune plan` names, helpers included."""
    world.database()
    h = placed(world)
    check_places(threads(h.process.pid), plan(h), os.sched_getaffinity(0), [])
    check(" CPUs: " in h.log_text() or "where the kernel puts them" in h.log_text(), h.log_text())
    check_equal(children(h.process.pid), [], "children of a server that moved no interrupt")
    check_equal(h.stop(), 0, "exit code")


def test_off_and_report(world):
    """Both leave threads where the kernel puts them; report tells what it would do."""
    world.database()
    for mode in ("off", "report"):
        h = placed(world, mode, top="tune: { mode: %s }" % mode)
        got = threads(h.process.pid)
        check(len(got) >= 6 and all(on == os.sched_getaffinity(0) for on in got.values()), f"{mode}: {got}")
        check_equal("nothing is placed" in h.log_text(), mode == "report", mode)
        findings = plan(h)["findings"]
        for f in findings:
            check_equal(f["text"] in h.log_text(), mode == "report", f"{mode}: {f}")
        check_equal(h.stop(), 0, "exit code")


@with_eth0
def test_a_pair_of_interfaces(world):
    """An interface without interrupts, of this machine and of a namespace: its thread has a core, and nothing is moved."""
    world.database()
    h = placed(world, top=MIRROR % ("eth0", "auto"))
    told = plan(h)
    check_places(threads(h.process.pid), told, os.sched_getaffinity(0), told["nics"][0]["cores"])
    check_equal(children(h.process.pid), [], "children")
    check("interrupts" not in h.log_text().split("tune plan")[0], h.log_text())
    check_equal(h.stop(), 0, "exit code")


def test_a_smaller_cpuset(world):
    """Of one CPU nothing is placed; the process goes on where it may run."""
    world.database()
    one = min(os.sched_getaffinity(0))
    h = placed(world, prefix=("taskset", "-c", str(one)))
    check_equal(set(map(frozenset, threads(h.process.pid).values())), {frozenset({one})}, "where threads may run")
    check("where the kernel puts them" in h.log_text(), h.log_text())
    check_equal(h.stop(), 0, "exit code")


def test_limits(world):
    """All files that the hard limit allows, and what that is too little for is said; no core file, whose octets would be messages."""
    world.database()
    h = placed(world, prefix=("setpriv", "--bounding-set=-sys_resource", "prlimit", "--nofile=1000:4000"))
    limits = pathlib.Path(f"/proc/{h.process.pid}/limits").read_text()
    check_equal(re.search(r"^Max open files +(\d+) +(\d+)", limits, re.M).groups(), ("4000", "4000"), "open files")
    check_equal(re.search(r"^Max core file size +(\S+)", limits, re.M).group(1), "0", "core file")
    check("4000 open files are allowed, the connections of the configuration may take 5120" in h.log_text(), h.log_text())
    check_equal(h.stop(), 0, "exit code")


def test_without_rights(world):
    """A user without any capability, and the root of a user namespace: threads are placed, which needs none."""
    world.database()
    for name, prefix in (("nobody", ("setpriv", "--reuid=nobody", "--clear-groups", "--bounding-set=-all")), ("root", ("unshare", "-U", "-r"))):
        if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
            raise Skip(f"not allowed here: {' '.join(prefix)}")
        world.folder.chmod(0o755)
        h = placed(world, name, start=False, prefix=prefix)
        h.folder.chmod(0o777)
        h.start()
        check_places(threads(h.process.pid), plan(h), os.sched_getaffinity(0), [])
        check_equal(h.stop(), 0, "exit code")


# ---- recorded machines ----

@with_eth0
def test_interrupts_are_moved_until_the_end(world):
    """SIGTERM, to the server alone or to its keeper as well, and SIGKILL: all files are as they were; a keeper was there, and is gone."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip("one CPU")
    world.database()
    root = tree(world)
    before = tree_hash(root)
    for how in ("SIGTERM", "SIGTERM to both", "SIGKILL"):
        h = mirrored(world, root, name=how.replace(" ", "-"))
        pid = h.process.pid
        check_places(threads(pid), plan(h, "--root", str(root)), os.sched_getaffinity(0), [1])
        check_equal((irq(root, 38), irq(root, 39), irq(root, 37)), ("1", "1", "0-1"), "of the queue, of sending, of control")
        check(tree_hash(root) != before, "nothing was written")
        [keeper] = children(pid)
        check_equal(pathlib.Path(f"/proc/{keeper}/comm").read_text(), "heptap: undo\n", "its name")
        check_equal(pathlib.Path(f"/proc/{keeper}/cmdline").read_bytes().rstrip(b"\0"), b"heptap: undo", "what ps shows")
        if how == "SIGTERM to both":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(keeper, number)
        if how == "SIGKILL":
            h.kill()
            wait_until(lambda: not os.path.exists(f"/proc/{keeper}"), 20, "the keeper has ended")
        else:
            check_equal(h.stop(), 0, "exit code")
        check(not os.path.exists(f"/proc/{keeper}"), f"{how}: there is still a keeper")
        check_equal(tree_hash(root), before, f"{how}: the files")
        check("interrupts: 2 set back" in h.log_text(), h.log_text())
        check_equal([f.name for f in (root / "var/lib/heptap").iterdir()], ["start.lock"], "no journal is left")


@with_eth0
def test_the_keeper_has_few_rights(world):
    """It is root with one capability, has no socket, and only the server's log open."""
    if os.geteuid() != 0 or len(os.sched_getaffinity(0)) < 2:
        raise Skip("not root, or one CPU")
    world.database()
    world.folder.chmod(0o755)
    root = tree(world)
    h = mirrored(world, root, run_as="nobody")
    [keeper] = children(h.process.pid)
    status = pathlib.Path(f"/proc/{keeper}/status").read_text()
    wait_until(lambda: "CapEff:\t0000000000000002\n" in pathlib.Path(f"/proc/{keeper}/status").read_text(), 5, "it has given up its rights")
    check_places(threads(h.process.pid), plan(h, "--root", str(root)), os.sched_getaffinity(0), [1])
    check("\nUid:\t0\t0\t0\t0\n" in status, status)
    open_files = [os.readlink(f"/proc/{keeper}/fd/{n}") for n in os.listdir(f"/proc/{keeper}/fd")]
    check(not any(f.startswith("socket:") for f in open_files), f"open: {open_files}")
    check("\nUid:\t0\t" not in pathlib.Path(f"/proc/{h.process.pid}/status").read_text(), "the server is still root")
    check_equal(h.stop(), 0, "exit code")
    check("interrupts: 2 set back" in h.log_text(), h.log_text())


@with_eth0
def test_both_killed(world):
    """Server and keeper are killed: the journal stays, and the next start sets back what is in it before it plans."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip("one CPU")
    world.database()
    root = tree(world)
    before = tree_hash(root)
    h = mirrored(world, root)
    [keeper] = children(h.process.pid)
    os.kill(keeper, signal.SIGKILL)
    h.kill()
    check_equal(irq(root, 38), "1", "the interrupt")
    check((root / "var/lib/heptap/start.journal").exists(), "there is no journal")
    for mode in ("off", "auto"):
        h = mirrored(world, root, mode, name=mode)
        check_equal("left by an earlier start: 2 set back" in h.log_text(), mode == "off", h.log_text())
        check_equal(irq(root, 38), "1" if mode == "auto" else "0-1", "the interrupt")
        check_equal(h.stop(), 0, "exit code")
        check_equal(tree_hash(root), before, "the files")


@release_only
@with_eth0
def test_killed_while_it_starts(world):
    """At any moment of a start, in which eight interrupts are moved: all files are as they were, and the next start goes on."""
    world.database()
    subprocess.run("ip link add enp3s0f0 type veth peer name far3 && ip link set enp3s0f0 up", shell=True, check=True)
    root = tree(world, "box16-ixgbe-8q")
    for comm in root.glob("proc/*/comm"):
        if comm.read_text() == "irqbalance\n":
            comm.write_text("other\n")
    before = tree_hash(root)
    h = placed(world, top="capture:\n  - { name: mirror, interface: enp3s0f0 }", environment={"HEPTAP_ROOT": str(root)}, start=False)
    begun = time.monotonic()
    h.start()
    took = time.monotonic() - begun
    check(tree_hash(root) != before, "nothing was written")
    h.kill()
    for part in range(10):
        h.start(wait=False)
        time.sleep(took * part / 10)  # any moment will do
        h.kill()
        wait_until(lambda: tree_hash(root) == before and not (root / "var/lib/heptap/start.journal").exists(), 20, f"files after part {part}")
    h.start()
    check_equal(h.stop(), 0, "exit code")
    check_equal(tree_hash(root), before, "files")


@with_eth0
def test_somebody_else_changed_it(world):
    """An interrupt that was moved meanwhile by another hand is left alone, and that is said."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip("one CPU")
    world.database()
    root = tree(world)
    h = mirrored(world, root)
    (root / "proc/irq/38/smp_affinity_list").write_text("0\n")
    check_equal(h.stop(), 0, "exit code")
    check_equal((irq(root, 38), irq(root, 39)), ("0", "0-1"), "interrupts")
    check("/proc/irq/38/smp_affinity_list: left alone" in h.log_text(), h.log_text())


@with_eth0
def test_irqbalance(world):
    """It would move them back: nothing is written, and threads are where the interrupts are. What to do is said."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip("one CPU")
    world.database()
    root = tree(world)
    (root / "proc/77").mkdir()
    (root / "proc/77/comm").write_text("irqbalance\n")
    (root / "proc/irq/38/smp_affinity_list").write_text("0\n")
    (root / "proc/irq/38/effective_affinity_list").write_text("0\n")
    before = tree_hash(root)
    h = mirrored(world, root)
    got = threads(h.process.pid)
    check_equal((got["ht-cap-0"], got["heptap"]), ({0}, {0}), "where the interrupt is")
    check_equal((tree_hash(root), children(h.process.pid)), (before, []), "files and children")
    check("eth0: 2 of 2 interrupts of its queues stay where they are: irqbalance" in h.log_text(), h.log_text())
    check("1 of 1 threads are where theirs are" in h.log_text(), h.log_text())
    check_equal(h.stop(), 0, "exit code")


@with_eth0
def test_split(world):
    """Two queues share a core, and their thread is beside it; where the interrupts stay, it goes beside these. Both cores are isolated, so that
    others have theirs, which are not here."""
    if os.sched_getaffinity(0) != {0, 1}:
        raise Skip("not two CPUs")
    world.database()
    subprocess.run("ip link add ens3 type veth peer name far3 && ip link set ens3 up", shell=True, check=True)
    root = tree(world, "vm4-virtio-2q")
    (root / "sys/devices/system/cpu/isolated").write_text("0-1\n")
    for cpu in range(4):
        (root / f"sys/devices/system/cpu/cpu{cpu}/cache/index3/shared_cpu_list").write_text("0-3\n")
    before = tree_hash(root)
    top = "capture:\n  - { name: mirror, interface: ens3 }\ntune: { placement: split }"
    h = placed(world, "moved", top=top, environment={"HEPTAP_ROOT": str(root)})
    told = plan(h, "--root", str(root))["nics"][0]
    check_equal((told["cores"], told["apart"], told["channels"], {i["cpu"] for i in told["interrupts"] if i["queue"] >= 0}), ([1], 1, 1, {0}), "plan")
    check_equal(([irq(root, n) for n in (27, 28, 29, 30)], threads(h.process.pid)["ht-cap-0"]), (["0"] * 4, {1}), "interrupts and thread")
    check("ens3: 1 of 1 threads are beside the cores of their interrupts" in h.log_text(), h.log_text())
    check_equal(h.stop(), 0, "exit code")
    check_equal(tree_hash(root), before, "files")
    (root / "proc/77").mkdir()
    (root / "proc/77/comm").write_text("irqbalance\n")
    for number in (27, 29):
        for name in ("smp_affinity_list", "effective_affinity_list"):
            (root / f"proc/irq/{number}/{name}").write_text("1\n")
    before = tree_hash(root)
    h = placed(world, "stays", top=top, environment={"HEPTAP_ROOT": str(root)})
    check_equal((threads(h.process.pid)["ht-cap-0"], tree_hash(root)), ({0}, before), "thread and files")
    check("1 of 1 threads are beside where theirs are" in h.log_text(), h.log_text())
    check_equal(h.stop(), 0, "exit code")


@with_eth0
def test_the_management_interface(world):
    """eth0 has the default route: without a word in the configuration it is left alone."""
    world.database()
    root = tree(world)
    (root / "proc/net/route").write_text("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
                                         "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
    before = tree_hash(root)
    h = placed(world, top="capture:\n  - { name: mirror, interface: eth0 }", environment={"HEPTAP_ROOT": str(root)})
    check_equal((tree_hash(root), children(h.process.pid)), (before, []), "files and children")
    check("stay where they are: the NIC of the default route is left alone" in h.log_text(), h.log_text())
    check_equal(h.stop(), 0, "exit code")


@with_eth0
def test_full(world):
    """All changes of the plan: those of the interrupts end with the server, the others stay until they are rolled back."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip("one CPU")
    world.database()
    root = tree(world)
    before = tree_hash(root)
    h = mirrored(world, root, "off", name="off")
    changes = [c for c in plan(h, "--root", str(root))["changes"] if not c["blocked"]]
    check_equal(h.stop(), 0, "exit code")
    check_equal(tree_hash(root), before, "off changes nothing")
    stay = [c for c in changes if c["mode"] == "full" and c["kind"] in ("sysctl", "irq")]
    check(stay, f"nothing to change: {changes}")
    h = mirrored(world, root, "full", name="full")
    for c in stay:
        check_equal((root / c["object"][1:]).read_text().split(), c["wanted"].split(), c["object"])
    check_equal(irq(root, 38), "1", "the interrupt")
    check_equal(h.stop(), 0, "exit code")
    check_equal(irq(root, 38), "0-1", "the interrupt, after the end")
    for c in stay:
        check_equal((root / c["object"][1:]).read_text().split(), c["wanted"].split(), f"{c['object']} after the end")
    check("they stay when we end" in h.log_text(), h.log_text())
    check((root / "var/lib/heptap/tune.journal").exists(), "its journal")
    h = mirrored(world, root, "auto", name="again")
    check_equal(h.stop(), 0, "exit code")
    check((root / "var/lib/heptap/tune.journal").exists(), "a start without them has removed their journal")


# ---- a few senders ----

def queued(port):
    """Octets that wait in each UDP socket of a port."""
    lines = pathlib.Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
    return [int(line.split()[4].split(":")[1], 16) for line in lines if int(line.split()[1].split(":")[1], 16) == port]


def while_it_stands(h, packets):
    """@return what then waited in each of its sockets."""
    os.kill(h.process.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all(re.search(r"^State:\tT", (t / "status").read_text(), re.M) for t in pathlib.Path(f"/proc/{h.process.pid}/task").iterdir()),
                   10, "all threads have stopped")
        h.send(packets)
        return queued(h.port)
    finally:
        os.kill(h.process.pid, signal.SIGCONT)


@only_waits
@own_network
def test_few_senders(world):
    """One agent keeps one of four threads busy. When that loses datagrams they are dealt by chance within a minute, and that is said."""
    world.database()
    h = placed(world, top="hep_threads: 4")
    one = hep3(sip(1, size=400))
    check_equal(sum(n > 0 for n in while_it_stands(h, [one] * 400)), 1, "sockets with something, by hash")
    while_it_stands(h, [one] * 40000)
    wait_until(lambda: h.send([one]) or h.metrics().sum("heptap_kernel_dropped_total") > 0, 20, h.summary)
    wait_until(lambda: "are dealt by chance" in h.log_text(), 90, h.log_text)
    check("1 sender keep few of 4 threads busy" in h.log_text(), h.log_text())
    waiting = while_it_stands(h, [one] * 400)
    check(len(waiting) == 4 and all(waiting), f"sockets with something, by chance: {waiting}")
    check_equal(h.stop(), 0, "exit code")


# ---- what must be ----

def ends_with(h, text):
    """It does not start, with exit code 3 and a line that says why."""
    h.start(wait=False)
    check_equal(h.process.wait(20), 3, f"exit code: {h.log_text()}")
    check(text in h.log_text(), h.log_text())


def requiring(world, root, interface, words, name):
    top = f"capture:\n  - {{ name: mirror, interface: {interface} }}\ntune: {{ require: [{words}] }}"
    return placed(world, name, top=top, environment={"HEPTAP_ROOT": str(root)}, start=False)


@with_eth0
def test_required(world):
    """Interrupts that irqbalance keeps and cores that are not there end the start, where they are asked for; interrupts are set back then, too."""
    if os.sched_getaffinity(0) != {0, 1}:
        raise Skip("not two CPUs")
    world.database()
    subprocess.run("ip link add ens3 type veth peer name far3 && ip link set ens3 up", shell=True, check=True)
    root, four = tree(world), tree(world, "vm4-virtio-2q")
    before = tree_hash(four)
    h = requiring(world, root, "eth0", "pin, interrupts, buffers, rings", "good")
    h.start()
    check_equal((irq(root, 38), h.stop()), ("1", 0), "interrupt and exit code")
    h = requiring(world, four, "ens3", "interrupts", "four")
    h.start()
    check("threads are not where planned" in h.log_text(), h.log_text())
    got = threads(h.process.pid)
    check_equal((got["heptap"], got["ht-cap-0"], got["ht-cap-1"]), ({0}, {0, 1}, {0, 1}), "where a thread is whose core is missing")
    check_equal(h.stop(), 0, "exit code")
    ends_with(requiring(world, four, "ens3", "pin", "pin"), "tune.require: pin: a thread is not where it belongs")
    check_equal(tree_hash(four), before, "files after a start that failed")
    (root / "proc/77").mkdir()
    (root / "proc/77/comm").write_text("irqbalance\n")
    ends_with(requiring(world, root, "eth0", "interrupts", "interrupts"), "tune.require: interrupts: some are not where they belong")


def test_required_buffers(world):
    """Without CAP_NET_ADMIN the limit of the host holds."""
    if int(pathlib.Path("/proc/sys/net/core/rmem_max").read_text()) > 4 << 20:
        raise Skip("net.core.rmem_max is large here")
    world.database()
    world.folder.chmod(0o755)
    h = placed(world, prefix=("setpriv", "--reuid=nobody", "--clear-groups", "--bounding-set=-all"), top="tune: { require: [buffers] }", start=False)
    h.folder.chmod(0o777)
    ends_with(h, "tune.require: buffers: hep agents")


def test_not_pinned(world):
    """tune.pin: false leaves threads where the kernel puts them."""
    world.database()
    h = placed(world, top="tune: { pin: false }")
    check(all(on == os.sched_getaffinity(0) for on in threads(h.process.pid).values()), "where threads may run")
    check_equal(h.stop(), 0, "exit code")
