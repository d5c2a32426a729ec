"""Guard `address`: an address that is served is of a kind that clients can reach."""

import ipaddress
from functools import lru_cache

from enactord.core.guards.kinds import Change, EndpointGuard
from enactord.core.settings import Key, Values

_PRIVATE = Key(
    name="allow_private",
    default=False,
    meaning="Whether private and other addresses that are not reachable from everywhere may be served.",
)
_LOOPBACK = Key(name="allow_loopback", default=False, meaning="Whether loopback addresses may be served.")


def _judge(change: Change, limits: Values) -> str:
    allow_private, allow_loopback = limits[_PRIVATE], limits[_LOOPBACK]
    sound = _sound(allow_private, allow_loopback)
    targets = change.content.targets
    addresses = [target[0] for target in targets]
    if sound.issuperset(addresses):
        return ""
    for address in addresses:
        wrong = _problem(address, allow_private, allow_loopback)
        if wrong:
            return f"{address} {wrong}"
    if len(sound) > _SOUND_MAX:
        sound.clear()
    sound.update(addresses)
    return ""


@lru_cache
def _sound(allow_private: bool, allow_loopback: bool) -> set[str]:
    """The addresses that were found sound under these limits: most come again with each plan."""
    return set()


_SOUND_MAX = 262_144


def _problem(text: str, allow_private: bool, allow_loopback: bool) -> str:
    """Return why an address may not be served, or "".

    Source: the IANA special-purpose address registries, as `ipaddress` has them.
    """
    first = text.partition(".")[0]
    if first in _ALWAYS_GLOBAL_FIRST or (allow_private and first == "10"):
        return ""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.sixtofour or address.teredo):
        return "embeds an IPv4 address: write that one"
    if address.is_loopback:
        return (
            ""
            if allow_loopback
            else f"is a loopback address (allow_loopback is false{_ALLOW.format('allow_loopback')})"
        )
    if address.is_unspecified or address.is_multicast or address.is_link_local or address == _BROADCAST:
        return "is no address of a host that a client could reach"
    if not address.is_global and not allow_private:
        return f"is not a global address (allow_private is false{_ALLOW.format('allow_private')})"
    return ""


_ALLOW = "; if it is meant: enactorctl limits set {} true --reason …"
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
# Blocks of 2**24 addresses without any special-purpose range: most targets, judged without `ipaddress`.
_ALWAYS_GLOBAL_FIRST = frozenset(
    str(first) for first in range(1, 224) if first not in {10, 100, 127, 169, 172, 192, 198, 203}
)


GUARD = EndpointGuard(name="address", keys=(_PRIVATE, _LOOPBACK), judge=_judge)
