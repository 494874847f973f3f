"""The host as /metrics shows it: the numbers are those of /proc, and what goes wrong is found."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

from lib import Skip, check, check_equal, hep3, own_network, sip, wait_until
from test_events import Subscriber
from test_mirror import UDP as UDP_CAPTURE, capture, on_a_pair, replay

OURS = pathlib.Path("/proc/thread-self/net")  # of the namespace of the test
# a metric's event: the name in /proc/net/snmp and, with Udp6 before it, in snmp6
UDP = {"received": "InDatagrams", "no_port": "NoPorts", "errors": "InErrors", "buffer_full": "RcvbufErrors", "checksum": "InCsumErrors",
       "memory": "MemErrors"}
TCP = {"listen_overflows": "ListenOverflows", "listen_drops": "ListenDrops", "backlog_drops": "TCPBacklogDrop",
       "receive_queue_drops": "TCPRcvQDrop", "pruned": "PruneCalled", "paws_active": "PAWSActive", "time_wait_killed": "TWKilled"}
OWN_SYS = ("unshare", "-m", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh")
READING = 30  # seconds: three of them


def table(path):
    """{section: {name: value}} of a file like /proc/net/snmp."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return {names[0]: dict(zip(names[1:], map(int, values[1:]))) for names, values in zip(lines[::2], lines[1::2])}


def pairs(path):
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}


def is_on(h, finding):
    return h.metrics().sum("heptap_host_finding", finding=finding) == 1


def wait_reading(h):
    """The first one."""
    wait_until(lambda: 'heptap_thread_last_cpu{thread="heptap"}' in h.metrics().values, READING, "a reading")


def log_lines(h, finding):
    return [line for line in h.log_text().splitlines() if f" host: {finding}: " in line]


def differences(h):
    """What rests while nobody sends: name, value here, value in /proc."""
    m = h.metrics()
    udp, udp6, tcp = table(OURS / "snmp")["Udp:"], {}, table(OURS / "netstat")["TcpExt:"]
    if (OURS / "snmp6").exists():
        udp6 = pairs(OURS / "snmp6")
    wanted = {f'heptap_host_udp_events_total{{family="4",event="{event}"}}': udp.get(name) for event, name in UDP.items()}
    wanted |= {f'heptap_host_udp_events_total{{family="6",event="{event}"}}': udp6.get("Udp6" + name) for event, name in UDP.items()}
    wanted |= {f'heptap_host_tcp_events_total{{event="{event}"}}': tcp.get(name) for event, name in TCP.items()}
    wanted['heptap_host_files{kind="limit"}'] = int(pathlib.Path("/proc/sys/fs/file-nr").read_text().split()[2])
    return [(series, m.values.get(series), value) for series, value in wanted.items() if m.values.get(series) != value]


@own_network
def test_numbers_are_those_of_proc(world):
    """In a network where nobody else sends: each number that rests is the one in /proc, and one that is not there is left out."""
    world.database()
    world.folder.chmod(0o755)
    h = world.heptap(run_as="nobody") if os.getuid() == 0 else world.heptap()
    h.send([hep3(sip(n)) for n in range(100)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"nobody is there", ("127.0.0.1", 9))
    h.wait_at_rest(100)
    wait_until(lambda: not differences(h), READING, lambda: f"the numbers of /proc: {differences(h)}")
    m = h.metrics()
    check(m.sum("heptap_host_udp_events_total", event="received", family="4") >= 100, "datagrams")
    check(m.sum("heptap_host_udp_events_total", event="no_port", family="4") >= 1, "the one that nobody took")
    check_process(h, m)
    check_host(m)
    check_equal(h.stop(), 0, "exit code")


def check_process(h, m):
    """All of it is there without rights, too."""
    folder = pathlib.Path(f"/proc/{h.process.pid}")
    names = {(task / "comm").read_text().strip() for task in (folder / "task").iterdir()}
    check_equal({re.search('thread="(.*?)"', s)[1] for s in m.values if s.startswith("heptap_thread_last_cpu")}, names, "threads")
    online = os.sched_getaffinity(0)
    check(all(v in online for s, v in m.values.items() if s.startswith("heptap_thread_last_cpu")), "CPUs they ran on")
    check(m.sum("heptap_thread_switches_total", thread="ht-hep-0", kind="voluntary") > 0, "a thread that waits")
    check(abs(m.sum("heptap_process_open_files") - len(os.listdir(folder / "fd"))) <= 2, "open files, but for a request on its way")
    limit = re.search(r"Max open files +(\d+)", (folder / "limits").read_text())
    check_equal(m.sum("heptap_process_open_files_limit"), int(limit[1]), "limit of open files")
    check("heptap_process_oom_score" in m.values, "OOM score")
    check_equal("heptap_thread_migrations_total" in {s.split("{")[0] for s in m.values}, (folder / "sched").exists(), "migrations")


def check_host(m):
    """What moves all the time: there, for each CPU that is online, and not ahead of what it is afterwards."""
    rows = [line.split() for line in pathlib.Path("/proc/net/softnet_stat").read_text().splitlines()]
    for place, row in enumerate(rows):
        cpu = int(row[12], 16) if len(row) > 12 else place
        seen = m.values[f'heptap_host_softnet_total{{cpu="{cpu}",event="processed"}}']
        check((int(row[0], 16) - seen) % 2**32 < 2**31, f"CPU {cpu}: {seen} packets, then {row[0]}")
    check_equal(m.values.get("heptap_host_conntrack_limit") is not None,
                pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max").exists(), "connection tracking is there or not")
    check(all("-1" != str(v) for v in m.values.values()), "nothing that is unknown is shown")


@own_network
def test_full_buffer_is_found(world):
    """A server that does not read for a moment: the drops are in the numbers of the host, in the log once, and an event."""
    world.database()
    h = world.heptap(top="hep_threads: 1")
    one = Subscriber(h)
    wait_reading(h)
    check(not is_on(h, "udp_buffer"), "nothing is wrong yet")
    before = table(OURS / "snmp")["Udp:"]["RcvbufErrors"]
    packets, sent = [hep3(sip(n, size=900)) for n in range(1000)], 0
    os.kill(h.process.pid, signal.SIGSTOP)
    while table(OURS / "snmp")["Udp:"]["RcvbufErrors"] == before:
        check(sent < 300_000, "the buffer is full at last")
        h.send(packets)
        sent += len(packets)
    os.kill(h.process.pid, signal.SIGCONT)
    wait_until(lambda: is_on(h, "udp_buffer"), READING, "the finding")
    lost = table(OURS / "snmp")["Udp:"]["RcvbufErrors"]
    m = h.metrics()
    check_equal(m.sum("heptap_host_udp_events_total", family="4", event="buffer_full"), lost, "drops")
    check_equal(m.sum("heptap_kernel_dropped_total"), lost, "all of them are ours")
    said = log_lines(h, "udp_buffer")
    check(len(said) == 1 and f" {lost} UDP datagrams found the buffer" in said[0], f"log: {said}")
    event = wait_until(lambda: [e for e in one.poll() if e["event"] == "host_finding" and e["finding"] == "udp_buffer"], READING, "event")
    check_equal((len(event), event[0]["text"]), (1, said[0].split("udp_buffer: ")[1]), "the event")
    status = json.loads(h.get("/api/status")[1])["host"]
    check([f["text"] for f in status if f["finding"] == "udp_buffer"] == [event[0]["text"]], f"/api/status: {status}")
    check_equal(h.stop(), 0, "exit code")


def thread_id(h, name):
    for task in pathlib.Path(f"/proc/{h.process.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return task.name
    raise AssertionError(name)


def test_thread_off_its_core_is_found(world):
    """A receive thread has a core, and somebody moves it to another one."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Skip("one CPU")
    world.database()
    h = world.heptap(top="hep_threads: 1", prefix=("taskset", "-c", str(cpus[0])))
    wait_reading(h)
    check(not is_on(h, "threads_off_core"), "all are where they are to be")
    subprocess.run(["taskset", "-p", "-c", str(cpus[1]), thread_id(h, "ht-hep-0")], check=True, capture_output=True)
    wait_until(lambda: is_on(h, "threads_off_core"), READING, "the finding")
    check_equal(h.metrics().values['heptap_thread_last_cpu{thread="ht-hep-0"}'], cpus[1], "where it is")
    said = log_lines(h, "threads_off_core")
    check(len(said) == 1 and f"(ht-hep-0 on CPU {cpus[1]})" in said[0], f"log: {said}")
    check_equal(h.stop(), 0, "exit code")


@on_a_pair
def test_nic_is_shown(world):
    """The NIC that `capture` names, as the kernel and its driver count; through a /sys of another network it is not looked at."""
    world.database()
    for name, prefix in (("own", OWN_SYS), ("foreign", ())):
        h = world.heptap(name=name, top=capture(), prefix=prefix)
        wait_reading(h)
        replay(UDP_CAPTURE)
        h.wait_at_rest(1)
        if prefix:
            wait_until(lambda: nic(h, "received") == received("near"), READING, lambda: f"{nic(h, 'received')}, not {received('near')}")
            drops = 'heptap_host_nic_driver_total{nic="near",event="rx_queue_#_drops"}'
            check_equal(h.metrics().values.get(drops), 0, f"of the driver: {h.metrics().values}")
        else:
            check(not any('nic="near"' in series for series in h.metrics().values), "a NIC that is not ours")
        check_equal(h.stop(), 0, "exit code")


def nic(h, event):
    return h.metrics().sum("heptap_host_nic_total", nic="near", event=event)


def received(name):
    return json.loads(subprocess.run(["ip", "-j", "-s", "link", "show", name], check=True, capture_output=True).stdout)[0]["stats64"]["rx"]["packets"]
