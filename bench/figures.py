"""Statistics of a few rounds: medians, spread, quantiles, and ratios of rounds that ran side by side."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A median, and the range that the rounds lay in."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and greatest of some rounds (at least one)."""
    assert values
    return Spread(statistics.median(values), min(values), max(values), len(values))


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed (nearest rank)."""
    assert values
    assert 0 < share <= 1, share
    return sorted(values)[math.ceil(share * len(values)) - 1]


def paired_ratio(values: Sequence[float], base: Sequence[float]) -> Spread | None:
    """Return the ratio of each round to the same round of the base: what slowed both cancels out.

    Rounds that only one of the two has are left out. None where no pair is left, or a base is zero.
    """
    pairs = list(zip(values, base, strict=False))
    if not pairs or any(below == 0 for _, below in pairs):
        return None
    return spread([value / below for value, below in pairs])


def significant(value: float, digits: int = 3) -> str:
    """Return a number for people: so many significant digits, no exponent, thousands set apart."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"
