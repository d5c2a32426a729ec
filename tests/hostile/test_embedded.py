"""The embedded server faces a network: no client makes it raise, hang, or hold more than its limits."""

import asyncio
import contextlib
import gc
import os
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import dns.message
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enactord.dns_server import EmbeddedServer
from enactord.dns_server.responder import Responder
from enactord.wire.tsig import sign
from tests.embedded_lab import KEY, LIMIT_S, ZONE, Wire, look_up, put, serving
from tests.hostile.effort import FACTOR, damaged, tries
from tests.property.test_embedded_parser import NOW, SAMPLES, zone

QUESTION = dns.message.make_query(ZONE, "SOA", use_edns=False).to_wire()
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset."""


def header(*, opcode: int = 0, counts: Sequence[int] = (1, 0, 0, 0)) -> bytes:
    return b"\0\7" + bytes((opcode << 3, 0)) + b"".join(count.to_bytes(2, "big") for count in counts)


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


NAME_ZONE = b"\7example\4test\0\0\6\0\1"
LOOPS = [
    header() + b"\xc0\x0c\0\1\0\1",  # a question that is its own end
    header(counts=(1, 0, 0, 1)) + NAME_ZONE + b"\xc0\x1c\0\1\0\1\0\0\0\0\0\0",  # an owner that points to itself
    header(counts=(1, 0, 1, 0), opcode=5) + NAME_ZONE + b"\1a\xc0\x1c\0\1\0\1\0\0\0\0\0\4\1\1\1\1",
    header(counts=(1, 2, 0, 0)) + NAME_ZONE + b"\xc0\x2a\0\1\0\1\0\0\0\0\0\2\xc0\x1c\xc0\x28\0\1\0\1\0\0\0\0\0\0",
    header() + b"\xff\xff\xff" + b"\0\1\0\1",
    header(counts=(0xFFFF,) * 4) + NAME_ZONE,
    header(counts=(1, 0, 0xFFFF, 0), opcode=5) + NAME_ZONE + b"\0\0\1\0\1\0\0\0\0\0\0" * 5000,
    header(counts=(1, 0, 0, 0)) + b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\x3f" + b"d" * 63,
]
SEEDS = [*SAMPLES, *LOOPS, QUESTION]
TOKENS = [
    b"\xc0\x0c",
    b"\xc0\xff",
    b"\xff\xff",
    b"\0",
    b"\x3f",
    b"\0\xfa\0\xff",
    b"\0\x29",
    b"\0\xfb\0\1",
    b"\0\xff\0\1",
]
messages = st.binary(max_size=80) | damaged(SEEDS, tokens=TOKENS) | st.sampled_from(SEEDS)


async def answers(server: EmbeddedServer) -> None:
    """A good question is answered over UDP and TCP, in the time of any other."""
    for tcp in (False, True):
        async with asyncio.timeout(LIMIT_S):
            assert (await look_up(server, ZONE, "SOA", tcp=tcp)).answer


async def settles(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(LIMIT_S * 6):
        while not condition():
            await asyncio.sleep(0.01)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextlib.asynccontextmanager
async def leaving_nothing(**options: Any) -> AsyncIterator[EmbeddedServer]:
    """A server that must end with as many tasks and file descriptors as there were; it reports no bug of its own."""
    tasks, files = len(asyncio.all_tasks()), descriptors()
    async with serving(**options) as server:
        yield server
        await answers(server)
    await settles(lambda: len(asyncio.all_tasks()) == tasks and descriptors() <= files and server.connections == 0)


@tries(25, costly=True)
@given(st.lists(messages, min_size=1, max_size=30))
@example(LOOPS)
@example([b"", b"\0", bytes(65507)])
def test_any_datagrams(datagrams: list[bytes]) -> None:
    """Datagrams of any bytes are answered by responses alone, with the ids that were sent, and the server goes on."""

    async def run() -> None:
        async with leaving_nothing() as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect((server.host, server.port))
                for datagram in datagrams:
                    client.send(datagram)
                await answers(server)  # by then those before it have been read
                sent = {datagram[:2] for datagram in datagrams}
                with contextlib.suppress(BlockingIOError):
                    while True:
                        reply = client.recv(65535)
                        assert reply[:2] in sent
                        assert len(reply) >= 12
                        assert reply[2] & 0x80

    asyncio.run(run())


@tries(25, costly=True)
@given(
    parts=st.lists(messages.map(framed) | messages | st.sampled_from([b"\xff\xff", b"\0\0" * 50, b"\0"]), max_size=12),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=4),
    end=st.sampled_from(["close", "half-close", "reset", "stay"]),
)
@example(parts=[framed(message) for message in LOOPS], cuts=[1, 50], end="half-close")
@example(parts=[b"\xff\xff" + bytes(65534)], cuts=[4096], end="half-close")
@example(parts=[b"\0\0" * 100_000], cuts=[65536], end="half-close")
def test_any_streams(parts: list[bytes], cuts: list[int], end: str) -> None:
    """Streams of any bytes, cut anywhere, ended in any way, leave no connection, and the server goes on."""

    async def run() -> None:
        async with leaving_nothing() as server:
            wire = await Wire.open(server)
            stream, position, turn = b"".join(parts), 0, 0
            with contextlib.suppress(ConnectionError):
                while position < len(stream):
                    size = cuts[turn % len(cuts)]
                    wire.writer.write(stream[position : position + size])
                    await asyncio.wait_for(wire.writer.drain(), LIMIT_S)
                    position, turn = position + size, turn + 1
                    if turn % 20 == 0:
                        await asyncio.sleep(0)
                if end == "half-close":
                    wire.writer.write_eof()
                    async with asyncio.timeout(LIMIT_S):
                        replies = await wire.reader.read()
                    check_replies(replies)
            if end == "reset":
                wire.writer.transport.abort()
            if end != "stay":
                await wire.close()
                await settles(lambda: server.connections == 0)
            await answers(server)
            if end == "stay":
                await wire.close()

    asyncio.run(run())


def check_replies(stream: bytes) -> None:
    """The server's side of a connection is whole messages, each a response."""
    position = 0
    while position < len(stream):
        length = int.from_bytes(stream[position : position + 2], "big")
        message = stream[position + 2 : position + 2 + length]
        assert len(message) == length >= 12
        assert message[2] & 0x80
        position += 2 + length


async def test_slow_clients_in_number_keep_nobody_out() -> None:
    """Clients that drip a message that never ends hold no more connections than allowed, and go when time is up."""
    async with leaving_nothing(connections_max=40, idle_timeout_s=1.0) as server:
        slow: list[Wire] = []
        for number in range(300):
            wire = await Wire.open(server)
            wire.writer.write(b"\xff")  # half a length of 65,280
            slow.append(wire)
            assert server.connections <= 41
            if number % 60 == 0:
                await answers(server)
                for other in slow:
                    if not other.writer.transport.is_closing():
                        other.writer.write(b"\xff")
        await answers(server)
        await settles(lambda: server.connections == 0)  # dripping does not count as being heard of
        for wire in slow:
            await wire.close()


@pytest.mark.parametrize("goodbye", ["reset", "close", "stay"])
async def test_connections_by_the_thousand(goodbye: str) -> None:
    """Thousands that come and go, or stay, cost neither memory nor descriptors that are not given back."""
    async with leaving_nothing(connections_max=64) as server:
        await crowd(server, 100, goodbye)
        await settles(lambda: goodbye == "stay" or server.connections == 0)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(10 * min(FACTOR, 10)):
                await crowd(server, 100, goodbye)
                assert server.connections <= 65
            await answers(server)
            await settles(lambda: goodbye == "stay" or server.connections <= 1)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 300_000
        finally:
            tracemalloc.stop()


async def crowd(server: EmbeddedServer, count: int, goodbye: str) -> None:
    """Connect so many at once, each with a part of a message, and leave."""
    loop = asyncio.get_running_loop()
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.setblocking(False)
        if goodbye == "reset":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    await asyncio.gather(*(loop.sock_connect(one, (server.host, server.port)) for one in sockets))
    for number, one in enumerate(sockets):
        with contextlib.suppress(OSError):
            one.send(framed(QUESTION)[: number % 40])
    if goodbye == "stay":
        await asyncio.sleep(0)
    for one in sockets:
        one.close()


async def test_answers_that_nobody_takes_are_bounded() -> None:
    """Clients that ask for large answers and read none: together they hold no more than their buffers."""
    async with leaving_nothing() as server:
        await put(server, *(f"big 5 A 10.0.{number >> 8}.{number & 255}" for number in range(500)))
        question = framed(dns.message.make_query(f"big.{ZONE}", "A", use_edns=False).to_wire())
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as sockets:
            greedy = [sockets.enter_context(socket.socket()) for _ in range(4)]
            for one in greedy:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.setblocking(False)
                await loop.sock_connect(one, (server.host, server.port))
            gc.collect()
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                for one in greedy:
                    with contextlib.suppress(BlockingIOError):
                        one.send(question * 1500)  # 12 MB of answers
                asked = server.queries
                await settles(lambda: server.queries > asked)
                await answers(server)
                # Each connection: one write buffer above its limit, one answer, one read.
                assert tracemalloc.get_traced_memory()[0] - before < 4 * 700_000
            finally:
                tracemalloc.stop()
        await settles(lambda: server.connections == 0)


def flooded(questions: Iterator[bytes]) -> int:
    """The most memory that a responder held on to, or needed, while it was asked, in bytes."""
    served = zone()
    responder = Responder({served.origin: served}, [KEY], clock=lambda: NOW, udp_bytes_max=4096)
    gc.collect()
    tracemalloc.start()
    try:
        for question in questions:
            assert responder.respond(question, over_tcp=False) is not None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_long_questions_without_end_are_not_kept() -> None:
    """Whoever sends questions of 60 KB, each another, does not fill the memory with them."""
    large = header(counts=(1, 0, 0, 1)) + NAME_ZONE + b"\0\0\x10\0\1\0\0\0\0" + (60_000).to_bytes(2, "big")
    assert flooded(large + number.to_bytes(60_000, "big") for number in range(300)) < 1_000_000


def test_questions_without_end_fill_a_bounded_cache() -> None:
    """What is kept of answers stays within the cache's bytes, however many names are asked for."""
    label = b"\x3f" + b"a" * 63
    questions = (header() + label * 3 + b"\x08" + f"{number:08x}".encode() + NAME_ZONE for number in range(40_000))
    assert flooded(questions) < 15_000_000


@tries(25, costly=True)
@given(st.lists(damaged([SAMPLES[-1]], tokens=TOKENS), min_size=1, max_size=20))
def test_broken_updates_with_a_good_signature(bodies: list[bytes]) -> None:
    """A key that may write sends nonsense: each message is refused as a whole, or makes a zone that answers."""

    async def run() -> None:
        async with leaving_nothing(clock=lambda: float(NOW)) as server:
            wire = await Wire.open(server)
            for body in bodies:
                if len(body) >= 12:
                    wire.send(sign(body[:10] + b"\0\0" + body[12:], KEY, now_s=NOW)[0][:65535])
            wire.writer.write_eof()
            async with asyncio.timeout(LIMIT_S):
                check_replies(await wire.reader.read())
            await wire.close()

    asyncio.run(run())
