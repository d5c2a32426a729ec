"""Route 53's XML: requests read, answers written. Source: Route 53 API Reference, 2013-04-01."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from tests.servers.route53_double.hosted_zone import Change, RecordSet

NAMESPACE = "https://route53.amazonaws.com/doc/2013-04-01/"
_NS = f"{{{NAMESPACE}}}"
_ROUTING = ("Region", "Failover", "MultiValueAnswer", "HealthCheckId", "TrafficPolicyInstanceId")


def read_changes(body: bytes) -> list[Change]:
    """Return the changes of a request. Raises ValueError for what is no such document."""
    try:
        root = ET.fromstring(body)
    except ET.ParseError as error:
        raise ValueError(f"Invalid XML ; {error}") from error
    found = root.findall(f"{_NS}ChangeBatch/{_NS}Changes/{_NS}Change")
    if not found:
        raise ValueError("Invalid XML ; no changes")
    return [_change(one) for one in found]


def _change(element: ET.Element) -> Change:
    one = element.find(f"{_NS}ResourceRecordSet")
    if one is None:
        raise ValueError("Invalid XML ; a change without a record set")
    alias, weight, ttl = one.find(f"{_NS}AliasTarget"), one.findtext(f"{_NS}Weight"), one.findtext(f"{_NS}TTL")
    record_set = RecordSet(
        name=normal(one.findtext(f"{_NS}Name", "")),
        type=one.findtext(f"{_NS}Type", ""),
        identifier=one.findtext(f"{_NS}SetIdentifier", ""),
        weight=None if weight is None else int(weight),
        ttl_s=None if ttl is None else int(ttl),
        values=tuple(value.text or "" for value in one.findall(f"{_NS}ResourceRecords/{_NS}ResourceRecord/{_NS}Value")),
        alias="" if alias is None else alias.findtext(f"{_NS}DNSName", ""),
        routing=tuple((key, text) for key in _ROUTING if (text := one.findtext(f"{_NS}{key}")) is not None),
    )
    if bool(record_set.values) == bool(record_set.alias):
        raise ValueError("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]]")
    return Change(action=element.findtext(f"{_NS}Action", ""), record_set=record_set)


def normal(name: str) -> str:
    """Return a name as Route 53 keeps it: lower case, with its last dot, odd characters in octal."""
    plain = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name.lower()).rstrip(".") + "."
    return re.sub(r"[^a-z0-9._-]", lambda match: f"\\{ord(match[0]):03o}", plain)


def changed(change_id: str, status: str, *, answer: str) -> bytes:
    root = ET.Element(answer, xmlns=NAMESPACE)
    info = ET.SubElement(root, "ChangeInfo")
    _put(info, "Id", f"/change/{change_id}")
    _put(info, "Status", status)
    _put(info, "SubmittedAt", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    return _written(root)


def listed(sets: Sequence[RecordSet], following: RecordSet | None, items_max: int) -> bytes:
    root = ET.Element("ListResourceRecordSetsResponse", xmlns=NAMESPACE)
    all_sets = ET.SubElement(root, "ResourceRecordSets")
    for one in sets:
        _put_set(ET.SubElement(all_sets, "ResourceRecordSet"), one)
    _put(root, "IsTruncated", "true" if following else "false")
    if following is not None:
        _put(root, "NextRecordName", following.name)
        _put(root, "NextRecordType", following.type)
        if following.identifier:
            _put(root, "NextRecordIdentifier", following.identifier)
    _put(root, "MaxItems", str(items_max))
    return _written(root)


def refused(code: str, messages: Sequence[str]) -> bytes:
    root = ET.Element("ErrorResponse", xmlns=NAMESPACE)
    error = ET.SubElement(root, "Error")
    _put(error, "Type", "Sender")
    _put(error, "Code", code)
    _put(error, "Message", f"[{', '.join(messages)}]" if code == "InvalidChangeBatch" else " ".join(messages))
    _put(root, "RequestId", "00000000-0000-0000-0000-000000000000")
    return _written(root)


def _put_set(element: ET.Element, one: RecordSet) -> None:
    _put(element, "Name", one.name)
    _put(element, "Type", one.type)
    if one.identifier:
        _put(element, "SetIdentifier", one.identifier)
    if one.weight is not None:
        _put(element, "Weight", str(one.weight))
    for key, text in one.routing:
        _put(element, key, text)
    if one.alias:
        alias = ET.SubElement(element, "AliasTarget")
        _put(alias, "HostedZoneId", "Z00000000000000000000")
        _put(alias, "DNSName", one.alias)
        _put(alias, "EvaluateTargetHealth", "false")
        return
    _put(element, "TTL", str(one.ttl_s))
    records = ET.SubElement(element, "ResourceRecords")
    for value in one.values:
        _put(ET.SubElement(records, "ResourceRecord"), "Value", value)


def _put(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text


def _written(root: ET.Element) -> bytes:
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
