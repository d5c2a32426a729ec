"""The pipelined connection, against a small server that delays, reorders and resets."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from enactord.wire.stream import STALL_S, MaybeReceived, NeverSent, Stream
from tests.servers.tcp_peer import Peer, serving

pytestmark = pytest.mark.real_time

TIMEOUT_S = 5.0
SHORT_S = 0.2


async def echo(peer: Peer) -> None:
    while True:
        peer.reply(await peer.receive())


def request(text: str) -> Callable[[int], bytes]:
    return lambda message_id: message_id.to_bytes(2, "big") + bytes(10) + text.encode()


def text_of(reply: bytes) -> str:
    return reply[12:].decode()


async def ask(stream: Stream, text: str, timeout_s: float = TIMEOUT_S) -> str:
    return text_of(await stream.ask(request(text), timeout_s))


def stream_to(port: int, in_flight_max: int = 16) -> Stream:
    return Stream("127.0.0.1", port, in_flight_max=in_flight_max)


async def test_stream_matches_replies_that_come_in_another_order() -> None:
    """The message id alone says whose reply it is."""

    async def backwards(peer: Peer) -> None:
        for one in reversed([await peer.receive() for _ in range(10)]):
            peer.reply(one)

    async with serving(backwards) as port:
        stream = stream_to(port)
        texts = [str(k) for k in range(10)]
        assert await asyncio.gather(*(ask(stream, text) for text in texts)) == texts
        assert stream.load == 0
        await stream.close()


async def test_stream_reads_replies_cut_anywhere() -> None:
    """TCP has no messages: a reply may come in pieces, and pieces of several at once."""

    async def dribble(peer: Peer) -> None:
        frames = b""
        for _ in range(3):
            one = await peer.receive()
            frames += len(one).to_bytes(2, "big") + one
        for start in range(0, len(frames), 7):
            peer.writer.write(frames[start : start + 7])
            await peer.writer.drain()
            await asyncio.sleep(0.001)

    async with serving(dribble) as port:
        stream = stream_to(port)
        assert await asyncio.gather(*(ask(stream, text) for text in "abc")) == ["a", "b", "c"]
        await stream.close()


async def test_stream_keeps_its_bound_and_the_order_of_callers() -> None:
    """No more than `in_flight_max` requests are unanswered at the server; the rest wait their turn."""
    seen: list[list[str]] = []

    async def by_fours(peer: Peer) -> None:
        while True:
            batch = [await peer.receive() for _ in range(4)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await peer.receive()
            seen.append([text_of(one) for one in batch])
            for one in batch:
                peer.reply(one)

    async with serving(by_fours) as port:
        stream = stream_to(port, in_flight_max=4)
        await asyncio.gather(*(ask(stream, str(k)) for k in range(12)))
        assert seen == [[str(k) for k in range(start, start + 4)] for start in (0, 4, 8)]
        await stream.close()


async def test_stream_sends_many_in_one_write() -> None:
    """A round of questions comes back in the order it was asked."""
    async with serving(echo) as port:
        stream = stream_to(port)
        bodies = [bytes(10) + str(k).encode() for k in range(16)]
        replies = await stream.ask_all(bodies, TIMEOUT_S)
        assert [text_of(reply or b"") for reply in replies] == [str(k) for k in range(16)]
        await stream.close()


async def test_stream_gives_no_id_to_two_requests() -> None:
    """With 20,000 requests in flight at once, ids drawn blindly would collide hundreds of times."""
    async with serving(echo) as port:
        stream = stream_to(port, in_flight_max=20_000)
        bodies = [bytes(10) + str(k).encode() for k in range(20_000)]
        replies = await stream.ask_all(bodies, 4 * TIMEOUT_S)
        assert [text_of(reply or b"") for reply in replies] == [str(k) for k in range(20_000)]
        await stream.close()


async def test_stream_says_never_sent_when_nobody_listens() -> None:
    """A refused connection proves that nothing was received."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NeverSent):
        await ask(stream_to(port), "a")


async def test_stream_says_maybe_received_after_a_reset() -> None:
    """A reset after sending leaves open what the server did, for every request in flight."""

    async def reset(peer: Peer) -> None:
        await peer.receive()
        await peer.receive()
        peer.reset()

    async with serving(reset, echo) as port:
        stream = stream_to(port)
        outcomes = await asyncio.gather(ask(stream, "a"), ask(stream, "b"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [MaybeReceived, MaybeReceived]
        assert all(isinstance(one, MaybeReceived) and one.lost for one in outcomes)
        assert await ask(stream, "c") == "c", "the next request opens a new connection"
        await stream.close()


async def test_stream_reconnects_after_the_server_closed_it() -> None:
    """Servers close idle connections; that costs no request."""

    async def one_only(peer: Peer) -> None:
        peer.reply(await peer.receive())

    async with serving(one_only) as port:
        stream = stream_to(port)
        for text in "abc":
            assert await ask(stream, text) == text
            await asyncio.sleep(0.02)
        await stream.close()


async def test_stream_gives_up_a_connection_whose_server_sends_no_more() -> None:
    """A server that ended its side and reads nothing: what waits to be sent to it keeps no caller, nor the loop."""

    async def ended(peer: Peer) -> None:
        await peer.receive()
        peer.writer.write_eof()
        await asyncio.sleep(3600)

    async with serving(ended, echo) as port:
        stream = stream_to(port, in_flight_max=512)
        with pytest.raises(MaybeReceived) as caught:
            await stream.ask_all([bytes(60_000)] * 512, TIMEOUT_S)
        assert caught.value.lost, "not when the time ran out"
        assert await ask(stream, "a") == "a"
        await stream.close()


async def test_stream_opens_another_connection_before_it_was_told_that_one_ended() -> None:
    """A transport that ends tells so in a later turn of the loop; who asks before waits for no such turn."""
    async with serving(echo) as port:
        stream = stream_to(port)
        assert await ask(stream, "a") == "a"
        (link,) = stream._links
        link.abort()
        assert await ask(stream, "b") == "b"
        await stream.close()


async def test_stream_drops_a_half_open_connection() -> None:
    """A connection that stays silent to the deadline is not used again."""

    async def silent(peer: Peer) -> None:
        while True:
            await peer.receive()

    async with serving(silent, echo) as port:
        stream = stream_to(port)
        with pytest.raises(MaybeReceived) as caught:
            await ask(stream, "a", SHORT_S)
        assert not caught.value.lost
        assert await ask(stream, "b") == "b"
        assert stream.load == 0
        await stream.close()


async def test_stream_never_gives_a_late_reply_to_another() -> None:
    """An id that is still unanswered is not used again, so a late reply finds nobody."""

    async def first_late(peer: Peer) -> None:
        late = await peer.receive()
        while True:
            one = await peer.receive()
            peer.reply(one)
            if text_of(one) == "last":
                peer.reply(late)

    async with serving(first_late) as port:
        stream = stream_to(port, in_flight_max=8)
        slow = asyncio.create_task(ask(stream, "late", SHORT_S))
        await asyncio.sleep(0)
        for k in range(20):
            assert await ask(stream, str(k)) == str(k)
        with pytest.raises(MaybeReceived):
            await slow
        assert stream.load == 1, "the slot of an abandoned request stays taken"
        assert await ask(stream, "last") == "last"
        async with asyncio.timeout(TIMEOUT_S):
            while stream.load:
                await asyncio.sleep(0.001)
        await stream.close()


async def test_stream_waits_for_a_turn_only_until_the_deadline() -> None:
    """A caller that got no turn in time sent nothing, and its place is free for others."""

    async def hold(peer: Peer) -> None:
        one = await peer.receive()
        await asyncio.sleep(2 * SHORT_S)
        peer.reply(one)
        await echo(peer)

    async with serving(hold) as port:
        stream = stream_to(port, in_flight_max=1)
        holder = asyncio.create_task(ask(stream, "holder"))
        await asyncio.sleep(0)
        with pytest.raises(NeverSent):
            await ask(stream, "waiting", SHORT_S)
        assert await holder == "holder"
        assert await ask(stream, "next") == "next"
        assert stream.load == 0
        await stream.close()


async def test_stream_gives_back_what_a_cancelled_caller_held() -> None:
    """Cancelled callers, waiting for a turn or for a reply, leave no slot taken once replies are in."""

    async def slow_echo(peer: Peer) -> None:
        while True:
            one = await peer.receive()
            await asyncio.sleep(0.05)
            peer.reply(one)

    async with serving(slow_echo) as port:
        stream = stream_to(port, in_flight_max=4)
        callers = [asyncio.create_task(ask(stream, str(k))) for k in range(6)]
        await asyncio.sleep(0.02)
        callers[0].cancel()
        callers[5].cancel()
        done = await asyncio.gather(*callers, return_exceptions=True)
        assert done[1:5] == ["1", "2", "3", "4"]
        assert stream.load == 0
        await stream.close()


async def test_stream_drops_a_peer_that_speaks_no_dns() -> None:
    """A frame too short for a DNS header ends the connection."""

    async def nonsense(peer: Peer) -> None:
        await peer.receive()
        peer.writer.write(b"\0\3abc")
        await peer.receive()

    async with serving(nonsense) as port:
        stream = stream_to(port)
        with pytest.raises(MaybeReceived):
            await ask(stream, "a")
        await stream.close()


async def test_stream_closed_fails_what_waits() -> None:
    """Closing answers everyone: what was sent may have been received, what waits was not sent."""

    async def silent(peer: Peer) -> None:
        while True:
            await peer.receive()

    async with serving(silent) as port:
        stream = stream_to(port, in_flight_max=1)
        sent = asyncio.create_task(ask(stream, "sent"))
        waiting = asyncio.create_task(ask(stream, "waiting"))
        await asyncio.sleep(0.05)
        await stream.close()
        outcomes = await asyncio.gather(sent, waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [MaybeReceived, NeverSent]
        assert stream.load == 0


async def test_stream_passes_on_what_the_builder_raises() -> None:
    """A request that cannot be built costs no slot and no connection."""

    def fail(_: int) -> bytes:
        raise ValueError("too large")

    async with serving(echo) as port:
        stream = stream_to(port)
        with pytest.raises(ValueError, match="too large"):
            await stream.ask(fail, TIMEOUT_S)
        assert stream.load == 0
        assert await ask(stream, "a") == "a"
        await stream.close()


# -- several connections, several owners


def spread_to(port: int, *, in_flight_max: int = 4, connections_max: int = 2, idle_s: float = 60.0) -> Stream:
    return Stream(
        "127.0.0.1",
        port,
        in_flight_max=in_flight_max,
        connections_max=connections_max,
        spread_at=2,
        idle_s=idle_s,
    )


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.001)


async def test_stream_opens_a_second_connection_under_load_alone() -> None:
    """Requests one after another share one; many at once spread, and never beyond the bound."""
    seen: list[int] = []

    async with serving(echo) as port:
        stream = spread_to(port, connections_max=3)
        for text in "abcdef":
            assert await ask(stream, text) == text
            seen.append(stream.connections)
        assert set(seen) == {1}
        callers = [asyncio.create_task(ask(stream, text)) for text in "ab"]
        await asyncio.sleep(0)
        assert stream.connections == 1
        callers.append(asyncio.create_task(ask(stream, "c")))
        await asyncio.sleep(0)
        assert stream.connections == 2
        await asyncio.gather(*callers)
        texts = [str(k) for k in range(200)]
        callers = [asyncio.create_task(ask(stream, text)) for text in texts]
        await asyncio.sleep(0)
        assert stream.connections == 3
        assert await asyncio.gather(*callers) == texts
        assert stream.connections == 3
        await stream.close()


async def test_stream_closes_what_is_not_used() -> None:
    """After a while without requests no connection is left; the next request opens one."""
    left = 0

    async def counted(peer: Peer) -> None:
        nonlocal left
        try:
            await echo(peer)
        finally:
            left += 1

    async with serving(counted) as port:
        stream = spread_to(port, idle_s=0.05)
        await asyncio.gather(*(ask(stream, str(k)) for k in range(20)))
        await settled(lambda: stream.connections == 0 and left == 2)
        assert await ask(stream, "a") == "a"
        await stream.close()


async def test_stream_leaves_a_connection_that_hangs_to_what_is_on_it() -> None:
    """New requests go over another one; the late answer still reaches who waits for it."""
    answer = asyncio.Event()

    async def hangs(peer: Peer) -> None:
        one = await peer.receive()
        await answer.wait()
        peer.reply(one)
        await echo(peer)

    async with serving(hangs, echo) as port:
        stream = stream_to(port)
        late = asyncio.create_task(ask(stream, "late"))
        await asyncio.sleep(1.2 * STALL_S)
        for text in "abc":
            assert await ask(stream, text) == text
        assert not late.done()
        answer.set()
        assert await late == "late"
        await stream.close()


async def test_stream_bounds_the_connections_to_a_server_that_hangs() -> None:
    """However many ask, there is one connection more than the bound; all callers end within their own limits."""

    async def silent(peer: Peer) -> None:
        while True:
            await peer.receive()

    async with serving(silent) as port:
        stream = spread_to(port)
        most = 0
        for _ in range(3):
            # Beyond the second look for connections that hang: at the first they may have been silent for too short.
            callers = [asyncio.create_task(ask(stream, str(k), 3.5 * STALL_S)) for k in range(20)]
            while not all(caller.done() for caller in callers):
                most = max(most, stream.connections)
                await asyncio.sleep(0.01)
            outcomes = await asyncio.gather(*callers, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} <= {MaybeReceived, NeverSent}
        assert most == 3
        await settled(lambda: stream.load == 0)
        await stream.close()


async def test_stream_lets_owners_take_turns() -> None:
    """Whoever asks once is answered among the first, however many requests another one has waiting."""
    order: list[str] = []

    async def slowly(peer: Peer) -> None:
        while True:
            one = await peer.receive()
            order.append(text_of(one))
            await asyncio.sleep(0.001)
            peer.reply(one)

    async with serving(slowly) as port:
        stream = Stream("127.0.0.1", port, in_flight_max=4, share_max_ratio=1.0)
        flood = [asyncio.create_task(stream.ask(request("flood"), TIMEOUT_S, owner="a")) for _ in range(200)]
        await asyncio.sleep(0.01)
        for number in range(3):
            before = len(order)
            await stream.ask(request(f"single {number}"), TIMEOUT_S, owner="b")
            assert order.index(f"single {number}") - before <= 8, (
                "at most what was on its way, and one turn of the other"
            )
        await asyncio.gather(*flood)
        await stream.close()


async def test_stream_keeps_half_of_its_places_from_an_owner_that_hangs() -> None:
    """A zone whose messages are never answered holds no more than half, and the others go on over the same server."""

    async def answers_others(peer: Peer) -> None:
        while True:
            one = await peer.receive()
            if text_of(one) != "hung":
                peer.reply(one)

    async with serving(answers_others) as port:
        stream = Stream("127.0.0.1", port, in_flight_max=8)
        await stream.ask(request("first"), TIMEOUT_S, owner="b")
        hung = [asyncio.create_task(stream.ask(request("hung"), TIMEOUT_S, owner="a")) for _ in range(50)]
        for text in range(100):
            assert text_of(await stream.ask(request(str(text)), TIMEOUT_S, owner="b")) == str(text)
        assert not any(task.done() for task in hung)
        for task in hung:
            task.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        await stream.close()


async def test_stream_serves_large_rounds_beside_small_ones() -> None:
    """A round that needs all places waits until they are free, and is not passed by for ever."""
    async with serving(echo) as port:
        stream = stream_to(port, in_flight_max=8)
        stop = asyncio.Event()

        async def small(owner: str) -> None:
            while not stop.is_set():
                await stream.ask(request("small"), TIMEOUT_S, owner=owner)

        beside = [asyncio.create_task(small(str(k))) for k in range(6)]
        for _ in range(5):
            replies = await stream.ask_all([bytes(10) + b"x"] * 8, TIMEOUT_S, owner="large")
            assert None not in replies
        stop.set()
        await asyncio.gather(*beside)
        await stream.close()


async def test_stream_that_is_closed_before_it_connects_ends_its_callers_at_once() -> None:
    """Nobody waits out a time limit for a connection that will never be there."""
    stream = stream_to(1)
    asking = asyncio.create_task(ask(stream, "a", 3600.0))
    await asyncio.sleep(0)  # the connection is wanted, and its task has not begun
    assert stream.connections == 1
    await stream.close()
    with pytest.raises(NeverSent, match="closed"):
        await asyncio.wait_for(asking, TIMEOUT_S)
