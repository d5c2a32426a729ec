"""Text from outside made safe to show: what a terminal or a reader would obey or not see becomes an escape.

Authors, reasons, ids, file names and answers of servers can hold any character. A control character moves the
cursor or hides a line; a bidirectional control shows a text in another order; an invisible character makes two
different texts look alike. All of them are written as `\\u001b` is: the same form in a terminal, a log and JSON.

Source: Unicode 15.0, general categories Cc, Cf, Cs, Zl, Zp, and DerivedCoreProperties, Default_Ignorable_Code_Point.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)
_UNSAFE_IN_JSON = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
"""Without the line feed: in a JSON text it stands between values alone, never in a string."""
_UNSAFE_IN_LINES = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
"""Without the line feed and the tab."""
_DEPTH_MAX = 6
_LONGEST_INTEGER = 10**300
"""Python refuses to write integers of more than 4,300 digits."""


def visible(text: str, *, lines: bool = False) -> str:
    """Return a text in which nothing hides or acts; `lines`: line feeds and tabs stay as they are."""
    if text.isascii() and text.isprintable():
        return text
    if lines:
        return "\n".join(
            "\t".join(_UNSAFE.sub(_escape, cell) for cell in line.split("\t")) for line in text.split("\n")
        )
    return _UNSAFE.sub(_escape, text)


def json_text(document: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return a document as JSON that reads back the same and is safe to show: escapes stand in its strings.

    `ascii_only`: for a reader whose encoding is not UTF-8. Raises TypeError or ValueError where JSON has no form
    for a value.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(_escape, text)


def plain(value: Any, longest: int, entries: int, *, shown: Callable[[str], str] = str, depth: int = 0) -> Any:
    """Return any value as one that JSON has a form for, of bounded size; never raises.

    `longest`: characters of a text, `entries`: of a collection; what is beyond is left out, and said. `shown` is
    what becomes of each text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and abs(value) < _LONGEST_INTEGER:
        return value
    if isinstance(value, str):
        return shown(_cut(value, longest))
    if depth < _DEPTH_MAX and isinstance(value, Mapping):
        return _plain_mapping(value, longest, entries, shown, depth)
    if depth < _DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
        kept = [plain(each, longest, entries, shown=shown, depth=depth + 1) for each in list(value)[:entries]]
        return kept + ([f"… and {len(value) - entries} more"] if len(value) > entries else [])
    return shown(_cut(_repr(value), longest))


def _plain_mapping(
    value: Mapping[Any, Any], longest: int, entries: int, shown: Callable[[str], str], depth: int
) -> dict[str, Any]:
    kept = {
        shown(_cut(key if isinstance(key, str) else _repr(key), longest)): plain(
            each, longest, entries, shown=shown, depth=depth + 1
        )
        for key, each in list(value.items())[:entries]
    }
    return kept | ({"…": f"{len(value) - entries} more"} if len(value) > entries else {})


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def _escape(found: re.Match[str]) -> str:
    """Return a character as JSON writes it: beyond U+FFFF as the two halves of UTF-16."""
    code = ord(found.group())
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
