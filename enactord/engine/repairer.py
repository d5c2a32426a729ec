"""Repair: what is served against the ledger, and back to the last known good where they differ.

Works with the store away, from the copy on local disk, under the fence last seen: the
writes carry the very value that was read, so a late repair undoes nothing newer. Each is
sent once: by the time of another, somebody may have brought that very value about anew.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from enactord.core.buckets import BucketId
from enactord.core.errors import ZoneDown
from enactord.core.events import EndpointDrifted, EndpointHeld, EndpointRepaired, Verified
from enactord.core.fence import (
    Anchor,
    Fence,
    FenceRecord,
    FenceSeen,
    Unfenced,
    describe_fence,
    out_of_reach,
    parse_fence,
)
from enactord.core.guard import COVERED, FOREIGN, SERVER, in_step
from enactord.core.ledger import Bucket, Entry, Hold, Version
from enactord.core.plan import Manifest
from enactord.core.records import Change, Expect, Requirement, Served
from enactord.engine.obstacles import has_left
from enactord.engine.opening import Opener, Opening, describe
from enactord.engine.pace import Pacer
from enactord.engine.refilling import Refiller
from enactord.engine.retries import Retries
from enactord.engine.rightful import Drift, DriftKind, Rightful, plan_at
from enactord.engine.settings import Ports, Settings
from enactord.engine.writer import Fate, FenceMoved, ZoneWriter, covered_detail, dropped_detail
from enactord.registry.fences import fence_is
from enactord.registry.keys import Keys
from enactord.registry.ledger import BUCKETS_A_TRANSACTION, Ledger
from enactord.registry.mirror import Mirror

_CHUNK_NAMES = 500
_MARKED_MAX = 100_000
_SHOW_TIMEOUT_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The end of one look at a zone."""

    zone: str
    names: int
    drifts: tuple[Drift, ...]
    repaired: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What a look at a zone stands on."""

    zone: str
    record: FenceRecord
    manifest: Manifest | None
    """The plan that is opened in the zone; None: it cannot be read."""
    anchor: Anchor
    writable: bool
    recorded: bool
    """Whether the store has the zone's record; else it is made of the fence that stands."""
    replanted: bool = False
    """Whether the fence was brought back just now."""

    @property
    def whole(self) -> bool:
        """Whether record and plan are there, so that all names can be judged; else only what is empty is refilled."""
        return self.manifest is not None and self.recorded

    @property
    def known(self) -> bool:
        """Whether the fence that stands is the one that is known: under another, only what is emptied is put back."""
        return self.anchor == self.record.txt


class Repairer:
    """Looks at zones for one enactor, and puts back what drifted."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        mirror: Mirror,
        writers: Mapping[str, ZoneWriter],
        opener: Opener,
        rng: random.Random,
        *,
        store_up: Callable[[], bool],
        retries: Retries | None = None,
    ) -> None:
        self.settings = settings
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._mirror = mirror
        self._writers = writers
        self._opener = opener
        self._rng = rng
        self._store_up = store_up
        loop_time = asyncio.get_running_loop().time
        self._retries = retries or Retries(rng, loop_time, interval_s=settings.repair_interval_s)
        self._put_in_vain = Retries(rng, loop_time, interval_s=settings.repair_interval_s)
        """Names whose repair the server refused, or acknowledged and did not keep."""
        self._marked: dict[str, tuple[Version, ...]] = {}
        """Names found emptied with a write under way, and what they might serve then."""
        self._ledger = Ledger(ports.store, self._keys, mirror)
        self._pacer = Pacer()
        self._refiller = Refiller(ports, self._keys, mirror, writers, store_up=store_up, rightful=self._rightful)

    @property
    def waiting(self) -> bool:
        """Whether names were found emptied that are put back only if the next look finds them so, too."""
        return bool(self._marked)

    async def look(self, zone: str, *, repair: bool = True, paced: bool = True) -> Look:
        """Ask the zone for every name of the ledger; put back what drifted where that is allowed.

        Raises `ZoneDown`, `ZoneDenied`; `StoreDown` when the store goes away in between.
        """
        ground, problem = await self._stand_on(zone, repair=repair)
        if ground is None:
            return Look(zone=zone, names=0, drifts=(), repaired=(), problem=problem)
        drifts: list[Drift] = []
        repaired: set[str] = set()
        names = 0
        for buckets in self._portions(zone) if ground.whole else ():
            await self._look_at_held(ground, buckets)
            entries = self._entries(buckets)  # behind the last await: as old as the revisions that they are judged by
            if not entries:
                continue
            found, fixed, refused = await self._look_at(ground, entries, buckets)
            drifts.extend(found)
            repaired |= fixed
            if refused:
                repaired |= await self._look_again(ground, refused)
            names += len(entries)
            if paced and not ground.replanted and not found:
                # A zone that shows damage is gone through at once; a sound one slowly.
                await self._pacer.take(len(entries), self.settings.repair_names_per_s)
        refills = [] if ground.whole else [*self._refiller.known(zone)]
        if ground.manifest is not None and (unknown := await self._refiller.unknown(zone, ground.manifest)):
            refills.append(unknown)
        for entries in refills:
            found, fixed = await self._refill(ground, entries)
            drifts.extend(found)
            repaired |= fixed
            names += len(entries)
            if paced and not found:
                await self._pacer.take(len(entries), self.settings.repair_names_per_s)
        left = [drift for drift in drifts if drift.name not in repaired]
        self._ports.observer.observe(
            Verified(
                zone=zone,
                names=names,
                empty=sum(drift.kind == "emptied" for drift in left),
                drifted=len(left),
                at=self._ports.clock.now(),
            )
        )
        return Look(zone=zone, names=names, drifts=tuple(drifts), repaired=tuple(sorted(repaired)), problem=problem)

    async def _stand_on(self, zone: str, *, repair: bool) -> tuple[_Ground | None, str]:
        """Return what a look goes by, None where nothing can be looked at; and what is wrong with the zone."""
        record = self._mirror.fence(zone)
        recorded = record is not None
        if record is None and not self._mirror.ledger.stored(zone):
            return None, ""  # never opened: nothing is owned there
        freeze = self._mirror.freeze
        writable = repair and (freeze is None or freeze.mode != "all")
        seen = await self._ports.zones[zone].zone.read_fence()
        standing = parse_fence(seen)
        record = record or self._refiller.record(standing)
        if record is None:
            return None, ""
        if standing is not None and standing.generation > record.txt.generation:
            record = await self._shown(zone, standing) or record
        problem = await self._in_the_way(zone, record, standing)
        if problem:
            return None, problem  # the ledger as we have it says nothing about what should be served
        manifest = plan_at(self._mirror, record)
        lacking = "" if manifest is not None else self._refiller.lacking(zone, record)
        if manifest is None and not self._refiller.settled(zone, record):
            return None, lacking  # followed to a zone ahead of the store: the ledger is older than what is served
        ground = _Ground(
            zone=zone, record=record, manifest=manifest, anchor=record.txt, writable=writable, recorded=recorded
        )
        if seen != record.txt.seen and writable:
            ground, problem = await self._replant(ground, seen)
            ground = replace(ground, replanted=ground.writable and ground.known)
        return ground, problem or lacking

    async def _refill(
        self, ground: _Ground, entries: Mapping[str, Entry], *, again: bool = False
    ) -> tuple[list[Drift], set[str]]:
        """Put back the names of these that serve nothing; those refused together are judged anew, half by half."""
        drifts = await self._refiller.emptied(ground.zone, ground.anchor, ground.manifest, entries)
        in_turn = self._in_turn(ground.zone, drifts, again=again)
        if not in_turn or not ground.writable:
            return drifts, set()
        repaired, refused = await self._put_back(ground, in_turn, hidden=False)
        for names, alone in _halves(refused):
            if not alone:
                _, fixed = await self._refill(ground, {name: entries[name] for name in names}, again=True)
                repaired |= fixed
        return drifts, repaired

    async def _in_the_way(self, zone: str, record: FenceRecord, standing: Fence | None) -> str:
        """Return what keeps repair out of a zone: a fence that is not ours, or newer than anything seen here."""
        limits, newest = self.settings.limits, self._mirror.newest
        if zone in self._mirror.lowerings:
            return (
                f"{zone}: an operator is bringing its fence down, and nobody else may move it; to finish that:"
                f" enactorctl fence lower {zone} --reason …"
            )
        if not in_step(record.generation, newest, limits):
            return out_of_reach(zone, record.generation, newest)
        if standing is None:
            return ""
        ahead = standing.generation > record.txt.generation
        if standing.scope == record.scope and ahead and self._store_up():
            known = self._mirror.fence(zone)
            if known is None or known.generation < standing.generation:
                return await self._opener.follow(zone, standing) or describe_fence(zone, standing)
        return describe_fence(zone, standing) if standing.scope != record.scope or standing.hold or ahead else ""

    async def _replant(self, ground: _Ground, seen: FenceSeen) -> tuple[_Ground, str]:
        """Bring back a fence that is not as known; returns what to stand on, and what is wrong with the zone."""
        zone, record = ground.zone, ground.record
        if self._store_up():
            opened = await self._opener.replant(zone, record)
            problem = describe_fence(zone, opened.found) if opened.found is not None else ""
            return replace(ground, writable=opened.how is Opening.OPEN), problem
        if await self._opener.replant_alone(zone, record, seen):
            return ground, ""
        stands = "the fence record is gone" if not seen else f"at the fence's name stands {describe(seen)}"
        problem = (
            f"{zone}: {stands} and the plan store is away: what is known here may be older than what is served;"
            " only names that are empty are put back"
        )
        return replace(ground, anchor=Unfenced(seen=seen)), problem

    async def _shown(self, zone: str, standing: Fence) -> FenceRecord | None:
        """Wait, a moment, for the store to show a fence that stands in the zone: an open raises the store's first."""

        def shown() -> bool:
            record = self._mirror.fence(zone)
            return record is not None and record.generation >= standing.generation

        if self._store_up() and standing.scope == self.settings.scope and not standing.hold:
            await self._mirror.wait_until(shown, _SHOW_TIMEOUT_S, zone=zone)
        return self._mirror.fence(zone)

    def _portions(self, zone: str) -> list[list[BucketId]]:
        """Cut the zone's buckets into portions of about `_CHUNK_NAMES` names."""
        index = self._mirror.ledger
        portions: list[list[BucketId]] = [[]]
        size = 0
        for bucket in index.stored(zone):
            entries = index.summary(bucket).entries
            if not entries:
                continue
            if size + entries > _CHUNK_NAMES or len(portions[-1]) == BUCKETS_A_TRANSACTION:
                portions.append([])
                size = 0
            portions[-1].append(bucket)
            size += entries
        return portions

    def _entries(self, buckets: Iterable[BucketId]) -> dict[str, Entry]:
        """The entries of these buckets that the ledger owns, by name."""
        return {
            name: entry
            for bucket in buckets
            for name, entry in self._mirror.ledger.bucket(bucket).items()
            if entry.owned
        }

    def _buckets(self, zone: str, names: Iterable[str]) -> list[BucketId]:
        """The stored buckets that hold these names, in order."""
        found = {self._mirror.ledger.find(zone, name) for name in names}
        return sorted(bucket for bucket in found if bucket is not None)

    async def _look_again(self, ground: _Ground, refused: Sequence[str]) -> set[str]:
        """Look anew at names whose repair was refused, in halves until each is alone; returns those put back.

        No repair is sent again as it was judged: in between, the value that it requires may have been
        brought about anew, and what it writes have become outdated.
        """
        repaired: set[str] = set()
        left = _halves(refused)
        while left:
            names, hidden = left.pop()
            buckets = self._buckets(ground.zone, names)
            entries = {name: entry for name, entry in self._entries(buckets).items() if name in names}
            _, fixed, refused = await self._look_at(ground, entries, buckets, again=True, hidden=hidden)
            repaired |= fixed
            if not hidden:
                left.extend(_halves(refused))
        return repaired

    async def _look_at(
        self,
        ground: _Ground,
        entries: Mapping[str, Entry],
        buckets: Sequence[BucketId],
        *,
        again: bool = False,
        hidden: bool = False,
    ) -> tuple[list[Drift], set[str], list[str]]:
        """Look at names once; returns those that drifted, those put back, and those whose repair was refused.

        `again`: they have been told of. `hidden`: they are written over where the zone holds what is wanted, and
        does not show it.
        """
        zone, record = ground.zone, ground.record
        index = self._mirror.ledger
        read = {bucket: index.revision(bucket) for bucket in buckets}
        served = dict(await self._ports.zones[zone].zone.read(sorted(entries)))
        strange = {name: served[name] for name, entry in entries.items() if self._suspect(entry, served.get(name))}
        if strange:  # a wildcard's answer is none of the name's own, and no prerequisite sees it
            served |= await self._writers[zone].prober.own(ground.anchor, strange)
        assert ground.manifest is not None
        rightful = self._rightful(zone, ground.manifest)
        suspects = {name: entries[name] for name in strange if self._suspect(entries[name], served[name])}
        await self._read_chunks(rightful, suspects.values())
        drifts = []
        seen_late = []
        covered: dict[str, str] = {}
        for name, entry in entries.items():
            answer = served.get(name)
            if answer is None:
                continue
            if answer.covered:
                covered[name] = answer.covered
                continue
            drift = self._judge(rightful, entry, answer) if name in suspects else None
            if drift is not None and not self._stood_still(entry):
                continue
            if drift is not None:
                drifts.append(drift)
            else:
                self._marked.pop(name, None)
            if name not in suspects and entry.pending is None and entry.good != entry.applied:
                seen_late.append(name)
        covered = {name: cut for name, cut in covered.items() if _uncovered_until_now(entries[name])}
        if not drifts and not seen_late and not covered:
            return [], set(), []
        # What the mirror learned while the names were read is newer than what they were judged by.
        if self._mirror.fence(zone) != record or any(index.revision(b) != read[b] for b in buckets):
            return [], set(), []
        if rightful.store_up:
            # Whatever was read before this compare holds was not a write under way: a writer
            # marks its names in the store before it writes them.
            if not await self._ledger.unchanged(zone, record, buckets):
                return [], set(), []
            if seen_late:
                await self._promote(zone, record, seen_late)
            if covered:
                details = {name: covered_detail(cut) for name, cut in covered.items()}
                await self._hold(zone, record, COVERED, details)
        in_turn = self._in_turn(zone, drifts, again=again)
        to_put = [drift for drift in in_turn if ground.known or drift.kind == "emptied"]
        if not to_put or not ground.writable:
            return drifts, set(), []
        return drifts, *await self._put_back(ground, to_put, hidden=hidden)

    def _in_turn(self, zone: str, drifts: Sequence[Drift], *, again: bool) -> list[Drift]:
        """Return those that are to be put back now, and tell of them unless that was done (`again`)."""
        in_turn = [drift for drift in drifts if self._put_in_vain.due(drift.name, drift.content)]
        for drift in () if again else in_turn:
            self._ports.observer.observe(
                EndpointDrifted(
                    zone=zone,
                    name=drift.name,
                    kind=drift.kind,
                    served=drift.served.texts(),
                    wanted=drift.wanted.texts(),
                )
            )
        return in_turn

    def _rightful(self, zone: str, manifest: Manifest) -> Rightful:
        return Rightful(
            zone=zone,
            mirror=self._mirror,
            manifest=manifest,
            limits=self.settings.limits,
            answers_max=self._ports.zones[zone].settings.answers_max,
            now=self._ports.clock.now(),
            store_up=self._store_up(),
            refused=self._refused,
        )

    def _judge(self, rightful: Rightful, entry: Entry, answer: Served) -> Drift | None:
        """Return the drift of a suspect name, or None where it is served as it may be."""
        wanted = rightful.version(entry, answer)
        if wanted is None or wanted.records(entry.name).empty or answer.shows(wanted.records(entry.name)):
            return None  # what would be written is not known, or stands there, or is nothing: none of them is repair
        kind: DriftKind = "emptied" if answer.empty else "drifted"
        records = wanted.records(entry.name)
        return Drift(name=entry.name, kind=kind, served=answer, wanted=records, content=wanted.content)

    def _suspect(self, entry: Entry, answer: Served | None) -> bool:
        """Whether a name needs a judgement: it serves nothing of what the ledger has, applied or pending.

        With the store away, only what is applied counts: what a mark is for may be of a plan below the fence.
        """
        assert entry.applied is not None
        if answer is None or answer.covered:
            return False
        versions = entry.may_serve if self._store_up() else (entry.applied,)
        return not any(answer.shows(version.records(entry.name)) for version in versions)

    def _stood_still(self, entry: Entry) -> bool:
        """Whether a name can be put back by what is applied: no write of it is under way, or the mark stood still.

        A write that has landed is recorded soon: what is applied until then is older than what it brought. A
        mark that the last look found, too, is of a write that does not end.
        """
        if entry.pending is None or not self._store_up():
            self._marked.pop(entry.name, None)
            return True
        before = self._marked.get(entry.name)
        if len(self._marked) < _MARKED_MAX or before is not None:
            self._marked[entry.name] = entry.may_serve
        return before == entry.may_serve

    def _refused(self, name: str, content: str) -> bool:
        return self._retries.known(name, content) or self._put_in_vain.known(name, content)

    async def _read_chunks(self, rightful: Rightful, entries: Iterable[Entry]) -> None:
        """Read what is missing of the plan into the mirror; without it, a name is left as it is."""
        missing = rightful.missing(entries) if self._store_up() else set()
        if not missing:
            return
        found = await self._ports.store.get([self._keys.chunk(digest) for digest in sorted(missing)])
        for digest in sorted(missing):
            item = found.get(self._keys.chunk(digest))
            if item is not None:
                self._mirror.keep_chunk(digest, item.value)

    async def _put_back(self, ground: _Ground, drifts: Sequence[Drift], *, hidden: bool) -> tuple[set[str], list[str]]:
        """Write the wanted records of drifted names, each required to be exactly as it was read.

        `hidden`: as is wanted instead. PowerDNS holds what was written below a delegation and, when
        that has gone, shows it no sooner than it is written anew.
        Returns the names put back, as they were read to be, and those that were refused with others.
        """
        zone, record = ground.zone, ground.record
        changes = [
            Change(
                name=drift.name,
                after=drift.wanted,
                expect=Expect.EXACT,
                before=drift.wanted if hidden else drift.served.records,
            )
            for drift in sorted(drifts, key=lambda drift: drift.name)
            if drift.served.alias is None  # a CNAME is somebody's: reported, never overwritten
        ]
        if not changes:
            return set(), []
        try:
            fates = await self._writers[zone].write_once(ground.anchor, changes)
        except FenceMoved:
            return set(), []  # a newer plan is opened: its way through sees to these names
        repaired: set[str] = set()
        kept = await self._kept(zone, [name for name, written in fates.items() if written.fate is Fate.COMMITTED])
        refused = [name for name, written in fates.items() if written.fate in (Fate.CONFLICT, Fate.REJECTED)]
        in_vain = {}
        for drift in drifts:
            if drift.name in refused and len(changes) == 1 and fates[drift.name].fate is Fate.REJECTED:
                self._put_in_vain.refused(drift.name, drift.content)
                refused = []
            elif kept.get(drift.name) == drift.served:
                self._put_in_vain.refused(drift.name, drift.content)  # acknowledged, and not kept
                if drift.served.records.addresses != drift.wanted.addresses:
                    in_vain[drift.name] = drift
            elif drift.name in fates and fates[drift.name].fate is Fate.COMMITTED:
                repaired.add(drift.name)
                self._put_in_vain.done(drift.name)
                self._ports.observer.observe(
                    EndpointRepaired(
                        zone=zone,
                        generation=record.generation,
                        name=drift.name,
                        kind=drift.kind,
                        store_up=self._store_up(),
                    )
                )
        if in_vain and self._store_up():
            await self._hold_dropped(zone, record, in_vain)
        return repaired, refused

    async def _hold_dropped(self, zone: str, record: FenceRecord, drifts: Mapping[str, Drift]) -> None:
        """Hold names whose records the server acknowledges and does not keep; one that only shows them late is none."""
        required = [Requirement(name=name, records=drift.wanted) for name, drift in sorted(drifts.items())]
        held = await self._writers[zone].prober.holding(record.txt, required)
        details = {name: dropped_detail(drifts[name].served) for name, there in held.items() if not there}
        if details:
            await self._hold(zone, record, SERVER, details)

    async def _kept(self, zone: str, names: Sequence[str]) -> Mapping[str, Served]:
        """Read back what was put; nothing where that cannot be read now."""
        try:
            return await self._ports.zones[zone].zone.read(names) if names else {}
        except ZoneDown:
            return {}

    async def _look_at_held(self, ground: _Ground, buckets: Sequence[BucketId]) -> None:
        """Have names tried again at once where what kept the zone from serving them is seen to be gone."""
        index = self._mirror.ledger
        holds: dict[str, Hold] = {}
        for bucket in buckets:
            if index.summary(bucket).held:
                for name, entry in index.bucket(bucket).items():
                    if entry.held is not None and entry.held.guard in (COVERED, FOREIGN) and entry.pending is None:
                        holds[name] = entry.held
        if not holds:
            return
        served = await self._writers[ground.zone].prober.read(ground.anchor, sorted(holds))
        for name, answer in served.items():
            if has_left(holds[name], answer):
                self._retries.free(name, ground.zone)

    async def _hold(self, zone: str, record: FenceRecord, guard: str, details: Mapping[str, str]) -> None:
        """Enter names as held that the zone does not serve, whatever is put there: their drift is none to repair."""
        since_s = int(self._ports.clock.now())
        held: list[tuple[str, Hold]] = []

        def hold(entry: Entry) -> Entry:
            if entry.pending is not None or (entry.held is not None and entry.held.guard == guard):
                return entry
            detail = details[entry.name]
            entered = Hold(generation=record.generation, guard=guard, detail=detail, since_s=since_s)
            held.append((entry.name, entered))
            return entry._replace(held=entered)

        if await self._amend(zone, record, details, hold):
            for name, entered in held:
                self._ports.observer.observe(
                    EndpointHeld(
                        zone=zone,
                        generation=entered.generation,
                        name=name,
                        guard=entered.guard,
                        detail=entered.detail,
                    )
                )

    async def _promote(self, zone: str, record: FenceRecord, names: Sequence[str]) -> None:
        """Enter as last known good what was applied and only now is seen served."""
        await self._amend(
            zone,
            record,
            names,
            lambda entry: entry if entry.pending is not None else entry._replace(good=entry.applied),
        )

    async def _amend(
        self, zone: str, record: FenceRecord, names: Iterable[str], change: Callable[[Entry], Entry]
    ) -> bool:
        """Change the entries of names, under the zone's fence; returns whether the store took it."""
        index = self._mirror.ledger
        by_bucket: dict[BucketId, list[str]] = defaultdict(list)
        for name in names:
            bucket_id = index.find(zone, name)
            if bucket_id is not None:
                by_bucket[bucket_id].append(name)
        read = {bucket_id: index.revision(bucket_id) for bucket_id in by_bucket}
        buckets: dict[BucketId, Bucket] = {}
        for bucket_id, some in by_bucket.items():
            bucket = index.bucket(bucket_id)
            bucket.update({name: change(bucket[name]) for name in some if name in bucket})
            buckets[bucket_id] = bucket
        return await self._ledger.amend([fence_is(self._keys, zone, record)], buckets, read)


def _uncovered_until_now(entry: Entry) -> bool:
    """Whether the ledger does not say yet that something covers the name, and no write is about to."""
    return entry.pending is None and (entry.held is None or entry.held.guard != COVERED)


def _halves(names: Sequence[str]) -> list[tuple[Sequence[str], bool]]:
    """Cut names that were refused together in two; one that is alone is left to be tried as hidden."""
    middle = len(names) // 2
    if middle:
        return [(names[:middle], False), (names[middle:], False)]
    return [(names, True)] if names else []
