"""Pruning: removing plans that nothing can need any more, and the chunks that only they named."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from enactord.core.buckets import BucketId
from enactord.core.errors import PlanUnreadable
from enactord.core.events import PlanPruned, PruneRefused
from enactord.core.kv import Compare, unmodified, valued
from enactord.core.ledger import references
from enactord.core.refusal import Refusal
from enactord.core.retention import HISTORY_GUARDS, RETIRE, Keep, Stored, history, judge_prune
from enactord.ports import Clock, KeyValue, Observer
from enactord.store.cache import Cache
from enactord.store.keys import Keys
from enactord.store.layout import APPLIED, FENCE, LEDGER
from enactord.store.ledger_index import ledger_name
from enactord.store.plans import Plans

_ATTEMPTS = 3
_DELETES_A_PASS = 200
"""A bound on one pass: a backlog of ten thousand plans goes in small portions, not in a storm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one stored plan: deleted (or it would be), or why it stays."""

    generation: int
    refusal: Refusal | None


class Pruner:
    """Prunes the plans of one scope."""

    def __init__(
        self,
        store: KeyValue,
        scope: str,
        *,
        zones: Sequence[str],
        keep: Keep,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._store = store
        self._keys = Keys(scope)
        self._zones = zones
        self.keep = keep
        self._plans = Plans(store, self._keys, clock)
        self._clock = clock
        self._observer = observer

    async def prune(self, *, dry_run: bool = False) -> list[Verdict]:
        """Delete every plan that may go; return a verdict for each stored plan, in order.

        Reads the scope afresh, at one revision: an error on the way raises, and nothing more is
        deleted. Each plan is judged by itself: one whose manifest is damaged goes like any
        other once nothing can need it, and until then keeps chunks alone, since it may name any.
        Raises `StoreDown`.
        """
        verdicts: dict[int, Verdict] = {}
        for _ in range(_ATTEMPTS):
            evidence = Cache(self._keys)
            await evidence.load(self._store)
            lost_race = await self._prune_once(evidence, verdicts, dry_run=dry_run)
            if not lost_race:
                break
        for verdict in verdicts.values():
            if verdict.refusal is not None and verdict.refusal.guard not in HISTORY_GUARDS:
                self._observer.observe(
                    PruneRefused(
                        generation=verdict.generation, reason=verdict.refusal.guard, detail=verdict.refusal.detail
                    )
                )
        return [verdicts[generation] for generation in sorted(verdicts)]

    async def _prune_once(self, evidence: Cache, verdicts: dict[int, Verdict], *, dry_run: bool) -> bool:
        """Judge and delete on one reading; returns whether a delete lost to a change in the store."""
        generations = evidence.generations
        newest = generations[len(generations) - self.keep.plans :] if self.keep.plans else []
        kept = history(_stored(evidence), self.keep, self._clock.now())
        fences = evidence.fences
        ours = {zone: fences.get(zone, 0) for zone in self._zones}
        left = {zone: fence for zone, fence in fences.items() if zone not in ours}
        applied = {zone: evidence.applied(zone) for zone in (*ours, *left)}
        needed: dict[int, str] = {}
        unread: list[BucketId] = []
        for bucket_id in evidence.ledger.all_stored():
            bucket = evidence.ledger.bucket(bucket_id)
            if not evidence.ledger.is_whole(bucket_id):
                unread.append(bucket_id)
            for generation, why in references(bucket.values()).items():
                needed.setdefault(generation, why)
            for entry in bucket.values():
                if entry.applied is not None and entry.applied.generation > applied.get(bucket_id.zone, 0):
                    needed.setdefault(entry.applied.generation, f"active at {entry.name}")
        blocked = _other_format(evidence) or _blocked(unread, left)
        compares = self._compares(evidence)
        candidates: set[str] = set()
        named_unread = False
        deleted = 0
        lost = False
        for generation in generations:
            refusal = judge_prune(
                generation,
                newest=newest,
                history=kept,
                fences=ours,
                applied=applied,
                left=left,
                references=needed,
                claims=evidence.claims(generation),
            )
            refusal = refusal or blocked
            if refusal is None and generation == evidence.head:
                refusal = Refusal(guard="newest", detail=f"generation {generation} is the newest plan")
            digests, problem = _chunks(evidence, generation)
            if refusal is not None and problem is not None:
                detail = f"{refusal.detail}; {problem}, so no chunk can be removed"
                refusal = Refusal(guard=refusal.guard, detail=detail)
            verdicts[generation] = Verdict(generation=generation, refusal=refusal)
            if refusal is not None or dry_run or deleted == _DELETES_A_PASS:
                continue
            if await self._plans.delete(generation, compares):
                deleted += 1
                candidates |= digests
                named_unread |= problem is not None
                self._observer.observe(PlanPruned(generation=generation, chunks=len(digests)))
            else:
                verdicts[generation] = Verdict(
                    generation=generation,
                    refusal=Refusal(guard="changed", detail="the store changed while the plan was judged"),
                )
                lost = True
        if named_unread:
            await self._plans.sweep()
        elif candidates:
            await self._plans.sweep(candidates)
        return lost

    def _compares(self, evidence: Cache) -> list[Compare]:
        """What must not have changed, at the delete, since the plan was judged: fences, applied plans, the ledger.

        The ledger, as a bucket changed since then might have made an entry held, and so its own
        generation active. By revision, in one compare each: a scope has up to a thousand zones.
        """
        keys, since = self._keys, evidence.revision + 1
        kinds = (FENCE, APPLIED, LEDGER)
        compares = [
            Compare(key=keys.key(kind), field="mod", operator="<", operand=since, prefix=True) for kind in kinds
        ]
        # A store that was set back to a backup has older revisions, and passes those. It lacks what came last.
        judged_by = (item for item in evidence.items.values() if keys.split(item.key)[0] in kinds)
        last = max(judged_by, key=lambda item: item.mod_revision, default=None)
        if last is not None:
            compares += [unmodified(last.key, last.mod_revision), valued(last.key, last.value)]
        return compares


def _stored(cache: Cache) -> list[Stored]:
    """Return the stored plans that can be read, and no enactor refused, as history sees them."""
    found = []
    for generation in cache.generations:
        try:
            manifest = cache.manifest(generation)
        except PlanUnreadable:
            continue
        if manifest is not None and generation not in cache.refused:  # it never was in force
            found.append(Stored.of(manifest))
    return found


def _other_format(evidence: Cache) -> Refusal | None:
    """Return why no plan may go where another version has written something: it may need any plan."""
    for name, other in sorted(evidence.other_formats.items()):
        return Refusal(guard="format", detail=f"{name} is a {other}")
    return None


def _blocked(unread: Sequence[BucketId], left: Collection[str]) -> Refusal | None:
    """Return why no plan may go where a bucket of the ledger cannot be read; `left`: zones that left the config."""
    if not unread:
        return None
    zone, slot, _ = unread[0]
    mend = RETIRE if zone in left else "; the next pass over a plan writes it anew"
    detail = f"the ledger's {ledger_name(zone, slot)} cannot be read, and may need any plan{mend}"
    return Refusal(guard="unreadable", detail=detail)


def _chunks(evidence: Cache, generation: int) -> tuple[set[str], PlanUnreadable | None]:
    """Return the chunks that a plan names, or none and why its manifest cannot be read."""
    try:
        manifest = evidence.manifest(generation)
    except PlanUnreadable as error:
        return set(), error
    return set(manifest.digests() if manifest is not None else ()), None
