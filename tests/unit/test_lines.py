"""The log's own writer: whoever writes a line neither waits nor fails, and each line is written or counted."""

import errno
import os
import threading
from collections.abc import Callable

import pytest

from enactord.telemetry.lines import ClosedSink, DescriptorSink, LineWriter

LIMIT_S = 20.0


class Disk:
    """A sink with so many bytes of room; then it fails until there is more."""

    def __init__(self, room: int | None = None, error: int = errno.ENOSPC) -> None:
        self.data = b""
        self.room = room
        self.error = error

    def write(self, data: bytes) -> int:
        taken = len(data) if self.room is None else min(self.room, len(data))
        if not taken:
            raise OSError(self.error, os.strerror(self.error))
        self.data += data[:taken]
        if self.room is not None:
            self.room -= taken
        return taken

    @property
    def lines(self) -> list[str]:
        return self.data.decode().splitlines()


class Stuck(Disk):
    """A sink that takes nothing until its reader reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.Event()
        self.asked = threading.Event()

    def write(self, data: bytes) -> int:
        self.asked.set()
        self.reading.wait(LIMIT_S)
        return super().write(data)


def until(what: Callable[[], object]) -> None:
    """Wait for a condition that another thread brings about, with a limit."""
    tick = threading.Event()
    for _ in range(int(LIMIT_S / 0.01)):
        if what():
            return
        tick.wait(0.01)
    raise AssertionError("did not come")


def test_lines_come_in_order_and_whole() -> None:
    """At the end all is written, and nothing is lost."""
    disk = Disk()
    lines = LineWriter(disk)
    wanted = [f"line {number}" for number in range(5000)]
    for line in wanted:
        lines.write(line + "\n")
    assert lines.close(LIMIT_S)
    assert disk.lines == wanted
    assert (lines.lost, lines.losing) == (0, "")


def test_a_reader_that_is_stuck_holds_up_nobody_and_the_gap_is_told_in_its_place() -> None:
    """What found room comes later, in order; then the number of lines that found none; then what came after."""
    pipe = Stuck()
    lines = LineWriter(pipe, lines_max=3, retry_s=0.01)
    lines.write("first\n")
    pipe.asked.wait(LIMIT_S)  # it waits for the reader with this line
    for number in range(10):
        lines.write(f"{number}\n")
    assert lines.lost == 7
    assert lines.losing == "nobody reads it, or its disk is too slow"
    pipe.reading.set()
    until(lambda: not lines.losing)
    lines.write("last\n")
    assert lines.close(LIMIT_S)
    told = "7 lines were lost: nobody reads it, or its disk is too slow"
    assert pipe.lines == ["first", "0", "1", "2", told, "last"]


def test_room_is_counted_in_bytes_too() -> None:
    """Few lines that are long take no more memory than many short ones."""
    pipe = Stuck()
    lines = LineWriter(pipe, bytes_max=100)
    lines.write("first\n")
    pipe.asked.wait(LIMIT_S)
    lines.write("x" * 60 + "\n")
    lines.write("y" * 60 + "\n")
    assert lines.lost == 1
    pipe.reading.set()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EPIPE, errno.EBADF, errno.EFBIG, errno.EDQUOT])
def test_a_sink_that_fails_costs_lines_and_nothing_else(error: int) -> None:
    """The cause is named while it lasts. Afterwards the log says by itself how many are missing."""
    disk = Disk(room=0, error=error)
    lines = LineWriter(disk, retry_s=0.01)
    for number in range(5):
        lines.write(f"{number}\n")
    until(lambda: lines.lost == 5)
    assert lines.losing == os.strerror(error)
    disk.room = None
    until(lambda: not lines.losing)  # though no further line comes
    lines.write("after\n")
    assert lines.close(LIMIT_S)
    assert disk.lines == [f"5 lines were lost: {os.strerror(error)}", "after"]


def test_a_line_cut_by_a_full_disk_ends_before_the_next() -> None:
    """Half a line counts as lost, and spoils no other: each later line is a line of its own."""
    disk = Disk(room=10)
    lines = LineWriter(disk, retry_s=0.01)
    lines.write("1234567\nabcdefg\n")  # as one line of two parts
    until(lambda: lines.lost == 1)
    disk.room = None
    until(lambda: not lines.losing)
    lines.close(LIMIT_S)
    assert disk.lines == ["1234567", "ab", "1 lines were lost: No space left on device"]


def test_the_end_waits_for_a_stuck_reader_no_longer_than_its_limit() -> None:
    """A stop that hangs would be killed by the service manager; what is left is known to be left."""
    pipe = Stuck()
    lines = LineWriter(pipe)
    lines.write("first\n")
    pipe.asked.wait(LIMIT_S)
    assert not lines.close(0.05)
    lines.write("too late\n")
    assert lines.lost == 1
    pipe.reading.set()


def test_any_text_is_written_in_any_encoding() -> None:
    """What the encoding lacks is escaped: an umlaut in ASCII, half a surrogate pair in UTF-8."""
    for encoding, text, shown in (
        ("ascii", "Störung ✓", r"St\xf6rung \u2713"),
        ("utf-8", "half \ud800", r"half \ud800"),
        ("latin-1", "漢", r"\u6f22"),
    ):
        disk = Disk()
        lines = LineWriter(disk, encoding=encoding)
        lines.write(text + "\n")
        assert lines.close(LIMIT_S)
        assert disk.lines == [shown]


def test_a_message_of_loss_that_fails_ends_nothing() -> None:
    """The thread outlives whatever goes wrong with one line."""
    disk = Disk(room=0)
    lines = LineWriter(disk, retry_s=0.01)
    lines.tell_lost = lambda lost, why: 1 / 0  # type: ignore[assignment,return-value]
    lines.write("a\n")
    until(lambda: lines.lost >= 1)
    disk.room = None
    lines.tell_lost = lambda lost, why: "lost"
    until(lambda: not lines.losing)
    lines.write("b\n")
    assert lines.close(LIMIT_S)
    assert disk.lines == ["lost", "b"]


def test_a_stderr_that_was_closed_counts_every_line_as_lost() -> None:
    """Nothing else is written to in its place."""
    lines = LineWriter(ClosedSink(), retry_s=0.01)
    lines.write("a\n")
    until(lambda: lines.lost == 1)
    assert "closed when enactord was started" in lines.losing


def test_a_pipe_that_another_process_made_non_blocking_is_waited_for() -> None:
    """Descriptors share that flag; a full pipe is then an error that passes, and no line is lost by it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    lines = LineWriter(DescriptorSink(writing))
    wanted = b"".join(b"%05d %s\n" % (number, b"x" * 100) for number in range(2000))
    for line in wanted.decode().splitlines(keepends=True):
        lines.write(line)
    read = b""
    while len(read) < len(wanted):
        read += os.read(reading, 65_536)
    assert lines.close(LIMIT_S)
    assert read == wanted
    assert lines.lost == 0
    os.close(reading)
    os.close(writing)
