"""The enactor: read this first.

    watch -> read plan -> guards -> claim -> open -> diff -> begin, write, verify, commit -> settle

Every enactor is active, and any one can finish the job alone. Six loops run side by side:
the mirror follows the store, the session keeps its lease, plans are applied, served
names are looked at, old plans are pruned, and a copy is kept on local disk. None of them
is trusted by the others: what is written is compared by the store and the DNS server.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from enactord.core.errors import (
    Compacted,
    EnactordError,
    IdTaken,
    LeaseLost,
    PlanUnreadable,
    StoreDown,
    StoreNotOurs,
    StoreRefused,
    ZoneDown,
    ZoneOdd,
)
from enactord.core.events import LimitsChanged, StepFailed, WasFrozen, WasThawed
from enactord.core.guards import Limits
from enactord.core.refusal import Refusal
from enactord.engine.account import Account
from enactord.engine.applying import Applier
from enactord.engine.choosing import Choosing
from enactord.engine.claims import Claims
from enactord.engine.copying import Copier
from enactord.engine.evidence import Evidence
from enactord.engine.fence_watch import FenceWatch
from enactord.engine.health import ASKED_ASPECTS, FENCE_ASPECTS, Aspect, Health
from enactord.engine.identity import Identity
from enactord.engine.loops import supervised
from enactord.engine.opening import Opener
from enactord.engine.pace import Backoff, Gate
from enactord.engine.pipelines import Pipelines
from enactord.engine.planning import Planning
from enactord.engine.primaries import PrimaryChoice
from enactord.engine.probing import Ground
from enactord.engine.pruner import Pruner
from enactord.engine.repairer import Repairer
from enactord.engine.retries import Retries
from enactord.engine.settings import Ports, Settings
from enactord.engine.sharing import Sharing
from enactord.engine.writer import ZoneDenied, ZoneWriter
from enactord.store.control import Freeze
from enactord.store.keys import Keys
from enactord.store.limits import Ruling, differences, seed
from enactord.store.mirror import Mirror
from enactord.store.reports import REPORT_EVERY_S
from enactord.store.session import RENEWED_S, Session

_REASONS_MAX, _REASON_LENGTH_MAX = 8, 300
"""What of its troubles an enactor tells the others through the store."""
_ZONES_TOLD_MAX = 100
_IDLE_S = 1.0
_RETRY_FIRST_S = 0.05
_RETRY_CAP_S = 5.0
_LOOKS_AT_ONCE = 8
_LOOK_PATIENCE_S = 1.0
_UNSETTLED_PAUSE_S = 5.0
"""The pause before a zone is looked at again of which some server does not show yet what its own server does."""
_NEGATIVE_TTL_EVERY_S = 300.0
_RELOAD_S = 300.0
"""A full re-read of the store, whatever the watch says: watches have lost events (etcd 3.4.31, 3.4.36)."""


class Enactor:
    """One enactor of a scope."""

    def __init__(self, settings: Settings, ports: Ports, rng: random.Random) -> None:
        self.settings = settings
        self._configured = settings.limits
        self.ports = ports
        self.mirror = Mirror(Keys(settings.scope))
        servers = {zone: [verifier.server for verifier in ports.zones[zone].verifiers] for zone in sorted(ports.zones)}
        self.health = Health(ports.observer, Evidence(servers, ports.clock))
        self.progress = 0.0
        self._verified = dict.fromkeys(ports.zones, 0)
        """By zone, the newest generation all of which was seen served, on every server that counts."""
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
            installation=lambda: self.mirror.installation,
        )
        self._identity = Identity(settings, ports, self.mirror, self.health)
        self.retries = Retries(rng, lambda: asyncio.get_running_loop().time(), interval_s=settings.repair_interval_s)
        self._planning = Planning(settings, ports, self.mirror)
        self._claims = Claims(self.session)
        self._sharing = Sharing(settings.id, self.mirror)
        self._opener = Opener(settings, ports, self.mirror)
        self._wanted = {zone: asyncio.Event() for zone in self.writers}
        """Zones that are to be looked at without waiting for their turn."""
        self._applier = Applier(
            settings,
            ports,
            self.mirror,
            self._planning,
            self._claims,
            self._sharing,
            self.writers,
            self._opener,
            self.health,
            rng,
            self.retries,
            look=self._look_soon,
        )
        self._pipelines = self._new_pipelines()
        self._choosing = Choosing(
            settings,
            ports,
            self.mirror,
            self._planning,
            list(self.writers),
            has_work=lambda manifest: self._pipelines.has_work(manifest),
            is_down=lambda zone: bool(self.health.zone_problem(zone)),
        )
        self.repairer = Repairer(
            settings,
            ports,
            self.mirror,
            self.writers,
            self._opener,
            PrimaryChoice(settings, ports, self.mirror, store_up=lambda: self.store_up),
            rng,
            store_up=lambda: self.store_up,
            health=self.health,
            retries=self.retries,
        )
        self.fence_watch = FenceWatch(settings, ports, self.mirror, self.health, look=self._look_soon)
        self._looks = Gate(_LOOKS_AT_ONCE, patience_s=_LOOK_PATIENCE_S)
        self._pruner = Pruner(
            ports.store,
            settings.scope,
            zones=sorted(ports.zones),
            keep=settings.keep,
            clock=ports.clock,
            observer=ports.observer,
        )
        self._copier = Copier(ports, self.mirror)
        self._reload = asyncio.Event()
        self._freeze: Freeze | None = None
        self._negative_ttl_at: dict[str, float] = {}
        self.account = Account(self)
        self.surroundings: Callable[[], Sequence[str]] = tuple
        """What is wrong around it that it does not know by itself: its config, certificates, secrets, log."""

    def _new_pipelines(self) -> Pipelines:
        return Pipelines(
            self.settings,
            self.ports,
            self.mirror,
            self._planning,
            self._applier,
            self._claims,
            self._sharing,
            self.retries,
            self.health,
            self._rng,
        )

    async def run(self) -> None:
        """Run until cancelled; then let go of the claims."""
        await self._copier.restore()
        loops: Sequence[tuple[str, Callable[[], Awaitable[None]]]] = (
            ("follow", self._follow),
            ("identity", self._identity.run),
            ("session", self._keep_session),
            ("apply", self._apply_loop),
            *((f"repair {zone}", partial(self._repair_loop, zone)) for zone in self.writers),
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
        return self.mirror.ruling(self._configured)

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
        self.settings = self._applier.settings = settings
        self.repairer.retune(settings)
        self._planning.settings = self._choosing.settings = self._pipelines.settings = settings
        self._opener.settings = self.fence_watch.settings = settings
        self._pruner.keep = settings.keep
        self.retries.interval_s = settings.repair_interval_s
        self._choosing.forget()

    # -- the store

    async def _follow(self) -> None:
        """Keep the mirror current; when the store is away, say so and go on from where it was."""
        backoff = Backoff(self._rng, first_s=_RETRY_FIRST_S, cap_s=_RETRY_CAP_S)
        while True:
            try:
                if self.mirror.loaded:
                    # A watch that is resumed is no answer: without one, a store that is away would count as up at
                    # each attempt, and be tried again without a pause. Meanwhile it may have become another one.
                    await self._check_same_store()
                else:
                    await self.mirror.load(self.ports.store)
                    self._reload.clear()
                self._store_is_up()
                backoff.reset()
                await self._follow_until_reload()
            except Compacted:
                self.mirror.loaded = False
            except StoreNotOurs as error:
                self.mirror.loaded = False
                self.health.store_is_refused(str(error))
                await asyncio.sleep(backoff.next_s())
            except (StoreDown, StoreRefused) as error:
                self.health.store_is_down(error)
                await asyncio.sleep(backoff.next_s())

    async def _check_same_store(self) -> None:
        """Ask for the installation's id; a store that shows another, or none, is read afresh, and judged by that."""
        known = self.mirror.stored_installation
        item = (await self.ports.store.get([self._keys.installation])).get(self._keys.installation)
        if (item and item.value) != (known and known.value):
            await self.mirror.load(self.ports.store)

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
            if not self.mirror.knows_installation:
                await self.mirror.wait_until(lambda: self.mirror.knows_installation, _IDLE_S)
                continue
            try:
                degraded = [reason[:_REASON_LENGTH_MAX] for reason in self.reasons()[:_REASONS_MAX]]
                states = self.account.zone_states()
                zones = {zone: state for zone, (state, _) in list(states.items())[:_ZONES_TOLD_MAX]}
                await self.session.keep(
                    {
                        "working_on": self.working_on,
                        "head": self.mirror.head,
                        "degraded": degraded,
                        "zones": zones,
                        "zones_left_out": len(states) - len(zones),
                        "fence_interval_s": max(self.fence_intervals_s().values(), default=0.0),
                    }
                )
                self.health.note_id("")
                await self.session.release_all_but(self._claims.generations, self.mirror.all_claims)
                await self._check_watch()
                self._store_is_up()
            except (StoreDown, StoreRefused) as error:
                self.health.store_is_down(error)
            except LeaseLost:
                continue
            except IdTaken as error:
                self.health.note_id(str(error))
                await asyncio.sleep(min(_IDLE_S, self.settings.claim_ttl_s / 3))
                continue
            except StoreNotOurs:
                self._reload.set()  # to read it afresh tells more
            await asyncio.sleep(min(RENEWED_S, self.settings.claim_ttl_s / 3))

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
        if self.mirror.loaded:
            self.health.store_is_up(self.mirror.revision)

    # -- plans

    async def _apply_loop(self) -> None:
        """Work on the newest acceptable plan, zone by zone; a newer one takes its place at once where that may be."""
        loop = asyncio.get_running_loop()
        pipelines = self._pipelines = self._new_pipelines()  # nothing of a loop that failed lives on
        try:
            while True:
                self.progress = loop.time()
                self._note_freeze()
                self._note_limits()
                self.health.note_formats(self.mirror.other_formats)
                pipelines.reap()
                if self._may_work and self.mirror.freeze is None:
                    try:
                        if not self.mirror.rules:
                            now = self.ports.clock.now()
                            await seed(self.ports.store, self._keys, self._configured, self.settings.id, now)
                        known = pipelines.generation
                        if pipelines.judge_again or known > self.mirror.newest:  # a bad plan may have been set aside
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
        return self.store_up and self.mirror.loaded and self.mirror.knows_installation and not self.health.id_problem

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

    async def _repair_loop(self, zone: str) -> None:
        """Look at a zone at a slow, bounded pace of its own."""
        await asyncio.sleep(self._rng.uniform(0.0, min(1.0, self.settings.repair_interval_s)))
        wanted = self._wanted[zone]
        while True:
            wanted.clear()
            async with self._looks.place():
                unsettled = await self._look(zone)
            pause_s = self.settings.repair_interval_s * self._rng.uniform(0.8, 1.0)
            try:
                async with asyncio.timeout(min(pause_s, _UNSETTLED_PAUSE_S) if unsettled else pause_s):
                    await wanted.wait()
            except TimeoutError:
                pass

    def _look_soon(self, zone: str) -> None:
        self._wanted[zone].set()

    async def _look(self, zone: str) -> bool:
        """Look at a zone; returns whether another look is due soon."""
        self.writers[zone].budget.trickle()
        applied = self.mirror.applied(zone)
        try:
            look = await self.repairer.look(zone, cut=self._wanted[zone].is_set)
        except ZoneDown as error:
            self.health.zone_cannot_be_asked(zone, error)
            if not isinstance(error, ZoneOdd):
                for verifier in self.ports.zones[zone].own_verifiers:
                    self.health.server_is_silent(zone, verifier.server, str(error))
        except ZoneDenied as error:
            self.health.zone_is_down(zone, Aspect.WRITING, str(error))
        except (StoreDown, StoreRefused) as error:
            self.health.store_is_down(error)
        else:
            self.health.zone_is_up(zone, *ASKED_ASPECTS)
            if look.cut:
                return False  # nothing was found out of its fence
            await self._read_negative_ttl(zone)
            if look.problem:
                aspect = Aspect.IDENTITY if look.foreign else Aspect.HELD if look.held else Aspect.FENCE
                self.health.fence_is_not_ours(zone, aspect, look.problem)
                return False
            self.health.zone_is_up(zone, *FENCE_ASPECTS)
            if self.health.has(zone, Aspect.WRITING) and await self._takes_updates(zone):
                self.health.zone_is_up(zone, Aspect.WRITING)
            if not (look.drifts or look.unsettled) and self.mirror.applied(zone) == applied:
                self._verified[zone] = max(self._verified[zone], applied)
            return look.unsettled
        return False

    async def _read_negative_ttl(self, zone: str) -> None:
        """Now and then, ask how long an empty answer of the zone is kept by those who saw one."""
        now = asyncio.get_running_loop().time()
        if now < self._negative_ttl_at.get(zone, 0.0):
            return
        self._negative_ttl_at[zone] = now + _NEGATIVE_TTL_EVERY_S
        try:
            negative_ttl_s = await self.ports.zones[zone].zone.negative_ttl_s()
        except ZoneDown:
            return  # the next look tells
        self.health.evidence.note_negative_ttl(zone, negative_ttl_s)

    async def _takes_updates(self, zone: str) -> bool:
        """Ask a server that refused our updates whether it takes them now, where others have left nothing to write."""
        record = self.mirror.fence(zone)
        if record is None or self.mirror.applied(zone) < self._pipelines.generation:
            return False  # the next pass tells
        standing = await self.writers[zone].prober.ground(record.txt)
        return standing.ground in (Ground.FINE, Ground.MOVED)

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
            if not self.store_up or len(self.mirror.generations) <= self.settings.keep.plans:
                continue
            try:
                await self._pruner.prune()
            except (StoreDown, StoreRefused, Compacted, PlanUnreadable) as error:
                # An error on the way means: nothing was deleted. Tried again at the next turn.
                self.ports.observer.observe(StepFailed(step="prune", detail=str(error), traceback=""))

    # -- what it says of itself

    @property
    def store_up(self) -> bool:
        """Whether the store answers."""
        return self.health.store_up

    @property
    def verified(self) -> int:
        """The newest generation all of which this enactor has seen served, in every zone; 0: none."""
        return min(self._verified.values(), default=0)

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
        return self._choosing.refused.get(self.mirror.head)

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
