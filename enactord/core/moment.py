"""Moments as people write and read them; inside they are seconds since the epoch."""

import re
from datetime import UTC, datetime

_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhd])\Z")
AT_MAX = 1e11
"""Moments are below this: later ones nobody can write as a date."""
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def utc(seconds: float) -> str:
    """Return a moment in ISO 8601, in UTC, to the second; "-" for none (0)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else "-"


def parse_span(text: str) -> float:
    """Return a span of time in seconds: "90s", "15m", "3h". Raises ValueError."""
    span = _AGO.match(text.strip())
    if span is None:
        raise ValueError(f"{text[:40]!r} is no span of time: give it as 90s, 15m, 3h")
    return float(span[1]) * _UNITS_S[span[2]]


def parse_moment(text: str, now: float) -> float:
    """Return the moment of a text: ISO 8601 ("2026-10-19T23:48Z"; UTC where it names no zone), or a time ago ("90m").

    Raises ValueError.
    """
    ago = _AGO.match(text.strip())
    try:
        if ago is not None:
            seconds = now - float(ago[1]) * _UNITS_S[ago[2]]
        else:
            moment = datetime.fromisoformat(text.strip())
            seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
        utc(seconds)  # a year that nobody can write
        if seconds < 0:
            raise ValueError
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text[:40]!r} is no time: give it in ISO 8601, as 2026-10-19T23:48Z, or how long ago, as 90s, 15m, 3h, 2d"
        ) from None
    return seconds
