"""The embedded server's state directory: what was acknowledged is there, whatever the crash left behind."""

import shutil
from pathlib import Path

import pytest

from enactord.dns_server.journal import Journal, StateDamaged, StateInUse
from enactord.dns_server.zone import EMPTY, NS, SOA, TXT, A, Node, RRset, new_zone
from tests.embedded_lab import ZONE, apply, look_up, put, serial, serving, texts, update

ORIGIN = b"\4test\0"


def node(number: int) -> Node:
    return {A: RRset(number, (number.to_bytes(4, "big"), b"\0\0\0\0")), TXT: RRset(5, (b"\1x",))}


def name(number: int) -> bytes:
    return b"\4" + f"{number:04}".encode() + ORIGIN


def reopened(state_dir: Path) -> dict[bytes, dict[bytes, Node]]:
    journal = Journal(state_dir)
    try:
        return journal.open()
    finally:
        journal.close()


def written(state_dir: Path, count: int) -> list[int]:
    """Append entries, each with one name; return the size of the journal after each."""
    journal = Journal(state_dir)
    journal.open()
    sizes = []
    for number in range(count):
        journal.append({ORIGIN: {name(number): node(number)}})
        sizes.append(journal.size)
    journal.close()
    return sizes


def test_entries_and_removals_are_read_back(tmp_path: Path) -> None:
    """The last content of a name counts; an empty node removes it."""
    written(tmp_path, 3)
    journal = Journal(tmp_path)
    journal.open()
    journal.append({ORIGIN: {name(0): EMPTY, name(1): node(7)}, b"\0": {b"\0": node(1)}})
    journal.close()
    assert reopened(tmp_path) == {ORIGIN: {name(1): node(7), name(2): node(2)}, b"\0": {b"\0": node(1)}}


def test_a_torn_end_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    """Every prefix of a journal gives exactly the entries that are whole in it, and can be appended to."""
    sizes = written(tmp_path / "whole", 3)
    content = (tmp_path / "whole" / "journal").read_bytes()
    for cut in range(len(content) + 1):
        state_dir = tmp_path / "cut"
        state_dir.mkdir()
        (state_dir / "journal").write_bytes(content[:cut])
        whole = sum(size <= cut for size in sizes)
        assert len(reopened(state_dir).get(ORIGIN, {})) == whole
        journal = Journal(state_dir)
        journal.open()
        journal.append({ORIGIN: {name(9): node(9)}})
        journal.close()
        assert len(reopened(state_dir)[ORIGIN]) == whole + 1
        shutil.rmtree(state_dir)


def test_garbage_at_the_end_is_cut_off(tmp_path: Path) -> None:
    """A last entry whose blocks did not all reach the disk is as good as none."""
    sizes = written(tmp_path, 2)
    content = bytearray((tmp_path / "journal").read_bytes())
    content[sizes[0] + 20 :] = bytes(len(content) - sizes[0] - 20 + 4096)
    (tmp_path / "journal").write_bytes(content)
    assert list(reopened(tmp_path)[ORIGIN]) == [name(0)]
    assert (tmp_path / "journal").stat().st_size == sizes[0]


def test_damage_before_a_whole_entry_is_refused(tmp_path: Path) -> None:
    """To cut the journal there would lose updates that were acknowledged; every byte is covered."""
    sizes = written(tmp_path, 2)
    content = (tmp_path / "journal").read_bytes()
    for position in range(sizes[0]):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        (tmp_path / "journal").write_bytes(damaged)
        with pytest.raises(StateDamaged, match="journal"):
            reopened(tmp_path)
        assert (tmp_path / "journal").read_bytes() == damaged  # left as it is, for a person to look at


def test_a_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    """A snapshot is written whole or not at all, so a broken one is damage."""
    journal = Journal(tmp_path)
    journal.open()
    journal.snapshot({ORIGIN: {name(1): node(1)}})
    journal.close()
    content = (tmp_path / "snapshot").read_bytes()
    for position in range(len(content)):
        (tmp_path / "snapshot").write_bytes(
            content[:position] + bytes((content[position] ^ 1,)) + content[position + 1 :]
        )
        with pytest.raises(StateDamaged, match="snapshot"):
            reopened(tmp_path)
    (tmp_path / "snapshot").write_bytes(content[:-1])
    with pytest.raises(StateDamaged, match="snapshot"):
        reopened(tmp_path)


def test_a_crash_between_snapshot_and_emptying_the_journal_is_harmless(tmp_path: Path) -> None:
    """Entries that the snapshot holds already are skipped; later ones are not."""
    written(tmp_path, 2)
    before = (tmp_path / "journal").read_bytes()
    journal = Journal(tmp_path)
    zones = journal.open()
    zones[ORIGIN][name(0)] = node(50)  # so that a replay of the old entry would show
    journal.snapshot(zones)
    assert journal.size == 0
    journal.close()
    (tmp_path / "journal").write_bytes(before)
    journal = Journal(tmp_path)
    assert journal.open()[ORIGIN] == {name(0): node(50), name(1): node(1)}
    journal.append({ORIGIN: {name(2): node(2)}})
    journal.close()
    assert reopened(tmp_path)[ORIGIN] == {name(0): node(50), name(1): node(1), name(2): node(2)}


def test_a_journal_that_does_not_continue_its_snapshot_is_refused(tmp_path: Path) -> None:
    """A missing entry means that files of different times were put together."""
    sizes = written(tmp_path, 3)
    content = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(content[sizes[0] :])
    with pytest.raises(StateDamaged, match="entry 1 is missing"):
        reopened(tmp_path)


def test_a_state_directory_belongs_to_one_process(tmp_path: Path) -> None:
    """Two journals in one directory would overwrite each other."""
    journal = Journal(tmp_path)
    journal.open()
    with pytest.raises(StateInUse, match="another process"):
        Journal(tmp_path).open()
    journal.close()
    reopened(tmp_path)


def test_a_new_zone_has_only_its_apex() -> None:
    """A zone starts with SOA and NS."""
    zone = new_zone("Example.Test", "ns.example.test", 5)
    assert set(zone.node(zone.origin)) == {SOA, NS}
    assert len(zone) == 1


async def test_zones_live_on_across_restarts(tmp_path: Path) -> None:
    """Serial and records are as they were; a zone that is not served any more keeps its content for later."""
    async with serving(tmp_path, zones=[ZONE, "other.test."]) as server:
        await put(server, "www 5 A 192.0.2.1", "gone 5 A 192.0.2.1", 'txt 5 TXT "a b" c', f"cn 5 CNAME www.{ZONE}")
        message = update()
        message.delete("gone")
        message.replace("www", 6, "A", "192.0.2.2")
        assert await apply(server, message) == "NOERROR"
        message = update("other.test.")
        message.add("kept", 5, "A", "192.0.2.3")
        assert await apply(server, message) == "NOERROR"
    async with serving(tmp_path) as server:
        assert await serial(server) == 3
        assert texts(await look_up(server, f"cn.{ZONE}"))[1:] == [f"www.{ZONE} 6 IN A 192.0.2.2"]
        assert texts(await look_up(server, f"txt.{ZONE}", "TXT")) == [f'txt.{ZONE} 5 IN TXT "a b" "c"']
        assert not (await look_up(server, f"gone.{ZONE}")).answer
        assert not (await look_up(server, "kept.other.test.")).answer
        await put(server, "more 5 A 192.0.2.4")
    async with serving(tmp_path, zones=["other.test.", "third.test."]) as server:
        assert len((await look_up(server, "kept.other.test.")).answer) == 1
    async with serving(tmp_path) as server:
        assert await serial(server) == 4
        assert (await look_up(server, f"more.{ZONE}")).answer


async def test_the_journal_is_emptied_into_snapshots(tmp_path: Path) -> None:
    """Its size stays bounded over many updates, and nothing is lost."""
    async with serving(tmp_path, journal_bytes_max=2000) as server:
        for number in range(200):
            await put(server, f"n{number % 20} 5 TXT {number}")
            assert (tmp_path / "journal").stat().st_size < 2 * 20 * 300 + 4000
    async with serving(tmp_path) as server:
        assert await serial(server) == 201
        for number in range(20):
            found = texts(await look_up(server, f"n{number}.{ZONE}", "TXT"))
            assert len(found) == 10
            assert f'n{number}.{ZONE} 5 IN TXT "{180 + number}"' in found
    assert (tmp_path / "snapshot").stat().st_size > 1000


async def test_a_failing_disk_acknowledges_nothing(tmp_path: Path) -> None:
    """An update that could not be put on disk is SERVFAIL, is not served, and none is accepted after it."""
    async with serving(tmp_path, problems=1) as server:
        await put(server, "www 5 A 192.0.2.1")
        journal = server._journal
        assert journal is not None
        kept, journal._file = journal._file, -1  # a file that takes no writes any more
        message = update()
        message.add("www", 5, "A", "192.0.2.2")
        assert await apply(server, message) == "SERVFAIL"
        journal._file = kept
        assert await apply(server, message) == "SERVFAIL"
        assert len((await look_up(server, f"www.{ZONE}")).answer[0]) == 1
        assert await serial(server) == 2
    async with serving(tmp_path) as server:
        assert await apply(server, message) == "NOERROR"


async def test_a_damaged_directory_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """The server does not start, and holds neither port nor directory."""
    async with serving(tmp_path):
        pass
    (tmp_path / "snapshot").write_bytes(b"nonsense")
    with pytest.raises(StateDamaged, match="snapshot"):
        async with serving(tmp_path):
            pass
    (tmp_path / "snapshot").unlink()
    async with serving(tmp_path):
        pass
