"""The network of the chaos runs does what it says: holds and lets go late, drops, cuts in the middle."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import dns.update
import pytest

from tests.servers.dns_server import free_port
from tests.servers.proxy import Relay, is_batch

LIMIT_S = 30.0


@dataclass
class Upper:
    """A server that answers each chunk with itself, in capitals, and remembers what it got."""

    got: bytearray = field(default_factory=bytearray)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.got += data
                writer.write(data.upper())
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def has(self, expected: bytes) -> None:
        async with asyncio.timeout(LIMIT_S):
            while bytes(self.got) != expected:
                await asyncio.sleep(0.01)


class UpperDatagrams(asyncio.DatagramProtocol):
    """The same over UDP."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data.upper(), addr)


@pytest.fixture
async def upper() -> AsyncIterator[Upper]:
    made = Upper(port=free_port())
    server = await asyncio.start_server(made.serve, "127.0.0.1", made.port)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        UpperDatagrams, local_addr=("127.0.0.1", made.port)
    )
    yield made
    transport.close()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def relay(upper: Upper) -> AsyncIterator[Relay]:
    async with Relay("127.0.0.1", upper.port, listen_port=free_port(), udp=True) as made:
        yield made


async def said(reader: asyncio.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(LIMIT_S):
        return await reader.readexactly(count)


async def test_what_is_held_arrives_late_though_its_sender_has_gone(relay: Relay, upper: Upper) -> None:
    """As packets on their way do: the connection was given up long before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(b"one")
    assert await said(reader, 3) == b"ONE"
    relay.hold(down=False)
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.readexactly(3)
    writer.transport.abort()
    assert upper.got == b"one"
    relay.heal()
    await upper.has(b"onetwo")


async def test_answers_alone_can_be_held(relay: Relay, upper: Upper) -> None:
    """The request arrives and its answer does not, until later."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    relay.hold(up=False)
    writer.write(b"one")
    await upper.has(b"one")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.readexactly(3)
    relay.heal()
    assert await said(reader, 3) == b"ONE"
    writer.close()


async def test_what_is_dropped_never_arrives_and_its_connection_is_reset(relay: Relay, upper: Upper) -> None:
    """New connections too; those made after that work."""
    old_reader, old = await asyncio.open_connection("127.0.0.1", relay.port)
    old.write(b"one")
    assert await said(old_reader, 3) == b"ONE"
    relay.drop()
    new_reader, new = await asyncio.open_connection("127.0.0.1", relay.port)
    old.write(b"two")
    new.write(b"three")
    await asyncio.sleep(0.2)
    relay.heal()
    for reader in (old_reader, new_reader):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await said(reader, 1)
    assert upper.got == b"one"
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(b"four")
    assert await said(reader, 4) == b"FOUR"
    for end in (old, new, writer):
        end.close()


async def test_a_connection_is_cut_in_the_middle(relay: Relay, upper: Upper) -> None:
    """After so many bytes, whatever they belong to; and so is each that comes after it."""
    relay.cut(5)
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"a whole message")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await said(reader, 15)
        writer.close()
    assert len(upper.got) <= 10


async def test_messages_can_be_picked(upper: Upper) -> None:
    """Questions pass, updates of endpoints are held, and what follows one on its connection waits with it."""
    question = b"\0\x0c" + b"qq" + bytes([0, 0]) + bytes(8)
    fence, endpoint = dns.update.Update("example.test"), dns.update.Update("example.test")
    fence.replace("_enactord", 0, "TXT", "fence")
    endpoint.delete("www", "A")
    update = endpoint.to_wire(prepend_length=True)
    assert not is_batch(question[2:])
    assert not is_batch(fence.to_wire())
    assert is_batch(endpoint.to_wire())
    async with Relay("127.0.0.1", upper.port, framed=True) as relay:
        relay.hold(down=False, which=is_batch)
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(question + update + question)
        assert await said(reader, len(question)) == question.upper()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.readexactly(1)
        relay.heal()
        assert await said(reader, len(update + question)) == (update + question).upper()
        writer.close()


class Heard(asyncio.DatagramProtocol):
    """A client over UDP."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.queue.put_nowait(data)


async def test_datagrams_are_held_and_dropped_too(relay: Relay) -> None:
    """Held ones arrive late, dropped ones never."""
    transport, heard = await asyncio.get_running_loop().create_datagram_endpoint(
        Heard, remote_addr=("127.0.0.1", relay.port)
    )
    async with asyncio.timeout(LIMIT_S):
        transport.sendto(b"one")
        assert await heard.queue.get() == b"ONE"
        relay.drop()
        transport.sendto(b"two")
        await asyncio.sleep(0.2)
        relay.heal()
        relay.hold()
        transport.sendto(b"three")
        await asyncio.sleep(0.2)
        assert heard.queue.empty()
        relay.heal()
        assert await heard.queue.get() == b"THREE"
    transport.close()
