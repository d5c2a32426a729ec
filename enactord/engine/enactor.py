"""One enactor of a scope: its parts, and the loops that run side by side. How a plan goes its way is in `apply.py`.

Every enactor is active, and any one can finish the job alone. The cache follows the store, the session keeps its lease,
plans are applied, served names are looked at, fences are asked for, old plans are pruned, and a copy is kept on local
disk. None of the loops is trusted by the others: what is written is compared by the store and the DNS server.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from enactord.core.errors import (
    Compacted,
    EnactordError,
    LeaseLost,
    PlanUnreadable,
    StoreDown,
    StoreRefused,
)
from enactord.core.events import LimitsChanged, StepFailed, WasFrozen, WasThawed
from enactord.core.guards import Limits
from enactord.core.refusal import Refusal
from enactord.engine.account import Account
from enactord.engine.choose import Choosing
from enactord.engine.claims import Claims
from enactord.engine.evidence import Evidence
from enactord.engine.fence_watch import FenceWatch
from enactord.engine.follow import Follower
from enactord.engine.health import Health
from enactord.engine.identity import Identity
from enactord.engine.look import Looks
from enactord.engine.pace import Gate
from enactord.engine.passes import Deps
from enactord.engine.pipelines import Pipelines
from enactord.engine.planning import Planning
from enactord.engine.primaries import PrimaryChoice
from enactord.engine.prune import Pruner
from enactord.engine.raise_fence import FenceRaiser
from enactord.engine.repair import Repairer
from enactord.engine.retries import Retries
from enactord.engine.settings import Ports, Settings
from enactord.engine.share import Sharing
from enactord.engine.snapshot import Copier
from enactord.engine.supervise import supervised
from enactord.engine.write import ZoneWriter
from enactord.store.cache import Cache
from enactord.store.control import Freeze
from enactord.store.keys import Keys
from enactord.store.ledger import Ledger
from enactord.store.limits import Ruling, differences, seed
from enactord.store.reports import REPORT_EVERY_S
from enactord.store.session import Session

_REASONS_MAX, _REASON_LENGTH_MAX = 8, 300
"""What of its troubles an enactor tells the others through the store."""
_ZONES_TOLD_MAX = 100
_IDLE_S = 1.0
_ZONES_AT_ONCE = 16
"""Zones on their way at once; a zone that waits for its server for long gives its place to others."""
_SLICES_AT_ONCE = 6
"""Slices of all zones under way at once, likewise."""
_PATIENCE_S = 1.0


class Enactor:
    """One enactor of a scope."""

    def __init__(self, settings: Settings, ports: Ports, rng: random.Random) -> None:
        self.settings = settings
        self._configured = settings.limits
        self.ports = ports
        self.cache = Cache(Keys(settings.scope))
        servers = {zone: [verifier.server for verifier in ports.zones[zone].verifiers] for zone in sorted(ports.zones)}
        self.health = Health(ports.observer, Evidence(servers, ports.clock))
        self.progress = 0.0
        self._rng = rng
        self._keys = Keys(settings.scope)
        self.writers = {zone: ZoneWriter(ports.zones[zone], ports.observer, rng) for zone in sorted(ports.zones)}
        self.session = Session(
            ports.store,
            self._keys,
            ports.clock,
            enactor=settings.id,
            ttl_s=settings.claim_ttl_s,
            zones={zone: ports.zones[zone].settings.primaries for zone in self.writers},
            mark=ports.draw_mark(),
            installation=lambda: self.cache.installation,
        )
        self._identity = Identity(settings, ports, self.cache, self.health)
        self.retries = Retries(rng, lambda: asyncio.get_running_loop().time(), interval_s=settings.repair_interval_s)
        self._planning = Planning(settings, ports, self.cache)
        self._claims = Claims(self.session)
        self._follower = Follower(
            ports.store,
            self.cache,
            self.session,
            self._claims,
            self.health,
            rng,
            claim_ttl_s=settings.claim_ttl_s,
            facts=self._facts,
        )
        self._raiser = FenceRaiser(settings, ports, self.cache)
        self._deps = Deps(
            settings=settings,
            ports=ports,
            cache=self.cache,
            planning=self._planning,
            claims=self._claims,
            raiser=self._raiser,
            sharing=Sharing(settings.id, self.cache),
            writers=self.writers,
            health=self.health,
            rng=rng,
            retries=self.retries,
            ledger=Ledger(ports.store, self._keys, self.cache),
            zones=Gate(_ZONES_AT_ONCE, patience_s=_PATIENCE_S),
            slices=Gate(_SLICES_AT_ONCE, patience_s=_PATIENCE_S),
            look=lambda zone: self._looks.soon(zone),
        )
        self._pipelines = Pipelines(self._deps)
        self._choosing = Choosing(
            settings,
            ports,
            self.cache,
            self._planning,
            list(self.writers),
            has_work=lambda manifest: self._pipelines.has_work(manifest),
            is_down=lambda zone: bool(self.health.zone_problem(zone)),
        )
        self.repairer = Repairer(
            settings,
            ports,
            self.cache,
            self.writers,
            self._raiser,
            PrimaryChoice(settings, ports, self.cache, store_up=lambda: self.store_up),
            rng,
            store_up=lambda: self.store_up,
            health=self.health,
            retries=self.retries,
        )
        self.fence_watch = FenceWatch(
            settings, ports, self.cache, self.health, look=lambda zone: self._looks.soon(zone)
        )
        self._looks = Looks(
            settings,
            ports.zones,
            self.cache,
            self.writers,
            self.repairer,
            self.health,
            rng,
            generation=lambda: self._pipelines.generation,
        )
        self._pruner = Pruner(
            ports.store,
            settings.scope,
            zones=sorted(ports.zones),
            keep=settings.keep,
            clock=ports.clock,
            observer=ports.observer,
        )
        self._copier = Copier(ports, self.cache)
        self._freeze: Freeze | None = None
        self.account = Account(self)
        self.surroundings: Callable[[], Sequence[str]] = tuple
        """What is wrong around it that it does not know by itself: its config, certificates, secrets, log."""

    async def run(self) -> None:
        """Run until cancelled; then let go of the claims."""
        await self._copier.restore()
        loops: Sequence[tuple[str, Callable[[], Awaitable[None]]]] = (
            ("follow", self._follower.follow),
            ("identity", self._identity.run),
            ("session", self._follower.keep_session),
            ("apply", self._apply_loop),
            *((f"repair {zone}", partial(self._looks.run, zone)) for zone in self.writers),
            ("fences", self.fence_watch.run),
            ("report", self._report_loop),
            ("prune", self._prune_loop),
            ("copy", self._copier.run),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, step in loops:
                    tasks.create_task(supervised(name, step, self.health, self._rng), name=name)
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
        """Go on with another retention and pace; all else must be as it was.

        A pass or a pause that is under way ends as it began. Limits are taken from here where the store has none.
        """
        self._configured = settings.limits
        self._use(settings.ruled(self.ruling.limits))

    @property
    def ruling(self) -> Ruling:
        """The guards' limits in force, and who set them."""
        return self.cache.ruling(self._configured)

    @property
    def configured_limits(self) -> Limits:
        """The limits of the config, which count for a store that has none."""
        return self._configured

    def limits_notes(self) -> list[str]:
        """Return where this config says other limits than those in force."""
        return [
            f"guard.{name}: this config says {configured}, in force is {used}; to change that:"
            f" enactorctl limits set {name} {str(configured).lower()} --reason …"
            for name, (used, configured) in differences(self.ruling, self._configured).items()
        ]

    def _note_limits(self) -> None:
        """Judge by the limits that the store has from now on. Refused plans are judged anew."""
        ruling = self.ruling
        if ruling.limits == self.settings.limits:
            return
        before = self.settings.limits
        self._use(self.settings.ruled(ruling.limits))
        changes = [f"{name} {old} -> {new}" for name, (new, old) in differences(ruling, before).items()]
        told = LimitsChanged(changes=", ".join(changes), author=ruling.author, reason=ruling.problem or ruling.reason)
        self.ports.observer.observe(told)

    def _use(self, settings: Settings) -> None:
        tuned = replace(
            self.settings,
            limits=settings.limits,
            keep=settings.keep,
            prune_interval_s=settings.prune_interval_s,
            repair_interval_s=settings.repair_interval_s,
            repair_names_per_s=settings.repair_names_per_s,
            fence_interval_s=settings.fence_interval_s,
            fence_questions_per_s=settings.fence_questions_per_s,
        )
        assert tuned == settings, "this needs another enactor"
        self.settings = self._deps.settings = settings
        self.repairer.retune(settings)
        self._looks.settings = settings
        self._planning.settings = self._choosing.settings = settings
        self._raiser.settings = self.fence_watch.settings = settings
        self._pruner.keep = settings.keep
        self.retries.interval_s = settings.repair_interval_s
        self._choosing.forget()

    # -- plans

    async def _apply_loop(self) -> None:
        """Work on the newest acceptable plan, zone by zone; a newer one takes its place at once where that may be."""
        loop = asyncio.get_running_loop()
        pipelines = self._pipelines = Pipelines(self._deps)  # nothing of a loop that failed lives on
        try:
            while True:
                self.progress = loop.time()
                self._note_freeze()
                self._note_limits()
                self.health.note_formats(self.cache.other_formats)
                pipelines.reap()
                if self._may_work and self.cache.freeze is None:
                    try:
                        if not self.cache.rules:
                            now = self.ports.clock.now()
                            await seed(self.ports.store, self._keys, self._configured, self.settings.id, now)
                        known = pipelines.generation
                        if pipelines.judge_again or known > self.cache.newest:  # a bad plan may have been set aside
                            known = 0
                        chosen = await self._choosing.choose(known)
                        if chosen is not None:
                            await pipelines.take(*chosen)
                        await pipelines.step()
                    except (StoreDown, StoreRefused) as error:
                        self.health.store_is_down(error)
                await pipelines.wait(_IDLE_S)
        finally:
            await pipelines.stop()

    @property
    def _may_work(self) -> bool:
        """Whether plans may be applied: the store is there and our installation's, and so is this enactor's id."""
        return self.store_up and self.cache.loaded and self.cache.knows_installation and not self.health.id_problem

    def _note_freeze(self) -> None:
        freeze = self.cache.freeze
        if freeze == self._freeze:
            return
        self._freeze = freeze
        if freeze is None:
            self.ports.observer.observe(WasThawed())
        else:
            self.ports.observer.observe(WasFrozen(mode=freeze.mode, reason=freeze.reason, author=freeze.author))

    # -- repair and prune

    async def _report_loop(self) -> None:
        """Tell those who publish of the fences, while the store answers."""
        await self.fence_watch.asked(patience_s=REPORT_EVERY_S)
        while True:
            told = False
            if self.store_up:
                try:
                    told = await self.session.report(self.fence_watch.report())
                except (StoreDown, StoreRefused, LeaseLost):
                    pass  # the session's own loop finds that, too, and tells
            await asyncio.sleep(REPORT_EVERY_S if told else _IDLE_S)

    async def _prune_loop(self) -> None:
        """Prune now and then, when there are more plans than are kept."""
        while True:
            await asyncio.sleep(self.settings.prune_interval_s * self._rng.uniform(0.5, 1.0))
            if not self.store_up or len(self.cache.generations) <= self.settings.keep.plans:
                continue
            try:
                await self._pruner.prune()
            except (StoreDown, StoreRefused, Compacted, PlanUnreadable) as error:
                # An error on the way means: nothing was deleted. Tried again at the next turn.
                self.ports.observer.observe(StepFailed(step="prune", detail=str(error), traceback=""))

    # -- what it says of itself

    def _facts(self) -> dict[str, Any]:
        """What it tells the others through the store."""
        degraded = [reason[:_REASON_LENGTH_MAX] for reason in self.reasons()[:_REASONS_MAX]]
        states = self.account.zone_states()
        zones = {zone: state for zone, (state, _) in list(states.items())[:_ZONES_TOLD_MAX]}
        return {
            "working_on": self.working_on,
            "head": self.cache.head,
            "degraded": degraded,
            "zones": zones,
            "zones_left_out": len(states) - len(zones),
            "fence_interval_s": max(self.fence_intervals_s().values(), default=0.0),
        }

    @property
    def store_up(self) -> bool:
        """Whether the store answers."""
        return self.health.store_up

    @property
    def verified(self) -> int:
        """The newest generation all of which this enactor has seen served, in every zone; 0: none."""
        return self._looks.verified

    @property
    def working_on(self) -> int:
        """The generation that is worked on; 0: none."""
        return self._pipelines.working_on

    @property
    def zone_problems(self) -> dict[str, str]:
        """What keeps a zone from being looked at or written now, by zone."""
        return self.health.zone_problems

    @property
    def copy_problem(self) -> str:
        """Why the local copy cannot be saved now; nothing while it can."""
        return self._copier.problem

    @property
    def head_refusal(self) -> Refusal | None:
        """Why the newest plan as a whole is refused, or None."""
        return self._choosing.refused.get(self.cache.head)

    @property
    def unfinished(self) -> dict[str, int]:
        """How many endpoints the last pass of each zone left unfinished; zones with none left out."""
        return self._pipelines.unfinished

    @property
    def refused(self) -> Mapping[int, Refusal]:
        """The plans that were refused as a whole lately, by generation, and why."""
        return self._choosing.refused

    def reasons(self) -> list[str]:
        """Return why this enactor is degraded; nothing while all is well."""
        return self.account.reasons()

    def fence_intervals_s(self) -> dict[str, float]:
        """Return how many seconds pass, by zone, between two questions for its fence."""
        return {zone: self.fence_watch.interval_s(zone) for zone in self.writers}
