"""The enactor: read this first.

    watch -> read plan -> guards -> claim -> open -> diff -> begin, write, verify, commit -> settle

Every enactor is active, and any one can finish the job alone. Six loops run side by side:
the mirror follows the store, the session keeps its lease, plans are applied, served
names are looked at, old plans are pruned, and a copy is kept on local disk. None of them
is trusted by the others: what is written is compared by the store and the DNS server.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from enactord.core.errors import (
    Compacted,
    EnactordError,
    LeaseLost,
    PlanUnreadable,
    StoreDown,
    StoreRefused,
    ZoneDown,
)
from enactord.core.events import (
    PlanRefused,
    PlanSeen,
    PlanSuperseded,
    StepFailed,
    StoreCameUp,
    StoreWentDown,
    WasFrozen,
    WasThawed,
    ZoneCameUp,
    ZoneWentDown,
)
from enactord.core.plan import Manifest
from enactord.core.refusal import Refusal
from enactord.engine.applying import Applier, Interrupted, PlanView
from enactord.engine.copying import Copier
from enactord.engine.loops import supervised
from enactord.engine.pace import Backoff, Patience
from enactord.engine.pruner import Pruner
from enactord.engine.repairer import Repairer
from enactord.engine.retries import Retries
from enactord.engine.settings import Ports, Settings
from enactord.engine.writer import ZoneDenied, ZoneWriter
from enactord.registry.control import Freeze
from enactord.registry.keys import Keys
from enactord.registry.mirror import NOTHING, Mirror, Summary
from enactord.registry.session import Session

_REASONS_MAX, _REASON_LENGTH_MAX = 8, 300
"""What of its troubles an enactor tells the others through the store."""
_IDLE_S = 1.0
_RETRY_FIRST_S = 0.05
_RETRY_CAP_S = 5.0
_PATIENCE_FIRST_S = 0.1
_PATIENCE_CAP_S = 10.0
_RELOAD_S = 300.0
"""A full re-read of the store, whatever the watch says: watches have lost events (etcd 3.4.31, 3.4.36)."""


class Enactor:
    """One enactor of a scope."""

    def __init__(self, settings: Settings, ports: Ports, rng: random.Random) -> None:
        self.settings = settings
        self.ports = ports
        self.mirror = Mirror(Keys(settings.scope))
        self.store_up = False
        self.store_problem = "not connected yet"
        self.progress = 0.0
        self.verified = 0
        self.working_on = 0
        self._rng = rng
        self._keys = Keys(settings.scope)
        self.writers = {zone: ZoneWriter(ports.zones[zone], ports.observer, rng) for zone in sorted(ports.zones)}
        self.session = Session(ports.store, self._keys, ports.clock, enactor=settings.id, ttl_s=settings.claim_ttl_s)
        chance = random.Random(f"retries of {settings.id}")
        self.retries = Retries(chance, lambda: asyncio.get_running_loop().time(), interval_s=settings.repair_interval_s)
        self._applier = Applier(settings, ports, self.mirror, self.session, self.writers, rng, self.retries)
        self.repairer = Repairer(
            settings, ports, self.mirror, self.writers, rng, store_up=lambda: self.store_up, retries=self.retries
        )
        self._pruner = Pruner(
            ports.store,
            settings.scope,
            zones=sorted(ports.zones),
            keep_plans=settings.keep_plans,
            clock=ports.clock,
            observer=ports.observer,
        )
        self._copier = Copier(ports, self.mirror)
        self._reload = asyncio.Event()
        self._refused: dict[int, tuple[Refusal, float]] = {}
        self._worked_through: tuple[int, Summary] = (0, NOTHING)
        """A generation, and the sums of the ledger with which a whole pass left nothing of it to do."""
        self._seen_head = 0
        self._patience = Patience(first_s=_PATIENCE_FIRST_S, cap_s=_PATIENCE_CAP_S)
        self._opened = 0
        self._opened_at = 0.0
        self._freeze: Freeze | None = None
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        """Run until cancelled; then let go of the claims."""
        await self._copier.restore()
        loops: Sequence[tuple[str, Callable[[], Awaitable[None]]]] = (
            ("follow", self._follow),
            ("session", self._keep_session),
            ("apply", self._apply_loop),
            ("repair", self._repair_loop),
            ("prune", self._prune_loop),
            ("copy", self._copier.run),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, step in loops:
                    tasks.create_task(supervised(name, step, self.ports.observer, self._rng), name=name)
        finally:
            for writer in self.writers.values():
                await writer.close()
            try:
                async with asyncio.timeout(2.0):
                    await self.session.close()
                    await self._copier.save()
            except (TimeoutError, EnactordError, OSError):
                pass  # the lease runs out by itself

    def retune(self, settings: Settings) -> None:
        """Go on with other limits, retention and pace; all else must be as it was.

        A pass or a pause that is under way ends as it began. Refused plans are judged anew.
        """
        tuned = replace(
            self.settings,
            limits=settings.limits,
            keep_plans=settings.keep_plans,
            prune_interval_s=settings.prune_interval_s,
            repair_interval_s=settings.repair_interval_s,
            repair_names_per_s=settings.repair_names_per_s,
        )
        assert tuned == settings, "this needs another enactor"
        self.settings = self._applier.settings = self.repairer.settings = settings
        self._pruner.keep_plans = settings.keep_plans
        self.retries.interval_s = settings.repair_interval_s
        self._refused.clear()

    # -- the store

    async def _follow(self) -> None:
        """Keep the mirror current; when the store is away, say so and go on from where it was."""
        backoff = Backoff(self._rng, first_s=_RETRY_FIRST_S, cap_s=_RETRY_CAP_S)
        while True:
            try:
                if self.mirror.loaded:
                    # A watch that is resumed is no answer: without one, a store that is away would count as up at
                    # each attempt, and be tried again without a pause.
                    await self.ports.store.range(self._keys.head)
                else:
                    await self.mirror.load(self.ports.store)
                    self._reload.clear()
                self._store_is_up()
                backoff.reset()
                await self._follow_until_reload()
            except Compacted:
                self.mirror.loaded = False
            except (StoreDown, StoreRefused) as error:
                self._store_is_down(str(error))
                await asyncio.sleep(backoff.next_s())

    async def _follow_until_reload(self) -> None:
        """Follow the watch; return when a reload is asked for or due."""
        following = asyncio.create_task(self.mirror.follow(self.ports.store))
        reload = asyncio.create_task(self._reload.wait())
        try:
            await asyncio.wait({following, reload}, timeout=_RELOAD_S, return_when=asyncio.FIRST_COMPLETED)
            self.mirror.loaded = False
            if following.done():
                self.mirror.loaded = True
                following.result()
        finally:
            for task in (following, reload):
                task.cancel()
            await asyncio.gather(following, reload, return_exceptions=True)

    async def _keep_session(self) -> None:
        """Keep the lease, and check that the watch has not lost its way."""
        while True:
            try:
                degraded = [reason[:_REASON_LENGTH_MAX] for reason in self.reasons()[:_REASONS_MAX]]
                await self.session.keep({"working_on": self.working_on, "head": self.mirror.head, "degraded": degraded})
                await self.session.release_all_but(self.working_on, self.mirror.all_claims)
                await self._check_watch()
                self._store_is_up()
            except (StoreDown, StoreRefused) as error:
                self._store_is_down(str(error))
            except LeaseLost:
                continue
            await asyncio.sleep(self.settings.claim_ttl_s / 3)

    async def _check_watch(self) -> None:
        """Ask for the newest plan; a mirror that is behind it, or ahead of the store, is read afresh."""
        before = self.mirror.revision
        page = await self.ports.store.range(self._keys.head)
        if not self.mirror.loaded:
            return
        if page.revision < before:
            self._reload.set()  # the store is older than what we saw: restored from a backup
            return
        if page.items and page.items[0].mod_revision > self.mirror.revision:
            wanted = page.items[0].mod_revision
            if not await self.mirror.wait_until(lambda: self.mirror.revision >= wanted, _IDLE_S):
                self._reload.set()

    def _store_is_up(self) -> None:
        if not self.store_up and self.mirror.loaded:
            self.store_up = True
            self.store_problem = ""
            self.ports.observer.observe(StoreCameUp(revision=self.mirror.revision))

    def _store_is_down(self, problem: str) -> None:
        if self.store_up or self.store_problem != problem:
            if self.store_up or not self.store_problem or self.store_problem == "not connected yet":
                self.ports.observer.observe(StoreWentDown(detail=problem))
            self.store_up = False
            self.store_problem = problem

    # -- plans

    async def _apply_loop(self) -> None:
        """Work on the newest acceptable plan; a newer one cancels the rest of the older, at once where that does."""
        backoff = Backoff(self._rng, first_s=_RETRY_FIRST_S, cap_s=_RETRY_CAP_S)
        loop = asyncio.get_running_loop()
        work: asyncio.Task[int] | None = None
        held_again_at = 0.0
        try:
            while True:
                self.progress = loop.time()
                self._note_freeze()
                self._note_open()
                if work is not None and work.done():
                    pause_s = self._finish(work, backoff)
                    self.working_on = 0
                    work = None
                    head = self.mirror.head
                    await self.mirror.wait_until(lambda head=head: self.mirror.head != head, pause_s)  # type: ignore[misc]
                    held_again_at = loop.time() + self.settings.repair_interval_s
                again = loop.time() >= held_again_at or self.retries.freed
                view = await self._choose(again)
                if view is not None and view.manifest.generation != self.working_on:
                    if work is not None:
                        await self._supersede(work, view.manifest.generation)
                    self.working_on = view.manifest.generation
                    self.retries.freed = False
                    work = asyncio.create_task(self._applier.apply(view, again=again))
                await self._wait(work)
        finally:
            if work is not None:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def _wait(self, work: asyncio.Task[int] | None) -> None:
        """Wait for news of the store, the end of the work, or a second."""
        change = asyncio.create_task(self.mirror.wait_change(_IDLE_S))
        try:
            await asyncio.wait({change} if work is None else {change, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
            await asyncio.gather(change, return_exceptions=True)

    def _finish(self, work: asyncio.Task[int], backoff: Backoff) -> float:
        """Take in how a pass ended; returns how long to wait before the next, in seconds."""
        try:
            unfinished = work.result()
        except (Interrupted, EnactordError) as error:
            self._problems["apply"] = str(error)
            return backoff.next_s()
        if unfinished:
            self._problems["apply"] = f"{unfinished} endpoints are not finished yet"
            return backoff.next_s()
        self._worked_through = (self.working_on, self.mirror.totals)
        self._problems.pop("apply", None)
        backoff.reset()
        return 0.0

    async def _supersede(self, work: asyncio.Task[int], by: int) -> None:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        self.ports.observer.observe(PlanSuperseded(generation=self.working_on, by=by))

    async def _choose(self, held_too: bool) -> PlanView | None:
        """Return the newest acceptable plan if there is work on it, newer than what is worked on now."""
        mirror = self.mirror
        if not self.store_up or not mirror.loaded or mirror.freeze is not None:
            return None
        floor = max((fence.generation for zone in self.writers if (fence := mirror.fence(zone))), default=0)
        floor = max(floor, self.working_on)
        for generation in reversed(mirror.generations):
            if generation < floor or generation == self.working_on:
                return None
            try:
                manifest = mirror.manifest(generation)
                if manifest is None:
                    continue
                self._note_plan(manifest)
                if self._awaited(manifest):
                    continue
                if not self._has_work(manifest, held_too):
                    return None
                if self._still_refused(generation):
                    continue
                view = await self._applier.read(manifest)
                refusal = self._applier.judge(view)
            except PlanUnreadable as error:
                refusal, view = Refusal(guard="unreadable", detail=str(error)), None
            except (StoreDown, StoreRefused) as error:
                self._store_is_down(str(error))
                return None
            if refusal is None:
                self._refused.pop(generation, None)
                return view
            self._refuse(generation, refusal)
        return None

    def _note_open(self) -> None:
        """Learn from each open whether the plan before it was applied, or given up for the next."""
        opened = max((fence.generation for zone in self.writers if (fence := self.mirror.fence(zone))), default=0)
        if opened == self._opened:
            return
        if self._opened:
            (self._patience.given_up if self._unsettled() else self._patience.applied)()
        self._opened, self._opened_at = opened, asyncio.get_running_loop().time()

    def _unsettled(self) -> bool:
        """Whether the plan that was opened last is not applied in some zone that answers."""
        zones = [zone for zone in self.writers if zone not in self._applier.zone_problems]
        return any(self.mirror.applied(zone) < self._opened for zone in zones)

    def _awaited(self, manifest: Manifest) -> bool:
        """Whether a newer plan must wait for the one that is open; what an operator orders need not."""
        if manifest.generation <= self._opened or manifest.approval is not None or manifest.rollback_of:
            return False
        in_time = asyncio.get_running_loop().time() < self._opened_at + self._patience.now_s
        return in_time and self._unsettled()

    def _has_work(self, manifest: Manifest, held_too: bool) -> bool:
        """Whether the plan may not be applied everywhere yet."""
        if any(self.mirror.applied(zone) != manifest.generation for zone in self.writers):
            return True
        totals = self.mirror.totals
        # Entries were lost: what the ledger does not know is not conforming. Or they are of a zone that is
        # no longer in the config: a pass leaves those as they are, and must not start again at once.
        unequal = totals.entries != manifest.endpoints or totals.pending > 0
        if unequal and self._worked_through != (manifest.generation, totals):
            return True
        return held_too and (unequal or totals.held > 0 or totals.entries != totals.owned)

    def _still_refused(self, generation: int) -> bool:
        known = self._refused.get(generation)
        return known is not None and asyncio.get_running_loop().time() < known[1]

    def _refuse(self, generation: int, refusal: Refusal) -> None:
        """Remember a refusal for a while: the ledger may change so that the plan becomes acceptable."""
        known = self._refused.get(generation)
        until = asyncio.get_running_loop().time() + self.settings.repair_interval_s
        if known is None or known[0] != refusal:
            self.ports.observer.observe(PlanRefused(generation=generation, guard=refusal.guard, detail=refusal.detail))
        self._refused[generation] = (refusal, until)
        for old in sorted(self._refused)[:-64]:
            del self._refused[old]

    def _note_plan(self, manifest: Manifest) -> None:
        if manifest.generation > self._seen_head:
            self._seen_head = manifest.generation
            self.ports.observer.observe(
                PlanSeen(
                    generation=manifest.generation,
                    digest=manifest.digest,
                    endpoints=manifest.endpoints,
                    author=manifest.author,
                    age_s=self.ports.clock.now() - manifest.published_at,
                )
            )

    def _note_freeze(self) -> None:
        freeze = self.mirror.freeze
        if freeze == self._freeze:
            return
        self._freeze = freeze
        if freeze is None:
            self.ports.observer.observe(WasThawed())
        else:
            self.ports.observer.observe(WasFrozen(mode=freeze.mode, reason=freeze.reason, author=freeze.author))

    # -- repair and prune

    async def _repair_loop(self) -> None:
        """Look at every zone at a slow, bounded pace of its own."""
        await asyncio.sleep(self._rng.uniform(0.0, min(1.0, self.settings.repair_interval_s)))
        while True:
            for zone in self.writers:
                self.writers[zone].budget.trickle()
                try:
                    look = await self.repairer.look(zone)
                except (ZoneDown, ZoneDenied) as error:
                    self._zone_is_down(zone, str(error))
                except StoreDown as error:
                    self._store_is_down(str(error))
                else:
                    if look.problem:
                        self._zone_is_down(zone, look.problem)
                        continue
                    if self._problems.pop(zone, None) is not None:
                        self.ports.observer.observe(ZoneCameUp(zone=zone))
                    if not look.drifts:
                        self.verified = max(self.verified, self.mirror.applied(zone))
            await asyncio.sleep(self.settings.repair_interval_s * self._rng.uniform(0.8, 1.0))

    def _zone_is_down(self, zone: str, problem: str) -> None:
        if zone not in self._problems:
            self.ports.observer.observe(ZoneWentDown(zone=zone, detail=problem))
        self._problems[zone] = problem

    async def _prune_loop(self) -> None:
        """Prune now and then, when there are more plans than are kept."""
        while True:
            await asyncio.sleep(self.settings.prune_interval_s * self._rng.uniform(0.5, 1.0))
            if not self.store_up or len(self.mirror.generations) <= self.settings.keep_plans:
                continue
            try:
                await self._pruner.prune()
            except (StoreDown, StoreRefused, Compacted, PlanUnreadable) as error:
                # An error on the way means: nothing was deleted. Tried again at the next turn.
                self.ports.observer.observe(StepFailed(step="prune", detail=str(error), traceback=""))

    # -- what it says of itself

    @property
    def zone_problems(self) -> dict[str, str]:
        """What keeps a zone from being looked at or written now, by zone."""
        seen = {zone: self._problems[zone] for zone in self.writers if zone in self._problems}
        return dict(sorted((self._applier.zone_problems | seen).items()))

    @property
    def copy_problem(self) -> str:
        """Why the local copy cannot be saved now; nothing while it can."""
        return self._copier.problem

    @property
    def head_refusal(self) -> Refusal | None:
        """Why the newest plan as a whole is refused, or None."""
        known = self._refused.get(self.mirror.head)
        return known and known[0]

    def reasons(self) -> list[str]:
        """Return why this enactor is degraded; nothing while all is well."""
        found = []
        if not self.store_up:
            found.append(f"store: {self.store_problem}")
        if "apply" in self._problems:
            found.append(self._problems["apply"])
        found.extend(self.zone_problems.values())
        if self.copy_problem:
            found.append(self.copy_problem)
        freeze = self.mirror.freeze
        if freeze is not None:
            found.append(f"frozen ({freeze.mode}) by {freeze.author}: {freeze.reason}")
        refusal = self.head_refusal
        if refusal is not None:
            found.append(f"plan {self.mirror.head} is refused: {refusal}")
        return found

    def status(self) -> dict[str, object]:
        """Return what this enactor itself knows besides the mirror, for the status document."""
        return {
            "id": self.settings.id,
            "store_up": self.store_up,
            "working_on": self.working_on,
            "verified": self.verified,
            "refused": {
                str(generation): {"guard": refusal.guard, "detail": refusal.detail}
                for generation, (refusal, _) in sorted(self._refused.items())
            },
            "reasons": self.reasons(),
        }
