"""What a verb talks to: tables for people, one JSON document for programs, a progress bar on stderr."""

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from enactord.daemon.operations import Denied

_WIDTH_PIPED = 4096
"""Off a terminal lines are never wrapped: programs and grep read them."""
_PROGRESS_AFTER_S = 1.0

STYLES = {
    "applied": "green",
    "pending": "yellow",
    "applying": "yellow",
    "behind": "yellow",
    "held": "red",
    "never opened": "dim",
}


def wants_json(context: click.Context | None = None) -> bool:
    """Whether --json was given, before or after the verb."""
    return bool((context or click.get_current_context()).meta.get("enactord.json"))


def console(*, stderr: bool = False) -> Console:
    """Return a console on the stream as it is now; colour on a terminal only."""
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=None if terminal else _WIDTH_PIPED)


def show(document: Any, people: Callable[[Console], None]) -> None:
    """Print the document for programs, or let `people` print it."""
    if wants_json():
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        people(console())


def warn(text: str) -> None:
    """Say something to people on stderr; programs find it in the document."""
    if not wants_json():
        console(stderr=True).print(Text("warning: ", style="yellow") + Text(text), soft_wrap=True)


def deny(denied: Denied) -> int:
    """Show refusals; returns the exit code of a "no"."""
    if wants_json():
        message = "; ".join(str(refusal) for refusal in denied.refusals)
        error = {"kind": "refused", "message": message} | denied.document()
        sys.stdout.write(json.dumps({"error": error}, indent=2, ensure_ascii=False) + "\n")
    else:
        out = console(stderr=True)
        for refusal in denied.refusals:
            out.print(Text("refused: ", style="bold red") + Text(str(refusal)), soft_wrap=True)
    return 1


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a plain table; a cell that names a state is coloured."""
    built = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        built.add_column(column, overflow="fold")
    for row in rows:
        texts = [str(cell) for cell in row]
        built.add_row(*(Text(text, style=STYLES.get(text, "")) for text in texts))
    return built


def when(seconds: float) -> str:
    """Return a time for people: UTC, to the second; "-" for none."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else "-"


def brief_content(content: dict[str, Any] | None) -> str:
    """Return a content in one line: TTL, addresses, weight."""
    if content is None:
        return "-"
    targets = content["targets"]
    usable = [target["address"] for target in targets if target["weight"]]
    some = " ".join(usable[:4]) + (" …" if len(usable) > 4 else "")
    weight = sum(target["weight"] for target in targets)
    return f"ttl {content['ttl_s']} s, {len(usable)} of {len(targets)} targets, weight {weight}: {some}"


class Bar:
    """A progress bar that shows itself on stderr once something has taken over a second."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console(stderr=True), transient=True)
        self._task = self._progress.add_task("working", total=None)
        self._timer = threading.Timer(_PROGRESS_AFTER_S, self._progress.start)
        self._timer.daemon = True

    def start(self) -> None:
        self._timer.start()

    def stop(self) -> None:
        self._timer.cancel()
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
    if sys.stderr.isatty() and not wants_json():
        bar.start()
    try:
        yield bar
    finally:
        bar.stop()
