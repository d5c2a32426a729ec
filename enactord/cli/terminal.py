"""All that a program prints: tables for people, one JSON document for programs, words on stderr, a progress bar.

Nothing else writes to stdout or stderr. What stands here keeps three promises. Text from outside is made visible.
A deed that was carried out never fails because its answer cannot be written. And a word on stderr never waits long.
"""

import errno
import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from enactord.core.contribution import mark_of
from enactord.core.visible import json_text, plain, visible
from enactord.telemetry.lines import ClosedSink, DescriptorSink, LineWriter, Sink

if TYPE_CHECKING:
    from enactord.operations.scope import Denied

_WIDTH_PIPED = 4096
"""Off a terminal lines are never wrapped: programs and grep read them."""
_WORD_MAX = 254
"""Longest word of a table that is never broken: a name."""
_PROGRESS_AFTER_S = 1.0
_WORD_LIMIT_S = 2.0
"""So long a word on stderr waits for its reader."""
_PLAIN = (100_000, 1_000_000)
"""Bounds of what is shown of a document that has no JSON form."""

STYLES = {
    "applied": "green",
    "pending": "yellow",
    "applying": "yellow",
    "behind": "yellow",
    "held": "red",
    "never opened": "dim",
}


class Untold(Exception):
    """An answer could not be written. Not an OSError, which would be the world's answer to what was asked."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.left = error.errno == errno.EPIPE
        """Whether the reader has gone, as `head` does once it has enough."""


class Out:
    """What people read, a line or a table at a time."""

    def __init__(self, stream: TextIO | None) -> None:
        self._kept = io.StringIO()
        terminal = _on_terminal(stream)
        self._console = Console(
            file=self._kept,
            force_terminal=terminal or None,
            highlight=False,
            markup=False,
            emoji=False,
            width=None if terminal else _WIDTH_PIPED,
        )

    def line(self, *parts: str | tuple[str, str]) -> None:
        """Print one line, whatever the parts hold; a part with a style is (text, style)."""
        text = Text()
        for part in parts:
            said, style = (part, "") if isinstance(part, str) else part
            text.append(visible(said), style or None)
        self._console.print(text, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a plain table; a cell that names a state is coloured.

        No word is broken, so that a name can be copied from it: only a column of several words wraps, between them.
        Where a terminal is too narrow for that, lines go on beyond its edge.
        """
        shown = [[visible(str(cell)) for cell in row] for row in rows]
        built = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        needed = 0
        for place, column in enumerate(columns):
            words = [(column, *row[place].split()) for row in shown]
            longest = min(_WORD_MAX, max((len(word) for some in words for word in some), default=len(column)))
            built.add_column(column, overflow="fold", min_width=longest)
            needed += longest + 2
        for texts in shown:
            built.add_row(*(Text(text, style=STYLES.get(text, "")) for text in texts))
        self._console.print(built, width=max(self._console.width, needed), crop=False)

    def text(self) -> str:
        """Return all that was printed, as it goes to the stream."""
        return self._kept.getvalue()


People = Callable[[Out], None]


def prepare() -> None:
    """Make the streams fit for any text, and the descriptors 0, 1 and 2 taken. To be called once, at the start.

    A descriptor that the caller closed would else be given to the next file or socket, and a library that writes to
    "stderr" would write into the plan store.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")


def wants_json(context: click.Context | None = None) -> bool:
    """Whether --json was given, before or after the verb."""
    return bool((context or click.get_current_context()).meta.get("enactord.json"))


def show(document: Any, people: People) -> None:
    """Print the answer to a question: for programs the document, else what `people` prints. Raises `Untold`."""
    write(_rendered(lambda: document, people))


def tell_done(document: Callable[[], Any], people: People) -> None:
    """Print what was carried out. That it cannot be printed changes nothing: it is said on stderr, if it can be."""
    try:
        write(_rendered(document, people))
    except Untold as error:
        complain(("note: ", "yellow"), f"what was asked was carried out; its answer could not be written: {error}")


def _rendered(document: Callable[[], Any], people: People) -> str:
    """Return an answer as text, in a plainer form where the right one fails."""
    try:
        if wants_json():
            return _json(document())
        out = Out(sys.stdout)
        people(out)
        return out.text()
    except Exception as error:
        complain(("note: ", "yellow"), f"the answer is shown in a plain form, since it could not be shown: {error!r}")
    try:
        return _json(document())
    except Exception as error:
        return f"done; no more can be shown: {visible(repr(error))}\n"


def _json(document: Any) -> str:
    ascii_only = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    try:
        return json_text(document, indent=2, ascii_only=ascii_only) + "\n"
    except (TypeError, ValueError, RecursionError):
        return json_text(plain(document, *_PLAIN), indent=2, ascii_only=ascii_only) + "\n"


def write_json(document: Any, *, before: str = "", after: str = "") -> None:
    """Print part of a document that grows, on one line. Raises `Untold`."""
    ascii_only = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    write(before + json_text(document, ascii_only=ascii_only) + after)


def show_line(*parts: str | tuple[str, str]) -> None:
    """Print one line for people. Raises `Untold`."""
    write(rendered_line(*parts))


def rendered_line(*parts: str | tuple[str, str]) -> str:
    """Return a line for people as it goes to stdout."""
    out = Out(sys.stdout)
    out.line(*parts)
    return out.text()


def write(text: str | bytes) -> None:
    """Write to stdout all that is given, and to its end. Raises `Untold`."""
    stream = sys.stdout
    if stream is None:
        raise Untold(OSError(errno.EBADF, "stdout is closed"))
    with _told(stream):
        if isinstance(text, str):
            stream.write(text)
        else:
            stream.flush()
            stream.buffer.write(text)
        stream.flush()


def flush() -> None:
    """Have all that was printed written, by click too. Raises `Untold`."""
    stream = sys.stdout
    if stream is not None:
        with _told(stream):
            stream.flush()  # and no more: to write nothing at all fails on a full disk


@contextmanager
def _told(stream: TextIO) -> Iterator[None]:
    """Turn a failure to write into `Untold`."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: closed by somebody else in this process
        _discard(stream)
        raise Untold(error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))) from error


def _discard(stream: TextIO) -> None:
    """Let go of what a stream still holds: the interpreter would try it again at its end, and exit with 120."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def complain(*parts: str | tuple[str, str]) -> None:
    """Say one line on stderr. It never fails; where nobody reads, it is given up after a moment."""
    out = Out(sys.stderr)
    out.line(*parts)
    complain_text(out.text())


def complain_text(text: str) -> None:
    """Say lines that are safe to show on stderr; see `complain`."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        with suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()
        return
    data = text.encode(stream.encoding or "utf-8", "backslashreplace")
    end = time.monotonic() + _WORD_LIMIT_S
    with suppress(OSError):
        while data and _takes(descriptor, max(0.0, end - time.monotonic())):
            data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]


def _takes(descriptor: int, limit_s: float) -> bool:
    """Whether a descriptor takes some bytes at once, or within a time."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT)
    return bool(waiting.poll(limit_s * 1000))


def warn(text: str) -> None:
    """Say something to people on stderr; programs find it in the document."""
    if not wants_json():
        complain(("warning: ", "yellow"), text)


def note(text: str) -> None:
    """Say beside an answer what is no part of it, to people on stderr."""
    if not wants_json():
        complain(text)


def agrees(question: str) -> bool:
    """Ask a person who sits at a terminal; where nobody does, the command itself is the answer."""
    if wants_json() or not (_on_terminal(sys.stdin) and _on_terminal(sys.stderr)):
        return True
    complain((question, "yellow"), " [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def deny(denied: "Denied") -> int:
    """Show refusals; returns the exit code of a "no"."""
    if wants_json():
        message = "; ".join(str(refusal) for refusal in denied.refusals)
        show_error({"kind": "refused", "message": message} | denied.document())
    else:
        for refusal in denied.refusals:
            complain(("refused: ", "bold red"), str(refusal))
        if denied.kept:
            mark = mark_of(denied.kept)
            complain(f"it is kept as {mark}; see it: enactorctl diff {mark}")
            complain(f'publish exactly this: enactorctl publish --approve {mark} --reason "…"')
    return 1


def show_error(error: dict[str, Any]) -> None:
    """Print an error as the document that programs read; the exit code says it where that fails."""
    try:
        write(_json({"error": error}))
    except Untold as untold:
        complain(("error: ", "red"), f"{error['message']} (stdout could not be written: {untold})")


@contextmanager
def lines_beside(limit_s: float = _WORD_LIMIT_S) -> Iterator[LineWriter]:
    """Yield a way to stdout for work that must go on whoever reads; at the end it waits for so long at most."""
    stream = sys.stdout
    sink: Sink
    try:
        sink = ClosedSink() if stream is None else DescriptorSink(os.dup(stream.fileno()))
    except (OSError, ValueError, AttributeError):
        sink = _StreamSink(stream)
    lines = LineWriter(sink, encoding=getattr(stream, "encoding", None) or "utf-8", terminal=_on_terminal(stream))
    try:
        yield lines
    finally:
        lines.close(limit_s)


class _StreamSink:
    """A stream without a descriptor."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        self._stream.write(data.decode(self._stream.encoding or "utf-8"))
        self._stream.flush()
        return len(data)


def _on_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def brief_content(content: dict[str, Any] | None) -> str:
    """Return a content in one line: TTL, addresses, weight."""
    if content is None:
        return "-"
    if "malformed" in content:
        return f"malformed: {content['malformed']}"
    targets = content["targets"]
    usable = [target["address"] for target in targets if target["weight"]]
    some = " ".join(usable[:4]) + (" …" if len(usable) > 4 else "")
    weight = sum(target["weight"] for target in targets)
    return f"ttl {content['ttl_s']} s, {len(usable)} of {len(targets)} targets, weight {weight}: {some}"


class _Steady(io.StringIO):
    """A terminal for the progress bar, of which a picture is left out when it does not take it at once."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return _on_terminal(self._stream)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            if self._stream is not None and _takes(self._stream.fileno(), 0):
                self._stream.write(text)
                self._stream.flush()
        return len(text)


class Bar:
    """A progress bar that shows itself on stderr once something has taken over a second."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        console = Console(file=_Steady(sys.stderr), highlight=False, markup=False, emoji=False)
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("working", total=None)
        self._timer = threading.Timer(_PROGRESS_AFTER_S, self._progress.start)
        self._timer.daemon = True

    def start(self) -> None:
        with suppress(RuntimeError):  # no more threads may be started: it goes without
            self._timer.start()

    def stop(self) -> None:
        self._timer.cancel()
        if self._progress.live.is_started:  # else it would end a line that was never begun
            self._progress.stop()

    def stage(self, name: str) -> None:
        """Begin a stage of unknown length."""
        self._progress.update(self._task, description=name, total=None)

    def advance(self, done: int, total: int) -> None:
        """So much is done, of so much."""
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def progress(description: str) -> Iterator[Bar]:
    """Show a bar while something lasts; on a terminal only."""
    bar = Bar()
    bar.stage(description)
    if _on_terminal(sys.stderr) and not wants_json():
        bar.start()
    try:
        yield bar
    finally:
        bar.stop()
