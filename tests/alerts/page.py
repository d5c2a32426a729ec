"""docs/alerts.md: each fault with what people were told, in order."""

from collections.abc import Mapping
from pathlib import Path

from tests.alerts.faster import FACTOR
from tests.alerts.faults import TRIALS
from tests.alerts.run import NOTHING, Heard
from tests.alerts.scope import Told
from tests.docs.markdown import table

PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"
TOLD_MAX = 3
"""More alerts than these about a single fault would hide its cause."""
_HEAD = ("fault", "told first", "of the cause", "alerts", "all that were told, after so many minutes")
_INTRODUCTION = f"""\
# What alerts tell of single faults

Each fault is made on a scope of its own: three enactors that apply plans, a planner that publishes one a minute, etcd,
a primary and a secondary that is verified. The primary is BIND where no other server is named. The rules are those of
`deploy/prometheus/enactord.rules.yml`. A real Prometheus evaluates them over what the enactors serve at `/metrics`. A
real Alertmanager sends messages, by `deploy/prometheus/alertmanager.example.yml`. What it silences is not told.

The clocks of Prometheus and the Alertmanager run {FACTOR} times as fast: every `for`, window, interval and age in rules
and config is divided. Minutes below are theirs. Enactors and servers run at their own speed, so effects come later
against their causes than in production. `tests/alerts/faster.py` says exactly what is divided.

An alert *is of the cause* if its name, its labels or its text say what is wrong. `tests/alerts/faults.py` declares for
each fault which alert that is. Alerts are counted by name: those of three enactors come in one message.
"""


def page(heard: Mapping[str, Heard]) -> str:
    """Return the page of what was heard, by fault."""
    of_faults = [heard[fault] for fault in TRIALS]
    named = sum(each.names_the_cause for each in of_faults)
    most = max(len(each.alerts) for each in of_faults)
    lines = ["<!-- Made by `make alerts`; do not edit. -->", "", *_INTRODUCTION.splitlines(), ""]
    lines += [
        f"**{named} of {len(of_faults)} faults are named by what is told first. At most {most} alerts come of one.**",
        _calm(heard[NOTHING]),
        "",
        *table(_HEAD, [_row(each) for each in of_faults]),
        "",
        "Why an alert counts as the cause's, where others could be thought of:",
        "",
        *(f"- {fault}: {trial.why}." for fault, trial in TRIALS.items() if trial.why),
    ]
    return "\n".join(lines) + "\n"


def _calm(heard: Heard) -> str:
    if not heard.told:
        return "Where nothing is wrong, nothing is told."
    return f"Where nothing is wrong, this is told: {', '.join(heard.alerts)}."


def _row(heard: Heard) -> list[str]:
    first = heard.told[0] if heard.told else None
    return [
        heard.fault,
        f"{_link(first.name)}: {_text(first)}" if first else "nothing",
        "yes" if heard.names_the_cause else "**no**",
        str(len(heard.alerts)),
        ", ".join(f"{name} {_minutes(heard, name)}" for name in heard.alerts),
    ]


def _link(name: str) -> str:
    return f"[{name}](../deploy/RUNBOOK.md#{name.lower()})"


def _minutes(heard: Heard, name: str) -> str:
    return f"{min(told.at for told in heard.told if told.name == name) / 60:.1f}"


def _text(told: Told) -> str:
    """Return the summary, with a name in place of the address of a test's server."""
    text = told.summary
    for label, name in (("instance", "ENACTOR"), ("server", "SERVER")):
        if label in told.labels:
            text = text.replace(told.labels[label], name)
    return text
