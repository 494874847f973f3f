"""Real senders on the loopback: Debian's kamailio, rtpengine and sipp, and what tshark sees of them on the wire."""
import os
import re
import signal
import socket
import struct
import subprocess
import time

from lib import Failure, check, free_port, wait_until

KAMAILIO = """\
debug=1
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
listen=udp:127.0.0.1:{sip}
listen=tcp:127.0.0.1:{sip}
listen=udp:[::1]:{sip}
mpath="{modules}"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "siptrace.so"
modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:{hep}{transport}")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", {version})
modparam("siptrace", "hep_capture_id", {capture_id})
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_mode", 1)
request_route {{
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
	}} else if (af == INET6) {{
		$du = "sip:[::1]:{uas}";
	}} else {{
		$du = "sip:127.0.0.1:{uas}";
	}}
	t_relay();
}}
"""


class Sender:
    """A program in the foreground, ended by its pid: with the test, if not before."""

    def __init__(self, folder, name, command):
        self.folder = folder
        self.log = folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, cwd=folder)

    def log_text(self):
        return self.log.read_text(errors="replace")

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


class Wire:
    """tcpdump on the loopback, and what tshark says of it."""

    def __init__(self, folder, *ports):
        self.file = folder / "wire.pcap"
        self.dump = Sender(folder, "tcpdump", ["tcpdump", "-i", "lo", "-U", "--immediate-mode", "-s", "0", "-B", "65536", "-w", str(self.file),
                                              " or ".join(f"port {p}" for p in ports)])
        wait_until(lambda: "listening on" in self.dump.log.read_text(), 10, f"tcpdump listens: {self.dump.log.read_text()}")

    def stop(self):
        time.sleep(0.5)  # what the kernel still has for it
        self.dump.end()
        text = self.dump.log.read_text()
        check(re.search(r"\b0 packets dropped by kernel", text), f"tcpdump saw everything: {text}")

    def fields(self, display, *names, decode_as=()):
        """Rows of fields of the packets that a display filter lets through."""
        command = ["tshark", "-r", str(self.file), "-Y", display, "-T", "fields", "-E", "occurrence=f"]
        for rule in decode_as:
            command += ["-d", rule]
        for name in names:
            command += ["-e", name]
        done = subprocess.run(command, capture_output=True, text=True)
        check(done.returncode == 0, f"tshark: {done.stderr}")
        return [line.split("\t") for line in done.stdout.splitlines()]


class Kamailio:
    """A small proxy whose siptrace mirrors everything on its sockets. Failures are replied to statefully: the ACK for a reply of the
    module sl would be mirrored twice."""

    def __init__(self, folder, hep_port, version=3, transport="", capture_id=42):
        self.sip, self.uas, self.ringer = free_port(), free_port(), free_port()
        modules = next(d for d in ("/usr/lib/x86_64-linux-gnu/kamailio/modules", "/usr/lib/aarch64-linux-gnu/kamailio/modules",
                                   "/usr/lib/kamailio/modules") if os.path.isdir(d))
        runtime = folder / "kamailio"
        runtime.mkdir()
        config = runtime / "kamailio.cfg"
        config.write_text(KAMAILIO.format(sip=self.sip, uas=self.uas, ringer=self.ringer, hep=hep_port, version=version, transport=transport,
                                          capture_id=capture_id, modules=modules))
        self.sender = Sender(folder, "kamailio", ["kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-f", str(config), "-Y", str(runtime)])
        wait_until(self.answers, 20, f"kamailio answers: {self.sender.log.read_text()[-800:]}")

    def answers(self):
        if self.sender.process.poll() is not None:
            raise Failure("kamailio ended: " + self.sender.log.read_text()[-800:])
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            return s.connect_ex(("127.0.0.1", self.sip)) == 0

    def end(self):
        self.sender.end()


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


def sipp(folder, name, *arguments):
    return Sender(folder, f"sipp-{name}", ["sipp", *map(str, arguments), "-nostdin", "-trace_err", "-timeout", "20s", "-timeout_error"])


def run_sipp(folder, name, *arguments):
    s = sipp(folder, name, *arguments)
    code = s.process.wait(40)
    check(code == 0, f"sipp {name}: exit code {code}: {s.log.read_text(errors='replace')[-1200:]}")


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


class Rtpengine:
    def __init__(self, folder, hep_port, protocol, homer_id=77):
        self.control = free_port()
        low = 30000 + os.getpid() % 5000 * 4
        self.sender = Sender(folder, "rtpengine", [
            "rtpengine", "--foreground", "--log-stderr", "--log-level=6", "--table=-1", "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{self.control}", "--config-file=none",
            f"--port-min={low}", f"--port-max={low + 400}", f"--homer=127.0.0.1:{hep_port}", f"--homer-protocol={protocol}",
            f"--homer-id={homer_id}", "--num-threads=2", "--pidfile=" + str(folder / "rtpengine.pid")])
        wait_until(lambda: b"pong" in self.ask({"command": "ping"}), 20, f"rtpengine answers: {self.sender.log.read_text()[-600:]}")

    def ask(self, command):
        if self.sender.process.poll() is not None:
            raise Failure("rtpengine ended: " + self.sender.log.read_text()[-800:])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            s.connect(("127.0.0.1", self.control))
            try:
                s.send(b"cookie%d " % time.monotonic_ns() + bencode(command))
                return s.recv(65536)
            except (socket.timeout, ConnectionRefusedError):
                return b""

    def end(self):
        self.sender.end()


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
