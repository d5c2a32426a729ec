"""What is damaged of the stored values that steer a scope, each of which stands alone.

Such a value is written anew by the next publication, or pass; one that stays shows that neither comes about.
"""

from collections.abc import Callable

from enactord.core.guards import Limits
from enactord.store.keys import parse_applied, parse_head, parse_record
from enactord.store.layout import APPLIED, FENCE, HEAD, LIMITS, Kind
from enactord.store.limits import parse_ruling
from enactord.store.mirror import Mirror

STEERING = (HEAD, LIMITS, FENCE, APPLIED)


def damaged(mirror: Mirror) -> dict[str, Kind]:
    """Return the kind of each value of a scope that is no value of its kind, by key below the scope's root."""
    keys = mirror.keys
    found = {}
    if _spoilt(mirror, keys.head, parse_head):
        found[keys.head] = HEAD
    for zone in mirror.fences:
        if _spoilt(mirror, keys.fence(zone), parse_record):
            found[keys.fence(zone)] = FENCE
        if _spoilt(mirror, keys.applied(zone), parse_applied):
            found[keys.applied(zone)] = APPLIED
    if LIMITS.prefix not in mirror.other_formats and parse_ruling(_value(mirror, keys.limits), Limits()).problem:
        found[keys.limits] = LIMITS
    return {keys.shown(key): kind for key, kind in found.items()}


def _value(mirror: Mirror, key: str) -> bytes | None:
    item = mirror.items.get(key)
    return item.value if item else None


def _spoilt(mirror: Mirror, key: str, parse: Callable[[bytes], object | None]) -> bool:
    value = _value(mirror, key)
    return value is not None and parse(value) is None
