"""A real Prometheus scrapes real enactors: every expression finds its series, and real faults raise their alerts."""

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.observability import site as faults
from tests.observability.evaluating import has_something_to_say
from tests.observability.rules import BY_LOAD, EXPRESSIONS
from tests.observability.site import Site
from tests.servers.web_server import program


def test_nothing_is_wrong_where_nothing_is_wrong(site: Site) -> None:
    """Plans were applied by three enactors, and no alert is active but the heartbeat; every rule can be evaluated."""
    site.until(lambda: site.prometheus.query("min(enactord_last_verified_timestamp_seconds) > 0"))
    site.until(lambda: all(rule["health"] == "ok" for rule in site.prometheus.rules()))
    site.until(lambda: site.prometheus.alerts().keys() - BY_LOAD == {"EnactordHeartbeat"})
    assert len(site.prometheus.rules()) == len(EXPRESSIONS)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_each_rule_has_something_to_say(site: Site, name: str) -> None:
    """With its condition taken out it returns numbers; each of its selectors finds series, with the labels it names."""
    has_something_to_say(site, EXPRESSIONS[name])


def test_metrics_keep_to_the_rules_of_the_trade(site: Site) -> None:
    """`promtool check metrics` finds nothing to say about a real page."""
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=site.get("a", "metrics"), capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("fault", "alerts"),
    [
        # First, since it goes on firing for a while, and since what is emptied below is repaired in the end, too.
        (faults.emptied_for_a_moment, {"EnactordRepairs"}),
        (faults.frozen, {"EnactordFrozen"}),
        (faults.emptied, {"EnactordEndpointEmpty", "EnactordEndpointsDrifted"}),
        (faults.fence_lost, {"EnactordFenceLost"}),
        (faults.held, {"EnactordEndpointsHeld"}),
        (faults.refused, {"EnactordPlanRefused"}),
        (faults.config_refused, {"EnactordConfigRefused"}),
        (faults.certificate_of_two_weeks, {"EnactordCertificateExpiresSoon"}),
        (faults.certificate_short_lived, {"EnactordCertificateExpires"}),
        (faults.enactor_killed, {"EnactordDown"}),
        (faults.store_killed, {"EnactordStoreDown"}),
        (faults.server_killed, {"EnactordZoneDown"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_real_fault_raises_its_alert(
    site: Site, fault: Callable[[Site], AbstractContextManager[None]], alerts: set[str]
) -> None:
    """It is active while the fault lasts: firing, or waiting for its time to be up; and it was not before."""
    site.until(lambda: not alerts & site.prometheus.alerts().keys())
    with fault(site):
        site.until(lambda: alerts <= site.prometheus.alerts().keys())
