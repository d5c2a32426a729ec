"""One slice of a plan: some buckets of a zone, taken through begin, write, read back and record."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from enactord.core.buckets import BucketId
from enactord.core.diff import Kind, Step
from enactord.core.errors import ZoneDown
from enactord.core.events import EndpointHeld, SliceCommitted
from enactord.core.ledger import Bucket, Entry, Hold, Version, with_answer, with_cover, with_pending
from enactord.core.records import NO_RECORDS, Change, Records, Served
from enactord.core.refusal import COVERED, Refusal
from enactord.core.render import render
from enactord.engine.obstacles import still_held
from enactord.engine.outcome import REFUSED, Write, outcome
from enactord.engine.passes import Pass
from enactord.engine.read_back import read_back
from enactord.engine.settings import ZonePorts
from enactord.engine.write import Fate, Written, covered_detail

_RECORD_ATTEMPTS = 5

SliceResult = Literal["done", "conflict", "nothing"]


async def run_slice(work: Pass, bucket_ids: Sequence[BucketId]) -> SliceResult:
    """Take the buckets through one slice; "conflict": the ledger has moved, look again."""
    index = work.cache.ledger
    read = {bucket_id: index.revision(bucket_id) for bucket_id in bucket_ids}
    before = {bucket_id: index.bucket(bucket_id) for bucket_id in bucket_ids}
    buckets = {bucket_id: dict(bucket) for bucket_id, bucket in before.items()}
    await _resolve(work, buckets)
    steps = {bucket_id: work.diff(bucket_id, bucket) for bucket_id, bucket in buckets.items()}
    asked = [step for some in steps.values() for step in some]
    taken = await still_held(work.writer, work.permit.record.txt, work.retries, asked, partial(_after, work))
    writes: list[Write] = []
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
        await _write_and_record(work, writes)
    return "done"


def _mark(
    work: Pass,
    step: Step,
    bucket_id: BucketId,
    bucket: Bucket,
    writes: list[Write],
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
            writes.append(Write(step=step, bucket_id=bucket_id, version=version, records=_after(work, step)))
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


async def _write_and_record(work: Pass, writes: Sequence[Write]) -> None:
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
    by_bucket: dict[BucketId, list[Write]] = defaultdict(list)
    for write in writes:
        by_bucket[write.bucket_id].append(write)
    await _record(work, by_bucket, fates, seen, await _instead(ports, writes, fates), int(now))
    work.tally.written += len(committed) - len(back.unserved)
    work.tally.unresolved += sum(fate.fate is Fate.UNRESOLVED for fate in fates.values())
    for write in writes:
        work.own.pop(write.step.name, None)
        fate = fates[write.step.name]
        if fate.fate in REFUSED or fate.cut:
            work.refused[write.step.name] = None
            work.retries.refused(write.step.name, write.step.content, write.step.expect)
        elif fate.fate is Fate.COMMITTED:
            work.retries.done(write.step.name)
    work.ports.observer.observe(
        SliceCommitted(
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


async def _instead(ports: ZonePorts, writes: Sequence[Write], fates: Mapping[str, Written]) -> Mapping[str, Served]:
    """Read the names whose write was refused while an older write is unresolved: that one may have landed."""
    names = [
        write.step.name
        for write in writes
        if fates[write.step.name].fate in REFUSED
        and write.step.entry is not None
        and (write.step.entry.pending is not None or write.step.entry.earlier)
    ]
    try:
        return await ports.zone.read(names) if names else {}
    except ZoneDown:
        return {}  # they stay pending


async def _record(
    work: Pass,
    by_bucket: Mapping[BucketId, Sequence[Write]],
    fates: Mapping[str, Written],
    seen: set[str],
    instead: Mapping[str, Served],
    now_s: int,
) -> None:
    """Record what became of the writes. A bucket that others changed meanwhile is read and tried again."""
    index = work.cache.ledger
    for _ in range(_RECORD_ATTEMPTS):
        read = {bucket_id: index.revision(bucket_id) for bucket_id in by_bucket}
        buckets: dict[BucketId, Bucket] = {}
        held: list[tuple[str, Hold]] = []
        for bucket_id, writes in by_bucket.items():
            bucket = index.bucket(bucket_id)
            entered = _entered(work, bucket, writes, fates, seen, instead, now_s)
            if entered is not None:
                buckets[bucket_id], newly_held = entered
                held += newly_held
        if not buckets:
            return
        if await work.ledger.commit(work.permit, buckets, {bucket_id: read[bucket_id] for bucket_id in buckets}):
            for name, hold in held:
                _announce(work, name, hold)
            return
        await work.cache.wait_change(0.02, zone=work.zone)
    # Claim or fence have moved: the marks stay pending, and whoever comes next writes these names again.


def _entered(
    work: Pass,
    bucket: Bucket,
    writes: Sequence[Write],
    fates: Mapping[str, Written],
    seen: set[str],
    instead: Mapping[str, Served],
    now_s: int,
) -> tuple[Bucket, list[tuple[str, Hold]]] | None:
    """Return a bucket with what became of its writes, and the names that are held by that; None: nothing changes."""
    entries, held, changed = dict(bucket), list[tuple[str, Hold]](), False
    for write in writes:
        name = write.step.name
        before = entries.get(name, Entry(name=name))
        found = outcome(
            before,
            write,
            fates[name],
            instead.get(name),
            seen=name in seen,
            now_s=now_s,
            hold=partial(_hold, work),
        )
        if found is None:
            continue
        changed = True
        if found.entry is None:
            entries.pop(name, None)
        else:
            entries[name] = found.entry
        if found.held is not None:
            held.append((name, found.held))
    return (entries, held) if changed else None
