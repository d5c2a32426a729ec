"""Moments as people write them."""

import pytest

from enactord.core.moment import parse_moment, utc

NOW = 1_792_453_680.0  # 2026-10-19T23:48:00Z


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-19T23:48Z", NOW),
        ("2026-10-19T23:48:00", NOW),
        ("2026-10-20T01:48+02:00", NOW),
        ("20261019T234800Z", NOW),
        ("0s", NOW),
        ("90s", NOW - 90),
        (" 15m ", NOW - 900),
        ("1.5h", NOW - 5400),
        ("2d", NOW - 172_800),
    ],
)
def test_a_moment_is_iso_8601_or_how_long_ago(text: str, moment: float) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-05:00",
        "0001-01-01T00:00+05:00",
        "1960-01-01",
        "999999999d",
        "",
        "yesterday",
        "15",
        "-15m",
        "15 weeks",
        "9999999999d",
        "2026-13-01",
        "m",
        "é",
    ],
)
def test_what_is_no_moment_is_told_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601, as 2026-10-19T23:48Z, or how long ago"):
        parse_moment(text, NOW)


def test_a_moment_is_shown_in_utc() -> None:
    assert utc(NOW) == "2026-10-19T23:48:00Z"
    assert utc(0) == "-"
