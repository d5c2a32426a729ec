"""The commands of the runbook, each with the section that it stands in.

Every line of a fenced block is a command. Of the spans of code in the text, those are commands that begin with the name
of a program; what else has several words is listed in `OTHER_WORDS`, so that no new command can hide among them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.docs.runbook import TEXT

_CONFIGURED = "chmod chown curl df dig enactord enactorctl etcdctl export install journalctl kubectl ls openssl python3"
PROGRAMS = frozenset(f"{_CONFIGURED} systemctl systemd-sysusers systemd-tmpfiles tsig-keygen".split())
"""What a span of code begins with if it is a command."""
OTHER_WORDS = {
    "[store] url": "a key of the config",
    "[enactor] id": "a key of the config",
    "[repair] interval_s": "a key of the config",
    'server = ["192.0.2.1:53", "192.0.2.2:53"]': "a line of the config",
    "second_person true": "a line of what a command prints",
    "Broken pipe": "an error",
    "No space left on device": "an error",
    "Input/output error": "an error",
    "--to-time 15m": "an option of the command before it",
}
"""Spans of several words that are no commands, and what they are."""
INTRODUCTION = "Runbook"
"""The title, and so the section of what stands before the first alert."""


@dataclass(frozen=True, slots=True, order=True)
class Command:
    """A command line, without its comment, and the title of its section."""

    section: str
    line: str


def runbook_commands(text: str = TEXT) -> list[Command]:
    """Return every command of a runbook in the order of the text, as often as it stands there.

    Raises `AssertionError` for a span of several words that is neither a command nor one of `OTHER_WORDS`.
    """
    found = []
    for title, body, block in _parts(text):
        if block:
            found += [Command(title, line) for line in map(without_comment, body.splitlines()) if line]
            continue
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", body)]
        found += [Command(title, span) for span in spans if is_command(span)]
    return found


def is_command(span: str) -> bool:
    """Whether a span of code is a command; a single word never is: a program's name does not say what to type."""
    program, _, arguments = span.partition(" ")
    if not arguments or span in OTHER_WORDS:
        return False
    assert program in PROGRAMS, f"`{span}`: enter {program} in PROGRAMS, or all of it in OTHER_WORDS"
    return True


def without_comment(line: str) -> str:
    """Return a line of a block without the comment that two spaces set apart."""
    return re.sub(r"(^|\s\s)#.*$", "", line).strip()


def _parts(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the parts of a text in order: title of the section, body, and whether it is a fenced block."""
    title = ""
    for number, part in enumerate(re.split(r"^```\w*\n", text, flags=re.MULTILINE)):
        if number % 2:
            yield title, part, True
            continue
        before, *rest = re.split(r"^#+ (.+)$", part, flags=re.MULTILINE)
        yield title, before, False
        for heading, body in zip(rest[::2], rest[1::2], strict=True):
            title = heading
            yield title, body, False
