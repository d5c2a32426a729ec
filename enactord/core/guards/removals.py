"""Guard `endpoints_removed`: a plan does not remove too many of the names that were wanted before it, or are owned."""

from collections.abc import Sequence

from enactord.core.guards.kinds import PlanGuard, Seen, Weighing
from enactord.core.settings import Key, Values

_MAX_RATIO = Key(
    name="endpoints_removed_max_ratio",
    default=0.2,
    low=0,
    high=1,
    meaning="Share of the endpoints of the scope, or of a zone, that plans may remove within the velocity window;"
    " a plan that removes more is refused (one may always go).",
)


def _look(weighing: Weighing, limits: Values) -> Sequence[Seen]:
    """One name may always go, else a small scope could never shrink; but not the last one."""
    removed, total = weighing.loss.removed, weighing.before.endpoints
    if not weighing.zone and not weighing.planned and removed:
        note = f"the plan holds no endpoint, {total} are {'wanted' if weighing.since else 'owned'}"
        return [Seen(removed, total, 0, "endpoints", "removed", _MAX_RATIO, note)]
    allowed = max(1, int(total * limits[_MAX_RATIO]))
    return [Seen(removed, total, allowed, "endpoints", "removed", _MAX_RATIO)]


GUARD = PlanGuard(name="endpoints_removed", keys=(_MAX_RATIO,), look=_look)
