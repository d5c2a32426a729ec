"""Guards: pure functions of plan, ledger, limits and now, which all enactors judge alike.

A refused plan changes nothing; a refused endpoint is held while the rest applies. Each guard is a module here, and a
line of `GUARDS`: config, docs and those who judge walk that list.
"""

from typing import Any

from enactord.core.content import Content
from enactord.core.guards import address, malformed, removals, step, targets, ttl, velocity, zone
from enactord.core.guards.kinds import Change, EndpointGuard, Guard, PlanGuard, Removal
from enactord.core.guards.step import in_step as in_step
from enactord.core.guards.step import judge_step as judge_step
from enactord.core.guards.zone import refuse_outside as refuse_outside
from enactord.core.ledger import Entry
from enactord.core.refusal import Refusal
from enactord.core.settings import Key, Values

GUARDS: tuple[Guard, ...] = (
    zone.GUARD,
    step.GUARD,
    removals.GUARD,
    malformed.GUARD,
    targets.GUARD,
    ttl.GUARD,
    address.GUARD,
    velocity.GUARD,
)
"""All guards, in the order in which they judge."""

_PLAN_GUARDS = [guard for guard in GUARDS if isinstance(guard, PlanGuard)]
_ENDPOINT_GUARDS = [guard for guard in GUARDS if isinstance(guard, EndpointGuard)]


WEIGH_CHANGE = frozenset(guard.name for guard in _PLAN_GUARDS)
"""Guards of a plan that compare it with what was before: what an operator orders passes them."""


def _keys() -> tuple[Key[Any], ...]:
    """Return the keys that guards read, each once: two guards may share one."""
    return tuple(dict.fromkeys(key for guard in GUARDS for key in guard.keys))


class Limits(Values):
    """What guards allow; the `[guard]` table of the config."""

    KEYS = _keys()
    __slots__ = ()


LIMITS = Limits()
"""Those of a config that names none."""


def judge_removals(removed: int, owned: int, planned: int, limits: Limits, *, approved: bool) -> Refusal | None:
    """Judge a plan that removes so many of the names that are owned, and holds `planned` names."""
    if approved:
        return None
    removal = Removal(removed, owned, planned)
    for guard in _PLAN_GUARDS:
        detail = guard.judge(removal, limits)
        if detail:
            return Refusal(guard=guard.name, detail=detail)
    return None


def judge_endpoint(
    content: Content, entry: Entry | None, limits: Limits, now: float, *, approved: bool
) -> Refusal | None:
    """One endpoint's new content may replace what the ledger has.

    An approval passes what weighs change (`targets_min` above one, velocity); it never
    lets an empty endpoint, an address that is not allowed or a TTL out of range pass.
    """
    change = Change(content, entry, now, approved)
    new = approved or entry is None or entry.applied is None
    for guard in _ENDPOINT_GUARDS:
        if new and guard.weighs_change:
            continue
        detail = guard.judge(change, limits)
        if detail:
            return Refusal(guard=guard.name, detail=detail)
    return None
