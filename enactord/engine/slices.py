"""One slice of a plan: some buckets of a zone, taken through begin, write, verify and commit."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

from enactord.core.buckets import BucketId
from enactord.core.content import Capacity
from enactord.core.diff import Kind, Step, conforms, diff_bucket
from enactord.core.errors import ZoneDown
from enactord.core.events import BatchCommitted, EndpointHeld
from enactord.core.guards import Limits
from enactord.core.ledger import (
    REMOVAL,
    Bucket,
    Entry,
    Hold,
    Outlived,
    Version,
    says_exactly,
    with_answer,
    with_applied,
    with_cover,
    with_pending,
    with_refusal,
    with_unserved,
)
from enactord.core.plan import Manifest
from enactord.core.records import NO_RECORDS, Change, Records, Served
from enactord.core.refusal import COVERED, FOREIGN, SERVER, ZONE_GUARDS, Refusal
from enactord.core.render import render
from enactord.engine.obstacles import still_held
from enactord.engine.probing import Narrowing
from enactord.engine.readback import read_back
from enactord.engine.retries import Retries
from enactord.engine.settings import Ports, Settings, ZonePorts
from enactord.engine.verifier import Shows
from enactord.engine.writer import Fate, Written, ZoneWriter, covered_detail
from enactord.store.ledger import Ledger, Permit
from enactord.store.mirror import Mirror

_COMMIT_ATTEMPTS = 5
_REFUSED = (Fate.CONFLICT, Fate.REJECTED, Fate.DROPPED)

SliceResult = Literal["done", "conflict", "nothing"]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a pass has done so far."""

    written: int = 0
    held: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What every slice of one pass over a plan in a zone shares."""

    manifest: Manifest
    permit: Permit
    settings: Settings
    ports: Ports
    writer: ZoneWriter
    ledger: Ledger
    mirror: Mirror
    rng: random.Random
    wanted: Callable[[BucketId], Mapping[str, str]]
    """Name to content text of a bucket of the plan."""
    outlived: Mapping[str, Outlived] = field(default_factory=dict)
    """What is known of names that were gone, and come back within the guards' window."""
    again: bool = True
    """Whether names that the zone refused at this very generation are tried again."""
    tally: Tally = field(default_factory=Tally)
    own: dict[str, None] = field(default_factory=dict)
    """Names that this enactor itself marked pending in this pass."""
    refused: dict[str, None] = field(default_factory=dict)
    """Names that the server refused in this pass: not asked again before the next."""
    retries: Retries
    left_out: Collection[str] = ()
    """Verify servers that have not answered for long."""
    shows: Shows = Served.shows
    """Whether an answer counts as some records."""
    narrowing: Narrowing = field(default_factory=Narrowing)
    """The messages left for finding out which names the server refuses."""

    @property
    def generation(self) -> int:
        return self.manifest.generation

    @property
    def limits(self) -> Limits:
        return self.settings.limits

    @property
    def zone(self) -> str:
        return self.permit.zone

    @property
    def zone_ports(self) -> ZonePorts:
        return self.ports.zones[self.permit.zone]

    def diff(self, bucket_id: BucketId, entries: Mapping[str, Entry]) -> list[Step]:
        """Return the steps of a bucket, those of names that were refused left out."""
        steps = diff_bucket(
            self.wanted(bucket_id),
            entries,
            generation=self.generation,
            limits=self.limits,
            now=self.ports.clock.now(),
            approved=self.manifest.approved,
            answers_max=self.zone_ports.settings.answers_max,
            outlived=self.outlived,
        )
        return [
            step for step in steps if step.name not in self.refused and (self.again or not self._refused_before(step))
        ]

    def _refused_before(self, step: Step) -> bool:
        held = None if step.entry is None or step.entry.pending is not None else step.entry.held
        return held is not None and held.guard in ZONE_GUARDS and held.generation == self.generation

    def open_at(self, bucket_id: BucketId) -> bool:
        """Whether a bucket may need steps; judges nothing."""
        wanted = self.wanted(bucket_id)
        packed = self.mirror.ledger.unread(bucket_id)
        if packed is not None and says_exactly(packed, wanted):
            return False
        return not conforms(wanted, self.mirror.ledger.bucket(bucket_id))


class _Write(NamedTuple):
    """One change under way: its step, the version that it brings, and its records."""

    step: Step
    bucket_id: BucketId
    version: Version
    records: Records


async def run_slice(work: Pass, bucket_ids: Sequence[BucketId]) -> SliceResult:
    """Take the buckets through one slice; "conflict": the ledger has moved, look again."""
    index = work.mirror.ledger
    read = {bucket_id: index.revision(bucket_id) for bucket_id in bucket_ids}
    before = {bucket_id: index.bucket(bucket_id) for bucket_id in bucket_ids}
    buckets = {bucket_id: dict(bucket) for bucket_id, bucket in before.items()}
    await _resolve(work, buckets)
    steps = {bucket_id: work.diff(bucket_id, bucket) for bucket_id, bucket in buckets.items()}
    asked = [step for some in steps.values() for step in some]
    taken = await still_held(work.writer, work.permit.record.txt, work.retries, asked, partial(_after, work))
    writes: list[_Write] = []
    held: list[tuple[str, Hold]] = []
    for bucket_id, bucket in buckets.items():
        for step in steps[bucket_id]:
            _mark(work, taken.get(step.name, step), bucket_id, bucket, writes, held)
    changed = {bucket_id: bucket for bucket_id, bucket in buckets.items() if bucket != before[bucket_id]}
    if not writes and not changed:
        return "nothing"
    judged = {bucket_id: read[bucket_id] for bucket_id in changed}
    if changed and not await work.ledger.begin(work.permit, changed, judged):
        return "conflict"
    for name, hold in held:
        _announce(work, name, hold)
    work.own.update((write.step.name, None) for write in writes)
    if writes:
        await _write_and_commit(work, writes)
    return "done"


def _mark(
    work: Pass,
    step: Step,
    bucket_id: BucketId,
    bucket: Bucket,
    writes: list[_Write],
    held: list[tuple[str, Hold]],
) -> None:
    """Put into the bucket what a step says, and gather what must be written."""
    entry = step.entry or Entry(name=step.name)
    match step.kind:
        case Kind.WRITE | Kind.REMOVE:
            version = Version(
                generation=work.generation,
                content=step.content,
                answers_max=work.zone_ports.settings.answers_max,
            )
            bucket[step.name] = with_pending(entry, version)
            writes.append(_Write(step=step, bucket_id=bucket_id, version=version, records=_after(work, step)))
        case Kind.HOLD:
            assert step.refusal is not None
            hold = _hold(work, step.refusal, entry)
            if hold != entry.held:
                bucket[step.name] = entry._replace(held=hold)
                held.append((step.name, hold))
        case Kind.SETTLE:
            bucket[step.name] = entry._replace(held=None)
        case Kind.FORGET:
            bucket.pop(step.name, None)
        case Kind.RESOLVE:
            pass  # its name could not be read: the next round tries again


def _after(work: Pass, step: Step) -> Records:
    """The records that a step would write."""
    if step.parsed is None:
        return NO_RECORDS
    return render(step.name, work.generation, step.parsed, work.zone_ports.settings.answers_max)


def _hold(work: Pass, refusal: Refusal, entry: Entry) -> Hold:
    """The hold for a refusal; the one that stands already where it is the same, so that nothing churns."""
    known = entry.held
    since_s = int(work.ports.clock.now())
    if known is not None and known.since_s <= since_s:
        if known.guard == refusal.guard and known.generation == work.generation:
            return known
        since_s = known.since_s
    return Hold(generation=work.generation, guard=refusal.guard, detail=refusal.detail, since_s=since_s)


def _announce(work: Pass, name: str, hold: Hold) -> None:
    work.tally.held += 1
    work.ports.observer.observe(
        EndpointHeld(
            zone=work.zone,
            generation=work.generation,
            name=name,
            guard=hold.guard,
            detail=hold.detail,
        )
    )


async def _resolve(work: Pass, buckets: dict[BucketId, Bucket]) -> None:
    """Read the names whose older write has no known end, and enter what is found.

    Sound because the fence stands at this generation: an older write can no longer land.
    """
    unclear: list[tuple[BucketId, Entry]] = []
    for bucket_id, bucket in buckets.items():
        if any(entry.pending is not None or entry.earlier for entry in bucket.values()):
            for step in work.diff(bucket_id, bucket):
                if step.kind is Kind.RESOLVE and step.entry is not None:
                    unclear.append((bucket_id, step.entry))
    if not unclear:
        return
    try:
        names = [entry.name for _, entry in unclear]
        served = await work.writer.prober.read(work.permit.record.txt, names)
    except ZoneDown:
        return
    for bucket_id, entry in unclear:
        answer = served.get(entry.name)
        if answer is None:
            continue
        if answer.covered:
            refusal = Refusal(guard=COVERED, detail=covered_detail(answer.covered))
            buckets[bucket_id][entry.name] = with_cover(entry, _hold(work, refusal, entry))
            continue
        resolved = with_answer(entry, answer)
        if resolved is None:
            buckets[bucket_id].pop(entry.name)
        else:
            buckets[bucket_id][entry.name] = resolved


async def _write_and_commit(work: Pass, writes: Sequence[_Write]) -> None:
    loop = asyncio.get_running_loop()
    ports = work.zone_ports
    changes = [Change(name=write.step.name, after=write.records, expect=write.step.expect) for write in writes]
    start = loop.time()
    writer, narrowing, fence = work.writer, work.narrowing, work.permit.record.txt
    fates = await writer.write(fence, changes, narrowing)
    written_s = loop.time()
    committed = {w.step.name: w.records for w in writes if fates[w.step.name].fate is Fate.COMMITTED}
    timeout_s = ports.settings.verify_timeout_s or work.settings.verify_timeout_s
    entries = {write.step.name: write.step.entry for write in writes}
    back = await read_back(
        ports,
        writer,
        fence,
        committed,
        lambda name: _before(name, entries[name]),
        timeout_s=timeout_s,
        rng=work.rng,
        narrowing=narrowing,
        left_out=work.left_out,
        shows=work.shows,
    )
    fates, seen = {**fates, **back.unserved}, back.seen
    now = work.ports.clock.now()
    verified_s = loop.time()
    by_bucket: dict[BucketId, list[_Write]] = defaultdict(list)
    for write in writes:
        by_bucket[write.bucket_id].append(write)
    await _commit(work, by_bucket, fates, seen, await _instead(ports, writes, fates), int(now))
    work.tally.written += len(committed) - len(back.unserved)
    work.tally.open += sum(fate.fate is Fate.OPEN for fate in fates.values())
    for write in writes:
        work.own.pop(write.step.name, None)
        fate = fates[write.step.name]
        if fate.fate in _REFUSED or fate.cut:
            work.refused[write.step.name] = None
            work.retries.refused(write.step.name, write.step.content, write.step.expect)
        elif fate.fate is Fate.COMMITTED:
            work.retries.done(write.step.name)
    work.ports.observer.observe(
        BatchCommitted(
            zone=work.zone,
            generation=work.generation,
            endpoints=len(committed) - len(back.unserved),
            seen=len(seen),
            write_s=written_s - start,
            verify_s=verified_s - written_s,
            apply_s=(max(0.0, now - work.manifest.published_at),) * len(seen),
        )
    )


def _before(name: str, entry: Entry | None) -> list[Records]:
    """What may have stood at a name before its write: what the ledger knows, or nothing."""
    known = [] if entry is None else [version.records(name) for version in entry.may_serve]
    return known if entry is not None and entry.owned else [*known, NO_RECORDS]


async def _instead(ports: ZonePorts, writes: Sequence[_Write], fates: Mapping[str, Written]) -> Mapping[str, Served]:
    """Read names whose write was refused, and where an earlier one, whose end nobody knows, may have landed."""
    names = [
        write.step.name
        for write in writes
        if fates[write.step.name].fate in _REFUSED
        and write.step.entry is not None
        and (write.step.entry.pending is not None or write.step.entry.earlier)
    ]
    try:
        return await ports.zone.read(names) if names else {}
    except ZoneDown:
        return {}  # they stay pending


async def _commit(
    work: Pass,
    by_bucket: Mapping[BucketId, Sequence[_Write]],
    fates: Mapping[str, Written],
    seen: set[str],
    instead: Mapping[str, Served],
    now_s: int,
) -> None:
    """Record what became of the writes. A bucket that others changed meanwhile is read and tried again."""
    index = work.mirror.ledger
    for _ in range(_COMMIT_ATTEMPTS):
        read = {bucket_id: index.revision(bucket_id) for bucket_id in by_bucket}
        buckets: dict[BucketId, Bucket] = {}
        held: list[tuple[str, Hold]] = []
        for bucket_id, writes in by_bucket.items():
            bucket = index.bucket(bucket_id)
            if _record(work, bucket, writes, fates, seen, instead, now_s, held):
                buckets[bucket_id] = bucket
        if not buckets:
            return
        if await work.ledger.commit(work.permit, buckets, {bucket_id: read[bucket_id] for bucket_id in buckets}):
            for name, hold in held:
                _announce(work, name, hold)
            return
        await work.mirror.wait_change(0.02, zone=work.zone)
    # Claim or fence have moved: the marks stay pending, and whoever comes next writes these names again.


def _record(
    work: Pass,
    bucket: Bucket,
    writes: Sequence[_Write],
    fates: Mapping[str, Written],
    seen: set[str],
    instead: Mapping[str, Served],
    now_s: int,
    held: list[tuple[str, Hold]],
) -> bool:
    """Enter the fates into a bucket; returns whether that changes it."""
    changed = False
    for write in writes:
        name = write.step.name
        entry = bucket.get(name, Entry(name=name))
        fate = fates[name]
        if entry.pending != write.version and not _late(entry, write.version, fate):
            continue  # another enactor committed it (or a newer generation began): its word is newer
        match fate.fate:
            case Fate.COMMITTED if write.version.content == REMOVAL:
                bucket.pop(name, None)
            case Fate.COMMITTED | Fate.DROPPED if fate.cut or (fate.partly and not entry.owned):
                # It stands in the zone, or a part of it does: it is ours, and not served as it should be.
                hold = _hold(work, Refusal(guard=COVERED if fate.cut else SERVER, detail=fate.detail), entry)
                capacity = _capacity(write)
                bucket[name] = with_unserved(entry, write.version, hold, now_s=now_s, capacity=capacity)
                held.append((name, hold))
            case Fate.COMMITTED:
                capacity = _capacity(write)
                seen_now = name in seen
                bucket[name] = with_applied(entry, write.version, seen=seen_now, now_s=now_s, capacity=capacity)
            case Fate.CONFLICT | Fate.REJECTED | Fate.DROPPED if entry.earlier and name not in instead:
                continue
            case Fate.CONFLICT | Fate.REJECTED | Fate.DROPPED:
                guard = FOREIGN if fate.fate is Fate.CONFLICT else SERVER
                remedy = f"; adopt it with: enactorctl adopt {name}" if guard == FOREIGN else ""
                if fate.cut:
                    guard, remedy = COVERED, ""
                hold = _hold(work, Refusal(guard=guard, detail=fate.detail + remedy), entry)
                if hold != entry.held:
                    held.append((name, hold))
                if entry.earlier:
                    entry = with_answer(entry._replace(pending=None), instead[name]) or Entry(name=name)
                bucket[name] = with_refusal(entry, write.version, hold)
            case Fate.OPEN:
                continue
        changed = True
    return changed


def _capacity(write: _Write) -> Capacity:
    return write.step.parsed.capacity(write.version.answers_max) if write.step.parsed else Capacity()


def _late(entry: Entry, version: Version, fate: Written) -> bool:
    """Whether a write landed that another enactor, refused by the zone before, had already given up."""
    landed = fate.fate is Fate.COMMITTED and entry.pending is None
    return landed and entry.applied != version and (entry.live or version.content != REMOVAL)
