"""The operator's switch: freeze and thaw, with reason and author."""

import json
import math
from dataclasses import dataclass

from enactord.core.kv import Delete, Put
from enactord.ports import Transacting
from enactord.registry.keys import Keys

MODES = ("all", "repair-only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """`mode` "all": nothing is written; "repair-only": no plan is applied, drift is repaired."""

    mode: str
    reason: str
    author: str
    since: float


def pack_freeze(freeze: Freeze) -> bytes:
    return json.dumps(
        {"mode": freeze.mode, "reason": freeze.reason, "author": freeze.author, "since": freeze.since}
    ).encode()


def parse_freeze(value: bytes) -> Freeze:
    """Return a stored freeze; what cannot be read freezes all: the careful reading of a damaged switch."""
    try:
        found = json.loads(value)
        mode, reason, author, since = found["mode"], found["reason"], found["author"], float(found["since"])
        if mode in MODES and isinstance(reason, str) and isinstance(author, str) and math.isfinite(since):
            return Freeze(mode=mode, reason=reason, author=author, since=since)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        pass
    return Freeze(mode="all", reason="the stored freeze cannot be read", author="", since=0.0)


async def freeze(store: Transacting, keys: Keys, freeze: Freeze) -> None:
    """Freeze the scope: every later store transaction of every plan compares this key."""
    await store.transact((), (Put(key=keys.freeze, value=pack_freeze(freeze)),))


async def thaw(store: Transacting, keys: Keys) -> None:
    """Undo a freeze; none is no error."""
    await store.transact((), (Delete(key=keys.freeze),))
