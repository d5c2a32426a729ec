"""Adopting: a name that somebody else put into a zone becomes the ledger's, as it is served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enactord.core.buckets import BucketId, bucket_of
from enactord.core.content import Content, Target, content_text, unpack_address
from enactord.core.kv import absent, valued
from enactord.core.ledger import Bucket, Entry, Version, with_peak
from enactord.core.names import zone_of
from enactord.core.plan import parse_chunk
from enactord.core.records import Served
from enactord.core.refusal import Refusal
from enactord.core.render import WEIGHTED
from enactord.operations import audit
from enactord.operations.scope import Denied, Scope
from enactord.ports import ServedReader
from enactord.store.audit import Deed, Facts
from enactord.store.cache import Cache
from enactord.store.ledger import BUCKETS_A_TRANSACTION, Ledger

_WEIGHT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """Names that the ledger owns now, with the content that they were adopted with."""

    contents: Mapping[str, Content]

    def document(self) -> dict[str, Any]:
        return {
            "adopted": [
                {"name": name, "ttl_s": content.ttl_s, "addresses": [target.address for target in content.targets]}
                for name, content in sorted(self.contents.items())
            ]
        }


async def adopt(
    scope: Scope,
    names: Sequence[str],
    zones: Mapping[str, tuple[ServedReader, int]],
    *,
    author: str,
    reason: str = "",
) -> Adopted | Denied:
    """Enter names into the ledger as they are served; all of them, or none.

    `zones` holds each zone's reader and its `answers_max`. Refuses names outside the
    zones, names that the ledger owns or is writing, names with a CNAME or nothing there,
    and names that the newest plan leaves out: the enactors would remove those at once.
    Raises `ZoneDown`, `StoreDown`, `PlanUnreadable`.
    """
    cache = await scope.cache()
    wanted = sorted(dict.fromkeys(names))
    refusals = [refusal for name in wanted if (refusal := await _judge(scope, cache, name, zones)) is not None]
    if cache.freeze is not None:
        refusals.append(Refusal(guard="frozen", detail="the scope is frozen; thaw it first: enactorctl thaw"))
    if refusals:
        return Denied(refusals=tuple(refusals))
    served = await _read(scope, wanted, zones)
    refusals = [refusal for name in wanted if (refusal := _judge_served(name, served.get(name))) is not None]
    if refusals:
        return Denied(refusals=tuple(refusals))
    contents = {name: _content(served[name]) for name in wanted}
    lying = {name: _bucket_id(cache, name, zone_of(name, zones) or "") for name in wanted}
    bucket_ids = sorted(set(lying.values()))
    if len(bucket_ids) > BUCKETS_A_TRANSACTION:
        detail = f"{len(wanted)} names at a time are too many; at most {BUCKETS_A_TRANSACTION}"
        return Denied(refusals=(Refusal(guard="size", detail=detail),))
    buckets: dict[BucketId, Bucket] = {bucket_id: cache.ledger.bucket(bucket_id) for bucket_id in bucket_ids}
    now_s = int(scope.clock.now())
    for name, content in contents.items():
        answers_max = zones[zone_of(name, zones) or ""][1]
        bucket = buckets[lying[name]]
        bucket[name] = _entry(name, bucket.get(name), content, served[name], answers_max, now_s)
    head = cache.items.get(scope.keys.head)
    compares = [
        absent(scope.keys.freeze),
        valued(scope.keys.head, head.value) if head else absent(scope.keys.head),
    ]
    for zone in sorted({bucket_id.zone for bucket_id in bucket_ids}):
        # The record says how the zone's ledger is cut: it must be as it was read.
        record = cache.items.get(scope.keys.fence(zone))
        compares.append(valued(record.key, record.value) if record else absent(scope.keys.fence(zone)))
    read = {bucket_id: cache.ledger.revision(bucket_id) for bucket_id in bucket_ids}
    facts: Facts = {"names": audit.some_names(wanted), "count": len(wanted)}
    entry = audit.entry(scope, Deed.ADOPT, author=author, reason=reason, facts=facts)
    if await Ledger(scope.store, scope.keys, cache).amend(compares, buckets, read, entry):
        await audit.tidy(scope)
        return Adopted(contents=contents)
    detail = "plan, freeze or ledger changed meanwhile, nothing was adopted; try again"
    return Denied(refusals=(Refusal(guard="changed", detail=detail),))


async def _judge(
    scope: Scope, cache: Cache, name: str, zones: Mapping[str, tuple[ServedReader, int]]
) -> Refusal | None:
    """Judge a name before it is asked for."""
    if zone_of(name, zones) is None:
        return Refusal(
            guard="zone", detail=f"{name} is in none of the zones {', '.join(sorted(zones))}; correct the name"
        )
    entry = cache.ledger.entry(name)
    if entry is not None and entry.owned:
        return Refusal(guard="owned", detail=f"{name} is the ledger's already (see: enactorctl endpoints {name})")
    if entry is not None and entry.pending is not None:
        return Refusal(guard="pending", detail=f"{name}: a write of it is under way; try again when it has ended")
    if cache.head == 0:
        return None
    manifest = cache.manifest(cache.head)
    digest = manifest.chunk_of(name) if manifest else None
    planned = digest is not None and name in parse_chunk((await scope.plans.texts([digest]))[digest])
    if planned:
        return None
    return Refusal(
        guard="unplanned",
        detail=f"{name} is not in the newest plan {cache.head}, so it would be removed as soon as it is adopted;"
        " publish a plan that holds it first (it is held until it is adopted)",
    )


def _bucket_id(cache: Cache, name: str, zone: str) -> BucketId:
    """Return the bucket to enter a name into: the stored one that holds it, or that of the zone's number of slots."""
    record = cache.fence(zone)
    return cache.ledger.find(zone, name) or bucket_of(name, zone, (record.slots if record else 0) or 1)


async def _read(scope: Scope, names: Sequence[str], zones: Mapping[str, tuple[ServedReader, int]]) -> dict[str, Served]:
    served: dict[str, Served] = {}
    for zone in sorted(zones):
        inside = [name for name in names if zone_of(name, zones) == zone]
        if inside:
            served.update(await zones[zone][0].read(inside))
    return served


def _judge_served(name: str, answer: Served | None) -> Refusal | None:
    """Judge what stands at a name."""
    if answer is None:
        return Refusal(guard="silent", detail=f"{name}: the server did not answer; try again")
    if answer.alias is not None:
        return Refusal(guard="alias", detail=f"{name} is a CNAME to {answer.alias}; only A and AAAA can be adopted")
    if answer.records.empty:
        return Refusal(guard="nothing", detail=f"nothing stands at {name}; a plan that holds it will create it")
    if 0 in answer.records.weights:
        return Refusal(guard="routing", detail=f"{name} is answered by place, by health or with a weight of 0")
    if not answer.ttl_known:
        return Refusal(guard="ttl", detail=f"{name}: its TTL cannot be seen through this backend")
    return None


def _content(answer: Served) -> Content:
    """Return what is served as a content; where the zone expresses no weights, every address has the same."""
    packed = (*answer.records.a, *answer.records.aaaa)
    weights = answer.records.weights or [_WEIGHT] * len(packed)
    targets = tuple(
        Target(address=unpack_address(address), weight=weight) for address, weight in zip(packed, weights, strict=True)
    )
    return Content(ttl_s=answer.records.ttl_s, targets=targets)


def _entry(name: str, known: Entry | None, content: Content, answer: Served, answers_max: int, now_s: int) -> Entry:
    # Whatever the limit for new writes: these records must be drawn again exactly as they stand.
    most = max(answers_max, len(answer.records.a), len(answer.records.aaaa))
    if answer.records.weights:
        most = WEIGHTED
    version = Version(generation=0, content=content_text(content), answers_max=most)
    assert version.records(name) == answer.records, name
    peaks = with_peak((), now_s, content.capacity(most))
    # A hold stays: the enactors lift it when they take the name up.
    return (known or Entry(name=name))._replace(applied=version, good=version, peaks=peaks)
