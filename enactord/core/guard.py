"""Guards: pure functions of plan, ledger, limits and now, which all enactors judge alike.

A refused plan changes nothing; a refused endpoint is held while the rest applies.
"""

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from enactord.core.content import Content
from enactord.core.ledger import Entry, greatest_capacity
from enactord.core.refusal import Refusal

FOREIGN, SERVER, COVERED = "foreign", "server", "covered"
ZONE_GUARDS = (FOREIGN, SERVER, COVERED)
"""What an endpoint is held by where the zone's answer to a write brought it about, rather than a judgement."""

_ZONES_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What guards allow; the `[guard]` table of the config."""

    targets_min: int = 1
    """Usable addresses that an endpoint needs; with fewer it is held."""
    capacity_removed_max_ratio: float = 0.5
    """Share of an endpoint's weight that may go within the velocity window; beyond it, it is held."""
    velocity_window_s: float = 300.0
    """The time over which removed weight adds up."""
    endpoints_removed_max_ratio: float = 0.2
    """Share of the endpoints that one plan may remove; a plan that removes more is refused (one may always go)."""
    generation_step_max: int = 1_000_000
    """How far above the newest plan (or the highest fence) a plan's generation may be; one beyond is refused."""
    ttl_min_s: int = 1
    """Smallest TTL of an endpoint."""
    ttl_max_s: int = 86_400
    """Largest TTL of an endpoint."""
    allow_private: bool = False
    """Whether private and other addresses that are not reachable from everywhere may be served."""
    allow_loopback: bool = False
    """Whether loopback addresses may be served."""


LIMITS = Limits()
"""Those of a config that names none."""


def refuse_outside(outside: Sequence[str], zones: Collection[str]) -> Refusal:
    """Return the refusal of a plan with names, sorted, that lie in none of the configured zones."""
    names = ", ".join(outside[:3]) + (", …" if len(outside) > 3 else "")
    known = ", ".join(sorted(zones)[:_ZONES_SHOWN]) + (", …" if len(zones) > _ZONES_SHOWN else "")
    return Refusal(
        guard="zone",
        detail=f"{len(outside)} names are in none of the zones {known} ({names});"
        " take them out of the plan or add a [[zone]]",
    )


def judge_removals(removed: int, owned: int, planned: int, limits: Limits, *, approved: bool) -> Refusal | None:
    """Not too many of the names that the ledger owns (or is about to) are removed by one plan.

    One name may always go, else a small scope could never shrink; but a plan that holds
    nothing at all is refused whatever the ratio.
    """
    if approved or removed == 0:
        return None
    if planned == 0:
        return Refusal(
            guard="endpoints_removed",
            detail=f"the plan holds no endpoint, {owned} are owned; publish it with --approve if that is meant",
        )
    allowed = max(1, int(owned * limits.endpoints_removed_max_ratio))
    if removed <= allowed:
        return None
    return Refusal(
        guard="endpoints_removed",
        detail=f"{removed} of {owned} endpoints would be removed, at most {allowed}"
        f" (endpoints_removed_max_ratio {limits.endpoints_removed_max_ratio:g});"
        " publish it with --approve if that is meant",
    )


def in_step(generation: int, newest: int, limits: Limits) -> bool:
    """Whether a generation is not so far above the newest plan that nothing but a mistake explains it."""
    return generation <= newest + limits.generation_step_max


def judge_step(generation: int, before: int, limits: Limits, *, approved: bool) -> Refusal | None:
    """A plan's generation is not too far above what was before it: generations end, and never go back."""
    if approved or in_step(generation, before, limits):
        return None
    return Refusal(
        guard="generation_step",
        detail=f"generation {generation} is {generation - before} above {before}, at most"
        f" {limits.generation_step_max} (generation_step_max); leave the generation out to be given {before + 1},"
        " or publish it with --approve if it is meant",
    )


def judge_endpoint(
    content: Content, entry: Entry | None, limits: Limits, now: float, *, approved: bool
) -> Refusal | None:
    """One endpoint's new content may replace what the ledger has.

    An approval passes what weighs change (`targets_min` above one, velocity); it never
    lets an empty endpoint, an address that is not allowed or a TTL out of range pass.
    """
    usable = content.usable
    needed = 1 if approved else limits.targets_min
    if len(usable) < max(1, needed):
        return Refusal(
            guard="targets_min",
            detail=f"{len(usable)} usable addresses of {len(content.targets)}, at least {max(1, needed)};"
            ' to withdraw the name, publish it with "withdraw": true',
        )
    if not limits.ttl_min_s <= content.ttl_s <= limits.ttl_max_s:
        return Refusal(guard="ttl", detail=f"ttl_s {content.ttl_s}, must be {limits.ttl_min_s} to {limits.ttl_max_s}")
    sound = _sound(limits.allow_private, limits.allow_loopback)
    if not sound.issuperset([target[0] for target in content.targets]):
        for target in content.targets:
            wrong = _address_problem(target.address, limits.allow_private, limits.allow_loopback)
            if wrong:
                return Refusal(guard="address", detail=f"{target.address} {wrong}")
        if len(sound) > _SOUND_MAX:
            sound.clear()
        sound.update([target[0] for target in content.targets])
    if entry is None or entry.applied is None or approved:
        return None
    return _judge_velocity(content, entry, limits, now)


def _judge_velocity(content: Content, entry: Entry, limits: Limits, now: float) -> Refusal | None:
    # Nothing was written since the hold began: else one clock that ran ahead would hold a name for as long.
    last_s = now if entry.held is None else min(now, entry.held.since_s)
    before = greatest_capacity(entry.peaks, now - limits.velocity_window_s, last_s)
    after = content.capacity
    if before == 0 or after >= before * (1 - limits.capacity_removed_max_ratio):
        return None
    return Refusal(
        guard="velocity",
        detail=f"weight {before} would fall to {after}, by {(before - after) / before:.0%} within"
        f" {limits.velocity_window_s:g} s, at most {limits.capacity_removed_max_ratio:.0%}"
        " (capacity_removed_max_ratio); publish the plan with --approve if that is meant",
    )


@lru_cache
def _sound(allow_private: bool, allow_loopback: bool) -> set[str]:
    """The addresses that were found sound under these limits: most come again with each plan."""
    return set()


_SOUND_MAX = 262_144


def _address_problem(text: str, allow_private: bool, allow_loopback: bool) -> str:
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
        return "" if allow_loopback else "is a loopback address (allow_loopback is false)"
    if address.is_unspecified or address.is_multicast or address.is_link_local or address == _BROADCAST:
        return "is no address of a host that a client could reach"
    if not address.is_global and not allow_private:
        return "is not a global address (allow_private is false)"
    return ""


_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
# Blocks of 2**24 addresses without any special-purpose range: most targets, judged without `ipaddress`.
_ALWAYS_GLOBAL_FIRST = frozenset(
    str(first) for first in range(1, 224) if first not in {10, 100, 127, 169, 172, 192, 198, 203}
)
