"""The audit log: what operators and planners did to a scope, kept in its store, bounded.

An entry is put in the transaction of the deed wherever the deed is one transaction of the store: it is there if, and
only if, the deed was done. Publications that no operator ordered stand apart from all other deeds, so that a planner
which publishes each second does not push out who froze the scope.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from enactord.core.kv import Delete, Put
from enactord.core.moment import AT_MAX
from enactord.ports import KeyValue, Reading
from enactord.registry.keys import Keys, json_value, stored_json, stored_word
from enactord.store.layout import AUDIT
from enactord.store.paging import items_under

COMMAND_LINE = "command line"
"""The role of whoever has the store at hand, and needs no token."""
KEPT = 1000
"""So many of the newest entries stay: of deeds of operators, and of publications, each."""
ROOMS = ("orders", "plans")
"""Where entries stand: what operators did; publications that none of them ordered."""

_AUTHOR_MAX = 256
_TEXT_MAX = 1024
_DELETES_A_TRANSACTION = 100
_MICRO = 1_000_000

Fact = str | int
Facts = Mapping[str, Fact]


class Deed(StrEnum):
    """What was done."""

    PUBLISH = "publish"
    APPROVE = "approve"
    ROLLBACK = "rollback"
    FREEZE = "freeze"
    THAW = "thaw"
    PAUSE = "pause"
    RESUME = "resume"
    LIMITS = "limits set"
    ADOPT = "adopt"
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
    """Return the operation that enters an act; `mark` tells apart what was done in the same microsecond."""
    facts = {name: fact if isinstance(fact, int) else fact[:_TEXT_MAX] for name, fact in act.facts.items()}
    document = act.document() | {
        "author": act.author[:_AUTHOR_MAX],
        "reason": act.reason[:_TEXT_MAX],
        "generation": act.generation,
        "facts": facts,
    }
    room = ROOMS[act.deed == Deed.PUBLISH]
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


async def trim_acts(store: KeyValue, keys: Keys, kept: int = KEPT) -> int:
    """Delete the oldest entries beyond those that are kept; returns how many went. Raises `StoreDown`."""
    gone: list[str] = []
    for room in ROOMS:
        there = [item.key async for item in items_under(store, keys.acts(room))]
        gone += there[: max(0, len(there) - kept)]
    await _delete(store, gone)
    return len(gone)


async def _delete(store: KeyValue, names: Sequence[str]) -> None:
    for start in range(0, len(names), _DELETES_A_TRANSACTION):
        some = names[start : start + _DELETES_A_TRANSACTION]
        await store.transact((), [Delete(key=name) for name in some])
