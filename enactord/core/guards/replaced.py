"""Guard `endpoints_replaced`: a plan does not move too many names to entirely other addresses."""

from collections.abc import Sequence

from enactord.core.guards.kinds import PlanGuard, Seen, Weighing
from enactord.core.settings import Key, Values

_MAX_RATIO = Key(
    name="endpoints_replaced_max_ratio",
    default=0.3,
    low=0,
    high=1,
    meaning="Share of the endpoints of the scope, or of a zone, that plans may move to entirely other addresses within"
    " the velocity window; a plan that moves more is refused (three may always move).",
)
_ALWAYS = 3


def _look(weighing: Weighing, limits: Values) -> Sequence[Seen]:
    total = weighing.before.endpoints
    allowed = max(_ALWAYS, int(total * limits[_MAX_RATIO]))
    return [Seen(weighing.loss.replaced, total, allowed, "endpoints", "moved to other addresses", _MAX_RATIO)]


GUARD = PlanGuard(name="endpoints_replaced", keys=(_MAX_RATIO,), look=_look)
