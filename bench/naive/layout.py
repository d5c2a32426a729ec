"""Where the naive enactor keeps things in a zone.

    <label>.<zone>                   CNAME  g103.<label>.trees.<zone>   the live name, an alias
    g103.<label>.trees.<zone>        A, AAAA  the tree of plan 103 for this endpoint
    <label>._rollback.<zone>         CNAME  the tree that was active before
    <label>._lock.<zone>             TXT    "<holder> <epoch seconds>"
    _applied.<zone>                  TXT    "103": the newest plan that somebody finished applying

"trees" has no underscore: BIND refuses an address at a name that is no host name (its
option check-names).

In the outage a live name was an ALIAS of Route 53, which pointed at weighted records,
which pointed at one record for each load balancer. RFC 2136 has neither: a CNAME stands
for the ALIAS, and a tree's leaves stand together at its root. Two differences follow. A
CNAME cannot stand at the zone's apex, so an endpoint there is refused. And where an
ALIAS to nothing answers NOERROR with no records, a server adds to a CNAME the name error of
its end (RFC 6604 section 3): NXDOMAIN, and no address all the same.
"""

from bench.naive.ports import Key, NaiveError, Rrset
from enactord.core.content import unpack_address
from enactord.core.records import Records


def label_of(name: str, zone: str) -> str:
    """Return an endpoint's name below its zone. Raises `NaiveError` where no alias can stand, or trees do."""
    if not name.endswith("." + zone) or name.endswith("." + trees_of(zone)):
        raise NaiveError(f"{name} does not lie below {zone}, or lies among its trees: no alias can stand there")
    return name.removesuffix("." + zone)


def trees_of(zone: str) -> str:
    return f"trees.{zone}"


def tree_of(generation: int, name: str, zone: str) -> str:
    return f"g{generation}.{label_of(name, zone)}.{trees_of(zone)}"


def parse_tree(tree: str, zone: str) -> tuple[int, str]:
    """Return the generation and the endpoint that a tree is of."""
    first, _, label = tree.removesuffix("." + trees_of(zone)).partition(".")
    return int(first.removeprefix("g")), f"{label}.{zone}"


def rollback_key(name: str, zone: str) -> Key:
    return Key(f"{label_of(name, zone)}._rollback.{zone}", "CNAME")


def lock_key(name: str, zone: str) -> Key:
    return Key(f"{label_of(name, zone)}._lock.{zone}", "TXT")


def applied_key(zone: str) -> Key:
    return Key(f"_applied.{zone}", "TXT")


def alias_key(name: str) -> Key:
    return Key(name, "CNAME")


def address_keys(name: str) -> tuple[Key, Key]:
    return Key(name, "A"), Key(name, "AAAA")


def address_rrsets(name: str, records: Records) -> list[Rrset]:
    """Return the records as RRsets of this name."""
    return [
        Rrset(key=key, ttl_s=records.ttl_s, values=tuple(sorted(unpack_address(packed) for packed in addresses)))
        for key, addresses in zip(address_keys(name), records.addresses, strict=True)
        if addresses
    ]
