"""Statistics of rounds: what the tables say must follow from the rounds."""

import pytest

from bench.figures import paired_ratio, quantile, significant, spread


def test_a_spread_is_median_least_and_greatest() -> None:
    """An outlier moves the range, not the median."""
    assert spread([3.0, 1.0, 100.0]) == (3.0, 1.0, 100.0, 3)
    assert spread([1.0, 2.0]).median == 1.5


@pytest.mark.parametrize(("share", "wanted"), [(0.01, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_a_quantile_is_a_value_that_was_seen(share: float, wanted: int) -> None:
    """Nearest rank: at least that share of the values does not exceed it."""
    assert quantile(list(range(100, 0, -1)), share) == wanted


def test_a_ratio_is_the_median_of_the_ratios_of_rounds() -> None:
    """A round in which the machine was twice as slow for both leaves the ratio as it is."""
    ratio = paired_ratio([3.0, 6.0, 3.3], [1.0, 2.0, 1.0])
    assert ratio is not None
    assert ratio.median == 3.0
    assert (ratio.low, ratio.high, ratio.rounds) == (3.0, 3.3, 3)


def test_rounds_that_only_one_has_are_left_out() -> None:
    """One candidate may have sat out the last rounds."""
    assert paired_ratio([2.0, 2.0, 50.0], [1.0, 1.0]) == (2.0, 2.0, 2.0, 2)


def test_there_is_no_ratio_to_nothing() -> None:
    """No round in common, or a base of zero: no figure rather than a wrong one."""
    assert paired_ratio([], [1.0]) is None
    assert paired_ratio([1.0], [0.0]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.012345, "0.0123"), (1.0, "1.00"), (12.345, "12.3"), (999.6, "1,000"), (43_210.7, "43,211")],
)
def test_numbers_keep_three_digits_and_no_exponent(value: float, text: str) -> None:
    """As people read them."""
    assert significant(value) == text
