"""heptap tune plan: what is said of recorded machines and of this one, and that nothing is written."""
import hashlib
import json
import os
import subprocess

from lib import FIXTURES, Skip, check, check_equal, own_network

HOSTS = FIXTURES / "hosts"
NICS = {"vm2-virtio-1q": "eth0", "vm4-virtio-2q": "ens3", "box16-ixgbe-8q": "enp3s0f0", "box64-mlx5-32q": "ens3f0np0", "ctr-unpriv-veth": "eth0"}
# mode, cores of the capture threads, housekeeping, writers
PLACES = {
    "vm2-virtio-1q": ("one queue", [1], [0], [0]),
    "vm4-virtio-2q": ("queues", [2, 3], [0], [1]),
    "box16-ixgbe-8q": ("queues", list(range(4, 12)), [0, 1], [2, 3]),
    "box64-mlx5-32q": ("queues", list(range(16, 32)), [0, 1], [2, 3, 4, 5]),
    "ctr-unpriv-veth": ("threads only", [6, 7], [4], [5]),
}


def planner(world, nic, **settings):
    """A configuration with one mirror port; there is no server and no database."""
    top = f"capture:\n  - {{ name: mirror, interface: {nic} }}" if nic else ""
    return world.heptap(name=f"h-{nic}", install=False, start=False, db_socket="/nowhere/socket", top=top, **settings)


def unpack(world, name):
    root = world.folder / name
    subprocess.run(["sh", HOSTS / "unpack.sh", HOSTS / f"{name}.host", root], check=True)
    return root


def tree_hash(root):
    """Names, modes and contents of all that is below."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files + [f for f in folders if os.path.islink(os.path.join(folder, f))]):
            path = os.path.join(folder, name)
            digest.update(path.encode() + oct(os.lstat(path).st_mode).encode())
            digest.update(os.readlink(path).encode() if os.path.islink(path) else open(path, "rb").read())
    return digest.hexdigest()


def expected_lines(name):
    """The lines that expected-placement.txt has for a machine, without the one for another rate."""
    section = (HOSTS / "expected-placement.txt").read_text().split(f"\n## {name}\n")[1].split("\n\n")[0]
    return [line for line in section.splitlines() if not line.startswith(" rate=")]


def plan(h, *arguments):
    done = h.command("tune", "plan", *arguments)
    check_equal((done.returncode, done.stderr), (0, ""), "exit code and complaints")
    return done.stdout


def test_recorded_machines(world):
    """Each gets the placement that was thought out for it, in the table and as JSON, and its files stay as they are."""
    for name, nic in NICS.items():
        root = unpack(world, name)
        before = tree_hash(root)
        h = planner(world, nic)
        text = plan(h, "--root", str(root))
        # HEP threads take spare cores, so that the last line may name fewer of them
        for line in expected_lines(name)[:-1]:
            check(line + "\n" in text, f"{name}: no line '{line}' in:\n{text[:2000]}")
        told = json.loads(plan(h, "--root", str(root), "--format", "json"))
        one = told["nics"][0]
        check_equal((one["mode"], one["cores"], told["placement"]["housekeeping"], told["placement"]["writers"]), PLACES[name], name)
        check_equal(text.count("\n    danger  "), len(told["changes"]), "changes in the table")
        check(f"FINDINGS: {len(told['findings'])}\n" in text, "findings in the table")
        for change in told["changes"]:
            check(f"\n    why     {change['why']}\n" in text and change["object"] in text, f"{name}: {change}")
        check_equal(tree_hash(root), before, f"{name}: the recorded files")


def test_changes_name_their_reasons(world):
    """A 10 Gbit/s port with 8 queues: irqbalance blocks the interrupts, the ring grows, pause frames and merging go."""
    root = unpack(world, "box16-ixgbe-8q")
    told = json.loads(plan(planner(world, "enp3s0f0"), "--root", str(root), "--format", "json"))
    changes = {c["object"]: c for c in told["changes"]}
    for queue in range(8):
        one = changes[f"/proc/irq/{64 + queue}/smp_affinity_list"]
        check_equal((one["wanted"], one["expect"], one["mode"]), (str(4 + queue), f"enp3s0f0-TxRx-{queue}", "auto"), "interrupt")
        check("irqbalance" in one["blocked"], f"blocked: {one}")
    check_equal((changes["enp3s0f0/rings/rx"]["now"], changes["enp3s0f0/rings/rx"]["mode"]), ("512", "full"), "ring")
    check_equal(changes["enp3s0f0/pause/rx"]["wanted"], "off", "pause")
    check(any(f["object"] == "irqbalance" and "--banirq=64" in f["text"] for f in told["findings"]), "what to ban")


def test_hep_alone(world):
    """Without a mirror port no NIC is spoken of; HEP threads get cores that are neither the writers' nor housekeeping."""
    root = unpack(world, "box16-ixgbe-8q")
    told = json.loads(plan(planner(world, None), "--root", str(root), "--format", "json"))
    check_equal(told["nics"], [], "NICs")
    check(all(c["kind"] == "sysctl" for c in told["changes"]), f"changes: {told['changes']}")
    check_equal(told["placement"]["hep"], list(range(4, 4 + told["sizes"]["hep_threads"])), "cores of HEP threads")


@own_network
def test_this_machine(world):
    """A veth pair with four queues in a namespace of its own: found, its driver asked. A NIC of another namespace that /sys shows is refused."""
    if subprocess.run(["ip", "link", "add", "mirror0", "numrxqueues", "4", "numtxqueues", "4", "type", "veth", "peer", "name", "mirror1"],
                      capture_output=True).returncode != 0:
        raise Skip("no network namespace with a veth pair here")
    own_sys = ("unshare", "-m", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh")
    told = json.loads(plan(planner(world, "mirror0", prefix=own_sys), "--format", "json"))
    one = told["nics"][0]
    check_equal((one["name"], one["exists"], one["mode"] in ("threads only", "nothing"), one["interrupts"]), ("mirror0", True, True, []), "NIC")
    allowed = os.sched_getaffinity(0)
    check(all(core is None or core in allowed for core in one["cores"]), f"cores: {one['cores']}")
    check(any(f["object"] == "mirror0" and f["now"] == "no interrupts" for f in told["findings"]), f"findings: {told['findings']}")
    for theirs in [n for n in os.listdir("/sys/class/net") if n.startswith(("eth", "en"))][:1]:
        told = json.loads(plan(planner(world, theirs), "--format", "json"))
        check(any(f["object"] == theirs and f["now"] == "foreign" for f in told["findings"]), f"findings: {told['findings']}")
        check(all(c["blocked"] for c in told["changes"] if c["nic"]), f"changes: {told['changes']}")


def test_words(world):
    """What is no word of it is refused, and says what is."""
    h = planner(world, "eth0")
    for words in ((), ("made",), ("plan", "--format"), ("plan", "--format", "xml"), ("plan", "--root"), ("plan", "more"), ("apply", "--yes"),
                  ("apply", "--persist", "--root", "/nowhere"), ("plan", "--only", "eth0"), ("verify", "--persist"), ("rollback", "--dir", "/"),
                  ("export", "--dir", ""), ("apply", *["--only", "eth0"] * 33)):
        done = h.command("tune", *words)
        check_equal(done.returncode, 2, f"exit code of {words}")
        check("--format" in done.stderr, f"{words}: {done.stderr}")
    done = h.command("tune", "plan", "--root", str(world.folder / "nowhere"))
    check_equal(done.returncode, 3, "exit code without a root")
    check("there is no such directory" in done.stderr, done.stderr)
    done = subprocess.run([h.binary, "tune", "plan", "-c", str(world.folder / "nothing.yaml")], capture_output=True, text=True)
    check_equal(done.returncode, 3, "exit code without a configuration")
