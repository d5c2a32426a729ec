"""Retention: whether a plan may go. Age alone is never evidence."""

from collections.abc import Collection, Mapping, Sequence

from enactord.core.refusal import Refusal

RETIRE = "; take it out with: enactorctl zone retire"
"""What a refusal says where a zone that has left the config is in the way."""


def judge_prune(
    generation: int,
    *,
    newest: Sequence[int],
    fences: Mapping[str, int],
    left: Mapping[str, int],
    applied: Mapping[str, int],
    references: Mapping[int, str],
    claims: Collection[str],
) -> Refusal | None:
    """Return why the plan must stay, or None if nothing can need it any more.

    `newest` are the generations kept by count; `fences` of every configured zone (0: never
    opened); `left`, the fences of zones that the store has and this config has not; `applied`
    by zone, of both; `references` the generations that ledger entries need; `claims` the
    enactors that claim this one.

    The fence makes the answer stable: once every zone's fence is above the generation,
    no endpoint can come to it again, so a stale view errs towards keeping. Of a zone that has
    left the config, the plans at its fence and applied there stay. Those above its fence were
    never opened there, are claimed by nobody, and cannot be opened once they are gone.
    """
    if generation in newest:
        return Refusal(guard="newest", detail=f"generation {generation} is one of the {len(newest)} newest plans")
    for zone in sorted(fences):
        if fences[zone] <= generation:
            detail = f"the fence of {zone} stands at {fences[zone]}, not above {generation}"
            return Refusal(guard="fence", detail=detail)
    for zone in sorted(left):
        if left[zone] == generation:
            return Refusal(guard="fence", detail=f"{zone} stands at it, a zone that is not in this config{RETIRE}")
    for zone in sorted(applied):
        if applied[zone] == generation:
            retire = RETIRE if zone in left else ""
            return Refusal(guard="active", detail=f"generation {generation} is the applied plan of {zone}{retire}")
    if generation in references:
        return Refusal(guard="referenced", detail=f"generation {generation} is {references[generation]}")
    if claims:
        return Refusal(guard="claimed", detail=f"generation {generation} is claimed by {', '.join(sorted(claims))}")
    return None
