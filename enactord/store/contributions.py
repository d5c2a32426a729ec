"""Refused publications in the store: the last that guards refused of each planner, until it publishes what passes.

Its chunks stand among those of plans, which share them; a sweep leaves them.
"""

from collections.abc import Collection, Mapping, Sequence

from enactord.core.buckets import FILLING, Filling
from enactord.core.contribution import Contribution, contents_of, contribution_digest
from enactord.core.errors import PlanUnreadable
from enactord.core.kv import Compare, Item, Put, absent, valued
from enactord.core.plan import Draft, Manifest, ZonePart, cut_zone, merge, split_zones
from enactord.core.refusal import Refusal
from enactord.ports import Clock, KeyValue, Reading
from enactord.store.chunks import put_chunks, read_chunks, readable_chunks
from enactord.store.keys import Keys, contribution_value, read_contribution
from enactord.store.layout import CONTRIBUTION

_ATTEMPTS = 4


class Contributions:
    """The refused publications of one scope."""

    def __init__(
        self, store: KeyValue, keys: Keys, clock: Clock, *, zones: Collection[str] = (), filling: Filling = FILLING
    ) -> None:
        """`zones`: those whose names may be kept."""
        self._store = store
        self._keys = keys
        self._clock = clock
        self._zones = frozenset(zones)
        self._filling = filling

    async def stored(self) -> list[Contribution]:
        """Return those that can be read, sorted by planner. Raises `StoreDown`."""
        page = await self._store.range(*self._keys.bounds(CONTRIBUTION))
        return [kept for item in page.items if (kept := _read(item, self._keys)) is not None]

    async def contents(self, kept: Contribution, known: Mapping[str, bytes] = {}) -> dict[str, str]:
        """Return what a refused publication holds, as `contents_of` does; `known`: chunks at hand.

        Raises `PlanUnreadable` where it is not what its digest says; `StoreDown`.
        """
        contents = merge((await read_chunks(self._store, self._keys, set(kept.digests()), known)).values())
        if contribution_digest(self._keys.scope, contents, whole=kept.whole) != kept.digest:
            raise PlanUnreadable(f"the refused publication {kept.mark} does not match its digest")
        return contents

    async def keep(
        self, planner: str, draft: Draft, author: str, refusals: Sequence[Refusal], newest: Manifest | None
    ) -> tuple[Contribution | None, set[str]]:
        """Keep what a planner wanted to publish, in place of what was refused of it before.

        `newest`: the newest plan, whose chunks a whole plan shares. Returns None where other writes came first each
        time; and the chunks that are not needed for it any more. Raises `InvalidPlan`, `StoreDown`.
        """
        contents, whole = contents_of(draft), draft.base is None
        parts, texts = self._cut(contents, newest if whole else None)
        digest = contribution_digest(self._keys.scope, contents, whole=whole)
        key, now = self._keys.contribution(planner), self._clock.now()
        for _ in range(_ATTEMPTS):
            found = await self._store.get([key, self._keys.prune_epoch])
            item, epoch = found.get(key), found.get(self._keys.prune_epoch)
            if item is not None and CONTRIBUTION.other_format(item.value) is not None:
                return None, set()
            before = None if item is None else _read(item, self._keys)
            again = before is not None and before.digest == digest
            kept = Contribution(
                planner=planner,
                digest=digest,
                whole=whole,
                author=author,
                created_at=draft.created_at,
                newest=newest.generation if newest else 0,
                first_at=before.first_at if before and again else now,
                last_at=now,
                times=before.times + 1 if before and again else 1,
                names=len(contents),
                refusals=tuple(refusals),
                zones=parts,
            )
            sound, _ = await readable_chunks(self._store, self._keys, texts.keys())
            await put_chunks(self._store, self._keys, {chunk: texts[chunk] for chunk in texts.keys() - sound.keys()})
            compares = [
                valued(key, item.value) if item else absent(key),
                valued(epoch.key, epoch.value) if epoch else absent(self._keys.prune_epoch),
            ]
            if (await self._store.transact(compares, [Put(key=key, value=contribution_value(kept))])).succeeded:
                return kept, set(before.digests() if before else ()) - set(kept.digests())
        return None, set()

    def _cut(self, contents: Mapping[str, str], newest: Manifest | None) -> tuple[dict[str, ZonePart], dict[str, str]]:
        parts: dict[str, ZonePart] = {}
        texts: dict[str, str] = {}
        for zone, own in split_zones(contents, self._zones)[0].items():
            parts[zone], new = cut_zone(own, newest.part(zone).slots if newest else 0, self._filling)
            texts.update(new)
        return parts, texts


async def named_chunks(store: Reading, keys: Keys) -> tuple[set[str], Compare]:
    """Return the chunks that refused publications name, and what holds while none is kept since. Raises `StoreDown`.

    What cannot be read names none: nobody can publish it any more.
    """
    page = await store.range(*keys.bounds(CONTRIBUTION))
    named: set[str] = set()
    for item in page.items:
        kept = _read(item, keys)
        named.update(() if kept is None else kept.digests())
    since = page.revision + 1
    return named, Compare(key=keys.key(CONTRIBUTION), field="mod", operator="<", operand=since, prefix=True)


def _read(item: Item, keys: Keys) -> Contribution | None:
    try:
        return read_contribution(item.value, keys.split(item.key)[1])
    except PlanUnreadable:
        return None
