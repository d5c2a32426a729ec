"""The copy on local disk, on disks that are full, locked or damaged: it is never lost for what may pass."""

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from enactord.core.errors import CopyUnreadable
from enactord.core.kv import Item
from enactord.stores.local_copy import SqliteLocalCopy

NAME = "last-known-good.sqlite"


def items(*keys: str, size: int = 10) -> dict[str, Item | None]:
    return {key: Item(key=key, value=b"v" * size, create_revision=1, mod_revision=2, version=3) for key in keys}


@pytest.fixture
async def copy(tmp_path: Path) -> AsyncIterator[SqliteLocalCopy]:
    made = SqliteLocalCopy(tmp_path)
    yield made
    await made.close()


async def reopened(path: Path) -> tuple[list[str], list[str]]:
    """What an enactor that starts now finds: keys and digests."""
    copy = SqliteLocalCopy(path)
    found, chunks = await copy.load()
    await copy.close()
    return sorted(item.key for item in found), sorted(chunks)


async def test_what_is_saved_is_found_again(copy: SqliteLocalCopy, tmp_path: Path) -> None:
    """Items put and removed, chunks kept or dropped; nothing where nothing was saved."""
    assert await copy.load() == ([], {})
    await copy.save(items("a", "b"), {"x": b"1", "y": b"2"}, None)
    await copy.save({"a": None} | items("c"), {"z": b"3"}, {"y", "z"})
    assert await reopened(tmp_path) == (["b", "c"], ["y", "z"])


_ON_A_FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from tests.chaos.test_local_copy import reopened
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
print(asyncio.run(reopened(Path(sys.argv[1]))))
"""


async def test_a_copy_is_read_on_a_full_disk(copy: SqliteLocalCopy, tmp_path: Path) -> None:
    """Started where not a byte can be written, an enactor has its copy, and it stays where it is."""
    await copy.save(items("a"), {"x": b"1"}, None)
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "(['a'], ['x'])\n", done.stderr
    assert await reopened(tmp_path) == (["a"], ["x"])


async def test_a_save_without_room_leaves_the_copy_as_it_was(copy: SqliteLocalCopy, tmp_path: Path) -> None:
    """It raises OSError, and the next one that has room succeeds."""
    await copy.save(items("a"), {}, None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(OSError, match=r"full|I/O"):
            await copy.save(items("b", size=1_000_000), {}, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await reopened(tmp_path) == (["a"], [])
    await copy.save(items("b", size=1_000_000), {}, None)
    assert await reopened(tmp_path) == (["a", "b"], [])


@pytest.mark.parametrize("there", [b"no database at all " * 100, b"SQLite format 3\0" + b"\xff" * 4096])
async def test_a_damaged_copy_is_set_aside(copy: SqliteLocalCopy, tmp_path: Path, there: bytes) -> None:
    """It counts as none, and is kept for whoever wants to know what happened to it."""
    (tmp_path / NAME).write_bytes(there)
    with pytest.raises(CopyUnreadable, match=r"moved to .*\.damaged"):
        await copy.load()
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == there
    await copy.save(items("a"), {}, None)
    assert await reopened(tmp_path) == (["a"], [])


async def test_a_copy_that_could_not_be_read_is_replaced_whole(copy: SqliteLocalCopy, tmp_path: Path) -> None:
    """What nobody could read must not come back beside what is saved later: it may hold what is long gone."""
    await copy.save(items("old"), {"x": b"1"}, None)
    with sqlite3.connect(tmp_path / NAME, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CopyUnreadable, match="locked"):
            await copy.load()
        other.execute("ROLLBACK")
    other.close()
    assert not list(tmp_path.glob("*.damaged*"))
    await copy.save(items("new"), {}, None)
    assert await reopened(tmp_path) == (["new"], [])


def changed(path: Path, statement: str) -> None:
    with sqlite3.connect(path / NAME) as other:
        other.execute(statement)
    other.close()


async def test_a_copy_of_another_format_is_set_aside(copy: SqliteLocalCopy, tmp_path: Path) -> None:
    """It is kept for the version that wrote it, and both numbers are told."""
    await copy.save(items("a"), {"x": b"1"}, None)
    changed(tmp_path, "PRAGMA user_version = 2")
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(CopyUnreadable, match="it has format 2, this version reads format 1"):
        await copy.load()
    assert (tmp_path / f"{NAME}.format-2").read_bytes() == before
    await copy.save(items("b"), {}, None)
    assert await reopened(tmp_path) == (["b"], [])


async def test_a_column_that_this_version_does_not_know_changes_nothing(copy: SqliteLocalCopy, tmp_path: Path) -> None:
    """A version that only adds to the table leaves a copy that this version reads and writes."""
    await copy.save(items("a"), {"x": b"1"}, None)
    changed(tmp_path, "ALTER TABLE items ADD COLUMN checksum TEXT")
    assert await reopened(tmp_path) == (["a"], ["x"])
    await copy.save(items("b"), {}, None)
    assert await reopened(tmp_path) == (["a", "b"], ["x"])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET value = 'a text'",
        "UPDATE items SET modified = NULL",
        "UPDATE items SET created = 'abc'",
        "UPDATE chunks SET packed = 'a text'",
    ],
)
async def test_a_copy_with_values_of_another_type_is_set_aside(
    copy: SqliteLocalCopy, tmp_path: Path, statement: str
) -> None:
    """No value that this version would not have written comes into the engine."""
    await copy.save(items("a"), {"x": b"1"}, None)
    changed(tmp_path, statement)
    with pytest.raises(CopyUnreadable, match="another type"):
        await copy.load()
    assert await reopened(tmp_path) == ([], [])


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_what_is_no_file_is_set_aside(
    copy: SqliteLocalCopy, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """A pipe or a folder in place of the copy neither blocks a start nor ends it."""
    make(tmp_path / NAME)
    with pytest.raises(CopyUnreadable, match="it is no file"):
        await copy.load()
    await copy.save(items("a"), {}, None)
    assert await reopened(tmp_path) == (["a"], [])
