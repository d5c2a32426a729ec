"""The audit log: what operators and planners did to a scope, kept in its store, bounded.

An entry is put in the transaction of the deed wherever the deed is one transaction of the store: it is there if, and
only if, the deed was done.

Nobody pushes out what others did. Publications by tokens of planners stand in a room of their own. In each room an
entry stays while it is young, or among the newest of its author, role and deed. If a room is full all the same, the
author, role and deed with the most entries within an hour loses some of that hour, and so on. So a flood, as of a
stolen token, costs its own entries first; at worst each author keeps some entries of each deed for each hour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from enactord.core.kv import Delete, Put
from enactord.core.moment import AT_MAX
from enactord.core.tokens import Role
from enactord.ports import KeyValue, Reading
from enactord.store.keys import Keys, json_value, parse_pad, stored_json, stored_word
from enactord.store.layout import AUDIT
from enactord.store.paging import items_under

COMMAND_LINE = "command line"
"""The role of whoever has the store at hand, and needs no token."""
KEPT = 200
"""So many of the newest entries of each author, role and deed stay, however old they are."""
LATELY_S = 7 * 86_400.0
"""Younger entries stay, too, while the room has place for them."""
ROOM_MAX = 4000
"""Entries of one room, some 2 MB; all are read to find those that are too many."""
ROOMS = ("orders", "plans")
"""Where entries stand: publications by tokens of planners in the second, all else in the first."""

_AUTHOR_MAX = 256
_TEXT_MAX = 1024
_DELETES_A_TRANSACTION = 100
_MICRO = 1_000_000
_HOUR_S = 3600

Fact = str | int
Facts = Mapping[str, Fact]
_Whose = tuple[str, str, str]
"""Author, role and deed."""
_Stamped = tuple[str, float]
"""A key, and the time of its entry."""


class Deed(StrEnum):
    """What was done."""

    PUBLISH = "publish"
    APPROVE = "approve"
    ROLLBACK = "rollback"
    FREEZE = "freeze"
    THAW = "thaw"
    OVERRIDE = "override"
    OVERRIDE_END = "override end"
    PAUSE = "pause"
    RESUME = "resume"
    LIMITS = "limits set"
    ADOPT = "adopt"
    PRUNE = "prune"
    REPAIR = "repair"
    EMERGENCY_SET = "emergency set"
    EMERGENCY_SEAL = "emergency seal"
    EMERGENCY_RELEASE = "emergency release"
    FENCE_LOWER = "fence lower"
    PLANS_ASIDE = "plans set aside"
    ZONE_RETIRE = "zone retire"
    ZONE_TAKE = "zone take"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One entry: who did what, in which role, when (seconds since the epoch) and why.

    `deed`: a `Deed`, or a word of another version. `generation`: the plan that came of it, 0: none.
    `facts`: what it was done to, in short.
    """

    at: float
    author: str
    role: str
    deed: str
    reason: str = ""
    generation: int = 0
    facts: Facts = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it as programs read it."""
        return {
            "at": self.at,
            "author": self.author,
            "role": self.role,
            "deed": str(self.deed),
            "reason": self.reason,
            "generation": self.generation or None,
            "facts": dict(self.facts),
        }


def act_put(keys: Keys, act: Act, mark: str) -> Put:
    """Return the operation that enters an act; `mark` tells apart what was done in the same microsecond.

    Entries of one stamp are in the order of their marks, compared as texts.
    """
    facts = {name: fact if isinstance(fact, int) else fact[:_TEXT_MAX] for name, fact in act.facts.items()}
    document = act.document() | {
        "author": act.author[:_AUTHOR_MAX],
        "reason": act.reason[:_TEXT_MAX],
        "generation": act.generation,
        "facts": facts,
    }
    room = ROOMS[act.deed == Deed.PUBLISH and act.role == Role.PLANNER]
    return Put(key=keys.act(room, int(act.at * _MICRO), mark), value=json_value(AUDIT, document))


def parse_act(value: bytes) -> Act | None:
    """Return a stored entry; None where it is damaged, or of another version."""
    found = stored_json(AUDIT, value)
    try:
        author, reason, at = stored_word(found)
        role, deed, generation, facts = found["role"], found["deed"], found["generation"], found["facts"]
        if not isinstance(role, str) or not isinstance(deed, str) or type(generation) is not int or generation < 0:
            return None
        sound = isinstance(facts, dict) and all(isinstance(fact, str) or type(fact) is int for fact in facts.values())
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    if not sound:
        return None
    return Act(at=at, author=author, role=role, deed=deed, reason=reason, generation=generation, facts=facts)


async def read_acts(
    store: Reading, keys: Keys, *, limit: int, since: float = 0.0, before: str = ""
) -> tuple[list[Act], str]:
    """Return the newest entries, newest first, and where to go on with `before` ("": that is all).

    `since`: only later ones (seconds since the epoch). Entries that cannot be read are left out. Raises `StoreDown`.
    """
    floor = f"{int(min(since, AT_MAX) * _MICRO):020d}"
    found: dict[str, bytes] = {}
    for room in ROOMS:
        start = keys.acts(room)
        async for item in items_under(store, start):
            name = item.key[len(start) :]
            if floor <= name and (not before or name < before):
                found[name] = item.value
    acts: list[Act] = []
    names = sorted(found, reverse=True)
    for place, name in enumerate(names):
        act = parse_act(found[name])
        if act is None:
            continue
        acts.append(act)
        if len(acts) == limit:
            return acts, name if place + 1 < len(names) else ""
    return acts, ""


async def trim_acts(store: KeyValue, keys: Keys, now: float, *, kept: int = KEPT, room_max: int = ROOM_MAX) -> int:
    """Delete the entries beyond those that are kept; returns how many went. Raises `StoreDown`."""
    gone: list[str] = []
    for room in ROOMS:
        start = keys.acts(room)
        by_whose: dict[_Whose, list[_Stamped]] = {}
        async for item in items_under(store, start):
            act = parse_act(item.value)
            whose = ("", "", "") if act is None else (act.author, act.role, act.deed)
            at_us = parse_pad(item.key[len(start) :].partition("-")[0]) or 0
            by_whose.setdefault(whose, []).append((item.key, at_us / _MICRO))
        gone += _beyond(by_whose, now, kept, room_max)
    await _delete(store, gone)
    return len(gone)


def _beyond(by_whose: Mapping[_Whose, Sequence[_Stamped]], now: float, kept: int, room_max: int) -> list[str]:
    """Return the keys of a room that are too many; the entries of each author, role and deed are in order of time."""
    gone: list[str] = []
    hours: dict[tuple[_Whose, int], list[str]] = {}
    for whose, own in by_whose.items():
        old = [key for key, at in own[: max(0, len(own) - kept)] if at < now - LATELY_S]
        gone += old
        for key, at in own[len(old) :]:
            hours.setdefault((whose, int(at // _HOUR_S)), []).append(key)
    share = max(1, _share([len(hour) for hour in hours.values()], room_max))
    left: list[str] = []
    for hour in hours.values():
        more = max(0, len(hour) - share)
        gone += hour[1 : 1 + more]  # the first of an hour stays: it tells when a flood began
        left += [hour[0], *hour[1 + more :]]
    return gone + sorted(left)[: max(0, len(left) - room_max)]


def _share(sizes: Sequence[int], room: int) -> int:
    """Return how many of each group have room, where groups that are smaller leave what they do not need to others."""
    for number, size in enumerate(sorted(sizes)):
        share = room // (len(sizes) - number)
        if size > share:
            return share
        room -= size
    return max(sizes, default=0)


async def _delete(store: KeyValue, names: Sequence[str]) -> None:
    for start in range(0, len(names), _DELETES_A_TRANSACTION):
        some = names[start : start + _DELETES_A_TRANSACTION]
        await store.transact((), [Delete(key=name) for name in some])
