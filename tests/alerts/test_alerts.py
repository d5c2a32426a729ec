"""A few faults on real scopes: what is told first names the cause. `make alerts` makes all of them."""

import re

import pytest

from tests.alerts.faults import TRIALS
from tests.alerts.page import PAGE, TOLD_MAX
from tests.alerts.run import hear_all
from tests.observability.rules import ALERTS, BY_LOAD

pytestmark = pytest.mark.timeout(300)

SHORT = ("primary stopped",)
"""That of the everyday suite: a cause with effects."""
_BUSY = BY_LOAD | {"EnactordDown"}
"""What a busy machine may bring about by itself; none of these faults ends an enactor."""
_AFTERWARDS_S = 8.0
_FAULTS_MIN, _NAMED_MIN = 30, 0.9


def test_what_is_told_first_names_the_cause() -> None:
    """And few alerts come."""
    heard = {each.fault: each.without(_BUSY) for each in hear_all(SHORT, at_once=1, afterwards_s=_AFTERWARDS_S)}
    assert heard.keys() == set(SHORT)
    for each in heard.values():
        assert each.names_the_cause, each
        assert len(each.alerts) <= TOLD_MAX, each


def test_each_fault_says_which_alert_names_it() -> None:
    """An alert that exists, and as many faults as the promise is of."""
    assert len(TRIALS) >= _FAULTS_MIN
    assert {trial.alert for trial in TRIALS.values()} <= ALERTS.keys()


def test_the_page_is_of_these_faults() -> None:
    """Each has its row, in order; nearly all are named by what is told first, and no row has too many messages."""
    rows = re.findall(r"^\| (.+?) \| (.*?) \| (yes|\*\*no\*\*) \| (\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [fault for fault, *_ in rows] == list(TRIALS), "run: make alerts"
    named = [fault for fault, first, yes, _ in rows if yes == "yes" and first.startswith(f"[{TRIALS[fault].alert}]")]
    assert len(named) >= _NAMED_MIN * len(rows)
    assert max(int(count) for *_, count in rows) <= TOLD_MAX
