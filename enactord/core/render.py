"""Weights to RRsets: which addresses of an endpoint are served, the same on every machine."""

from hashlib import blake2b

from enactord.core.content import Content, Target, pack_address
from enactord.core.records import NO_RECORDS, Records

ANSWERS_MAX = 16
"""Most addresses of one RRset, where the config does not say."""
ANSWERS_MAX_LIMIT = 100
"""Most addresses of one RRset: BIND answers SERVFAIL to an update beyond it (max-records-per-type).

Also the most weighted record sets of one name and type. Source: Route 53, Quotas.
"""


WEIGHTED = 0
"""In place of `answers_max`: the zone expresses weights, so its records carry them."""
WEIGHT_LIMIT = 255
"""Most that a weighted record set can have. Source: Route 53 API, ResourceRecordSet."""


def render(name: str, generation: int, content: Content, answers_max: int) -> Records:
    """Return the records of an endpoint as of a generation.

    An RRset of more than `answers_max` addresses is a weighted sample, drawn anew with
    each generation that changes the content, so that over time each target has its share.
    """
    usable = content.usable
    if not usable:
        return NO_RECORDS
    if len(usable) <= answers_max:  # all are served, which is nearly every endpoint
        packed = sorted([pack_address(target[0]) for target in usable])
        a = [address for address in packed if len(address) == 4]
        aaaa = [address for address in packed if len(address) == 16] if len(a) < len(packed) else []
        return Records(ttl_s=content.ttl_s, a=tuple(a), aaaa=tuple(aaaa))
    v4 = [target for target in usable if ":" not in target.address]
    v6 = [target for target in usable if ":" in target.address]
    if answers_max == WEIGHTED:
        by4, by6 = _weighted(name, generation, v4), _weighted(name, generation, v6)
        return Records(ttl_s=content.ttl_s, a=tuple(by4), aaaa=tuple(by6), weights=(*by4.values(), *by6.values()))
    return Records(
        ttl_s=content.ttl_s,
        a=_sample(name, generation, v4, answers_max),
        aaaa=_sample(name, generation, v6, answers_max),
    )


def _sample(name: str, generation: int, targets: list[Target], answers_max: int) -> tuple[bytes, ...]:
    if len(targets) > answers_max:
        seed = f"{name} {generation} ".encode("ascii")
        # Weighted rendezvous hashing: the smallest of -ln(u)/weight wins; ties go by address.
        # Source: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", SPAA 2005.
        targets = sorted(targets, key=lambda t: (_negative_log2(seed + t.packed) // t.weight, t.packed))[:answers_max]
    return tuple(sorted(target.packed for target in targets))


def _weighted(name: str, generation: int, targets: list[Target]) -> dict[bytes, int]:
    """Return addresses with their weights, sorted by address.

    Weights above the limit are scaled down together, none to 0. A sample carries no
    weights of its own (all are 1): the draw has given each target its share already.
    """
    if len(targets) > ANSWERS_MAX_LIMIT:
        return dict.fromkeys(_sample(name, generation, targets, ANSWERS_MAX_LIMIT), 1)
    most = max((target.weight for target in targets), default=0)
    if most > WEIGHT_LIMIT:
        scaled = {t.packed: max(1, (t.weight * WEIGHT_LIMIT + most // 2) // most) for t in targets}
    else:
        scaled = {target.packed: target.weight for target in targets}
    return dict(sorted(scaled.items()))


_FRACTION_BITS = 48


def _negative_log2(key: bytes) -> int:
    """Return -log2(u) * 2**80 of a uniform u in (0, 1] drawn from the key, in exact integers.

    Integers, because the last bit of math.log differs between C libraries, and two
    enactors must never disagree on what a generation serves.
    """
    draw = int.from_bytes(blake2b(key, digest_size=8).digest(), "big") + 1
    exponent = draw.bit_length() - 1
    mantissa = (draw << _FRACTION_BITS) >> exponent
    result = exponent << _FRACTION_BITS
    for bit in range(_FRACTION_BITS - 1, -1, -1):
        mantissa = (mantissa * mantissa) >> _FRACTION_BITS
        if mantissa >> (_FRACTION_BITS + 1):
            mantissa >>= 1
            result |= 1 << bit
    return ((64 << _FRACTION_BITS) - result) << (80 - _FRACTION_BITS)
