"""Refilling: names that serve nothing, where what repair goes by cannot all be read.

Repair judges a name by the zone's record, the plan that is opened there, and the ledger. One of
them may be lost, damaged, or written by another version. What is left then tells nothing of a name
that serves something; but a name that serves nothing gets back what was applied there last:

cannot be read    goes by
----------------  ----------------------------------------------------------------------
the record        the fence that stands in the zone itself, and the plan that it names
the plan          the ledger, where it is recorded as settled at that very plan
a ledger bucket   the plan, for names of which the readable buckets know nothing; only
                  where another version wrote the bucket: a damaged one is written anew

Nothing of it goes into the store.
"""

from collections.abc import Callable, Iterator, Mapping

from enactord.core.buckets import BucketId
from enactord.core.diff import Kind, diff_bucket
from enactord.core.errors import PlanUnreadable
from enactord.core.fence import Anchor, Fence, FenceRecord, raised
from enactord.core.kv import Compare, unmodified
from enactord.core.ledger import Entry, Version
from enactord.core.plan import Manifest, parse_chunk
from enactord.engine.desired import DesiredState, Drift
from enactord.engine.settings import Ports
from enactord.engine.write import ZoneWriter
from enactord.store.cache import Cache
from enactord.store.keys import Keys, pad, parse_applied, read_chunk
from enactord.store.layout import PLAN
from enactord.store.ledger_index import OTHER_FORMAT

_PORTION_NAMES = 500


class Refiller:
    """Finds the names of zones that are to be refilled, for one enactor."""

    def __init__(
        self,
        ports: Ports,
        keys: Keys,
        cache: Cache,
        writers: Mapping[str, ZoneWriter],
        *,
        store_up: Callable[[], bool],
        desired: Callable[[str, Manifest], DesiredState],
    ) -> None:
        self._ports = ports
        self._keys = keys
        self._cache = cache
        self._writers = writers
        self._store_up = store_up
        self._desired = desired

    def record(self, standing: Fence | None) -> FenceRecord | None:
        """Return what to go by where the store's record of a zone cannot be read: the fence in the zone itself."""
        return None if standing is None or not self._cache.owner.owns(standing) else raised(standing, 0)

    def lacking(self, zone: str, record: FenceRecord) -> str:
        """Return what to do where the plan that a zone is fenced by cannot be read; "": another version wrote it."""
        if PLAN.prefix + pad(record.generation) in self._cache.other_formats:
            return ""
        return (
            f"{zone}: fenced by {record.txt.text}, a plan that the store does not have. If the store was set back to an"
            " older state: enactorctl restore --from-copy --replace, on the machine of the enactor that was up last;"
            " else publish the next plan"
        )

    def settled(self, zone: str, record: FenceRecord) -> bool:
        """Whether all of the zone is recorded as applied at the very plan of its record."""
        item = self._cache.items.get(self._keys.applied(zone))
        return item is not None and parse_applied(item.value) == (record.generation, record.plan)

    def known(self, zone: str) -> Iterator[dict[str, Entry]]:
        """Yield, in portions, the entries that the ledger owns and of which no write is under way."""
        index = self._cache.ledger
        portion: dict[str, Entry] = {}
        for bucket in index.stored(zone):
            entries = index.bucket(bucket).items()
            portion.update((name, entry) for name, entry in entries if entry.owned and entry.pending is None)
            if len(portion) >= _PORTION_NAMES:
                yield portion
                portion = {}
        if portion:
            yield portion

    async def unknown(self, zone: str, manifest: Manifest) -> dict[str, Entry]:
        """Return entries for names of the plan that only a bucket of another version can tell of, as if applied."""
        index = self._cache.ledger
        if OTHER_FORMAT not in index.levels(zone):
            return {}
        part = manifest.part(zone)
        readable = set(index.stored(zone))
        slots = [slot for slot in part.chunks if BucketId(zone, slot, part.slots) not in readable]
        wanted: dict[str, str] = {}
        for digest, packed in (await self._chunks([part.chunks[slot] for slot in slots])).items():
            try:
                wanted.update(parse_chunk(read_chunk(packed, digest)))
            except PlanUnreadable:
                continue
        wanted = {name: content for name, content in wanted.items() if index.find(zone, name) is None}
        desired = self._desired(zone, manifest)
        steps = diff_bucket(
            wanted,
            {},
            generation=manifest.generation,
            limits=desired.limits,
            now=desired.now,
            approved=manifest.approved,
            answers_max=desired.answers_max,
        )
        version = Version(generation=manifest.generation, content="", answers_max=desired.answers_max)
        return {
            step.name: Entry(name=step.name, applied=version._replace(content=step.content))
            for step in steps
            if step.kind is Kind.WRITE
        }

    async def _chunks(self, digests: list[str]) -> dict[str, bytes]:
        """Return chunks by digest, as stored: those at hand, and with the store there those that it has."""
        found = self._cache.chunks(digests)
        missing = [digest for digest in digests if digest not in found] if self._store_up() else []
        if missing:
            items = await self._ports.store.get([self._keys.chunk(digest) for digest in missing])
            found |= {digest: item.value for digest in missing if (item := items.get(self._keys.chunk(digest)))}
            for digest in missing:
                if digest in found:
                    self._cache.keep_chunk(digest, found[digest])
        return found

    async def emptied(
        self, zone: str, anchor: Anchor, manifest: Manifest | None, entries: Mapping[str, Entry]
    ) -> list[Drift]:
        """Return which of these names serve nothing, with what they are to serve again. Raises `ZoneDown`, `StoreDown`.

        `anchor`: what stands at the fence's name. `manifest` None: the plan cannot be read.
        """
        evidence = self._evidence(zone)
        served = await self._ports.zones[zone].zone.read(sorted(entries))
        strange = {
            name: answer
            for name, answer in served.items()
            if not answer.covered and not answer.shows(_applied(entries[name]).records(name))
        }
        own = await self._writers[zone].prober.own(anchor, strange) if strange else {}
        empty = {name: answer for name, answer in own.items() if answer.empty}
        if not empty:
            return []
        desired = None if manifest is None else self._desired(zone, manifest)
        if desired is not None:
            await self._chunks(sorted(desired.missing(entries[name] for name in empty)))
        drifts = []
        for name, answer in sorted(empty.items()):
            entry = entries[name]
            version = entry.applied if desired is None else desired.version(entry, answer)
            if version is None or version.records(name).empty:
                continue
            records = version.records(name)
            drifts.append(Drift(name=name, kind="emptied", served=answer, wanted=records, content=version.content))
        if self._store_up() and not (await self._ports.store.transact(evidence, ())).succeeded:
            return []  # the zone is at work: the next look tells
        return drifts

    def _evidence(self, zone: str) -> list[Compare]:
        """What must not have changed since the names were judged: the zone's record, applied plan, and ledger."""
        keys = self._keys
        items = (self._cache.items.get(key) for key in (keys.fence(zone), keys.applied(zone)))
        fence, applied = (item.mod_revision if item else 0 for item in items)
        since = self._cache.revision + 1
        return [
            unmodified(keys.fence(zone), fence),
            unmodified(keys.applied(zone), applied),
            Compare(key=keys.zone_ledger(zone), field="mod", operator="<", operand=since, prefix=True),
        ]


def _applied(entry: Entry) -> Version:
    assert entry.applied is not None, entry
    return entry.applied
