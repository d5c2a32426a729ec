"""Repair: what is served against the ledger, and back to the last known good where they differ.

Works with the store away, from the copy on local disk, under the fence last seen: the
writes carry the very value that was read, so a late repair undoes nothing newer. Each is
sent once: by the time of another, somebody may have brought that very value about anew.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from enactord.core.buckets import BucketId
from enactord.core.errors import StoreRefused, ZoneDown
from enactord.core.events import EndpointDrifted, EndpointRepaired, Verified
from enactord.core.fence import FenceRecord
from enactord.core.ledger import Entry, Hold, Version
from enactord.core.plan import Manifest
from enactord.core.records import Change, Expect, Requirement, Served
from enactord.core.refusal import COVERED, FOREIGN, SERVER
from enactord.engine.amending import Amender
from enactord.engine.basis import Basis, BasisFinder
from enactord.engine.desired import DesiredState, Drift, DriftKind
from enactord.engine.evidence import NAMES_KEPT_MAX, Looked, Otherwise
from enactord.engine.health import Health
from enactord.engine.obstacles import has_left
from enactord.engine.pace import Pacer
from enactord.engine.primaries import PrimaryChoice
from enactord.engine.raise_fence import FenceRaiser
from enactord.engine.refilling import Refiller
from enactord.engine.retries import Retries
from enactord.engine.settings import Ports, Settings
from enactord.engine.witnesses import Witnesses
from enactord.engine.write import Fate, FenceMoved, ZoneWriter, covered_detail, dropped_detail
from enactord.store.cache import Cache
from enactord.store.keys import Keys
from enactord.store.ledger import BUCKETS_A_TRANSACTION, Ledger

_CHUNK_NAMES = 500
_MARKED_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The end of one look at a zone."""

    zone: str
    names: int
    drifts: tuple[Drift, ...]
    repaired: tuple[str, ...]
    problem: str = ""
    foreign: bool = False
    """Whether the problem is that another installation, scope or version has fenced the zone."""
    held: bool = False
    """Whether the problem is that an operator holds the zone's fence."""
    cut: bool = False
    """Whether it ended before all names were looked at."""
    unsettled: bool = False
    """Whether some server does not show yet what the zone's own server does: another look is due soon."""


@dataclass(slots=True, kw_only=True)
class _Round:
    """What one look at a zone gathers on its way."""

    number: int
    witnesses: Witnesses
    unread: set[str] = field(default_factory=set)
    """Names for which the zone's own server gave no answer."""
    aside: set[str] = field(default_factory=set)
    """Names whose answer could not be judged: the ledger moved while they were read, or a write is under way."""

    @property
    def unsettled(self) -> bool:
        """Whether something was not seen yet as it should be: another look is due soon."""
        return bool(self.unread or self.aside) or self.witnesses.unsettled


class Repairer:
    """Looks at zones for one enactor, and puts back what drifted."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        cache: Cache,
        writers: Mapping[str, ZoneWriter],
        opener: FenceRaiser,
        choice: PrimaryChoice,
        rng: random.Random,
        *,
        store_up: Callable[[], bool],
        health: Health,
        retries: Retries | None = None,
    ) -> None:
        self.settings = settings
        self._health = health
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._cache = cache
        self._writers = writers
        self._rng = rng
        self._store_up = store_up
        loop_time = asyncio.get_running_loop().time
        self._retries = retries or Retries(rng, loop_time, interval_s=settings.repair_interval_s)
        self._put_in_vain = Retries(rng, loop_time, interval_s=settings.repair_interval_s)
        """Names whose repair the server refused, or acknowledged and did not keep."""
        self._put: dict[str, tuple[Drift, int]] = {}
        """Names that were put back and not read since, with the generation under which they were."""
        self._looks = 0
        self._marked: dict[str, tuple[Version, ...]] = {}
        """Names found emptied with a write under way, and what they might serve then."""
        self._ledger = Ledger(ports.store, self._keys, cache)
        self._amender = Amender(ports, self._keys, cache)
        self._pacer = Pacer()
        self._refiller = Refiller(ports, self._keys, cache, writers, store_up=store_up, desired=self._desired)
        self._bases = BasisFinder(settings, ports, cache, opener, self._refiller, choice, store_up=store_up)

    def retune(self, settings: Settings) -> None:
        """Go by other limits and another pace from the next look on."""
        self.settings = self._bases.settings = settings

    @property
    def waiting(self) -> bool:
        """Whether names were found emptied that are put back only if the next look finds them so, too."""
        return bool(self._marked)

    async def look(
        self, zone: str, *, repair: bool = True, paced: bool = True, cut: Callable[[], bool] = lambda: False
    ) -> Look:
        """Ask the zone for every name of the ledger; put back what drifted where that is allowed.

        `cut`: whether another look is wanted now: its fence may be lost, or its primary be another. This one then ends.
        Raises `ZoneDown`, `ZoneDenied`; `StoreDown` when the store goes away in between.
        """
        ground = await self._bases.find(zone, repair=repair)
        basis, problem = ground.basis, ground.problem
        if basis is None:
            if not problem:
                self._seen(zone, self._round(zone), Looked())
            return Look(
                zone=zone,
                names=0,
                drifts=(),
                repaired=(),
                problem=problem,
                foreign=ground.foreign,
                held=ground.held,
            )
        this = self._round(zone)
        drifts: list[Drift] = []
        repaired: set[str] = set()
        names = 0
        for buckets in self._portions(zone) if basis.whole else ():
            if cut():
                return Look(zone=zone, names=names, drifts=tuple(drifts), repaired=tuple(sorted(repaired)), cut=True)
            await self._look_at_held(basis, buckets)
            entries = self._entries(buckets)  # behind the last await: as old as the revisions that they are judged by
            if not entries:
                continue
            found, fixed, refused = await self._look_at(basis, this, entries, buckets)
            drifts.extend(found)
            repaired |= fixed
            if refused:
                repaired |= await self._look_again(basis, this, refused)
            names += len(entries)
            if paced and not basis.suspect and not found:
                # A zone that shows damage is gone through at once; a sound one slowly.
                await self._pacer.take(len(entries), self.settings.repair_names_per_s)
        refills = [] if basis.whole else [*self._refiller.known(zone)]
        if basis.manifest is not None and (unknown := await self._refiller.unknown(zone, basis.manifest)):
            refills.append(unknown)
        for entries in refills:
            found, fixed = await self._refill(basis, this, entries)
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
                unread=len(this.unread),
                at=self._ports.clock.now(),
            )
        )
        if basis.whole:  # else only what is empty was looked for
            self._seen(zone, this, _looked(names, this, left))
        return Look(
            zone=zone,
            names=names,
            drifts=tuple(drifts),
            repaired=tuple(sorted(repaired)),
            problem=problem,
            unsettled=this.unsettled,
        )

    def _round(self, zone: str) -> _Round:
        """Begin a look."""
        self._looks += 1
        witnesses = Witnesses(self._ports.zones[zone], self._health, partial(self._health.kept_ttls.shows, zone))
        return _Round(number=self._looks, witnesses=witnesses)

    def _seen(self, zone: str, this: _Round, found: Looked) -> None:
        """A whole look has ended."""
        for verifier in self._ports.zones[zone].own_verifiers:
            self._health.server_answers(zone, verifier.server)
        this.witnesses.end()
        if not (this.unread or this.aside):
            self._health.kept_ttls.end_look(zone)
        self._health.zone_was_looked_at(zone, found)

    async def _refill(
        self, basis: Basis, this: _Round, entries: Mapping[str, Entry], *, again: bool = False
    ) -> tuple[list[Drift], set[str]]:
        """Put back the names of these that serve nothing; those refused together are judged anew, half by half."""
        drifts = await self._refiller.emptied(basis.zone, basis.anchor, basis.manifest, entries)
        in_turn = self._in_turn(basis.zone, drifts, again=again)
        if not in_turn or not basis.writable:
            return drifts, set()
        repaired, refused = await self._put_back(basis, this, in_turn, hidden=False)
        for names, alone in _halves(refused):
            if not alone:
                _, fixed = await self._refill(basis, this, {name: entries[name] for name in names}, again=True)
                repaired |= fixed
        return drifts, repaired

    def _portions(self, zone: str) -> list[list[BucketId]]:
        """Cut the zone's buckets into portions of about `_CHUNK_NAMES` names."""
        index = self._cache.ledger
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
            for name, entry in self._cache.ledger.bucket(bucket).items()
            if entry.owned
        }

    def _buckets(self, zone: str, names: Iterable[str]) -> list[BucketId]:
        """The stored buckets that hold these names, in order."""
        found = {self._cache.ledger.find(zone, name) for name in names}
        return sorted(bucket for bucket in found if bucket is not None)

    async def _look_again(self, basis: Basis, this: _Round, refused: Sequence[str]) -> set[str]:
        """Look anew at names whose repair was refused, in halves until each is alone; returns those put back.

        No repair is sent again as it was judged: in between, the value that it requires may have been
        brought about anew, and what it writes have become outdated.
        """
        repaired: set[str] = set()
        left = _halves(refused)
        while left:
            names, hidden = left.pop()
            buckets = self._buckets(basis.zone, names)
            entries = {name: entry for name, entry in self._entries(buckets).items() if name in names}
            _, fixed, refused = await self._look_at(basis, this, entries, buckets, again=True, hidden=hidden)
            repaired |= fixed
            if not hidden:
                left.extend(_halves(refused))
        return repaired

    async def _look_at(
        self,
        basis: Basis,
        this: _Round,
        entries: Mapping[str, Entry],
        buckets: Sequence[BucketId],
        *,
        again: bool = False,
        hidden: bool = False,
    ) -> tuple[list[Drift], set[str], list[str]]:
        """Look at names once; returns those that drifted, those put back, and those whose repair was refused.

        `again`: drift events for them were already emitted. `hidden`: they are written over where the zone holds what
        is wanted, and does not show it.
        """
        zone, record = basis.zone, basis.record
        index = self._cache.ledger
        read = {bucket: index.revision(bucket) for bucket in buckets}
        asked = sorted(entries)
        answers, others = await this.witnesses.read(self._ports.zones[zone].zone, asked, alone=again)
        served = dict(answers)
        strange = {
            name: served[name] for name, entry in entries.items() if self._suspect(zone, entry, served.get(name))
        }
        if strange:  # a wildcard's answer is none of the name's own, and no prerequisite sees it
            served |= await self._writers[zone].prober.own(basis.anchor, strange)
        assert basis.manifest is not None
        desired = self._desired(zone, basis.manifest)
        suspects = {name: entries[name] for name in strange if self._suspect(zone, entries[name], served[name])}
        await self._read_chunks(desired, suspects.values())
        drifts = []
        seen_late = []
        behind: dict[str, Mapping[str, Otherwise]] = {}
        lagging: Mapping[str, Otherwise]
        covered: dict[str, str] = {}
        for name, entry in entries.items():
            answer = served.get(name)
            if answer is None:
                if not again:
                    this.unread.add(name)
                continue
            if answer.covered:
                covered[name] = answer.covered
                continue
            drift = self._judge(desired, entry, answer) if name in suspects else None
            if drift is not None and not self._stood_still(entry):
                continue
            if drift is not None:
                drifts.append(drift)
            else:
                self._marked.pop(name, None)
            if entry.pending is not None:
                this.aside.add(name)
            if name in suspects or entry.pending is not None:
                continue
            assert entry.applied is not None
            self._is_shown(zone, name, answer)
            lagging = this.witnesses.lagging(name, entry.applied, others)
            if lagging:
                behind[name] = lagging
            if entry.good != entry.applied:
                if this.witnesses.all_show(name, others, lagging):
                    seen_late.append(name)
                else:
                    this.witnesses.late += 1
        covered = {name: cut for name, cut in covered.items() if _uncovered_until_now(entries[name])}
        # What the cache learned while the names were read is newer than what they were judged by.
        if self._cache.fence(zone) != record or any(index.revision(b) != read[b] for b in buckets):
            this.aside.update(entries)
            return [], set(), []
        if not drifts and not seen_late and not covered and not behind:
            return [], set(), []
        for name, lagging in behind.items():
            this.witnesses.note(name, lagging)
        if desired.store_up and (drifts or seen_late or covered):
            # Whatever was read before this compare holds was not a write under way: a writer
            # marks its names in the store before it writes them.
            if not await self._ledger.unchanged(zone, record, buckets):
                this.aside.update(entries)
                return [], set(), []
            await self._enter(zone, record, {name: entries[name] for name in seen_late}, covered)
        hopeless = self._health.kept_ttls.hopeless
        hoped = [drift for drift in drifts if not hopeless(zone, drift.served, drift.wanted, this.number)]
        in_turn = self._in_turn(zone, hoped, again=again)
        to_put = [drift for drift in in_turn if (basis.known or drift.kind == "emptied")]
        if not to_put or not basis.writable:
            return drifts, set(), []
        return drifts, *await self._put_back(basis, this, to_put, hidden=hidden)

    async def _enter(
        self, zone: str, record: FenceRecord, seen: Mapping[str, Entry], covered: Mapping[str, str]
    ) -> None:
        """Enter what was seen into the ledger. A store that takes nothing more keeps no name from being put back."""
        try:
            if seen:
                await self._amender.promote(zone, record, seen)
            if covered:
                details = {name: covered_detail(cut) for name, cut in covered.items()}
                await self._amender.hold(zone, record, COVERED, details)
        except StoreRefused as error:
            self._health.store_is_down(error)

    def _is_shown(self, zone: str, name: str, answer: Served) -> None:
        """A name serves what it should: a repair of it counts now."""
        put = self._put.pop(name, None)
        if put is not None and answer.shows(put[0].wanted):
            self._tell_repaired(zone, *put)

    def _tell_repaired(self, zone: str, drift: Drift, generation: int) -> None:
        self._ports.observer.observe(
            EndpointRepaired(
                zone=zone, generation=generation, name=drift.name, kind=drift.kind, store_up=self._store_up()
            )
        )

    def _in_turn(self, zone: str, drifts: Sequence[Drift], *, again: bool) -> list[Drift]:
        """Return those that are to be put back now, and tell of them unless that was done (`again`)."""
        in_turn = [drift for drift in drifts if self._put_in_vain.due(drift.name, drift.content)]
        for drift in () if again else in_turn:
            served, wanted = drift.served.unlike(drift.wanted)
            self._ports.observer.observe(
                EndpointDrifted(zone=zone, name=drift.name, kind=drift.kind, served=served, wanted=wanted)
            )
        return in_turn

    def _desired(self, zone: str, manifest: Manifest) -> DesiredState:
        return DesiredState(
            zone=zone,
            cache=self._cache,
            manifest=manifest,
            limits=self.settings.limits,
            answers_max=self._ports.zones[zone].settings.answers_max,
            now=self._ports.clock.now(),
            store_up=self._store_up(),
            refused=self._refused,
        )

    def _judge(self, desired: DesiredState, entry: Entry, answer: Served) -> Drift | None:
        """Return the drift of a suspect name, or None where it is served as it may be."""
        wanted = desired.version(entry, answer)
        if wanted is None or wanted.records(entry.name).empty:
            return None
        if self._health.kept_ttls.shows(desired.zone, answer, wanted.records(entry.name)):
            return None  # nothing to repair: the target is unknown, already served, or empty
        kind: DriftKind = "emptied" if answer.empty else "drifted"
        records = wanted.records(entry.name)
        return Drift(name=entry.name, kind=kind, served=answer, wanted=records, content=wanted.content)

    def _suspect(self, zone: str, entry: Entry, answer: Served | None) -> bool:
        """Whether a name needs a judgement: it serves nothing of what the ledger has, applied or pending.

        With the store away, only what is applied counts: what a mark is for may be of a plan below the fence.
        """
        assert entry.applied is not None
        if answer is None or answer.covered:
            return False
        versions = entry.may_serve if self._store_up() else (entry.applied,)
        return not any(self._health.kept_ttls.shows(zone, answer, version.records(entry.name)) for version in versions)

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

    async def _read_chunks(self, desired: DesiredState, entries: Iterable[Entry]) -> None:
        """Read what is missing of the plan into the cache; without it, a name is left as it is."""
        missing = desired.missing(entries) if self._store_up() else set()
        if not missing:
            return
        found = await self._ports.store.get([self._keys.chunk(digest) for digest in sorted(missing)])
        for digest in sorted(missing):
            item = found.get(self._keys.chunk(digest))
            if item is not None:
                self._cache.keep_chunk(digest, item.value)

    async def _put_back(
        self, basis: Basis, this: _Round, drifts: Sequence[Drift], *, hidden: bool
    ) -> tuple[set[str], list[str]]:
        """Write the wanted records of drifted names, each required to be exactly as it was read.

        `hidden`: as is wanted instead. PowerDNS holds what was written below a delegation and, when
        that has gone, shows it no sooner than it is written anew.
        Returns the names put back, as they were read to be, and those that were refused with others.
        """
        zone, record = basis.zone, basis.record
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
            fates = await self._writers[zone].write_once(basis.anchor, changes)
        except FenceMoved:
            return set(), []  # a newer plan is opened: its way through sees to these names
        repaired: set[str] = set()
        kept = await self._kept(basis, [name for name, written in fates.items() if written.fate is Fate.COMMITTED])
        refused = [name for name, written in fates.items() if written.fate in (Fate.CONFLICT, Fate.REJECTED)]
        in_vain = {}
        ttls_in_vain = 0
        for drift in drifts:
            if drift.name in refused and len(changes) == 1 and fates[drift.name].fate is Fate.REJECTED:
                self._put_in_vain.refused(drift.name, drift.content)
                refused = []
            elif drift.name in fates and fates[drift.name].fate is Fate.COMMITTED:
                answer = kept.get(drift.name)
                if answer is not None and answer.shows(drift.wanted):
                    repaired.add(drift.name)
                    self._put.pop(drift.name, None)
                    self._put_in_vain.done(drift.name)
                    self._tell_repaired(zone, drift, record.generation)
                    continue
                if len(self._put) < _MARKED_MAX:
                    self._put[drift.name] = (drift, record.generation)  # counts as soon as it is read
                if answer is None or answer != drift.served:
                    continue
                self._put_in_vain.refused(drift.name, drift.content)  # acknowledged, and served as before
                if answer.shows_but_for_ttl(drift.wanted):
                    self._health.kept_ttls.in_vain(zone, drift.name, answer, drift.wanted, this.number)
                    ttls_in_vain += 1
                else:
                    in_vain[drift.name] = drift
        if ttls_in_vain:  # a signed copy that lags shows the TTL of before, too: after this it does not
            await self._writers[zone].nudge(record.txt, ttls_in_vain)
        if in_vain and self._store_up():
            await self._find_dropped(zone, record, in_vain)
        return repaired, refused

    async def _find_dropped(self, zone: str, record: FenceRecord, drifts: Mapping[str, Drift]) -> None:
        """Hold names whose records the server acknowledges and does not keep; nudge it where it shows them late."""
        required = [Requirement(name=name, records=drift.wanted) for name, drift in sorted(drifts.items())]
        held = await self._writers[zone].prober.holding(record.txt, required)
        details = {name: dropped_detail(drifts[name].served) for name, there in held.items() if not there}
        if details:
            await self._amender.hold(zone, record, SERVER, details)
        if len(details) < len(held):
            await self._writers[zone].nudge(record.txt, len(held) - len(details))

    async def _kept(self, basis: Basis, names: Sequence[str]) -> Mapping[str, Served]:
        """Read back what was put, a wildcard's answer told apart; nothing where that cannot be read now."""
        try:
            return await self._writers[basis.zone].prober.read(basis.anchor, names) if names else {}
        except ZoneDown:
            return {}

    async def _look_at_held(self, basis: Basis, buckets: Sequence[BucketId]) -> None:
        """Have names tried again at once where what kept the zone from serving them is seen to be gone."""
        index = self._cache.ledger
        holds: dict[str, Hold] = {}
        for bucket in buckets:
            if index.summary(bucket).held:
                for name, entry in index.bucket(bucket).items():
                    if entry.held is not None and entry.held.guard in (COVERED, FOREIGN) and entry.pending is None:
                        holds[name] = entry.held
        if not holds:
            return
        served = await self._writers[basis.zone].prober.read(basis.anchor, sorted(holds))
        for name, answer in served.items():
            if has_left(holds[name], answer):
                self._retries.free(name, basis.zone)


def _looked(names: int, this: _Round, left: Sequence[Drift]) -> Looked:
    drifted = {}
    for drift in left[:NAMES_KEPT_MAX]:
        served, wanted = drift.served.unlike(drift.wanted)
        drifted[drift.name] = Otherwise(served=served, wanted=wanted)
    return Looked(
        names=names,
        unread=frozenset(this.unread),
        aside=frozenset(this.aside),
        drifted=drifted,
        behind=this.witnesses.behind,
    )


def _uncovered_until_now(entry: Entry) -> bool:
    """Whether the ledger does not say yet that something covers the name, and no write is about to."""
    return entry.pending is None and (entry.held is None or entry.held.guard != COVERED)


def _halves(names: Sequence[str]) -> list[tuple[Sequence[str], bool]]:
    """Cut names that were refused together in two; one that is alone is left to be tried as hidden."""
    middle = len(names) // 2
    if middle:
        return [(names[:middle], False), (names[middle:], False)]
    return [(names, True)] if names else []
