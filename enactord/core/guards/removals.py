"""Guard `endpoints_removed`: a plan does not remove too many of the names that the ledger owns, or is about to."""

from enactord.core.guards.kinds import PlanGuard, Removal
from enactord.core.settings import Key, Values

_MAX_RATIO = Key(
    name="endpoints_removed_max_ratio",
    default=0.2,
    low=0,
    high=1,
    meaning="Share of the endpoints that one plan may remove; a plan that removes more is refused (one may always go).",
)


def _judge(removal: Removal, limits: Values) -> str:
    """One name may always go, else a small scope could never shrink; but not the last one."""
    removed, owned, planned = removal
    if removed == 0:
        return ""
    if planned == 0:
        return f"the plan holds no endpoint, {owned} are owned; publish it with --approve if that is meant"
    allowed = max(1, int(owned * limits[_MAX_RATIO]))
    if removed <= allowed:
        return ""
    return (
        f"{removed} of {owned} endpoints would be removed, at most {allowed}"
        f" ({_MAX_RATIO.name} {limits[_MAX_RATIO]:g}); publish it with --approve if that is meant"
    )


GUARD = PlanGuard(name="endpoints_removed", keys=(_MAX_RATIO,), judge=_judge)
