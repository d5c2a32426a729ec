"""Overrides: what an operator changes of an endpoint for some hours, whatever its planner publishes meanwhile.

A plan holds what the overrides in force make of its planner's content, and beside that, by name, the planner's own
content. So an override ends by a plan that brings the planner's content back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from enactord.core.content import WEIGHT_MAX, content_text, pack_address, parse_content
from enactord.core.moment import utc
from enactord.core.plan import Draft

DRAIN, WEIGHT, PIN = "drain", "weight", "pin"
KINDS = (DRAIN, WEIGHT, PIN)
LASTS_MAX_S = 86_400.0
"""No override lasts longer: what should stay is the planner's to say."""
ABSENT = ""
"""In place of a content text: the name is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One override: of which name, what it does, who says so and why, from when to when (seconds since the epoch).

    `drain`: the address gets weight 0, as one that is known and not served; `weight`: it gets that weight; `pin`:
    the name keeps `content`, a content text.
    """

    id: str
    name: str
    kind: str
    address: str = ""
    weight: int = 0
    content: str = ""
    author: str
    reason: str
    at: float
    until: float

    def text(self) -> str:
        """Return what it does, as an operator types it."""
        return {
            DRAIN: f"drain {self.address}",
            WEIGHT: f"weight {self.address}={self.weight}",
            PIN: "pin",
        }[self.kind]

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "name": self.name,
            "what": self.text(),
            "author": self.author,
            "reason": self.reason,
            "at": self.at,
            "until": self.until,
        }

    def note(self) -> str:
        """Return for people that it is in force."""
        return (
            f"{self.name} is overridden by {self.author} until {utc(self.until)} ({self.text()}): {self.reason};"
            f" to end it: enactorctl override end {self.id}"
        )

    def over_note(self) -> str:
        """Return for people that its time is over, and that it is in force all the same."""
        return (
            f"{self.name} is overridden by {self.author} ({self.text()}), though no more than until {utc(self.until)}:"
            f" guards refuse the end of it; look, and: enactorctl override end {self.id} --approve --reason …"
        )


def by_name(overrides: Iterable[Override]) -> dict[str, list[Override]]:
    """Return overrides by name, each name's in the order in which they take effect: a pin first."""
    found: dict[str, list[Override]] = {}
    for override in sorted(overrides, key=lambda one: (one.kind != PIN, one.at, one.id)):
        found.setdefault(override.name, []).append(override)
    return found


def overridden(wanted: str, overrides: Iterable[Override]) -> str:
    """Return what overrides of one name make of the content that its planner wants: a content text, or `ABSENT`."""
    text = wanted
    for override in overrides:
        if override.kind == PIN:
            text = override.content
        elif text != ABSENT:
            text = _weighted(text, override.address, override.weight)
    return text


def _weighted(text: str, address: str, weight: int) -> str:
    """Return a content with another weight of one address; as it is, where the address is none of its targets."""
    content = parse_content(text)
    if not any(target.address == address and target.weight != weight for target in content.targets):
        return text
    targets = tuple(
        target._replace(weight=weight) if target.address == address else target for target in content.targets
    )
    return content_text(replace(content, targets=targets))


def overlay(draft: Draft, overrides: Sequence[Override]) -> tuple[Draft, dict[str, str]]:
    """Return a whole plan as overrides change it, and what its planner wants of the names that are changed."""
    endpoints, planned = dict(draft.endpoints), {}
    for name, some in by_name(overrides).items():
        wanted = draft.endpoints.get(name, ABSENT)
        text = overridden(wanted, some)
        if text != wanted:
            planned[name] = wanted
            endpoints[name] = text
    if not planned:
        return draft, {}
    return replace(draft, endpoints=dict(sorted(endpoints.items())), digest=""), planned


def overlay_changes(
    draft: Draft, overrides: Sequence[Override], stored: Mapping[str, str], before: Mapping[str, str]
) -> tuple[Draft, dict[str, str]]:
    """Return changes as overrides change them, and what the planner wants of the names that are overridden then.

    `stored`: what the plan at the base holds of the names that are overridden in it, or are to be; `before`: what
    the planner wanted there of those that are overridden in it.
    """
    named = by_name(overrides)
    endpoints, withdrawn = dict(draft.endpoints), set(draft.withdrawn)
    planned: dict[str, str] = {}
    for name in sorted(named.keys() | before.keys()):
        wanted = before.get(name, stored.get(name, ABSENT))
        if name in withdrawn:
            wanted = ABSENT
        wanted = endpoints.pop(name, wanted)
        text = overridden(wanted, named.get(name, ()))
        if text != wanted:
            planned[name] = wanted
        if text == ABSENT:
            withdrawn |= {name} & stored.keys()
            continue
        withdrawn.discard(name)
        if text != stored.get(name, ABSENT):
            endpoints[name] = text
    changed = replace(draft, endpoints=dict(sorted(endpoints.items())), withdrawn=tuple(sorted(withdrawn)))
    return changed, planned


def planned_contents(contents: Mapping[str, str], planned: Mapping[str, str]) -> dict[str, str]:
    """Return what a plan's planner wants, of what the plan holds; `planned`: what it wants of names that differ."""
    found = {name: text for name, text in {**contents, **planned}.items() if text != ABSENT}
    return dict(sorted(found.items()))


def check_override(override: Override) -> str:
    """Return why an override cannot be, or ""."""
    if override.kind not in KINDS:
        return f"{override.kind!r} is none of {', '.join(KINDS)}"
    if not override.at < override.until <= override.at + LASTS_MAX_S:
        return f"an override lasts more than 0 s and at most {LASTS_MAX_S / 3600:.0f} hours"
    if override.kind != PIN:
        try:
            pack_address(override.address)
        except ValueError as error:
            return str(error)
    if override.kind != WEIGHT and override.weight:
        return f"a weight is given with {WEIGHT} alone"
    if not 0 <= override.weight <= WEIGHT_MAX:
        return f"weight: {override.weight} is not from 0 to {WEIGHT_MAX}"
    return ""
