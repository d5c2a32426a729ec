"""A manifest as it is stored: compressed JSON, checked field by field when it is read."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from enactord.core.buckets import valid_slots
from enactord.core.errors import PlanUnreadable
from enactord.core.measures import Loss
from enactord.core.plan import GENERATION_MAX, SCHEMA, Approval, Manifest, ZonePart, plan_digest

MANIFEST_TEXT_MAX = 8 * 1024 * 1024
"""Largest manifest after decompression: a bound on what a damaged store can make a reader allocate. One of a million
names has 2 MB."""


def pack_document(document: Mapping[str, Any]) -> bytes:
    """Return the stored form of a document: compressed JSON."""
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 1)


def unpack_document(packed: bytes) -> Any:
    """Return a stored document. Raises zlib.error, ValueError or RecursionError where it is damaged."""
    decompressor = zlib.decompressobj()
    text = decompressor.decompress(packed, MANIFEST_TEXT_MAX)
    if not decompressor.eof:
        raise ValueError(f"longer than {MANIFEST_TEXT_MAX} bytes or cut short")
    return json.loads(text)


def pack_manifest(manifest: Manifest) -> bytes:
    """Return the stored form of a manifest."""
    approval = manifest.approval
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "generation": manifest.generation,
        "digest": manifest.digest,
        "scope": manifest.scope,
        "endpoints": manifest.endpoints,
        "author": manifest.author,
        "reason": manifest.reason,
        "created_at": manifest.created_at,
        "published_at": manifest.published_at,
        "approval": approval and asdict(approval),
        "rollback_of": manifest.rollback_of,
        "since": manifest.since,
        "content_author": manifest.content_author,
        "planned": dict(manifest.planned),
        "losses": {zone: loss.cells() for zone, loss in manifest.losses.items()},
        "zones": {zone: part_document(part) for zone, part in manifest.zones.items()},
    }
    return pack_document(document)


def unpack_manifest(packed: bytes, generation: int) -> Manifest:
    """Return a stored manifest. Raises `PlanUnreadable` where it is damaged or another generation's."""
    try:
        document = unpack_document(packed)
        approval = document["approval"]
        manifest = Manifest(
            generation=document["generation"],
            digest=document["digest"],
            scope=document["scope"],
            endpoints=document["endpoints"],
            author=document["author"],
            reason=document["reason"],
            created_at=document["created_at"],
            published_at=document["published_at"],
            zones={zone: read_part(part) for zone, part in document["zones"].items()},
            approval=approval and Approval(**approval | {"names": tuple(approval.get("names", ()))}),
            rollback_of=document["rollback_of"],
            since=document["since"],
            content_author=document.get("content_author", ""),
            planned=document.get("planned", {}),
            losses={zone: Loss(*cells) for zone, cells in document["losses"].items()},
        )
        _check_kinds(manifest)
        if plan_digest(manifest.scope, manifest.zones) != manifest.digest:
            raise PlanUnreadable(f"the manifest of generation {generation} does not match its digest")
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PlanUnreadable(f"the manifest of generation {generation} is damaged: {error!r:.200}") from error
    if manifest.generation != generation:
        raise PlanUnreadable(f"the manifest of generation {generation} says it is {manifest.generation}'s")
    return manifest


def _check_kinds(manifest: Manifest) -> None:
    """Check what the digest does not cover, and would surprise whoever reads it later. Raises TypeError."""
    approval = manifest.approval or Approval(of=0, author="", reason="")
    numbers = (manifest.generation, manifest.endpoints, manifest.rollback_of, manifest.since, approval.of)
    texts = [manifest.scope, manifest.author, manifest.reason, manifest.created_at, approval.author, approval.reason]
    if not all(type(number) is int and 0 <= number < GENERATION_MAX for number in numbers):
        raise TypeError("a count that is no integer of its range")
    texts += [
        approval.digest,
        manifest.content_author,
        *approval.names,
        *manifest.planned.values(),
        *manifest.digests(),
    ]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text that is none")
    if type(manifest.published_at) not in (int, float) or not 0 <= manifest.published_at < GENERATION_MAX:
        raise TypeError("a time that is none")
    for loss in manifest.losses.values():
        if not all(type(number) is int and number >= 0 for number in loss.cells()):
            raise TypeError("a loss that is none")
    if manifest.endpoints != sum(part.endpoints for part in manifest.zones.values()):
        raise TypeError("a number of endpoints that is none")


def part_document(part: ZonePart) -> dict[str, Any]:
    """Return what is stored of a zone's part."""
    chunks = [[slot, digest] for slot, digest in part.chunks.items()]
    return {"slots": part.slots, "size": part.size, "answers_max": part.answers_max, "chunks": chunks}


def read_part(part: Mapping[str, Any]) -> ZonePart:
    """Return a zone's part as it is stored. Raises TypeError, ValueError or KeyError where it is damaged."""
    endpoints, weight, addresses = part["size"]
    slots, answers_max, chunks = part["slots"], part["answers_max"], dict(sorted(part["chunks"]))
    counts = (slots, endpoints, weight, addresses, answers_max, *chunks)
    if not all(type(number) is int for number in counts) or not valid_slots(slots):
        raise TypeError("a number of slots that is none")
    if min(endpoints, weight, addresses, answers_max) < 0:
        raise TypeError("a size that is none")
    if not all(0 <= slot < slots for slot in chunks):
        raise TypeError("a slot that is none")
    return ZonePart(
        slots=slots, endpoints=endpoints, chunks=chunks, weight=weight, addresses=addresses, answers_max=answers_max
    )
