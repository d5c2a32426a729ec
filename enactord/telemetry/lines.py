"""Lines for a log that may stop taking them: a bounded queue, and a thread that alone waits for the reader.

Whoever writes a line neither waits nor fails. A pipe that nobody reads, a full disk, a reader that has gone: lines
are lost then, and counted. The gap is told at its place in the log as soon as a line can be written again.

The descriptor stays as it was found. Making it non-blocking would change it for every process that shares it.
"""

import errno
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

LINES_MAX = 10_000
BYTES_MAX = 4 * 1024 * 1024
RETRY_S = 1.0
"""So often a loss that could not be told is tried again while no line comes."""
_AT_ONCE_BYTES = 64 * 1024
_POLL_MS = 1000
_NOBODY_READS = "nobody reads it, or its disk is too slow"


class Sink(Protocol):
    """Where lines go."""

    def write(self, data: bytes) -> int:
        """Take some of the bytes, and return how many. May block. Raises OSError."""
        ...


class DescriptorSink:
    """A file, pipe, socket or terminal by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another process made it non-blocking
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll(_POLL_MS)


class ClosedSink:
    """Stands for a descriptor that was closed when the process began."""

    def write(self, data: bytes) -> int:
        raise OSError(errno.EBADF, "it was closed when enactord was started (nowhere is 2>/dev/null)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    data: bytes
    lost_before: int
    """Lines that found no room since the line before."""


class LineWriter:
    """Takes lines, at once and always; writes them when it can. Safe to use from any thread."""

    def __init__(
        self,
        sink: Sink,
        *,
        encoding: str = "utf-8",
        terminal: bool = False,
        lines_max: int = LINES_MAX,
        bytes_max: int = BYTES_MAX,
        retry_s: float = RETRY_S,
    ) -> None:
        self.lost = 0
        """Lines that were not written, since the start."""
        self.losing = ""
        """Why lines are lost now; empty once the loss stands in the log."""
        self.tell_lost: Callable[[int, str], str] = lambda lost, why: f"{lost} lines were lost: {why}"
        """Makes the line, without its end, that stands where others are missing."""
        self._sink = sink
        self._encoding = encoding
        self._terminal = terminal
        self._lines_max = lines_max
        self._bytes_max = bytes_max
        self._retry_s = retry_s
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[_Line] = deque()
        self._bytes = 0
        self._no_room = 0
        """Lines that found no room, not yet told by any line in the queue."""
        self._untold = 0
        """Lines lost whose place in the log is now; the thread's own."""
        self._torn = False
        """Whether the last bytes that were written end in the middle of a line."""
        self._closed = False
        self._thread: threading.Thread | None = None

    def isatty(self) -> bool:
        return self._terminal

    def write(self, line: str) -> None:
        """Take a line with its end. Where there is no room for it, it is counted as lost."""
        data = line.encode(self._encoding, "backslashreplace")
        with self._changed:
            full = len(self._waiting) >= self._lines_max or self._bytes + len(data) > self._bytes_max
            if full or self._closed or not self._started():
                self._no_room += 1
                self.lost += 1
                self.losing = self.losing or _NOBODY_READS
                return
            self._waiting.append(_Line(data=data, lost_before=self._no_room))
            self._no_room = 0
            self._bytes += len(data)
            self._changed.notify()

    def close(self, limit_s: float) -> bool:
        """Write what waits, for so long at most; returns whether all was written."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is None:
            return not self.losing
        thread.join(limit_s)
        return not thread.is_alive() and not self.losing

    def _started(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads may be started: the next line tries again
                return False
            self._thread = thread
        return True

    # -- in the thread

    def _run(self) -> None:
        while True:
            lines, closed = self._take()
            try:
                self._write_lines(lines)
            except Exception as error:  # a line must never be the last because of what it holds
                self._lose(len(lines), repr(error))
            if closed and not lines:
                return

    def _take(self) -> tuple[list[_Line], bool]:
        """Wait for lines, or for the time to try again; returns them, and whether no more will come."""
        taken: list[_Line] = []
        size = 0
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(self._retry_s if self.losing else None)
            while self._waiting and size < _AT_ONCE_BYTES and not (taken and self._waiting[0].lost_before):
                line = self._waiting.popleft()
                taken.append(line)
                size += len(line.data)
            self._bytes -= size
            if not taken:
                self._untold += self._no_room
                self._no_room = 0
            return taken, self._closed

    def _write_lines(self, lines: list[_Line]) -> None:
        if lines:
            self._untold += lines[0].lost_before
        if self._untold:
            told = self.tell_lost(self._untold, self.losing)
            data = f"{told}\n".encode(self._encoding, "backslashreplace")
            if self._put(data) < len(data):
                self._lose(len(lines), self.losing)
                return
            self._untold = 0
            with self._changed:
                if not self._no_room and not any(line.lost_before for line in self._waiting):
                    self.losing = ""
        done = self._put(b"".join(line.data for line in lines))
        whole = 0
        for line in lines:
            if done < len(line.data):
                break
            done -= len(line.data)
            whole += 1
        if whole < len(lines):
            self._lose(len(lines) - whole, self.losing)

    def _put(self, data: bytes) -> int:
        """Write bytes; returns how many were taken before the sink failed."""
        done = 0
        try:
            if data and self._torn:
                self._sink.write(b"\n")
                self._torn = False
            while done < len(data):
                done += self._sink.write(data[done:])
        except OSError as error:
            self._torn = self._torn or (done > 0 and data[done - 1 : done] != b"\n")
            self.losing = error.strerror or str(error)
        return done

    def _lose(self, lines: int, why: str) -> None:
        with self._changed:
            self.lost += lines
            self._untold += lines
            self.losing = why


def stderr_writer() -> LineWriter:
    """Return a writer to where stderr leads now, whatever becomes of descriptor 2 later."""
    try:
        descriptor = os.dup(2) if sys.stderr is not None else -1
    except OSError:
        descriptor = -1
    if descriptor < 0:
        return LineWriter(ClosedSink())
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return LineWriter(DescriptorSink(descriptor), encoding=encoding, terminal=os.isatty(descriptor))
