"""Guards have a memory: what plans take away adds up from every baseline of the window, and sums hide nothing."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from enactord.core.baselines import CLOCKS_APART_S, baselines, stamp
from enactord.core.content import pack_address, parse_content
from enactord.core.guards import GUARDS, LIMITS, Limits, closest, look
from enactord.core.guards.kinds import EndpointGuard, Weighing
from enactord.core.ledger import greatest_capacity
from enactord.core.manifest import pack_manifest, unpack_manifest
from enactord.core.measures import Loss, Size
from enactord.core.plan import Manifest, read_plan
from enactord.operations.acts import Denied, How, Published, approve, publish, rollback
from enactord.operations.scope import Scope
from enactord.store.plans import Orders
from enactord.store.weighing import Scales, outlived
from enactord.stores.memory import MemoryStore
from tests.daily import daily
from tests.world import SCOPE

ZONES = ("one.test.", "two.test.", "deep.one.test.", "weighted.test.")
ANSWERS = {"two.test.": 2, "weighted.test.": 0}
WINDOW_S = 300.0
Fleet = dict[str, dict[str, int]]
"""Weight by address, by name."""


class SetClock:
    """A clock that stands until the test moves it."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at


def document(fleet: Mapping[str, Mapping[str, int]], **changes: Any) -> dict[str, Any]:
    endpoints = {
        name: {"ttl_s": 5, "targets": [{"address": a, "weight": w} for a, w in targets.items()]}
        for name, targets in fleet.items()
    }
    return {"schema": "enactord.plan/v1", "scope": SCOPE, "author": "test", "endpoints": endpoints} | changes


@dataclass
class Desk:
    """A scope without enactors, and what was published of it with success."""

    limits: Limits = field(default_factory=lambda: Limits(allow_private=True, velocity_window_s=WINDOW_S))
    clock: SetClock = field(default_factory=SetClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    zones: tuple[str, ...] = ZONES
    answers: dict[str, int] = field(default_factory=lambda: dict(ANSWERS))
    wanted: list[tuple[float, Fleet, bool]] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    """Places in `wanted` of plans that enactors refused."""

    @property
    def scope(self) -> Scope:
        return Scope(
            store=self.store,
            name=SCOPE,
            zones=self.zones,
            limits=self.limits,
            clock=self.clock,
            wait_s=0.0,
            answers=self.answers,
        )

    async def publish(self, fleet: Fleet, *, changes: bool = False, approved: bool = False) -> Published | Denied:
        draft = read_plan(self._changes(fleet) if changes and self.wanted else document(fleet))
        if approved:
            done = await approve(self.scope, draft, author="op", reason="meant")
        else:
            done = await publish(self.scope, draft, Orders())
        if isinstance(done, Published):
            self.wanted.append((self.clock.at, {name: dict(targets) for name, targets in fleet.items()}, approved))
        return done

    def _changes(self, fleet: Fleet) -> dict[str, Any]:
        before = self.wanted[-1][1]
        changed = {name: targets for name, targets in fleet.items() if before.get(name) != targets}
        found = document(changed, base=len(self.wanted))
        found["endpoints"] |= {name: {"withdraw": True} for name in before if name not in fleet}
        return found

    def baselines(self) -> list[Fleet]:
        """Return what was wanted at any moment of the window that ends now, back to what was approved last."""
        found: list[Fleet] = []
        for place in reversed(range(len(self.wanted))):
            at, fleet, approved = self.wanted[place]
            if place in self.refused:
                continue
            found.append(fleet)
            if approved or at <= self.clock.at - WINDOW_S:
                break
        return found


def zone_of(name: str) -> str:
    return max((zone for zone in ZONES if name.endswith("." + zone)), key=len)


def served(name: str, targets: Mapping[str, int], answers: Mapping[str, int]) -> int:
    most = answers.get(zone_of(name), 16)
    usable = [address for address, weight in targets.items() if weight]
    v6 = sum(":" in address for address in usable)
    return len(usable) if len(usable) <= most else min(v6, most) + min(len(usable) - v6, most)


def refused_by(before: Fleet, after: Fleet, answers: Mapping[str, int]) -> set[str]:
    """Say, from the contents of two plans alone, which guards refuse to go from one to the other."""
    found = set()
    for zone in ("", *ZONES):
        names = [name for name in before if not zone or zone_of(name) == zone]
        gone = [name for name in names if name not in after]
        stays = [name for name in names if any((after.get(name) or {}).values())]
        moved = [
            name
            for name in stays
            if any(before[name].values())
            and not {a for a, w in before[name].items() if w} & {a for a, w in after[name].items() if w}
        ]
        if len(gone) > max(1, int(len(names) * 0.2)) or (not zone and gone and not after):
            found.add("endpoints_removed")
        if len(moved) > max(3, int(len(names) * 0.3)):
            found.add("endpoints_replaced")
        if len(names) < 5:
            continue
        weight = sum(sum(before[name].values()) for name in names)
        less = sum(max(0, sum(before[n].values()) - sum(after.get(n, {}).values())) for n in [*gone, *stays])
        counted = [name for name in names if answers.get(zone_of(name), 16)]
        addresses = sum(served(name, before[name], answers) for name in counted)
        fewer = 0
        for name in [*gone, *stays]:
            if name in counted:
                left = served(name, after.get(name, {}), answers)
                fewer += max(0, served(name, before[name], answers) - left)
        if less > weight * 0.3 + 1e-6 or (addresses and fewer > addresses * 0.3 + 1e-6):
            found.add("scope_capacity")
    return found


def a_fleet(rng: random.Random) -> Fleet:
    """Return twenty to sixty names of one to eight addresses, a few of them IPv6, some not served."""
    return {
        f"n{number}.{rng.choice(ZONES)}": _targets(rng, number, rng.randrange(1, 9))
        for number in range(rng.randrange(20, 60))
    }


def _targets(rng: random.Random, number: int, count: int) -> dict[str, int]:
    first = rng.randrange(200)
    return {
        (f"10.{number}.{first}.{i}" if rng.random() < 0.8 else f"2001:db8::{number:x}:{first:x}:{i:x}"): rng.choice(
            [0, 1, 1, 5, 10]
        )
        for i in range(1, count + 1)
    } | {f"10.{number}.{first}.100": 1}


def _mutated(rng: random.Random, fleet: Fleet, boldness: float) -> Fleet:
    """Return a fleet after one of the things that planners do to it, or several."""
    found = {name: dict(targets) for name, targets in fleet.items()}
    for name in list(found):
        if rng.random() > boldness:
            continue
        number = int(name[1:].partition(".")[0]) % 250
        match rng.choice(["remove", "move", "shift", "fewer", "lighter", "heavier", "empty", "more"]):
            case "remove":
                del found[name]
            case "move":
                found[name] = _targets(rng, number, len(found[name]))
            case "shift":
                found[name] = dict(list(found[name].items())[1:]) | {f"10.{number}.250.{rng.randrange(250)}": 5}
            case "fewer":
                found[name] = dict(list(found[name].items())[: max(1, len(found[name]) // 2)])
            case "lighter":
                found[name] = {a: w // 2 for a, w in found[name].items()}
            case "heavier":
                found[name] = {a: w * 2 for a, w in found[name].items()}
            case "empty":
                found[name] = {}
            case "more":
                found |= {f"n9{number}." + name.partition(".")[2]: _targets(rng, number, 3)}
    return found


@pytest.mark.parametrize("seed", daily(range(60), 12))
async def test_a_plan_is_refused_if_and_only_if_a_baseline_of_the_window_refuses_it(seed: int) -> None:
    """Whatever planners publish, at whatever pace: what is accepted is within the limits from every moment on.

    And what is refused is not: no sum of steps refuses what contents allow.
    """
    rng = random.Random(seed)
    desk = Desk()
    fleet = a_fleet(rng)
    assert isinstance(await desk.publish(fleet), Published)
    refused = accepted = 0
    for _ in range(40):
        desk.clock.at += rng.choice([0.5, 5.0, 20.0, 60.0, 400.0])
        earlier = rng.choice(desk.wanted)[1] if rng.random() < 0.1 else desk.wanted[-1][1]
        wanted = _mutated(rng, earlier, rng.choice([0.02, 0.05, 0.1, 0.3]))
        expected = set().union(*(refused_by(before, wanted, desk.answers) for before in desk.baselines()))
        approved = rng.random() < 0.05
        done = await desk.publish(wanted, changes=rng.random() < 0.5, approved=approved)
        said = {refusal.guard for refusal in done.refusals} if isinstance(done, Denied) else set()
        assert said == (set() if approved else expected)
        accepted += not said
        refused += bool(said)
        if isinstance(done, Published):
            assert unpack_manifest(pack_manifest(done.manifest), done.manifest.generation) == done.manifest
            if rng.random() < 0.1 and not approved:
                desk.refused.add(len(desk.wanted) - 1)
                await desk.scope.plans.mark_refused(done.manifest.generation, _refusal(), "e1")
        if rng.random() < 0.05:
            desk.answers[rng.choice(ZONES)] = rng.choice([0, 2, 4, 16])
    assert accepted > 3
    assert refused > 0


def service(count: int, addresses: int = 4, generation: int = 1) -> Fleet:
    return {
        f"n{number}.one.test.": {f"10.{generation}.{number % 250}.{i}": 1 for i in range(1, addresses + 1)}
        for number in range(count)
    }


async def test_a_fleet_does_not_melt_away_step_by_step() -> None:
    """Plans that each leave out a fifth of the names took 200 names to one; now the second one is refused."""
    desk = Desk()
    fleet = service(200)
    await desk.publish(fleet)
    for _ in range(20):
        desk.clock.at += 1.0
        fewer = dict(list(fleet.items())[: int(len(fleet) * 0.8)])
        if isinstance(await desk.publish(fewer), Published):
            fleet = fewer
    assert len(fleet) == 160
    done = await desk.publish(dict(list(fleet.items())[:159]))
    assert isinstance(done, Denied)
    assert "41 of 200 endpoints would be removed since plan 1, at most 40" in done.refusals[0].detail
    desk.clock.at += WINDOW_S
    assert isinstance(await desk.publish(dict(list(fleet.items())[:159])), Published)


async def test_names_do_not_all_move_at_once_or_in_small_steps() -> None:
    desk = Desk()
    await desk.publish(service(200))
    moved = service(200, generation=2)
    done = await desk.publish(moved)
    assert isinstance(done, Denied)
    assert [refusal.guard for refusal in done.refusals] == ["endpoints_replaced"]
    # One address after the other: no step moves a name, all together do.
    step = service(200)
    for index in range(1, 5):
        desk.clock.at += 1.0
        step = {
            name: {(f"10.2.{n % 250}.{index}" if a.endswith(f".{index}") else a): w for a, w in targets.items()}
            for n, (name, targets) in enumerate(step.items())
        }
        done = await desk.publish(step)
        assert isinstance(done, Published if index < 4 else Denied)


async def test_an_approval_or_a_rollback_begins_the_memory_anew() -> None:
    desk = Desk()
    fleet = service(100)
    await desk.publish(fleet)
    half = dict(list(fleet.items())[:50])
    assert isinstance(await desk.publish(half), Denied)
    assert isinstance(await desk.publish(half, approved=True), Published)
    assert isinstance(await desk.publish(dict(list(half.items())[:45])), Published)
    done = await rollback(desk.scope, 1, author="op", reason="too early", pause=False)
    assert isinstance(done, Published)
    assert isinstance(await desk.publish(dict(list(fleet.items())[:85])), Published)
    assert isinstance(await desk.publish(dict(list(fleet.items())[:75])), Denied)


async def test_a_rollback_passes_and_says_what_it_passes() -> None:
    desk = Desk()
    await desk.publish(service(20))
    await desk.publish(service(100))
    done = await rollback(desk.scope, 1, author="op", reason="drill")
    assert isinstance(done, Published)
    assert any("passes the guard endpoints_removed: 80 of 100" in warning for warning in done.warnings)


async def test_a_rehearsal_says_what_each_guard_saw_in_numbers() -> None:
    """Also of a plan that passes, and compared with contents, not with sums: one name left and came back."""
    desk = Desk()
    fleet = service(50)
    await desk.publish(fleet)
    desk.clock.at += 10
    await desk.publish(dict(list(fleet.items())[:45]))
    desk.clock.at += 10
    draft = read_plan(document(fleet | {"n0.one.test.": {"10.9.9.9": 2}}))
    done = await publish(desk.scope, draft, Orders(), how=How(dry_run=True))
    assert isinstance(done, Published)
    guards = done.document()["guards"]
    told = {(found["guard"], found["unit"], found["zone"]): found for found in guards if "zone" in found}
    assert {guard for guard, _, _ in told} == {"endpoints_removed", "endpoints_replaced", "scope_capacity"}
    removed = told["endpoints_removed", "endpoints", None]
    assert (removed["gone"], removed["allowed"]) == (0, 9)
    replaced = told["endpoints_replaced", "endpoints", None]
    assert (replaced["gone"], replaced["total"], replaced["since"]) == (1, 45, 2)
    assert told["scope_capacity", "weight", None]["gone"] == 2
    assert told["scope_capacity", "addresses served", None]["gone"] == 3
    counted = {found["guard"]: found for found in guards if "judged" in found}
    assert {guard.name for guard in GUARDS if isinstance(guard, EndpointGuard)} == counted.keys()
    assert counted["targets_min"] == {
        "guard": "targets_min",
        "judged": 50,
        "held": 0,
        "text": "0 of 50 changed endpoints would be held",
    }
    assert (
        "scope_capacity",
        "2 of 180 weight would be taken away since plan 2, at most 54 (scope_capacity_removed_max_ratio 0.3)",
    ) in done.seen


async def test_a_plan_that_enactors_refused_is_no_baseline() -> None:
    desk = Desk()
    fleet = service(50)
    await desk.publish(fleet)
    grown = await desk.publish(service(100))
    assert isinstance(grown, Published)
    assert isinstance(await desk.publish(fleet), Denied)
    await desk.scope.plans.mark_refused(grown.manifest.generation, _refusal(), "e1")
    assert await desk.scope.plans.refused() == {2}
    assert isinstance(await desk.publish(fleet), Published)
    key = desk.scope.keys.refused(2)
    await desk.scope.plans.unmark_refused(2, (await desk.store.get([key]))[key].mod_revision + 1)
    assert await desk.scope.plans.refused() == {2}, "not the mark that was seen"
    await desk.scope.plans.unmark_refused(2, (await desk.store.get([key]))[key].mod_revision)
    assert await desk.scope.plans.refused() == set()


def _refusal() -> Any:
    from enactord.core.refusal import Refusal

    return Refusal(guard="endpoints_removed", detail="x")


async def test_a_zone_that_is_put_below_another_takes_its_names_away_from_nobody() -> None:
    """Names lie in another zone of the config from now on; none of them goes."""
    desk = Desk(zones=("one.test.",))
    fleet = {f"n{number}.deep.one.test.": {"10.0.0.1": 1} for number in range(30)} | service(30)
    await desk.publish(fleet)
    desk.zones = ("one.test.", "deep.one.test.")
    done = await desk.publish(fleet)
    assert isinstance(done, Published)
    assert {zone: part.size for zone, part in done.manifest.zones.items()} == {
        "deep.one.test.": (30, 30, 30),
        "one.test.": (30, 120, 120),
    }


async def test_where_a_baseline_cannot_be_read_sums_do_not_pass_it() -> None:
    """A plan whose predecessor is damaged says so, and later ones are compared with what can be read."""
    desk = Desk()
    fleet = service(50)
    await desk.publish(fleet)
    keys = desk.scope.keys
    second = await desk.publish(dict(list(fleet.items())[:42]))
    assert isinstance(second, Published)
    from enactord.core.kv import Put

    await desk.store.transact((), [Put(key=keys.plan(2), value=b"damaged")])
    third = await desk.publish(dict(list(fleet.items())[:42]))
    assert isinstance(third, Published)
    assert (third.manifest.since, third.manifest.losses) == (0, {})
    assert isinstance(await desk.publish(dict(list(fleet.items())[:35])), Denied)


@pytest.mark.parametrize(
    ("now", "clocks", "before", "expected"),
    [
        (1000.0, (), 0.0, 1000.0),
        (1000.0, (), 1200.0, 1200.0),
        (1000.0, (1010.0, 5000.0), 0.0, 1000.0),
        (1000.0, (2000.0,), 0.0, 2000.0 - CLOCKS_APART_S),
        (9000.0, (2000.0, 2010.0), 0.0, 2010.0 + CLOCKS_APART_S),
        (1000.0, (1000.0,), 1030.0, 1030.0),
        (1000.0, (1000.0,), 99_999.0, 1000.0),
    ],
)
def test_the_time_of_a_plan_is_near_the_clocks_of_enactors(
    now: float, clocks: tuple[float, ...], before: float, expected: float
) -> None:
    """A publisher whose clock is wrong cannot end a window early, or make one last for a year."""
    assert stamp(now, clocks, before) == expected


def test_baselines_reach_back_to_the_plan_in_force_when_the_window_began() -> None:
    def made(generation: int, at: float, *, rollback_of: int = 0) -> Manifest:
        return Manifest(
            generation=generation,
            digest="d" * 64,
            scope=SCOPE,
            endpoints=1,
            author="a",
            reason="",
            created_at="",
            published_at=at,
            zones={},
            rollback_of=rollback_of,
        )

    plans = [made(1, 0.0), made(2, 100.0), made(3, 350.0), made(4, 390.0)]
    assert [plan.generation for plan in baselines(plans, 5, 400.0, 100.0)] == [4, 3, 2]
    assert [plan.generation for plan in baselines(plans, 5, 400.0, 100.0, {3})] == [4, 2]
    assert [plan.generation for plan in baselines(plans, 4, 400.0, 0.0)] == [3]
    ordered = [*plans[:2], made(3, 350.0, rollback_of=1), plans[3]]
    assert [plan.generation for plan in baselines(ordered, 5, 400.0, 100.0)] == [4, 3]


async def test_a_refused_plan_does_not_hide_the_plan_that_was_in_force_when_the_window_began() -> None:
    desk = Desk()
    fleet = service(50)
    await desk.publish(fleet)
    await desk.publish(service(100))
    await desk.scope.plans.mark_refused(2, _refusal(), "e1")
    desk.clock.at += WINDOW_S + 1
    done = await desk.publish(dict(list(fleet.items())[:30]))
    assert isinstance(done, Denied)
    assert "20 of 50 endpoints would be removed since plan 1" in done.refusals[0].detail


async def test_addresses_are_counted_anew_where_answers_max_has_changed() -> None:
    """A size that was counted otherwise is neither believed nor handed on."""
    desk = Desk(zones=("one.test.",), answers={"one.test.": 0})
    fleet = service(50)
    first = await desk.publish(fleet)
    assert isinstance(first, Published)
    assert first.manifest.part("one.test.").size == (50, 200, 0)
    desk.answers["one.test."] = 16
    second = await desk.publish(dict(list(fleet.items())[:45]))
    assert isinstance(second, Published)
    assert second.manifest.part("one.test.").size == (45, 180, 180)
    desk.answers["one.test."] = 0
    await desk.publish(fleet, approved=True)
    desk.answers["one.test."] = 16
    thin = {name: {next(iter(targets)): 4} for name, targets in fleet.items()}
    refused = await desk.publish(thin)
    assert isinstance(refused, Denied)
    assert "150 of 200 addresses served would be taken away" in refused.refusals[0].detail


async def test_a_shrink_is_seen_where_a_zone_leaves_the_config_for_its_parent() -> None:
    desk = Desk(zones=("one.test.", "deep.one.test."))
    fleet = {f"n{number}.deep.one.test.": {"10.0.0.1": 1} for number in range(100)} | service(1)
    await desk.publish(fleet)
    desk.zones = ("one.test.",)
    done = await desk.publish(dict(list(fleet.items())[:11]))
    assert isinstance(done, Denied)
    assert "90 of 101 endpoints would be removed" in done.refusals[0].detail
    assert isinstance(await desk.publish(fleet), Published)


async def test_a_publisher_that_must_not_hold_sees_the_names_that_come_back() -> None:
    desk = Desk()
    fleet = service(20, addresses=16)
    await desk.publish(fleet)
    desk.clock.at += 5
    await desk.publish(dict(list(fleet.items())[:19]))
    desk.clock.at += 5
    draft = read_plan(document(fleet | {"n19.one.test.": {"10.1.19.1": 1}}))
    done = await publish(desk.scope, draft, Orders(), how=How(fail_on_held=True))
    assert isinstance(done, Denied)
    assert done.refusals[0].guard == "velocity"
    done = await publish(desk.scope, draft, Orders(), how=How(dry_run=True))
    assert isinstance(done, Published)
    assert [held.name for held in done.held] == ["n19.one.test."]


def test_of_two_findings_the_one_that_refuses_counts() -> None:
    """One of none that may go is refused, and one of one is not, though both go as far as they may."""
    fine = look(Weighing("", 1, Size(5, 4, 4), Loss(weight=1), 5), LIMITS)
    beyond = look(Weighing("", 2, Size(5, 3, 4), Loss(weight=1), 5), LIMITS)
    assert not any(finding.seen.refused for finding in fine)
    for both in ([*fine, *beyond], [*beyond, *fine]):
        assert any(finding.seen.refused for finding in closest(both))


@pytest.mark.parametrize("seed", range(20))
async def test_what_a_name_had_is_found_in_the_baselines(seed: int) -> None:
    """Of names that a baseline lacks after another had them: as looked up plan by plan, name by name."""
    rng = random.Random(seed)
    desk = Desk(limits=Limits(allow_private=True, endpoints_removed_max_ratio=1.0, endpoints_replaced_max_ratio=1.0))
    fleet = a_fleet(rng)
    for _ in range(8):
        draft = read_plan(document(fleet))
        assert isinstance(await desk.scope.plans.publish(draft, Orders()), Manifest)
        desk.wanted.append((desk.clock.at, fleet, False))
        desk.clock.at += 5
        fleet = _mutated(rng, fleet, 0.3) if rng.random() < 0.8 else _mutated(rng, rng.choice(desk.wanted)[1], 0.3)
    plans = desk.scope.plans
    stored = {plan.generation: plan for plan in await plans._manifests()}
    newest = stored[8]
    against = [stored[generation] for generation in range(7, 0, -1)]
    names = sorted({name for _, earlier, _ in desk.wanted for name in earlier})
    scales = Scales(zones=ZONES, limits=desk.limits, answers=ANSWERS, read=plans.texts, served=_nothing)
    found = await outlived(newest, names, against, scales)
    for name in names:
        had = [earlier.get(name) for _, earlier, _ in desk.wanted[:7]]
        while had and had[0] is None:
            had.pop(0)
        usable = [targets for targets in had if targets and any(targets.values())]
        assert (name in found) == (None in had and bool(usable)), name
        if name in found:
            last = {t.packed: t.weight for t in parse_content(found[name].content).targets}
            assert last == {pack_address(address): weight for address, weight in usable[-1].items()}
            greatest = greatest_capacity(found[name].peaks, 0.0, 1e12)
            assert greatest.weight == max(sum(targets.values()) for targets in usable)


async def _nothing(names: Any) -> dict[str, str]:
    return {}
