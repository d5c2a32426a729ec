"""A zone is taken out: nobody works on it any more, its records go or stay, and nothing else is touched."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from enactord.core.errors import StoreDown, ZoneDown
from enactord.core.fence import NO_PLAN, parse_fence
from enactord.core.kv import Put, Result, prefix_end
from enactord.core.plan import read_plan
from enactord.core.records import Records
from enactord.operations.audit import acts
from enactord.operations.documents import status_document
from enactord.operations.publishing import Published, publish
from enactord.operations.retiring import Retired, retire
from enactord.operations.scope import Denied, Scope
from enactord.store.plans import Orders
from tests.world import SCOPE, ZONE, Breaking, World, fleet, plan, tolerant

OLD = "old.test."
NAMES = fleet(20, zone=OLD)
FOREIGN = Records(ttl_s=30, a=(b"\xc0\x00\x02\x01",), aaaa=())


class Left(World):
    """A scope of two zones; one of them has left every config."""

    async def begin(self) -> None:
        member = await self.add("a")
        await self.publish(plan(fleet(10) | NAMES))
        await self.until(lambda: member.enactor.cache.applied(OLD) == 1 == member.enactor.cache.applied(ZONE))
        self.old = member.enactor.ports.zones[OLD]

    async def leave(self) -> None:
        await self.stop("a")
        self.old_server = self.servers.pop(OLD)
        del self.zone_settings[OLD]
        member = await self.add("b")
        await self.until(lambda: [one.id for one in member.enactor.cache.enactors] == ["b"])

    @property
    def at_hand(self) -> Scope:
        limits = tolerant()
        return Scope(store=self.store, name=SCOPE, zones=list(self.servers), limits=limits, clock=self.clock)

    async def keys_of_old(self) -> list[str]:
        found = await self.store.range(self.keys.root, prefix_end(self.keys.root))
        return [item.key[len(self.keys.root) :] for item in found.items if OLD in item.key]


@pytest.fixture
async def world() -> AsyncIterator[Left]:
    made = Left(zones=(ZONE, OLD))
    await made.begin()
    yield made
    await made.close()


def sentence(done: Retired | Denied) -> str:
    assert isinstance(done, Denied), done
    return str(done.refusals[0])


async def test_a_zone_that_an_enactor_has_in_its_config_is_not_retired(world: Left) -> None:
    """It would open it again at once; the refusal names who has it."""
    before = await world.keys_of_old()
    assert "a has old.test. in its config" in sentence(await retire(world.at_hand, OLD, reason="x", author="y"))
    assert await world.keys_of_old() == before
    await world.leave()
    await world.store.transact((), (Put(key=world.keys.configured("c"), value=b"junk"),))
    assert "c has old.test." in sentence(await retire(world.at_hand, OLD, reason="x", author="y"))


async def test_a_zone_of_another_version_is_not_retired(world: Left) -> None:
    """What this version cannot read it does not delete."""
    await world.leave()
    fence = world.keys.fence(OLD)
    await world.store.transact((), (Put(key=fence, value=b"fence 2\nmore"),))
    before = await world.keys_of_old()
    said = sentence(await retire(world.at_hand, OLD, reason="x", author="y"))
    assert "kind fence in format 2, and this version reads format 1" in said
    assert await world.keys_of_old() == before


async def test_a_retired_zone_leaves_the_store_and_is_served_on(world: Left) -> None:
    """Its keys go, with a note of who did it and why; what it serves stays, and so do the other zones."""
    await world.leave()
    done = await retire(world.at_hand, OLD, reason="moved", author="alice")
    assert done == Retired(zone=OLD, generation=1, names=20, removed=None, kept=(), fence=None, planned=20)
    assert await world.keys_of_old() == [f"control/retired/{OLD}"]
    ((entered,), _) = await acts(world.at_hand, limit=9)
    assert (entered.author, entered.deed, entered.reason) == ("alice", "zone retire", "moved")
    assert entered.facts == {"zone": OLD, "names": 20, "removed": 0, "fence": 1}
    status = status_document(await world.view(), [ZONE], world.clock.now())
    assert [zone["zone"] for zone in status["zones"]] == [ZONE]
    (gone,) = status["retired"]
    assert (gone["zone"], gone["reason"], gone["author"], gone["generation"]) == (OLD, "moved", "alice", 1)
    assert {name: list(world.old_server.serve(name).records.texts()) for name in NAMES} == NAMES
    await world.publish(plan(fleet(10, 2)))
    await world.until(lambda: world.serves(fleet(10, 2)))
    assert "knows nothing of old.test." in sentence(await retire(world.at_hand, OLD, reason="x", author="y"))


async def test_records_are_removed_under_a_fence_that_stays(world: Left) -> None:
    """What somebody else put there is left, and named. The fence stands above what any late write requires."""
    await world.leave()
    foreign, alias, gone = sorted(NAMES)[:3]
    world.old_server.put_foreign(foreign, records=FOREIGN)
    world.old_server.put_foreign(alias, cname="x.elsewhere.")
    world.old_server.put_foreign(gone)
    done = await retire(world.at_hand, OLD, reason="off", author="alice", ports=world.old)
    assert isinstance(done, Retired)
    assert done.removed == tuple(sorted(NAMES)[3:])
    assert {kept.name: kept.why.partition(":")[0] for kept in done.kept} == {
        foreign: "somebody put other records there",
        alias: "somebody put a CNAME to x.elsewhere. there",
    }
    served = {name for name in NAMES if not world.old_server.serve(name).empty}
    assert served == {foreign, alias}
    fence = parse_fence(world.old_server.fence)
    assert fence == done.fence
    assert fence is not None
    assert (fence.plan, fence.hold) == (NO_PLAN, "")
    assert fence.generation > 1
    assert await world.keys_of_old() == [f"control/retired/{OLD}"]


async def test_a_removal_that_cannot_be_known_forgets_nothing(world: Left) -> None:
    """The server does not answer: the zone stays in the store, held in the DNS, and the same command ends it."""
    await world.leave()
    before = await world.keys_of_old()

    class Silent:
        def __getattr__(self, name: str) -> object:
            return getattr(world.old.zone, name)

        async def read(self, names: object) -> dict[str, object]:
            return {}

    silent = replace(world.old, zone=Silent())  # type: ignore[arg-type]
    with pytest.raises(ZoneDown, match="run it again"):
        await retire(world.at_hand, OLD, reason="off", author="alice", ports=silent)
    assert await world.keys_of_old() == before
    done = await retire(world.at_hand, OLD, reason="off", author="alice", ports=world.old)
    assert isinstance(done, Retired)
    assert len(done.removed or ()) == 20


async def test_records_that_were_removed_are_entered_also_where_the_store_keeps_the_zone(world: Left) -> None:
    """An enactor raised the fence meanwhile: the zone stays in the store, and its names are empty all the same."""
    await world.leave()

    class Raised:
        """A store in which the fence was raised by the time the zone is to be forgotten."""

        async def transact(self, compares: Sequence[Any], operations: Sequence[Any]) -> Any:
            if any(compare.key == world.keys.fence(OLD) for compare in compares):
                return Result(succeeded=False, revision=0)
            return await world.store.transact(compares, operations)

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

    late = replace(world.at_hand, store=Raised())
    assert "was raised meanwhile" in sentence(await retire(late, OLD, reason="off", author="alice", ports=world.old))
    (entered, *_), _ = await acts(world.at_hand, limit=9)
    assert (entered.deed, entered.author, entered.reason) == ("zone retire", "alice", "off")
    assert (entered.facts["zone"], entered.facts["removed"], entered.facts["end"]) == (OLD, 20, "broke off")
    assert "raised meanwhile" in sentence(await retire(late, OLD, reason="off", author="alice", ports=world.old))
    assert len([act for act in (await acts(world.at_hand, limit=9))[0] if act.deed == "zone retire"]) == 1


@pytest.mark.parametrize("left", range(2))
async def test_a_retirement_that_breaks_off_is_ended_by_the_next(world: Left, left: int) -> None:
    """Its fence leaves the store last."""
    await world.leave()
    broken = replace(world.at_hand, store=Breaking(world.store, left))
    with pytest.raises(StoreDown):
        await retire(broken, OLD, reason="off", author="alice")
    assert f"fences/{OLD}" in await world.keys_of_old()
    assert isinstance(await retire(world.at_hand, OLD, reason="off", author="alice"), Retired)
    assert await world.keys_of_old() == [f"control/retired/{OLD}"]


async def test_a_zone_that_comes_back_goes_on_above_its_fence(world: Left) -> None:
    """It is retired no longer, and is owned again only where nothing foreign stands."""
    await world.leave()
    await retire(world.at_hand, OLD, reason="off", author="alice", ports=world.old)
    await world.stop("b")
    world.servers[OLD] = world.old_server
    back = Left(zones=(ZONE, OLD))
    back.store, back.plans, back.servers = world.store, world.plans, world.servers
    member = await back.add("c")
    for generation in range(2, 6):
        await back.publish(plan(fleet(10, generation) | fleet(20, generation, zone=OLD)))
    await back.until(lambda: back.serves(fleet(20, 5, zone=OLD)), 20.0)
    assert status_document(await world.view(), [ZONE, OLD], world.clock.now())["retired"] == []
    await back.until(lambda: member.enactor.cache.applied(OLD) == 5)
    await back.stop("c")


async def test_names_of_a_zone_that_left_weigh_on_no_guard(world: Left) -> None:
    """A plan without them removes nothing that the enactors or the publisher see to."""
    await world.leave()
    draft = read_plan(plan(fleet(10, 2)))
    done = await publish(world.at_hand, draft, Orders())
    assert isinstance(done, Published), done
    await world.until(lambda: world.serves(fleet(10, 2)))
