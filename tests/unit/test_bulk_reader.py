"""Reading in bulk from servers that are slow, forgetful or not in charge."""

import asyncio
import time
from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from enactord.backends.readers.bulk import BulkReader
from enactord.core.errors import ZoneDown, ZoneUnproved
from enactord.core.records import NO_RECORDS, Records, Served
from tests.servers.tcp_peer import Peer, Script, serving

pytestmark = pytest.mark.real_time

NAMES = [f"n{k:03}.example.test." for k in range(200)]
EXPECTED = {name: Served(records=Records(ttl_s=30, a=(b"\xc0\0\2\1",), aaaa=())) for name in NAMES}
SHORT_S = 0.2


def answer(query: bytes, *, flags: int = dns.flags.AA, rcode: int = 0) -> bytes:
    """192.0.2.1 for A, nothing for AAAA."""
    message = dns.message.make_response(dns.message.from_wire(query))
    message.flags |= flags
    message.set_rcode(dns.rcode.Rcode(rcode))
    question = message.question[0]
    if question.rdtype == 1:
        message.answer.append(dns.rrset.from_text(question.name, 30, "IN", "A", "192.0.2.1"))
    return message.to_wire()


def answering(make: Callable[[bytes], bytes | None] = answer, *, then_close_after: int = 10**9) -> Script:
    async def script(peer: Peer) -> None:
        for _ in range(then_close_after):
            reply = make(await peer.receive())
            if reply is not None:
                peer.reply(reply)

    return script


def reader_of(port: int, timeout_s: float = 5.0) -> BulkReader:
    return BulkReader("127.0.0.1", port, timeout_s=timeout_s, connections=2, in_flight_max=20)


def about(query: bytes) -> str:
    return dns.message.from_wire(query).question[0].name.to_text()


async def test_bulk_read_outlives_connections_that_are_closed() -> None:
    """A server that closes each connection after some answers is asked on until all is answered."""
    async with serving(answering(then_close_after=7)) as port:
        reader = reader_of(port)
        assert await reader.read(NAMES) == EXPECTED
        await reader.close()


async def test_bulk_read_ends_soon_at_a_silent_server() -> None:
    """A server that accepts and says nothing costs about one timeout, however many names were asked for."""
    async with serving(answering(lambda _: None)) as port:
        reader = reader_of(port, SHORT_S)
        begun = time.monotonic()
        with pytest.raises(ZoneDown) as raised:
            await reader.read(NAMES)
        assert raised.type is ZoneDown
        assert time.monotonic() - begun < 5 * SHORT_S
        await reader.close()


async def test_bulk_read_ends_soon_at_a_server_that_answers_in_part() -> None:
    """Where some questions stay open, the pass ends after about one timeout with what it has."""
    async with serving(answering(lambda query: None if about(query)[3] == "5" else answer(query))) as port:
        reader = reader_of(port, SHORT_S)
        begun = time.monotonic()
        found = await reader.read(NAMES)
        assert time.monotonic() - begun < 5 * SHORT_S
        assert found
        assert all(name[3] != "5" and served == EXPECTED[name] for name, served in found.items())
        await reader.close()


@pytest.mark.parametrize("bad", [{"flags": 0}, {"rcode": 2}, {"rcode": 5}, {"flags": dns.flags.AA | dns.flags.TC}])
async def test_bulk_read_leaves_out_what_proves_nothing(bad: dict[str, int]) -> None:
    """An answer without authority, cut, or an error says nothing of the name; empty it would be a false alarm."""
    spoilt = set(NAMES[::3])
    script = answering(lambda query: answer(query, **bad) if about(query) in spoilt else answer(query))
    async with serving(script) as port:
        reader = reader_of(port)
        assert await reader.read(NAMES) == {name: EXPECTED[name] for name in NAMES if name not in spoilt}
        with pytest.raises(ZoneUnproved):  # it answers
            await reader.read(sorted(spoilt))
        await reader.close()


async def test_bulk_read_takes_nxdomain_for_nothing_there() -> None:
    """A name that does not exist is an answer."""

    def nxdomain(query: bytes) -> bytes:
        message = dns.message.make_response(dns.message.from_wire(query))
        message.flags |= dns.flags.AA
        message.set_rcode(dns.rcode.NXDOMAIN)
        return message.to_wire()

    async with serving(answering(nxdomain)) as port:
        reader = reader_of(port)
        assert await reader.read(NAMES[:1]) == {NAMES[0]: Served(records=NO_RECORDS)}
        await reader.close()


async def test_bulk_reads_share_the_connections() -> None:
    """Passes at the same time all finish, within the same bounds."""
    async with serving(answering()) as port:
        reader = reader_of(port)
        found = await asyncio.gather(*(reader.read(NAMES[k::4]) for k in range(4)))
        assert {name: served for part in found for name, served in part.items()} == EXPECTED
        await reader.close()


async def test_bulk_read_without_a_server_is_zone_down() -> None:
    """A refused connection is an error, not an empty answer."""
    async with serving(answering()) as port:
        pass
    with pytest.raises(ZoneDown, match="cannot connect") as raised:
        await reader_of(port).read(NAMES)
    assert raised.type is ZoneDown
