"""Live senders: what tshark counts on the wire are the rows, none missing, none twice."""
import collections
import json
import re
import socket
import time

from lib import check, check_equal, own_network, release_only, wait_until
from live import Kamailio, Rtpengine, Sipp, Wire, has_ipv6, media_port, message, rtcp_sender_report, rtp, run_sipp, scenarios, sdp, stored, unpack

CALLS = 5  # of each kind


def difference(left, right):
    """Nothing, or what one multiset of messages has and the other has not, in words."""
    return "" if left == right else f"{sum((left - right).values())} missing, {sum((right - left).values())} too many of {sum(left.values())}: " \
        f"missing {list(left - right)[:4]}, too many {list(right - left)[:4]}"


def as_mirrored(sip, kamailio):
    """With trace_mode 1 each message on a socket, as it is. What kamailio sends over TCP has the port it listens on as its source, also
    on a connection that it opened, and a reply the port of the Via as its destination, also if the connection comes from another one."""
    out = collections.Counter()
    for octets, source, sport, destination, dport, over_tcp in sip:
        if over_tcp and dport == kamailio.uas_tcp:
            sport = kamailio.sip
        elif over_tcp and sport == kamailio.sip:
            dport = int(re.search(rb"(?m)^Via: SIP/2.0/TCP [0-9.]+:(\d+)", octets)[1])
        out[message(octets, source, sport, destination, dport)] += 1
    return out


def as_scripted(sip, kamailio):
    """With sip_trace() and a flag the messages of transactions, which differs in two ways: an ACK for a 2xx is not reported where it is
    sent on, and a CANCEL and an ACK for a failure that came in were changed in place before: Max-Forwards is lower by one."""
    reported = []
    for octets, source, sport, destination, dport, over_tcp in sip:
        if octets.startswith(b"ACK ") and dport in (kamailio.uas, kamailio.uas_tcp):
            continue
        if dport == kamailio.sip and re.match(rb"CANCEL |ACK sip:(busy|nobody|ringer)@", octets):
            octets = octets.replace(b"\nMax-Forwards: 70\r", b"\nMax-Forwards: 69\r")
        reported.append((octets, source, sport, destination, dport, over_tcp))
    return as_mirrored(reported, kamailio)


def run_kamailio(world, version, transport="", script=False):
    world.database()
    h = world.heptap()
    folder = world.folder
    kamailio = Kamailio(world, h.port, version, transport, script=script)
    ports = [kamailio.sip, kamailio.uas, kamailio.ringer, kamailio.uas_tcp]
    made = scenarios(folder)
    wire = Wire(world, *ports, h.port)
    to4, to6 = ([f"{host}:{kamailio.sip}", "-m", CALLS, "-r", 20, "-i", host] for host in ("127.0.0.1", "[::1]"))
    ipv6 = has_ipv6()
    servers = [Sipp(world, "uas", "-sn", "uas", "-i", "127.0.0.1", "-p", kamailio.uas),
               Sipp(world, "uas_tcp", "-sn", "uas", "-t", "t1", "-i", "127.0.0.1", "-p", kamailio.uas_tcp),
               Sipp(world, "ringer", "-sf", made["ringer"], "-i", "127.0.0.1", "-p", kamailio.ringer)]
    if ipv6:
        servers.append(Sipp(world, "uas6", "-sn", "uas", "-i", "[::1]", "-p", kamailio.uas))
    for s in servers:
        wait_until(s.listens, 10, lambda: f"{s.folder.name} listens: {s.log_text()}")
    run_sipp(world, "calls", *to4, "-sn", "uac", "-d", 50)
    for name in ("register", "options", "message", "busy", "nobody", "large", "cancel"):
        run_sipp(world, name, *to4, "-sf", made[name])
    if ipv6:
        run_sipp(world, "calls6", *to6, "-sn", "uac", "-d", 50)
        for name in ("register", "busy", "large"):
            run_sipp(world, name + "6", *to6, "-sf", made[name])
    run_sipp(world, "calls_tcp", *to4, "-sn", "uac", "-d", 50, "-t", "t1")
    for name in ("register", "large"):
        run_sipp(world, name + "_tcp", *to4, "-sf", made[name], "-t", "t1")
    for s in servers:
        s.end()
    wire.stop()
    kamailio.end()

    hep, sip = [unpack(p) for p in wire.hep(h.port)], wire.sip(ports)
    check(len(hep) > 250 and all(p[0] == 1 for p in hep), f"{len(hep)} records on the wire")
    m = h.wait_at_rest(len(hep))
    m.check_exact()
    sent, rows = collections.Counter(message(payload, *ends) for _, *ends, payload, _ in hep), stored(world.db)
    wrong = difference(sent, rows)
    check(not wrong, f"HEP on the wire against rows: {wrong}")
    wrong = difference((as_scripted if script else as_mirrored)(sip, kamailio), sent)
    check(not wrong, f"SIP on the wire against HEP: {wrong}")
    kinds = {r.method for r in rows}
    check({"INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "MESSAGE", "100", "180", "200", "404", "486", "487"} <= kinds, f"methods {kinds}")
    check(world.db.number("SELECT COUNT(*) FROM sip_capture WHERE source_ip = '::1' AND family = 10") > 50 or not ipv6, "IPv6")
    check(world.db.number("SELECT COUNT(*) FROM sip_capture WHERE proto = 2") > 50, "TCP")
    check(world.db.number("SELECT COUNT(*) FROM sip_capture WHERE LENGTH(msg) > 4096 AND method = 'INVITE'") == (6 if ipv6 else 4) * CALLS, "large messages")
    nodes = {r[0].decode() for r in world.db.query("SELECT DISTINCT node FROM sip_capture")}
    check_equal(nodes, {"node1"} if version == 1 else {"node1:42"}, "node")
    print(f"        {len(sip)} messages and {len(hep)} records on the wire, {sum(rows.values())} rows")
    check_equal(h.stop(), 0, "exit code")
    return m


@release_only
@own_network
def test_kamailio_hep3_udp(world):
    """Registrations, calls, cancels, failures, large messages, IPv6, TCP; HEP 3 over UDP."""
    run_kamailio(world, 3)


@release_only
@own_network
def test_kamailio_hep3_tcp(world):
    m = run_kamailio(world, 3, ";transport=tcp")
    check(m.sum("heptap_connections_total") > 0, "over TCP")


@release_only
@own_network
def test_kamailio_hep2_udp(world):
    run_kamailio(world, 2)


@release_only
@own_network
def test_kamailio_hep1_udp(world):
    run_kamailio(world, 1)


@release_only
@own_network
def test_kamailio_script(world):
    """The same from sip_trace() in kamailio's routes, whose reports differ from the wire in ways that are known."""
    run_kamailio(world, 3, script=True)


def run_rtpengine(world, protocol):
    world.database()
    h = world.heptap()
    engine = Rtpengine(world, h.port, protocol)
    wire = Wire(world, h.port)
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
    wait_until(lambda: h.metrics().sum("heptap_received_total") >= 10, 20, lambda: f"records of reports: {h.summary()}")
    engine.end()
    wire.stop()
    sent = [unpack(p) for p in wire.hep(h.port)]
    check(all(p[0] == 5 for p in sent), "all of type 5")
    m = h.wait_at_rest(len(sent))
    m.check_exact()
    rows = [(r[0], r[1].decode(), r[2], r[3].decode(), int(r[4]), r[5].decode(), int(r[6]), int(r[7])) for r in world.db.query(
        "SELECT msg, correlation_id, node, source_ip, source_port, destination_ip, destination_port, type FROM rtcp_capture")]
    wanted = [(payload, correlation.decode(), b"node1:77", *ends, 3) for _, *ends, payload, correlation in sent]
    check_equal(sorted(rows), sorted(wanted), "rows of rtcp_capture")
    check(len(rows) >= 10 and {r[1] for r in rows} <= set(calls) and calls[1] in {r[1] for r in rows}, f"calls {[r[1] for r in rows]}")
    check(all(json.loads(r[0])["type"] == 200 for r in rows), "each is a sender report as JSON")
    print(f"        {len(sent)} records on the wire, {len(rows)} rows")
    check_equal(h.stop(), 0, "exit code")


@release_only
@own_network
def test_rtpengine_udp(world):
    """RTCP of two calls: one row per record on the wire, found by its Call-ID."""
    run_rtpengine(world, "udp")


@release_only
@own_network
def test_rtpengine_tcp(world):
    run_rtpengine(world, "tcp")
