"""HTTP of an enactor, over the wire of a running site: whatever comes, it answers in good form, and goes on."""

import asyncio
import contextlib
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from enactord.core.events import StepFailed
from tests.hostile.effort import damaged, tries
from tests.hostile.test_plan import DOCUMENT, values
from tests.hostile.test_plan import TOKENS as JSON_TOKENS
from tests.http.site import TOKEN, Site, serving
from tests.world import Member, World, fleet, plan

LIMIT_S = 10.0
QUIET_S = 0.1
"""How long a connection is listened to that may have been asked for nothing."""
PLAN_BYTES_MAX = 200_000

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
OVER = contextlib.suppress(TimeoutError, ConnectionError)
"""The server hung up, or has said all that it says."""

HEAD = f"Host: enactor\r\nContent-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
PATHS = [
    *(
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/status",
        "/api/v1/plans",
        "/api/v1/plans/1",
        "/api/v1/openapi.json",
    ),
    *("/api/v1/plans/1/diff?limit=5", "/api/v1/endpoints?search=n0&limit=3", "/api/v1/endpoints/n00001.example.test."),
    *("/api/v1/endpoints/n00001.example.test./history", "/api/v1/events?after=0", "/nowhere"),
]
ORDERS = ["plans", "freeze", "thaw", "rollback"]


def post(path: str, body: bytes, *more: bytes) -> bytes:
    lines = [f"POST /api/v1/{path} HTTP/1.1\r\n".encode(), HEAD, *more, b"Content-Length: %d\r\n\r\n" % len(body)]
    return b"".join(lines) + body


CHUNKED = b"POST /api/v1/plans HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SEEDS = [
    *(f"GET {path} HTTP/1.1\r\n".encode() + HEAD + b"\r\n" for path in PATHS),
    *(
        f"{method} /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for method in ("HEAD", "PUT", "OPTIONS", "TRACE")
    ),
    *(post(order, b'{"reason": "drill", "generation": 1}') for order in ORDERS[1:]),
    post("plans", DOCUMENT),
    CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + bytes(200),
]
TOKENS = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b" ",
        b":",
        b"%",
        b"%00",
        b"%ff",
        b"%ED%A0%80",
        b"/../",
        b"//",
        b"?",
        b"#",
        b"*",
    ),
    *(b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n"),
    *(
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"ffffffff\r\n",
    ),
    *(
        b"Content-Encoding: gzip\r\n",
        b"Expect: 100-continue\r\n",
        b"Expect: wat\r\n",
        b"Connection: close\r\n",
        b"Range: bytes=9-\r\n",
    ),
    *(
        b"X: " + b"y" * 9000 + b"\r\n",
        b"X: y\r\n" * 200,
        b"Authorization: Bearer \xff\r\n",
        b"Last-Event-ID: \xc3\xa9\r\n",
    ),
    b"Accept-Encoding: gzip;q=nan, *\r\n",
]


@asynccontextmanager
async def site_of(**settings: Any) -> AsyncIterator[tuple[Site, Member]]:
    """A site of one enactor with one plan; in the end it is alive, and nothing that was sent was a mistake of ours."""
    world = World()
    try:
        member = await world.add("a")
        await world.publish(plan(fleet(20)))
        await world.applied(1)
        limits: dict[str, Any] = {
            "requests_per_s": 1e6,
            "plan_bytes_max": PLAN_BYTES_MAX,
            "events_clients_max": 4096,
            "hosts": ("x",),
        }
        async with serving(member, **limits | settings) as site:
            yield site, member
            async with asyncio.timeout(LIMIT_S):
                await site.get("/healthz")
                for path in ("/readyz", "/api/v1/status", "/api/v1/plans", "/api/v1/endpoints"):
                    strict(json.dumps(await site.get(path)))
        assert [failed.detail for failed in member.recorder.of(StepFailed)] == []
    finally:
        await world.close()


def strict(text: str) -> Any:
    """Decode JSON as other languages do: without NaN and infinities, and of whole characters."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text.encode("utf-8")
    return json.loads(text, parse_constant=refuse)


@asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[Wire]]:
    """Connections that are dropped in the end."""
    wires = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield wires
    finally:
        for _, writer in wires:
            writer.transport.abort()


async def send(port: int, data: bytes, *, quiet_s: float = QUIET_S) -> bytes:
    """Send bytes, and return what comes back until nothing more comes."""
    found = b""
    async with connected(port, 1) as [(reader, writer)]:
        with OVER:
            writer.write(data)
            async with asyncio.timeout(LIMIT_S):
                await writer.drain()
            while len(found) < 1_000_000:
                async with asyncio.timeout(quiet_s):
                    more = await reader.read(65_536)
                if not more:
                    break
                found += more
    return found


def check(answer: bytes) -> int:
    """The first answer is HTTP; a no is a problem document and no failure of ours. Returns its status, 0 for none."""
    if not answer:
        return 0
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    version, status = lines[0].split(" ", 2)[:2]
    assert version.startswith("HTTP/")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
    assert int(status) < 500, answer[:500]
    if int(status) >= 400 and int(status) != 417:  # that one is the library's own
        assert headers["content-type"].startswith("application/problem+json"), answer[:500]
        length = int(headers["content-length"])
        assert length < 100_000
        if body[:length]:
            assert strict(body[:length].decode("utf-8"))["status"] == int(status)
    return int(status)


@tries(8, costly=True)
@given(st.lists(damaged(SEEDS, tokens=TOKENS + JSON_TOKENS) | st.binary(max_size=100), min_size=20, max_size=60))
def test_any_bytes(requests: list[bytes]) -> None:
    """Requests that are damaged in any way are answered by a problem document, or not at all."""

    async def run() -> None:
        async with site_of() as (site, _):
            for answer in await asyncio.gather(*(send(site.port, request) for request in requests)):
                check(answer)

    asyncio.run(run())


async def test_every_line_in_a_head() -> None:
    """Each line that is odd, in a head that is else good, is passed over or refused in good form."""
    async with site_of() as (site, _):
        heads = [b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\n", b"POST /api/v1/thaw HTTP/1.1\r\n" + HEAD]
        requests = [head + token + end for head in heads for token in TOKENS for end in (b"\r\n", b"\r\n\r\n")]
        for answer in await asyncio.gather(*(send(site.port, request) for request in requests)):
            check(answer)


documents = values | st.dictionaries(
    st.sampled_from(["reason", "author", "mode", "generation", "x", "\ud800", "schema", "endpoints"]),
    values,
    max_size=4,
)


@tries(8, costly=True)
@given(st.lists(st.tuples(st.sampled_from(ORDERS), documents, st.booleans()), min_size=20, max_size=60))
def test_any_order(orders: list[tuple[str, Any, bool]]) -> None:
    """An order of any JSON is carried out or refused; what is kept of it can be shown to anybody."""

    async def run() -> None:
        async with site_of() as (site, _):
            for path, document, ascii_only in orders:
                body = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
                status = check(await send(site.port, post(path, body, b"Connection: close\r\n"), quiet_s=LIMIT_S))
                assert status in (200, 201, 400, 403, 409, 413, 422), (path, document)

    asyncio.run(run())


words = st.text(max_size=30) | st.sampled_from(
    ["1", "0", "-1", "9" * 30, "1e3", "NaN", ".", "*.", "a" * 300, "x.example.test."]
)
keys = st.sampled_from(["search", "state", "zone", "after", "limit", "before", "from", "x", ""])


@tries(8, costly=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["plans", "endpoints", "status", "plans/{}", "plans/{}/diff", "endpoints/{}", "endpoints/{}/history"]
            ),
            words,
            st.lists(st.tuples(keys, words), max_size=3),
        ),
        min_size=20,
        max_size=60,
    )
)
def test_any_question(questions: Sequence[tuple[str, str, list[tuple[str, str]]]]) -> None:
    """A path and a query of any text are answered, or refused as what they are: a mistake of the client."""

    async def run() -> None:
        async with site_of() as (site, _):
            for page, word, query in questions:
                path = "/api/v1/" + page.format(quote(word, safe=""))
                pairs = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query)
                request = f"GET {path}?{pairs} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
                assert check(await send(site.port, request, quiet_s=LIMIT_S)) in (200, 400, 404, 409)

    asyncio.run(run())


async def test_bodies_without_end_are_cut() -> None:
    """A body that is longer than allowed ends by 413 and the connection, whatever length it said it had."""
    async with site_of() as (site, _):
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            sizes = await asyncio.gather(*(flood(site.port, start, unit) for start, unit in FLOODS for _ in range(3)))
            assert max(sizes) < 200_000_000  # what sockets, and reading on after the answer, take
            assert tracemalloc.get_traced_memory()[1] - before < 30_000_000
        finally:
            tracemalloc.stop()


FLOODS = [
    (CHUNKED, b"ffff\r\n" + bytes(0xFFFF) + b"\r\n"),
    (CHUNKED, b"1\r\n \r\n" * 10_000),
    (b"POST /api/v1/plans HTTP/1.1\r\n" + HEAD + b"Content-Length: 999999999999\r\n\r\n", bytes(65_536)),
    (b"POST /api/v1/freeze HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n", bytes(65_536)),
    (b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n", bytes(65_536)),
    (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y\r\n" * 10_000),
    (b"GET /", b"a" * 65_536),
    (b"", b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000),
]
"""Beginnings of requests, and what is then sent as long as it is taken; of the last, the answers are not read."""


async def flood(port: int, start: bytes, unit: bytes) -> int:
    """Send without end, until the server hangs up or takes no more; returns how much it took."""
    sent = 0
    async with connected(port, 1) as [(_, writer)]:
        with OVER:
            async with asyncio.timeout(LIMIT_S / 2):
                writer.write(start)
                while True:
                    writer.write(unit)
                    async with asyncio.timeout(0.5):
                        await writer.drain()
                    sent += len(unit)
    return sent


async def drip(writer: asyncio.StreamWriter, reader: asyncio.StreamReader, unit: bytes) -> bytes:
    """Send a byte now and then until the server ends it; returns what it said, also where a reset came behind it."""
    said = bytearray()

    async def listen() -> None:
        with OVER:
            while data := await reader.read(65_536):
                said.extend(data)

    listening = asyncio.ensure_future(listen())
    with contextlib.suppress(ConnectionError):
        while not listening.done():
            writer.write(unit)
            await asyncio.wait({listening}, timeout=0.2)
    await listening
    return bytes(said)


async def test_slow_clients_hold_nobody_up() -> None:
    """Bodies that drip end by 408 in the time that a request has; meanwhile others are answered."""
    async with site_of(request_timeout_s=1.0) as (site, _):

        async def slow(start: bytes, unit: bytes) -> bytes:
            async with connected(site.port, 1) as [(reader, writer)]:
                writer.write(start)
                return await drip(writer, reader, unit)

        starts: list[Callable[[], Awaitable[bytes]]] = [
            lambda: slow(post("plans", b" " * 100_000)[:-100_000], b" "),
            lambda: slow(CHUNKED, b"1\r\n \r\n"),
            lambda: slow(post("thaw", b"{}", b"Expect: 100-continue\r\n")[:-2], b""),
        ]
        async with asyncio.timeout(LIMIT_S * 3):
            dripping = [asyncio.ensure_future(start()) for start in starts for _ in range(20)]
            for _ in range(10):
                await site.get("/api/v1/status")
                await asyncio.sleep(0.02)
            for answer in await asyncio.gather(*dripping):
                assert check(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")) == 408


async def test_an_operator_is_let_in_while_others_publish_slowly() -> None:
    """Bodies of plans that never come take no turn from an order that is there: an emergency needs its freeze."""
    async with site_of(request_timeout_s=60.0) as (site, _), connected(site.port, 10) as wires:
        for _, writer in wires:
            writer.write(post("plans", b" " * 1000)[:-900])
        await site.get("/api/v1/status")  # by then those before it have been read
        async with asyncio.timeout(LIMIT_S):
            await site.post("/api/v1/freeze", json={"reason": "drill"})
            await site.post("/api/v1/thaw")
            await site.post("/api/v1/rollback", 201, json={"reason": "drill", "generation": 1})


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_who_holds_connections_keeps_no_probe_out() -> None:
    """Connections that ask for nothing, or never finish asking, make room: a probe that fails would end the process."""
    async with site_of(connections_max=16) as (site, _), connected(site.port, 200) as wires:
        for _, writer in wires[::2]:
            writer.write(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(20):
            assert check(await send(site.port, HEALTH, quiet_s=LIMIT_S)) == 200


async def test_more_requests_than_connections_are_told_so() -> None:
    """Where every connection has a request, one more is answered by 503 at once; when they end, the next is served."""
    async with site_of(connections_max=16, request_timeout_s=60.0) as (site, _):
        async with contextlib.AsyncExitStack() as busy:
            for _ in range(16):
                ((reader, writer),) = await busy.enter_async_context(connected(site.port, 1))
                writer.write(post("thaw", b" " * 1000, b"Expect: 100-continue\r\n")[:-900])
                async with asyncio.timeout(LIMIT_S):
                    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await answered(site.port, 503)
        await answered(site.port, 200)


async def answered(port: int, status: int) -> None:
    """Wait until a probe is answered so."""
    async with asyncio.timeout(LIMIT_S):
        while status_of(await send(port, HEALTH, quiet_s=LIMIT_S)) != status:
            await asyncio.sleep(0.02)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0
