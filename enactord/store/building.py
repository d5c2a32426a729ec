"""From a draft to what is stored: each zone's part of the plan, its chunks, and what goes from the plan before."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from enactord.core.buckets import Filling, slot_of, slots_for
from enactord.core.content import parse_content
from enactord.core.guards import Limits, refuse_outside
from enactord.core.measures import Loss, Size
from enactord.core.names import zone_of
from enactord.core.plan import (
    Draft,
    Manifest,
    ZonePart,
    chunk_digest,
    chunk_texts,
    content_digest,
    crowded,
    cut_zone,
    merge,
    split_zones,
)
from enactord.core.refusal import Refusal
from enactord.store.weighing import BaselineUnreadable, Read, Scales, Served, differences, losses_of


class Builder:
    """Builds the plans of one scope from drafts."""

    def __init__(
        self,
        zones: Collection[str],
        filling: Filling,
        limits: Limits,
        answers: Mapping[str, int],
        read: Read,
        served: Served,
    ) -> None:
        """`answers`: each zone's `answers_max`; `read`, `served`: read chunks, and what is applied, from the store."""
        self._zones = zones
        self._filling = filling
        self._limits = limits
        self._answers = answers
        self._read = read
        self._served = served

    async def build(
        self, draft: Draft, before: Manifest | None, layout: Manifest | None
    ) -> Refusal | tuple[dict[str, ZonePart], dict[str, str]]:
        """Return the plan's part of each zone, and the texts of chunks that may be new, by digest."""
        changed, outside = split_zones(draft.endpoints, self._zones)
        if outside:
            return refuse_outside(outside, self._zones)
        if draft.base is None:
            digest = content_digest(draft.scope, draft.endpoints) if draft.digest else ""
            if draft.digest != digest:
                return other_digest(draft, digest)
            parts: dict[str, ZonePart] = {}
            texts: dict[str, str] = {}
            for zone, endpoints in changed.items():
                slots_before = layout.zones[zone].slots if layout and zone in layout.zones else 0
                parts[zone], new = cut_zone(endpoints, slots_before, self._filling)
                texts.update(new)
            return parts, texts
        if before is None:
            return Refusal(guard="base", detail=f"plan {draft.base} is not in the store; publish the whole content")
        moved = _moved(draft, before, self._zones)
        if moved:
            return Refusal(guard="base", detail=f"{moved}; publish the whole content, without a base")
        return await self._build_changes(draft, before, changed)

    async def _build_changes(
        self, draft: Draft, base: Manifest, changed: Mapping[str, Mapping[str, str]]
    ) -> Refusal | tuple[dict[str, ZonePart], dict[str, str]]:
        """Return what `_build` does, of a draft that names what changes against a plan."""
        withdrawn: dict[str, list[str]] = {}
        for name in draft.withdrawn:
            withdrawn.setdefault(zone_of(name, base.zones) or "", []).append(name)
        parts = dict(base.zones)
        new: dict[str, str] = {}
        for zone in sorted(changed.keys() | withdrawn.keys()):
            part = base.part(zone)
            names = [*changed.get(zone, ()), *withdrawn.get(zone, ())]
            touched = sorted({slot_of(name, part.slots) for name in names})
            contents = await self._contents(part, touched)
            count = part.endpoints - len(contents)
            contents.update(changed.get(zone, {}))
            for name in withdrawn.get(zone, ()):
                if contents.pop(name, None) is None:
                    return Refusal(guard="withdraw", detail=f"{name} is not in plan {draft.base}")
            count += len(contents)
            by_slot = chunk_texts(dict(sorted(contents.items())), part.slots)
            if slots_for(count, part.slots, self._filling) != part.slots or crowded(by_slot.values()):
                others = await self._contents(part, [slot for slot in part.chunks if slot not in touched])
                whole, texts = cut_zone(dict(sorted((others | contents).items())), part.slots, self._filling)
            else:
                digests = {slot: digest for slot, digest in part.chunks.items() if slot not in touched}
                digests.update({slot: chunk_digest(text) for slot, text in by_slot.items()})
                whole = ZonePart(slots=part.slots, endpoints=count, chunks=dict(sorted(digests.items())))
                texts = {digests[slot]: text for slot, text in by_slot.items()}
            new.update(texts)
            parts[zone] = whole
            if not whole.endpoints:
                del parts[zone]
        return dict(sorted(parts.items())), new

    async def _contents(self, part: ZonePart, slots: Sequence[int]) -> dict[str, str]:
        """Return name to content text of some slots of a zone, sorted by name. Raises `PlanUnreadable`."""
        return merge((await self._read({part.chunks[slot] for slot in slots if slot in part.chunks})).values())

    def reader(self, known: Mapping[str, str]) -> Read:
        """Return what reads chunks, those in `known` without asking the store."""

        async def read(digests: Collection[str]) -> dict[str, str]:
            texts = {digest: known[digest] for digest in digests if digest in known}
            return texts | dict(await self._read([digest for digest in digests if digest not in known]))

        return read

    async def measured(
        self, before: Manifest | None, parts: Mapping[str, ZonePart], read: Read
    ) -> tuple[dict[str, ZonePart], dict[str, Loss] | None]:
        """Return the parts with how much they are, and what goes from the plan before; None where it cannot be read."""
        scales = Scales(zones=self._zones, limits=self._limits, answers=self._answers, read=read, served=self._served)
        losses: dict[str, Loss] | None = None
        found, sizes = None, {}
        if before is not None:
            try:
                found = await differences(before.zones, parts, scales)
                losses = losses_of(found)
                sizes = {zone: part.size for zone, part in before.zones.items()}
            except BaselineUnreadable:
                pass
        if found is None or before is None or sizes.keys() != parts.keys() or not scales.counted(before.zones):
            # Of a zone that is new, was put below another, or is counted otherwise now, the plan before says nothing.
            found, sizes = await differences({}, parts, scales), {}
        measured = {}
        for zone, part in parts.items():
            growth = found[zone].growth if zone in found else Size()
            size = sizes.get(zone, Size()).joined(growth)
            measured[zone] = replace(
                part, weight=size.weight, addresses=size.addresses, answers_max=scales.answers_max(zone)
            )
        return measured, losses


def _moved(draft: Draft, base: Manifest, zones: Collection[str]) -> str:
    """Return how the zones of a plan differ from those of the config, or "" where its names lie as they would now."""
    gone = sorted(base.zones.keys() - zones)
    if gone:
        return f"plan {base.generation} holds names of {gone[0]}, which is not in this config"
    for name in (*draft.endpoints, *draft.withdrawn):
        before, now = zone_of(name, base.zones), zone_of(name, zones)
        if before is not None and before != now:
            return f"{name} lies in {now} now, and in {before} in plan {base.generation}"
    return ""


def unreadable(base: int, why: str) -> Refusal:
    """Return the refusal of changes against a plan that cannot be read as a whole."""
    detail = f"plan {base} cannot be read ({why}): publish the whole content, without a base"
    return Refusal(guard="base", detail=detail)


def other_digest(draft: Draft, digest: str) -> Refusal:
    detail = f"the plan says its digest is {draft.digest}, it is {digest}; was it changed since? Else leave digest out"
    malformed = next((name for name, text in draft.endpoints.items() if parse_content(text).malformed), "")
    if malformed:
        detail += f"; {malformed} is malformed, and no digest counts such an endpoint: mend it, or state no digest"
    return Refusal(guard="digest", detail=detail)
