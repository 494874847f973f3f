"""A load as a trunk sees it: calls of their own through a proxy, registrations, OPTIONS, each with Call-IDs, tags and branches of its own and
users out of a hundred thousand, so that the keys of a table have to work as they do in service."""
import random
import struct

from lib import hep3

SDP = ("v=0\r\no=- {n} {n} IN IP4 198.51.100.{h}\r\ns=-\r\nc=IN IP4 198.51.100.{h}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 0 18 101\r\n"
       "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\n"
       "a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n")
AGENTS = ["Asterisk PBX 18.10.0", "FreeSWITCH-mod_sofia/1.10.7", "Yealink SIP-T46S 66.85.0.5", "Cisco-SIPGateway/IOS-16.9", "Grandstream GXP2170 1.0.11"]


class Dialog:
    def __init__(self, pick):
        self.pick = pick
        self.a, self.b = f"4930{pick.randrange(100000):07d}", f"4989{pick.randrange(100000):07d}"
        host = pick.randrange(1, 255)
        self.uac, self.proxy, self.uas = f"192.0.2.{host}", "203.0.113.10", f"198.51.100.{pick.randrange(1, 255)}"
        self.callid = f"{pick.getrandbits(128):032x}@{self.uac}"
        self.ftag, self.ttag = f"{pick.getrandbits(40):010x}", f"as{pick.getrandbits(32):08x}"
        self.agent, self.cseq = pick.choice(AGENTS), 1
        self.sdp = SDP.format(n=pick.randrange(10**9), h=host, port=pick.randrange(10000, 60000, 2))

    def message(self, first, method, body="", totag=True, more="", uri=None):
        branch = f"z9hG4bK{self.pick.getrandbits(60):015x}"
        uri = uri or f"sip:{self.b}@sip.example.net"
        return (f"{first}\r\nVia: SIP/2.0/UDP {self.uac}:5060;branch={branch};rport\r\nMax-Forwards: 70\r\n"
                f"From: \"{self.a}\" <sip:{self.a}@sip.example.net>;tag={self.ftag}\r\n"
                f"To: <{uri}>{';tag=' + self.ttag if totag else ''}\r\nCall-ID: {self.callid}\r\nCSeq: {self.cseq} {method}\r\n"
                f"Contact: <sip:{self.a}@{self.uac}:5060>\r\n{more}User-Agent: {self.agent}\r\n"
                f"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO\r\n"
                + ("Content-Type: application/sdp\r\n" if body else "") + f"Content-Length: {len(body)}\r\n\r\n{body}").encode()

    def request(self, method, **more):
        return self.message(f"{method} sip:{self.b}@sip.example.net SIP/2.0", method, **more)

    def reply(self, code, reason, method, **more):
        return self.message(f"SIP/2.0 {code} {reason}", method, **more)

    def call(self):
        """What a capture at the proxy sees: each message on both of its hops."""
        pai = f"P-Asserted-Identity: <sip:{self.a}@sip.example.net>\r\n" if self.pick.random() < 0.2 else ""
        there = [self.request("INVITE", body=self.sdp, totag=False, more=pai)]
        back = [self.reply(100, "Trying", "INVITE", totag=False), self.reply(180, "Ringing", "INVITE"), self.reply(200, "OK", "INVITE", body=self.sdp)]
        up, down = (self.uac, self.proxy), (self.proxy, self.uas)
        for m, hops in [(there[0], (up, down)), (back[0], (up[::-1],)), (back[1], (down[::-1], up[::-1])), (back[2], (down[::-1], up[::-1])),
                        (self.request("ACK"), (up, down))]:
            for src, dst in hops:
                yield m, src, dst
        self.cseq += 1
        for m, hops in [(self.request("BYE"), (up, down)), (self.reply(200, "OK", "BYE"), (down[::-1], up[::-1]))]:
            for src, dst in hops:
                yield m, src, dst

    def registration(self):
        uri = f"sip:{self.a}@sip.example.net"
        yield self.message("REGISTER sip:sip.example.net SIP/2.0", "REGISTER", totag=False, uri=uri), self.uac, self.proxy
        yield self.message("SIP/2.0 401 Unauthorized", "REGISTER", uri=uri), self.proxy, self.uac
        self.cseq += 1
        digest = (f'Authorization: Digest username="{self.a}", realm="sip.example.net", nonce="{self.pick.getrandbits(128):032x}", '
                  f'uri="sip:sip.example.net", response="{self.pick.getrandbits(128):032x}", algorithm=MD5\r\n')
        yield self.message("REGISTER sip:sip.example.net SIP/2.0", "REGISTER", totag=False, uri=uri, more=digest), self.uac, self.proxy
        yield self.message("SIP/2.0 200 OK", "REGISTER", uri=uri, more="Expires: 300\r\n"), self.proxy, self.uac

    def ping(self):
        yield self.request("OPTIONS", totag=False), self.proxy, self.uas
        yield self.reply(200, "OK", "OPTIONS"), self.uas, self.proxy


def messages(count, seed=1, at_once=200):
    """(SIP, source, destination), as many dialogs at a time as @p at_once."""
    pick = random.Random(seed)
    going, made = [], 0
    while made < count:
        while len(going) < at_once:
            d, what = Dialog(pick), pick.random()
            going.append(d.call() if what < 0.5 else d.registration() if what < 0.85 else d.ping())
        i = pick.randrange(len(going))
        step = next(going[i], None)
        if step is None:
            going[i] = going[-1]
            going.pop()
            continue
        made += 1
        yield step


def write(path, count, seed=1):
    """HEP 3 packets of such a load as a file for bench_send: u32 length and octets of each. @return how many."""
    with open(path, "wb") as out:
        for sip, src, dst in messages(count, seed):
            packet = hep3(sip, src, dst)
            out.write(struct.pack("=I", len(packet)) + packet)
    return count
