"""Pruning: removing plans that nothing can need any more, and the chunks that only they named."""

from collections.abc import Sequence
from dataclasses import dataclass

from enactord.core.buckets import BucketId
from enactord.core.events import PlanPruned, PruneRefused
from enactord.core.kv import Compare, absent, valued
from enactord.core.ledger import is_whole, references
from enactord.core.plan import Manifest
from enactord.core.refusal import Refusal
from enactord.core.retention import judge_prune
from enactord.ports import Clock, KeyValue, Observer
from enactord.registry.keys import Keys
from enactord.registry.mirror import Mirror
from enactord.registry.plans import Plans
from enactord.store.ledger_index import ledger_name

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
        keep_plans: int,
        clock: Clock,
        observer: Observer,
    ) -> None:
        assert keep_plans >= 0, keep_plans
        self._store = store
        self._keys = Keys(scope)
        self._zones = zones
        self.keep_plans = keep_plans
        self._plans = Plans(store, self._keys, clock)
        self._observer = observer

    async def prune(self, *, dry_run: bool = False) -> list[Verdict]:
        """Delete every plan that may go; return a verdict for each stored plan, in order.

        Reads the scope afresh, at one revision: an error on the way raises, and nothing is
        deleted. Raises `StoreDown`, `PlanUnreadable` (a manifest that cannot be read may
        name any chunk).
        """
        verdicts: dict[int, Verdict] = {}
        for _ in range(_ATTEMPTS):
            evidence = Mirror(self._keys)
            await evidence.load(self._store)
            lost_race = await self._prune_once(evidence, verdicts, dry_run=dry_run)
            if not lost_race:
                break
        for verdict in verdicts.values():
            if verdict.refusal is not None and verdict.refusal.guard != "newest":
                self._observer.observe(
                    PruneRefused(
                        generation=verdict.generation, reason=verdict.refusal.guard, detail=verdict.refusal.detail
                    )
                )
        return [verdicts[generation] for generation in sorted(verdicts)]

    async def _prune_once(self, evidence: Mirror, verdicts: dict[int, Verdict], *, dry_run: bool) -> bool:
        """Judge and delete on one reading; returns whether a delete lost to a change in the store."""
        generations = evidence.generations
        newest = generations[len(generations) - self.keep_plans :] if self.keep_plans else []
        fences = dict.fromkeys(self._zones, 0) | evidence.fences
        applied = {zone: evidence.applied(zone) for zone in fences}
        needed: dict[int, str] = {}
        unread: list[BucketId] = []
        for bucket_id in evidence.ledger.all_stored():
            packed = evidence.ledger.packed(bucket_id)
            bucket = evidence.ledger.bucket(bucket_id)
            if packed is None or not is_whole(packed, bucket):
                unread.append(bucket_id)
            for generation, why in references(bucket.values()).items():
                needed.setdefault(generation, why)
            for entry in bucket.values():
                if entry.applied is not None and entry.applied.generation > applied.get(bucket_id.zone, 0):
                    needed.setdefault(entry.applied.generation, f"active at {entry.name}")
        # Every manifest must be readable before anything goes.
        manifests: dict[int, Manifest] = {}
        for generation in generations:
            manifest = evidence.manifest(generation)
            assert manifest is not None
            manifests[generation] = manifest
        compares = self._compares(evidence, fences)
        candidates: set[str] = set()
        deleted = 0
        lost = False
        for generation in generations:
            refusal = judge_prune(
                generation,
                newest=newest,
                fences=fences,
                applied=applied,
                references=needed,
                claims=evidence.claims(generation),
            )
            if refusal is None and unread:
                detail = (
                    f"the ledger's {ledger_name(unread[0].zone, unread[0].slot)} cannot be read, and may need any plan"
                )
                refusal = Refusal(guard="unreadable", detail=f"{detail}; the next pass over a plan writes it anew")
            if refusal is None and generation == evidence.head:
                refusal = Refusal(guard="newest", detail=f"generation {generation} is the newest plan")
            verdicts[generation] = Verdict(generation=generation, refusal=refusal)
            if refusal is not None or dry_run or deleted == _DELETES_A_PASS:
                continue
            if await self._plans.delete(generation, compares):
                deleted += 1
                digests = set(manifests[generation].digests())
                candidates.update(digests)
                self._observer.observe(PlanPruned(generation=generation, chunks=len(digests)))
            else:
                verdicts[generation] = Verdict(
                    generation=generation,
                    refusal=Refusal(guard="changed", detail="the store changed while the plan was judged"),
                )
                lost = True
        if candidates:
            await self._plans.sweep(candidates)
        return lost

    def _compares(self, evidence: Mirror, fences: dict[str, int]) -> list[Compare]:
        """What must be, at the delete, as it was when the plan was judged.

        The ledger as a whole too: a bucket changed since then might have made an entry
        held, and so its own generation active.
        """
        keys = self._keys
        compares = []
        for zone in sorted(fences):
            for key in (keys.fence(zone), keys.applied(zone)):
                item = evidence.items.get(key)
                compares.append(absent(key) if item is None else valued(key, item.value))
        compares.append(
            Compare(key=keys.all_ledger, field="mod", operator="<", operand=evidence.revision + 1, prefix=True)
        )
        return compares
