"""Limits of the embedded server's connections: no client can hold it up or fill its memory."""

import asyncio
import socket
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.zone
import pytest

from tests.embedded_lab import LIMIT_S, SIGNER, ZONE, Wire, apply, look_up, put, serving, texts, update

pytestmark = pytest.mark.real_time

SOA_QUERY = dns.message.make_query(ZONE, "SOA", use_edns=False).to_wire()


async def test_a_message_may_come_in_pieces() -> None:
    """TCP gives no boundaries: any split of the bytes is the same messages (RFC 7766 section 8)."""
    async with serving() as server:
        wire = await Wire.open(server)
        framed = len(SOA_QUERY).to_bytes(2, "big") + SOA_QUERY
        for size in (1, 2, 3, 7, len(framed) + 1):
            stream = framed * 5
            for position in range(0, len(stream), size):
                wire.writer.write(stream[position : position + size])
                await wire.writer.drain()
                await asyncio.sleep(0)
            for _ in range(5):
                assert (await wire.receive())[:2] == SOA_QUERY[:2]
        await wire.close()


async def test_an_idle_connection_is_closed() -> None:
    """Also one that keeps sending parts of a message that never ends."""
    async with serving(idle_timeout_s=0.1) as server:
        silent, dripping = await Wire.open(server), await Wire.open(server)
        closed = asyncio.create_task(dripping.ended())
        while not closed.done():
            dripping.writer.write(b"\xff")
            await asyncio.sleep(0.02)
        assert await closed
        assert await silent.ended()
        assert server.connections_dropped == 2
        assert server.connections == 0
        await silent.close()
        await dripping.close()


async def test_connections_are_limited() -> None:
    """The one that has been silent longest makes room; a new client always gets in."""
    async with serving(connections_max=5) as server:
        wires = []
        for _ in range(12):
            wires.append(await Wire.open(server))
            wires[-1].send(SOA_QUERY)
            await wires[-1].receive()
            wires[0].send(SOA_QUERY)
            await wires[0].receive()  # the first is never the most silent
            assert server.connections <= 5
        assert server.connections_dropped == 7
        assert await wires[1].ended()
        for wire in wires:
            await wire.close()


async def test_a_client_that_takes_no_answers_is_not_served_on() -> None:
    """It stops being read before questions or answers fill memory, others go on, and in the end it is dropped."""
    async with serving(idle_timeout_s=1.0) as server:
        await put(server, *(f"big 5 A 10.0.{number >> 8}.{number & 255}" for number in range(2000)))
        question = dns.message.make_query(f"big.{ZONE}", "A", use_edns=False).to_wire()
        framed = len(question).to_bytes(2, "big") + question
        loop = asyncio.get_running_loop()
        with socket.socket() as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.setblocking(False)
            await loop.sock_connect(greedy, (server.host, server.port))
            sent = 0

            async def flood() -> None:
                nonlocal sent
                while True:
                    await loop.sock_sendall(greedy, framed * 100)
                    sent += 100
                    assert sent < 1_000_000, "the server reads without end"
                    assert (await look_up(server, ZONE, "SOA")).answer

            with pytest.raises((TimeoutError, ConnectionError)):
                await asyncio.wait_for(flood(), LIMIT_S * 2)
            async with asyncio.timeout(LIMIT_S):
                while server.connections:
                    await asyncio.sleep(0.05)
        assert server.queries < 2000 + sent


async def test_a_client_that_closes_its_side_gets_its_answers(tmp_path: Path) -> None:
    """Questions sent before a half-close are answered, then the server closes (RFC 7766 section 6.2.3)."""
    async with serving(tmp_path) as server:
        wire = await Wire.open(server)
        message = update()
        message.add("www", 5, "A", "192.0.2.1")
        wire.send(SOA_QUERY, *[message.to_wire()] * 200, SOA_QUERY)  # more than may wait at once
        wire.writer.write_eof()
        assert len([await wire.receive() for _ in range(202)]) == 202
        assert await wire.ended()
        await wire.close()


async def test_many_updates_in_flight_are_all_answered_and_share_flushes(tmp_path: Path) -> None:
    """More than one connection may have waiting; none is lost, each is applied once."""
    async with serving(tmp_path) as server:
        wire = await Wire.open(server)
        messages = []
        for number in range(400):
            message = update()
            message.id = number
            message.absent(f"n{number}")
            message.add(f"n{number}", 5, "A", "192.0.2.1")
            messages.append(message.to_wire())
        wire.send(*messages)

        async def take() -> list[bytes]:
            return [await wire.receive() for _ in messages]

        taker = asyncio.create_task(take())
        most = 0
        while not taker.done():
            most = max(most, server.updates_waiting)
            await asyncio.sleep(0)
        replies = await taker
        assert 0 < most <= 64  # of one connection
        assert {int.from_bytes(reply[:2], "big") for reply in replies} == set(range(400))
        assert {reply[3] & 15 for reply in replies} == {0}
        assert server.updates_applied == 400
        for number in range(400):
            assert (await look_up(server, f"n{number}.{ZONE}")).answer, number
        assert server.update_groups < 200
        await wire.close()


async def test_a_full_queue_of_updates_stops_reading(tmp_path: Path) -> None:
    """A connection adds nothing to a queue that is full, and goes on when it is not: none of its updates is lost."""
    async with serving(tmp_path, queue_bytes_max=1) as server:
        wires = [await Wire.open(server) for _ in range(4)]
        message = update()
        message.add("www", 5, "A", "192.0.2.1")
        for wire in wires:
            wire.send(*[message.to_wire()] * 50)
        most = 0

        async def take(wire: Wire) -> None:
            for _ in range(50):
                assert (await wire.receive())[3] & 15 == 0

        takers = [asyncio.create_task(take(wire)) for wire in wires]
        while not all(taker.done() for taker in takers):
            most = max(most, server.updates_waiting)
            await asyncio.sleep(0)
        await asyncio.gather(*takers)
        assert 0 < most <= len(wires)
        assert server.updates_applied == 200
        for wire in wires:
            await wire.close()


async def test_a_transfer_is_whole_signed_and_in_many_messages() -> None:
    """dnspython takes the signed AXFR and rebuilds the zone that was put in (RFC 5936, RFC 8945 section 5.3.1)."""
    async with serving() as server:
        count = 0
        for start in range(0, 3000, 500):
            await put(server, *(f"n{number} 5 A 192.0.2.1" for number in range(start, start + 500)))
            count += 500
        text = "x" * 250
        await put(server, *(f'big 5 TXT "{number} {text}"' for number in range(150)))

        def take() -> tuple[dns.zone.Zone, int]:
            messages = list(
                dns.query.xfr(
                    server.host, ZONE, port=server.port, timeout=LIMIT_S, lifetime=LIMIT_S * 2,
                    keyring={SIGNER.name: SIGNER}, keyname=SIGNER.name, keyalgorithm=SIGNER.algorithm, relativize=False,
                )
            )  # fmt: skip
            return dns.zone.from_xfr(messages, relativize=False), len(messages)

        zone, messages = await asyncio.to_thread(take)
        assert len(zone.nodes) == count + 2
        assert messages > 3
        big = zone.get_rdataset(f"big.{ZONE}", "TXT")
        assert big is not None
        assert len(big) == 150


async def test_transfers_need_a_key_and_tcp() -> None:
    """Unsigned or over UDP: REFUSED; not the apex of a zone: NOTAUTH (RFC 5936 section 2.2.1)."""
    async with serving() as server:
        assert (await look_up(server, ZONE, "AXFR", tcp=True)).rcode() == dns.rcode.REFUSED
        query = dns.message.make_query(ZONE, "AXFR")
        query.use_tsig(SIGNER)
        assert (await dns.asyncquery.udp(query, server.host, LIMIT_S, server.port)).rcode() == dns.rcode.REFUSED
        assert (await look_up(server, f"www.{ZONE}", "AXFR", tcp=True)).rcode() == dns.rcode.NOTAUTH


async def test_a_slow_transfer_shows_one_moment_of_the_zone() -> None:
    """Updates that are applied while it runs are not in it, and its serial is that of its start."""
    async with serving() as server:
        text = "x" * 200
        for start in range(0, 20000, 200):
            await put(server, *(f'n{number} 5 TXT "{text}"' for number in range(start, start + 200)))
        query = dns.message.make_query(ZONE, "AXFR")
        query.use_tsig(SIGNER)
        wire = await Wire.open(server)
        wire.send(query.to_wire())
        first = await wire.receive()
        message = update()
        for number in range(100):
            message.delete(f"n{number + 19900}")
        assert await apply(server, message) == "NOERROR"
        names, answers = set(), 0
        reply = first
        while True:
            parsed = dns.message.from_wire(
                reply, keyring=False, question_only=False, one_rr_per_rrset=True, ignore_trailing=False
            )
            answers += len(parsed.answer)
            names |= {rrset.name for rrset in parsed.answer}
            if parsed.answer[-1].rdtype == dns.rdatatype.SOA and answers > 1:
                break
            reply = await wire.receive()
        assert len(names) == 20001
        assert parsed.answer[-1][0].serial == 101
        wire.send(SOA_QUERY)
        assert (await wire.receive())[:2] == SOA_QUERY[:2]  # the connection goes on after a transfer
        await wire.close()
        assert not texts(await look_up(server, f"n19950.{ZONE}", "TXT"))
