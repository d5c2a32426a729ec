"""Draws faults from a seed, one or two at a time, heals them, and measures how long all takes to be well again."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.children import STOP_LIMIT_S
from tests.chaos.faults import KINDS, Kind
from tests.chaos.world import ZONES, World

CONVERGE_LIMIT_S = 120.0
"""What is not well by then is not going to be."""
_POLL_S = 0.1
_SECOND_CHANCE = 0.4
_HEAL_LIMIT_S = 180.0


@dataclass
class Done:
    """One fault that was done."""

    kind: str
    target: str
    detail: str
    begun: float
    healed: float = float("inf")


@dataclass
class Episode:
    """One or two faults together, and the time from the last heal until all was well (None: never)."""

    faults: list[Done] = field(default_factory=list)
    converged_s: float | None = None


class Nemesis:
    """Disturbs a world as its seed says."""

    def __init__(self, world: World, seed: int, kinds: Sequence[Kind] = ()) -> None:
        self._world = world
        self._kinds = list(kinds or KINDS)
        self._rng = random.Random(f"nemesis {seed}")
        self._deck: list[Kind] = []
        self.episodes: list[Episode] = []

    async def run(self, until: float) -> None:
        """Do one episode after the other until the time is over, or until one is not recovered from."""
        while self._world.now() < until:
            episode = Episode()
            self.episodes.append(episode)
            await self._episode(episode)
            names = " and ".join(done.kind for done in episode.faults)
            episode.converged_s = await self.converge(names)
            if episode.converged_s is None:
                return

    async def _episode(self, episode: Episode) -> None:
        rng = self._rng
        first, target = self._draw()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._do(episode, first, target, random.Random(rng.random()), 0.0))
            if (
                not first.alone
                and rng.random() < _SECOND_CHANCE
                and (second := self._second(first, target)) is not None
            ):
                kind, other = second
                delay_s = rng.uniform(0.0, first.lasts_s[1])
                tasks.create_task(self._do(episode, kind, other, random.Random(rng.random()), delay_s))

    async def _do(self, episode: Episode, kind: Kind, target: str, rng: random.Random, delay_s: float) -> None:
        world = self._world
        lasts_s = rng.uniform(*kind.lasts_s)
        await asyncio.sleep(delay_s)
        done = Done(kind=kind.name, target=target, detail="", begun=world.now())
        episode.faults.append(done)
        async with asyncio.timeout(lasts_s + _HEAL_LIMIT_S):
            async with kind.act(world, rng, target) as detail:
                done.detail = detail
                await asyncio.sleep(lasts_s)
            done.healed = world.now()

    def _draw(self) -> tuple[Kind, str]:
        """Every kind comes once before any comes twice."""
        if not self._deck:
            self._deck = list(self._kinds)
            self._rng.shuffle(self._deck)
        kind = self._deck.pop()
        return kind, self._rng.choice(kind.targets())

    def _second(self, first: Kind, target: str) -> tuple[Kind, str] | None:
        """A kind that can be on beside the first: on another target, and not wanting a store that is stopped."""
        fitting = [k for k in self._deck if not k.alone and {first.store, k.store} != {"stops", "needs"}]
        free = [(kind, other) for kind in fitting for other in kind.targets() if other != target]
        if not free:
            return None
        kind, other = self._rng.choice(free)
        self._deck.remove(kind)
        return kind, other

    # -- convergence

    async def converge(self, after: str) -> float | None:
        """Wait until all serve and have the newest plan of this moment; returns how long that took, in seconds."""
        world = self._world
        start = world.now()
        try:
            async with asyncio.timeout(CONVERGE_LIMIT_S):
                await world.view.current()
                generation = world.view.newest_acceptable()
                while not generation or (lacking := await self._lacking(start, generation)):
                    await asyncio.sleep(_POLL_S)
                    generation = generation or world.view.newest_acceptable()
        except TimeoutError:
            newest = world.view.newest_acceptable()
            lacking = await self._lacking(start, newest) if newest else "no plan came"
            world.violated("I5", f"after {after}", f"not well in {CONVERGE_LIMIT_S:g} s: {lacking}")
            return None
        return world.now() - start

    async def _lacking(self, since: float, generation: int) -> str:
        """What is not yet as it should be; "" when nothing is."""
        world = self._world
        cache = world.view.cache
        for zone in ZONES:
            if cache.applied(zone) < generation:
                return f"the store has {cache.applied(zone)} applied in {zone}, not {generation}"
        if served := world.unlike(since, generation):
            return served
        for enactor in world.enactors.values():
            if not await world.scrape(enactor):
                return f"enactor {enactor.id} does not answer"
            gauges = enactor.gauges
            if gauges.get("enactord_store_up{}") != 1:
                return f"enactor {enactor.id} has no store: {await world.status(enactor)}"
            if gauges.get("enactord_generation{kind=head}", 0) < generation:
                return f"enactor {enactor.id} knows of no plan {generation}: {await world.status(enactor)}"
            for zone in ZONES:
                if gauges.get(f"enactord_zone_up{{zone={zone}}}") != 1:
                    return f"enactor {enactor.id} has no zone {zone}: {await world.status(enactor)}"
        return ""

    async def finish(self) -> None:
        """The planner ends; then all must come to exactly the last plan, with nothing left undone."""
        world = self._world
        code = await world.planner.stop()
        if code != 0:
            world.violated("alive", "planner-stub", f"exit code {code} on SIGTERM within {STOP_LIMIT_S:g} s")
        if await self.converge("the end") is None:
            return
        unsettled = ""
        try:
            async with asyncio.timeout(CONVERGE_LIMIT_S):
                while unsettled := world.unsettled():
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            world.violated("I5", "at the end", unsettled)
        for prober in world.probers.values():
            await prober.next_round()
