"""A zone whose records are the keys that CoreDNS's etcd plugin serves, in etcd itself.

Every write is one transaction of the store, which compares the fence's key and all that
was read before it. A name's records are the keys just below its path, one an address:

    www.example.test. 30 A 192.0.2.1   /skydns/test/example/www/_ec0000201   {"host":"192.0.2.1","ttl":30,"group":"…"}
    the fence of example.test.         /enactord/@fences/skydns/example.test.    v=enactord1 scope=… gen=… plan=…

The fence stands outside the tree that is served, and below no scope ("@" is in no scope's name).

CoreDNS answers for a name with all that stands below its path, so also with the records of
names below it. Keys of one group are told apart from those (the group on the shortest keys
wins), so each name is its own group. What that does not mend: a name that has no
records of its own, but names below it that have, is answered with theirs.
Source: CoreDNS, plugin/etcd/etcd.go (get, loopNodes, TTL), plugin/etcd/msg/service.go
(Group), plugin/etcd/msg/path.go (Path), plugin/backend_lookup.go (checkForApex).
"""

import asyncio
import json
import socket
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enactord.core.content import pack_address
from enactord.core.errors import StoreDown, StoreRefused, StoreUnknown, ZoneDown
from enactord.core.fence import FenceSeen
from enactord.core.kv import (
    MAX_OPERATIONS,
    Compare,
    Delete,
    Item,
    Operation,
    Put,
    absent,
    prefix_end,
    unmodified,
    valued,
)
from enactord.core.records import (
    NO_RECORDS,
    Change,
    Committed,
    Expect,
    Outcome,
    Reason,
    Refused,
    Served,
    Transaction,
    Unknown,
    served_with,
)
from enactord.ports import KeyValue

SKYDNS_PATH = "/skydns"
"""Where CoreDNS looks, unless its `path` says otherwise."""
ANSWERS_MAX = 50
"""Most addresses of one RRset here: with as many A as AAAA a name still fits one transaction."""

_FENCES = "/enactord/@fences"
_APEX = "apex.dns."
"""Below this label CoreDNS looks for the addresses of a zone's own name. Source: CoreDNS, checkForApex."""
_WILDCARDS = frozenset({"*", "any"})
"""Labels that match any label in a question. Source: CoreDNS, plugin/etcd/msg/path.go (PathWithWildcard)."""
_FIELDS = {
    "host": str, "port": int, "priority": int, "weight": int, "text": str, "mail": bool, "ttl": int,
    "targetstrip": int, "group": str,
}  # fmt: skip
"""What a value may hold; CoreDNS fails at another type. Source: CoreDNS, plugin/etcd/msg/service.go (Service)."""
_LEAF = "_e"
_TTL_UNSET_S = 300
"""What CoreDNS serves where a key gives no TTL, or 0. Source: CoreDNS, plugin/etcd/etcd.go."""
_STRING_MAX = 255
_READS_IN_FLIGHT = 16
_READ_SINGLY_UP_TO = 256
"""Up to so many names are read one by one; above that, the whole zone in pages."""
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """What CoreDNS reads from one key; `host` "" where it serves no address and no alias from it."""

    key: str
    host: str
    ttl_s: int
    group: str

    @property
    def depth(self) -> int:
        return self.key.count("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What stands at a name: the item at its path, and those below it as of a revision."""

    at: Item | None
    below: tuple[Item, ...]
    revision: int

    def own(self, path: str) -> list[Item]:
        """The items that are the name's own: at its path, and just below it."""
        own = [item for item in self.below if "/" not in item.key[len(path) + 1 :]]
        return own if self.at is None else [self.at, *own]


class SkydnsZone:
    """One zone in the tree that CoreDNS serves; implements `Zone` above any `KeyValue`, which it does not close."""

    def __init__(self, name: str, store: KeyValue, *, path: str = SKYDNS_PATH) -> None:
        self._name = name
        self.store = store
        self._path = path
        self._fence_key = f"{_FENCES}{path}/{name}"
        self._gate = asyncio.Semaphore(_READS_IN_FLIGHT)
        self._closed = False

    async def read_fence(self) -> FenceSeen:
        item = (await self._get([self._fence_key])).get(self._fence_key)
        return () if item is None else (_rdata(item.value),)

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        inside = [name for name in names if name == self._name or name.endswith("." + self._name)]
        if len(inside) > _READ_SINGLY_UP_TO:
            standing = await self._read_zone(inside)
        else:
            standing = await self._read_names(inside)
        found = {}
        for name, there in standing.items():
            served = _served(self._key(name), there)
            if served is not None:
                found[name] = served
        return found

    async def write(self, transaction: Transaction) -> Outcome:
        problem = self._unfit(transaction)
        if problem:
            return Refused(reason=Reason.CONTENT, detail=problem)
        try:
            for _ in range(_ATTEMPTS):
                outcome = await self._try(transaction)
                if outcome is not None:
                    return outcome
        except ZoneDown as error:
            return Refused(reason=Reason.BUSY, detail=str(error))
        return Refused(reason=Reason.BUSY, detail="the names change faster than they can be read")

    async def negative_ttl_s(self) -> int | None:
        """Not told: CoreDNS has it in its own config, and etcd does not."""
        return None

    async def close(self) -> None:
        self._closed = True

    async def _try(self, transaction: Transaction) -> Outcome | None:
        """Read, judge and write; None: something moved between reading and writing."""
        names = [change.name for change in transaction.changes]
        names += [required.name for required in transaction.requires]
        standing = await self._read_names(names)
        fence = (await self._get([self._fence_key])).get(self._fence_key)
        if transaction.fence_seen != (() if fence is None else (_rdata(fence.value),)):
            return Refused(reason=Reason.CONDITION, detail="the fence is another")
        compares = [absent(self._fence_key) if fence is None else valued(self._fence_key, fence.value)]
        operations: list[Operation] = []
        if transaction.fence_after is not None:
            operations.append(Put(key=self._fence_key, value=transaction.fence_after.text.encode("ascii")))
        for change in transaction.changes:
            path, there = self._key(change.name), standing[change.name]
            violated = _violated(change, path, there)
            if violated:
                return Refused(reason=Reason.CONDITION, detail=f"{change.name}: {violated}")
            compares += _compares(change, path, there)
            operations += _operations(change, path, there)
        for required in transaction.requires:
            there = standing[required.name]
            change = Change(name=required.name, after=required.records, expect=Expect.EXACT, before=required.records)
            served = _served(self._key(required.name), there)
            if served is None or served.alias is not None or served.records.addresses != required.records.addresses:
                return Refused(reason=Reason.CONDITION, detail=f"{required.name}: it holds something else")
            compares += _compares(change, self._key(required.name), there)
        if len(compares) > MAX_OPERATIONS or len(operations) > MAX_OPERATIONS:
            return Refused(
                reason=Reason.CONTENT,
                detail=f"{len(transaction.changes)} changes need {max(len(compares), len(operations))} operations;"
                f" one transaction of etcd holds {MAX_OPERATIONS}: make the batch smaller",
            )
        try:
            result = await self.store.transact(compares, operations)
        except StoreUnknown as error:
            return Unknown(detail=str(error))
        except StoreDown as error:
            return Refused(reason=Reason.BUSY, detail=str(error))
        except StoreRefused as error:
            return Refused(reason=Reason.DENIED, detail=str(error))
        return Committed() if result.succeeded else None

    def _unfit(self, transaction: Transaction) -> str:
        """Return what of a transaction CoreDNS could not serve, "" where it can. Raises ValueError: not in the zone."""
        for change in transaction.changes:
            self._key(change.name)
            if change.after.empty:
                continue
            if not _WILDCARDS.isdisjoint(change.name.split(".")):
                return f"{change.name}: CoreDNS's etcd plugin serves no wildcards, and takes the label any for one"
            if change.name == _APEX + self._name:
                return f"{change.name}: CoreDNS answers for {self._name} itself with what stands at this name"
            if not change.after.ttl_s:
                return f"{change.name}: CoreDNS serves a TTL of 0 as {_TTL_UNSET_S} s"
        return ""

    def _key(self, name: str) -> str:
        """Return the path of a name: its labels, the last first."""
        if name != self._name and not name.endswith("." + self._name):
            raise ValueError(f"{name} is not in zone {self._name}")
        return self._path_of(_APEX + name if name == self._name else name)

    def _path_of(self, name: str) -> str:
        return "/".join((self._path, *reversed(name[:-1].split("."))))

    async def _read_names(self, names: Sequence[str]) -> dict[str, _Standing]:
        """Read each name: its own key, then all below it."""
        paths = {name: self._key(name) for name in names}
        at = await self._get(list(paths.values()))

        async def below(name: str) -> tuple[str, _Standing]:
            path = paths[name]
            async with self._gate:
                revision, items = await self._range(path + "/")
            return name, _Standing(at=at.get(path), below=items, revision=revision)

        return dict(await asyncio.gather(*(below(name) for name in names)))

    async def _read_zone(self, names: Sequence[str]) -> dict[str, _Standing]:
        """Read the whole zone at one revision, and pick the names from it."""
        revision, items = await self._range(self._path_of(self._name) + "/")
        keys = [item.key for item in items]
        found = {}
        for name in names:
            path = self._key(name)
            first = bisect_left(keys, path)
            at = items[first] if first < len(keys) and keys[first] == path else None
            start, end = bisect_left(keys, path + "/"), bisect_left(keys, prefix_end(path + "/"))
            found[name] = _Standing(at=at, below=items[start:end], revision=revision)
        return found

    async def _get(self, keys: Sequence[str]) -> dict[str, Item]:
        self._require_open()
        try:
            return await self.store.get(keys) if keys else {}
        except (StoreDown, StoreRefused) as error:
            raise ZoneDown(f"{self._name}: {error}") from error

    async def _range(self, prefix: str) -> tuple[int, tuple[Item, ...]]:
        self._require_open()
        try:
            page = await self.store.range(prefix, prefix_end(prefix))
        except (StoreDown, StoreRefused) as error:
            raise ZoneDown(f"{self._name}: {error}") from error
        return page.revision, page.items

    def _require_open(self) -> None:
        if self._closed:
            raise ZoneDown(f"{self._name}: closed")


def _rdata(value: bytes) -> bytes:
    """Return a value as the rdata of one TXT record."""
    strings = [value[start : start + _STRING_MAX] for start in range(0, len(value), _STRING_MAX)] or [b""]
    return b"".join(bytes((len(string),)) + string for string in strings)


def _violated(change: Change, path: str, there: _Standing) -> str:
    """Return what a change requires and does not find, "" where all is as it expects."""
    served = _served(path, there)
    if served is None:
        # CoreDNS fails at it. Ours is written over it; nothing that relies on what is there can hold.
        return "" if change.expect is Expect.OWNED else "what stands there is no record"
    if served.alias is not None and not change.after.empty:
        return f"a CNAME to {served.alias} stands there"
    if change.expect is Expect.NEW and not served.records.empty:
        return "addresses stand there"
    if change.expect is Expect.EXACT and served.records.addresses != change.before.addresses:
        return "other addresses stand there than expected"
    return ""


def _compares(change: Change, path: str, there: _Standing) -> list[Compare]:
    """Return what holds as long as a name is as it was read.

    Nothing was put below it since; where it must be exactly as read, nothing was removed
    either. (An owned name is written whatever was removed from it.)
    """
    compares = [Compare(key=path + "/", field="mod", operator="<", operand=there.revision + 1, prefix=True)]
    if change.expect is not Expect.OWNED or there.at is not None:
        compares.append(unmodified(path, there.at.mod_revision if there.at else 0))
    if change.expect is Expect.EXACT:
        compares += [unmodified(item.key, item.mod_revision) for item in there.own(path) if item is not there.at]
    return compares


def _operations(change: Change, path: str, there: _Standing) -> list[Operation]:
    """Return what makes a name hold exactly the new records; aliases and texts of others stay."""
    puts: dict[str, Operation] = {}
    for packed in (*change.after.a, *change.after.aaaa):
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        service = {"host": socket.inet_ntop(family, packed), "ttl": change.after.ttl_s, "group": change.name}
        key = f"{path}/{_LEAF}{packed.hex()}"
        puts[key] = Put(key=key, value=json.dumps(service, separators=(",", ":")).encode("ascii"))
    gone = [item.key for item in there.own(path) if item.key not in puts and _is_address(item)]
    return [*(Delete(key=key) for key in gone), *puts.values()]


def _is_address(item: Item) -> bool:
    """Whether an item is to go when a name gets other addresses: it holds one, or what CoreDNS fails at."""
    service = _parse(item)
    return service is None or _packed(service.host) is not None


def _packed(host: str) -> bytes | None:
    try:
        return pack_address(host)
    except ValueError:
        return None


def _parse(item: Item) -> _Service | None:
    """Return what CoreDNS reads from an item, or None where it fails at it (and then at the whole name)."""
    try:
        found = json.loads(item.value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    fields = {key: value for key, value in found.items() if key in _FIELDS and value is not None}
    if any(type(value) is not _FIELDS[key] for key, value in fields.items()):
        return None
    host, ttl_s, group = fields.get("host", ""), fields.get("ttl", 0), fields.get("group", "")
    if not 0 <= ttl_s < 2**32:
        return None
    return _Service(key=item.key, host=host, ttl_s=ttl_s or _TTL_UNSET_S, group=group)


def _served(path: str, there: _Standing) -> Served | None:
    """Return what CoreDNS answers for a name that has records of its own; None: it fails at it."""
    own = there.own(path)
    if not own:
        return Served(records=NO_RECORDS)
    services: list[_Service] = []
    for item in there.below or own:
        service = _parse(item)
        if service is None:
            return None
        if service.host:
            services.append(service)
    addresses: dict[bytes, int] = {}
    for service in _group(services):
        packed = _packed(service.host)
        if packed is None:
            return Served(records=NO_RECORDS, alias=service.host.lower().rstrip(".") + ".")
        addresses.setdefault(packed, service.ttl_s)
    if not addresses:
        return Served(records=NO_RECORDS)
    return served_with(
        list(addresses.values()),
        tuple(sorted(packed for packed in addresses if len(packed) == 4)),
        tuple(sorted(packed for packed in addresses if len(packed) == 16)),
    )


def _group(services: Sequence[_Service]) -> Sequence[_Service]:
    """Leave out what is of another group than the shortest keys. Source: CoreDNS, msg.Group, step by step."""
    if not services:
        return services
    group, depth = services[0].group, services[0].depth
    measured: list[_Service] = []
    for service in services:
        measured.append(service)
        if service.depth < depth:
            if not service.group:
                break
            group, depth = service.group, service.depth
    if not group:
        return services
    if any(service.group and service.depth == depth and service.group != group for service in measured):
        return services
    return [service for service in services if service.group in ("", group)]
