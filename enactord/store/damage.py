"""What is damaged of the stored values that steer a scope, each of which stands alone.

Such a value is written anew by the next publication, or pass; one that stays shows that neither comes about.
"""

from collections.abc import Callable

from enactord.core.guards import Limits
from enactord.store.cache import Cache
from enactord.store.keys import parse_applied, parse_head, parse_record
from enactord.store.layout import APPLIED, FENCE, HEAD, LIMITS, Kind
from enactord.store.limits import parse_ruling

STEERING = (HEAD, LIMITS, FENCE, APPLIED)


def damaged(cache: Cache) -> dict[str, Kind]:
    """Return the kind of each value of a scope that is no value of its kind, by key below the scope's root."""
    keys = cache.keys
    found = {}
    if _spoilt(cache, keys.head, parse_head):
        found[keys.head] = HEAD
    for zone in cache.fences:
        if _spoilt(cache, keys.fence(zone), parse_record):
            found[keys.fence(zone)] = FENCE
        if _spoilt(cache, keys.applied(zone), parse_applied):
            found[keys.applied(zone)] = APPLIED
    if LIMITS.prefix not in cache.other_formats and parse_ruling(_value(cache, keys.limits), Limits()).problem:
        found[keys.limits] = LIMITS
    return {keys.shown(key): kind for key, kind in found.items()}


def _value(cache: Cache, key: str) -> bytes | None:
    item = cache.items.get(key)
    return item.value if item else None


def _spoilt(cache: Cache, key: str, parse: Callable[[bytes], object | None]) -> bool:
    value = _value(cache, key)
    return value is not None and parse(value) is None
