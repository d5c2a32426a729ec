"""The mirror: what the store last showed of a scope, kept current by one watch.

A hint, never evidence: every decision taken on it is compared again in the store's
own transaction, or by the DNS server. Ledger buckets stay packed until asked for.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from enactord.core.fence import Fence
from enactord.core.kv import Changes, Event, Item, prefix_end
from enactord.core.ledger import Bucket, parse_bucket
from enactord.core.names import BUCKETS
from enactord.core.plan import Manifest, unpack_manifest
from enactord.ports import KeyValue, Reading
from enactord.registry.control import Freeze, parse_freeze
from enactord.registry.keys import Keys, parse_fence_value, parse_pad, store_fence

CHUNK_CACHE_BYTES = 96 * 1024 * 1024
PARSED_ENTRIES = 20_000
"""Ledger entries kept unpacked: enough for what a plan works on, a bound for scopes of any size."""
_LISTED = ("claims", "enactors", "fences", "plans")
"""Rooms of which one asks what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What must be known of a packed bucket without unpacking it."""

    entries: int = 0
    owned: int = 0
    live: int = 0
    """Owned, or perhaps: a write of it as a new name began."""
    pending: int = 0
    held: int = 0
    unseen: int = 0

    @property
    def settled(self) -> bool:
        return not self.pending and not self.held and self.entries == self.owned


NOTHING = Summary()


def summarise(bucket: Bucket) -> Summary:
    """Return the summary of a bucket."""
    owned = live = pending = held = unseen = 0
    for entry in bucket.values():
        if entry.applied is not None:
            owned += 1
            unseen += entry.good != entry.applied
        live += entry.live
        pending += entry.pending is not None
        held += entry.held is not None
    return Summary(entries=len(bucket), owned=owned, live=live, pending=pending, held=held, unseen=unseen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """An enactor that is alive, as it last said of itself."""

    id: str
    facts: dict[str, object]


class Mirror:
    """One scope as of `revision`; `fresh` while the store answers."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.revision = 0
        self.loaded = False
        self.items: dict[str, Item] = {}
        self._named: dict[str, dict[str, None]] = {room: {} for room in _LISTED}
        """What the keys of the listed rooms are called there: few among the many of the ledger."""
        self._summaries: dict[int, Summary] = {}
        self._unsummarised: dict[int, None] = {}
        self._totals: Summary | None = None
        self._generations: list[int] | None = None
        self.dirty: set[str] = set()
        self._manifests: dict[int, Manifest] = {}
        self._chunks: OrderedDict[str, bytes] = OrderedDict()
        self._chunk_bytes = 0
        self._parsed: OrderedDict[int, tuple[bytes, Bucket]] = OrderedDict()
        self._parsed_entries = 0
        self._changed = asyncio.Event()
        self.on_change: Callable[[], None] | None = None

    # -- what it shows

    @property
    def head(self) -> int:
        """The newest generation ever published; 0: none."""
        item = self.items.get(self.keys.head)
        parsed = item and parse_fence_value(item.value)
        return parsed[0] if parsed else 0

    @property
    def generations(self) -> list[int]:
        """The generations of the stored plans, in order."""
        if self._generations is None:
            numbers = (parse_pad(name) for name in self._named["plans"])
            self._generations = sorted(number for number in numbers if number is not None)
        return list(self._generations)

    def manifest(self, generation: int) -> Manifest | None:
        """Return a plan's manifest, None if there is none. Raises `PlanUnreadable` if it is damaged."""
        if generation not in self._manifests:
            item = self.items.get(self.keys.plan(generation))
            if item is None:
                return None
            self._manifests[generation] = unpack_manifest(item.value, generation)
        return self._manifests[generation]

    def fence(self, zone: str) -> Fence | None:
        """Return the fence that the store holds for a zone."""
        item = self.items.get(self.keys.fence(zone))
        return None if item is None else store_fence(self.keys.scope, item.value)

    @property
    def fences(self) -> dict[str, int]:
        """Every zone's fence in the store, those of zones that are not configured any more included."""
        found: dict[str, int] = {}
        for zone in sorted(self._named["fences"]):
            parsed = parse_fence_value(self.items[self.keys.fence(zone)].value)
            found[zone] = parsed[0] if parsed else 0
        return found

    def applied(self, zone: str) -> int:
        """Return the generation that every endpoint of a zone conforms to; 0: none."""
        item = self.items.get(self.keys.applied(zone))
        parsed = item and parse_fence_value(item.value)
        return parsed[0] if parsed else 0

    def applied_revision(self, zone: str) -> int:
        """Return the revision at which that was recorded; 0: never."""
        item = self.items.get(self.keys.applied(zone))
        return item.mod_revision if item else 0

    @property
    def freeze(self) -> Freeze | None:
        item = self.items.get(self.keys.freeze)
        return None if item is None else parse_freeze(item.value)

    def claims(self, generation: int) -> list[str]:
        """Return the enactors that claim a generation."""
        return [enactor for claimed, enactor in self.all_claims if claimed == generation]

    @property
    def all_claims(self) -> list[tuple[int, str]]:
        """Every claim as (generation, enactor)."""
        found = []
        for name in self._named["claims"]:
            generation, _, enactor = name.partition("/")
            number = parse_pad(generation)
            if number is not None:
                found.append((number, enactor))
        return sorted(found)

    @property
    def enactors(self) -> list[Presence]:
        found = []
        for name in sorted(self._named["enactors"]):
            try:
                facts = json.loads(self.items[self.keys.enactor(name)].value)
            except (ValueError, RecursionError):
                facts = {}
            found.append(Presence(id=name, facts=facts if isinstance(facts, dict) else {}))
        return found

    def bucket(self, number: int) -> Bucket:
        """Return the entries of a bucket, in a dict of the caller's own."""
        item = self.items.get(self.keys.ledger(number))
        if item is None:
            return {}
        entries = self._at_hand(number, item.value)
        if entries is None:
            _, entries = self.keep_parsed(number, item.value, parse_bucket(item.value))
        return dict(entries)

    def unread(self, number: int) -> bytes | None:
        """Return a bucket as it is stored, where its entries have not been read yet."""
        item = self.items.get(self.keys.ledger(number))
        return None if item is None or self._at_hand(number, item.value) is not None else item.value

    def _at_hand(self, number: int, packed: bytes) -> Bucket | None:
        known = self._parsed.get(number)
        return None if known is None or known[0] != packed else known[1]

    def keep_parsed(self, number: int, packed: bytes, bucket: Bucket) -> tuple[bytes, Bucket]:
        """Remember the entries of a packed bucket, within `PARSED_ENTRIES` in all."""
        old = self._parsed.pop(number, None)
        self._parsed_entries += len(bucket) - (len(old[1]) if old else 0)
        self._parsed[number] = (packed, bucket)
        while self._parsed_entries > PARSED_ENTRIES and len(self._parsed) > 1:
            _, (_, dropped) = self._parsed.popitem(last=False)
            self._parsed_entries -= len(dropped)
        return self._parsed[number]

    def bucket_revision(self, number: int) -> int:
        """Return the bucket's mod revision, 0 where there is none."""
        item = self.items.get(self.keys.ledger(number))
        return item.mod_revision if item else 0

    @property
    def summaries(self) -> Mapping[int, Summary]:
        """The summary of every bucket that holds something."""
        for number in list(self._unsummarised):
            self.summary(number)
        return self._summaries

    def summary(self, number: int) -> Summary:
        """Return a bucket's summary; made when it is first asked for, since most that change are not."""
        if number in self._unsummarised:
            self._summaries[number] = summarise(self.bucket(number))
            del self._unsummarised[number]
        return self._summaries.get(number, NOTHING)

    @property
    def totals(self) -> Summary:
        """The sum of all buckets."""
        if self._totals is None:
            every = self.summaries.values()
            self._totals = Summary(
                entries=sum([s.entries for s in every]),
                owned=sum([s.owned for s in every]),
                live=sum([s.live for s in every]),
                pending=sum([s.pending for s in every]),
                held=sum([s.held for s in every]),
                unseen=sum([s.unseen for s in every]),
            )
        return self._totals

    def chunk(self, digest: str) -> bytes | None:
        """Return a stored chunk if the watch or a read has brought it lately."""
        packed = self._chunks.get(digest)
        if packed is not None:
            self._chunks.move_to_end(digest)
        return packed

    # -- how it is kept current

    async def load(self, store: Reading) -> None:
        """Read the whole scope (but the chunks) at one revision."""
        page = await store.range(self.keys.head)
        revision = page.revision
        items = {item.key: item for item in page.items}
        for room in self.keys.rooms:
            end = prefix_end(room) if room.endswith("/") else ""
            page = await store.range(room, end, revision=revision)
            items.update((item.key, item) for item in page.items)
        self.dirty.update(key for key in self.items.keys() | items.keys() if self.items.get(key) != items.get(key))
        self.items = items
        self._manifests = {}
        self._survey()
        for number in list(self._unsummarised):
            self.summary(number)
            if number % 64 == 63:
                await asyncio.sleep(0)
        self.revision = revision
        self.loaded = True
        self._notify()

    async def follow(self, store: KeyValue) -> None:
        """Apply the watch's changes until it ends by an error; `Compacted` asks for `load`."""
        async for changes in store.watch(self.keys.root, start_revision=self.revision + 1):
            self.apply(changes)

    def apply(self, changes: Changes) -> None:
        """Take in what a watch brought."""
        for event in changes.events:
            if event.key.startswith(self.keys.root + "chunks/"):
                if event.item is not None:
                    self.keep_chunk(event.key.rpartition("/")[2], event.item.value)
            else:
                self._take(event, changes.revision)
        self.revision = max(self.revision, changes.revision)
        self._notify()

    def learn(self, items: Iterable[Item]) -> None:
        """Take in ledger buckets that a transaction of ours wrote or a read returned, ahead of the watch."""
        for item in items:
            assert "/ledger/" in item.key, item.key
            self._take(Event(key=item.key, item=item), item.mod_revision)
        self._notify()

    def restore(self, items: Iterable[Item], chunks: dict[str, bytes]) -> None:
        """Start from the copy on local disk; the first `load` replaces it."""
        self.items = {item.key: item for item in items}
        for digest, packed in chunks.items():
            self.keep_chunk(digest, packed)
        self._survey()
        self._notify()

    def keep_chunk(self, digest: str, packed: bytes) -> None:
        """Remember a chunk, within `CHUNK_CACHE_BYTES`."""
        self._chunk_bytes += len(packed) - len(self._chunks.pop(digest, b""))
        self._chunks[digest] = packed
        while self._chunk_bytes > CHUNK_CACHE_BYTES:
            _, dropped = self._chunks.popitem(last=False)
            self._chunk_bytes -= len(dropped)

    def shown_fence(self, zone: str, generation: int) -> bool:
        """Whether the watch has shown this generation (or a newer one) opened.

        Fences come into the mirror by watch or load alone (`learn` refuses them), so then it
        has shown all that came before: every mark that a writer of an older generation
        left in the ledger, since none can be left after the open.
        """
        fence = self.fence(zone)
        return fence is not None and fence.generation >= generation

    async def wait_change(self, timeout_s: float) -> None:
        """Return at the next change, or when the time is over."""
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            pass

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the condition holds; returns whether it does within the time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not condition():
            remaining = deadline - loop.time()
            if remaining <= 0:
                return False
            await self.wait_change(remaining)
        return True

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        if self.on_change is not None:
            self.on_change()

    def _take(self, event: Event, revision: int) -> None:
        known = self.items.get(event.key)
        if known is not None and known.mod_revision >= revision:
            return
        if event.item is None:
            self.items.pop(event.key, None)
        else:
            self.items[event.key] = event.item
        self.dirty.add(event.key)
        room, _, rest = event.key[len(self.keys.root) :].partition("/")
        if room in self._named:
            if event.item is None:
                self._named[room].pop(rest, None)
            else:
                self._named[room][rest] = None
        if room == "ledger":
            number = parse_pad(rest, 4)
            if number is None or number >= BUCKETS:
                return  # no key of ours
            self._totals = None
            self._summaries.pop(number, None)
            self._unsummarised.pop(number, None)
            if event.item is not None:
                self._unsummarised[number] = None
        elif room == "plans":
            self._generations = None
            self._manifests.pop(parse_pad(rest) or 0, None)

    def _survey(self) -> None:
        """Learn what there is, after all of it has been replaced."""
        self._generations = None
        for room, named in self._named.items():
            prefix = f"{self.keys.root}{room}/"
            named.clear()
            named.update((key[len(prefix) :], None) for key in self.items if key.startswith(prefix))
        self._totals = None
        self._summaries = {}
        self._unsummarised = {n: None for n in range(BUCKETS) if self.keys.ledger(n) in self.items}
