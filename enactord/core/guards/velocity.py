"""Guard `velocity`: an endpoint does not lose too much of its weight within a time."""

from enactord.core.guards.kinds import VELOCITY_WINDOW, Change, EndpointGuard
from enactord.core.ledger import greatest_capacity
from enactord.core.settings import Key, Values

_MAX_RATIO = Key(
    name="capacity_removed_max_ratio",
    default=0.5,
    low=0,
    high=1,
    meaning="Share of an endpoint's weight that may go within the velocity window; beyond it, it is held.",
)


def _judge(change: Change, limits: Values) -> str:
    entry, now, window_s = change.entry, change.now, limits[VELOCITY_WINDOW]
    if entry is None:
        return ""
    # Nothing was written since the hold began: else one clock that ran ahead would hold a name for as long.
    last_s = now if entry.held is None else min(now, entry.held.since_s)
    before = greatest_capacity(entry.peaks, now - window_s, last_s)
    after = change.content.capacity
    if before == 0 or after >= before * (1 - limits[_MAX_RATIO]):
        return ""
    return (
        f"weight {before} would fall to {after}, by {(before - after) / before:.0%} within"
        f" {window_s:g} s, at most {limits[_MAX_RATIO]:.0%} ({_MAX_RATIO.name});"
        " publish the plan with --approve if that is meant"
    )


GUARD = EndpointGuard(name="velocity", keys=(_MAX_RATIO, VELOCITY_WINDOW), judge=_judge, weighs_change=True)
