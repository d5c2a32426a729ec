"""Guard `scope_capacity`: a plan does not take too much of the capacity that all endpoints have together."""

from collections.abc import Sequence

from enactord.core.guards.kinds import PlanGuard, Seen, Weighing
from enactord.core.settings import Key, Values

_MAX_RATIO = Key(
    name="scope_capacity_removed_max_ratio",
    default=0.3,
    low=0,
    high=1,
    meaning="Share of the weight, or of the addresses served, of all endpoints of the scope, or of a zone, that plans"
    " may take away within the velocity window; a plan that takes more is refused (judged from five endpoints on).",
)
_ENDPOINTS_MIN = 5


def _look(weighing: Weighing, limits: Values) -> Sequence[Seen]:
    """What one endpoint gains makes up for nothing that another loses: traffic does not move between names."""
    before, loss = weighing.before, weighing.loss
    if before.endpoints < _ENDPOINTS_MIN:
        return []
    measured = [(loss.weight - loss.spared_weight, before.weight, "weight")]
    if before.addresses:
        measured.append((loss.addresses - loss.spared_addresses, before.addresses, "addresses served"))
    ratio = limits[_MAX_RATIO]
    return [Seen(gone, total, int(total * ratio), unit, "taken away", _MAX_RATIO) for gone, total, unit in measured]


GUARD = PlanGuard(name="scope_capacity", keys=(_MAX_RATIO,), look=_look)
