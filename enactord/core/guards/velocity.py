"""Guard `velocity`: an endpoint does not lose too much of its capacity within a time, by weight or by addresses."""

from collections.abc import Sequence

from enactord.core.guards.kinds import VELOCITY_WINDOW, Change, EndpointGuard, Seen
from enactord.core.ledger import greatest_capacity
from enactord.core.settings import Key, Values

RATIO_MAX = Key(
    name="capacity_removed_max_ratio",
    default=0.5,
    low=0,
    high=1,
    meaning="Share of an endpoint's weight, or of its addresses served, that may go within the velocity window;"
    " beyond it, it is held.",
)


def _measured(change: Change, limits: Values) -> Sequence[tuple[str, int, int]]:
    """Return what is counted, what there was of it at most within the window, and what there would be."""
    entry, now = change.entry, change.now
    if entry is None:
        return ()
    # While a name is held nothing is written: a peak that is later than the hold comes from a wrong clock.
    last_s = now if entry.held is None else min(now, entry.held.since_s)
    before = greatest_capacity(entry.peaks, now - limits[VELOCITY_WINDOW], last_s)
    after = change.content.capacity(change.answers_max)
    by_weight = ("weight", before.weight, after.weight)
    if not change.answers_max:
        return (by_weight,)  # the zone expresses weights, which say it all
    return (by_weight, ("addresses served", before.addresses, after.addresses))


def _look(change: Change, limits: Values) -> Sequence[Seen]:
    ratio = limits[RATIO_MAX]
    return [
        Seen(max(0, old - new), old, int(old * ratio), unit, "taken away", RATIO_MAX)
        for unit, old, new in _measured(change, limits)
        if old
    ]


def _judge(change: Change, limits: Values) -> str:
    ratio = limits[RATIO_MAX]
    for unit, old, new in _measured(change, limits):
        if old and new < old * (1 - ratio):
            return (
                f"{unit} {old} would fall to {new}, by {(old - new) / old:.0%} within {limits[VELOCITY_WINDOW]:g} s,"
                f" at most {ratio:.0%} ({RATIO_MAX.name}); publish the plan with --approve if that is meant"
            )
    return ""


GUARD = EndpointGuard(name="velocity", keys=(RATIO_MAX, VELOCITY_WINDOW), judge=_judge, look=_look, weighs_change=True)
