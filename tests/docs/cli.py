"""docs/cli.md: what `--help` says of every command."""

from collections.abc import Iterator

import click

from enactord.cli.ctl import main as enactorctl
from enactord.cli.daemon import main as enactord
from planner_stub.cli import main as planner_stub
from tests.docs.markdown import block

PROGRAMS = {"enactord": enactord, "enactorctl": enactorctl, "planner-stub": planner_stub}
_WIDTH = 100
_INTRODUCTION = """\
# Commands

Exit codes: 0 ok; 1 the answer is "no" (a refusal, a failed check, drift); 2 wrong usage or config; 3 the store,
a server or the enactor cannot be reached. With `--json` each command prints one JSON document, errors too."""


def cli_page() -> list[str]:
    """Return the lines of the page."""
    lines = _INTRODUCTION.splitlines()
    for program, command in PROGRAMS.items():
        for context, text in _helps(command, program, None):
            lines += ["", f"{'##' if context.parent is None else '###'} `{context.command_path}`", "", *block(text)]
    return lines


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[click.Context, str]]:
    """Yield the context and help of a command and of all beneath it."""
    width = _WIDTH if parent is None else None  # those beneath inherit it
    context = click.Context(command, parent=parent, info_name=name, terminal_width=width, max_content_width=width)
    yield context, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            if not found.hidden:
                yield from _helps(found, child, context)
