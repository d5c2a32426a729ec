"""The guards' limits as they are kept in the store, so that all enactors and publishers judge alike.

The `[guard]` table of the config seeds them, once. From then on only `enactorctl limits set` changes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from enactord.core.guards import LIMITS, Limits
from enactord.core.guards.ttl import TTL_MAX, TTL_MIN
from enactord.core.kv import Put, absent
from enactord.core.settings import Key
from enactord.ports import KeyValue
from enactord.store.keys import Keys, json_value, stored_json, stored_word
from enactord.store.layout import LIMITS as KIND
from enactord.store.layout import OtherFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The limits in force, and who set them last, why and when (seconds since the epoch).

    `problem`: why the stored ones cannot be used; then the stricter of the config and the defaults are in force.
    """

    limits: Limits
    author: str = ""
    reason: str = ""
    at: float = 0.0
    problem: str = ""


def ruling_value(ruling: Ruling) -> bytes:
    """Return what `control/limits` holds."""
    document = {
        "limits": ruling.limits.by_name(),
        "author": ruling.author,
        "reason": ruling.reason,
        "at": ruling.at,
    }
    return json_value(KIND, document)


@lru_cache(maxsize=8)
def parse_ruling(value: bytes | None, configured: Limits) -> Ruling:
    """Return the limits in force: the stored ones; where nothing is stored yet, the config's.

    A key that the stored ones lack, because it is newer than they are, has its default.
    """
    if value is None:
        return Ruling(limits=configured)
    found = stored_json(KIND, value)
    if isinstance(found, OtherFormat):
        return Ruling(limits=strictest(configured, LIMITS), problem=str(found))
    try:
        given, (author, reason, at) = found["limits"], stored_word(found)
        limits = Limits(**{key.name: key.checked(given[key.name]) for key in Limits.KEYS if key.name in given})
        return Ruling(limits=limits, author=author, reason=reason, at=at)
    except (ValueError, KeyError, TypeError, OverflowError):
        pass
    problem = (
        "the stored limits are damaged, and the stricter of the config and the defaults are in force;"
        " put them right with: enactorctl limits set KEY VALUE --reason …"
    )
    return Ruling(limits=strictest(configured, LIMITS), problem=problem)


def parse_limit(key: Key[Any], text: str) -> Any:
    """Return the value that a text stands for. Raises ValueError with what the key takes."""
    try:
        if isinstance(key.default, bool):
            return {"true": True, "false": False}[text.lower()]
        return key.checked(int(text) if isinstance(key.default, int) else float(text))
    except (KeyError, ValueError):
        raise ValueError(f"{text[:40]!r} is no value of {key.name}: it takes {key.takes}") from None


def strictest(one: Limits, other: Limits) -> Limits:
    """Return of each key the value that lets less pass; where no TTL would pass any more, both bounds of `other`."""
    limits = Limits(**{key.name: (max if key.high_is_strict else min)(one[key], other[key]) for key in Limits.KEYS})
    if limits[TTL_MIN] > limits[TTL_MAX]:
        limits = limits.replaced(ttl_min_s=other[TTL_MIN], ttl_max_s=other[TTL_MAX])
    return limits


def differences(ruling: Ruling, configured: Limits) -> Mapping[str, tuple[Any, Any]]:
    """Return what is in force and what the config says, by the names of the keys in which they differ."""
    return {
        key.name: (ruling.limits[key], configured[key]) for key in Limits.KEYS if ruling.limits[key] != configured[key]
    }


async def read_ruling(store: KeyValue, keys: Keys, configured: Limits) -> Ruling:
    """Return the limits in force. Raises `StoreDown`."""
    item = (await store.get([keys.limits])).get(keys.limits)
    return parse_ruling(item.value if item else None, configured)


async def seed(store: KeyValue, keys: Keys, configured: Limits, enactor: str, now: float) -> None:
    """Put the config's limits into a store that has none. Raises `StoreDown`."""
    ruling = Ruling(limits=configured, author=enactor, reason="from [guard] of the config, at the first start", at=now)
    await store.transact([absent(keys.limits)], [Put(key=keys.limits, value=ruling_value(ruling))])
