"""Refused publications: which there are, what each would change, and publishing exactly one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enactord.core.buckets import slot_of
from enactord.core.contribution import WITHDRAWN, Contribution
from enactord.core.errors import PlanUnreadable
from enactord.core.plan import NO_PART, Draft, Manifest, ZonePart, merge
from enactord.core.refusal import Refusal
from enactord.store.contributions import Contributions
from enactord.store.weighing import Read


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """What a refused publication would change: name to content text before and after, of what differs alone."""

    before: Mapping[str, str]
    after: Mapping[str, str]


async def find(contributions: Contributions, handle: str) -> Contribution | Refusal:
    """Return the stored refused publication whose digest begins with a text. Raises `StoreDown`."""
    return choose(await contributions.stored(), handle)


def choose(stored: Sequence[Contribution], handle: str) -> Contribution | Refusal:
    """Return the one whose digest begins with a text; the digests of none, or of several, may."""
    found = [kept for kept in stored if kept.digest.startswith(handle)]
    if len(found) == 1:
        return found[0]
    detail = f"no refused publication has a digest that begins with {handle}: it was replaced, approved, or is over"
    if found:
        detail = f"{len(found)} refused publications have a digest that begins with {handle}: type more digits"
    return Refusal(guard="digest", detail=f"{detail} (see: enactorctl refused)")


def no_base(kept: Contribution) -> Refusal:
    """Return the refusal of changes where there is no plan that can be read, onto which they could be merged."""
    detail = (
        f"the refused publication {kept.mark} is changes alone, and the newest plan cannot be read: publish the whole"
        " content, or bring back a plan that can be read (see: enactorctl plans; enactorctl rollback)"
    )
    return Refusal(guard="base", detail=detail)


async def contrast(read: Read, newest: Manifest | None, kept: Contribution) -> Contrast:
    """Compare a refused publication with the newest plan, onto which it would be merged.

    `read`: reads chunks. Raises `PlanUnreadable`, `StoreDown`.
    """
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    if newest is None and not kept.whole:
        raise PlanUnreadable(no_base(kept).detail)
    for zone in sorted({*(newest.zones if newest else ()), *kept.zones}):
        old, new = newest.part(zone) if newest else NO_PART, kept.zones.get(zone, NO_PART)
        if kept.whole:
            was, will = _differing(old, new)
            before |= merge((await read(was)).values())
            after |= merge((await read(will)).values())
            continue
        changes = merge((await read(set(new.chunks.values()))).values())
        slots = {slot_of(name, old.slots) for name in changes}
        touched = merge((await read({old.chunks[slot] for slot in slots if slot in old.chunks})).values())
        before |= {name: touched[name] for name in changes.keys() & touched.keys()}
        after |= {name: text for name, text in changes.items() if text != WITHDRAWN}
    for name, planned in newest.planned.items() if newest else ():  # what is overridden is compared as it is planned
        if name in before and planned != WITHDRAWN:
            before[name] = planned
    same = {name for name in before.keys() & after.keys() if before[name] == after[name]}
    return Contrast(
        before={name: before[name] for name in sorted(before.keys() - same)},
        after={name: after[name] for name in sorted(after.keys() - same)},
    )


def _differing(old: ZonePart, new: ZonePart) -> tuple[set[str], set[str]]:
    """Return the chunks that differ between two parts of a zone, of each side; all, where it was cut anew."""
    if old.slots != new.slots:
        return set(old.chunks.values()), set(new.chunks.values())
    was, will = set(old.chunks.items()), set(new.chunks.items())
    return {digest for _, digest in was - will}, {digest for _, digest in will - was}


async def merged(
    read: Read, newest: Manifest | None, kept: Contribution, contents: Mapping[str, str], scope: str
) -> Draft:
    """Return a refused publication as a draft onto the newest plan; it withdraws what is there yet.

    `contents`: what it holds. Raises as `contrast` does.
    """
    withdrawn: tuple[str, ...] = ()
    if not kept.whole:
        present = (await contrast(read, newest, kept)).before
        withdrawn = tuple(name for name, text in contents.items() if text == WITHDRAWN and name in present)
    return Draft(
        scope=scope,
        generation=None,
        base=None if kept.whole or newest is None else newest.generation,
        created_at=kept.created_at,
        author=kept.author,
        digest="",
        endpoints={name: text for name, text in contents.items() if text != WITHDRAWN},
        withdrawn=withdrawn,
    )
