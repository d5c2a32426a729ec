"""Weighing a plan against its baselines, by the guards of plans.

First by sums: each plan says what goes from the one before it to it. Only where these sums, from a baseline on, do not
show that every guard lets the plan pass, the contents of both are compared, name by name.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from enactord.core.baselines import begins_memory
from enactord.core.buckets import BucketId
from enactord.core.content import Capacity
from enactord.core.errors import PlanUnreadable
from enactord.core.guards import VELOCITY_WINDOW, Finding, Limits, closest, look
from enactord.core.guards.kinds import Weighing
from enactord.core.ledger import Outlived, Peak, with_peak
from enactord.core.measures import NO_LOSS, Difference, Loss, Size, compare, size_of
from enactord.core.names import zone_of
from enactord.core.plan import NO_PART, Manifest, ZonePart, parse_chunk
from enactord.core.render import ANSWERS_MAX

Read = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]
"""Returns the texts of chunks by their digests. Raises `PlanUnreadable`, `StoreDown`."""
Contents = Mapping[str, Mapping[str, str]]
"""Content text by name, by zone."""
Served = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]
"""Returns content text by name of what is applied, of those names that are owned. Raises `StoreDown`."""
_NAMES_AT_A_TIME = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """By what a plan is weighed: the zones that count, each zone's `answers_max` (16 where it is left out), limits.

    `read`: reads chunks; `served`: returns what the ledger has as applied of some names.
    """

    zones: Collection[str]
    limits: Limits
    answers: Mapping[str, int]
    read: Read
    served: Served

    def answers_max(self, zone: str) -> int:
        return self.answers.get(zone, ANSWERS_MAX)

    def counted(self, zones: Mapping[str, ZonePart]) -> bool:
        """Whether addresses of a plan were counted as they are counted here; a plan is given as its zones."""
        return all(part.answers_max == self.answers_max(zone) for zone, part in zones.items() if zone in self.zones)


async def weigh(
    plan: Manifest,
    against: Sequence[Manifest],
    stored: Mapping[int, Manifest],
    scales: Scales,
    *,
    applied: Callable[[], Awaitable[Contents]],
    exactly: bool = False,
) -> list[Finding]:
    """Return what guards see in a plan: of each guard, zone and unit, the finding that comes closest to a refusal.

    `against`: the baselines, newest first; `stored`: all plans that can be read, by generation, through which the sums
    go; `applied`: what the ledger has as applied, which takes the place of baselines that cannot be read. `exactly`:
    compare contents with every baseline, for the numbers. Raises `PlanUnreadable` for the plan itself, `StoreDown`.
    """
    found: list[Finding] = []
    sums = _Sums(plan, stored, scales)
    by_ledger = not against or _falls_short(plan, against[-1], scales)
    for baseline in against:
        passed = None if exactly else sums.since(baseline)
        if passed is not None:
            sizes = {zone: baseline.part(zone).size for zone in scales.zones}
            bounded = {zone: loss.within(sizes.get(zone, Size())) for zone, loss in passed.items()}
            findings = _look(plan, baseline.generation, sizes, bounded, scales)
            if not any(finding.seen.refused for finding in findings):
                found += findings
                continue
        try:
            differences_of = await differences(baseline.zones, plan.zones, scales)
            sizes = await _sizes(baseline, plan, differences_of, scales)
        except BaselineUnreadable:
            by_ledger = True
            continue
        losses = losses_of(differences_of)
        found += _look(plan, baseline.generation, sizes, losses, scales)
        sums.start_anew(baseline, losses)
    if by_ledger:
        found += await _against_contents(plan, await applied(), scales)
    return closest(found)


def _falls_short(plan: Manifest, oldest: Manifest, scales: Scales) -> bool:
    """Whether the oldest baseline is not that of the window's start, because the plan before it is missing."""
    window_s = scales.limits[VELOCITY_WINDOW]
    return oldest.since > 0 and not begins_memory(oldest, plan.published_at, window_s)


class _Sums:
    """What goes at most from a baseline to the plan, as far as the steps between say it. Asked newest first."""

    def __init__(self, plan: Manifest, stored: Mapping[int, Manifest], scales: Scales) -> None:
        self._plan = plan
        self._stored = stored
        self._scales = scales
        self._step: Manifest | None = plan
        self._passed: Mapping[str, Loss] | None = {}

    def since(self, baseline: Manifest) -> Mapping[str, Loss] | None:
        """Return the sum from a baseline on, by zone; None where it is not known."""
        while self._step is not None and self._step.generation > baseline.generation:
            before = self._stored.get(self._step.since)
            if before is None or self._passed is None or not self._scales.counted(self._step.zones):
                self._passed = None
            else:
                losses = self._step.losses
                self._passed = losses if self._step is self._plan else _sum(self._passed, losses)
            self._step = before
        if self._step is None or self._step.generation != baseline.generation:
            return None
        alike = baseline.zones.keys() == self._plan.zones.keys() and self._scales.counted(baseline.zones)
        return self._passed if alike else None

    def start_anew(self, baseline: Manifest, losses: Mapping[str, Loss]) -> None:
        """Go on from a baseline that was compared."""
        self._step, self._passed = baseline, losses


def may_have_removed(stored: Mapping[int, Manifest], against: Sequence[Manifest]) -> bool:
    """Whether a plan since the oldest baseline may have removed a name."""
    oldest = against[-1].generation if against else 0
    later = [plan for generation, plan in stored.items() if generation > oldest]
    return any(plan.since not in stored or any(loss.removed for loss in plan.losses.values()) for plan in later)


async def outlived(
    plan: Manifest, names: Collection[str], against: Sequence[Manifest], scales: Scales
) -> dict[str, Outlived]:
    """Return what is known of those names that a plan brings back after one of its baselines had lost them.

    `names`: those that are not owned now. Raises `StoreDown`.
    """
    history: dict[str, list[tuple[float, str | None]]] = {name: [] for name in names}
    chunks: dict[str, dict[str, str] | None] = {}
    groups: dict[BucketId | None, list[str]] = {}
    at_last: dict[BucketId | None, str | None] = {}
    shape: dict[str, int] | None = None
    for baseline in reversed(against) if names else ():
        if shape != (shape := {zone: part.slots for zone, part in baseline.zones.items()}):
            groups, at_last = _grouped(names, baseline), {}
        for bucket, some in groups.items():
            digest = None if bucket is None else baseline.part(bucket.zone).chunk(bucket)
            if bucket in at_last and at_last[bucket] == digest:
                continue  # what the baseline before has
            at_last[bucket] = digest
            if digest is not None and digest not in chunks:
                chunks[digest] = await _chunk(digest, scales)
            chunk = {} if digest is None else chunks[digest]
            if chunk is None:
                continue
            for name in some:
                content, seen = chunk.get(name), history[name]
                if content is not None or seen:
                    seen.append((baseline.published_at, content))
        await asyncio.sleep(0)
    found: dict[str, Outlived] = {}
    for name, seen in history.items():
        if all(content is not None for _, content in seen):
            continue
        answers_max = scales.answers_max(zone_of(name, scales.zones) or "")
        peaks: tuple[Peak, ...] = ()
        last = ""
        for at, content in seen:
            _, weight, addresses = size_of({} if content is None else {name: content}, answers_max)
            peaks = with_peak(peaks, int(at), Capacity(weight, addresses))
            last = content if content is not None and weight else last
        if last:
            found[name] = Outlived(peaks, last, plan.published_at)
    return found


def _grouped(names: Iterable[str], plan: Manifest) -> dict[BucketId | None, list[str]]:
    """Return names by the bucket of a plan in which they would lie; None: in no zone of it."""
    groups: dict[BucketId | None, list[str]] = {}
    for name in names:
        groups.setdefault(plan.bucket(name), []).append(name)
    return groups


async def _chunk(digest: str, scales: Scales) -> dict[str, str] | None:
    """Return what a chunk holds; None where it cannot be read: then nothing is known of its names there."""
    try:
        return parse_chunk((await scales.read([digest]))[digest])
    except PlanUnreadable:
        return None


async def differences(
    before: Mapping[str, ZonePart], after: Mapping[str, ZonePart], scales: Scales
) -> dict[str, Difference]:
    """Return how one plan differs from another, by zone, of the zones that differ; plans are given as their zones.

    Raises `PlanUnreadable` where the plan after cannot be read, `BaselineUnreadable` where the one before cannot.
    """
    gone: dict[str, list[str]] = {}
    came: dict[str, list[str]] = {}
    for zone in sorted({*before, *after}):
        old, new = before.get(zone, NO_PART), after.get(zone, NO_PART)
        slots: Collection[int] = {**old.chunks, **new.chunks}
        if old.slots == new.slots:
            slots = [slot for slot in slots if old.chunks.get(slot) != new.chunks.get(slot)]
        if slots:
            gone[zone] = [old.chunks[slot] for slot in slots if slot in old.chunks]
            came[zone] = [new.chunks[slot] for slot in slots if slot in new.chunks]
    texts = dict(await scales.read(_all(came)))
    try:
        texts |= await scales.read(_all(gone) - texts.keys())
    except PlanUnreadable as error:
        raise BaselineUnreadable(str(error)) from error
    old_contents, new_contents = await _contents(texts, gone), await _contents(texts, came)
    if before.keys() != after.keys():
        old_contents, new_contents = _regrouped(old_contents, scales), _regrouped(new_contents, scales)
    found = await _compare(old_contents, new_contents, scales)
    for zone, difference in found.items():
        if difference.hollow:
            # They were held on what they serve: that is what they lose from.
            served = await scales.served(difference.hollow)
            answers_max = scales.answers_max(zone)
            again = compare(served, new_contents[zone], answers_max).loss
            loss = difference.loss.joined(again)
            found[zone] = difference._replace(loss=loss, was=size_of(served, answers_max)._replace(endpoints=0))
    return found


async def _sizes(
    baseline: Manifest, plan: Manifest, differences_of: Mapping[str, Difference], scales: Scales
) -> dict[str, Size]:
    """Return how much a baseline is, by zone, with what its empty names served that the plan brings back."""
    sizes = {zone: baseline.part(zone).size for zone in scales.zones}
    if baseline.zones.keys() != plan.zones.keys() or not scales.counted(baseline.zones):
        chunks = {zone: list(part.chunks.values()) for zone, part in baseline.zones.items()}
        try:
            contents = _regrouped(await _contents(await scales.read(_all(chunks)), chunks), scales)
        except PlanUnreadable as error:
            raise BaselineUnreadable(str(error)) from error
        sizes = {zone: size_of(contents.get(zone, {}), scales.answers_max(zone)) for zone in scales.zones}
    for zone, difference in differences_of.items():
        if zone in sizes:
            sizes[zone] = sizes[zone].joined(difference.was)
    return sizes


def losses_of(found: Mapping[str, Difference]) -> dict[str, Loss]:
    """Return what goes, by zone, of the zones that lose anything."""
    return {zone: difference.loss for zone, difference in found.items() if difference.loss != NO_LOSS}


def _all(chunks: Mapping[str, Iterable[str]]) -> set[str]:
    return {digest for digests in chunks.values() for digest in digests}


class BaselineUnreadable(PlanUnreadable):
    """An earlier plan cannot be read, and is no baseline."""


async def _contents(texts: Mapping[str, str], chunks: Mapping[str, Iterable[str]]) -> dict[str, dict[str, str]]:
    """Return what chunks hold, given by zone."""
    found: dict[str, dict[str, str]] = {}
    for zone, digests in chunks.items():
        contents = found[zone] = {}
        for digest in digests:
            contents.update(parse_chunk(texts[digest]))
        await asyncio.sleep(0)
    return found


def _regrouped(contents: Contents, scales: Scales) -> dict[str, dict[str, str]]:
    """Return the same by the zone that each name lies in now: a zone may have been put below another."""
    found: dict[str, dict[str, str]] = {}
    for zone, endpoints in contents.items():
        for name, text in endpoints.items():
            found.setdefault(zone_of(name, scales.zones) or zone, {})[name] = text
    return found


async def _compare(before: Contents, after: Contents, scales: Scales) -> dict[str, Difference]:
    found: dict[str, Difference] = {}
    for zone in {**before, **after}:
        difference = Difference()
        for old, new in _some(before.get(zone, {}), after.get(zone, {})):
            difference = difference.joined(compare(old, new, scales.answers_max(zone)))
            await asyncio.sleep(0)
        if difference != Difference():
            found[zone] = difference
    return found


def _some(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Cut two contents into pieces of the same names, so that others have their turn between."""
    names = [*{**before, **after}]
    for start in range(0, len(names), _NAMES_AT_A_TIME):
        some = names[start : start + _NAMES_AT_A_TIME]
        yield (
            {name: before[name] for name in some if name in before},
            {name: after[name] for name in some if name in after},
        )


async def _against_contents(plan: Manifest, before: Contents, scales: Scales) -> list[Finding]:
    """Return what guards see where the ledger stands for a baseline."""
    zones = {zone: list(plan.part(zone).chunks.values()) for zone in scales.zones}
    texts = await scales.read(_all(zones))
    found = await _compare(before, await _contents(texts, zones), scales)
    losses = losses_of(found)
    sizes = {zone: size_of(contents, scales.answers_max(zone)) for zone, contents in before.items()}
    return _look(plan, 0, sizes, losses, scales)


def _sum(first: Mapping[str, Loss], second: Mapping[str, Loss]) -> dict[str, Loss]:
    """Return at least what goes in two steps, by zone."""
    return {zone: first.get(zone, NO_LOSS) + second.get(zone, NO_LOSS) for zone in {**first, **second}}


def _look(
    plan: Manifest, since: int, sizes: Mapping[str, Size], losses: Mapping[str, Loss], scales: Scales
) -> list[Finding]:
    """Return what guards see of the scope, and of each zone that loses anything."""
    planned = sum(plan.part(zone).endpoints for zone in scales.zones)
    counted = {zone: losses[zone] for zone in losses if zone in scales.zones}
    whole = NO_LOSS
    for loss in counted.values():
        whole = whole.joined(loss)
    size = Size()
    for zone in scales.zones:
        size = size.joined(sizes.get(zone, Size()))
    findings = look(Weighing("", since, size, whole, planned), scales.limits)
    for zone, loss in counted.items():
        if len(scales.zones) > 1:
            findings += look(Weighing(zone, since, sizes.get(zone, Size()), loss, planned), scales.limits)
    return findings
