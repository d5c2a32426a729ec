"""watch: what happens in the scope, as it happens."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import anywhere, examples, translate
from enactord.cli.source import read
from enactord.cli.terminal import show_line, wants_json, write, write_json
from enactord.core.errors import EnactordError
from enactord.operations.news import follow_news

if TYPE_CHECKING:
    from enactord.cli.opening import Tools
    from enactord.cli.remote import Remote


@click.command(epilog=examples("enactorctl watch\nenactorctl watch --for 60 --json"))
@click.option("--for", "for_s", metavar="SECONDS", type=click.FloatRange(min=0), help="Stop after so long.")
@anywhere
def watch(for_s: float | None) -> int:
    """Print plans published, fences opened, plans applied, endpoints held, freezes, until Ctrl-C.

    With --json the document is one array, written an event a line as they happen. Over HTTP, what the enactor itself
    saw is told besides: names put back, a store or a server that went away.
    """
    lines = _Lines(as_json=wants_json())
    try:
        read(partial(_from_enactor, lines, for_s), partial(_from_store, lines, for_s))
    except KeyboardInterrupt:
        pass
    except EnactordError as error:
        problem = translate(error)
        if problem is None or not lines.begun:
            raise
        lines.write({"event": "error", "severity": "error", "kind": problem.kind, "text": problem.message})
        lines.end()
        return problem.code
    lines.end()
    return 0


class _Lines:
    """Writes events, for people or as one JSON array that grows."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._count = 0

    @property
    def begun(self) -> bool:
        """Whether a program has read part of a document already."""
        return self._json and self._count > 0

    def write(self, event: dict[str, Any]) -> None:
        self._count += 1
        if self._json:
            write_json(event, before="[\n" if self._count == 1 else ",\n")
            return
        time = datetime.now(UTC).strftime("%H:%M:%S")
        style = {"warning": "yellow", "error": "red"}.get(event["severity"], "")
        show_line((f"{time}  {event['text']}", style))

    def end(self) -> None:
        if self._json:
            write("[]\n" if self._count == 0 else "\n]\n")


def _from_enactor(lines: _Lines, for_s: float | None, enactor: "Remote") -> None:
    with closing(enactor.news(for_s)) as news:
        for event in news:
            lines.write(event)


async def _from_store(lines: _Lines, for_s: float | None, tools: "Tools") -> None:
    try:
        async with asyncio.timeout(for_s):
            async for event in follow_news(tools.scope):
                lines.write(event)
    except TimeoutError:
        return
