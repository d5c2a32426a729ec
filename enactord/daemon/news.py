"""News: what a change in the store means to people, as it comes off the watch."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from enactord.core.errors import Compacted, PlanUnreadable
from enactord.core.kv import Changes, Item
from enactord.core.ledger import Bucket, parse_bucket
from enactord.core.plan import Manifest, unpack_manifest
from enactord.daemon.scope import Scope
from enactord.registry.control import parse_freeze
from enactord.registry.keys import parse_fence_value
from enactord.registry.mirror import Mirror


async def follow_news(scope: Scope) -> AsyncIterator[dict[str, Any]]:
    """Yield what happens in a scope from now on, as `news` has it. Raises `StoreDown`."""
    mirror = await scope.mirror()
    while True:
        try:
            async for changes in scope.store.watch(scope.keys.root, start_revision=mirror.revision + 1):
                for event in news(mirror, changes):
                    yield event
                mirror.apply(changes)
        except Compacted:
            mirror = await scope.mirror()


def news(mirror: Mirror, changes: Changes) -> Iterator[dict[str, Any]]:
    """Yield what the changes say, against the mirror before it takes them in.

    Each is {"event": id, "severity": "info" | "warning" | "error", "text": for people, …}.
    """
    root = mirror.keys.root
    known: dict[str, Item | None] = {}
    for event in changes.events:
        if not event.key.startswith(root):
            continue
        before = known.get(event.key, mirror.items.get(event.key))
        known[event.key] = event.item
        room, _, rest = event.key[len(root) :].partition("/")
        match room:
            case "plans":
                yield _plan(int(rest), event.item)
            case "fences" | "applied" if event.item is not None:
                yield _generation(room, rest, event.item)
            case "control" if rest == "freeze":
                yield _freeze(event.item)
            case "enactors" if (event.item is None) != (before is None):
                gone = event.item is None
                said = "has gone" if gone else "is there"
                yield _said("enactor.gone" if gone else "enactor.came", f"enactor {rest} {said}", enactor=rest)
            case "ledger":
                yield from _ledger(before, event.item)


def _said(event: str, text: str, severity: str = "info", **facts: Any) -> dict[str, Any]:
    return {"event": event, "severity": severity, "text": text} | facts


def _plan(generation: int, item: Item | None) -> dict[str, Any]:
    if item is None:
        return _said("plan.pruned", f"plan {generation} pruned", generation=generation)
    try:
        manifest: Manifest = unpack_manifest(item.value, generation)
    except PlanUnreadable as error:
        return _said("plan.unreadable", str(error), "error", generation=generation)
    remarks = ""
    if manifest.rollback_of:
        remarks = f", rollback to {manifest.rollback_of}: {manifest.reason}"
    elif manifest.approval:
        remarks = f", approved by {manifest.approval.author}: {manifest.approval.reason}"
    return _said(
        "plan.published",
        f"plan {generation} published by {manifest.author}: {manifest.endpoints} endpoints{remarks}",
        generation=generation,
        digest=manifest.digest,
        endpoints=manifest.endpoints,
        author=manifest.author,
    )


def _generation(room: str, zone: str, item: Item) -> dict[str, Any]:
    parsed = parse_fence_value(item.value)
    generation = parsed[0] if parsed else 0
    if room == "fences":
        return _said("fence.opened", f"{zone} fence opened at {generation}", zone=zone, generation=generation)
    return _said("plan.applied", f"{zone} plan {generation} applied", zone=zone, generation=generation)


def _freeze(item: Item | None) -> dict[str, Any]:
    if item is None:
        return _said("thawed", "thawed")
    frozen = parse_freeze(item.value)
    text = f"FROZEN ({frozen.mode}) by {frozen.author}: {frozen.reason}"
    return _said("frozen", text, "error", mode=frozen.mode, author=frozen.author, reason=frozen.reason)


def _ledger(before: Item | None, after: Item | None) -> Iterator[dict[str, Any]]:
    """Yield the endpoints of a bucket that came to be held, or are held no more, sorted by name."""
    old: Bucket = parse_bucket(before.value) if before else {}
    new: Bucket = parse_bucket(after.value) if after else {}
    for name in sorted(old.keys() | new.keys()):
        was = old[name].held if name in old else None
        now = new[name].held if name in new else None
        if now is not None and now != was:
            yield _said(
                "endpoint.held",
                f"{name} held from plan {now.generation}: {now.guard}: {now.detail}",
                "warning",
                name=name,
                generation=now.generation,
                guard=now.guard,
                detail=now.detail,
            )
        elif now is None and was is not None:
            yield _said("endpoint.released", f"{name} is held no more", name=name)
