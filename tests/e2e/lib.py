"""What every end-to-end test needs: a private MariaDB, a heptap, captures, HEP packets, numbers.

Everything lives in one temporary folder that is removed afterwards. Processes are ended by their own pid, never by name.
Tests wait for conditions with a deadline, never for a fixed time.
"""
import ctypes
import fcntl
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


class Failure(Exception):
    """A test's expectation did not hold."""


class Skip(Exception):
    """The host does not allow what a test needs; the text says what."""


def only_waits(function):
    """Mark a test that takes half a minute of waiting."""
    function.only_waits = True
    return function


def release_only(function):
    """Mark a test of much work around heptap, which shows nothing more under a sanitizer."""
    function.release_only = True
    return function


def own_network(function):
    """Run a test in a network namespace of its own, where nobody else has packets or ports; where that is not allowed, on the host's
    loopback. A namespace belongs to the thread, and to the processes that it starts."""
    @functools.wraps(function)
    def inside(world):
        libc, new_network = ctypes.CDLL(None), 0x40000000
        with open("/proc/thread-self/ns/net") as before:
            if libc.unshare(new_network) != 0:
                return function(world)
            try:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS: up
                return function(world)
            finally:
                if libc.setns(before.fileno(), new_network) != 0:
                    raise OSError("the way back to the host's network is lost")
    return inside


def check(condition, text):
    if not condition:
        raise Failure(text)


def check_equal(got, wanted, what):
    if got != wanted:
        raise Failure(f"{what}: got {got!r}, wanted {wanted!r}")


def wait_until(condition, seconds, what):
    """Wait until condition() is true; its last value is returned. `what` may be a function: it is asked when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)


_ports = {"next": 10000 + os.getpid() * 97 % 20000, "lock": threading.Lock()}  # below those that the kernel gives away


def free_port():
    """A port that nobody has, UDP or TCP, and no other test of this run gets (several heptaps could share one by SO_REUSEPORT)."""
    while True:
        with _ports["lock"]:
            _ports["next"] += 1
            port = _ports["next"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


# ---- MariaDB ----

class Database:
    """A private server without networking; killed, stopped and started at will."""

    def __init__(self, folder, options=()):
        self.folder = pathlib.Path(folder)
        self.socket = str(self.folder / "s")
        self.options = list(options)
        self.process = None
        self.prefix = []  # before the command: where it runs
        self.log = self.folder / "mariadbd.log"
        self.folder.mkdir(parents=True, exist_ok=True)

    def tmp(self):
        """A folder of its own for temporary tables: a server that starts removes what others have in theirs."""
        (self.folder / "tmp").mkdir(exist_ok=True)
        return self.folder / "tmp"

    def install(self, template=None):
        data = self.folder / "data"
        if template:
            shutil.copytree(template, data)
            return
        subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--tmpdir={self.tmp()}", f"--user={os.environ.get('USER', 'root')}",
                        "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--force"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, extra=()):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, "mariadbd", "--no-defaults", "--user=root", f"--datadir={self.folder / 'data'}", f"--socket={self.socket}",
                 f"--pid-file={self.folder / 'pid'}", f"--tmpdir={self.tmp()}", "--skip-networking", "--innodb-buffer-pool-size=256M",
                 "--innodb-log-file-size=128M", *self.options, *extra],
                stdout=log, stderr=log, start_new_session=True)
        wait_until(self.answers, 60, "MariaDB answers")

    def answers(self):
        if self.process.poll() is not None:
            raise Failure(f"mariadbd ended: see {self.log}: " + self.log.read_text(errors="replace")[-800:])
        return subprocess.run(self.client("DO 1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def client(self, sql, database=None):
        command = ["mariadb", "--no-defaults", "-S", self.socket, "-u", "root", "--default-character-set=binary", "-N", "-B", "-e", sql]
        return command + ([database] if database else [])

    def query(self, sql, database="homer_db"):
        """Rows as lists of bytes (None for NULL)."""
        done = subprocess.run(self.client(sql, database), capture_output=True)
        if done.returncode:
            raise Failure(f"SQL: {done.stderr.decode(errors='replace').strip()}: {sql[:200]}")
        return [[unescape(cell) for cell in line.split(b"\t")] for line in done.stdout.split(b"\n")[:-1]]

    def number(self, sql, database="homer_db"):
        return int(self.query(sql, database)[0][0])

    def kill(self, how=signal.SIGKILL):
        os.kill(self.process.pid, how)
        if how in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait(60)

    def stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.kill(signal.SIGTERM)


def unescape(cell):
    if cell == b"NULL":
        return None
    return re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}[m.group(1)], cell, flags=re.S)


# ---- heptap ----

class Heptap:
    """A server with a configuration of its own. Unless a test asks for it threads are not placed: all servers that run side by side would have
    their threads that receive on the same core."""

    def __init__(self, binary, folder, db_socket, environment=None, prefix=(), **settings):
        self.binary = str(binary)
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.http = free_port()
        self.log = self.folder / "heptap.log"
        self.file = self.folder / "heptap.yaml"
        self.process = None
        self.prefix = prefix  # before the command: where it runs
        self.environment = {**os.environ, **(environment or {})}
        self.settings = {"db_socket": db_socket, "spool": self.folder / "spool", "database": "homer_db", "top": "", "storage": "", "user": "root",
                         "listener": "", "spool_max": "4G", "spool_more": "", "run_as": "", "tune": "off", **settings}
        self.write()

    def write(self, **settings):
        self.settings.update(settings)
        s = self.settings
        tune = "" if "tune:" in s["top"] else f"tune: {{ mode: {s['tune']} }}"
        self.file.write_text(f"""\
node: node1
user: '{s['run_as']}'
{s['top']}
{tune}
hep:
  - name: agents
    listen: ['udp:127.0.0.1:{self.port}', 'tcp:127.0.0.1:{self.port}']
    {s['listener']}
storage:
  socket: {s['db_socket']}
  user: {s['user']}
  database: {s['database']}
  {s['storage']}
  spool: {{ dir: {s['spool']}, max: {s['spool_max']} {s['spool_more']} }}
http: {{ listen: '127.0.0.1:{self.http}' }}
""")

    def command(self, *arguments):
        return subprocess.run([*self.prefix, self.binary, *arguments, "-c", str(self.file)], capture_output=True, text=True)

    def install(self):
        done = self.command("schema", "install")
        check(done.returncode == 0, f"schema install: {done.stderr}")

    def start(self, wait=True):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.prefix, self.binary, "-c", str(self.file)], stdout=log, stderr=log, env=self.environment,
                                            start_new_session=True)
        if wait:
            wait_until(self.is_ready, 20, "heptap is ready")

    def is_ready(self):
        check(self.process.poll() is None, "heptap ended: " + self.log_text()[-2000:])
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path, headers=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self):
        return Metrics(self.get("/metrics")[1])

    def wait_at_rest(self, received, seconds=60):
        """Wait until as many messages were received or dropped by the kernel, and every row is stored."""
        def at_rest():
            m = self.metrics()
            seen = m.sum("heptap_received_total") + m.sum("heptap_kernel_dropped_total")
            is_done = all(m.sum(name) == 0 for name in ("heptap_in_memory", "heptap_in_spool", "heptap_spool_streams_unread"))
            return m if seen >= received and is_done and m.lines()[1] == 0 else None  # one may be between received and accepted
        return wait_until(at_rest, seconds, lambda: f"{received} messages received, all rows stored: {self.summary()}")

    def summary(self):
        try:
            return {k: v for k, v in self.metrics().values.items() if v and not re.search("latency|cpu|bytes|time", k)}
        except OSError as error:
            return str(error)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self, seconds=40):
        """SIGTERM, and the exit code."""
        os.kill(self.process.pid, signal.SIGTERM)
        code = self.process.wait(seconds)
        check("ERROR: AddressSanitizer" not in self.log_text() and "WARNING: ThreadSanitizer" not in self.log_text()
              and "runtime error" not in self.log_text() and "LeakSanitizer" not in self.log_text(),
              "sanitizer: " + self.log_text()[-6000:])
        return code

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def end(self):
        """Whatever happened, it does not go on."""
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.kill()

    def connect(self, source="127.0.0.1"):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.bind((source, 0))
        s.connect(("127.0.0.1", self.port))
        return s

    def send_stream(self, stream, sizes):
        """Octets over a connection of their own, in pieces of the sizes that an iterator gives."""
        with self.connect() as s:
            at = 0
            while at < len(stream):
                size = next(sizes)
                s.sendall(stream[at:at + size])
                at += size

    def send(self, packets, pause_each=0):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", self.port))
            for i, packet in enumerate(packets):
                s.send(packet)
                if pause_each and i % pause_each == pause_each - 1:
                    time.sleep(0.001)


class SmallDisk:
    """A file system of a few megabytes on a folder, in a mount namespace of its own that outlives who runs in it. Where the host
    does not allow that the test is skipped."""

    def __init__(self, folder, megabytes):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t tmpfs -o "size=$1m" tmpfs "$2" && echo made && exec cat',
             "sh", str(megabytes), str(self.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self.keeper.stdout.readline() != b"made\n":
            raise Skip("no mount namespace with a tmpfs here: " + self.keeper.communicate()[1].decode(errors="replace").strip())
        self.prefix = ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt", "--"]
        self.inside = pathlib.Path(f"/proc/{self.keeper.pid}/root{self.folder}")  # as it is seen from here

    def fill(self, leave=0):
        """Take what is free, but for some octets."""
        with open(self.inside / "filler", "ab") as f:
            while (size := min(self.free() - leave, 1 << 20)) > 0:
                try:
                    f.write(b"x" * size)
                    f.flush()
                except OSError:
                    break

    def free(self):
        room = os.statvfs(self.inside)
        return room.f_bavail * room.f_bsize

    def empty(self):
        (self.inside / "filler").unlink()

    def end(self):
        self.keeper.communicate()


class Metrics:
    """Prometheus text as numbers by series."""

    def __init__(self, text):
        self.values = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                self.values[name] = float(value)

    def sum(self, name, **labels):
        total = 0
        for series, value in self.values.items():
            if series.split("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                total += int(value)
        return total

    def lines(self):
        """The differences of the three accounting lines: packets, messages, rows."""
        s = self.sum
        packets = s("heptap_packets_seen_total") - s("heptap_kernel_dropped_total") - s("heptap_packets_not_for_us_total") \
            - s("heptap_packets_held") - s("heptap_packets_incomplete_total") - s("heptap_carriers_total")
        messages = s("heptap_received_total") - s("heptap_not_sip_total") - s("heptap_malformed_total") - s("heptap_denied_total") \
            - s("heptap_filtered_total") - s("heptap_duplicate_total") - s("heptap_shed_total") - s("heptap_accepted_total")
        rows = s("heptap_rows_made_total") + s("heptap_rows_recovered_total") + s("heptap_rows_rewound_total") \
            - s("heptap_stored_total") - s("heptap_rejected_total") - s("heptap_in_memory") - s("heptap_in_spool") - s("heptap_lost_total")
        return packets, messages, rows

    def check_exact(self):
        check_equal(self.lines(), (0, 0, 0), "accounting lines (packets, messages, rows)")

    def check_no_negative(self):
        check(all(v >= 0 for v in self.values.values()), f"negative: {[k for k, v in self.values.items() if v < 0]}")
        check(all(v < 2**62 for v in self.values.values()), f"wrapped: {[k for k, v in self.values.items() if v >= 2**62]}")
        check(all(d >= 0 for d in self.lines()), f"an accounting line is negative: {self.lines()}")


# ---- captures ----

def pcap_frames(path):
    """Frames of a pcap or pcapng file: (link type, bytes)."""
    data = pathlib.Path(path).read_bytes()
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        yield from pcapng_frames(data)
        return
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link = struct.unpack(order + "I", data[20:24])[0]
    at = 24
    while at < len(data):
        length = struct.unpack(order + "4I", data[at:at + 16])[2]
        yield link, data[at + 16:at + 16 + length]
        at += 16 + length


def pcapng_frames(data):
    links, at = [], 0
    while at < len(data):
        kind, length = struct.unpack("<II", data[at:at + 8])
        body = data[at + 8:at + length - 4]
        if kind == 1:
            links.append(struct.unpack("<H", body[:2])[0])
        elif kind == 6:
            interface, _, _, captured = struct.unpack("<4I", body[:16])
            yield links[interface], body[20:20 + captured]
        at += length


def udp_payloads(path):
    """UDP payloads of a capture in order of their completion, IPv4 and IPv6, fragments put together."""
    pieces = {}
    for link, frame in pcap_frames(path):
        ip = frame[{1: 14, 101: 0, 113: 16, 276: 20, 228: 0, 0: 4}[link]:]
        if ip[0] >> 4 == 4:
            header, total = (ip[0] & 15) * 4, struct.unpack(">H", ip[2:4])[0]
            flags = struct.unpack(">H", ip[6:8])[0]
            offset, more, proto = (flags & 0x1fff) * 8, flags & 0x2000, ip[9]
            key, body = (ip[12:20], ip[4:6], proto), ip[header:total]
        else:
            proto, body, offset, more = ip[6], ip[40:40 + struct.unpack(">H", ip[4:6])[0]], 0, 0
            key = (ip[8:40], b"", proto)
            if proto == 44:
                proto, flags, ident = body[0], struct.unpack(">H", body[2:4])[0], body[4:8]
                offset, more, key, body = flags & 0xfff8, flags & 1, (ip[8:40], ident, proto), body[8:]
        if offset or more:
            pieces.setdefault(key, {})[offset] = (body, more)
            have, whole = 0, b""
            while have in pieces[key]:
                part, more = pieces[key][have]
                whole += part
                have += len(part)
                if not more:
                    break
            else:
                continue
            del pieces[key]
            body = whole
        if proto == 17:
            yield body[8:struct.unpack(">H", body[4:6])[0]]


def tcp_streams(path):
    """Octets of each direction of each TCP connection over IPv4 in a capture, put in order."""
    return (octets for _, octets in tcp_flows(path))


def tcp_flows(path):
    """The same with its ends: (source, port, destination, port) and octets."""
    pieces = {}
    for link, frame in pcap_frames(path):
        ip = frame[{1: 14, 101: 0, 113: 16, 276: 20}[link]:]
        if ip[0] >> 4 != 4 or ip[9] != 6:
            continue
        total, tcp = struct.unpack(">H", ip[2:4])[0], ip[(ip[0] & 15) * 4:]
        body = ip[(ip[0] & 15) * 4 + (tcp[12] >> 4) * 4:total]
        if body:
            pieces.setdefault((ip[12:20], tcp[0:4]), {})[struct.unpack(">I", tcp[4:8])[0]] = body
    for (hosts, ports), parts in pieces.items():
        whole, at = b"", min(parts)
        for sequence in sorted(parts):
            whole += parts[sequence][at - sequence:] if at - sequence < len(parts[sequence]) else b""
            at = max(at, sequence + len(parts[sequence]))
        yield (socket.inet_ntoa(hosts[:4]), *struct.unpack(">H", ports[:2]), socket.inet_ntoa(hosts[4:]), *struct.unpack(">H", ports[2:])), whole


def expected(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


# ---- HEP packets ----

def chunk(kind, value, vendor=0):
    return struct.pack(">HHH", vendor, kind, len(value) + 6) + value


def hep_legacy(version, payload, src="192.0.2.1", dst="192.0.2.2", ports=(5060, 5060), ts=None, capture_id=7, proto=17, order="<"):
    """A HEP 1 or 2 packet around a payload."""
    family, pack = (10, lambda a: socket.inet_pton(socket.AF_INET6, a)) if ":" in src else (2, socket.inet_aton)
    now = time.time() if ts is None else ts
    block = struct.pack(order + "IIHH", int(now), int(now % 1 * 1e6), capture_id, 0) if version == 2 else b""
    return bytes([version, 16 if family == 2 else 40, family, proto]) + struct.pack(">HH", *ports) + pack(src) + pack(dst) + block + payload


def hep3(payload, src="192.0.2.1", dst="192.0.2.2", ports=(5060, 5060), ts=None, kind=1, capture_id=7, proto=17, extra=b"", chunks=None):
    """A HEP3 packet around a payload."""
    if chunks is None:
        now = time.time() if ts is None else ts
        family, bits = (10, 5) if ":" in src else (2, 3)
        pack = (lambda a: socket.inet_pton(socket.AF_INET6, a)) if ":" in src else socket.inet_aton
        chunks = b"".join((
            chunk(1, bytes([family])), chunk(2, bytes([proto])), chunk(bits, pack(src)), chunk(bits + 1, pack(dst)),
            chunk(7, struct.pack(">H", ports[0])), chunk(8, struct.pack(">H", ports[1])),
            chunk(9, struct.pack(">I", int(now))), chunk(10, struct.pack(">I", int(now % 1 * 1e6))),
            chunk(11, bytes([kind])), chunk(12, struct.pack(">I", capture_id)), extra, chunk(15, payload)))
    return b"HEP3" + struct.pack(">H", len(chunks) + 6) + chunks


def sip(number, method="OPTIONS", size=0):
    """A small request that carries a number in its Call-ID."""
    body = b"x" * size
    return (f"{method} sip:user@example.com SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-{number}\r\n"
            f"From: <sip:alice@example.com>;tag=f{number}\r\nTo: <sip:bob@example.net>\r\n"
            f"Call-ID: n{number}@heptap.test\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n"
            f"User-Agent: heptap test\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


def stored_numbers(db, where="1=1"):
    """How often each number of sip() is in the table: {number: times}."""
    rows = db.query("SELECT SUBSTRING(callid, 2, LOCATE('@', callid) - 2), COUNT(*) FROM sip_capture "
                    f"WHERE callid LIKE 'n%@heptap.test' AND {where} GROUP BY callid")
    return {int(number): int(times) for number, times in rows}


def check_once(db, wanted):
    """Each wanted number exactly once, and no other."""
    got = stored_numbers(db)
    twice = [n for n, times in got.items() if times > 1]
    missing = sorted(set(wanted) - set(got))
    foreign = sorted(set(got) - set(wanted))
    check(not twice, f"{len(twice)} stored more than once: {sorted(twice)[:10]}")
    check(not missing, f"{len(missing)} missing: {missing[:10]}")
    check(not foreign, f"{len(foreign)} that were never sent: {foreign[:10]}")


# ---- segments of the spool ----

class Block:
    """One of a segment: where it lies, how many rows it has, and the numbers of sip() in it."""
    HEAD = struct.Struct("<QIIQQQQQQIIIHH")

    def __init__(self, path, at, data):
        self.magic, _, self.size, _, self.stream, self.seq, self.rows_before, _, _, _, self.rows, *_ = self.HEAD.unpack_from(data, at)
        self.path, self.at = path, at
        self.bytes = data[at:at + self.size]
        self.numbers = {int(n) for n in re.findall(rb"Call-ID: n(\d+)@heptap.test", self.bytes)}


def blocks_of(path):
    """The blocks of a segment that nothing happened to, but for a torn end."""
    data, at, found = path.read_bytes(), 0, []
    while at + Block.HEAD.size <= len(data):
        block = Block(path, at, data)
        check_equal(block.magic, 0x4b4c425054504548, f"magic at {at} of {path}")
        if at + block.size > len(data):
            break
        found.append(block)
        at += block.size
    return found


# ---- the folder of one test ----

class World:
    """A database and helpers for one test; everything ends with it."""

    def __init__(self, binary, template, name):
        self.binary = binary
        self.template = template
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"heptap-{name[:20]}-"))
        self.db = None
        self.servers = []
        self.disks = []

    def small_disk(self, folder, megabytes):
        self.disks.append(SmallDisk(folder, megabytes))
        return self.disks[-1]

    def database(self, options=()):
        self.db = Database(self.folder / "db", options)
        self.db.install(self.template)
        self.db.start()
        return self.db

    def heptap(self, name="h", install=True, start=True, db_socket=None, **settings):
        h = Heptap(self.binary, self.folder / name, db_socket or self.db.socket, **settings)
        self.servers.append(h)
        if install:
            h.install()
        if start:
            h.start()
        return h

    def end(self, keep=False):
        for h in self.servers:
            h.end()
        if self.db and self.db.process and self.db.process.poll() is None:
            os.kill(self.db.process.pid, signal.SIGCONT)
            self.db.kill()
        for disk in self.disks:
            disk.end()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
