"""The plan store in one SQLite file: several processes on one host may share it.

Keys, revisions, watches and leases as etcd has them. Every version of a key is a row
of `history` until it is compacted away; `live` is the newest of each. One worker thread
a store does all the work, so the event loop never waits for a disk.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from enactord.core.errors import Compacted, LeaseLost, StoreDown, StoreFull, StoreRefused, StoreUnknown
from enactord.core.kv import (
    Changes,
    Compare,
    Delete,
    Item,
    KeyChange,
    Operation,
    Page,
    Put,
    Result,
    check_transaction,
    holds,
    prefix_end,
)

T = TypeVar("T")

_POLL_S = 0.02
_LOCKED_PAUSE_S = 0.02
_KEEP_REVISIONS = 1_000
_COMPACT_EVERY = 200
_EVENTS_A_READ = 256
"""So a late watch holds some 100 MB of the largest values at a time; no less than a transaction's operations."""
_FORMAT = 1
"""The format of the file, as its `user_version` says it; 0: nobody has written to it yet."""
_SCHEMA = f"""
PRAGMA user_version = {_FORMAT};
CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER, compacted INTEGER);
INSERT OR IGNORE INTO meta VALUES (1, 1, 0);
CREATE TABLE IF NOT EXISTS live (
    key TEXT PRIMARY KEY, value BLOB, created INTEGER, modified INTEGER, version INTEGER, lease INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    revision INTEGER, key TEXT, value BLOB, created INTEGER, version INTEGER, lease INTEGER,
    PRIMARY KEY (revision, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS live_lease ON live (lease) WHERE lease != 0;
CREATE INDEX IF NOT EXISTS history_key ON history (key, revision);
CREATE TABLE IF NOT EXISTS leases (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_s INTEGER, expires REAL);
"""


class SqliteStore:
    """Implements `KeyValue`. The file is opened, and made where there is none, by the first call that needs it.

    So a file that is away, locked or damaged at the start is the same as one that is lost later:
    each call says so, and the first one after the file has come back succeeds.
    """

    def __init__(self, path: Path, *, timeout_s: float = 5.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-store")
        self._db: sqlite3.Connection | None = None
        self._closed = False
        self._changed = asyncio.Event()

    # -- the port

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Page:
        return await self._run(lambda db: self._read(db, lambda: _range(db, start, end, revision, limit)))

    async def get(self, keys: Sequence[str]) -> dict[str, Item]:
        def work(db: sqlite3.Connection) -> dict[str, Item]:
            found = (_live(db, key) for key in keys)
            return {item.key: item for item in found if item is not None}

        return await self._run(lambda db: self._read(db, lambda: work(db)))

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        check_transaction(compares, operations)

        def work(db: sqlite3.Connection) -> Result:
            _expire(db, time.time())
            for compare in compares:
                items = _under(db, compare.key) if compare.prefix else [_live(db, compare.key)]
                if not all(holds(compare, item) for item in items):
                    return Result(succeeded=False, revision=_revision(db))
            for operation in operations:
                if isinstance(operation, Put) and operation.lease and not _lease_lives(db, operation.lease):
                    raise LeaseLost(f"lease {operation.lease} is gone")
            return Result(succeeded=True, revision=_carry_out(db, operations))

        return await self._write(work)

    async def watch(self, prefix: str, *, start_revision: int) -> AsyncIterator[Changes]:
        following = start_revision
        while True:
            changed = self._changed
            changes, newest = await self._run(lambda db, at=following: self._news(db, prefix, at))  # type: ignore[misc]
            for change in changes:
                yield change
            following = max(following, newest + 1)
            if not changes:
                try:
                    async with asyncio.timeout(_POLL_S):
                        await changed.wait()
                except TimeoutError:
                    pass

    async def grant(self, ttl_s: int) -> int:
        def work(db: sqlite3.Connection) -> int:
            cursor = db.execute("INSERT INTO leases (ttl_s, expires) VALUES (?, ?)", (ttl_s, time.time() + ttl_s))
            assert cursor.lastrowid is not None
            return cursor.lastrowid

        return await self._write(work)

    async def keep_alive(self, lease: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            now = time.time()
            _expire(db, now)
            cursor = db.execute("UPDATE leases SET expires = ? + ttl_s WHERE id = ?", (now, lease))
            if cursor.rowcount != 1:
                raise LeaseLost(f"lease {lease} is gone")

        await self._write(work)

    async def revoke(self, lease: int) -> None:
        await self._write(lambda db: _end_leases(db, [lease]))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._worker, self._disconnect)
            self._worker.shutdown(wait=False)
            self._changed.set()

    async def compact(self, revision: int) -> None:
        """Forget what was before a revision."""
        await self._write(lambda db: _compact(db, revision))

    # -- the worker

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def guarded() -> T:
            try:
                return work(self._connection())
            except StoreUnknown:
                self._disconnect()
                raise
            except sqlite3.Error as error:
                self._disconnect()
                raise _told(self._path, error) from error

        if self._closed:
            raise StoreDown(f"{self._path}: the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._worker, guarded)

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            db = sqlite3.connect(self._path, timeout=self._timeout_s, isolation_level=None)
            try:
                _check_format(self._path, db)
                _use_wal(db, until=time.monotonic() + self._timeout_s)
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(_SCHEMA)
            except (sqlite3.Error, StoreRefused):
                db.close()
                raise
            self._db = db
        return self._db

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _read(self, db: sqlite3.Connection, work: Callable[[], T]) -> T:
        """Read at one moment; what has expired is removed first, by a write of its own."""
        if _expired(db, time.time()):
            self._in_transaction(db, lambda db: _expire(db, time.time()))
        db.execute("BEGIN")
        try:
            return work()
        finally:
            db.execute("COMMIT")

    def _news(self, db: sqlite3.Connection, prefix: str, following: int) -> tuple[list[Changes], int]:
        return self._read(db, lambda: _since(db, prefix, following))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        result = await self._run(lambda db: self._in_transaction(db, work))
        self._changed.set()
        self._changed = asyncio.Event()
        return result

    def _in_transaction(self, db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work(db)
            try:
                db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                if "disk I/O error" in str(error):
                    # The commit may be in the log without being known to be on disk: after a crash it counts.
                    raise StoreUnknown(f"{self._path}: {error} at commit") from error
                raise
            return result
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _told(path: Path, error: sqlite3.Error) -> StoreDown | StoreRefused:
    """Return a failure with what mends it. Source of the codes: sqlite.org/rescode.html."""
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreDown(f"{path}: {error}: another process keeps it; find that process with: fuser -v {path}")
        case sqlite3.SQLITE_CANTOPEN if not path.parent.is_dir():
            return StoreDown(f"{path}: the directory {path.parent} is not there; mount it, or make it")
        case sqlite3.SQLITE_CANTOPEN if path.is_dir():
            return StoreRefused(f"{path} is a directory; name a file in it")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_READONLY:
            return StoreRefused(f"{path}: {error}; let the user that runs enactord read and write {path.parent}")
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"{path}: {error}; make room on that disk")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreRefused(
                f"{path}: {error}; the file is damaged and left as it is: move it away, then: enactorctl restore BACKUP"
            )
        case _:
            return StoreDown(f"{path}: {error}")


def _check_format(path: Path, db: sqlite3.Connection) -> None:
    """Refuse a file that another version has made. Raises `StoreRefused`."""
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, _FORMAT):
        raise StoreRefused(
            f"{path}: the file has format {found}, this version reads format {_FORMAT}:"
            f" start enactord of a version that writes format {found}"
        )


def _revision(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT revision FROM meta").fetchone()[0]
    return found


def _compacted(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT compacted FROM meta").fetchone()[0]
    return found


_LIVE = "SELECT key, value, created, modified, version, lease FROM live"


def _item(row: Sequence[Any]) -> Item:
    key, value, created, modified, version, lease = row
    return Item(
        key=key,
        value=bytes(value),
        create_revision=created,
        mod_revision=modified,
        version=version,
        lease=lease,
    )


def _live(db: sqlite3.Connection, key: str) -> Item | None:
    row = db.execute(f"{_LIVE} WHERE key = ?", (key,)).fetchone()
    return None if row is None else _item(row)


def _under(db: sqlite3.Connection, prefix: str) -> list[Item | None]:
    rows = db.execute(f"{_LIVE} WHERE key >= ? AND key < ?", (prefix, prefix_end(prefix)))
    return [_item(row) for row in rows]


def _range(db: sqlite3.Connection, start: str, end: str, revision: int, limit: int) -> Page:
    newest = _revision(db)
    where = "key >= ? AND key < ?" if end else "key = ?"
    bounds = (start, end) if end else (start,)
    most = limit + 1 if limit else -1
    if not revision or revision >= newest:
        rows = db.execute(f"{_LIVE} WHERE {where} ORDER BY key LIMIT ?", (*bounds, most)).fetchall()
    else:
        if revision < _compacted(db):
            raise Compacted(_compacted(db))
        rows = db.execute(
            f"SELECT key, value, created, revision, version, lease FROM history h WHERE {where} AND value IS NOT NULL"
            " AND revision = (SELECT max(revision) FROM history WHERE key = h.key AND revision <= ?)"
            " ORDER BY key LIMIT ?",
            (*bounds, revision, most),
        ).fetchall()
    items = tuple(_item(row) for row in rows)
    more = bool(limit) and len(items) > limit
    return Page(revision=revision or newest, items=items[:limit] if limit else items, more=more)


def _carry_out(db: sqlite3.Connection, operations: Sequence[Operation]) -> int:
    revision = _revision(db) + 1
    events = 0
    for operation in operations:
        if isinstance(operation, Put):
            old = _live(db, operation.key)
            created, version = (old.create_revision, old.version + 1) if old else (revision, 1)
            row = (operation.key, operation.value, created, revision, version, operation.lease)
            db.execute("INSERT OR REPLACE INTO live VALUES (?, ?, ?, ?, ?, ?)", row)
            db.execute(
                "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)",
                (revision, operation.key, operation.value, created, version, operation.lease),
            )
            events += 1
        else:
            found = _under(db, operation.key) if operation.prefix else [_live(db, operation.key)]
            for item in found:
                if item is not None:
                    db.execute("DELETE FROM live WHERE key = ?", (item.key,))
                    db.execute("INSERT INTO history VALUES (?, ?, NULL, 0, 0, 0)", (revision, item.key))
                    events += 1
    if not events:
        return revision - 1
    db.execute("UPDATE meta SET revision = ?", (revision,))
    if revision % _COMPACT_EVERY == 0:
        _compact(db, revision - _KEEP_REVISIONS)
    return revision


def _compact(db: sqlite3.Connection, revision: int) -> None:
    revision = min(revision, _revision(db))
    if revision <= _compacted(db):
        return
    db.execute(
        "DELETE FROM history WHERE revision <= ?1 AND (value IS NULL OR revision <"
        " (SELECT max(revision) FROM history n WHERE n.key = history.key AND n.revision <= ?1))",
        (revision,),
    )
    db.execute("UPDATE meta SET compacted = ?", (revision,))


def _since(db: sqlite3.Connection, prefix: str, following: int) -> tuple[list[Changes], int]:
    """Return what happened from a revision on, each revision whole, and the last revision looked at."""
    newest = _revision(db)
    if following > newest:
        return [], following - 1
    if following <= _compacted(db):
        raise Compacted(_compacted(db))
    history = "SELECT key, value, created, revision, version, lease FROM history WHERE key >= ? AND key < ?"
    bounds = (prefix, prefix_end(prefix))
    rows = db.execute(
        f"{history} AND revision >= ? ORDER BY revision, key LIMIT ?", (*bounds, following, _EVENTS_A_READ)
    ).fetchall()
    if len(rows) == _EVENTS_A_READ:
        first, last = rows[0][3], rows[-1][3]
        if first < last:
            # The last revision may have been cut: leave it to the next read.
            newest = last - 1
            rows = [row for row in rows if row[3] <= newest]
        else:
            # One revision that fills a read: a prefix was deleted, or a lease with many keys ended.
            newest = first
            rows = db.execute(f"{history} AND revision = ? ORDER BY key", (*bounds, first)).fetchall()
    by_revision: dict[int, list[KeyChange]] = {}
    for row in rows:
        event = KeyChange(key=row[0], item=None if row[1] is None else _item(row))
        by_revision.setdefault(row[3], []).append(event)
    return [Changes(revision=at, events=tuple(events)) for at, events in by_revision.items()], newest


def _lease_lives(db: sqlite3.Connection, lease: int) -> bool:
    return db.execute("SELECT 1 FROM leases WHERE id = ?", (lease,)).fetchone() is not None


def _use_wal(db: sqlite3.Connection, *, until: float) -> None:
    """Have the file keep a write-ahead log; several processes that open a new file try in turn.

    SQLite answers "locked" to this change at once, whatever the connection's time limit is.
    """
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
        time.sleep(_LOCKED_PAUSE_S)


def _expired(db: sqlite3.Connection, now: float) -> bool:
    return db.execute("SELECT 1 FROM leases WHERE expires < ? LIMIT 1", (now,)).fetchone() is not None


def _expire(db: sqlite3.Connection, now: float) -> None:
    _end_leases(db, [row[0] for row in db.execute("SELECT id FROM leases WHERE expires < ?", (now,))])


def _end_leases(db: sqlite3.Connection, leases: Sequence[int]) -> None:
    for lease in leases:
        keys = [row[0] for row in db.execute("SELECT key FROM live WHERE lease = ?", (lease,))]
        db.execute("DELETE FROM leases WHERE id = ?", (lease,))
        _carry_out(db, [Delete(key=key) for key in keys])
