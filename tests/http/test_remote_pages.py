"""Long answers come to a laptop page by page, and are as if they had come at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from enactord.core.kv import Delete, Put
from enactord.operations.documents import (
    contents_document,
    diff_plans,
    endpoint_document,
    find_entries,
    history_document,
    owned_contents,
)
from tests.http.laptop import Laptop
from tests.http.site import serving
from tests.tokens import tokens
from tests.world import ZONE, World, fleet, plan

NAMES = 2500
OTHER = "other.test."
NAME = f"n00003.{ZONE}"
OURS = tokens(alice="operator")


@pytest.fixture
async def world() -> Any:
    made = World(zones=(ZONE, OTHER))
    yield made
    await made.close()


def by_name(found: Mapping[str, Any], kind: str) -> list[str]:
    return [change["name"] for change in found[kind]]


async def test_names_contents_and_changes_are_whole_and_in_order(world: World, tmp_path: Path) -> None:
    """Two zones of different sizes; more names than a page holds; changes in every bucket."""
    member = await world.add("a")
    first = fleet(NAMES, 1, addresses=1) | fleet(30, 1, zone=OTHER)
    second = fleet(NAMES - 40, 2, addresses=1) | fleet(60, 1, zone=OTHER)
    await world.publish(plan(first))
    await world.applied(1, timeout_s=60)
    await world.publish(plan(second))
    view = await world.view()
    contents = {}
    for generation in (1, 2):
        manifest = view.manifest(generation)
        assert manifest is not None
        contents[generation] = await world.plans.endpoints(manifest)
    async with serving(member, tokens=OURS) as site:
        laptop = Laptop(site.url, tmp_path)
        changes = await laptop.ok("diff", "1", "2")
        assert changes == {"from": 1, "to": 2} | diff_plans(contents[1], contents[2])
        assert [len(changes[kind]) for kind in ("added", "removed", "changed")] == [30, 40, NAMES - 40]
        whole = await laptop.ok("show", "1", "--full")
        assert list(whole["content"].items()) == list(contents_document(contents[1]).items())
        await world.applied(2, timeout_s=60)
        assert await laptop.ok("diff", "2") == {"from": "ledger", "to": 2, "added": [], "removed": [], "changed": []}
        view = await world.view()
        assert await laptop.ok("diff", "1") == {"from": "ledger", "to": 1} | diff_plans(
            owned_contents(view), contents[1]
        )
        entries = find_entries(view)
        assert len(entries) == NAMES + 20
        listed = (await laptop.ok("endpoints"))["endpoints"]
        assert listed == [endpoint_document(entry, list(world.servers)) for entry in entries.values()]
        assert len((await laptop.ok("endpoints", "--zone", OTHER))["endpoints"]) == 60


async def test_a_damaged_plan_is_told(world: World, tmp_path: Path) -> None:
    """As by the config: which it is, and that reading it whole is a no. The store is asked, whatever the cache has."""
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    async with serving(member, tokens=OURS) as site:
        laptop = Laptop(site.url, tmp_path)
        assert (await laptop.ok("show", "1"))["readable"] is True
        await world.store.transact((), (Delete(key=f"{world.keys.root}chunks/", prefix=True),))
        document = await laptop.ok("show", "1")
        assert (document["readable"], document["endpoints"], "chunk" in document["problem"]) == (False, 10, True)
        await world.store.transact((), (Put(key=world.keys.plan(1), value=b"junk"),))
        await world.until(lambda: member.enactor.cache.items[world.keys.plan(1)].value == b"junk")
        for words in (("show", "1"), ("show", "1", "--full"), ("diff", "1")):
            assert (await laptop.no(1, *words))["kind"] == "unreadable", words


async def test_a_history_is_joined_without_a_seam(world: World, tmp_path: Path) -> None:
    """More plans than a page tells of: each change once, wherever the pages part."""
    member = await world.add("a")
    there = fleet(10)
    for generation in range(1, 121):
        content = dict(there)
        if generation // 7 % 3 == 2:
            content.pop(NAME)
        else:
            content[NAME] = [f"10.8.0.{1 + generation // 7}"]
        await world.publish(plan(content))
    await world.applied(120)
    expected = await history_document(await world.view(), world.plans, NAME, list(world.servers))
    assert len(expected["plans"]) > 10
    assert any(change["content"] is None for change in expected["plans"])
    async with serving(member, tokens=OURS) as site:
        laptop = Laptop(site.url, tmp_path)
        assert await laptop.ok("history", NAME) == expected
        assert [each["generation"] for each in (await laptop.ok("plans"))["plans"]] == list(range(120, 0, -1))


async def test_the_audit_log_is_read_as_far_as_asked(world: World, tmp_path: Path) -> None:
    member = await world.add("a")
    async with serving(member, tokens=OURS) as site:
        laptop = Laptop(site.url, tmp_path)
        for number in range(3):
            await site.post("/api/v1/freeze", json={"reason": f"{number}"})
        told = await laptop.ok("audit", "--limit", "2")
        assert ([act["reason"] for act in told["audit"]], told["complete"]) == (["2", "1"], False)
        told = await laptop.ok("audit", "--limit", "600")
        assert ([act["reason"] for act in told["audit"]], told["complete"]) == (["2", "1", "0"], True)
        assert (await laptop.ok("audit", "--since", "2100-01-01"))["audit"] == []
