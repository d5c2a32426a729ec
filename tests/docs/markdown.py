"""Tables and code in Markdown."""

from collections.abc import Iterable, Sequence

_BAR = r"\|"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [_row(cells) for cells in (head, ["---"] * len(head), *rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"


def code(text: object) -> str:
    """Return a text set as code, or nothing where it is empty."""
    return f"`{text}`" if str(text) else ""


def block(text: str) -> list[str]:
    """Return a text as a block of code."""
    return ["```", *text.splitlines(), "```"]
