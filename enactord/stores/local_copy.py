"""An enactor's copy of what it needs with the store away: one SQLite file in its state directory."""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from enactord.core.errors import CopyUnreadable
from enactord.core.kv import Item

T = TypeVar("T")

COPY_NAME = "last-known-good.sqlite"
_FORMAT = 1
"""The format of the file, as its `user_version` says it; 0: no version has written to it yet."""
_COLUMNS = "key, value, created, modified, version"
_SCHEMA = (
    f"PRAGMA user_version = {_FORMAT}",
    "CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, value BLOB NOT NULL,"
    " created INTEGER, modified INTEGER, version INTEGER) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS chunks (digest TEXT PRIMARY KEY, packed BLOB NOT NULL) WITHOUT ROWID",
)
_DAMAGED = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Primary result codes that mean: not a copy of ours. Others (full, locked, I/O) may pass, and say nothing of what
stands there. Source: sqlite.org/rescode.html."""


def read_copy(state_dir: Path) -> tuple[list[Item], dict[str, bytes]]:
    """Return the items and chunks of an enactor's copy, which is left as it is, for commands.

    Raises `CopyUnreadable`: missing, damaged, or another version's.
    """
    path = state_dir / COPY_NAME
    try:
        if not path.is_file() or not path.stat().st_size:
            raise CopyUnreadable(
                f"{state_dir} holds no copy of an enactor ({COPY_NAME}); name the state_dir of an enactor"
            )
        if Path(f"{path}-journal").exists():
            return _recovered(path)
        with _connected(path, read_only=True) as db:
            return _contents(db)
    except _OtherFormat as error:
        raise CopyUnreadable(f"{path}: {error}: use the version that wrote it") from error
    except (sqlite3.Error, OSError) as error:
        raise CopyUnreadable(f"{path}: {error}") from error


def _recovered(path: Path) -> tuple[list[Item], dict[str, bytes]]:
    """Read a copy whose last save was cut off, from a copy of its own: what was cut off is undone there."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("", "-journal"):
            shutil.copyfile(f"{path}{part}", Path(folder) / f"{path.name}{part}")
        with _connected(Path(folder) / path.name) as db:
            return _contents(db)


class _OtherFormat(Exception):
    """The file is of another version: the format that it has, and what to say of it."""

    def __str__(self) -> str:
        return str(self.args[1])


def _contents(db: sqlite3.Connection) -> tuple[list[Item], dict[str, bytes]]:
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, _FORMAT):
        raise _OtherFormat(found, f"it has format {found}, this version reads format {_FORMAT}")
    rows = db.execute(f"SELECT {_COLUMNS} FROM items").fetchall()
    chunks = db.execute("SELECT digest, packed FROM chunks").fetchall()
    kinds = {tuple(map(type, row)) for row in rows} | {(*map(type, row), int, int, int) for row in chunks}
    if not kinds <= {(str, bytes, int, int, int)}:
        raise sqlite3.DatabaseError("a value of another type than was written")
    items = [
        Item(key=key, value=value, create_revision=created, mod_revision=modified, version=version)
        for key, value, created, modified, version in rows
    ]
    return items, dict(chunks)


class SqliteLocalCopy:
    """Implements `LocalCopy`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / COPY_NAME
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-copy")
        self._unread = False
        """What stands there could not be read: the next save replaces all of it."""

    async def load(self) -> tuple[list[Item], dict[str, bytes]]:
        return await self._run(self._load)

    async def save(
        self, items: Mapping[str, Item | None], chunks: Mapping[str, bytes], keep_chunks: Set[str] | None
    ) -> None:
        def work() -> None:
            try:
                self._save(items, chunks, keep_chunks)
            except sqlite3.DatabaseError as error:
                raise OSError(f"{self._path}: {error}") from error

        await self._run(work)

    async def close(self) -> None:
        """Wait for the last save."""
        await self._run(lambda: None)
        self._worker.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _load(self) -> tuple[list[Item], dict[str, bytes]]:
        try:
            return self._load_sound()
        except OSError as error:
            self._unread = True
            raise CopyUnreadable(f"{self._path}: {error}; it counts as empty") from error

    def _load_sound(self) -> tuple[list[Item], dict[str, bytes]]:
        try:
            if not self._path.exists() or (self._path.is_file() and not self._path.stat().st_size):
                return [], {}
            if not self._path.is_file():
                raise CopyUnreadable(self._set_aside("damaged", "it is no file"))
            with _connected(self._path) as db:
                return _contents(db)
        except _OtherFormat as error:
            found, why = error.args
            raise CopyUnreadable(self._set_aside(f"format-{found}", why)) from error
        except sqlite3.DatabaseError as error:
            # An error of Python's own sqlite3 has no code: it could not make sense of what it read.
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DAMAGED:
                raise CopyUnreadable(self._set_aside("damaged", str(error))) from error
            self._unread = True
            raise CopyUnreadable(f"{self._path}: {error}; it counts as empty") from error

    def _set_aside(self, suffix: str, why: str) -> str:
        """Move the copy out of the way without deleting it; returns what to tell."""
        for part in ("", "-journal", "-wal", "-shm"):
            file = Path(f"{self._path}{part}")
            if file.exists():
                file.replace(f"{self._path}.{suffix}{part}")
        return f"{self._path} was moved to {self._path.name}.{suffix}, and counts as empty: {why}"

    def _save(
        self, items: Mapping[str, Item | None], chunks: Mapping[str, bytes], keep_chunks: Set[str] | None
    ) -> None:
        with _connected(self._path) as db:
            db.execute("PRAGMA journal_mode = TRUNCATE")
            db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                db.execute(statement)
            if self._unread:
                db.execute("DELETE FROM items")
                db.execute("DELETE FROM chunks")
            for key, item in items.items():
                if item is None:
                    db.execute("DELETE FROM items WHERE key = ?", (key,))
                else:
                    row = (key, item.value, item.create_revision, item.mod_revision, item.version)
                    db.execute(f"INSERT OR REPLACE INTO items ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)
            db.executemany("INSERT OR REPLACE INTO chunks (digest, packed) VALUES (?, ?)", chunks.items())
            if keep_chunks is not None:
                known = [row[0] for row in db.execute("SELECT digest FROM chunks")]
                unused = [(digest,) for digest in known if digest not in keep_chunks]
                db.executemany("DELETE FROM chunks WHERE digest = ?", unused)
            db.execute("COMMIT")
        self._unread = False


class _connected:
    """A connection for one piece of work; rolled back where it is left half way.

    With a rollback journal, not a write-ahead log: to read one needs room on the disk, for
    its shared memory, and the copy is wanted most where things go wrong.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        where = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        self._db = sqlite3.connect(where, uri=True, isolation_level=None, timeout=5.0)

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._db.execute("PRAGMA synchronous = FULL")
        except BaseException:
            self._db.close()
            raise
        return self._db

    def __exit__(self, *exc: object) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._db.close()
