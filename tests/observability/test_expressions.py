"""Expressions taken apart: what is asked of Prometheus in place of a condition, and what is read out of it."""

import pytest

from tests.observability.expressions import labels_made, labels_named, loosened, metrics_named, selectors
from tests.observability.site import Site


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("max by (zone) (a) > 0", "max by ( zone ) ( a ) > bool 0"),
        ("a == bool 1", "a == bool 1"),
        ('a unless on (scope) b{c!="d"} == 1', 'a and on ( scope ) b { c != "d" } == bool 1'),
        ("absent(up)", "count ( up )"),
        ("a offset 5m < b", "a < bool b"),
        ("rate(a[5m]) # a > b\n/ 2", "rate ( a [ 5m ] ) / 2"),
    ],
)
def test_conditions_are_taken_out_and_names_stay(expression: str, expected: str) -> None:
    """A comparison becomes 0 or 1, what is ruled out is wanted, and the past is now; matchers are left alone."""
    assert loosened(expression) == expected


def test_selectors_are_found_one_by_one() -> None:
    """Of alternatives each by itself; functions, labels, words and strings of the language are none."""
    expression = 'sum by (zone) (rate(a{kind=~"x|y", zone=~".*"}[5m])) / on (zone) group_left () count_values("v", b)'
    assert selectors(expression) == ['a{kind="x",zone=~".*"}', 'a{kind="y",zone=~".*"}', "b{}"]
    assert metrics_named(expression) == {"a", "b"}
    assert labels_named(expression) == {"zone"}
    assert labels_made(expression) == {"v"}


@pytest.mark.parametrize(
    "wrong",
    [
        "max by (scope) (enactord_frozed) == 1",
        'max by (scope) (enactord_endpoints{state="helt"}) > 0',
        "enactord_store_up == 0 and on (zone) enactord_zone_up == 1",
        "enactord_plans unless on (scope) enactord_frozed == 1",
        "absent(upp)",
    ],
)
def test_an_expression_with_a_wrong_name_says_nothing(site: Site, wrong: str) -> None:
    """On the real Prometheus; otherwise the tests of alerts and dashboards could not fail."""
    site.until(lambda: site.prometheus.query("enactord_zone_up"))
    assert site.prometheus.query(loosened(wrong)) == []
