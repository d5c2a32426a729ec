"""Record sets: Route 53's form of records, what it requires of a batch, and the order that it lists names in.

A record set is the document that the API returns, kept as it is: a DELETE must repeat it exactly.
"""

import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from enactord.core.content import pack_address, unpack_address
from enactord.core.fence import FenceSeen
from enactord.core.records import NO_RECORDS, Change, Expect, Records, Served, served_with

RecordSet = Mapping[str, Any]

BATCH_ELEMENTS_MAX = 1000
"""Most ResourceRecord elements of a batch. Source: Route 53 API, ChangeResourceRecordSets."""
BATCH_CHARACTERS_MAX = 32_000
"""Most characters of all Value elements of a batch. Source: the same."""

_ESCAPE = re.compile(r"\\([0-7]{3})")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', re.DOTALL)
_IN_STRING = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ADDRESS_TYPES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
_PLAIN_KEYS = frozenset({"Name", "Type", "TTL", "ResourceRecords"})
_WEIGHTED_KEYS = _PLAIN_KEYS | {"SetIdentifier", "Weight"}


def name_of(record_set: RecordSet) -> str:
    """Return a set's name in our form. Source: Route 53, DNS domain name format (octal escapes)."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), str(record_set["Name"])).lower()


def order(name: str) -> str:
    """Return what names are listed by: the labels, the last first. Source: Route 53 API, ListResourceRecordSets."""
    return ".".join(reversed(name[:-1].split("."))) + "."


def fence_of(sets: Sequence[RecordSet]) -> FenceSeen:
    """Return the TXT records of a name's sets as rdata."""
    values = (record["Value"] for one in sets if one["Type"] == "TXT" for record in one.get("ResourceRecords", ()))
    return tuple(sorted(_rdata(value) for value in values))


def _rdata(value: str) -> bytes:
    """Return a TXT value, strings in quotes parted by blanks, as rdata."""
    strings = [
        _IN_STRING.sub(_unescaped, (match[1] if match[1] is not None else match[2]).encode())
        for match in _STRING.finditer(value)
    ]
    return b"".join(bytes((len(string) & 0xFF,)) + string for string in strings)


def _unescaped(match: re.Match[bytes]) -> bytes:
    escaped = match[1]
    return bytes((int(escaped, 8) & 0xFF,)) if len(escaped) == 3 else escaped


def fence_set(name: str, text: str) -> RecordSet:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return {"Name": name, "Type": "TXT", "TTL": 0, "ResourceRecords": [{"Value": f'"{escaped}"'}]}


def alias_of(sets: Sequence[RecordSet]) -> str | None:
    """Return where a name is led to by a CNAME, or by Route 53's own alias in place of addresses."""
    for one in sets:
        if one["Type"] == "CNAME" and one.get("ResourceRecords"):
            return str(one["ResourceRecords"][0]["Value"]).lower().rstrip(".") + "."
        if one["Type"] in ("A", "AAAA", "CNAME") and "AliasTarget" in one:
            return str(one["AliasTarget"]["DNSName"]).lower().rstrip(".") + "."
    return None


def address_sets(sets: Sequence[RecordSet]) -> list[RecordSet]:
    """Return the sets that hold addresses; an alias in their place is none."""
    return [one for one in sets if one["Type"] in _ADDRESS_TYPES and "AliasTarget" not in one]


def negative_ttl_of(sets: Sequence[RecordSet]) -> int | None:
    """Return the lesser of the SOA's TTL and its last field, MINIMUM. Source: RFC 2308 section 5."""
    for one in sets:
        if one["Type"] == "SOA":
            minimum = str(one["ResourceRecords"][0]["Value"]).split()[-1]
            return min(int(one["TTL"]), int(minimum))
    return None


def served_of(sets: Sequence[RecordSet]) -> Served:
    """Return what stands at a name.

    Its records have weights where every address has a weighted set of its own and nothing more. Where
    sets of another kind stand there (by place, by health), each has the weight 0: the
    answers follow rules that are not ours, and are never what a plan wants.
    """
    alias = alias_of(sets)
    if alias is not None:
        return Served(records=NO_RECORDS, alias=alias)
    weights: dict[bytes, int] = {}
    ttls: list[int] = []
    weighted = True
    for one in address_sets(sets):
        ttls.append(int(one.get("TTL", 0)))
        values = [str(record["Value"]) for record in one.get("ResourceRecords", ())]
        weighted &= one.keys() == _WEIGHTED_KEYS and len(values) == 1
        for value in values:
            weights[pack_address(value)] = int(one.get("Weight", 0))
    if not weights:
        return Served(records=NO_RECORDS)
    a = tuple(sorted(packed for packed in weights if len(packed) == 4))
    aaaa = tuple(sorted(packed for packed in weights if len(packed) == 16))
    plain = all(one.keys() == _PLAIN_KEYS for one in address_sets(sets))
    expressed: tuple[int, ...] = () if plain else tuple(weights[p] if weighted else 0 for p in (*a, *aaaa))
    return served_with(ttls, a, aaaa, expressed)


def sets_of(name: str, records: Records) -> list[RecordSet]:
    """Return the record sets of records: a weighted one for each address, or a plain one a type."""
    if not records.weights:
        return [_set(name, rtype, records.ttl_s, found) for rtype, found in _by_type(records) if found]
    weights = iter(records.weights)
    return [
        _set(name, rtype, records.ttl_s, [packed]) | {"SetIdentifier": unpack_address(packed), "Weight": next(weights)}
        for rtype, found in _by_type(records)
        for packed in found
    ]


def _by_type(records: Records) -> tuple[tuple[str, Sequence[bytes]], ...]:
    return (("A", records.a), ("AAAA", records.aaaa))


def _set(name: str, rtype: str, ttl_s: int, addresses: Sequence[bytes]) -> dict[str, Any]:
    values = [{"Value": unpack_address(packed)} for packed in addresses]
    return {"Name": name, "Type": rtype, "TTL": ttl_s, "ResourceRecords": values}


def violated(change: Change, sets: Sequence[RecordSet]) -> str:
    """Return what a change requires and does not find, "" where all is as it expects."""
    served = served_of(sets)
    if served.alias is not None and not change.after.empty:
        return f"a CNAME or alias to {served.alias} stands there"
    if change.expect is Expect.NEW and not served.records.empty:
        return "addresses stand there"
    if change.expect is Expect.EXACT and not _as_expected(served.records, change.before):
        return "other addresses stand there than expected"
    return ""


def _as_expected(found: Records, expected: Records) -> bool:
    return found.addresses == expected.addresses and found.weights == expected.weights


def steps_of(change: Change, sets: Sequence[RecordSet]) -> tuple[list[RecordSet], list[RecordSet]]:
    """Return the sets to delete and to create; of an owned name those that stay as they are, are neither.

    Where the name must be exactly as it was read, all are deleted as read, so that Route 53 compares them.
    """
    there, wanted = address_sets(sets), sets_of(change.name, change.after)
    if change.expect is Expect.EXACT:
        return there, wanted
    kept = [one for one in there if any(_same(one, other) for other in wanted)]
    return (
        [one for one in there if one not in kept],
        [one for one in wanted if not any(_same(one, other) for other in kept)],
    )


def _same(one: RecordSet, other: RecordSet) -> bool:
    return _canonical(one) == _canonical(other)


def _canonical(one: RecordSet) -> dict[str, Any]:
    """Return a set with its values in order, and its name in our form."""
    values = sorted(pack_address(record["Value"]) for record in one["ResourceRecords"])
    return {**one, "Name": name_of(one), "ResourceRecords": values}


def batch(deletes: Sequence[RecordSet], creates: Sequence[RecordSet]) -> list[dict[str, Any]]:
    """Return the changes of a batch, deletes first: a set may be created where one of its key was deleted."""
    return [{"Action": "DELETE", "ResourceRecordSet": dict(one)} for one in deletes] + [
        {"Action": "CREATE", "ResourceRecordSet": dict(one)} for one in creates
    ]


def too_large(sets: Sequence[RecordSet]) -> str:
    """Return why no batch can hold these sets, "" where one can."""
    values = [record["Value"] for one in sets for record in one.get("ResourceRecords", ({"Value": ""},))]
    characters = sum(map(len, values))
    if len(values) <= BATCH_ELEMENTS_MAX and characters <= BATCH_CHARACTERS_MAX:
        return ""
    return (
        f"{len(values)} records of {characters} characters; a batch of Route 53 holds {BATCH_ELEMENTS_MAX} and"
        f" {BATCH_CHARACTERS_MAX}: make the batch smaller"
    )
