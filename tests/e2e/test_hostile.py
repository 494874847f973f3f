"""Malformed, oversized and hostile packets: each is counted under its reason, and nothing else happens."""
import os
import pathlib
import struct
import zlib

from lib import check, check_equal, check_once, chunk, hep3, sip

ADDRESSES = chunk(3, b"\x01\x02\x03\x04") + chunk(4, b"\x05\x06\x07\x08")


def packet(chunks, length=None):
    return b"HEP3" + struct.pack(">H", len(chunks) + 6 if length is None else length) + chunks


def inflated(size):
    """A compressed payload of many octets."""
    return packet(ADDRESSES + chunk(16, zlib.compress(sip(1) + b"x" * size)))


# What is sent, and the one counter that goes up by it.
REFUSED = [
    ("two octets", b"HE", "malformed", "short"),
    ("no octet", b"", "malformed", "short"),
    ("head only half there", b"HEP3\x00", "malformed", "short"),
    ("HEP1 with nothing in it", b"\x01\x10\x02\x11" + b"\0" * 40, "not_sip", "empty"),
    ("HEP2 cut in its time", b"\x02\x10\x02\x11" + b"\0" * 20, "malformed", "short"),
    ("HEP2 of an unknown family", b"\x02\x10\x07\x11" + b"\0" * 40, "malformed", "address"),
    ("HEP9", b"\x09\x10\x02\x11" + b"\0" * 40, "malformed", "version"),
    ("plain SIP", sip(1), "malformed", "version"),
    ("noise", b"\xff" * 100, "malformed", "version"),
    ("total length 0", packet(ADDRESSES, 0), "malformed", "length"),
    ("total length 5", packet(ADDRESSES, 5), "malformed", "length"),
    ("longer than the datagram", packet(ADDRESSES + chunk(15, sip(1)), 2000), "malformed", "short"),
    ("chunk of length 0", packet(ADDRESSES + b"\0\0\0\x0f\0\0" + sip(1)), "malformed", "chunk"),
    ("chunk of length 5", packet(ADDRESSES + b"\0\0\0\x0f\0\x05" + sip(1)), "malformed", "chunk"),
    ("chunk longer than the packet", packet(ADDRESSES + b"\0\0\0\x0f\xff\xff" + sip(1)), "malformed", "chunk"),
    ("half a chunk head", packet(ADDRESSES + b"\0\0\0"), "malformed", "chunk"),
    ("no chunks", packet(b""), "malformed", "address"),
    ("no destination", packet(chunk(3, b"\x01\x02\x03\x04") + chunk(15, sip(1))), "malformed", "address"),
    ("address of five octets", packet(chunk(3, b"\x01\x02\x03\x04\x05") + chunk(4, b"\x05\x06\x07\x08") + chunk(15, sip(1))),
     "malformed", "address"),
    ("addresses of another vendor", packet(chunk(3, b"\x01\x02\x03\x04", 5) + chunk(4, b"\x05\x06\x07\x08", 5) + chunk(15, sip(1))),
     "malformed", "address"),
    ("no payload", packet(ADDRESSES), "not_sip", "empty"),
    ("empty payload", packet(ADDRESSES + chunk(15, b"")), "not_sip", "empty"),
    ("only line ends", packet(ADDRESSES + chunk(15, b"\r\n\r\n")), "not_sip", "content"),
    ("DNS record", hep3(b"{}", kind=53), "not_sip", "type"),
    ("unknown type", hep3(b"x", kind=200), "not_sip", "type"),
    ("HTTP", packet(ADDRESSES + chunk(15, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")), "not_sip", "content"),
    ("binary payload", packet(ADDRESSES + chunk(15, bytes(range(256)))), "not_sip", "content"),
    ("compressed noise", packet(ADDRESSES + chunk(16, b"\x78\x9c" + b"\xaa" * 50)), "malformed", "inflate"),
    ("compressed and cut", packet(ADDRESSES + chunk(16, zlib.compress(sip(1))[:-8])), "malformed", "inflate"),
    ("compressed far beyond the bound", inflated(1 << 20), "malformed", "inflate"),
    ("compressed just beyond the bound", inflated(65536 - len(sip(1))), "malformed", "inflate"),
]


def test_each_class_has_its_reason(world):
    """One packet of each class of refusal moves its one counter; messages before, between and behind are stored."""
    db = world.database()
    h = world.heptap()
    good = 0
    for what, bytes_, kind, reason in REFUSED:
        before = h.metrics()
        h.send([bytes_, hep3(sip(good))])
        good += 1
        after = h.wait_at_rest(2 * good)
        after.check_exact()
        moved = {s: v - before.values.get(s, 0) for s, v in after.values.items()
                 if v != before.values.get(s, 0) and s.split("{")[0] in ("heptap_malformed_total", "heptap_not_sip_total",
                                                                      "heptap_denied_total", "heptap_shed_total")}
        check_equal(moved, {f'heptap_{kind}_total{{source="agents",reason="{reason}"}}': 1}, what)
    check_once(db, range(good))
    check(h.stop() == 0, "exit code")


def test_tolerated_packets_are_rows(world):
    """What hep-wire allows or real senders do is taken: order, repetition, unknown chunks, tails, wrong sizes, cut and huge messages."""
    db = world.database()
    h = world.heptap()
    payload = chunk(15, sip(1))
    largest = sip(9, size=65400 - len(sip(9)))
    packets = [
        packet(chunk(15, sip(0)) + ADDRESSES),
        packet(ADDRESSES + chunk(200, b"x", 3) + chunk(99, b"") + payload),
        packet(ADDRESSES + chunk(15, b"old") + chunk(15, sip(2))),
        packet(ADDRESSES + chunk(15, sip(3))) + b"tail of eleven"[:11],
        packet(ADDRESSES + chunk(9, b"\0\0") + chunk(15, sip(4))),
        b"EEP1" + packet(ADDRESSES + chunk(15, sip(5)))[4:],
        packet(ADDRESSES + chunk(16, zlib.compress(sip(6)))),
        packet(ADDRESSES + chunk(16, zlib.compress(sip(7))[2:-4])),
        packet(ADDRESSES + chunk(15, sip(8)[:-40])),
        packet(ADDRESSES + chunk(15, largest)),
        packet(ADDRESSES + chunk(16, b"nonsense") + chunk(15, b"\r\n\r\n" + sip(10))),
        packet(ADDRESSES + chunk(16, zlib.compress(sip(11) + b"x" * (65535 - len(sip(11)))))),
    ]
    h.send(packets)
    m = h.wait_at_rest(len(packets))
    m.check_exact()
    check_once(db, range(12))
    check_equal(m.sum("heptap_hep_tail_bytes_total"), 11, "octets behind packets")
    check_equal(m.sum("heptap_hep_chunks_ignored_total", reason="size"), 1, "chunks of a wrong size")
    check_equal(m.sum("heptap_hep_chunks_ignored_total", reason="twice"), 1, "chunks that came twice")
    check_equal(db.query("SELECT LENGTH(msg) FROM sip_capture WHERE callid LIKE 'n9@%'"), [[str(len(largest)).encode()]], "length")
    h.stop()


def test_time_is_replaced_where_it_cannot_be(world):
    """No time, time 0 and a time far ahead become the arrival time, counted; an old time is kept; a second of microseconds is carried."""
    db = world.database()
    h = world.heptap()
    h.send([packet(ADDRESSES + chunk(15, sip(1))), hep3(sip(2), ts=0), hep3(sip(3), ts=4102444800), hep3(sip(4), ts=1000000000),
            packet(ADDRESSES + chunk(9, struct.pack(">I", 1000000000)) + chunk(10, struct.pack(">I", 2500000)) + chunk(15, sip(5)))])
    m = h.wait_at_rest(5)
    check_equal((m.sum("heptap_time_replaced_total", reason="absent"), m.sum("heptap_time_replaced_total", reason="ahead")), (2, 1),
                "replaced")
    check_equal(db.number("SELECT COUNT(*) FROM sip_capture WHERE ABS(micro_ts / 1e6 - UNIX_TIMESTAMP()) < 60"), 3, "now")
    check_equal(db.query("SELECT micro_ts, date FROM sip_capture WHERE micro_ts < 1500000000000000 ORDER BY micro_ts"),
                [[b"1000000000000000", b"2001-09-09 01:46:40"], [b"1000000002500000", b"2001-09-09 01:46:42"]], "kept")
    h.stop()


def test_keys_and_allow_list(world):
    """A listener with keys takes each of them and nothing else; a listener that does not name the sender's network takes nothing."""
    db = world.database()
    h = world.heptap(listener="keys: ['first key', \"zweiter \u00fc\"]")
    key = lambda value: chunk(14, value)
    h.send([hep3(sip(1), extra=key(b"first key")), hep3(sip(2), extra=key("zweiter \u00fc".encode())), hep3(sip(3)),
            hep3(sip(4), extra=key(b"")), hep3(sip(5), extra=key(b"first ke")), hep3(sip(6), extra=key(b"first keyy")),
            hep3(b"no sip", extra=key(b"wrong")), hep3(b'{"ssrc":1}', kind=5)])
    m = h.wait_at_rest(8)
    m.check_exact()
    check_once(db, [1, 2])
    check_equal(m.sum("heptap_denied_total", reason="key"), 6, "refused by key")
    everything = h.log_text() + h.get("/metrics")[1] + h.get("/api/status")[1]
    check("first key" not in everything, "a key is shown")
    h.stop()
    other = world.heptap("other", listener="allow: [192.0.2.0/24, '2001:db8::/32']")
    other.send([hep3(sip(7))] * 5)
    m = other.wait_at_rest(5)
    m.check_exact()
    check_equal(m.sum("heptap_denied_total", reason="allow"), 5, "refused by address")
    other.stop()


def test_noise_from_a_seed(world):
    """Thousands of damaged packets: every one is counted once, none ends the server, good ones between are all stored."""
    import random
    db = world.database()
    h = world.heptap()
    pick = random.Random(4711)
    base = hep3(sip(1))
    packets = []
    for n in range(4000):
        if n % 10 == 0:
            packets.append(hep3(sip(100000 + n)))
            continue
        damaged = bytearray(base)
        for _ in range(pick.randint(1, 8)):
            damaged[pick.randrange(len(damaged))] = pick.randrange(256)
        packets.append(bytes(damaged[:pick.randint(0, len(damaged))] if pick.random() < 0.5 else damaged))
    h.send(packets, pause_each=100)
    m = h.wait_at_rest(len(packets))
    m.check_exact()
    wanted = {100000 + n for n in range(0, 4000, 10)}
    check(db.number("SELECT COUNT(DISTINCT callid) FROM sip_capture WHERE callid LIKE 'n10____@heptap.test'") >= len(wanted), "good ones")
    check_equal(m.sum("heptap_stored_total"), m.sum("heptap_accepted_total"), "rows")
    check_equal(h.stop(), 0, "exit code")
