"""The cache: what the store last showed of a scope, kept current by one watch.

A hint, never evidence: every decision taken on it is compared again in the store's
own transaction, or by the DNS server. `ledger` holds the ledger's buckets.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from enactord.core.contribution import Contribution
from enactord.core.errors import PlanUnreadable, StoreNotOurs
from enactord.core.fence import FenceRecord, Owner
from enactord.core.guards import Limits
from enactord.core.kv import Changes, Item, KeyChange
from enactord.core.overrides import Override
from enactord.core.plan import Manifest
from enactord.ports import KeyValue, Reading
from enactord.store.control import Freeze, parse_freeze
from enactord.store.keys import (
    Keys,
    pad,
    parse_applied,
    parse_head,
    parse_installation,
    parse_pad,
    parse_record,
    read_contribution,
    read_manifest,
    stored_json,
)
from enactord.store.layout import (
    APPLIED,
    CHUNK,
    CLAIM,
    CONTENT,
    CONTRIBUTION,
    ENACTOR,
    FENCE,
    INSTALLATION,
    KINDS,
    LEDGER,
    LOWERING,
    OVERRIDE,
    PAUSED,
    PLAN,
    REFUSED,
    RETIRED,
    Kind,
    OtherFormat,
)
from enactord.store.ledger_index import OTHER_FORMAT, LedgerIndex
from enactord.store.limits import Ruling, parse_ruling
from enactord.store.overrides import parse_override
from enactord.store.planners import Pause, parse_pause

CHUNK_CACHE_BYTES = 96 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """An enactor that is alive, as it last said of itself."""

    id: str
    facts: dict[str, object]


class Cache:
    """One scope as of `revision`; `fresh` while the store answers."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.revision = 0
        self.loaded = False
        self.items: dict[str, Item] = {}
        self._named: dict[Kind, dict[str, None]] = {kind: {} for kind in KINDS if kind.cached}
        """What there is of each kind."""
        self._other_formats: dict[str, OtherFormat] = {}
        self.ledger = LedgerIndex(newest_only=True)
        self.installation = ""
        """The id of the installation that this is of; "": none is known yet."""
        self._generations: list[int] | None = None
        self._opened_max: int | None = None
        self._moved: dict[str, None] | None = None
        self.dirty: set[str] = set()
        self._manifests: dict[int, Manifest] = {}
        self._chunks: OrderedDict[str, bytes] = OrderedDict()
        self._chunk_bytes = 0
        self._changed = asyncio.Event()
        self._zone_changed: dict[str, asyncio.Event] = {}
        """Somebody waits for these zones."""
        self._changed_zones: dict[str, None] | None = {}
        """Zones that changed since those who wait were told; None: perhaps all."""
        self.on_change: Callable[[], None] | None = None

    # -- what it shows

    @property
    def owner(self) -> Owner:
        """Whose fences are ours."""
        none = self.revision and self.stored_installation is None  # before anything is read, one may stand there
        known = self.installation or ("" if none else None)
        return Owner(scope=self.keys.scope, installation=known)

    @property
    def has_content(self) -> bool:
        """Whether there is anything to lose: a plan, a fence, or what a zone's ledger knows."""
        return any(self._named[kind] for kind in CONTENT)

    @property
    def knows_installation(self) -> bool:
        """Whether the id is known, and none of another version is stored."""
        return bool(self.installation) and INSTALLATION.prefix not in self._other_formats

    @property
    def stored_installation(self) -> Item | None:
        """What stands where the id is stored, sound or not."""
        return self.items.get(self.keys.installation)

    @property
    def head(self) -> int:
        """The newest generation ever published; 0: none."""
        item = self.items.get(self.keys.head)
        parsed = item and parse_head(item.value)
        return parsed[0] if isinstance(parsed, tuple) else 0

    @property
    def head_lost(self) -> bool:
        """Whether plans are stored, and nothing says which of them is the newest."""
        return self.loaded and self.keys.head not in self.items and bool(self.generations)

    @property
    def newest(self) -> int:
        """The highest generation that is known to be published, also where `head` is lost; 0: none."""
        generations = self.generations
        return max(self.head, generations[-1] if generations else 0)

    @property
    def generations(self) -> list[int]:
        """The generations of the stored plans, in order."""
        if self._generations is None:
            numbers = (parse_pad(name) for name in self._named[PLAN])
            self._generations = sorted(number for number in numbers if number is not None)
        return list(self._generations)

    def manifest(self, generation: int) -> Manifest | None:
        """Return a plan's manifest, None if there is none. Raises `PlanUnreadable` if it is damaged."""
        if generation not in self._manifests:
            item = self.items.get(self.keys.plan(generation))
            if item is None:
                return None
            self._manifests[generation] = read_manifest(item.value, generation)
        return self._manifests[generation]

    def fence(self, zone: str) -> FenceRecord | None:
        """Return the fence that the store holds for a zone; None where there is none, or none that can be read."""
        item = self.items.get(self.keys.fence(zone))
        record = None if item is None else parse_record(item.value)
        return record if isinstance(record, FenceRecord) else None

    @property
    def fences(self) -> dict[str, int]:
        """The generation opened in every zone, those of zones that are not configured any more included."""
        found: dict[str, int] = {}
        for zone in sorted(self._named[FENCE]):
            record = self.fence(zone)
            found[zone] = record.generation if record else 0
        return found

    @property
    def opened_max(self) -> int:
        """The highest generation opened in any zone; 0: none."""
        if self._opened_max is None:
            self._opened_max = max(self.fences.values(), default=0)
        return self._opened_max

    def take_moved(self) -> list[str] | None:
        """Return the zones whose ledger, fence or applied plan changed since this was last asked; None: perhaps all."""
        moved, self._moved = self._moved, {}
        return None if moved is None else list(moved)

    def applied(self, zone: str) -> int:
        """Return the generation that every endpoint of a zone conforms to; 0: none."""
        item = self.items.get(self.keys.applied(zone))
        parsed = item and parse_applied(item.value)
        return parsed[0] if isinstance(parsed, tuple) else 0

    def applied_revision(self, zone: str) -> int:
        """Return the revision at which that was recorded; 0: never."""
        item = self.items.get(self.keys.applied(zone))
        return item.mod_revision if item else 0

    @property
    def freeze(self) -> Freeze | None:
        item = self.items.get(self.keys.freeze)
        return None if item is None else parse_freeze(item.value)

    def ruling(self, configured: Limits) -> Ruling:
        """Return the limits in force, where the config says `configured`."""
        item = self.items.get(self.keys.limits)
        return parse_ruling(item.value if item else None, configured)

    @property
    def rules(self) -> bool:
        """Whether the store has limits, of whatever kind."""
        return self.keys.limits in self.items

    @property
    def refused(self) -> set[int]:
        """The plans that enactors refused, by generation."""
        return {number for name in self._named[REFUSED] if (number := parse_pad(name)) is not None}

    def refused_revision(self, generation: int) -> int:
        """Return the revision of the mark that a plan was refused; 0: there is none, or another version's."""
        item = self.items.get(self.keys.refused(generation))
        other = REFUSED.prefix + pad(generation) in self._other_formats
        return 0 if item is None or other else item.mod_revision

    @property
    def paused(self) -> dict[str, Pause]:
        """The planners that are paused."""
        return {name: parse_pause(self.items[self.keys.paused(name)].value) for name in sorted(self._named[PAUSED])}

    @property
    def overrides(self) -> list[Override]:
        """What operators override, those that are over included, sorted by name and time."""
        found = (parse_override(self.items[self.keys.override(name)].value, name) for name in self._named[OVERRIDE])
        return sorted((one for one in found if isinstance(one, Override)), key=lambda one: (one.name, one.at, one.id))

    @property
    def contributions(self) -> list[Contribution]:
        """What guards last refused of each planner's publications, as far as it can be read, sorted by planner."""
        found = []
        for planner in sorted(self._named[CONTRIBUTION]):
            item = self.items[self.keys.contribution(planner)]
            with suppress(PlanUnreadable):
                found.append(_contribution(item.value, planner))
        return found

    @property
    def retired(self) -> dict[str, bytes]:
        """What was noted of each zone that was retired and has not come back."""
        gone = sorted(self._named[RETIRED].keys() - self._named[FENCE].keys())
        return {zone: self.items[self.keys.retired(zone)].value for zone in gone}

    @property
    def other_formats(self) -> Mapping[str, OtherFormat]:
        """What another version has written, by key below the scope's root; this version leaves it alone."""
        return self._other_formats

    def of_other_version(self, zone: str) -> bool:
        """Whether another version has written something of a zone: then this version applies no plan there."""
        own = (FENCE.prefix + zone, APPLIED.prefix + zone)
        return any(name in self._other_formats for name in own) or OTHER_FORMAT in self.ledger.levels(zone)

    @property
    def lowerings(self) -> dict[str, bytes]:
        """What was noted of each zone whose fence an operator is bringing down."""
        return {zone: self.items[self.keys.lowering(zone)].value for zone in sorted(self._named[LOWERING])}

    def claims(self, generation: int) -> list[str]:
        """Return the enactors that claim a generation."""
        return [enactor for claimed, enactor in self.all_claims if claimed == generation]

    @property
    def all_claims(self) -> list[tuple[int, str]]:
        """Every claim as (generation, enactor)."""
        found = []
        for name in self._named[CLAIM]:
            generation, _, enactor = name.partition("/")
            number = parse_pad(generation)
            if number is not None:
                found.append((number, enactor))
        return sorted(found)

    @property
    def enactors(self) -> list[Presence]:
        found = []
        for name in sorted(self._named[ENACTOR]):
            facts = stored_json(ENACTOR, self.items[self.keys.enactor(name)].value)
            found.append(Presence(id=name, facts=facts if isinstance(facts, dict) else {}))
        return found

    def chunk(self, digest: str) -> bytes | None:
        """Return a stored chunk if the watch or a read has brought it lately."""
        packed = self._chunks.get(digest)
        if packed is not None:
            self._chunks.move_to_end(digest)
        return packed

    def chunks(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return those of some stored chunks that are at hand, by digest."""
        return {digest: packed for digest in digests if (packed := self.chunk(digest)) is not None}

    def _check_ours(self, items: Mapping[str, Item]) -> None:
        """Raise `StoreNotOurs` where what a store holds is not what is known here: nothing is lost for its sake."""
        if not self.has_content:
            return
        found, known = _installation(items.get(self.keys.installation)), self.installation
        copied = f"this enactor's local copy is of installation {known or '?'}, plan {self.newest}"
        if isinstance(found, str) and known and found != known:
            raise StoreNotOurs(
                f"the plan store is of another installation {found}, and {copied}: name the right store under [store];"
                " if this store is meant, stop the enactor, move its state_dir away, and start it"
            )
        if not any(self.keys.split(key)[0] in CONTENT for key in items):
            raise StoreNotOurs(
                f"the plan store is empty, and {copied}: put the content back with: enactorctl restore --from-copy"
                " (or restore a backup); if the empty store is meant, stop the enactor, and move its state_dir away"
            )
        frozen = self.keys.freeze in items  # by a restore, perhaps, that is half done
        if not found and known and (frozen or not self._shares_a_plan(items)):
            raise StoreNotOurs(
                f"the plan store has no installation's id, and no plan that is known here; {copied}: name the right"
                " store under [store], or put the content back with: enactorctl restore --from-copy --replace"
            )

    def _shares_a_plan(self, items: Mapping[str, Item]) -> bool:
        """Whether a store has a plan that is known here: then it is ours, and has lost its id alone."""
        known = ((key, self.items[key].value) for key in map(self.keys.plan, self.generations))
        return any((item := items.get(key)) is not None and item.value == value for key, value in known)

    # -- how it is kept current

    async def load(self, store: Reading) -> None:
        """Read the whole scope (but the chunks) at one revision.

        Raises `StoreNotOurs`, and leaves all as it was, where the store is not the one that is known here.
        """
        page = await store.range(self.keys.head)
        revision = page.revision
        items = {item.key: item for item in page.items}
        for kind in self._named:
            page = await store.range(*self.keys.bounds(kind), revision=revision)
            items.update((item.key, item) for item in page.items)
        self._check_ours(items)
        self.dirty.update(key for key in self.items.keys() | items.keys() if self.items.get(key) != items.get(key))
        self.items = items
        self._manifests = {}
        self._survey()
        for count, bucket in enumerate(self.ledger.unsummarised()):
            self.ledger.summary(bucket)
            if count % 64 == 63:
                await asyncio.sleep(0)
        self.revision = revision
        self.loaded = True
        self._notify()

    async def follow(self, store: KeyValue) -> None:
        """Apply the watch's changes until it ends by an error; `Compacted` asks for `load`."""
        async for changes in store.watch(self.keys.root, start_revision=self.revision + 1):
            self.apply(changes)

    def apply(self, changes: Changes) -> None:
        """Take in what a watch brought. Raises `StoreNotOurs`, and takes in nothing, where the id has changed."""
        known = self.installation if self.has_content else ""
        for event in changes.events:
            if not known or event.key != self.keys.installation:
                continue
            found = _installation(event.item)
            if found != known and not isinstance(found, OtherFormat):  # that is told, and waits for its version
                raise StoreNotOurs("the id of the installation was removed, or replaced, in the plan store")
        for event in changes.events:
            self._take(event, changes.revision)
        self.revision = max(self.revision, changes.revision)
        self._notify()

    def learn(self, items: Iterable[Item]) -> None:
        """Take in ledger buckets that a transaction of ours wrote or a read returned, ahead of the watch."""
        for item in items:
            assert item.key.startswith(self.keys.all_ledger), item.key
            self._take(KeyChange(key=item.key, item=item), item.mod_revision)
        self._notify()

    def unlearn(self, keys: Iterable[str], revision: int) -> None:
        """Take in that ledger buckets were removed at a revision, ahead of the watch."""
        for key in keys:
            assert key.startswith(self.keys.all_ledger), key
            self._take(KeyChange(key=key, item=None), revision)
        self._notify()

    def restore(self, items: Iterable[Item], chunks: dict[str, bytes]) -> None:
        """Start from the copy on local disk; the first `load` replaces it."""
        self.items = {item.key: item for item in items if self.keys.split(item.key)[0] in self._named}
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

    async def wait_change(self, timeout_s: float, *, zone: str = "") -> None:
        """Return at the next change (of what a zone's keys hold), or when the time is over."""
        changed = self._zone_changed.setdefault(zone, asyncio.Event()) if zone else self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            pass

    def wake(self) -> None:
        """Have those who wait for any change look again: something else happened that they wait for."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float, *, zone: str = "") -> bool:
        """Wait until the condition (on what a zone's keys hold) is true; returns whether it is within the time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not condition():
            remaining = deadline - loop.time()
            if remaining <= 0:
                return False
            await self.wait_change(remaining, zone=zone)
        return True

    def _notify(self) -> None:
        if self._changed_zones is None:
            self._changed_zones = dict.fromkeys(self._zone_changed)
        for zone in self._changed_zones:
            changed = self._zone_changed.pop(zone, None)
            if changed is not None:
                changed.set()
        self._changed_zones = {}
        self.wake()
        if self.on_change is not None:
            self.on_change()

    def _take(self, event: KeyChange, revision: int) -> None:
        kind, name = self.keys.split(event.key)
        if kind is None:
            return  # a newer version's
        known = self.items.get(event.key)
        if known is not None and known.mod_revision >= revision:
            return
        self._note_format(kind, name, event.item)
        if kind is INSTALLATION:
            self._note_installation(event.item)
        if kind is CHUNK and event.item is not None:
            self.keep_chunk(name, event.item.value)
        if kind not in self._named:
            return
        if event.item is None:
            self.items.pop(event.key, None)
            self._named[kind].pop(name, None)
        else:
            self.items[event.key] = event.item
            self._named[kind][name] = None
        self.dirty.add(event.key)
        if kind is FENCE:
            self._note_fence(name, event.item)
        if kind is FENCE or kind is APPLIED:
            self._note_moved(name)
        elif kind is LEDGER:
            zone = self.ledger.take(name, event.item)
            if zone is not None:
                self._note_moved(zone)
        elif kind is PLAN:
            self._generations = None
            self._manifests.pop(parse_pad(name) or 0, None)

    def _note_format(self, kind: Kind, name: str, item: Item | None) -> None:
        other = None if item is None else kind.other_format(item.value)
        if other is None:
            self._other_formats.pop(kind.prefix + name, None)
        else:
            self._other_formats[kind.prefix + name] = other

    def _note_installation(self, item: Item | None) -> None:
        """Take in an id; where there is something to lose, a lost id does not make us forget it."""
        found = _installation(item)
        if isinstance(found, str) or not self.has_content:
            self.installation = found if isinstance(found, str) else ""

    def _note_fence(self, zone: str, item: Item | None) -> None:
        """Keep the highest generation opened: a fence that rises needs no look at the others."""
        record = self.fence(zone) if item is not None else None
        if record is None or self._opened_max is None or record.generation < self._opened_max:
            self._opened_max = None
        else:
            self._opened_max = record.generation

    def _note_moved(self, zone: str) -> None:
        if self._moved is not None:
            self._moved[zone] = None
        if self._changed_zones is not None:
            self._changed_zones[zone] = None

    def _survey(self) -> None:
        """Learn what there is, after all of it has been replaced."""
        self._generations = self._opened_max = self._moved = self._changed_zones = None
        for named in self._named.values():
            named.clear()
        self._other_formats = {}
        for key, item in self.items.items():
            kind, name = self.keys.split(key)
            assert kind is not None, key
            self._named[kind][name] = None
            self._note_format(kind, name, item)
        self._note_installation(self.stored_installation)
        self.ledger.replace({name: self.items[self.keys.key(LEDGER, name)] for name in self._named[LEDGER]})


@lru_cache(maxsize=64)
def _contribution(value: bytes, planner: str) -> Contribution:
    return read_contribution(value, planner)


def _installation(item: Item | None) -> str | OtherFormat | None:
    return None if item is None else parse_installation(item.value)
