"""Retention: whether a plan may go. Age alone is never evidence."""

from collections.abc import Collection, Mapping, Sequence

from enactord.core.refusal import Refusal


def judge_prune(
    generation: int,
    *,
    newest: Sequence[int],
    fences: Mapping[str, int],
    applied: Mapping[str, int],
    references: Mapping[int, str],
    claims: Collection[str],
) -> Refusal | None:
    """Return why the plan must stay, or None if nothing can need it any more.

    `newest` are the generations kept by count; `fences` and `applied` by zone, every
    configured zone among the keys of `fences` (0: never opened); `references` the
    generations that ledger entries need; `claims` the enactors that claim this one.

    The fence makes the answer stable: once every zone's fence is above the generation,
    no endpoint can come to it again, so a stale view errs towards keeping.
    """
    if generation in newest:
        return Refusal(guard="newest", detail=f"generation {generation} is one of the {len(newest)} newest plans")
    for zone in sorted(fences):
        if fences[zone] <= generation:
            detail = f"the fence of {zone} stands at {fences[zone]}, not above {generation}"
            return Refusal(guard="fence", detail=detail)
    for zone in sorted(applied):
        if applied[zone] == generation:
            return Refusal(guard="active", detail=f"generation {generation} is the applied plan of {zone}")
    if generation in references:
        return Refusal(guard="referenced", detail=f"generation {generation} is {references[generation]}")
    if claims:
        return Refusal(guard="claimed", detail=f"generation {generation} is claimed by {', '.join(sorted(claims))}")
    return None
