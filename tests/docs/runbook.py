"""The runbook as tests read it: its sections, and the commands in them."""

import re

from tests.docs.cli import PROGRAMS
from tests.docs.reference import ROOT

RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"
TEXT = RUNBOOK.read_text(encoding="utf-8")


def sections(level: int) -> dict[str, str]:
    """Return the sections of a level of headings, by title."""
    found = re.split(rf"^{'#' * level} (.+)$", TEXT, flags=re.MULTILINE)
    return {
        title: re.split(r"^#+ ", body, flags=re.MULTILINE)[0]
        for title, body in zip(found[1::2], found[2::2], strict=True)
    }


def commands(text: str) -> list[str]:
    """Return the lines and spans of code that call a program of ours, without their comments."""
    spans = re.findall(r"`([^`\n]+)`", text)
    lines = [
        line for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for line in block.splitlines()
    ]
    called = [line.partition(" -- ")[2] or line for line in (*spans, *lines)]
    plain = [line.partition("  #")[0].strip() for line in called]
    return [line for line in plain if line.partition(" ")[0] in PROGRAMS and " " in line]
