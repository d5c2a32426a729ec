"""Events become log lines and metrics, and every metric is set by something."""

import asyncio
import io
import json
import time
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from enactord.core import events
from enactord.daemon.http import standing
from enactord.telemetry.lag import watch_lag
from enactord.telemetry.log import LogObserver, make_logger
from enactord.telemetry.metrics import Metrics
from tests.world import ZONE, World, fleet, plan

HELD = events.EndpointHeld(zone=ZONE, generation=2, name="a.test.", guard="velocity", detail="x")


def test_a_line_is_one_document_named_by_its_event() -> None:
    """Machines read the log: one JSON object a line, the event's id under `event`, its severity as level."""
    stream = io.StringIO()
    LogObserver(make_logger("info", "", stream, enactor="a")).observe(HELD)
    line = json.loads(stream.getvalue())
    assert line["event"] == "endpoint.held"
    assert line["level"] == "warning"
    assert (line["name"], line["guard"], line["enactor"], line["generation"]) == ("a.test.", "velocity", "a", 2)


def test_every_event_can_be_logged_and_has_an_id_of_its_own() -> None:
    """No two kinds of event share an id; each id is lower case with dots."""
    named = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Happening)]
    kinds = [kind for kind in named if kind is not events.Happening]
    assert len({kind.id for kind in kinds}) == len(kinds)
    assert all(kind.severity in get_args(events.Severity) for kind in kinds)


def test_what_comes_with_every_message_is_quiet() -> None:
    """A committed write is counted, not logged."""
    stream = io.StringIO()
    logger = LogObserver(make_logger("info", "json", stream))
    logger.observe(
        events.WriteFinished(zone=ZONE, generation=1, names=1, outcome="committed", detail="", duration_s=0.1)
    )
    assert not stream.getvalue()


def test_batches_tell_their_slowest_endpoint_not_all_of_them() -> None:
    """A line stays a line, whatever the number of endpoints."""
    stream = io.StringIO()
    LogObserver(make_logger("info", "json", stream)).observe(
        events.BatchCommitted(
            zone=ZONE, generation=1, endpoints=1000, seen=1000, write_s=0.1, verify_s=0.1, apply_s=(0.5,) * 1000
        )
    )
    line = json.loads(stream.getvalue())
    assert line["apply_max_s"] == 0.5
    assert "apply_s" not in line


@pytest.mark.parametrize(
    ("happening", "sample"),
    [
        (HELD, 'enactord_refusals_total{guard="velocity"} 1.0'),
        (
            events.WriteFinished(zone=ZONE, generation=1, names=1, outcome="unknown", detail="", duration_s=0.1),
            f'enactord_writes_total{{outcome="unknown",zone="{ZONE}"}} 1.0',
        ),
        (
            events.StaleWriteRefused(zone=ZONE, generation=1, fence="", names=1),
            f'enactord_stale_writes_refused_total{{zone="{ZONE}"}} 1.0',
        ),
        (
            events.EndpointRepaired(zone=ZONE, generation=1, name="a", kind="emptied", store_up=True),
            f'enactord_repairs_total{{kind="emptied",zone="{ZONE}"}} 1.0',
        ),
        (
            events.PruneRefused(generation=1, reason="claimed", detail=""),
            'enactord_prune_refusals_total{reason="claimed"} 1.0',
        ),
        (
            events.Verified(zone=ZONE, names=9, empty=2, drifted=3, at=5.0),
            f'enactord_endpoints_empty{{zone="{ZONE}"}} 2.0',
        ),
        (
            events.StepFailed(step="prune", detail="", traceback=""),
            'enactord_steps_failed_total{step="prune"} 1.0',
        ),
        (events.Retried(target=ZONE, detail="", delay_s=0.1), f'enactord_retries_total{{target="{ZONE}"}} 1.0'),
    ],
)
def test_each_event_moves_its_metric(happening: events.Happening, sample: str) -> None:
    """By exactly one, or to the value that it carries."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, [ZONE])
    assert sample not in generate_latest(registry).decode()
    metrics.observe(happening)
    assert sample in generate_latest(registry).decode()


async def test_a_scope_at_work_sets_every_metric() -> None:
    """After a plan is applied, a held endpoint and a look at the zone, no promised metric is without a sample."""
    world = World()
    member = await world.add("a")
    registry = CollectorRegistry()
    metrics = Metrics(registry, [ZONE])
    await world.publish(plan(fleet(20, 1)))
    await world.applied(1)
    await world.publish(plan(fleet(20, 2) | {f"n00003.{ZONE}": []}))
    await world.applied(2)
    await member.enactor.repairer.look(ZONE)
    for happening in member.recorder.happenings:
        metrics.observe(happening)
    metrics.refresh(standing(member.enactor))
    text = generate_latest(registry).decode()
    for sample in (
        'enactord_generation{kind="head",zone=""} 2.0',
        f'enactord_generation{{kind="fence",zone="{ZONE}"}} 2.0',
        f'enactord_generation{{kind="applied",zone="{ZONE}"}} 2.0',
        'enactord_endpoints{state="held"} 1.0',
        'enactord_endpoints{state="applied"} 19.0',
        "enactord_store_up 1.0",
        'enactord_frozen{mode="all"} 0.0',
        f'enactord_zone_up{{zone="{ZONE}"}} 1.0',
        f'enactord_apply_duration_seconds_count{{zone="{ZONE}"}} 39.0',
        f'enactord_retry_budget_ratio{{target="{ZONE}"}} 1.0',
        f'enactord_in_flight{{zone="{ZONE}"}} 0.0',
        'enactord_plans{state="older"} 1.0',
        "enactord_build_info",
        f'enactord_concurrency_limit{{zone="{ZONE}"}}',
        "enactord_claims",
        f'enactord_last_verified_timestamp_seconds{{zone="{ZONE}"}} 1.8',
    ):
        assert sample in text, sample
    await world.close()


async def test_lag_tells_how_long_the_loop_was_blocked() -> None:
    """A loop that is blocked past a timer wakes it late by as much; nothing but the lateness is told."""
    lags: list[float] = []
    watching = asyncio.create_task(watch_lag(lags.append))
    await asyncio.sleep(0)
    time.sleep(0.5)  # a timer was due after a quarter of a second
    while not lags:
        await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert lags[0] > 0.2
