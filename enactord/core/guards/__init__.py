"""Guards: pure functions of plan, ledger, limits and now, which all enactors judge alike.

A refused plan changes nothing; a refused endpoint is held while the rest applies. Each guard is a module here, and a
line of `GUARDS`: config, docs and those who judge walk that list.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from enactord.core.content import Content
from enactord.core.guards import (
    address,
    capacity,
    malformed,
    removals,
    replaced,
    second_person,
    step,
    targets,
    ttl,
    velocity,
    zone,
)
from enactord.core.guards.kinds import VELOCITY_WINDOW as VELOCITY_WINDOW
from enactord.core.guards.kinds import Change, EndpointGuard, Guard, PlanGuard, Seen, Weighing
from enactord.core.guards.second_person import judge_approval as judge_approval
from enactord.core.guards.step import in_step as in_step
from enactord.core.guards.step import judge_step as judge_step
from enactord.core.guards.velocity import RATIO_MAX as RATIO_MAX
from enactord.core.guards.zone import refuse_outside as refuse_outside
from enactord.core.ledger import Entry
from enactord.core.refusal import Refusal
from enactord.core.render import ANSWERS_MAX
from enactord.core.settings import Key, Values

GUARDS: tuple[Guard, ...] = (
    zone.GUARD,
    step.GUARD,
    second_person.GUARD,
    removals.GUARD,
    replaced.GUARD,
    capacity.GUARD,
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
"""Guards of a plan that compare it with earlier ones: what an operator orders passes them."""


def _keys() -> tuple[Key[Any], ...]:
    """Return the keys that guards read, each once: two guards may share one."""
    return tuple(dict.fromkeys(key for guard in GUARDS for key in guard.keys))


class Limits(Values):
    """What guards allow; the `[guard]` table of the config."""

    KEYS = _keys()
    __slots__ = ()


LIMITS = Limits()
"""Those of a config that names none."""


class Finding(NamedTuple):
    """What one guard saw when it weighed a plan; `ratio`: the share that its key allows."""

    guard: str
    weighing: Weighing
    seen: Seen
    ratio: float

    def text(self) -> str:
        """Return it in words, as "3 of 10 endpoints would be removed since plan 7, at most 2 (…)"."""
        seen, zone, since = self.seen, self.weighing.zone, self.weighing.since
        if seen.note:
            return seen.note
        where = f" of {zone}" if zone else ""
        when = f" since plan {since}" if since else ""
        return (
            f"{seen.gone} of {seen.total} {seen.unit}{where} would be {seen.gone_by}{when}, at most {seen.allowed}"
            f" ({seen.key.name} {self.ratio:g})"
        )

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        where = {"zone": self.weighing.zone or None, "since": self.weighing.since or None}
        return {"guard": self.guard, **where, **self.seen.document(), "text": self.text()}

    def refusal(self) -> Refusal:
        return Refusal(guard=self.guard, detail=f"{self.text()}; publish it with --approve if that is meant")


def look(weighing: Weighing, limits: Limits) -> list[Finding]:
    """Return what each guard of plans sees in a weighing."""
    return [
        Finding(guard.name, weighing, seen, limits[seen.key])
        for guard in _PLAN_GUARDS
        for seen in guard.look(weighing, limits)
    ]


def closest(findings: Iterable[Finding]) -> list[Finding]:
    """Return of each guard, zone and unit the finding that comes closest to a refusal, or goes farthest beyond it."""
    found: dict[tuple[str, str, str], Finding] = {}
    for finding in findings:
        key = (finding.guard, finding.weighing.zone, finding.seen.unit)
        if key not in found or finding.seen.closeness > found[key].seen.closeness:
            found[key] = finding
    return list(found.values())


def judge_endpoint(
    content: Content,
    entry: Entry | None,
    limits: Limits,
    now: float,
    *,
    approved: bool,
    answers_max: int = ANSWERS_MAX,
) -> Refusal | None:
    """One endpoint's new content may replace what the ledger has, in a zone of that `answers_max`.

    An approval passes what weighs change (`targets_min` above one, velocity); it never
    lets an empty endpoint, an address that is not allowed or a TTL out of range pass.
    """
    change = Change(content, entry, now, approved, answers_max)
    for guard in _ENDPOINT_GUARDS:
        if guard.weighs_change and _is_new(change):
            continue
        detail = guard.judge(change, limits)
        if detail:
            return Refusal(guard=guard.name, detail=detail)
    return None


def look_at_endpoint(change: Change, limits: Limits) -> list[tuple[str, Seen]]:
    """Return what each guard that counts sees in a change of one endpoint, with the guard's name."""
    return [
        (guard.name, seen)
        for guard in _ENDPOINT_GUARDS
        if guard.look is not None and not (guard.weighs_change and _is_new(change))
        for seen in guard.look(change, limits)
    ]


def _is_new(change: Change) -> bool:
    """Whether guards that weigh change have nothing to weigh: it is ordered, or nothing of the name is known."""
    entry = change.entry
    return change.approved or entry is None or (entry.applied is None and not entry.peaks)
