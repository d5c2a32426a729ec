"""docs/mistakes.md: each mistake with the command that a person types, its exit code, and the message as it is."""

from collections.abc import Mapping

from tests.docs.markdown import block
from tests.mistakes.bench import Mistake, Said
from tests.mistakes.mistakes import DOCTOR, MISTAKES

_INTRODUCTION = """\
<!-- Made by `make mistakes` from what the programs say; do not edit. -->

# Mistakes, and what is said of them

{count} mistakes, made on purpose, each with what a person types, the exit code, and the message as it is. Each message
names the place (file, line, key, name or option) and what to type or to change. The config of the examples is
`enactord.toml` in the folder at hand.

`enactord check-config` starts nothing and asks nobody: it finds what is wrong in the files. What stands in the files
and is wrong all the same (a port, a key, a zone, rights) is found by `enactorctl doctor`, which asks the servers."""


def mistakes_page(said: Mapping[str, Said]) -> str:
    """Return the page. `said`: what was said of each mistake, by its title."""
    lines = _INTRODUCTION.format(count=len(said)).splitlines()
    for group, mistakes in MISTAKES.items():
        lines += ["", f"## {group}"]
        for mistake in mistakes:
            lines += ["", *entry(mistake, said[mistake.wrong])]
    return "\n".join(lines) + "\n"


def entry(mistake: Mistake, said: Said) -> list[str]:
    """Return the lines of one mistake."""
    found = "" if mistake.command != DOCTOR else "; `enactord check-config` finds nothing"
    return [f"**{mistake.wrong}** Exit code {said.code}{found}.", "", *block(f"$ {mistake.command}\n{said.text}")]
