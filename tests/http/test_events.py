"""Server-sent events: what happens arrives, a reader that comes back misses nothing, a slow one costs nothing."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from enactord.config.tables import HttpConfig
from tests.http.site import Site, serving
from tests.tokens import bearer, tokens
from tests.world import World, fleet, plan

EVENTS = "/api/v1/events"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def listen(site: Site, **headers: str) -> aiohttp.ClientResponse:
    answer = await site.client.get(EVENTS, headers=headers, timeout=aiohttp.ClientTimeout(total=60))
    assert answer.status == 200
    assert answer.content_type == "text/event-stream"
    return answer


async def news_until(site: Site, wanted: str, **headers: str) -> list[tuple[str, str]]:
    """Return id and kind of each piece of news up to the first of a kind."""
    found: list[tuple[str, str]] = []
    fields: dict[str, str] = {}
    answer = await listen(site, **headers)
    async with asyncio.timeout(20):
        async for line in answer.content:
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
                continue
            if fields.get("event") == "news":
                found.append((fields["id"], json.loads(fields["data"])["event"]))
                if found[-1][1] == wanted:
                    break
            fields = {}
    answer.close()
    return found


async def test_what_happens_arrives_and_nothing_is_missed_by_who_comes_back(world: World) -> None:
    """A plan that was applied while nobody listened is told to a reader that says where it was."""
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    async with serving(member) as site:
        first = asyncio.create_task(news_until(site, "plan.applied"))
        await asyncio.sleep(0.2)
        await world.publish(plan(fleet(10, 2)))
        seen = await first
        last = seen[-1][0]
        await world.publish(plan(fleet(10, 3)))
        await world.applied(3)
        again = await news_until(site, "plan.applied", **{"Last-Event-ID": last})
        numbers = [int(number.rpartition("-")[2]) for number, _ in (seen[-1], *again)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "each once, in order, none left out"
        assert "plan.published" in {kind for _, kind in again}


async def test_readers_that_read_nothing_do_not_hold_what_happens(world: World) -> None:
    """Thousands of events past twenty such readers: the feed keeps its bound, and the enactor goes on."""
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    async with serving(member) as site:
        silent = [await listen(site) for _ in range(20)]
        for generation in range(2, 40):
            await world.publish(plan(fleet(10, generation)))
            await asyncio.sleep(0.02)
        await world.applied(39)
        assert (await site.get("/healthz"))["status"]
        for answer in silent:
            answer.close()


async def test_a_stream_ends_with_the_token_that_opened_it(world: World) -> None:
    """Where reading needs a token, one that was taken away is told nothing more; the others go on."""
    member = await world.add("a")
    both = tokens(alice="operator", viewer_1="viewer")
    async with serving(member, tokens=both, read_needs_token=True) as site:
        opened = [await site.client.get("/api/v1/events", headers=bearer(name)) for name in ("viewer_1", "alice")]
        for answer in opened:
            await answer.content.readuntil(b"event: state")
        site.pages.retune(HttpConfig(tokens=tokens(alice="operator"), read_needs_token=True))
        async with asyncio.timeout(30):
            while await opened[0].content.readany():
                pass
        await world.publish(plan(fleet(10, 1)))
        await opened[1].content.readuntil(b"plan.published")
        for answer in opened:
            answer.close()
