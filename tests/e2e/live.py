"""Real senders on the loopback: Debian's kamailio, rtpengine and sipp, and what tshark sees of them on the wire."""
import collections
import hashlib
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time
from typing import NamedTuple

from lib import Skip, check, free_port, tcp_flows, udp_payloads, wait_until

KAMAILIO = """\
debug=1
log_stderror=yes
fork=yes
children=1
tcp_children=2
auto_aliases=no
listen=udp:127.0.0.1:{sip}
listen=tcp:127.0.0.1:{sip}
{listen6}
mpath="{modules}"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "siptrace.so"
modparam("tm", "retr_timer1", 8000)
modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:{hep}{transport}")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", {version})
modparam("siptrace", "hep_capture_id", {capture_id})
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_mode", {mode})
modparam("siptrace", "trace_flag", 22)
request_route {{
	{trace}
	mf_process_maxfwd_header("10");
	if (is_method("REGISTER|OPTIONS|MESSAGE")) {{
		sl_send_reply("200", "OK");
		exit;
	}}
	if (is_method("ACK") && !t_check_trans() && $rU =~ "^(busy|nobody)$") {{
		exit;
	}}
	if ($rU == "busy") {{
		t_newtran();
		t_reply("486", "Busy Here");
		exit;
	}}
	if ($rU == "nobody") {{
		t_newtran();
		t_reply("404", "Not Found");
		exit;
	}}
	if ($rU == "ringer") {{
		$du = "sip:127.0.0.1:{ringer}";
	}} else if (proto == TCP) {{
		$du = "sip:127.0.0.1:{uas_tcp};transport=tcp";
	}} else if (af == INET6) {{
		$du = "sip:[::1]:{uas}";
	}} else {{
		$du = "sip:127.0.0.1:{uas}";
	}}
	t_relay();
}}
"""


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.bind(("::1", 0))
            return True
    except OSError:
        return False


def port_for_all():
    """Free for UDP and for TCP."""
    while True:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Sender:
    """A program in the foreground with a folder of its own; it ends with the test, by its pid."""

    def __init__(self, world, name, command):
        self.folder = world.folder / name
        self.folder.mkdir(exist_ok=True)
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                            cwd=self.folder)
        world.servers.append(self)

    def log_text(self):
        return self.log.read_text(errors="replace")

    def check_alive(self):
        check(self.process.poll() is None, f"{self.folder.name} ended: {self.log_text()[-800:]}")

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


class Message(NamedTuple):
    """What identifies a message, on the wire, in HEP and in the table."""
    callid: str
    cseq: str
    method: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    sha256: str


def message(octets, source, source_port, destination, destination_port):
    """Read by rules of this file alone."""
    first = octets.split(b"\r\n", 1)[0].split(b" ")
    callid, cseq = (re.search(rb"(?im)^(?:%s)[ \t]*:[ \t]*(.*?)[ \t]*\r$" % name, octets) for name in (b"Call-ID|i", b"CSeq"))
    check(callid and cseq, f"a SIP message: {octets[:200]}")
    return Message(callid[1].decode(), cseq[1].decode(), first[1 if first[0] == b"SIP/2.0" else 0].decode(), source, int(source_port), destination,
                   int(destination_port), hashlib.sha256(octets).hexdigest())


def stored(db):
    """Messages in the table and how often each is there."""
    rows = db.query("SELECT callid, cseq, method, source_ip, source_port, destination_ip, destination_port, "
                    "SHA2(IF(LENGTH(msg_raw) > 0, msg_raw, msg), 256) FROM sip_capture")
    return collections.Counter(Message(*(int(c) if n in (4, 6) else c.decode() for n, c in enumerate(row))) for row in rows)


def unpack(packet):
    """A HEP packet of any version. @return type, source, its port, destination, its port, payload, correlation id"""
    if packet[:4] != b"HEP3":
        version, _, family, _, sport, dport = struct.unpack(">BBBBHH", packet[:8])
        width, kind = (4, socket.AF_INET) if family == 2 else (16, socket.AF_INET6)
        ends = [socket.inet_ntop(kind, packet[at:at + width]) for at in (8, 8 + width)]
        return 1, ends[0], sport, ends[1], dport, packet[8 + 2 * width + (12 if version == 2 else 0):], b""
    chunks, at = {}, 6
    while at < len(packet):
        vendor, kind, length = struct.unpack(">HHH", packet[at:at + 6])
        check(vendor == 0 and length >= 6 and kind not in chunks, f"a chunk that no recorded sender makes: {packet[at:at + 6]}")
        chunks[kind] = packet[at + 6:at + length]
        at += length
    check(at == len(packet) == int.from_bytes(packet[4:6], "big"), "a HEP packet is as long as it says")
    ends = [socket.inet_ntop(socket.AF_INET6, chunks[n + 2]) if n + 2 in chunks else socket.inet_ntop(socket.AF_INET, chunks[n]) for n in (3, 4)]
    return chunks[11][0], ends[0], int.from_bytes(chunks[7], "big"), ends[1], int.from_bytes(chunks[8], "big"), chunks[15], chunks.get(17, b"")


class Wire(Sender):
    """tcpdump on the loopback, and what tshark and this file make of it."""

    def __init__(self, world, *ports):
        super().__init__(world, "tcpdump", ["tcpdump", "-i", "lo", "-U", "--immediate-mode", "-s", "0", "-B", "65536", "-w", "wire.pcap",
                                            " or ".join(f"port {p}" for p in ports)])
        self.file = self.folder / "wire.pcap"
        wait_until(lambda: "listening on" in self.log_text() or self.process.poll() is not None, 10, "tcpdump listens")
        if self.process.poll() is not None:
            raise Skip("tcpdump may not capture on lo (CAP_NET_RAW): " + self.log_text().strip())

    def stop(self):
        """Nothing more is sent. What the kernel still has for tcpdump is written first."""
        size = [-1, -2]
        while size[-1] != size[-2]:
            time.sleep(0.2)
            size.append(self.file.stat().st_size)
        self.end()
        check(re.search(r"\b0 packets dropped by kernel", self.log_text()), f"tcpdump saw everything: {self.log_text()}")

    def fields(self, display, *names, decode_as=(), occurrence="f"):
        """Rows of fields of the packets that a display filter lets through."""
        command = ["tshark", "-r", str(self.file), "-Y", display, "-T", "fields", "-E", f"occurrence={occurrence}"]
        for rule in decode_as:
            command += ["-d", rule]
        for name in names:
            command += ["-e", name]
        done = subprocess.run(command, capture_output=True, text=True)
        check(done.returncode == 0, f"tshark: {done.stderr}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def sip(self, ports):
        """SIP over UDP and TCP on these ports: (octets, source, port, destination, port, whether it was TCP) of each message."""
        on = ",".join(map(str, ports))
        out = []
        for src4, src6, sport, dst4, dst6, dport, payload in self.fields(
                f"sip && udp.port in {{{on}}}", "ip.src", "ipv6.src", "udp.srcport", "ip.dst", "ipv6.dst", "udp.dstport", "udp.payload",
                decode_as=[f"udp.port=={p},sip" for p in ports]):
            out.append((bytes.fromhex(payload.replace(":", "")), src4 or src6, int(sport), dst4 or dst6, int(dport), False))
        over_tcp = []
        for ends, octets in tcp_flows(self.file):
            if ends[1] in ports or ends[3] in ports:
                over_tcp += [(m, *ends, True) for m in split_sip(octets)]
        counted = self.fields(f"sip && tcp.port in {{{on}}}", "sip.Call-ID", decode_as=[f"tcp.port=={p},sip" for p in ports], occurrence="a")
        seen = sum(len(line[0].split(",")) for line in counted)
        check(seen == len(over_tcp), f"tshark counts {seen} messages over TCP, the streams have {len(over_tcp)}")
        return out + over_tcp

    def hep(self, port):
        """HEP packets to a port over UDP and TCP."""
        sizes = [int(n) for (n,) in self.fields(f"udp.dstport == {port}", "udp.length")]
        packets = [p for p in udp_payloads(self.file) if p[:4] == b"HEP3" or p[:1] in (b"\1", b"\2")]  # nothing else here begins so
        check([len(p) + 8 for p in packets] == sizes, f"tshark counts {len(sizes)} datagrams of HEP, the capture has {len(packets)}")
        for ends, octets in tcp_flows(self.file):
            while ends[3] == port and octets:
                length = int.from_bytes(octets[4:6], "big")
                check(octets[:4] == b"HEP3" and 6 < length <= len(octets), f"HEP over TCP: {octets[:8]}")
                packets.append(octets[:length])
                octets = octets[length:]
        return packets


def split_sip(octets):
    """Messages of a stream, by their Content-Length."""
    while octets := octets.lstrip(b"\r\n"):
        head = octets.index(b"\r\n\r\n") + 4
        length = head + int(re.search(rb"(?im)^(?:Content-Length|l)[ \t]*:[ \t]*(\d+)", octets[:head])[1])
        check(length <= len(octets), f"a whole message: {octets[:200]}")
        yield octets[:length]
        octets = octets[length:]


class Kamailio(Sender):
    """A small proxy. Its siptrace mirrors everything on its sockets, or with `script` reports what sip_trace() is called for. Failures
    are replied to statefully: the ACK for a reply of the module sl would be mirrored twice. One process for each socket, since two
    could change the order of replies, and nobody sends anything again, since nothing is lost on the loopback, only late on a busy host."""

    def __init__(self, world, hep_port, version=3, transport="", capture_id=42, script=False):
        self.sip, self.uas, self.ringer, self.uas_tcp = (port_for_all() for _ in range(4))
        modules = next(pathlib.Path("/usr/lib").glob("*/kamailio/modules"))
        runtime = world.folder / "kamailio"
        runtime.mkdir()
        (runtime / "cfg").write_text(KAMAILIO.format(
            sip=self.sip, uas=self.uas, ringer=self.ringer, uas_tcp=self.uas_tcp, hep=hep_port, version=version, transport=transport,
            listen6=f"listen=udp:[::1]:{self.sip}" if has_ipv6() else "", capture_id=capture_id, modules=modules, mode=0 if script else 1, trace="setflag(22);\n\tsip_trace();" if script else ""))
        super().__init__(world, "kamailio", ["kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-f", "cfg", "-Y", runtime])
        wait_until(self.answers, 20, lambda: f"kamailio answers: {self.log_text()[-800:]}")

    def answers(self):
        self.check_alive()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            return s.connect_ex(("127.0.0.1", self.sip)) == 0


# ---- sipp ----

def scenario(folder, name, body):
    path = folder / f"{name}.xml"
    path.write_text(f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="{name}">\n{body}\n</scenario>\n')
    return path


HEAD = """\
      {method} sip:{user}@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch{back}]
      From: alice <sip:alice@[local_ip]:[local_port]>;tag=[call_number]{more_from}
      To: <sip:{user}@[remote_ip]:[remote_port]>{to}
      Call-ID: [call_id]
      CSeq: {cseq} {cseq_method}
      Contact: <sip:alice@[local_ip]:[local_port]>
      Max-Forwards: 70
      {extra}Content-Length: {length}

"""


def request(method, user, to="", cseq=1, extra="", cseq_method=None, body="", back=""):
    """A request of a scenario; `back`: "-3" takes the branch of three steps before, as CANCEL and the ACK of a failure have to."""
    text = HEAD.format(method=method, user=user, to=to, cseq=cseq, cseq_method=cseq_method or method, extra=extra, back=back, more_from="",
                       length="[len]" if body else "0")
    return '<send retrans="500"><![CDATA[\n\n' + text + body + "\n]]></send>" if method != "ACK" else \
        "<send><![CDATA[\n\n" + text + "\n]]></send>"


OPTIONAL = ' optional="true"'


def expect(code, optional=False):
    return f'<recv response="{code}"{OPTIONAL if optional else ""}></recv>'


LARGE = "".join(f"X-Filler-{n}: {'f' * 400}\n      " for n in range(12))
SDP = "      v=0\n      o=- 1 1 IN IP[local_ip_type] [local_ip]\n      s=-\n      c=IN IP[media_ip_type] [media_ip]\n      t=0 0\n" \
      "      m=audio 40000 RTP/AVP 8\n"


def scenarios(folder):
    """Each as a client sees it."""
    refused = {"busy": 486, "nobody": 404}
    made = {
        "register": [request("REGISTER", "alice", extra="Expires: 300\n      "), expect(200)],
        "options": [request("OPTIONS", "alice"), expect(200)],
        "message": [request("MESSAGE", "alice", body="      hello\n", extra="Content-Type: text/plain\n      "), expect(200)],
        "large": [request("INVITE", "bob", extra=LARGE + "Content-Type: application/sdp\n      ", body=SDP), expect(100, True), expect(180, True),
                  expect(200), request("ACK", "bob", to="[peer_tag_param]"), request("BYE", "bob", to="[peer_tag_param]", cseq=2), expect(200)],
        "cancel": [request("INVITE", "ringer", extra="Content-Type: application/sdp\n      ", body=SDP), expect(100, True), expect(180),
                   request("CANCEL", "ringer", back="-3"), expect(200), expect(487), request("ACK", "ringer", to="[peer_tag_param]", back="-6")],
    }
    for user, code in refused.items():
        made[user] = [request("INVITE", user, extra="Content-Type: application/sdp\n      ", body=SDP), expect(100, True), expect(code),
                      request("ACK", user, to="[peer_tag_param]", back="-3")]
    reply = "<send><![CDATA[\n\n      SIP/2.0 {code}\n      [last_Via:]\n      [last_From:]\n      [last_To:]{tag}\n      [last_Call-ID:]\n" \
            "      [last_CSeq:]\n      Content-Length: 0\n\n]]></send>"
    invite_reply = reply.replace("[last_CSeq:]", "CSeq: 1 INVITE").replace("[last_Via:]", "[$1]").replace("[last_To:]", "[last_To:]")
    made["ringer"] = ['<recv request="INVITE" crlf="true"><action><ereg regexp=".*" search_in="hdr" header="Via:" assign_to="1"/></action></recv>',
                      reply.format(code="180 Ringing", tag=";tag=r[call_number]"), '<recv request="CANCEL"></recv>',
                      reply.format(code="200 OK", tag=";tag=r[call_number]"),
                      invite_reply.replace("[$1]", "Via:[$1]").format(code="487 Request Terminated", tag=";tag=r[call_number]"),
                      '<recv request="ACK"></recv>']
    return {name: scenario(folder, name, "\n".join(steps)) for name, steps in made.items()}


class Sipp(Sender):
    def __init__(self, world, name, *arguments):
        super().__init__(world, f"sipp-{name}", ["sipp", *arguments, "-nostdin", "-nr", "-trace_err", "-timeout", "60s" if "-p" in arguments else "20s",
                                             "-timeout_error"])

        self.port = arguments[arguments.index("-p") + 1] if "-p" in arguments else None
        self.stream = "t1" in arguments

    def listens(self):
        """A socket of this process is bound to its port."""
        self.check_alive()
        tables = [pathlib.Path(f"/proc/{self.process.pid}/net/{'tcp' if self.stream else 'udp'}{v}") for v in ("", "6")]
        bound = {f"socket:[{line.split()[9]}]" for t in tables for line in t.read_text().splitlines()[1:]
                 if line.split()[1].endswith(f":{self.port:04X}")}
        for descriptor in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                if os.readlink(descriptor) in bound:
                    return True
            except FileNotFoundError:  # closed meanwhile
                pass
        return False

    def log_text(self):
        return "".join(f.read_text(errors="replace") for f in self.folder.glob("*_errors.log"))


def run_sipp(world, name, *arguments):
    s = Sipp(world, name, *arguments)
    code = s.process.wait(40)
    check(code == 0, f"sipp {name}: exit code {code}: {s.log_text()[-1200:]}")


# ---- rtpengine ----

def bencode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(k) + bencode(v) for k, v in sorted(value.items())) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    if isinstance(value, int):
        return b"i%de" % value
    value = value.encode() if isinstance(value, str) else value
    return b"%d:%s" % (len(value), value)


class Rtpengine(Sender):
    def __init__(self, world, hep_port, protocol, homer_id=77):
        self.control = free_port()
        low = 30000 + os.getpid() % 5000 * 4
        super().__init__(world, "rtpengine", [
            "rtpengine", "--foreground", "--log-stderr", "--log-level=6", "--table=-1", "--interface=127.0.0.1",
            f"--listen-ng=127.0.0.1:{self.control}", "--config-file=none", f"--port-min={low}", f"--port-max={low + 400}",
            f"--homer=127.0.0.1:{hep_port}", f"--homer-protocol={protocol}", f"--homer-id={homer_id}", "--num-threads=2", "--pidfile=pid"])
        wait_until(lambda: b"pong" in self.ask({"command": "ping"}), 20, lambda: f"rtpengine answers: {self.log_text()[-600:]}")

    def ask(self, command):
        self.check_alive()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            s.connect(("127.0.0.1", self.control))
            try:
                s.send(b"cookie%d " % time.monotonic_ns() + bencode(command))
                return s.recv(65536)
            except (socket.timeout, ConnectionRefusedError):
                return b""


def sdp(port):
    return f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"


def media_port(answer):
    return int(re.search(rb"m=audio (\d+) ", answer).group(1))


def rtcp_sender_report(ssrc, about, packets):
    block = struct.pack(">IIIIII", about, 0x01000002, packets, 52, 0x3dcd0000, 6000)
    name = b"caller@example.com"
    chunk = struct.pack(">IBB", ssrc, 1, len(name)) + name
    chunk += b"\0" * (4 - len(chunk) % 4)
    report = struct.pack(">IIIIII", ssrc, 4004199885, 747958272, packets * 160, packets, packets * 160) + block
    return struct.pack(">BBH", 0x81, 200, len(report) // 4) + report + struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk


def rtp(ssrc, sequence):
    return struct.pack(">BBHII", 0x80, 8, sequence, sequence * 160, ssrc) + b"\xd5" * 160
