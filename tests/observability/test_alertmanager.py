"""A cause silences its effects, in a real Alertmanager, and nothing silences what clients suffer from."""

import re
import subprocess
import time
from typing import Any

import pytest
import yaml

from tests.observability.rules import ALERTS, DIRECTORY, cases
from tests.servers.alertmanager import Alertmanager
from tests.servers.web_server import program

EXAMPLE = DIRECTORY / "alertmanager.example.yml"
CONFIG: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
NEVER_SILENCED = {"EnactordEndpointEmpty", "EnactordGenerationWentBack"}
_LIMIT_S = 20.0


def named(matchers: list[str]) -> list[str]:
    """Return the alerts that matchers name."""
    found = [re.fullmatch(r'alertname =~? "?([\w|]+)"?', matcher) for matcher in matchers]
    return [name for match in found if match is not None for name in match[1].split("|")]


def narrowed(matchers: list[str]) -> dict[str, str]:
    """Return the labels besides the name that matchers ask for."""
    found = [re.fullmatch(r"(\w+) = (\w+)", matcher) for matcher in matchers]
    return {match[1]: match[2] for match in found if match is not None and match[1] != "alertname"}


PAIRS = [
    (cause, effect, tuple(rule.get("equal", ())), narrowed(rule["source_matchers"]))
    for rule in CONFIG["inhibit_rules"]
    for cause in named(rule["source_matchers"])
    for effect in named(rule["target_matchers"])
]


def labels_of(alert: str, place: str) -> dict[str, str]:
    """Return the labels with which an alert fires, as its own case says, moved to a place of a test's own."""
    fires = (case["exp_alerts"] for case in cases() if case["alertname"] == alert and case["exp_alerts"])
    labels: dict[str, str] = next(fires)[0]["exp_labels"]
    moved = {key: place for key in labels if key in ("scope", "zone", "instance", "use")}
    return {"alertname": alert, **labels, **moved}


def test_the_example_is_accepted() -> None:
    """By amtool; each alert that it names exists, and has the labels by which cause and effect are compared."""
    done = subprocess.run([program("amtool"), "check-config", EXAMPLE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert PAIRS
    assert {name for cause, effect, *_ in PAIRS for name in (cause, effect)} <= ALERTS.keys()
    for cause, effect, equal, asked in PAIRS:
        assert asked.keys() <= labels_of(cause, "x").keys(), (cause, asked)
        for label in equal:
            assert label in labels_of(cause, "x"), (cause, label)
            assert label in labels_of(effect, "x"), (effect, label)
    assert not NEVER_SILENCED & {effect for _, effect, *_ in PAIRS}


def test_no_alert_silences_its_own_cause() -> None:
    """Two that silence each other would both be unheard."""
    assert not {(effect, cause) for cause, effect, *_ in PAIRS} & {(cause, effect) for cause, effect, *_ in PAIRS}


def test_each_cause_silences_its_effects_and_those_of_no_other_place() -> None:
    """Pair by pair, each in a place of its own; the same effect elsewhere, and the causes, are heard."""
    fired: list[dict[str, str]] = []
    silenced: list[dict[str, str]] = []
    for number, (cause, effect, equal, asked) in enumerate(PAIRS):
        if not equal:
            continue  # of no place: tried below
        here, elsewhere = f"here-{number}", f"elsewhere-{number}"
        fired += [labels_of(cause, here) | asked, labels_of(effect, here), labels_of(effect, elsewhere)]
        silenced.append(labels_of(effect, here))
    with Alertmanager(EXAMPLE) as manager:
        manager.fire([*fired, {"alertname": "EnactordHeartbeat", "severity": "none"}])
        deadline = time.monotonic() + _LIMIT_S
        while True:
            found = {frozenset(one["labels"].items()): bool(one["status"]["inhibitedBy"]) for one in manager.alerts()}
            quiet = {labels for labels, inhibited in found.items() if inhibited}
            if len(found) == len({frozenset(one.items()) for one in fired}) + 1 and len(quiet) == len(silenced):
                break
            assert time.monotonic() < deadline, (len(found), len(quiet), len(silenced))
            time.sleep(0.2)
        assert quiet == {frozenset(labels.items()) for labels in silenced}
        manager.fire([{"alertname": "EnactordAbsent", "severity": "critical"}])
        effects = {effect for _, effect, equal, _ in PAIRS if not equal}
        while {one["labels"]["alertname"] for one in manager.alerts() if not one["status"]["inhibitedBy"]} & effects:
            assert time.monotonic() < deadline + _LIMIT_S
            time.sleep(0.2)


@pytest.mark.parametrize("alert", sorted(NEVER_SILENCED))
def test_what_clients_suffer_from_is_always_heard(alert: str) -> None:
    """Beside every other alert in the same place."""
    with Alertmanager(EXAMPLE) as manager:
        manager.fire([labels_of(name, "here") for name in ALERTS])
        deadline = time.monotonic() + _LIMIT_S
        while len(found := manager.alerts()) < len(ALERTS):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        (mine,) = (one for one in found if one["labels"]["alertname"] == alert)
        assert mine["status"]["inhibitedBy"] == []
        assert sum(bool(one["status"]["inhibitedBy"]) for one in manager.alerts()) > len(ALERTS) // 4
