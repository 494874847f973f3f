"""Live senders: what tshark counts on the wire are the rows, none missing, none twice."""
import collections
import hashlib
import json
import socket
import time

from lib import check, check_equal, only_waits, tcp_streams, udp_payloads, wait_until
from live import Kamailio, Rtpengine, Wire, media_port, rtcp_sender_report, rtp, run_sipp, scenarios, sdp, sipp


def wire_messages(wire, sip_ports):
    """SIP datagrams as tshark sees them: (octets' hash, source, destination) and how often."""
    rows = wire.fields("udp && sip", "ip.src", "ipv6.src", "udp.srcport", "ip.dst", "ipv6.dst", "udp.dstport", "udp.payload",
                       decode_as=[f"udp.port=={p},sip" for p in sip_ports])
    count = collections.Counter()
    for src4, src6, sport, dst4, dst6, dport, payload in rows:
        octets = bytes.fromhex(payload.replace(":", ""))
        count[hashlib.sha256(octets).hexdigest(), src4 or src6, int(sport), dst4 or dst6, int(dport)] += 1
    return count


def stored_messages(db):
    return collections.Counter({(r[0].decode(), r[1].decode(), int(r[2]), r[3].decode(), int(r[4])): int(r[5]) for r in db.query(
        "SELECT SHA2(IF(LENGTH(msg_raw) > 0, msg_raw, msg), 256) h, source_ip, source_port, destination_ip, destination_port, COUNT(*) "
        "FROM sip_capture GROUP BY h, source_ip, source_port, destination_ip, destination_port")})


def run_kamailio(world, version, transport=""):
    world.database()
    h = world.heptap()
    folder = world.folder
    kamailio = Kamailio(folder, h.port, version, transport)
    world.servers.append(kamailio.sender)
    ports = [kamailio.sip, kamailio.uas, kamailio.ringer]
    made = scenarios(folder)
    wire = Wire(folder, *ports)
    world.servers.append(wire.dump)
    servers = [sipp(folder, "uas", "-sn", "uas", "-i", "127.0.0.1", "-p", kamailio.uas),
               sipp(folder, "uas6", "-sn", "uas", "-i", "[::1]", "-p", kamailio.uas),
               sipp(folder, "ringer", "-sf", made["ringer"], "-i", "127.0.0.1", "-p", kamailio.ringer)]
    try:
        time.sleep(0.5)
        common = ["-m", 5, "-r", 20, "-i", "127.0.0.1"]
        run_sipp(folder, "calls", f"127.0.0.1:{kamailio.sip}", "-sn", "uac", "-d", 50, *common)
        for name in ("register", "options", "message", "busy", "nobody", "large", "cancel"):
            run_sipp(folder, name, f"127.0.0.1:{kamailio.sip}", "-sf", made[name], *common)
        run_sipp(folder, "calls6", f"[::1]:{kamailio.sip}", "-sn", "uac", "-d", 50, "-m", 5, "-r", 20, "-i", "[::1]")
        run_sipp(folder, "register6", f"[::1]:{kamailio.sip}", "-sf", made["register"], "-m", 5, "-r", 20, "-i", "[::1]")
    finally:
        for s in servers:
            s.end()
    wire.stop()
    wanted = wire_messages(wire, ports)
    total = sum(wanted.values())
    check(total > 200, f"{total} messages on the wire")
    m = h.wait_at_rest(total)
    m.check_exact()
    got = stored_messages(world.db)
    missing, foreign = wanted - got, got - wanted
    check(not missing and not foreign, f"{sum(missing.values())} missing, {sum(foreign.values())} too many of {total}: "
          f"missing {list(missing)[:5]}, too many {list(foreign)[:5]}")
    kinds = {r[0].decode() for r in world.db.query("SELECT DISTINCT method FROM sip_capture")}
    check({"INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "MESSAGE", "100", "180", "200", "404", "486", "487"} <= kinds, f"methods {kinds}")
    check_equal(world.db.number("SELECT COUNT(*) FROM sip_capture WHERE source_ip = '::1' AND family = 10") > 30, True, "IPv6")
    check(world.db.number("SELECT MAX(LENGTH(msg)) FROM sip_capture") > 4096, "large messages")
    nodes = {r[0].decode() for r in world.db.query("SELECT DISTINCT node FROM sip_capture")}
    check_equal(nodes, {"node1"} if version == 1 else {"node1:42"}, "node")
    print(f"        {total} messages on the wire, {sum(got.values())} rows")
    kamailio.end()
    check_equal(h.stop(), 0, "exit code")
    return m


@only_waits
def test_kamailio_hep3_udp(world):
    """Registrations, calls, cancels, failures, large messages, IPv6; HEP 3 over UDP."""
    run_kamailio(world, 3)


@only_waits
def test_kamailio_hep3_tcp(world):
    m = run_kamailio(world, 3, ";transport=tcp")
    check(m.sum("heptap_connections_total") > 0, "over TCP")


@only_waits
def test_kamailio_hep2_udp(world):
    run_kamailio(world, 2)


@only_waits
def test_kamailio_hep1_udp(world):
    run_kamailio(world, 1)


def run_rtpengine(world, protocol):
    world.database()
    h = world.heptap()
    engine = Rtpengine(world.folder, h.port, protocol)
    world.servers.append(engine.sender)
    wire = Wire(world.folder, h.port)
    world.servers.append(wire.dump)
    calls = ["call-1@example.com", 'odd "quoted" call\\2@example.com']
    for n, call in enumerate(calls):
        ends = []
        for _ in range(2):
            media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            media.bind(("127.0.0.1", 0))
            control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            control.bind(("127.0.0.1", 0))
            ends.append((media, control))
        offer = [sdp(e[0].getsockname()[1]) + f"a=rtcp:{e[1].getsockname()[1]}\r\n" for e in ends]
        to_b = media_port(engine.ask({"command": "offer", "call-id": call, "from-tag": "a", "sdp": offer[0]}))
        to_a = media_port(engine.ask({"command": "answer", "call-id": call, "from-tag": "a", "to-tag": "b", "sdp": offer[1]}))
        for k in range(30):
            ends[0][0].sendto(rtp(0x1111 + n, k), ("127.0.0.1", to_a))
            ends[1][0].sendto(rtp(0x2222 + n, k), ("127.0.0.1", to_b))
            if k % 6 == 5:
                ends[0][1].sendto(rtcp_sender_report(0x1111 + n, 0x2222 + n, k), ("127.0.0.1", to_a + 1))
                ends[1][1].sendto(rtcp_sender_report(0x2222 + n, 0x1111 + n, k), ("127.0.0.1", to_b + 1))
            time.sleep(0.01)
        engine.ask({"command": "delete", "call-id": call, "from-tag": "a"})
    wait_until(lambda: h.metrics().sum("heptap_received_total") >= 10, 20, f"records of reports: {h.summary()}")
    time.sleep(0.5)
    wire.stop()
    sent = records(wire, protocol)
    m = h.wait_at_rest(len(sent))
    m.check_exact()
    rows = [(r[0], r[1].decode(), r[2], r[3].decode(), int(r[4])) for r in world.db.query(
        "SELECT msg, correlation_id, node, source_ip, type FROM rtcp_capture")]
    wanted = [(payload, correlation.decode(), b"node1:77", "127.0.0.1", 3) for payload, correlation in sent]
    check_equal(sorted(rows), sorted(wanted), "rows of rtcp_capture")
    check(len(rows) >= 10 and {r[1] for r in rows} <= set(calls) and calls[1] in {r[1] for r in rows}, f"calls {[r[1] for r in rows]}")
    check(all(json.loads(r[0])["type"] == 200 for r in rows), "each is a sender report as JSON")
    print(f"        {len(sent)} records on the wire, {len(rows)} rows")
    check_equal(h.stop(), 0, "exit code")


def records(wire, protocol):
    """Payload and correlation id of the HEP records in a capture."""
    packets = []
    for octets in (udp_payloads(wire.file) if protocol == "udp" else tcp_streams(wire.file)):
        while octets:
            length = int.from_bytes(octets[4:6], "big")
            packets.append(octets[:length])
            octets = octets[length:]
    out = []
    for packet in packets:
        check(packet[:4] == b"HEP3", f"HEP: {packet[:8]}")
        at, chunks = 6, {}
        while at < len(packet):
            kind, length = int.from_bytes(packet[at + 2:at + 4], "big"), int.from_bytes(packet[at + 4:at + 6], "big")
            chunks[kind] = packet[at + 6:at + length]
            at += length
        out.append((chunks[15], chunks.get(17, b"")))
    return out


@only_waits
def test_rtpengine_udp(world):
    """RTCP of two calls: one row per record on the wire, found by its Call-ID."""
    run_rtpengine(world, "udp")


@only_waits
def test_rtpengine_tcp(world):
    run_rtpengine(world, "tcp")
