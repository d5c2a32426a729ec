"""Repair: what is served against the ledger, and back to the last known good where they differ.

Works with the store away, from the copy on local disk, under the fence last seen: the
writes carry the very value that was read, so a late repair undoes nothing newer. Each is
sent once: by the time of another, somebody may have brought that very value about anew.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from enactord.core.buckets import BucketId
from enactord.core.events import EndpointDrifted, EndpointRepaired, Verified
from enactord.core.fence import Fence, FenceRecord, describe_fence, parse_fence
from enactord.core.ledger import Bucket, Entry
from enactord.core.plan import Manifest
from enactord.core.records import NO_RECORDS, Change, Expect, Records, Served
from enactord.engine.opening import Opening, follow_zone, raise_fence
from enactord.engine.pace import Pacer
from enactord.engine.rightful import Rightful, plan_at
from enactord.engine.settings import Ports, Settings
from enactord.engine.writer import Fate, FenceMoved, ZoneWriter
from enactord.registry.fences import Fences, fence_is
from enactord.registry.keys import Keys
from enactord.registry.ledger import BUCKETS_A_TRANSACTION, Ledger
from enactord.registry.mirror import Mirror

_CHUNK_NAMES = 500

DriftKind = Literal["emptied", "drifted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A name that is not served as the ledger has it."""

    name: str
    kind: DriftKind
    served: Served
    wanted: Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The end of one look at a zone."""

    zone: str
    names: int
    drifts: tuple[Drift, ...]
    repaired: tuple[str, ...]
    problem: str = ""


class Repairer:
    """Looks at zones for one enactor, and puts back what drifted."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        mirror: Mirror,
        writers: Mapping[str, ZoneWriter],
        rng: random.Random,
        *,
        store_up: Callable[[], bool],
    ) -> None:
        self.settings = settings
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._mirror = mirror
        self._writers = writers
        self._rng = rng
        self._store_up = store_up
        self._fences = Fences(ports.store, self._keys)
        self._ledger = Ledger(ports.store, self._keys, mirror)
        self._pacer = Pacer()

    async def look(self, zone: str, *, repair: bool = True, paced: bool = True) -> Look:
        """Ask the zone for every name of the ledger; put back what drifted where that is allowed.

        Raises `ZoneDown`, `ZoneDenied`; `StoreDown` when the store goes away in between.
        """
        record = self._mirror.fence(zone)
        if record is None:
            return Look(zone=zone, names=0, drifts=(), repaired=())  # never opened: nothing is owned there
        freeze = self._mirror.freeze
        writable = repair and (freeze is None or freeze.mode != "all")
        replanted = False
        seen = await self._ports.zones[zone].zone.read_fence()
        standing = parse_fence(seen)
        if standing is not None and (
            standing.scope != record.scope or standing.hold or standing.generation > record.txt.generation
        ):
            # What stands there is not ours, or newer than anything seen here: the ledger as we
            # have it says nothing about what should be served.
            if standing.scope == record.scope and self._store_up():
                await self._follow(zone, standing)
            return Look(zone=zone, names=0, drifts=(), repaired=(), problem=describe_fence(zone, standing))
        manifest = plan_at(self._mirror, record)
        if manifest is None:
            # Followed to a zone that is ahead of the store: what the ledger has is older than what is served.
            problem = f"{zone}: fenced by {record.txt.text}, a plan that the store does not have; publish the next one"
            return Look(zone=zone, names=0, drifts=(), repaired=(), problem=problem)
        if seen != record.txt.seen and writable:
            opened = await raise_fence(self._ports.zones[zone], record.txt, self._ports.observer)
            writable = replanted = opened.how is Opening.OPEN
        drifts: list[Drift] = []
        repaired: set[str] = set()
        names = 0
        for buckets in self._portions(zone):
            entries = self._entries(buckets)
            if not entries:
                continue
            found, fixed, refused = await self._look_at(zone, record, manifest, entries, buckets, writable=writable)
            drifts.extend(found)
            repaired |= fixed
            if refused:
                repaired |= await self._look_again(zone, record, manifest, refused)
            names += len(entries)
            if paced and not replanted and not found:
                # A zone that shows damage is gone through at once; a sound one slowly.
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
        return Look(zone=zone, names=names, drifts=tuple(drifts), repaired=tuple(sorted(repaired)))

    async def _follow(self, zone: str, found: Fence) -> None:
        known = self._mirror.fence(zone)
        if known is None or known.generation < found.generation:
            await follow_zone(zone, self._fences, found, self._mirror.head, self._ports.observer)

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

    async def _look_again(self, zone: str, record: FenceRecord, manifest: Manifest, refused: Sequence[str]) -> set[str]:
        """Look anew at names whose repair was refused, in halves until each is alone; returns those put back.

        No repair is sent again as it was judged: in between, the value that it requires may have been
        brought about anew, and what it writes have become outdated.
        """
        repaired: set[str] = set()
        left = _halves(refused)
        while left:
            names, bare = left.pop()
            buckets = self._buckets(zone, names)
            entries = {name: entry for name, entry in self._entries(buckets).items() if name in names}
            _, fixed, refused = await self._look_at(
                zone, record, manifest, entries, buckets, writable=True, again=True, bare=bare
            )
            repaired |= fixed
            if refused and not bare:
                left.extend(_halves(refused))
        return repaired

    async def _look_at(
        self,
        zone: str,
        record: FenceRecord,
        manifest: Manifest,
        entries: Mapping[str, Entry],
        buckets: Sequence[BucketId],
        *,
        writable: bool,
        again: bool = False,
        bare: bool = False,
    ) -> tuple[list[Drift], set[str], list[str]]:
        """Look at names once; returns those that drifted, those put back, and those whose repair was refused.

        `again`: they have been told of. `bare`: nothing stands at the name itself, whatever is read there.
        """
        index = self._mirror.ledger
        read = {bucket: index.revision(bucket) for bucket in buckets}
        served = await self._ports.zones[zone].zone.read(sorted(entries))
        rightful = Rightful(
            zone=zone,
            mirror=self._mirror,
            manifest=manifest,
            limits=self.settings.limits,
            answers_max=self._ports.zones[zone].settings.answers_max,
            now=self._ports.clock.now(),
            store_up=self._store_up(),
        )
        suspects = [entry for name, entry in entries.items() if self._suspect(entry, served.get(name))]
        await self._read_chunks(rightful, suspects)
        drifts = []
        seen_late = []
        for name, entry in entries.items():
            answer = served.get(name)
            if answer is None:
                continue
            drift = self._judge(rightful, entry, answer)
            if drift is not None:
                drifts.append(drift)
            elif entry.pending is None and entry.good != entry.applied and not self._suspect(entry, answer):
                seen_late.append(name)
        if not drifts and not seen_late:
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
        for drift in () if again else drifts:
            self._ports.observer.observe(
                EndpointDrifted(
                    zone=zone,
                    name=drift.name,
                    kind=drift.kind,
                    served=(drift.served.alias,) if drift.served.alias else drift.served.records.texts(),
                    wanted=drift.wanted.texts(),
                )
            )
        if not drifts or not writable:
            return drifts, set(), []
        return drifts, *await self._put_back(zone, record, drifts, bare=bare)

    def _judge(self, rightful: Rightful, entry: Entry, answer: Served) -> Drift | None:
        """Return the drift of a name, or None where it is served as it may be."""
        if not self._suspect(entry, answer):
            return None
        wanted = rightful.version(entry, answer)
        if wanted is None or wanted.records(entry.name).empty or answer.shows(wanted.records(entry.name)):
            return None  # what would be written is not known, or stands there, or is nothing: none of them is repair
        kind: DriftKind = "emptied" if answer.records.empty and answer.alias is None else "drifted"
        return Drift(name=entry.name, kind=kind, served=answer, wanted=wanted.records(entry.name))

    def _suspect(self, entry: Entry, answer: Served | None) -> bool:
        """Whether a name needs a judgement: it is not served as the ledger has it."""
        assert entry.applied is not None
        if entry.pending is not None and self._store_up():
            return False  # somebody's write, or a mark left behind: the way of a plan sees to it
        return answer is not None and not answer.shows(entry.applied.records(entry.name))

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

    async def _put_back(
        self, zone: str, record: FenceRecord, drifts: Sequence[Drift], *, bare: bool
    ) -> tuple[set[str], list[str]]:
        """Write the wanted records of drifted names, each required to be exactly as it was read.

        `bare`: required to be absent instead. Under a wildcard, what was read is not what a
        prerequisite sees. Returns the names put back, and those that were refused.
        """
        changes = [
            Change(
                name=drift.name,
                after=drift.wanted,
                expect=Expect.EXACT,
                before=NO_RECORDS if bare else drift.served.records,
            )
            for drift in sorted(drifts, key=lambda drift: drift.name)
            if drift.served.alias is None  # a CNAME is somebody's: reported, never overwritten
        ]
        if not changes:
            return set(), []
        try:
            fates = await self._writers[zone].write_once(record.txt, changes)
        except FenceMoved:
            return set(), []  # a newer plan is opened: its way through sees to these names
        repaired: set[str] = set()
        for drift in drifts:
            if drift.name in fates and fates[drift.name].fate is Fate.COMMITTED:
                repaired.add(drift.name)
                self._ports.observer.observe(
                    EndpointRepaired(
                        zone=zone,
                        generation=record.generation,
                        name=drift.name,
                        kind=drift.kind,
                        store_up=self._store_up(),
                    )
                )
        return repaired, [name for name, written in fates.items() if written.fate in (Fate.CONFLICT, Fate.REJECTED)]

    async def _promote(self, zone: str, record: FenceRecord, names: Sequence[str]) -> None:
        """Enter as last known good what was applied and only now is seen served."""
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
            for name in some:
                entry = bucket.get(name)
                if entry is not None and entry.pending is None:
                    bucket[name] = entry._replace(good=entry.applied)
            buckets[bucket_id] = bucket
        await self._ledger.amend([fence_is(self._keys, zone, record)], buckets, read)


def _halves(names: Sequence[str]) -> list[tuple[Sequence[str], bool]]:
    """Cut names that were refused together in two; one that is alone is left to be tried as bare."""
    middle = len(names) // 2
    return [(names[:middle], False), (names[middle:], False)] if middle else [(names, True)]
