"""What the embedded server answers to questions (RFC 1034, 2308, 4592, 6891)."""

import asyncio
import time

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.tsig
import pytest

from enactord.dns_server import EmbeddedServer
from tests.embedded_lab import (
    LIMIT_S,
    SECRET,
    SIGNER,
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


def rcode(answer: dns.message.Message) -> str:
    return dns.rcode.to_text(answer.rcode())


async def raw(server: EmbeddedServer, message: bytes) -> bytes:
    wire = await Wire.open(server)
    wire.send(message)
    reply = await wire.receive()
    await wire.close()
    return reply


async def test_a_new_zone_has_soa_and_ns_and_nothing_else() -> None:
    """A zone that starts empty answers for its apex, with authority, and holds no address."""
    async with serving() as server:
        soa = await look_up(server, ZONE, "SOA")
        assert texts(soa) == [f"{ZONE} 3600 IN SOA ns.{ZONE} hostmaster.{ZONE} 1 3600 600 604800 5"]
        assert soa.flags & dns.flags.AA
        assert not soa.flags & dns.flags.RA
        assert texts(await look_up(server, ZONE, "NS")) == [f"{ZONE} 3600 IN NS ns.{ZONE}"]
        assert rcode(await look_up(server, f"ns.{ZONE}")) == "NXDOMAIN"


async def test_a_missing_type_is_nodata_and_a_missing_name_nxdomain() -> None:
    """Both carry the SOA with the smaller of its TTL and its minimum (RFC 2308 section 5)."""
    async with serving(soa_minimum_s=7) as server:
        await put(server, "www 30 A 192.0.2.1")
        for name, rtype, expected in (("www", "AAAA", "NOERROR"), ("nope", "A", "NXDOMAIN")):
            answer = await look_up(server, f"{name}.{ZONE}", rtype)
            assert rcode(answer) == expected
            assert not answer.answer
            assert answer.flags & dns.flags.AA
            (soa,) = answer.authority
            assert soa.name.to_text() == ZONE
            assert soa.ttl == 7


async def test_an_empty_non_terminal_is_nodata() -> None:
    """A name without records, but with names below it, exists (RFC 8020), until those are gone."""
    async with serving() as server:
        await put(server, "x.y.z 30 A 192.0.2.1")
        assert rcode(await look_up(server, f"z.{ZONE}")) == "NOERROR"
        assert rcode(await look_up(server, f"y.z.{ZONE}")) == "NOERROR"
        message = update()
        message.delete("x.y.z")
        assert await apply(server, message) == "NOERROR"
        for name in ("x.y.z", "y.z", "z"):
            assert rcode(await look_up(server, f"{name}.{ZONE}")) == "NXDOMAIN"


async def test_wildcards_match_as_rfc_4592_says() -> None:
    """A wildcard answers for names that do not exist, under the closest name that does, and for no other."""
    async with serving() as server:
        await put(
            server,
            "*.w 30 A 192.0.2.1",
            "*.w 30 TXT any",
            "host.w 30 TXT own",
            "a.b.w 30 TXT deep",
            "x.*.v 30 A 192.0.2.9",
        )
        found = await look_up(server, f"one.w.{ZONE}")
        assert texts(found) == [f"one.w.{ZONE} 30 IN A 192.0.2.1"]
        assert texts(await look_up(server, f"two.one.w.{ZONE}")) == [f"two.one.w.{ZONE} 30 IN A 192.0.2.1"]
        assert texts(await look_up(server, f"*.w.{ZONE}")) == [f"*.w.{ZONE} 30 IN A 192.0.2.1"]
        nodata = await look_up(server, f"one.w.{ZONE}", "AAAA")
        assert rcode(nodata) == "NOERROR"
        assert not nodata.answer
        assert nodata.authority
        # A name that exists is not covered, even without the type; nor is an empty one, nor what is below either.
        assert not (await look_up(server, f"host.w.{ZONE}")).answer
        assert rcode(await look_up(server, f"host.w.{ZONE}")) == "NOERROR"
        assert rcode(await look_up(server, f"b.w.{ZONE}")) == "NOERROR"
        assert rcode(await look_up(server, f"c.b.w.{ZONE}")) == "NXDOMAIN"
        assert rcode(await look_up(server, f"x.host.w.{ZONE}")) == "NXDOMAIN"
        # The wildcard itself may be an empty non-terminal: then it covers, with nothing.
        assert rcode(await look_up(server, f"q.v.{ZONE}")) == "NOERROR"


async def test_a_cname_is_answered_and_followed_inside_the_zone() -> None:
    """The chain is in the answer; its last name decides the code (RFC 6604); loops end."""
    async with serving() as server:
        await put(
            server,
            f"one 30 CNAME two.{ZONE}",
            f"two 31 CNAME three.{ZONE}",
            "three 32 A 192.0.2.3",
            f"lost 30 CNAME gone.{ZONE}",
            "away 30 CNAME elsewhere.invalid.",
            f"loop 30 CNAME pool.{ZONE}",
            f"pool 30 CNAME loop.{ZONE}",
            f"*.wild 30 CNAME three.{ZONE}",
        )
        assert texts(await look_up(server, f"one.{ZONE}")) == [
            f"one.{ZONE} 30 IN CNAME two.{ZONE}",
            f"three.{ZONE} 32 IN A 192.0.2.3",
            f"two.{ZONE} 31 IN CNAME three.{ZONE}",
        ]
        nodata = await look_up(server, f"one.{ZONE}", "AAAA")
        assert rcode(nodata) == "NOERROR"
        assert len(nodata.answer) == 2
        assert nodata.authority
        assert texts(await look_up(server, f"one.{ZONE}", "CNAME")) == [f"one.{ZONE} 30 IN CNAME two.{ZONE}"]
        lost = await look_up(server, f"lost.{ZONE}")
        assert rcode(lost) == "NXDOMAIN"
        assert len(lost.answer) == 1
        assert lost.authority
        assert texts(await look_up(server, f"away.{ZONE}")) == [f"away.{ZONE} 30 IN CNAME elsewhere.invalid."]
        assert len((await look_up(server, f"loop.{ZONE}")).answer) == 2
        assert len((await look_up(server, f"any.wild.{ZONE}")).answer) == 2


async def test_case_does_not_count_and_is_echoed() -> None:
    """Names compare without case; the question comes back as it was written, also from the cache."""
    async with serving() as server:
        await put(server, "WwW 30 A 192.0.2.1", "_Dns._uDp 30 TXT Case")
        for name in ("www.example.test.", "wWw.eXample.teST.", "WWW.EXAMPLE.TEST."):
            answer = await look_up(server, name)
            assert answer.question[0].name.to_text() == name
            assert [rrset.name.to_text() for rrset in answer.answer] == [name]
        assert texts(await look_up(server, f"_dns._udp.{ZONE}", "TXT")) == [f'_dns._udp.{ZONE} 30 IN TXT "Case"']


async def test_questions_outside_the_zones_are_refused() -> None:
    """So are other classes; a name that only looks like one of the zone's is outside."""
    async with serving(zones=[ZONE, "sub.example.test", "other.test."]) as server:
        for name in ("example.org.", "test.", ".", "badexample.test."):
            answer = await look_up(server, name)
            assert rcode(answer) == "REFUSED"
            assert not answer.flags & dns.flags.AA
        chaos = dns.message.make_query(ZONE, "TXT", rdclass=dns.rdataclass.CH)
        assert rcode(await ask(server, chaos)) == "REFUSED"
        assert (await look_up(server, "x.sub.example.test.")).authority[0].name.to_text() == "sub.example.test."
        assert (await look_up(server, "x.other.test.")).authority[0].name.to_text() == "other.test."


async def test_a_label_that_contains_the_zone_is_outside_it() -> None:
    """A name whose last bytes are the zone's, but inside a label, is not in the zone."""
    async with serving() as server:
        qname = b"\x09a\7example\4test\0"
        reply = await raw(server, b"\0\1\0\0\0\1\0\0\0\0\0\0" + qname + b"\0\1\0\1")
        assert reply[3] & 15 == dns.rcode.REFUSED


@pytest.mark.parametrize(
    ("size", "limit"), [(None, 512), (0, 512), (100, 512), (600, 600), (1232, 1232), (65535, 4096)]
)
async def test_an_answer_too_large_for_udp_is_truncated(size: int | None, limit: int) -> None:
    """TC beyond the client's EDNS size, 512 without EDNS, 4,096 at most; TCP has it all (RFC 6891 section 6.2.5)."""
    async with serving() as server:
        overhead = 12 + 24 + 4 + (0 if size is None else 11)  # header, question of "<number>.example.test", OPT
        fits = (limit - overhead) // 16
        for number, count in ((f"{fits:09}", fits), (f"{fits + 1:09}", fits + 1)):
            await put(server, *(f"{number} 5 A 10.0.{index >> 8}.{index & 255}" for index in range(count)))
            query = dns.message.make_query(f"{number}.{ZONE}", "A", use_edns=False)
            if size is not None:
                query.use_edns(0, 0, size)
            answer = await ask(server, query)
            assert len(answer.to_wire()) <= limit
            assert bool(answer.flags & dns.flags.TC) == (count > fits)
            assert sum(map(len, answer.answer)) == (0 if count > fits else count)
            full = await ask(server, query, tcp=True)
            assert not full.flags & dns.flags.TC
            assert len(full.answer[0]) == count


async def test_edns_is_answered_by_edns() -> None:
    """OPT for OPT and none without; an unknown version gets BADVERS; DO and unknown options do no harm."""
    async with serving() as server:
        plain = await look_up(server, ZONE, "SOA")
        assert plain.edns == -1
        query = dns.message.make_query(ZONE, "SOA", use_edns=0, want_dnssec=True)
        query.use_edns(0, dns.flags.DO, 1232, options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")])
        answer = await ask(server, query)
        assert answer.edns == 0
        assert answer.ednsflags & dns.flags.DO
        assert len(answer.answer) == 1
        query.use_edns(1, 0, 1232)
        bad = await ask(server, query)
        assert bad.rcode() == dns.rcode.BADVERS
        assert bad.edns == 0
        assert not bad.answer


async def test_other_opcodes_are_not_implemented() -> None:
    """Only QUERY and UPDATE are (RFC 1035 section 4.1.1)."""
    async with serving() as server:
        for opcode in (1, 2, 4, 6, 15):
            reply = await raw(server, b"\0\1" + bytes((opcode << 3,)) + b"\0\0\1\0\0\0\0\0\0\0\0\6\0\1")
            assert reply[3] & 15 == dns.rcode.NOTIMP
            assert reply[2] == 0x80 | opcode << 3


async def test_a_signed_question_gets_a_signed_answer() -> None:
    """Source: RFC 8945 section 5.3. dnspython checks the signature of the answer."""
    async with serving() as server:
        query = dns.message.make_query(ZONE, "SOA")
        query.use_tsig(SIGNER)
        for tcp in (False, True):
            answer = await ask(server, query, tcp=tcp)
            assert answer.had_tsig
            assert len(answer.answer) == 1


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("signer", "error"),
    [
        (dns.tsig.Key("enactor.", b"x" * 32, "hmac-sha256"), dns.tsig.PeerBadSignature),
        (dns.tsig.Key("stranger.", SECRET, "hmac-sha256"), dns.tsig.PeerBadKey),
        (dns.tsig.Key("enactor.", SECRET, "hmac-sha512"), dns.tsig.PeerBadKey),
    ],
)
async def test_a_question_that_is_signed_wrongly_is_not_answered(
    signer: dns.tsig.Key, error: type[Exception], tcp: bool
) -> None:
    """NOTAUTH, with the fault in an unsigned TSIG record and no records (RFC 8945 section 5.2), cache or not."""
    async with serving() as server:
        assert (await look_up(server, ZONE, "SOA", tcp=tcp)).answer
        query = dns.message.make_query(ZONE, "SOA", use_edns=False)
        query.use_tsig(signer)
        with pytest.raises(error):
            await ask(server, query, tcp=tcp)
        reply = await raw(server, query.to_wire())
        assert reply[3] & 15 == dns.rcode.NOTAUTH
        assert reply[6:10] == bytes(4)
        assert (await look_up(server, ZONE, "SOA", tcp=tcp)).answer


@pytest.mark.parametrize("offset_s", [-400, 400])
async def test_a_question_of_another_time_is_told_the_time(offset_s: int) -> None:
    """NOTAUTH with BADTIME, signed, and without records (RFC 8945 section 5.2.3)."""
    async with serving(clock=lambda: time.time() + offset_s) as server:
        query = dns.message.make_query(ZONE, "SOA")
        query.use_tsig(SIGNER)
        with pytest.raises(dns.tsig.PeerBadTime):
            await ask(server, query)


async def test_what_is_cached_is_forgotten_when_the_zone_changes() -> None:
    """An answer given after an update is acknowledged shows the update, over UDP and TCP."""
    async with serving() as server:
        for number in range(1, 20):
            message = update()
            message.replace("www", 5, "A", f"192.0.2.{number}")
            assert await apply(server, message) == "NOERROR"
            for tcp in (False, True, False, True):
                answer = await look_up(server, f"www.{ZONE}", tcp=tcp)
                assert texts(answer) == [f"www.{ZONE} 5 IN A 192.0.2.{number}"]
        assert server.queries == 19 * 4
        assert server.updates == server.updates_applied == 19
        assert await serial(server) == 20


async def test_a_cached_answer_is_not_given_to_another_question() -> None:
    """Types, flags and EDNS are told apart, also where their bytes differ as two cases of a letter do."""
    async with serving() as server:
        await put(server, "www 5 A 192.0.2.1")
        head, name = b"\0\1%b\0\1\0\0\0\0\0\0", b"\3www\7example\4test\0"
        for qtype in (0x0041, 0x0061, 1):
            reply = await raw(server, head % b"\1\0" + name + qtype.to_bytes(2, "big") + b"\0\1")
            assert reply[12 : 12 + len(name) + 2] == name + qtype.to_bytes(2, "big")
            assert reply[2] & 1 == 1
        assert (await raw(server, head % b"\0\0" + name + b"\0\1\0\1"))[2] & 1 == 0


async def test_cached_answers_differ_by_edns_size() -> None:
    """Two sizes whose bytes differ as two cases of a letter do, with an answer between them."""
    async with serving() as server:
        await put(server, *(f"{34:09} 5 A 192.0.2.{number}" for number in range(34)))
        for size, truncated in ((0x0261, False), (0x0241, True), (0x0261, False)):
            query = dns.message.make_query(f"{34:09}.{ZONE}", "A")
            query.use_edns(0, 0, size)
            answer = await ask(server, query)
            assert bool(answer.flags & dns.flags.TC) == truncated


async def test_a_signature_counts_towards_the_size_of_an_answer() -> None:
    """An answer that fits only unsigned is truncated when it must be signed, and still within the limit."""
    async with serving() as server:
        await put(server, *(f"{29:09} 5 A 192.0.2.{number}" for number in range(29)))
        for signer, truncated in ((None, False), (SIGNER, True)):
            query = dns.message.make_query(f"{29:09}.{ZONE}", "A", use_edns=False)
            if signer is not None:
                query.use_tsig(signer)
            answer = await ask(server, query)
            assert bool(answer.flags & dns.flags.TC) == truncated
            assert answer.wire is not None
            assert len(answer.wire) <= 512


async def test_a_signed_question_is_judged_anew_each_time() -> None:
    """Its answer is never taken from the cache: the same bytes are BADTIME later."""
    now = time.time()
    query = dns.message.make_query(ZONE, "SOA")
    query.use_tsig(SIGNER)
    wire = query.to_wire()
    async with serving(clock=lambda: now) as server:
        assert (await raw(server, wire))[3] & 15 == dns.rcode.NOERROR
        now += 1000
        assert (await raw(server, wire))[3] & 15 == dns.rcode.NOTAUTH


async def test_any_returns_what_stands_at_the_name() -> None:
    """QTYPE * may return all of it (RFC 8482 section 4 leaves the choice)."""
    async with serving() as server:
        await put(server, "www 5 A 192.0.2.1", "www 6 TXT hello")
        assert len((await look_up(server, f"www.{ZONE}", "ANY", tcp=True)).answer) == 2


async def test_ports_of_udp_and_tcp_are_the_same_and_a_taken_one_is_a_clear_error() -> None:
    """Port 0 takes one free port for both; a port in use is an OSError that names it."""
    async with serving() as server:
        assert server.port > 0
        other = EmbeddedServer(zones=[ZONE], keys=[], state_dir=None)
        with pytest.raises(OSError, match=rf"127\.0\.0\.1:{server.port} .*in use"):
            await other.start("127.0.0.1", server.port)
        await other.close()


async def test_many_questions_at_once_are_all_answered() -> None:
    """Pipelined questions on one connection come back in full, each with its own id."""
    async with serving() as server, asyncio.timeout(LIMIT_S * 4):
        wire = await Wire.open(server)
        body = dns.message.make_query(ZONE, "SOA").to_wire()[2:]
        wire.send(*(number.to_bytes(2, "big") + body for number in range(5000)))
        seen = {int.from_bytes((await wire.receive())[:2], "big") for _ in range(5000)}
        assert seen == set(range(5000))
        await wire.close()
