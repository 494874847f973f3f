"""The 49 messages of RFC 4475, each by name: what must be stored of it, judged by the RFC's text and not by what a decoder makes of it.

A monitor shows what was on the wire, valid or not, so every one of them is a row, with the octets that came, and no member of it comes
from another header. Over TCP the HEP packet says where a message ends, so those with a wrong Content-Length are rows there too.
"""
import hashlib

from lib import FIXTURES, check, check_equal, hep3, hep_legacy

# name: method or status, Call-ID, From tag, To tag, CSeq, user of the Request-URI; each cut to its column where the message goes beyond
STORED = {
    'badaspec': ('OPTIONS', 'badaspec.sdf0234n2nds0a099u23h3hnnw009cdkne3', '433423', '', '3923239 OPTIONS', 'user'),
    'badbranch': ('OPTIONS', 'badbranch.sadonfo23i420jv0as0derf3j3n', '33242', '', '8 OPTIONS', 'user'),
    'baddate': ('INVITE', 'baddate.239423mnsadf3j23lj42--sedfnm234', '2234923', '', '1392934 INVITE', 'user'),
    'baddn': ('OPTIONS', 'baddn.31415@c.example.com', '43', '', '3923239 OPTIONS', 't.watson'),
    'badinv01': ('INVITE', 'badinv01.0ha0isndaksdjasdf3234nas', '134161461246', '', '8 INVITE', 'user'),
    'badvers': ('OPTIONS', 'badvers.31417@c.example.com', 'qweoiqpe', '', '1 OPTIONS', 't.watson'),
    'bcast': ('200', 'bcast.0384840201234ksdfak3j2erwedfsASdf', '11141343', '2229', '35 INVITE', ''),
    'bext01': ('OPTIONS', 'bext01.0ha0isndaksdj', '242etr', '', '8 OPTIONS', 'user'),
    'bigcode': ('4294967301', 'bigcode.asdof3uj203asdnf3429uasdhfas3ehjasdfas9i', '39ansfi3', '902jndnke3', '353494 INVITE', ''),
    'clerr': ('INVITE', 'clerr.0ha0isndaksdjweiafasdk3', '93942939o2', '', '8 INVITE', 'user'),
    'cparam01': ('REGISTER', 'cparam01.70710@saturn.example.com', 'DkfVgjkrtMwaerKKpe', '', '2 REGISTER', ''),
    'cparam02': ('REGISTER', 'cparam02.70710@saturn.example.com', '838293', '', '3 REGISTER', ''),
    'dblreq': ('REGISTER', 'dblreq.0ha0isndaksdj99sdfafnl3lk233412', '43251j3j324', '', '8 REGISTER', ''),
    'esc01': ('INVITE', 'esc01.239409asdfakjkn23onasd0-3234', '938', '', '234234 INVITE', 'sips%3Auser%40example.com'),
    'esc02': ('RE%47IST%45R', 'esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf', 'f232jadfj23', '', '29344 RE%47IST%45R', ''),
    'escnull': ('REGISTER', 'escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd', '839923423', '', '14398234 REGISTER', ''),
    'escruri': ('INVITE', 'escruri.23940-asdfhj-aje3br-234q098w-fawerh2q-h4n5', '341518', '', '149209342 INVITE', 'user'),
    'insuf': ('INVITE', '', '', '', '193942 INVITE', 'user'),
    'intmeth': ("!interesting-Method0123456789_*+`.%indeed'~", 'intmeth.word%ZK-!.*_+\'@word`~)(><:\\/"][?}{', "_token~1'+`*%!-.", '', "139122385 !interesting-Method0123456789_*+`.%indeed'~", "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"),
    'inv2543': ('INVITE', 'inv2543.1717@ift.client.example.com', '', '', '56 INVITE', 'UserB'),
    'invut': ('INVITE', 'invut.0ha0isndaksdjadsfij34n23d', '8392034', '', '235448 INVITE', 'user'),
    'longreq': ('INVITE', 'longreq.onereallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallyreallylongcallid', '12982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982424', '', '3882340 INVITE', 'user'),
    'ltgtruri': ('INVITE', 'ltgtruri.1@192.0.2.5', '39291', '', '1 INVITE', ''),
    'lwsdisp': ('OPTIONS', 'lwsdisp.1234abcd@funky.example.com', '323', '', '60 OPTIONS', 'user'),
    'lwsruri': ('INVITE', 'lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423', '231413434', '3xfe-9921883-z9f', '2130706432 INVITE', 'user'),
    'lwsstart': ('INVITE', 'lwsstart.dfknq234oi243099adsdfnawe3@example.com', '8814', '', '1893884 INVITE', 'user'),
    'mcl01': ('OPTIONS', 'mcl01.fhn2323orihawfdoa3o4r52o3irsdf', '3923942', '', '15932 OPTIONS', 'user'),
    'mismatch01': ('OPTIONS', 'mismatch01.dj0234sxdfl3', '34525', '', '8 INVITE', 'user'),
    'mismatch02': ('NEWMETHOD', 'mismatch02.dj0234sxdfl3', '34525', '', '8 INVITE', 'user'),
    'mpart01': ('MESSAGE', '3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..', '2fb0dcc9', '', '1 MESSAGE', 'kumiko'),
    'multi01': ('INVITE', 'multi01.98asdh@192.0.2.1', '3413415', '', '5 INVITE', 'user'),
    'ncl': ('INVITE', 'ncl.0ha0isndaksdj2193423r542w35', '32394234', '', '0 INVITE', 'user'),
    'noreason': ('100', 'noreason.asndj203insdf99223ndf', '39ansfi3', '902jndnke3', '35 INVITE', ''),
    'novelsc': ('OPTIONS', 'novelsc.asdfasser0q239nwsdfasdkl34', '384', '', '3923423 OPTIONS', ''),
    'quotbal': ('INVITE', 'quotbal.aksdj', '93334', '', '8 INVITE', 'user'),
    'regaut01': ('REGISTER', 'regaut01.0ha0isndaksdj', '87321hj23128', '', '9338 REGISTER', ''),
    'regbadct': ('REGISTER', 'regbadct.k345asrl3fdbv@10.0.0.1', '998332', '', '1 REGISTER', ''),
    'regescrt': ('REGISTER', 'regescrt.k345asrl3fdbv@192.0.2.1', '8', '', '14398234 REGISTER', ''),
    'scalar02': ('REGISTER', 'scalar02.23o0pd9vanlq3wnrlnewofjas9ui32', '239232jh3', '', '36893488147419103232 REGISTER', ''),
    'scalarlg': ('503', 'scalarlg.noase0of0234hn2qofoaf0232aewf2394r', '2easdjfejw', '', '9292394834772304023312 OPTIONS', ''),
    'sdp01': ('INVITE', 'sdp01.ndaksdj9342dasdd', '234', '', '8 INVITE', 'user'),
    'semiuri': ('OPTIONS', 'semiuri.0ha0isndaksdj', '33242', '', '8 OPTIONS', 'user;par=u%40example.net'),
    'transports': ('OPTIONS', 'transports.kijh4akdnaqjkwendsasfdj', '323', '', '60 OPTIONS', 'user'),
    'trws': ('OPTIONS', 'trws.oicu34958239neffasdhr2345r', '329429089', '', '238923 OPTIONS', 'remote-target'),
    'unkscm': ('OPTIONS', 'unkscm.nasdfasser0q239nwsdfasdkl34', '384', '', '3923423 OPTIONS', ''),
    'unksm2': ('REGISTER', 'unksm2.daksdj@hyphenated-host.example.com', '3234233', '', '234902 REGISTER', ''),
    'unreason': ('200', 'unreason.1234ksdfak3j2erwedfsASdf', '11141343', '2229', '35 INVITE', ''),
    'wsinv': ('INVITE', 'wsinv.ndaksdj@192.0.2.1', '98asjd8', '1918181833n', '0009\r\n  INVITE', 'vivekg'),
    'zeromf': ('OPTIONS', 'zeromf.jfasdlfnm2o2l43r5u0asdfas', '3ghsd41', '', '39234321 OPTIONS', 'user'),
}
WIDTHS = (50, 120, 64, 64, 25, 100)
FILES = sorted((FIXTURES / "torture").glob("*.dat"))


def check_all(world, wrap, send):
    check_equal([f.stem for f in FILES], sorted(STORED), "files and names")
    world.database()
    h = world.heptap(top="hep_threads: 1")
    send(h, [wrap(f.read_bytes()) for f in FILES])
    m = h.wait_at_rest(len(FILES))
    m.check_exact()
    check_equal(m.sum("heptap_accepted_total"), len(FILES), "accepted")
    rows = world.db.query("SELECT method, callid, from_tag, to_tag, cseq, ruri_user, SHA2(IF(LENGTH(msg_raw) > 0, msg_raw, msg), 256), type, "
                          "reply_reason FROM sip_capture ORDER BY id")
    check_equal(len(rows), len(FILES), "rows")
    wrong = []
    for f, row in zip(FILES, rows):
        for what, have, want, width in zip(("method", "callid", "from_tag", "to_tag", "cseq", "ruri_user"), row, STORED[f.stem], WIDTHS):
            if have.decode("utf-8", "replace") != want[:width]:
                wrong.append(f"{f.stem} {what}: got {have!r}, wanted {want[:width]!r}")
        if row[6].decode() != hashlib.sha256(f.read_bytes()).hexdigest():
            wrong.append(f"{f.stem}: other octets than were sent")
        if row[7] != (b"2" if STORED[f.stem][0].isdigit() else b"1"):
            wrong.append(f"{f.stem}: type {row[7]!r}")
    check(not wrong, f"{len(wrong)} differences:\n    " + "\n    ".join(wrong[:60]))
    reasons = {f.stem: row[8].decode() for f, row in zip(FILES, rows)}
    check_equal((reasons["noreason"], reasons["bigcode"], reasons["unreason"]),
                ("", "better not break the receiver", "= 2**3 * 5**2 \u043d\u043e \u0441\u0442\u043e \u0434\u0435\u0432\u044f\u043d\u043e\u0441\u0442\u043e "
                 "\u0434\u0435\u0432\u044f\u0442\u044c - \u043f\u0440\u043e\u0441\u0442\u043e\u0435"), "reason phrases")


def over_udp(h, packets):
    h.send(packets, pause_each=20)


def over_tcp(h, packets):
    h.send_stream(b"".join(packets), iter(lambda: 997, None))


def test_hep3_udp(world):
    check_all(world, hep3, over_udp)


def test_hep3_tcp(world):
    check_all(world, hep3, over_tcp)


def test_hep2(world):
    check_all(world, lambda message: hep_legacy(2, message), over_udp)


def test_hep1_with_nul_behind(world):
    check_all(world, lambda message: hep_legacy(1, message + b"\0" * 8), over_udp)
