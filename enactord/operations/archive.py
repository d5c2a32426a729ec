"""Backup and restore of a scope's store: every key that is not bound to a lease, as of one revision.

Values go into an archive and out of it as they are stored, also those that this version cannot read.
A restore writes the kinds in the order of `store/layout.py`.

An archive is gzip of JSON lines: a header, one line a key (relative to the scope's root,
value in base64), and a last line with the number of keys and the SHA-256 of all lines
before it; one that was cut short or changed is not taken for whole.

A store that was lost can be seeded from the copy on an enactor's local disk, too: it has less, and
goes the same way (`copy_source`).

Restoring never lowers a fence: of a fence in the archive, in the store, and in the zone
itself, the highest stands afterwards, and the next publication goes above it.
"""

import base64
import binascii
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, cast

from enactord.core.errors import ArchiveUnreadable, Compacted, PlanOfOtherFormat, PlanUnreadable, ZoneDown
from enactord.core.fence import FenceRecord, describe_fence, find_stranger, out_of_reach, parse_fence
from enactord.core.guards import in_step
from enactord.core.kv import MAX_REQUEST_BYTES, Delete, Item, Operation, Put, valued
from enactord.core.moment import utc
from enactord.core.refusal import Refusal
from enactord.engine.raise_fence import confirm
from enactord.engine.settings import ZonePorts
from enactord.operations import audit
from enactord.operations.scope import Denied, Scope, Stage, silent
from enactord.store.audit import Deed, Facts
from enactord.store.control import Freeze, freeze_value, parse_freeze
from enactord.store.fences import Fences
from enactord.store.keys import Keys, parse_pad, parse_record, read_manifest, record_value
from enactord.store.layout import (
    AUDIT,
    CHUNK,
    CONTENT,
    FENCE,
    FREEZE,
    INSTALLATION,
    KINDS,
    LIMITS,
    PLAN,
    OtherFormat,
    split_name,
)
from enactord.store.paging import items_under

_SCHEMAS = "enactord.backup/"
SCHEMA = _SCHEMAS + "v1"
_GIVE = "give a file that `enactorctl backup` has written"
_PAGE = 512
_BATCH_OPERATIONS = 100
_BATCH_BYTES = MAX_REQUEST_BYTES // 2
_LINE_MAX = 4 * MAX_REQUEST_BYTES
"""Longest line that is read: no value in the store is larger than a request."""
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A backup that was written."""

    scope: str
    revision: int
    keys: int
    plans: int
    bytes: int
    unknown: tuple[str, ...] = ()
    """Kinds of keys that this version does not know, by how they begin: only a version that does restores them."""

    def document(self) -> dict[str, Any]:
        names = ("scope", "revision", "keys", "plans", "bytes")
        return {name: getattr(self, name) for name in names} | {"unknown": list(self.unknown)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A backup or copy that was put back: what was written and removed, and each zone's fence afterwards."""

    scope: str
    taken_at: float
    newest: int
    plans: int
    written: int
    removed: int
    fences: dict[str, int]
    ahead: tuple[str, ...]
    """Zones that stand above the newest plan: they wait for the next publication."""
    unread: dict[str, str] = field(default_factory=dict)
    """Zones whose own fence could not be read, and why: enactors find out by themselves."""
    frozen: str = ""
    """Who keeps the scope frozen, as before the restore."""
    other_formats: tuple[str, ...] = ()
    """What the store now holds that another version has written, each with both formats."""
    installation: str = ""
    """Whose store it is now; "": it has no id, and enactors make one."""
    left_out: tuple[int, ...] = ()
    """Plans of a local copy whose content it does not have."""
    unentered: str = ""
    """Why the audit log may not tell of it."""

    def document(self) -> dict[str, Any]:
        return {
            "scope": self.scope,
            "taken_at": self.taken_at,
            "newest": self.newest,
            "plans": self.plans,
            "written": self.written,
            "removed": self.removed,
            "fences": self.fences,
            "ahead": list(self.ahead),
            "unread": self.unread,
            "frozen": self.frozen or None,
            "other_formats": list(self.other_formats),
            "installation": self.installation or None,
            "plans_left_out": list(self.left_out),
            "unentered": self.unentered or None,
        }


# -- backup


async def backup(scope: Scope, path: Path, *, stage: Stage = silent) -> Saved:
    """Write an archive; the file is there whole or not at all. Raises `StoreDown`, OSError."""
    for attempt in range(_ATTEMPTS):
        try:
            return await _backup_once(scope, path, stage)
        except Compacted:
            if attempt + 1 == _ATTEMPTS:
                raise
            stage("the store was compacted meanwhile: once more")
    raise AssertionError("not reached")


async def _backup_once(scope: Scope, path: Path, stage: Stage) -> Saved:
    fresh = path.with_name(path.name + ".new")
    digest = sha256()
    count = plans = 0
    unknown: set[str] = set()
    revision = (await scope.store.range(scope.keys.head)).revision
    try:
        with (
            os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
            gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed,
        ):

            def write(document: Mapping[str, Any]) -> None:
                line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
                digest.update(line)
                packed.write(line)

            write({"schema": SCHEMA, "scope": scope.name, "revision": revision, "taken_at": scope.clock.now()})
            async for item in items_under(scope.store, scope.keys.root, revision=revision):
                key = item.key[len(scope.keys.root) :]
                kind, _ = split_name(key)
                if item.lease or (kind is not None and kind.leased):
                    continue
                if kind is None:
                    unknown.add(_room(key))
                write({"key": key, "value": base64.b64encode(item.value).decode("ascii")})
                count += 1
                plans += kind is PLAN
                if count % _PAGE == 0:
                    stage(f"{count:,} keys")
            packed.write(json.dumps({"keys": count, "sha256": digest.hexdigest()}).encode() + b"\n")
            packed.close()
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        fresh.replace(path)
    except BaseException as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        if isinstance(error, OSError) and not error.filename:
            error.filename = str(path)
        raise
    return Saved(
        scope=scope.name,
        revision=revision,
        keys=count,
        plans=plans,
        bytes=size,
        unknown=tuple(sorted(unknown)),
    )


def _room(key: str) -> str:
    """Return how a key of an unknown kind begins, for people."""
    return key[: key.find("/") + 1] or key


# -- restore


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a store is restored from."""

    name: str
    """What it is called, for people."""
    scope: str
    taken_at: float
    """Seconds since the epoch."""
    entries: Callable[[], Iterator[tuple[str, bytes]]]
    """Keys below the scope's root with their values, in any order, as often as it is called."""
    left_out: tuple[int, ...] = ()
    """Plans of which it has no content."""


def copy_source(
    scope: Scope, name: str, items: Sequence[Item], chunks: Mapping[str, bytes], taken_at: float
) -> Source | Denied:
    """Return an enactor's local copy as a source; plans of which it lacks a chunk are left out.

    The number of the newest plan stays as it was, so that no generation is given twice.
    """
    root = scope.keys.root
    there = {item.key[len(root) :]: item.value for item in items if item.key.startswith(root)}
    if not any(split_name(key)[0] in CONTENT for key in there):
        detail = f"{name} holds nothing of scope {scope.name!r}: name the state_dir of an enactor of this scope"
        return Denied(refusals=(Refusal(guard="scope", detail=detail),))
    generations = {key: parse_pad(key[len(PLAN.prefix) :]) or 0 for key in there if key.startswith(PLAN.prefix)}
    lacking = {key: generation for key, generation in generations.items() if _lacks(there[key], generation, chunks)}
    entries = {key: value for key, value in there.items() if key not in lacking}
    entries |= {CHUNK.prefix + digest: packed for digest, packed in chunks.items()}
    return Source(
        name=name,
        scope=scope.name,
        taken_at=taken_at,
        entries=lambda: iter(sorted(entries.items())),
        left_out=tuple(sorted(lacking.values())),
    )


def _lacks(value: bytes, generation: int, chunks: Mapping[str, bytes]) -> bool:
    """Whether a plan cannot be read with these chunks; another version's may be read by that version."""
    try:
        return not all(digest in chunks for digest in read_manifest(value, generation).digests())
    except PlanOfOtherFormat:
        return False
    except PlanUnreadable:
        return True


async def restore(
    scope: Scope,
    path: Path,
    zones: Mapping[str, ZonePorts],
    *,
    author: str,
    replace: bool = False,
    stage: Stage = silent,
) -> Restored | Denied:
    """Put an archive into the store. Raises `ArchiveUnreadable`, `StoreDown`, OSError.

    The scope is frozen while it lasts; a restore that broke off leaves it so, and is begun
    again by the same command. Denied: the archive is of another scope or has keys of a kind
    that this version does not know, or the store holds a scope already and `replace` is not
    given. Keys of the store of a kind that this version does not know are left alone.
    """
    stage("checking")
    header = check(path)
    source = Source(name=str(path), scope=header["scope"], taken_at=header["taken_at"], entries=lambda: _entries(path))
    return await restore_from(scope, source, zones, author=author, replace=replace, stage=stage)


async def restore_from(
    scope: Scope,
    source: Source,
    zones: Mapping[str, ZonePorts],
    *,
    author: str,
    replace: bool = False,
    stage: Stage = silent,
) -> Restored | Denied:
    """Put a source into the store, as `restore` does. Raises `ArchiveUnreadable`, `StoreDown`, OSError."""
    stage("checking")
    if source.scope != scope.name:
        detail = f"{source.name} is of scope {source.scope!r}, this config is of {scope.name!r}"
        return Denied(refusals=(Refusal(guard="scope", detail=detail),))
    unknown = {_room(key) for key, _ in source.entries() if split_name(key)[0] is None}
    if unknown:
        detail = f"{source.name} has keys of kinds that this version does not know ({', '.join(sorted(unknown))}):"
        return Denied(refusals=(Refusal(guard="kind", detail=f"{detail} restore it with the version that wrote it"),))
    root = scope.keys.root
    there: dict[str, bytes] = {}
    async for item in items_under(scope.store, root):
        kind, _ = scope.keys.split(item.key)
        if kind is not None and not kind.leased:
            there[item.key[len(root) :]] = item.value
    author_of = parse_freeze(there[FREEZE.prefix]).author if FREEZE.prefix in there else ""
    begun = author_of.startswith(_MARK)
    # Enactors put their limits and an id into an empty store, and whoever set them stands in the audit log.
    held = [key for key in there if split_name(key)[0] not in (LIMITS, INSTALLATION, AUDIT)]
    if held and not replace and not begun:
        plans = sum(key.startswith(PLAN.prefix) for key in there)
        detail = f"the store holds this scope already (plans: {plans}, keys: {len(there)}); to replace it: --replace"
        return Denied(refusals=(Refusal(guard="not_empty", detail=detail),))
    done = await _Restoring(scope, source, there, author, stage).run(zones)
    return await _entered(scope, source, done, author)


async def _entered(scope: Scope, source: Source, done: Restored, author: str) -> Restored:
    """Enter a restore into the audit log, which it left alone; returns it, with why it may be missing there."""
    facts: Facts = {"file": Path(source.name).name, "taken_at": utc(done.taken_at), "newest": done.newest}
    why = await audit.enter(scope, Deed.RESTORE, author=author, facts=facts)
    return replace(done, unentered=audit.missing(why)) if why else done


_MARK = "restore by "


class _Restoring:
    """One restore under way."""

    def __init__(self, scope: Scope, source: Source, there: Mapping[str, bytes], author: str, stage: Stage) -> None:
        self._scope = scope
        self._keys: Keys = scope.keys
        self._source = source
        self._there = there
        self._stage = stage
        before = there.get(FREEZE.prefix)
        if before is not None and parse_freeze(before).author.startswith(_MARK):
            before = None  # a restore that broke off
        self._freeze_after = before
        self._frozen = freeze_value(
            Freeze(
                mode="all", reason=f"restoring {Path(source.name).name}", author=_MARK + author, since=scope.clock.now()
            )
        )

    async def run(self, zones: Mapping[str, ZonePorts]) -> Restored:
        store, keys = self._scope.store, self._keys
        await store.transact((), (Put(key=keys.freeze, value=self._frozen),))
        archived: dict[str, None] = {}
        written = plans = 0
        for kind in (kind for kind in KINDS if not kind.leased):
            self._stage(kind.prefix.rstrip("/"))
            batch: list[Operation] = []
            size = 0
            for key, value in self._source.entries():
                if split_name(key)[0] is not kind:
                    continue
                if kind is FREEZE:
                    if self._freeze_after is None:
                        self._freeze_after = value
                    continue
                archived[key] = None
                put = Put(key=keys.root + key, value=self._highest(key, value))
                if batch and (len(batch) == _BATCH_OPERATIONS or size + len(put.value) > _BATCH_BYTES):
                    await self._write(batch)
                    batch, size = [], 0
                batch.append(put)
                size += len(put.value)
                written += 1
                plans += kind is PLAN
            await self._write(batch)
        kept = (FREEZE, FENCE, INSTALLATION, AUDIT)  # what was done since the backup was done all the same
        gone = [key for key in self._there if key not in archived and split_name(key)[0] not in kept]
        for start in range(0, len(gone), _BATCH_OPERATIONS):
            await self._write([Delete(key=keys.root + key) for key in gone[start : start + _BATCH_OPERATIONS]])
        self._stage("zones' fences")
        unread = await self._follow(zones)
        cache = await self._scope.cache()
        fences = {zone: fence.generation if (fence := cache.fence(zone)) else 0 for zone in self._scope.zones}
        after = self._freeze_after
        await self._write([Put(key=keys.freeze, value=after) if after is not None else Delete(key=keys.freeze)])
        freeze = None if after is None else parse_freeze(after)
        return Restored(
            scope=self._scope.name,
            taken_at=self._source.taken_at,
            newest=cache.head,
            plans=plans,
            written=written,
            removed=len(gone),
            fences=fences,
            ahead=tuple(zone for zone, generation in sorted(fences.items()) if generation > cache.head),
            unread=unread,
            frozen="" if freeze is None else f"{freeze.author}: {freeze.reason}",
            other_formats=tuple(sorted({str(other) for other in cache.other_formats.values()})),
            installation=cache.installation,
            left_out=self._source.left_out,
        )

    def _highest(self, key: str, value: bytes) -> bytes:
        """The value to write: a fence is never lowered, and how the ledger was cut is found out anew."""
        if split_name(key)[0] is not FENCE:
            return value
        record = parse_record(value)
        if isinstance(record, FenceRecord):
            value = record_value(replace(record, slots=0))
        return max(value, self._there.get(key, b""), key=_height)

    async def _write(self, operations: Sequence[Operation]) -> None:
        """Carry out a batch while the scope is frozen by this very restore."""
        if not operations:
            return
        still = (valued(self._keys.freeze, self._frozen),)
        if not (await self._scope.store.transact(still, tuple(operations))).succeeded:
            raise ArchiveUnreadable("the scope was thawed, or frozen anew, while it was restored: restore it once more")

    async def _follow(self, zones: Mapping[str, ZonePorts]) -> dict[str, str]:
        """Raise the store's fences to those that stand in the zones; returns which could not be read or believed."""
        fences = Fences(self._scope.store, self._keys)
        cache = await self._scope.cache()
        newest, owner = cache.newest, cache.owner
        unread: dict[str, str] = {}
        for zone, ports in sorted(zones.items()):
            try:
                seen = await ports.zone.read_fence()
            except ZoneDown as error:
                unread[zone] = str(error)
                continue
            stranger = find_stranger(seen, owner)
            if stranger is not None:
                unread[zone] = describe_fence(zone, stranger, owner)
                continue
            standing = parse_fence(seen)
            if standing is None:
                continue
            known = await fences.read(zone)
            if known is not None and known.generation >= standing.generation:
                continue
            if not in_step(standing.generation, newest, self._scope.limits):
                unread[zone] = out_of_reach(zone, standing.generation, newest)
                continue
            unconfirmed = await confirm(ports, standing)
            if unconfirmed:
                unread[zone] = unconfirmed
                continue
            await fences.follow(zone, standing)
        return unread


def _height(value: bytes) -> int:
    """Order stored fences: by generation, below those another version's, below that garbage."""
    match parse_record(value):
        case FenceRecord(generation=generation):
            return generation
        case OtherFormat():
            return 0
        case None:
            return -1


# -- the file


def check(path: Path) -> dict[str, Any]:
    """Return the header of an archive that is whole. Raises `ArchiveUnreadable`, OSError."""
    digest = sha256()
    header: dict[str, Any] | None = None
    last: dict[str, Any] = {}
    keys = -1
    held = b""
    for line in _lines(path):
        if held:
            digest.update(held)
        held = line
        keys += 1
        last = _parse(path, line)
        if header is None:
            header = last
            if str(header.get("schema")).startswith(_SCHEMAS) and header["schema"] != SCHEMA:
                raise ArchiveUnreadable(
                    f"{path} has format {header['schema']}, this version reads {SCHEMA}: restore it with the version"
                    " that wrote it"
                )
            if header.get("schema") != SCHEMA:
                raise ArchiveUnreadable(f"{path} is no backup of enactord ({SCHEMA}); {_GIVE}")
    if header is None or last.get("sha256") != digest.hexdigest() or last.get("keys") != keys - 1:
        raise ArchiveUnreadable(f"{path} is damaged or was cut short; {_GIVE}")
    known = isinstance(header.get("scope"), str) and isinstance(header.get("taken_at"), float | int)
    if not known:
        raise ArchiveUnreadable(f"{path}: its first line names no scope and time")
    return header


def _entries(path: Path) -> Iterator[tuple[str, bytes]]:
    for line in _lines(path):
        document = _parse(path, line)
        if "key" not in document:
            continue
        try:
            key, value = document["key"], base64.b64decode(document["value"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise ArchiveUnreadable(f"{path}: a line is no key with its value") from error
        kind = split_name(key)[0] if isinstance(key, str) else None
        if not isinstance(key, str) or not key.isascii() or (kind is not None and kind.leased):
            raise ArchiveUnreadable(f"{path}: {key!r} is no key of a backup")
        yield key, value


def _lines(path: Path) -> Iterable[bytes]:
    """Yield the lines of an archive. Raises `ArchiveUnreadable`, OSError."""
    try:
        with gzip.open(path, "rb") as file:
            yield from _bounded(path, cast(BinaryIO, file))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        if str(error).startswith("Not a gzipped file"):  # and not one whose sum is wrong
            raise ArchiveUnreadable(f"{path} is no backup of enactord: it is no gzip file; {_GIVE}") from error
        raise ArchiveUnreadable(f"{path} is damaged or was cut short: {error}; {_GIVE}") from error


def _bounded(path: Path, file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_LINE_MAX):
        if not line.endswith(b"\n"):
            raise ArchiveUnreadable(f"{path} is damaged: a line without an end")
        yield line


def _parse(path: Path, line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArchiveUnreadable(f"{path} is damaged: a line is no JSON") from error
    if not isinstance(document, dict):
        raise ArchiveUnreadable(f"{path} is damaged: a line is no object")
    return document
