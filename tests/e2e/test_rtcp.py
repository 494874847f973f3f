"""RTCP and reports find their call by the addresses of session descriptions: RTCP of capture files and of mirror ports, which becomes the
JSON that agents send, and agents' reports that name no call."""
import json
import socket
import struct

from lib import FIXTURES, check, check_equal, expected, hep3, pcap_frames, udp_payloads
from test_import import frame, now_us, pcap_head, pcap_record, run_import, world_of
from test_mirror import capture, on_a_pair, rest

A, B, PROXY = "192.0.2.1", "198.51.100.7", "203.0.113.10"  # of media, of media, of SIP


# ---- SIP ----

def message(callid, first, address, media, method="INVITE", kind="application/sdp"):
    """With the description of media at an address."""
    body = f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN {'IP6' if ':' in address else 'IP4'} {address}\r\nt=0 0\r\n{media}"
    return (f"{first}\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK{callid}\r\nFrom: <sip:a@example.com>;tag=a\r\n"
            f"To: <sip:b@example.net>{'' if first.startswith(method) else ';tag=b'}\r\nCall-ID: {callid}\r\nCSeq: 1 {method}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


def invite(callid, address, media):
    return message(callid, "INVITE sip:b@example.net SIP/2.0", address, media)


def ok(callid, address, media, first="SIP/2.0 200 OK"):
    return message(callid, first, address, media)


# ---- RTP and RTCP ----

def rtp(n):
    return struct.pack(">BBHII", 0x80, 0x88 if n % 3 else 8, n, n * 160, 7) + bytes(160)


def packet(kind, count, body):
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def block(about, lost=3, fraction=2, jitter=52):
    return struct.pack(">IIIIII", about, fraction << 24 | lost & 0xffffff, 0x10000 + 40, jitter, 0x3dcd0000, 6000)


def sr(ssrc, about):
    return packet(200, 1, struct.pack(">IIIIII", ssrc, 4004199885, 747958272, 6400, 41, 6560) + block(about))


def rr(ssrc, *about):
    return packet(201, len(about), struct.pack(">I", ssrc) + b"".join(block(a) for a in about))


def sdes(ssrc, name):
    item = bytes([1, len(name)]) + name
    return packet(202, 1, struct.pack(">I", ssrc) + item + bytes(4 - len(item) % 4))


def bye(ssrc):
    return packet(203, 1, struct.pack(">I", ssrc))


def xr(ssrc, about):
    voip = struct.pack(">BBHIBBBBHHHHbbBBBBBBBBHHH", 7, 0, 8, about, 5, 1, 100, 20, 240, 3000, 80, 60, -20, -70, 127, 16, 93, 127, 42, 41, 0x30, 0,
                       40, 60, 200)
    return packet(207, 0, struct.pack(">I", ssrc) + voip + struct.pack(">BBHII", 4, 0, 2, 4004199885, 9)
                  + struct.pack(">BBHIII", 5, 0, 3, about, 17, 18))


def srtcp(plain):
    return plain[:8] + bytes(b ^ 0x5a for b in plain[8:]) + struct.pack(">I", 0x80000001) + b"0123456789"


def rows_of(db, table="rtcp_capture"):
    """(Call-ID, source, destination, JSON) in their order."""
    rows = db.query(f"SELECT correlation_id, source_ip, source_port, destination_ip, destination_port, type, proto, family, node, msg FROM {table} "
                    "ORDER BY micro_ts, id")
    for row in rows:
        check_equal([v.decode() for v in row[5:9]], ["3", "1", "10" if b":" in row[1] else "2", "node1"], "type, proto, family and node")
    return [(r[0].decode(), f"{r[1].decode()} {int(r[2])}", f"{r[3].decode()} {int(r[4])}", json.loads(r[9])) for r in rows]


# ---- files ----

CALL, MUX, NAMED = "plain@heptap.test", "mux@heptap.test", "named@heptap.test"


def traffic():
    """(source, destination, ports, payload, the Call-ID of the row that is made of it: None for no row of RTCP)"""
    sip = (5060, 5060)
    yield A, PROXY, sip, invite(CALL, A, "m=audio 40000 RTP/AVP 8\r\n"), None
    yield B, PROXY, sip, ok(CALL, B, "m=audio 50000 RTP/AVP 8\r\n", "SIP/2.0 183 Session Progress"), None
    yield A, PROXY, sip, invite(MUX, A, "m=audio 42000 RTP/SAVPF 8\r\na=rtcp-mux\r\n"), None
    yield B, PROXY, sip, ok(MUX, B, "m=audio 52000 RTP/SAVPF 8\r\na=rtcp-mux\r\n"), None
    yield A, PROXY, sip, invite(NAMED, A, "m=audio 44000 RTP/AVP 8\r\na=rtcp:44100 IN IP4 192.0.2.99\r\n"), None
    for n in range(30):
        yield A, B, (40000, 50000), rtp(n), None
        yield B, A, (52000, 42000), rtp(n), None
    yield A, B, (40001, 50001), sr(1, 2) + sdes(1, "caf\u00e9 \"a\"".encode()), CALL
    yield B, A, (50001, 40001), rr(2, 1) + xr(2, 1), CALL
    yield "10.9.8.7", B, (1024, 50001), rr(3, 2), CALL  # from behind a NAT: the destination is known
    yield A, B, (42000, 52000), sr(11, 12) + bye(11), MUX
    yield B, A, (52000, 42000), srtcp(sr(12, 11)), None
    yield B, A, (52000, 42000), packet(205, 15, bytes(16)), None
    yield "192.0.2.99", B, (44100, 6), rr(21), NAMED
    yield A, B, (40777, 50777), sr(31, 32), None


WITHOUT_ROW = {"srtcp": 1, "rtcp_feedback": 1, "rtcp": 1, "port": 60}


def traffic_file(world):
    path, now = world.folder / "calls.pcap", now_us()
    path.write_bytes(pcap_head() + b"".join(pcap_record(now + n * 1000, frame(payload, src, dst, ports))
                                            for n, (src, dst, ports, payload, _) in enumerate(traffic())))
    return path


def check_traffic(rows):
    wanted = [(call, f"{src} {ports[0]}", f"{dst} {ports[1]}") for src, dst, ports, _, call in traffic() if call]
    check_equal([r[:3] for r in rows], wanted, "Call-ID and addresses of the rows")
    check_equal(rows[0][3], {
        "sender_information": {"ntp_timestamp_sec": 4004199885, "ntp_timestamp_usec": 747958272, "octets": 6560, "rtp_timestamp": 6400,
                               "packets": 41},
        "ssrc": 1, "type": 200, "report_count": 1, "sdes_ssrc": 1, "sdes_report_count": 1,
        "report_blocks": [{"source_ssrc": 2, "highest_seq_no": 65576, "fraction_lost": 2, "ia_jitter": 52, "packets_lost": 3, "lsr": 0x3dcd0000,
                           "dlsr": 6000}],
        "sdes_information": [{"sdes_chunk_ssrc": 1, "type": 1, "text": "caf\u00e9 \"a\""}]}, "SR and SDES")
    voip = rows[1][3].pop("report_blocks_xr")
    check_equal([voip[k] for k in ("id", "fraction_lost", "burst_density", "round_trip_delay", "end_system_delay", "signal_level", "r_factor",
                                   "mos_lq", "mos_cq", "jb_abs_max")], [1, 5, 100, 80, 60, -20, 93, 42, 41, 200], "VoIP metrics")
    check_equal(rows[1][3]["xr_blocks"], [{"type": 4, "ntp_timestamp_sec": 4004199885, "ntp_timestamp_usec": 9},
                                          {"type": 5, "reports": [{"ssrc": 1, "lrr": 17, "dlrr": 18}]}], "the other blocks of XR")
    check_equal((rows[1][3]["type"], rows[1][3]["report_blocks"][0]["source_ssrc"]), (201, 1), "RR before XR")
    check_equal(rows[3][3]["bye_information"], [{"ssrc": 11}], "BYE")
    check_equal(rows[4][3], {"ssrc": 21, "type": 201, "report_blocks": [], "report_count": 0}, "RR without blocks")


def test_import(world):
    """A file with calls, RTP and RTCP: on the port behind RTP's, on that of a=rtcp, on RTP's own; rows carry the Call-ID. Without `rtcp`
    there are none."""
    h, packets = world_of(world), len(list(traffic()))
    path = traffic_file(world)
    s, _ = run_import(h, path)
    check_equal((s.packets["all"], s.not_for_us), (packets, WITHOUT_ROW), s.text)
    check_equal(s.rows["stored"], 5 + 5, s.text)
    check_traffic(rows_of(world.db))
    world.db.query("TRUNCATE rtcp_capture")
    h.write(top="capture: [{ name: mirror, interface: lo, rtcp: false }]")
    s, _ = run_import(h, path)
    check_equal(s.not_for_us, {"port": 60 + 8}, s.text)
    check_equal(world.db.number("SELECT COUNT(*) FROM rtcp_capture"), 0, "rows of RTCP without `rtcp`")


# ---- mirror ports ----

def send_traffic(far, tag=b""):
    for src, dst, ports, payload, _ in traffic():
        ethernet = frame(payload, src, dst, ports)
        far.send(ethernet[:12] + tag + ethernet[12:])


def live(world, tag=b"", **more):
    """The same on the wire; RTP does not pass the filter."""
    world.database()
    h = world.heptap(top=capture(**more))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as far:
        far.bind(("far", 0))
        for src, dst, ports, payload, _ in list(traffic())[:5]:  # one after the other: with threads, RTCP may be faster than SIP
            far.send(frame(payload, src, dst, ports))
        rest(h, 5)
        send_traffic(far, tag)
        m = rest(h, 5 + 5 + 5)
        check_traffic(rows_of(world.db))
        reasons = {r: m.sum("heptap_packets_not_for_us_total", reason=r) for r in WITHOUT_ROW}
        check_equal(reasons, {**WITHOUT_ROW, "port": 0}, "what is not for us")
        check_equal(m.sum("heptap_media_found_total"), 5, "that found their call")
    check_equal(h.stop(), 0, "exit code")


@on_a_pair
def test_ring(world):
    """From a ring of AF_PACKET."""
    live(world)


@on_a_pair
def test_two_rings_and_tags(world):
    """From two rings, whose threads share what they know, in two VLAN tags."""
    live(world, tag=b"\x88\xa8\0\5\x81\0\0\6", threads=2)


@on_a_pair
def test_libpcap(world):
    """From libpcap."""
    live(world, method="pcap")


@on_a_pair
def test_two_mirrors(world):
    """The same packets from two mirror ports: each is stored once, the others are counted."""
    world.database()
    h = world.heptap(top="capture: [{ name: mirror, interface: near }, { name: other, interface: near }]")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as far:
        far.bind(("far", 0))
        for src, dst, ports, payload, _ in list(traffic())[:5]:
            far.send(frame(payload, src, dst, ports))
        rest(h, 10)
        for src, dst, ports, payload, _ in list(traffic())[5:]:
            far.send(frame(payload, src, dst, ports))
        m = rest(h, 20)
        check_traffic(rows_of(world.db))
        check_equal((m.sum("heptap_accepted_total"), m.sum("heptap_duplicate_total")), (10, 10), "stored and dropped")
    check_equal(h.stop(), 0, "exit code")


# ---- beside another decoder ----

ENGINE = FIXTURES / "hep/rtpengine-v3-rtcp-udp.pcap"
ENGINE_CALL = "call-rtpe-1@ua.example.com"


def test_rtpengine(world):
    """Recorded RTCP on its way to rtpengine: our rows say of each packet what rtpengine reported of it, and both carry the call."""
    h = world_of(world)
    told = expected(ENGINE.with_suffix(".expected.jsonl"))
    records = [data for _, data in pcap_frames(FIXTURES / "sip/rtcp-only.pcap")]
    media = {f"m=audio {e['src_port'] - 1} RTP/AVP 8\r\n": e["src_ip"] for e in told}
    check_equal(len(media), 2, "ends of the call")
    path, now = world.folder / "engine.pcap", now_us()
    sip = [frame(invite(ENGINE_CALL, address, line), address, PROXY) for line, address in media.items()]
    path.write_bytes(pcap_head() + b"".join(pcap_record(now + n * 1000, data) for n, data in enumerate(sip + records)))
    s, _ = run_import(h, path)
    rows = rows_of(world.db)
    check_equal({r[0] for r in rows}, {ENGINE_CALL}, "Call-IDs")
    check_equal((len(rows), s.not_for_us), (len(records), {}), s.text)
    told_of = [e for e in told if '"type":200' in e["payload"]]  # one bare RR is not in the recording
    check_equal((len(told_of), s.packets["carriers"]), (6, 2 + 12), "recorded reports, and packets of them on both of their ways")
    for e in told_of:
        theirs = json.loads(e["payload"])
        ours = [r[3] for r in rows if r[1:3] == (f"{e['src_ip']} {e['src_port']}", f"{e['dst_ip']} {e['dst_port']}")]
        check(any({**o, **theirs} == o for o in ours), f"none of ours says what is in {theirs}: {ours}")
    h.start()
    world.db.query("TRUNCATE rtcp_capture")
    h.send(udp_payloads(ENGINE))
    h.wait_at_rest(len(told))
    got = world.db.query("SELECT correlation_id, msg FROM rtcp_capture")
    check_equal(sorted(map(tuple, got)), sorted((ENGINE_CALL.encode(), e["payload"].encode()) for e in told), "rows of rtpengine")


def test_recorded_call(world):
    """A call in a recording of somebody else's: its one report, which is also its end, has the Call-ID of the INVITE."""
    h = world_of(world)
    run_import(h, FIXTURES / "sip/sample-sngrep-aaa.pcap")
    (call, source, destination, report), = rows_of(world.db)
    # That telephone names itself by its Call-ID in RTCP, too.
    check_equal((call, source, destination), ("11894297-4432a9f8@192.168.1.2", "192.168.1.2 30001", "212.242.33.36 40393"), "its call")
    check_equal((report["type"], report["sender_information"]["packets"], report["report_count"]), (200, 9, 0), "the report")
    check_equal([s["text"] for s in report["sdes_information"]], [call, "SIPPS"], "its source")
    check_equal(report["bye_information"], [{"ssrc": 0x3796cb71, "reason": "session shutdown"}], "its end")


# ---- agents ----

def without_chunk(packet, number):
    """A HEP 3 packet less one of its chunks."""
    at, out = 6, b""
    while at < len(packet):
        size = struct.unpack(">H", packet[at + 4:at + 6])[0]
        if packet[at:at + 4] != struct.pack(">HH", 0, number):
            out += packet[at:at + size]
        at += size
    return b"HEP3" + struct.pack(">H", len(out) + 6) + out


def test_reports_of_agents(world):
    """Reports that name no call find it by what a proxy's SIP said, whichever agent brought that; those that name one keep it."""
    world.database()
    h = world.heptap()
    told = expected(ENGINE.with_suffix(".expected.jsonl"))
    ends = sorted({(e["src_ip"], e["src_port"]) for e in told})
    h.send([hep3(invite(ENGINE_CALL, ip, f"m=audio {port - 1} RTP/AVP 8\r\n"), capture_id=1) for ip, port in ends])
    h.send([hep3(invite("v6@heptap.test", "2001:db8::5", "m=audio 6000 RTP/AVP 8\r\n"), capture_id=1),
            hep3(ok("parts@heptap.test", A, "m=audio 7000 RTP/AVP 8\r\na=rtcp:7100\r\n"), capture_id=2)])
    h.wait_at_rest(4)
    h.send([without_chunk(p, 0x11) for p in udp_payloads(ENGINE)])
    h.wait_at_rest(4 + len(told))
    got = world.db.query("SELECT correlation_id, msg FROM rtcp_capture")
    wanted = sorted((ENGINE_CALL.encode(), e["payload"].encode()) for e in told)
    check_equal(sorted(map(tuple, got)), wanted, "reports of rtpengine without their call")
    kinds = {5: "rtcp_capture", 32: "report_capture", 34: "report_capture", 35: "report_capture", 37: "report_capture", 38: "report_capture",
             99: "report_capture", 100: "logs_capture"}
    world.db.query("TRUNCATE rtcp_capture")
    named = b"\0\0\0\x11\0\x0aown1"
    for kind in kinds:
        said = b'{"kind": %d}' % kind
        h.send([hep3(said, "2001:db8::9", "2001:db8::5", (9, 6001), kind=kind, capture_id=3),
                hep3(said, A, "10.0.0.1", (7100, 9), kind=kind, capture_id=3),
                hep3(said, A, "10.0.0.1", (7000, 9), kind=kind, capture_id=3, extra=named),
                hep3(said, A, "10.0.0.1", (7003, 9), kind=kind, capture_id=3)])
    m = h.wait_at_rest(4 + len(told) + 4 * len(kinds))
    m.check_exact()
    for table in set(kinds.values()):
        rows = world.db.query(f"SELECT msg, correlation_id FROM {table}")
        wanted = [(b'{"kind": %d}' % k, call) for k, name in kinds.items() if name == table
                  for call in (b"v6@heptap.test", b"parts@heptap.test", b"own1", b"")]
        check_equal(sorted(map(tuple, rows)), sorted(wanted), table)
    check_equal(m.sum("heptap_no_correlation_total"), len(kinds), "without a call")
    check_equal(m.sum("heptap_media_found_total"), len(told) + 2 * len(kinds), "that found theirs")
