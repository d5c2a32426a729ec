"""One seed: a hostile while with enactors, planners and operators, then calm, then the checks."""

import asyncio
import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from enactord.backends.memory import MemoryServer
from enactord.core.buckets import Filling, slot_of
from enactord.core.content import parse_content
from enactord.core.errors import EnactordError, PlanUnreadable, StoreDown
from enactord.core.events import Event
from enactord.core.fence import FENCE_MAX, Fence, FenceSeen, parse_fence
from enactord.core.kv import Item
from enactord.core.names import zone_of
from enactord.core.plan import GENERATION_MAX, Approval, Manifest, read_plan
from enactord.core.records import NO_RECORDS, Reason, Records, Refused, Unknown
from enactord.core.refusal import ZONE_GUARDS, Refusal
from enactord.core.render import render
from enactord.core.retention import Keep
from enactord.engine.enactor import Enactor
from enactord.engine.prune import Pruner
from enactord.engine.settings import HEAD_START_S, Ports, Settings, ZonePorts, ZoneSettings
from enactord.ports import Verifier
from enactord.store.cache import Cache
from enactord.store.control import Freeze, freeze, thaw
from enactord.store.keys import Keys
from enactord.store.layout import (
    APPLIED,
    CHUNK,
    CLAIM,
    CONFIGURED,
    ENACTOR,
    FENCE,
    HEAD,
    LEDGER,
    PLAN,
    PRUNE_EPOCH,
    REPORT,
)
from enactord.store.plans import Orders, Plans
from enactord.telemetry.failures import Failures
from enactord.telemetry.fanout import Fanout
from tests.simulation.checkers import ANSWERS_MAX, check
from tests.simulation.history import Edited, History, Published, line
from tests.simulation.hostile import HostileStore, HostileZone, WatchedStore, Weather
from tests.simulation.loop import owner, run, simulated
from tests.world import SCOPE, DictCopy, JumpingClock, Recorder, WallClock, draw_marks, plan, tolerant

ZONES = ("one.test.", "two.test.", "deep.one.test.")
HOSTILE_S = 120.0
CALM_S = 600.0
"""The bound within which all must be well again; the longest wait of the engine is its full re-read, 300 s."""
REMOVED_MAX_RATIO = 0.5
_SLOTS = 16
FILLINGS = (Filling(low=1, high=3, chosen=2), Filling(low=1, high=2, chosen=1), Filling())
"""Names a slot: so few in most worlds that the slots of a zone are split and joined as plans grow and shrink."""
_HEAD_STARTS = (8, 11, 16)
KEYS = Keys(SCOPE)
WORDS = (
    Refused(reason=Reason.DENIED, detail="REFUSED", answer="REFUSED"),
    Refused(reason=Reason.CONTENT, detail="FORMERR", answer="FORMERR"),
    Unknown(detail="SERVFAIL", answered=True),
)
"""What a server says to a name that it does not take."""
REFILL_S = 60.0
ORDINARY = Orders()
HURRIED = Orders(rollback_of=1, reason="drill")
"""What an operator orders does not wait for the plan that is open."""

PUBLISHERS = ("planner", "operator")

KINDS: Mapping[str, int] = {
    "publish": 30,
    "race": 4,
    "far": 1,
    "hang": 4,
    "delta": 8,
    "bad": 6,
    "back": 6,
    "rollback": 4,
    "approve": 3,
    "pause": 12,
    "crash": 8,
    "cut": 10,
    "edit": 10,
    "squat": 3,
    "wipe": 2,
    "zone_backup": 3,
    "store_backup": 1,
    "restart": 3,
    "dns": 4,
    "slow": 3,
    "freeze": 3,
    "revoke": 4,
    "compact": 3,
    "prune": 3,
    "clock": 3,
}
"""What may happen, and how often; a seed leaves about a third of them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """What a world is about: few names, and few kinds of faults that come close together."""

    name: str
    kinds: Mapping[str, int]
    enactors: tuple[int, int]
    names: tuple[int, int]
    gap_s: float
    """Time between two events, on average."""
    weather: Mapping[str, float] = field(default_factory=dict)
    several: bool = False
    """Whether there are several zones."""
    apart: bool = False
    """Whether each part is looked at by itself, while faults last."""


ANYTHING = Theme(name="anything may happen", kinds=KINDS, enactors=(2, 5), names=(3, 10), gap_s=1.5)
THEMES = (
    Theme(
        name="writes without a known end, and a plan that is held",
        kinds={"hold": 12, "publish": 2, "delta": 1, "pause": 1, "slow": 8},
        enactors=(2, 3),
        names=(3, 6),
        gap_s=1.5,
        weather={"drop": 0.45, "late": 0.05, "late_max_s": 5.0},
    ),
    Theme(
        name="new names that others hold for a while",
        kinds={"lodge": 12, "publish": 4, "pause": 2, "slow": 2, "cut": 1},
        enactors=(2, 3),
        names=(3, 5),
        gap_s=2.0,
        weather={"late": 0.3, "late_max_s": 4.0},
    ),
    Theme(
        name="a scope that grows, and a plan that would drop it again",
        kinds={"swing": 12, "delta": 2, "crash": 2},
        enactors=(3, 4),
        names=(10, 14),
        gap_s=3.0,
        weather={"lag": 0.25, "lag_max_s": 2.0},
    ),
    Theme(
        name="a plan frozen half way, and names emptied as it goes on",
        kinds={"thaw": 12, "publish": 3, "edit": 2},
        enactors=(3, 5),
        names=(10, 14),
        gap_s=3.0,
        weather={"lag": 0.25, "lag_max_s": 3.0},
    ),
    Theme(
        name="names that the zone does not take, keep or answer for, and names emptied beside them",
        kinds={
            "refuse": 8, "keep_out": 4, "delegate": 4, "wildcard": 4, "mute": 2, "lodge": 3, "publish": 8, "delta": 2,
            "edit": 6, "pause": 2, "crash": 2, "cut": 2, "dns": 1,
        },
        enactors=(2, 3),
        names=(6, 14),
        gap_s=1.5,
        weather={"drop": 0.02, "late": 0.02, "late_max_s": 5.0},
    ),
    Theme(
        name="enactors without the store, and zones whose fence is lost",
        kinds={"cut": 10, "unfence": 10, "publish": 10, "edit": 4, "restart": 2, "zone_backup": 2},
        enactors=(2, 3),
        names=(3, 8),
        gap_s=3.0,
    ),
    Theme(
        name="one part after another is broken, and the others are served",
        kinds={
            "publish": 12, "delta": 4, "hang": 3, "dns": 1, "deny": 1, "far": 1, "refuse": 4, "delegate": 2,
            "keep_out": 2,
        },
        enactors=(2, 3),
        names=(4, 9),
        gap_s=2.5,
        weather={"timeout_s": 30.0},
        several=True,
        apart=True,
    ),
    Theme(
        name="values of the store are damaged",
        kinds={"spoil": 10, "tear": 2, "publish": 8, "delta": 3, "edit": 3, "crash": 1, "restart": 1, "prune": 2},
        enactors=(2, 3),
        names=(4, 8),
        gap_s=3.0,
        several=True,
        apart=True,
    ),
)  # fmt: skip
SPOILT = (HEAD, PLAN, CHUNK, LEDGER, FENCE, APPLIED, CLAIM, ENACTOR, REPORT, CONFIGURED, PRUNE_EPOCH)
"""Kinds of values that are damaged: those after which nobody has to say anything."""
TROUBLED = 4
STORE = "the store"
FAR = (2**40, GENERATION_MAX - 1, FENCE_MAX)
APART_S = 10.0
"""The bound of that theme: so long after a plan was published, whatever was not broken meanwhile serves it."""
TURNS = {11: TROUBLED, 4: 5, 12: 6, 15: 7, 3: 0, 7: 1, 9: 2, 10: 3, 13: 0, 14: 1, 17: 2, 18: 3}
"""Of twenty seeds, those that have a theme, and which; in the others anything may happen."""


class Faulty:
    """What only tells, and fails at that now and then."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather

    def observe(self, event: Event) -> None:
        if self._weather.happens("telling failed", 0.05):
            raise OSError("no room for the line")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a seed came to. `trace`: its facts, one line each, the same at every replay."""

    seed: int
    violations: tuple[str, ...]
    simulated_s: float
    steps: int
    faults: dict[str, int]
    trace: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The trace and the steps in one short word."""
        return hashlib.sha256("\n".join([*self.trace, str(self.steps)]).encode()).hexdigest()[:16]


class Scenario:
    """The world of one seed; made within its loop."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(f"scenario {seed}")
        self.history = History()
        self.zones = rng.choice([ZONES[:1], ZONES[:2], ZONES[:2], ZONES])
        self.weather = Weather(
            rng=random.Random(f"weather {seed}"),
            history=self.history,
            lose=rng.choice([0.0, 0.01, 0.03]),
            late=rng.choice([0.0, 0.02, 0.05]),
            twice=rng.choice([0.0, 0.02]),
            lie=rng.choice([0.0, 0.0, 0.01, 0.05, 0.2]),
            lag=rng.choice([0.0, 0.1, 0.3]),
        )
        self.theme = THEMES[TURNS[seed % 20]] if seed % 20 in TURNS else ANYTHING
        if self.theme is not ANYTHING:
            self.zones = ZONES if self.theme.several else ZONES[:1]
            self.weather = Weather(
                rng=self.weather.rng,
                history=self.history,
                **self.theme.weather,  # type: ignore[arg-type]
            )
        self.store = WatchedStore(self.history, KEYS, self.zones, honest=not self.weather.lie)
        filling = rng.choice(FILLINGS)
        self.plans = Plans(self.store, KEYS, WallClock(), zones=self.zones, filling=filling)
        """The plans as they are in truth."""
        self.publishers = [
            Plans(HostileStore(self.store, self.weather, name), KEYS, WallClock(), zones=self.zones, filling=filling)
            for name in PUBLISHERS
        ]
        self.servers = {zone: MemoryServer(zone) for zone in self.zones}
        slots = rng.sample(range(_SLOTS), 3) if rng.random() < 0.5 else range(_SLOTS)
        self.names = [name for zone in self.zones for name in _names(zone, rng.randint(*self.theme.names), slots)]
        self.kinds = {kind: weight for kind, weight in KINDS.items() if kind == "publish" or rng.random() < 0.65}
        if self.theme is not ANYTHING:
            self.kinds = dict(self.theme.kinds)
        # As shipped in some; in the others enactors meet at each plan, however small.
        self.head_start_s = HEAD_START_S if seed % 20 in _HEAD_STARTS else 0.0
        # With a window, every plan of some seconds stays; without, only what is needed and a few.
        self.keep = Keep(plans=rng.choice([0, 0, 1, 3]), window_s=10.0 if seed % 3 == 0 else 0.0)
        self.copies: dict[str, DictCopy] = {}
        self.clocks: dict[str, JumpingClock] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.lives: dict[str, str] = {}
        self.deliveries: set[asyncio.Task[None]] = set()
        self.contents: list[dict[str, list[str]]] = []
        self.refused: list[int] = []
        self.saved_store: tuple[int, dict[str, Item]] | None = None
        self.saved_zones: dict[str, tuple[dict[str, Records], tuple[bytes, ...]]] = {}
        self.started = 0
        self.broken: dict[str, int] = {}
        """Names that their zone refuses, drops or does not answer for, with when that began (a count)."""
        self.breaks = 0
        self.far: list[Callable[[], None]] = []
        """What puts fences back that are out of reach."""
        self.disturbances: Counter[str] = Counter()
        self.disturbed: dict[str, float] = {}
        """Names and zones that are broken, or were, and until when."""
        self.apart: list[str] = []
        """What the theme of parts found."""

    async def run(self) -> list[str]:
        """Go through it all; returns what is wrong."""
        loop = simulated()
        for index in range(self.rng.randint(*self.theme.enactors)):
            self.start(f"e{index}")
        await self.publish()
        while loop.time() < HOSTILE_S:
            await asyncio.sleep(self.rng.expovariate(1 / self.theme.gap_s))
            await self.disturb()
        await self.heal()
        violations = self.check() + self.apart
        if not violations:
            violations = await self.converge()
        if not violations and self.theme is THEMES[TROUBLED]:
            violations = await self.refill()
            for name in sorted(self.broken):
                self._mend(name)
            if not violations:  # once mended, by itself
                violations = await self.converge(publish=False)
        if not violations:  # once more, by repair alone: a zone loses all that it has, and no plan comes
            await self.do_wipe("")
            violations = await self.converge(publish=False)
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), *self.deliveries, return_exceptions=True)
        late = self.check()
        return violations + [violation for violation in late if violation not in violations]

    def check(self) -> list[str]:
        """Return what the history violates so far."""
        honest = not self.weather.lie
        return check(self.history.facts, zones=self.zones, removed_max_ratio=REMOVED_MAX_RATIO, honest=honest)

    # -- enactors

    def start(self, name: str, *, fresh_disk: bool = False) -> None:
        """Start an enactor; its tasks carry its name, so that it can be stopped at any await."""
        if fresh_disk or name not in self.copies:
            self.copies[name] = DictCopy()
        self.started += 1
        life = self.lives[name] = f"{name}/{self.started}"
        clock = self.clocks.setdefault(name, JumpingClock())
        settings = [ZoneSettings(name=zone, batch_names_max=4, in_flight_max=3) for zone in self.zones]
        zones = {}
        for zone in settings:
            way = HostileZone(self.servers[zone.name], self.weather, life, self.deliveries)
            verifier = Verifier(server="memory", bulk=way, sample=way)
            zones[zone.name] = ZonePorts(settings=zone, zone=way, verifiers=[verifier])
        ports = Ports(
            store=HostileStore(self.store, self.weather, name),
            zones=zones,
            clock=clock,
            observer=Fanout({"log": Faulty(self.weather)}, Failures()),
            copy=self.copies[name],
            draw_mark=draw_marks(life),
        )
        chosen = Settings(
            id=name,
            scope=SCOPE,
            zones=settings,
            limits=tolerant(endpoints_removed_max_ratio=REMOVED_MAX_RATIO),
            claim_ttl_s=6,
            keep=self.keep,
            prune_interval_s=5.0,
            repair_interval_s=7.0,
            repair_names_per_s=1000.0,
            verify_timeout_s=1.0,
            head_start_s=self.head_start_s,
            first_answers_s=3.0,
        )
        enactor = Enactor(chosen, ports, random.Random(f"{life} {self.rng.random()}"))
        token = owner.set(life)
        try:
            self.tasks[name] = asyncio.get_running_loop().create_task(enactor.run())
        finally:
            owner.reset(token)

    # -- what happens

    async def disturb(self) -> None:
        kinds = list(self.kinds)
        kind = self.rng.choices(kinds, [self.kinds[kind] for kind in kinds])[0]
        self.history.fault(kind)
        await getattr(self, f"do_{kind}")(self.rng.choice(sorted(self.tasks)))

    async def publish(
        self, content: Mapping[str, list[str]] | None = None, orders: Orders = ORDINARY
    ) -> Manifest | Refusal:
        """Publish a whole plan: fresh content for most names, the same as before for some."""
        if content is None:
            number = len(self.contents) + 1
            before = self.contents[-1] if self.contents else {}
            fresh = {name: _targets(number, index) for index, name in enumerate(self.names) if self._keeps()}
            content = {n: before[n] if n in before and self.rng.random() < 0.4 else a for n, a in fresh.items()}
            self.contents.append(dict(content))
        draft = read_plan(plan(content))
        published = await self._send(lambda plans: plans.publish(draft, orders))
        if self.theme.apart and isinstance(published, Manifest):
            simulated().call_later(APART_S, self._look_apart, list(draft.endpoints))
        return published

    def _keeps(self) -> bool:
        """Whether a fresh plan keeps a name: nearly always, and at the end always, so that no guard can refuse it."""
        return self.rng.random() > 0.05 or self.weather.calm

    def _look_apart(self, contents: Collection[str]) -> None:
        """Whatever is broken elsewhere: a name of which nothing was broken since a plan came serves that plan by now.

        Or a newer one. Nothing of it is about the time after faults have stopped.
        """
        if self.weather.calm:
            return
        since = simulated().now - APART_S
        plans = [fact for fact in self.history.facts if isinstance(fact, Published) and fact.at >= since - 1.0]
        for name in contents:
            zone = zone_of(name, self.zones) or ""
            if max(self.disturbed.get(part, 0.0) for part in (name, zone, STORE)) > since:
                continue
            self.history.fault("looked at apart")
            served = self._server(name).serve(name).records.addresses
            if served not in [_rendered(fact, name) for fact in plans]:
                self.apart.append(f"apart at {simulated().now:.3f}: {name} serves no plan of the last {APART_S:g} s")

    async def _send(self, publish: Callable[[Plans], Awaitable[Manifest | Refusal]]) -> Manifest | Refusal:
        """Publish as one of two publishers does, each by a way to the store that fails like everybody's."""
        try:
            return await publish(self.rng.choice(self.publishers))
        except (StoreDown, PlanUnreadable) as error:
            self.history.fault(f"publication ended by {type(error).__name__}")
            return Refusal(guard="store", detail=str(error))

    async def do_publish(self, name: str) -> None:
        await self.publish()

    async def do_race(self, name: str) -> None:
        """Both publishers at the same time; now and then one of them is ended half way."""
        tasks = [asyncio.create_task(self.publish()) for _ in PUBLISHERS]
        if self.rng.random() < 0.3:
            await asyncio.sleep(self.rng.uniform(0.0, 0.3))
            tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def do_delta(self, name: str) -> None:
        """A plan that names only what changes, and withdraws a name now and then."""
        head, _ = await self.plans.newest()
        manifest = await self._manifest(head)
        if manifest is None:
            return
        try:
            contents = await self.plans.endpoints(manifest)
        except PlanUnreadable:
            return
        some = self.rng.choice(sorted(contents))
        document = plan({some: [f"10.251.{self.store.published % 250}.{1 + i}" for i in range(3)]}, base=head)
        if len(contents) > 4 and self.rng.random() < 0.4:
            gone = self.rng.choice([name for name in sorted(contents) if name != some])
            document["endpoints"][gone] = {"withdraw": True}
        draft = read_plan(document)
        await self._send(lambda plans: plans.publish(draft, Orders()))

    async def do_bad(self, name: str) -> None:
        """A plan with an empty endpoint, with one that lost most of its targets, or with most endpoints gone."""
        kept = dict(self.contents[-1])
        what = self.rng.choice(["empty", "weak", "short"])
        if what == "empty":
            kept[self.rng.choice(sorted(kept))] = []
        elif what == "weak":
            some = self.rng.choice(sorted(kept))
            left = self.rng.choice([1, max(1, len(kept[some]) - 1)])
            kept[some] = [f"10.253.{self.store.published % 250}.{1 + i}" for i in range(left)]
            self.contents[-1] = dict(kept)
        else:
            if self.rng.random() < 0.5:
                await self.publish()  # and the bad one before anybody can have applied it
                await asyncio.sleep(self.rng.uniform(0.0, 0.5))
            kept = dict(sorted(kept.items())[: max(1, len(kept) // 5)])
        published = await self.publish(kept)
        if isinstance(published, Manifest):
            self.refused.append(published.generation)

    async def do_back(self, name: str) -> None:
        """A planner flips back to older content, in a new plan; often to what it has only just replaced."""
        if self.rng.random() < 0.6:
            before = dict(self.contents[-1])
            await self.publish()
            await asyncio.sleep(self.rng.uniform(0.0, 1.0))
            await self.publish(before)
        else:
            await self.publish(self.rng.choice(self.contents))

    async def do_rollback(self, name: str) -> None:
        generations = await self.plans.generations()
        if generations:
            await self._republish(old := self.rng.choice(generations), Orders(rollback_of=old, reason="drill"))

    async def do_approve(self, name: str) -> None:
        """An operator approves a bad plan: what weighs change passes, an empty endpoint does not."""
        if self.refused:
            of = self.refused[-1]
            await self._republish(of, Orders(approval=Approval(of=of, author="sim", reason="drill"), reason="drill"))

    async def _republish(self, generation: int, orders: Orders) -> None:
        if await self._manifest(generation) is not None:
            await self._send(lambda plans: plans.republish(generation, orders))

    async def _manifest(self, generation: int) -> Manifest | None:
        try:
            return await self.plans.manifest(generation) if generation else None
        except PlanUnreadable:
            return None

    async def do_pause(self, name: str, first_s: float = 0.1, last_s: float = 30.0) -> None:
        life = self.lives[name]
        simulated().stop_owner(life)
        simulated().call_later(self.rng.uniform(first_s, last_s), simulated().continue_owner, life)

    async def do_crash(self, name: str) -> None:
        simulated().kill_owner(self.lives[name])
        await asyncio.sleep(self.rng.uniform(0.0, 10.0))
        self.disturbed[STORE] = simulated().now  # its claims live on for a while
        self.start(name, fresh_disk=self.rng.random() < 0.3)

    async def do_cut(self, name: str) -> None:
        if self.rng.random() < 0.1:
            name = self.rng.choice(PUBLISHERS)
        self.weather.cut_off.add(name)
        self._later(1.0, 25.0, lambda: self.weather.cut_off.discard(name))

    async def do_edit(self, name: str) -> None:
        target = self.rng.choice(self.names)
        if self._server(target).serve(target).records.empty:
            return
        self._edit(target, NO_RECORDS if self.rng.random() < 0.5 else _foreign(self.rng.randint(1, 250)))
        self.disturbed[target] = simulated().now

    async def do_squat(self, name: str) -> None:
        """Somebody else's record stands where no plan has been yet; the next plan wants the name."""
        target = f"s{self.store.published:02d}.{self.rng.choice(self.zones)}"
        if zone_of(target, self.zones) is not None and target not in self.names:
            self._edit(target, _foreign(99))
            self.names.append(target)

    async def do_wipe(self, name: str) -> None:
        self._set_zone(self.rng.choice(self.zones), {}, ())

    async def do_unfence(self, name: str) -> None:
        """A zone keeps its names, and its fence is deleted or garbled."""
        zone = self.rng.choice(self.zones)
        self._set_fence(zone, (b"\x04what",) if self.rng.random() < 0.3 else ())

    async def do_zone_backup(self, name: str) -> None:
        """A zone is saved, or set back to what was saved."""
        zone = self.rng.choice(self.zones)
        if zone in self.saved_zones and self.rng.random() < 0.5:
            self._set_zone(zone, *self.saved_zones[zone])
        elif not self._is_far(self.servers[zone].fence):
            server = self.servers[zone]
            self.saved_zones[zone] = (self._held(server), server.fence)

    async def do_store_backup(self, name: str) -> None:
        """The store is saved, or set back to what was saved, revision and all.

        Not to nothing: that it is the same store, a person must say then.
        """
        if self.rng.random() < 0.5 and self.saved_store is not None:
            self.store.restore(self.saved_store)
            return
        cache = Cache(KEYS)
        await cache.load(self.store)
        if cache.installation and cache.has_content:
            self.saved_store = self.store.backup()

    async def do_spoil(self, name: str) -> None:
        """One value is deleted, emptied or garbled past everybody."""
        kind = self.rng.choice(SPOILT)
        keys = [item.key for item in (await self.store.range(*KEYS.bounds(kind))).items]
        if keys:
            value = self.rng.choice([None, b"", kind.value(b"\x1bgarbage{"), b"\xff"])
            names = await self.store.spoil(self.rng.choice(keys), value)
            self.disturbed[STORE] = simulated().now
            self.disturbed.update(dict.fromkeys(names, inf))  # held as somebody's, until they serve what a plan says

    async def do_tear(self, name: str) -> None:
        """A chunk of the newest plan is damaged, and the next plan changes one name, and so counts on it."""
        head, _ = await self.plans.newest()
        manifest = await self._manifest(head)
        if manifest is not None and manifest.digests():
            key = KEYS.chunk(self.rng.choice(sorted(manifest.digests())))
            await self.store.spoil(key, CHUNK.value(b"\x1bgarbage{"))
            self.disturbed[STORE] = simulated().now
            await asyncio.sleep(self.rng.uniform(0.0, 2.0))
            some = self.rng.choice(self.names)
            self.contents.append(self.contents[-1] | {some: _targets(len(self.contents) + 1, self.names.index(some))})
            await self.publish(dict(self.contents[-1]))
            await asyncio.sleep(self.rng.uniform(0.0, 2 * APART_S))

    async def do_restart(self, name: str) -> None:
        self.store.restart()
        self.disturbed[STORE] = simulated().now

    async def do_dns(self, name: str) -> None:
        server = self.servers[self.rng.choice(self.zones)]
        server.up = False
        self._later(1.0, 20.0, self._disturb(server.zone, lambda: setattr(server, "up", True)))

    async def do_hang(self, name: str) -> None:
        """A zone's server answers nothing for a while."""
        zone = self.rng.choice(self.zones)
        self.weather.hung.add(zone)
        self._later(3.0, 40.0, self._disturb(zone, lambda: self.weather.hung.discard(zone)))

    async def do_far(self, name: str) -> None:
        """Somebody sets a fence out of all reach, and an operator puts it back: nobody may have followed it."""
        zone = self.rng.choice(self.zones)
        server = self.servers[zone]
        before = server.fence
        if self._is_far(before):
            return
        far = Fence(scope=SCOPE, generation=self.rng.choice(FAR), plan="f" * 16).seen
        self._set_fence(zone, far)

        def put_back() -> None:
            if server.fence == far:
                self._set_fence(zone, before)

        self.far.append(put_back)
        self._later(3.0, 30.0, self._disturb(zone, put_back))

    def _is_far(self, seen: FenceSeen) -> bool:
        fence = parse_fence(seen)
        return fence is not None and fence.generation in FAR

    async def do_deny(self, name: str) -> None:
        """A zone's server takes no updates of the key for a while."""
        zone = self.rng.choice(self.zones)
        self.weather.denied.add(zone)
        self._later(3.0, 30.0, self._disturb(zone, lambda: self.weather.denied.discard(zone)))

    def _disturb(self, part: str, mend: Callable[[], Any]) -> Callable[[], None]:
        """Note that a zone or a name is broken from now on; returns what mends it, and notes that."""
        self.disturbances[part] += 1
        self.disturbed[part] = inf

        def mended() -> None:
            mend()
            self.disturbances[part] -= 1
            if not self.disturbances[part]:
                self.disturbed[part] = simulated().now

        return mended

    async def do_slow(self, name: str) -> None:
        zone = self.rng.choice(self.zones)
        self.weather.slow_s[zone] = self.rng.uniform(0.1, 3.0)
        self._later(5.0, 30.0, lambda: self.weather.slow_s.pop(zone, None))

    async def do_freeze(self, name: str) -> None:
        """An operator freezes, often in the middle of an apply, and now and then somebody edits names then."""
        mode = self.rng.choice(["all", "repair-only"])
        if self.rng.random() < 0.5:
            await self.publish()
            await asyncio.sleep(self.rng.uniform(0.0, 1.0))
        await freeze(self.store, KEYS, Freeze(mode=mode, reason="drill", author="sim", since=0.0))
        for _ in range(self.rng.choice([0, 0, 3])):
            await self.do_edit(name)
        await asyncio.sleep(self.rng.uniform(0.0, 12.0))
        await thaw(self.store, KEYS)

    async def do_revoke(self, name: str) -> None:
        for lease in sorted(self.store._leases):
            if self.rng.random() < 0.5:
                await self.store.revoke(lease)

    async def do_compact(self, name: str) -> None:
        self.store.compact((await self.store.range(KEYS.head)).revision)

    async def do_prune(self, name: str) -> None:
        """An operator prunes, keeping nothing, through a store that fails like everybody's."""
        pruner = Pruner(
            HostileStore(self.store, self.weather, "operator"),
            SCOPE,
            zones=sorted(self.zones),
            keep=Keep(plans=0),
            clock=WallClock(),
            observer=Recorder(),
        )
        try:
            await pruner.prune()
        except EnactordError as error:
            self.history.fault(f"prune ended by {type(error).__name__}")

    async def do_clock(self, name: str) -> None:
        self.clocks[name].offset_s = self.rng.choice([0.0, -3600.0, 3600.0, 86_400.0 * 365])

    # -- what themes are about

    async def do_hold(self, name: str) -> None:
        """Orders of operators, one right behind the other, and behind them one in which most names are held."""
        for _ in range(self.rng.randint(2, 4)):
            await self.publish(orders=HURRIED)
            await asyncio.sleep(self.rng.expovariate(1.0))
        held = {some: [] if self.rng.random() < 0.7 else targets for some, targets in self.contents[-1].items()}
        await self.publish(held, HURRIED)
        await asyncio.sleep(self.rng.uniform(1.0, 8.0))

    async def do_lodge(self, name: str) -> None:
        """Somebody else's record stands at a new name, and goes again while the plan that wants the name is tried."""
        target = f"l{self.store.published:02d}.{self.rng.choice(self.zones)}"
        if target in self.names:
            return
        self._edit(target, _foreign(98))
        self.names.append(target)
        await self.publish()
        await asyncio.sleep(self.rng.uniform(0.1, 3.0))
        if self._server(target).serve(target).records == _foreign(98):
            self._edit(target, NO_RECORDS)
        await asyncio.sleep(self.rng.uniform(0.0, 4.0))
        await self.publish()
        if len(self.names) > 8:
            self.names.remove(self.rng.choice(self.names))

    async def do_swing(self, name: str) -> None:
        """From few names to many, and right behind a plan that has few again.

        At this moment all are stopped for a while but one, which starts anew.
        """
        names = sorted(self.names)
        few = names[: max(2, len(names) // 6)]
        self.refused.append(await self._publish_some(few))
        await self.do_approve(name)
        simulated().kill_owner(self.lives[name])
        await asyncio.sleep(self.rng.uniform(3.0, 7.0))
        await self._publish_some(names)
        await asyncio.sleep(self.rng.uniform(0.0, 0.3))
        await self._publish_some(few)
        await asyncio.sleep(self.rng.uniform(0.0, 0.8))
        for other in sorted(self.tasks):
            if other != name:
                await self.do_pause(other, 2.0, 5.0)
        self.start(name)
        await asyncio.sleep(self.rng.uniform(4.0, 8.0))

    async def _publish_some(self, names: Collection[str]) -> int:
        number = len(self.contents) + 1
        fresh = {some: _targets(number, index) for index, some in enumerate(names)}
        self.contents.append(fresh)
        published = await self.publish(fresh)
        return published.generation if isinstance(published, Manifest) else 0

    async def do_thaw(self, name: str) -> None:
        """A plan is frozen half way; when it goes on, somebody empties names that it has only just written."""
        await self.publish()
        await asyncio.sleep(self.rng.uniform(0.1, 0.6))
        await freeze(self.store, KEYS, Freeze(mode="repair-only", reason="drill", author="sim", since=0.0))
        await asyncio.sleep(self.rng.uniform(0.5, 4.0))
        await thaw(self.store, KEYS)
        for _ in range(3):
            await asyncio.sleep(self.rng.uniform(0.3, 1.2))
            for some in self.names:
                if self.rng.random() < 0.5 and not self._server(some).serve(some).records.empty:
                    self._edit(some, NO_RECORDS)
        await asyncio.sleep(self.rng.uniform(2.0, 8.0))

    # -- names that a zone does not serve

    async def do_refuse(self, name: str) -> None:
        """The server refuses a name, with this or that word, for a while."""
        target = self.rng.choice(self.names)
        self._server(target).refuse(target, self.rng.choice(WORDS))
        self._break(target)

    async def do_keep_out(self, name: str) -> None:
        """The server leaves a name out in silence."""
        target = self.rng.choice(self.names)
        self._server(target).drop(target, "A", "AAAA")
        self._break(target)

    async def do_delegate(self, name: str) -> None:
        """Somebody delegates a name away."""
        target = self.rng.choice(self.names)
        self._server(target).put_cut(target, "NS")
        self._break(target)

    async def do_wildcard(self, name: str) -> None:
        """A wildcard comes or goes."""
        star = f"*.{self.rng.choice(self.zones)}"
        self._edit(star, NO_RECORDS if self.rng.random() < 0.3 else _foreign(self.rng.choice([97, 98])))

    async def do_mute(self, name: str) -> None:
        target = self.rng.choice(self.names)
        self.weather.mute.add(target)
        self._later(1.0, 15.0, lambda: self.weather.mute.discard(target))

    def _break(self, target: str) -> None:
        self.breaks += 1
        self.broken[target] = began = self.breaks
        self.disturbed[target] = inf

        def mend() -> None:
            if self.broken.get(target) == began and not self.weather.calm:
                self._mend(target)

        self._later(2.0, 40.0, mend)

    def _mend(self, target: str) -> None:
        server = self._server(target)
        server.refuse(target)
        server.drop(target)
        server.put_cut(target)
        self.broken.pop(target, None)
        self.disturbed[target] = simulated().now

    async def refill(self) -> list[str]:
        """I2: with a plan on its way that never ends, for one name's sake, a name that is emptied is refilled."""
        sound = [name for name in self.names if name not in self.broken and self._serves(name)]
        if len(sound) < 2:
            return []
        self.weather.mute.add(self.rng.choice(sound))
        await self.publish()
        await asyncio.sleep(3.0)
        cache = Cache(KEYS)
        await cache.load(self.store)
        owned = {entry.name for entry in cache.ledger.entries() if entry.owned}
        emptied = [name for name in sound if name in owned and name not in self.weather.mute and self._serves(name)]
        for name in emptied:
            self._edit(name, NO_RECORDS)
        deadline = simulated().now + REFILL_S
        wanted = self.contents[-1]
        while simulated().now < deadline:
            await asyncio.sleep(1.0)
            left = [name for name in emptied if name in wanted and not self._serves(name)]
            if not left:
                break
        self.weather.mute.clear()
        return [f"I2: {name} was emptied, and is not refilled in {REFILL_S:g} s" for name in left[:3]]

    def _serves(self, name: str) -> bool:
        return not self._server(name).holds(name).empty

    def _later(self, first_s: float, last_s: float, call: Callable[[], Any]) -> None:
        simulated().call_later(self.rng.uniform(first_s, last_s), call)

    def _server(self, name: str) -> MemoryServer:
        return self.servers[zone_of(name, self.zones) or ""]

    def _edit(self, name: str, records: Records) -> None:
        server = self._server(name)
        server.put_foreign(name, records=records)
        self.history.add(Edited(at=simulated().now, zone=server.zone, name=name, records=records))

    def _held(self, server: MemoryServer) -> dict[str, Records]:
        return {name: server.holds(name) for name in server.names()}

    def _set_fence(self, zone: str, fence: FenceSeen) -> None:
        """A zone keeps its names, and has another fence."""
        self._set_zone(zone, self._held(self.servers[zone]), fence)

    def _set_zone(self, zone: str, nodes: Mapping[str, Records], fence: tuple[bytes, ...]) -> None:
        """A zone becomes another, fence and all."""
        server = self.servers[zone]
        for name in sorted({*server.names(), *nodes}):
            if server.holds(name) != nodes.get(name, NO_RECORDS):
                self._edit(name, nodes.get(name, NO_RECORDS))
        server.put_fence(fence)
        self.history.add(
            Edited(at=simulated().now, zone=zone, name="", records=NO_RECORDS, set_back=parse_fence(fence) is not None)
        )

    # -- the end

    async def heal(self) -> None:
        """Faults stop: nobody is stopped, cut off or down, and what was late arrives."""
        self.weather.calm = True
        self.weather.cut_off.clear()
        self.weather.slow_s.clear()
        self.weather.hung.clear()
        self.weather.denied.clear()
        self.weather.mute.clear()
        if self.theme is THEMES[TROUBLED]:  # of names, some stay as they are
            for kind in self.rng.sample(["refuse", "keep_out", "delegate"], 2):
                await getattr(self, f"do_{kind}")("")
        for server in self.servers.values():
            server.up = True
        for put_back in self.far:
            put_back()
        for life in self.lives.values():
            simulated().continue_owner(life)
        await thaw(self.store, KEYS)
        await asyncio.sleep(self.weather.late_max_s + 1)
        self.contents.append({})  # all that is published now is fresh: an endpoint left weak would stay held
        await self.publish()

    async def converge(self, *, publish: bool = True) -> list[str]:
        """I5: every endpoint that no guard holds serves the newest acceptable plan, within a bound; prune ends."""
        deadline = simulated().now + CALM_S
        wrong: list[str] = ["never looked"]
        while wrong and simulated().now < deadline:
            await asyncio.sleep(2.0)
            late = simulated().now > deadline - CALM_S / 2
            if publish and late and self.history.faults.get("published again", 0) == 0:
                # A zone found ahead of the store asks for a publication above both.
                self.history.fault("published again")
                await self.publish()
            wrong = await self._unlike()
        return [f"I5: not converged in {CALM_S:g} s: {text}" for text in wrong[:3]]

    async def _unlike(self) -> list[str]:
        """What is not as it should be at the end of all."""
        cache = Cache(KEYS)
        await cache.load(self.store)
        applied = {zone: cache.applied(zone) for zone in self.zones}
        if set(applied.values()) != {cache.head}:
            return [f"applied {applied}, head {cache.head}"]
        manifest = await self._manifest(cache.head)
        if manifest is None:
            return [f"plan {cache.head} is applied and gone"]
        entries = {entry.name: entry for entry in cache.ledger.entries()}
        wrong = []
        for name, text in (await self.plans.endpoints(manifest)).items():
            served = self._server(name).serve(name).records
            entry = entries.get(name)
            if name in self.broken and entry is not None and entry.held is not None:
                if entry.held.guard not in ZONE_GUARDS:
                    wrong.append(f"{name} is held by {entry.held.guard}, and broken")
            elif entry is not None and entry.held is not None:
                if entry.held.guard != "foreign" or not self._serves(name):
                    wrong.append(f"{name} is held by {entry.held.guard}")
            elif served.addresses != render(name, cache.head, parse_content(text), ANSWERS_MAX).addresses:
                wrong.append(f"{name} serves {served.texts() or 'nothing'}, plan {cache.head} says {text}")
        wrong += [f"{name} claims {claimed}" for claimed, name in cache.all_claims if claimed != cache.head]
        kept = set(cache.generations[-max(1, self.keep.plans) :]) | self._of_window(cache)
        for generation in cache.generations:
            if generation not in kept and not await self.store.needed(generation):
                wrong.append(f"plan {generation} is needed by nobody and not pruned")
        return wrong

    def _of_window(self, cache: Cache) -> set[int]:
        """Return the plans of the window that ends with the newest plan, and the one in force at its start."""
        if not self.keep.window_s:
            return set()
        if all(self.clocks[name].offset_s < 0 for name in self.tasks):
            return set(cache.generations)  # by clocks that are behind, every plan was published just now
        stamps: dict[int, float] = {}
        for generation in cache.generations:
            try:
                manifest = cache.manifest(generation)
            except PlanUnreadable:
                continue  # a damaged one stays for no time
            assert manifest is not None
            stamps[generation] = max([manifest.published_at, *stamps.values()])
        start = max(stamps.values(), default=0.0) - self.keep.window_s
        return {generation for generation, at in stamps.items() if at > start} | set(
            [generation for generation, at in stamps.items() if at <= start][-1:]
        )


def _names(zone: str, count: int, slots: Collection[int]) -> list[str]:
    """Return names of a zone that lie in these of `_SLOTS` slots."""
    names = (f"n{number:02d}.{zone}" for number in itertools.count())
    return list(itertools.islice((name for name in names if slot_of(name, _SLOTS) in slots), count))


def _targets(number: int, index: int) -> list[str]:
    """Return fresh addresses, told from those of other contents and names."""
    return [f"10.{number % 250}.{index}.{1 + i}" for i in range(3)]


def _rendered(fact: Published, name: str) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What a plan says of a name, as it is served."""
    if name not in fact.contents:
        return NO_RECORDS.addresses
    return render(name, fact.generation, parse_content(fact.contents[name]), ANSWERS_MAX).addresses


def _foreign(number: int) -> Records:
    return Records(ttl_s=9, a=(bytes([10, 252, 0, number]),), aaaa=())


def simulate(seed: int) -> Outcome:
    """Run one seed."""

    async def main() -> Outcome:
        scenario = Scenario(seed)
        violations = await scenario.run()
        return Outcome(
            seed=seed,
            violations=tuple(violations),
            simulated_s=simulated().now,
            steps=simulated().steps,
            faults=dict(sorted(scenario.history.faults.items())),
            trace=tuple(line(fact) for fact in scenario.history.facts),
        )

    return run(seed, main())
