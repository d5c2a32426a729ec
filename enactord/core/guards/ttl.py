"""Guard `ttl`: an endpoint's TTL lies in the range that the limits give. A TTL of days would outlive any repair."""

from enactord.core.guards.kinds import Change, EndpointGuard
from enactord.core.settings import Key, Values

_HIGHEST = 2**31 - 1  # Source: RFC 2181 section 8.
TTL_MIN = Key(
    name="ttl_min_s", default=1, low=0, high=_HIGHEST, high_is_strict=True, meaning="Smallest TTL of an endpoint."
)
TTL_MAX = Key(name="ttl_max_s", default=86_400, low=0, high=_HIGHEST, meaning="Largest TTL of an endpoint.")


def _judge(change: Change, limits: Values) -> str:
    low, high = limits[TTL_MIN], limits[TTL_MAX]
    ttl_s = change.content.ttl_s
    return (
        ""
        if low <= ttl_s <= high
        else f"ttl_s {ttl_s}, must be {low} to {high} (ttl_min_s, ttl_max_s); see: enactorctl limits"
    )


GUARD = EndpointGuard(name="ttl", keys=(TTL_MIN, TTL_MAX), judge=_judge)
