"""What updates do to the embedded server's zones (RFC 2136), and who may send them (RFC 8945)."""

import asyncio
import base64
import time

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import pytest

from enactord.dns_server import EmbeddedServer
from enactord.wire.tsig import find_tsig, sign
from tests.embedded_lab import (
    KEY,
    SECRET,
    SIGNER,
    SIGNER_512,
    ZONE,
    Wire,
    apply,
    ask,
    look_up,
    put,
    serial,
    serving,
    texts,
    update,
)


async def shown(server: EmbeddedServer, name: str, rtype: str = "A") -> list[str]:
    """The rdata that stands at a name."""
    return [line.split(" ", 4)[4] for line in texts(await look_up(server, f"{name}.{ZONE}", rtype, tcp=True))]


def require(message: dns.update.UpdateMessage, kind: str) -> None:
    """Add a prerequisite given as words."""
    sense, name, *rest = kind.split(" ", 3)
    if sense == "absent":
        message.absent(name, *rest)
    else:
        message.present(name, *rest)


@pytest.mark.parametrize(
    ("prerequisite", "rcode"),
    [
        ("present www", "NOERROR"),  # name is in use: RFC 2136 section 2.4.4
        ("present nope", "NXDOMAIN"),
        ("present ent", "NXDOMAIN"),  # an empty non-terminal owns no record
        ("absent nope", "NOERROR"),  # name is not in use: section 2.4.5
        ("absent ent", "NOERROR"),
        ("absent www", "YXDOMAIN"),
        ("present www A", "NOERROR"),  # RRset exists (value independent): section 2.4.1
        ("present www AAAA", "NXRRSET"),
        ("present nope A", "NXRRSET"),
        ("absent www AAAA", "NOERROR"),  # RRset does not exist: section 2.4.3
        ("absent nope MX", "NOERROR"),
        ("absent www A", "YXRRSET"),
        ("present www A 192.0.2.1", "NXRRSET"),  # RRset exists (value dependent): section 2.4.2
        ("present www MX 1 mail", "NXRRSET"),
        ("present www TXT Hello", "NOERROR"),
        ("present www TXT hello", "NXRRSET"),  # text compares with case
        ("present cn CNAME WWW.EXAMPLE.TEST.", "NOERROR"),  # names compare without
        ("absent w.wild A", "NOERROR"),  # wildcards do not count
    ],
)
async def test_prerequisites(prerequisite: str, rcode: str) -> None:
    """Each kind of prerequisite holds or has its own code; when it fails nothing is changed."""
    async with serving() as server:
        await put(
            server,
            "www 5 A 192.0.2.1",
            "www 5 A 192.0.2.2",
            "www 5 TXT Hello",
            "x.ent 5 A 192.0.2.3",
            f"cn 5 CNAME www.{ZONE}",
            "*.wild 5 A 192.0.2.4",
        )
        before = await serial(server)
        message = update()
        require(message, prerequisite)
        message.add("new", 5, "A", "192.0.2.9")
        assert await apply(server, message) == rcode
        assert await shown(server, "new") == (["192.0.2.9"] if rcode == "NOERROR" else [])
        assert await serial(server) == before + (rcode == "NOERROR")


@pytest.mark.parametrize(
    ("addresses", "rcode"),
    [
        (["192.0.2.2", "192.0.2.1"], "NOERROR"),
        (["192.0.2.1"], "NXRRSET"),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3"], "NXRRSET"),
    ],
)
async def test_a_value_dependent_prerequisite_compares_whole_rrsets(addresses: list[str], rcode: str) -> None:
    """The RRset must be exactly the records given, in any order (RFC 2136 section 3.2.3)."""
    async with serving() as server:
        await put(server, "www 5 A 192.0.2.1", "www 5 A 192.0.2.2")
        message = update()
        for address in addresses:
            message.present("www", "A", address)
        message.delete("www")
        assert await apply(server, message) == rcode
        assert await shown(server, "www") == ([] if rcode == "NOERROR" else ["192.0.2.1", "192.0.2.2"])


async def test_a_prerequisite_sees_the_zone_before_the_message() -> None:
    """Prerequisites are checked before any record of their message is applied (RFC 2136 section 3)."""
    async with serving() as server:
        message = update()
        message.add("www", 5, "A", "192.0.2.1")
        message.absent("www")
        assert await apply(server, message) == "NOERROR"
        assert await apply(server, message) == "YXDOMAIN"


async def test_kinds_of_update() -> None:
    """Add, delete an RRset, delete all of a name, delete one record (RFC 2136 section 2.5)."""
    async with serving() as server:
        await put(server, "www 5 A 192.0.2.1", "www 5 A 192.0.2.2", "www 9 AAAA 2001:db8::1", "www 9 TXT t")
        message = update()
        message.delete("www", "A", "192.0.2.1")
        message.delete("www", "A", "192.0.2.77")  # is not there: no harm
        message.delete("nope", "A", "192.0.2.77")
        assert await apply(server, message) == "NOERROR"
        assert await shown(server, "www") == ["192.0.2.2"]
        message = update()
        message.delete("www", "AAAA")
        message.delete("www", "MX")
        assert await apply(server, message) == "NOERROR"
        assert await shown(server, "www", "AAAA") == []
        assert await shown(server, "www", "TXT") == ['"t"']
        message = update()
        message.delete("www")
        message.add("www", 7, "TXT", "after")  # records apply in their order
        assert await apply(server, message) == "NOERROR"
        assert await shown(server, "www") == []
        assert await shown(server, "www", "TXT") == ['"after"']
        message = update()
        message.delete("www")
        assert await apply(server, message) == "NOERROR"
        assert (await look_up(server, f"www.{ZONE}")).rcode() == dns.rcode.NXDOMAIN


async def test_an_update_that_changes_nothing_keeps_the_serial() -> None:
    """Adding what is there changes nothing; a new TTL does, for the whole RRset (RFC 2181 section 5.2)."""
    async with serving() as server:
        await put(server, "www 5 A 192.0.2.1", "www 5 A 192.0.2.2")
        before = await serial(server)
        await put(server, "www 5 A 192.0.2.1")
        message = update()
        message.replace("www", 5, "A", "192.0.2.1", "192.0.2.2")
        assert await apply(server, message) == "NOERROR"
        assert await serial(server) == before
        await put(server, "www 6 A 192.0.2.1")
        assert await serial(server) == before + 1
        assert (await look_up(server, f"www.{ZONE}")).answer[0].ttl == 6


async def test_the_apex_keeps_its_soa_and_ns() -> None:
    """Neither goes by any deletion; the last NS stays (RFC 2136 section 3.4.2.3, 3.4.2.4)."""
    async with serving() as server:
        await put(server, f"@ 5 NS ns2.{ZONE}", "@ 5 A 192.0.2.1")
        before = await look_up(server, ZONE, "SOA")
        for words in (("@",), ("@", "SOA"), ("@", "NS"), ("@", "SOA", before.answer[0][0].to_text())):
            message = update()
            message.delete(*words)
            assert await apply(server, message) == "NOERROR"
        assert len((await look_up(server, ZONE, "NS")).answer[0]) == 2
        assert not (await look_up(server, ZONE, "A")).answer  # by "delete all of @"
        for name in (f"ns2.{ZONE}", f"ns.{ZONE}"):
            message = update()
            message.delete("@", "NS", name)
            assert await apply(server, message) == "NOERROR"
        assert [line.split()[-1] for line in texts(await look_up(server, ZONE, "NS"))] == [f"ns.{ZONE}"]
        now = (await look_up(server, ZONE, "SOA")).answer[0][0]
        message = update()
        message.delete("@", "SOA", now.to_text())  # its exact value, too
        assert await apply(server, message) == "NOERROR"
        assert (await look_up(server, ZONE, "SOA")).answer[0][0] == now


async def test_a_soa_is_taken_only_with_a_newer_serial() -> None:
    """And its serial then stands as it was given; at other names it is left out (RFC 2136 section 3.4.2.2)."""
    async with serving() as server:
        for given, name, expected in (
            (50, "@", 50),
            (50, "@", 50),
            (49, "@", 50),
            (60, "www", 50),
            (2**31 + 49, "@", 2**31 + 49),
        ):
            message = update()
            message.add(name, 77, "SOA", f"ns hostmaster {given} 1 2 3 4")
            assert await apply(server, message) == "NOERROR"
            assert await serial(server) == expected
        assert not await shown(server, "www", "SOA")


async def test_serials_wrap_around_past_zero() -> None:
    """After 4,294,967,295 comes 1 (RFC 1982; 0 is left out)."""
    async with serving() as server:
        for given in (2**31, 2**32 - 1):
            message = update()
            message.add("@", 77, "SOA", f"ns hostmaster {given} 1 2 3 4")
            assert await apply(server, message) == "NOERROR"
        await put(server, "www 5 A 192.0.2.1")
        assert await serial(server) == 1


async def test_cname_and_other_types_never_stand_together() -> None:
    """The record that would is left out in silence, and the rest is applied (RFC 2136 section 3.4.2.2)."""
    async with serving() as server:
        await put(server, "cn 5 CNAME a.", "cn 5 A 192.0.2.1", "www 5 A 192.0.2.1", "www 5 CNAME a.", "@ 5 CNAME a.")
        assert await shown(server, "cn", "CNAME") == ["a."]
        assert await shown(server, "www", "A") == ["192.0.2.1"]
        assert await shown(server, "www", "CNAME") == []
        await put(server, "cn 6 CNAME b.")
        assert await shown(server, "cn", "CNAME") == ["b."]  # one CNAME a name: replaced
        message = update()
        message.delete("cn", "CNAME")
        message.add("cn", 5, "A", "192.0.2.2")
        assert await apply(server, message) == "NOERROR"
        assert await shown(server, "cn") == ["192.0.2.2"]


async def test_one_bad_record_spoils_the_message() -> None:
    """All of a message is applied or nothing (RFC 2136 section 3.4.1)."""
    bad = [
        (dns.rrset.from_text("www.elsewhere.test.", 5, "IN", "A", "192.0.2.1"), "NOTZONE"),
        (dns.rrset.from_text(f"mail.{ZONE}", 5, "IN", "MX", "1 mail."), "REFUSED"),
    ]
    async with serving() as server:
        for rrset, expected in bad:
            message = update()
            message.add("www", 5, "A", "192.0.2.1")
            message.update.append(rrset)
            assert await apply(server, message) == expected
        assert await shown(server, "www") == []
        assert await serial(server) == 1


def packed(
    prerequisites: bytes = b"", updates: bytes = b"", counts: tuple[int, int] = (0, 0), zone: bytes = b""
) -> bytes:
    """A signed update with sections given as bytes, whose owner names point to the zone's name."""
    zone = zone or b"\7example\4test\0\0\6\0\1"
    header = b"\0\7\x28\0\0\1" + counts[0].to_bytes(2, "big") + counts[1].to_bytes(2, "big") + b"\0\0"
    return sign(header + zone + prerequisites + updates, KEY, now_s=int(time.time()))[0]


def code(reply: bytes) -> str:
    return dns.rcode.to_text(dns.rcode.Rcode(reply[3] & 15))


OWNER = b"\1x\xc0\x0c"


@pytest.mark.parametrize(
    ("section", "record", "rcode"),
    [
        (0, OWNER + b"\0\1\0\1\0\0\0\1\0\4\1\2\3\4", "FORMERR"),  # TTL in a prerequisite
        (0, OWNER + b"\0\1\0\xff\0\0\0\0\0\4\1\2\3\4", "FORMERR"),  # rdata where none may be
        (0, OWNER + b"\0\1\0\xfe\0\0\0\0\0\4\1\2\3\4", "FORMERR"),
        (0, OWNER + b"\0\1\0\3\0\0\0\0\0\0", "FORMERR"),  # class CH
        (0, OWNER + b"\0\xff\0\1\0\0\0\0\0\0", "FORMERR"),  # type ANY with a value
        (0, b"\1x\0\0\1\0\xff\0\0\0\0\0\0", "NOTZONE"),
        (1, OWNER + b"\0\xff\0\1\0\0\0\0\0\0", "FORMERR"),  # add type ANY
        (1, OWNER + b"\0\xfc\0\1\0\0\0\0\0\0", "FORMERR"),  # add type AXFR
        (1, OWNER + b"\0\1\0\xff\0\0\0\1\0\0", "FORMERR"),  # TTL in a deletion
        (1, OWNER + b"\0\1\0\xff\0\0\0\0\0\4\1\2\3\4", "FORMERR"),
        (1, OWNER + b"\0\xfb\0\xff\0\0\0\0\0\0", "FORMERR"),
        (1, OWNER + b"\0\1\0\xfe\0\0\0\1\0\4\1\2\3\4", "FORMERR"),
        (1, OWNER + b"\0\xff\0\xfe\0\0\0\0\0\0", "FORMERR"),
        (1, OWNER + b"\0\1\0\3\0\0\0\0\0\4\1\2\3\4", "FORMERR"),
        (1, OWNER + b"\0\1\0\1\0\0\0\0\0\3\1\2\3", "FORMERR"),  # A of three bytes
        (1, OWNER + b"\0\x1c\0\1\0\0\0\0\0\4\1\2\3\4", "FORMERR"),
        (1, OWNER + b"\0\x10\0\1\0\0\0\0\0\0", "FORMERR"),  # TXT without a string
        (1, OWNER + b"\0\x10\0\1\0\0\0\0\0\2\5a", "FORMERR"),
        (1, OWNER + b"\0\5\0\1\0\0\0\0\0\3\1a\0", "NOERROR"),
        (1, OWNER + b"\0\5\0\1\0\0\0\0\0\4\1a\0\0", "FORMERR"),
        (1, OWNER + b"\0\5\0\1\0\0\0\0\0\2\xc0\x0c", "NOERROR"),  # a compressed target
        (1, OWNER + b"\0\1\0\1\x80\0\0\0\0\4\1\2\3\4", "FORMERR"),  # TTL above 2^31 - 1
        (1, OWNER + b"\0\1\0\1\0\0\0\0\0\5\1\2\3\4", "FORMERR"),  # longer than the message
    ],
)
async def test_ill_formed_records_are_refused(section: int, record: bytes, rcode: str) -> None:
    """Source: RFC 2136 sections 3.2.5 and 3.4.1.3; nothing of the message is applied."""
    good = b"\3new\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4"
    message = packed(record, good, (1, 1)) if section == 0 else packed(b"", good + record, (0, 2))
    async with serving() as server:
        wire = await Wire.open(server)
        wire.send(message)
        reply = await wire.receive()
        await wire.close()
        assert code(reply) == rcode
        assert await shown(server, "new") == (["1.2.3.4"] if rcode == "NOERROR" else [])


async def test_the_zone_section_must_name_a_zone_of_ours() -> None:
    """NOTAUTH for another zone, class, or a name inside ours; FORMERR for another type (RFC 2136 section 3.1)."""
    async with serving() as server:
        wire = await Wire.open(server)
        for zone, expected in (
            (b"\5other\4test\0\0\6\0\1", "NOTAUTH"),
            (b"\3www\7example\4test\0\0\6\0\1", "NOTAUTH"),
            (b"\7example\4test\0\0\6\0\3", "NOTAUTH"),
            (b"\7example\4test\0\0\1\0\1", "FORMERR"),
            (b"\7EXAMPLE\4test\0\0\6\0\1", "NOERROR"),
        ):
            wire.send(packed(zone=zone))
            assert code(await wire.receive()) == expected
        await wire.close()


async def test_an_update_must_be_signed() -> None:
    """Unsigned: REFUSED, over UDP and TCP, and nothing changes."""
    async with serving() as server:
        message = update(signer=None)
        message.add("www", 5, "A", "192.0.2.1")
        for tcp in (False, True):
            assert (await ask(server, message, tcp=tcp)).rcode() == dns.rcode.REFUSED
        assert await serial(server) == 1
        assert server.updates_applied == 0


@pytest.mark.parametrize("signer", [SIGNER, SIGNER_512, dns.tsig.Key("ENACTOR.", SECRET, "hmac-sha256")])
@pytest.mark.parametrize("tcp", [False, True])
async def test_signed_updates_are_answered_signed(signer: dns.tsig.Key, tcp: bool) -> None:
    """By the same key, over what was asked (RFC 8945 section 5.3); key names compare without case."""
    async with serving() as server:
        message = update(signer=signer)
        message.add("www", 5, "A", "192.0.2.1")
        answer = await ask(server, message, tcp=tcp)
        assert answer.rcode() == dns.rcode.NOERROR
        assert answer.had_tsig
        refused = update(signer=signer)
        refused.absent("www")
        answer = await ask(server, refused, tcp=tcp)
        assert answer.rcode() == dns.rcode.YXDOMAIN
        assert answer.had_tsig


@pytest.mark.parametrize(
    ("signer", "error"),
    [
        (dns.tsig.Key("enactor.", b"x" * 32, "hmac-sha256"), dns.tsig.PeerBadSignature),
        (dns.tsig.Key("stranger.", SECRET, "hmac-sha256"), dns.tsig.PeerBadKey),
        (dns.tsig.Key("enactor.", SECRET, "hmac-sha512"), dns.tsig.PeerBadKey),
        (dns.tsig.Key("enactor.", SECRET, "hmac-sha1"), dns.tsig.PeerBadKey),
    ],
)
async def test_a_wrong_signature_is_named(signer: dns.tsig.Key, error: type[Exception]) -> None:
    """BADSIG for another secret, BADKEY for another key or algorithm, NOTAUTH with both (RFC 8945 section 5.2)."""
    async with serving() as server:
        message = update(signer=signer)
        message.add("www", 5, "A", "192.0.2.1")
        for tcp in (False, True):
            with pytest.raises(error):
                await ask(server, message, tcp=tcp)
        wire = await Wire.open(server)
        wire.send(message.to_wire())
        assert (await wire.receive())[3] & 15 == dns.rcode.NOTAUTH
        await wire.close()
        assert await serial(server) == 1


@pytest.mark.parametrize("offset_s", [-400, 400])
async def test_a_clock_too_far_off_is_badtime(offset_s: int) -> None:
    """The answer is signed and tells the server's time (RFC 8945 section 5.2.3)."""
    async with serving(clock=lambda: time.time() + offset_s) as server:
        with pytest.raises(dns.tsig.PeerBadTime):
            await ask(server, update(), tcp=True)
    async with serving(clock=lambda: time.time() + offset_s * 0.7) as server:
        assert await apply(server, update()) == "NOERROR"


async def test_a_signed_message_that_was_changed_is_badsig() -> None:
    """Any byte changed between client and server is noticed, in header, records or signature."""
    good = packed(b"", b"\3new\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4", (0, 1))
    async with serving() as server:
        wire = await Wire.open(server)
        for position in range(12, len(good)):
            changed = bytearray(good)
            changed[position] ^= 1
            wire.send(bytes(changed))
            assert (await wire.receive())[3] & 15 != dns.rcode.NOERROR, position
        await wire.close()
        assert server.updates_applied == 0


@pytest.mark.parametrize(
    ("mac_bytes", "rcode", "error"), [(0, "NOTAUTH", 16), (9, "FORMERR", 0), (16, "NOTAUTH", 22), (33, "FORMERR", 0)]
)
async def test_a_signature_that_is_cut_is_not_enough(mac_bytes: int, rcode: str, error: int) -> None:
    """No MAC proves nothing, a cut one too little; an impossible length is broken (RFC 8945 section 5.2.2)."""
    whole = packed(b"", b"\3new\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4", (0, 1))
    record = find_tsig(whole)
    assert record is not None
    mac_start = whole.index(record.mac)
    mac = (record.mac + b"x" * 8)[:mac_bytes]
    length_at = record.start + len(record.key_name) + 8
    length = int.from_bytes(whole[length_at : length_at + 2], "big") + mac_bytes - len(record.mac)
    message = b"".join(
        (
            whole[:length_at],
            length.to_bytes(2, "big"),
            whole[length_at + 2 : mac_start - 2],
            mac_bytes.to_bytes(2, "big"),
            mac,
            whole[mac_start + len(record.mac) :],
        )
    )
    async with serving() as server:
        wire = await Wire.open(server)
        wire.send(message)
        reply = await wire.receive()
        await wire.close()
        assert code(reply) == rcode
        told = find_tsig(reply)
        assert (told.error if told else 0) == error
        assert await serial(server) == 1


async def test_racing_compare_and_swap_has_one_winner() -> None:
    """Of many updates that require the same old value, and replace it, exactly one succeeds."""
    async with serving() as server:
        await put(server, "_enactord 0 TXT gen=0")
        for generation in range(1, 6):

            async def attempt(number: int, generation: int = generation) -> str:
                message = update()
                message.present("_enactord", "TXT", f"gen={generation - 1}")
                message.replace("_enactord", 0, "TXT", f"gen={generation}")
                message.replace("winner", 0, "TXT", f"{number}")
                return await apply(server, message)

            outcomes = await asyncio.gather(*map(attempt, range(20)))
            assert sorted(outcomes) == ["NOERROR"] + ["NXRRSET"] * 19
            assert await shown(server, "winner", "TXT") == [f'"{outcomes.index("NOERROR")}"']


async def test_an_rrset_that_no_message_could_carry_is_refused() -> None:
    """It would make its name unanswerable; the update fails as a whole."""
    async with serving() as server:
        text = base64.b64encode(b"x" * 180).decode()
        for start in range(0, 600, 100):
            message = update()
            for number in range(start, start + 100):
                message.add("big", 5, "TXT", f'"{number}{text}"')
            rcode = await apply(server, message)
            if rcode != "NOERROR":
                break
        assert rcode == "SERVFAIL"
        assert start == 200
        assert len(await shown(server, "big", "TXT")) == 200
