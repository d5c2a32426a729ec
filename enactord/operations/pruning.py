"""Pruning by hand: an operator has the plans deleted that nothing can need, or asks which these are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from enactord.core.retention import Keep
from enactord.engine.prune import Pruner, Verdict
from enactord.operations import audit
from enactord.operations.scope import Scope, Unheard
from enactord.store.audit import Deed, Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What became of each stored plan; with `dry_run`, what would. `warnings`: what people should know besides."""

    verdicts: Sequence[Verdict]
    dry_run: bool
    warnings: tuple[str, ...] = ()

    @property
    def gone(self) -> list[int]:
        """The generations that were deleted, or would be."""
        return [verdict.generation for verdict in self.verdicts if verdict.refusal is None]

    def document(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run,
            "pruned": self.gone,
            "kept": [
                {"generation": v.generation, "guard": v.refusal.guard, "detail": v.refusal.detail}
                for v in self.verdicts
                if v.refusal is not None
            ],
            "warnings": list(self.warnings),
        }


async def prune(scope: Scope, keep: Keep, *, author: str, dry_run: bool = False) -> Pruned:
    """Delete every plan that may go; what was deleted is entered in the audit log afterwards. Raises `StoreDown`."""
    pruner = Pruner(scope.store, scope.name, zones=scope.zones, keep=keep, clock=scope.clock, observer=Unheard())
    done = Pruned(verdicts=await pruner.prune(dry_run=dry_run), dry_run=dry_run)
    if dry_run or not done.gone:
        return done
    facts: Facts = {"plans": audit.some_names([str(generation) for generation in done.gone]), "count": len(done.gone)}
    why = await audit.enter(scope, Deed.PRUNE, author=author, facts=facts)
    return Pruned(verdicts=done.verdicts, dry_run=False, warnings=(audit.missing(why),) if why else ())
