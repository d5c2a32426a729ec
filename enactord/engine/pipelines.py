"""One pipeline for each zone: which zones are to be worked on now, and what became of those that were.

A zone that fails is tried again after a pause of its own, whatever it failed by; the others
go on meanwhile. All this is made anew whenever the loop that runs it is started again.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from enactord.core.errors import EnactordError, LeaseLost, PlanUnreadable, StoreDown
from enactord.core.events import PlanSuperseded, ZonesKept
from enactord.core.plan import Manifest
from enactord.engine.apply import apply
from enactord.engine.health import Aspect
from enactord.engine.pace import Backoff
from enactord.engine.passes import Accepted, Deps, Interrupted
from enactord.engine.planning import PlanView
from enactord.store.fences import QUIET_A_TRANSACTION, Fences, Quiet
from enactord.store.ledger_index import NOTHING, Summary

_RETRY_FIRST_S = 0.05
_RETRY_CAP_S = 5.0
_LOOK_AT_ALL_S = 1.0
_SMALL_ENDPOINTS = 2_000
"""Up to so many endpoints in the buckets that need a look, sharing a zone's plan costs more than it saves."""


@dataclass(slots=True)
class _Lane:
    """One zone: the pass under way, and when the next may begin (loop time, in seconds)."""

    backoff: Backoff
    task: asyncio.Task[int] | None = None
    not_before: float = 0.0
    held_again_at: float = 0.0
    """When names that are held are looked at again."""
    worked_through: tuple[int, Summary] = (0, NOTHING)
    """A generation, and the sums of the ledger with which a whole pass left nothing of it to do."""
    unfinished: int = 0


class Pipelines:
    """The zones of one enactor at work."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._cache = deps.cache
        self._health = deps.health
        self._fences = Fences(deps.ports.store, deps.cache.keys)
        self._lanes = {
            zone: _Lane(backoff=Backoff(deps.rng, first_s=_RETRY_FIRST_S, cap_s=_RETRY_CAP_S))
            for zone in sorted(deps.ports.zones)
        }
        self._plan: Accepted | None = None
        self._view: PlanView | None = None
        self._look: dict[str, None] = {}
        """Zones that may need a pass."""
        self._look_at_all_at = 0.0
        self._quiet: list[str] = []
        """Zones of which the plan changes nothing, which are still to be settled."""
        self._quiet_at = 0.0
        self.judge_again = False
        """Whether a pass found that the plan must be judged anew."""

    @property
    def working_on(self) -> int:
        """The generation that is worked on; 0: none."""
        return self._plan.manifest.generation if self._plan is not None and self._busy() else 0

    def _busy(self) -> bool:
        return bool(self._quiet) or any(lane.task is not None for lane in self._lanes.values())

    @property
    def unfinished(self) -> dict[str, int]:
        """How many endpoints the last pass of each zone left unfinished; zones with none left out."""
        return {zone: lane.unfinished for zone, lane in self._lanes.items() if lane.unfinished}

    # -- what there is to do

    def has_work(self, manifest: Manifest) -> bool:
        """Whether the plan may not be applied in some zone yet."""
        return any(self.zone_has_work(manifest, zone) for zone in self._lanes)

    def zone_has_work(self, manifest: Manifest, zone: str) -> bool:
        """Whether the plan may not be applied in a zone yet."""
        lane, generation = self._lanes[zone], manifest.generation
        if self._cache.of_other_version(zone) or zone in self._cache.lowerings:
            return False
        record = self._cache.fence(zone)
        if not self._deps.ports.zones[zone].may_write(record):
            return False  # a look finds out on which server the zone is written, or says why not
        if record is None:
            return True
        if record.generation > generation:
            return False  # a newer plan is opened there, or a fence was found that no plan of the store has
        if self._cache.applied(zone) != generation or self._health.fence_problem(zone):
            return True
        totals = self._cache.ledger.zone_totals(zone)
        # Entries were lost: what the ledger does not know is not conforming.
        unequal = totals.entries != manifest.part(zone).endpoints or totals.pending > 0
        if unequal and lane.worked_through != (generation, totals):
            return True
        if asyncio.get_running_loop().time() < lane.held_again_at and zone not in self._deps.retries.freed:
            return False
        return unequal or totals.held > 0 or totals.entries != totals.owned

    async def take(self, plan: Accepted, view: PlanView) -> None:
        """Work on this plan from now on; passes on another are given up. Judged anew, a plan does not end a pause."""
        again = plan.manifest.generation == self.generation
        await self.stop(by=plan.manifest.generation)
        self._plan, self._view = plan, view
        self.judge_again = False
        now = asyncio.get_running_loop().time()
        head_start_s = self._deps.settings.head_start_s
        generation = plan.manifest.generation
        for zone, lane in self._lanes.items():
            unmoved = plan.fences[zone] == self._cache.fence(zone) and not self._health.fence_problem(zone)
            if unmoved and self._deps.planning.quiet(view, zone):
                self._quiet.append(zone)
            lane.not_before = max(now, lane.not_before) if again else now
            if sum(self._deps.planning.size(view, bucket) for bucket in view.zones[zone]) <= _SMALL_ENDPOINTS:
                lane.not_before += self._deps.sharing.turn(generation, zone) * head_start_s
        self._quiet_at = now + self._deps.sharing.turn(generation, "") * head_start_s
        self._look = dict.fromkeys(self._lanes)

    async def step(self) -> None:
        """Settle what is quiet, and begin a pass in each zone that needs it and may have it."""
        plan, view = self._plan, self._view
        if plan is None or view is None:
            return
        now = asyncio.get_running_loop().time()
        if self._quiet and now >= self._quiet_at:
            await self._settle_quiet(plan)
        moved = self._cache.take_moved()
        if moved is None or now >= self._look_at_all_at:
            self._look = dict.fromkeys(self._lanes)
            self._look_at_all_at = now + _LOOK_AT_ALL_S
        else:
            self._look.update((zone, None) for zone in moved if zone in self._lanes)
        quiet = set(self._quiet)
        for zone in list(self._look):
            lane = self._lanes[zone]
            if lane.task is not None or zone in quiet:
                del self._look[zone]
            elif now >= lane.not_before:
                del self._look[zone]
                if self.zone_has_work(plan.manifest, zone):
                    again = now >= lane.held_again_at or zone in self._deps.retries.freed
                    self._deps.retries.freed.discard(zone)
                    self._begin(lane, plan, view, zone, again=again)
                else:
                    lane.unfinished = 0
                    self._health.zone_is_up(zone, Aspect.PASS)

    def _begin(self, lane: _Lane, plan: Accepted, view: PlanView, zone: str, *, again: bool) -> None:
        way = apply(plan, view, zone, self._deps, again=again)
        lane.task = asyncio.create_task(way, name=f"apply {zone}")
        lane.task.add_done_callback(lambda _: self._cache.wake())

    async def _settle_quiet(self, plan: Accepted) -> None:
        """Settle zones in the store alone, many at a time, and singly after a conflict; the rest go the usual way."""
        generation, mark = plan.manifest.generation, plan.manifest.mark
        zones = [zone for zone in self._quiet if self._cache.applied(zone) < generation]
        kept = 0
        try:
            async with self._deps.claims.on(generation) as claim:
                while zones and claim is not None:
                    some, zones = zones[:QUIET_A_TRANSACTION], zones[QUIET_A_TRANSACTION:]
                    if await self._fences.keep(claim, generation, mark, self._judged(plan, some)):
                        kept += len(some)
                    else:
                        for zone in some:
                            judged = self._judged(plan, [zone])
                            kept += await self._fences.keep(claim, generation, mark, judged)
        except LeaseLost:
            self._quiet_at = asyncio.get_running_loop().time() + _RETRY_FIRST_S
            return
        self._look.update(dict.fromkeys(self._quiet))
        self._quiet = []
        if kept:
            self._deps.ports.observer.observe(ZonesKept(generation=generation, zones=kept))

    def _judged(self, plan: Accepted, zones: Collection[str]) -> dict[str, Quiet]:
        found = {}
        for zone in zones:
            record = plan.fences[zone]
            assert record is not None, zone
            found[zone] = Quiet(record=record, ledger_revision=self._cache.ledger.zone_revision(zone))
        return found

    # -- what became of it

    async def wait(self, limit_s: float) -> None:
        """Wait for news of the store, the end of a pass, the next turn of a zone, or the limit."""
        now = asyncio.get_running_loop().time()
        turns = [lane.not_before for lane in self._lanes.values() if lane.task is None and lane.not_before > now]
        if self._quiet and self._quiet_at > now:
            turns.append(self._quiet_at)
        timeout_s = max(0.0, min([limit_s, *(turn - now for turn in turns)]))
        if not any(lane.task is not None and lane.task.done() for lane in self._lanes.values()):
            await self._cache.wait_change(timeout_s)

    def reap(self) -> None:
        """Take in how passes ended, and when the next of those zones may begin."""
        for zone, lane in self._lanes.items():
            task = lane.task
            if task is not None and task.done():
                lane.task = None
                self._look[zone] = None
                self._end(zone, lane, task)

    def _end(self, zone: str, lane: _Lane, task: asyncio.Task[int]) -> None:
        now = asyncio.get_running_loop().time()
        lane.held_again_at = now + self._deps.settings.repair_interval_s
        try:
            lane.unfinished = task.result()
        except asyncio.CancelledError:
            return
        except Interrupted as error:
            self.judge_again |= error.judge
        except StoreDown as error:
            self._health.store_is_down(error)
        except PlanUnreadable:
            self.judge_again = True
        except EnactordError as error:
            self._health.zone_is_down(zone, Aspect.PASS, f"{zone}: {error}")
        except Exception as error:  # no rule foresees it: told, and the plan tried again from clean state
            self._health.pass_failed(zone, error)
        else:
            if not lane.unfinished:
                assert self._plan is not None
                generation = self._plan.manifest.generation
                lane.worked_through = (generation, self._cache.ledger.zone_totals(zone))
                lane.backoff.reset()
                return
        lane.not_before = now + lane.backoff.next_s()

    async def stop(self, *, by: int = 0) -> None:
        """Give up what is under way; `by`: the generation that takes its place, 0: none."""
        tasks = []
        for lane in self._lanes.values():
            if lane.task is not None:
                tasks.append(lane.task)
                lane.task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks and by and self._plan is not None:
            self._deps.ports.observer.observe(PlanSuperseded(generation=self._plan.manifest.generation, by=by))
        self._plan, self._view, self._quiet = None, None, []
        self._look.clear()

    @property
    def generation(self) -> int:
        """The generation that was taken last; 0: none is."""
        return 0 if self._plan is None else self._plan.manifest.generation
