"""Characters that nobody sees, or that a terminal obeys: what no output may hold."""

import unicodedata

HIDING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: controls, formats, lone surrogates, separators of lines and paragraphs."""


def hidden(text: str, but: str = "") -> list[str]:
    """Return the characters of a text that hide or act, but for some."""
    return [c for c in text if unicodedata.category(c) in HIDING and c not in but]
