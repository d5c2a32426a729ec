"""Events become log lines and metrics, and every metric is set by something."""

import asyncio
import io
import json
import time
from collections.abc import Iterable
from typing import Any, get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from enactord.core import events
from enactord.http.app import standing
from enactord.http.feed import Feed
from enactord.store.cache import Cache
from enactord.telemetry.failures import Failures
from enactord.telemetry.fanout import Fanout
from enactord.telemetry.lag import watch_lag
from enactord.telemetry.log import LogObserver, make_logger
from enactord.telemetry.metrics import Metrics
from enactord.telemetry.registry import IsolatingRegistry
from tests.hidden import hidden
from tests.world import ZONE, Recorder, World, fleet, plan

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
    named = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)]
    kinds = [kind for kind in named if kind is not events.Event]
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
        events.SliceCommitted(
            zone=ZONE, generation=1, endpoints=1000, seen=1000, write_s=0.1, verify_s=0.1, apply_s=(0.5,) * 1000
        )
    )
    line = json.loads(stream.getvalue())
    assert line["apply_max_s"] == 0.5
    assert "apply_s" not in line


@pytest.mark.parametrize(
    ("event", "sample"),
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
            events.Verified(zone=ZONE, names=9, empty=2, drifted=3, unread=0, at=5.0),
            f'enactord_endpoints_empty{{zone="{ZONE}"}} 2.0',
        ),
        (
            events.StepFailed(step="prune", detail="", traceback=""),
            'enactord_steps_failed_total{step="prune"} 1.0',
        ),
        (events.Retried(target=ZONE, detail="", delay_s=0.1), f'enactord_retries_total{{target="{ZONE}"}} 1.0'),
    ],
)
def test_each_event_moves_its_metric(event: events.Event, sample: str) -> None:
    """By exactly one, or to the value that it carries."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, [ZONE])
    assert sample not in generate_latest(registry).decode()
    metrics.observe(event)
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
    for event in member.recorder.events:
        metrics.observe(event)
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


EVIL = "A\x1b]0;title\x07\x1b[2J\rCR\u009b31m\u202eRLO\nforged line\ud800"


class Mute:
    """A value that cannot even say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError


class Broken:
    """An observer, and a collector of metrics, that always fails."""

    def observe(self, event: events.Event) -> None:
        raise ValueError(event.id)

    def collect(self) -> Iterable[Metric]:
        raise ValueError("cannot be read")


@pytest.mark.parametrize("format_", ["json", "console"])
def test_what_comes_from_outside_acts_on_no_terminal(format_: str) -> None:
    """A plan's author can neither move the cursor nor forge a line, in either form of the log."""
    stream = io.StringIO()
    logger = make_logger("info", format_, stream, enactor="a")
    logger.info("plan.seen", author=EVIL, many=[EVIL, {EVIL: EVIL}], **{EVIL: 1})
    (line,) = stream.getvalue().splitlines()
    assert hidden(line) == []
    if format_ == "json":
        assert json.loads(line)["author"] == EVIL


@pytest.mark.parametrize("format_", ["json", "console"])
def test_any_value_makes_a_line(format_: str) -> None:
    """NaN, bytes, a number without end, what cannot be shown: the line comes, and in JSON it is a document."""
    stream = io.StringIO()
    logger = make_logger("info", format_, stream)
    endless: list[Any] = []
    endless.append(endless)
    logger.info("odd", nan=float("nan"), raw=b"\xff", huge=10**5000, mute=Mute(), endless=endless, event2=object())
    (line,) = stream.getvalue().splitlines()
    if format_ == "json":
        told = json.loads(line, parse_constant=lambda constant: pytest.fail(constant))
        assert (told["event"], told["nan"]) == ("odd", "nan")


@pytest.mark.parametrize(
    "value", ["x" * 10_000_000, ["y" * 1000] * 10_000, {f"k{number}": "z" * 500 for number in range(10_000)}]
)
def test_a_line_has_a_bounded_length_and_stays_a_document(value: object) -> None:
    """What reads the log cuts long lines anywhere; what is left out here is said."""
    stream = io.StringIO()
    make_logger("info", "json", stream).info("long", detail=value)
    assert len(stream.getvalue()) < 33_000
    assert json.loads(stream.getvalue())["event"] == "long"
    assert "…" in json.dumps(json.loads(stream.getvalue()), ensure_ascii=False)


def test_a_traceback_keeps_its_lines_on_a_console() -> None:
    """It is ours, and read by people; in it, too, nothing acts on the terminal."""
    stream = io.StringIO()
    make_logger("info", "console", stream).error("step.failed", traceback="Traceback:\n  line 1\nValueError: \x1b[2J")
    assert "Traceback:\n  line 1\nValueError: \\u001b[2J" in stream.getvalue()


def test_an_observer_that_fails_reaches_neither_the_engine_nor_the_others() -> None:
    """Each failure is counted; the first of its kind is told, so that a part that always fails floods nothing."""
    told: list[tuple[str, str]] = []
    failures = Failures(lambda part, error: told.append((part, repr(error))))
    recorder = Recorder()
    fanout = Fanout({"log": Broken(), "metrics": recorder, "feed": Broken()}, failures)
    for _ in range(3):
        fanout.observe(HELD)
    assert recorder.events == [HELD] * 3
    assert (failures.totals["log"], failures.totals["feed"], failures.totals["metrics"]) == (3, 3, 0)
    assert told == [("log", "ValueError('endpoint.held')"), ("feed", "ValueError('endpoint.held')")]


def test_telling_of_a_failure_may_itself_fail() -> None:
    """Where the log is what fails, the count says so alone."""
    failures = Failures(lambda part, error: 1 / 0)  # type: ignore[arg-type]
    failures.note("feed", ValueError())
    assert (failures.totals["feed"], failures.totals["log"]) == (1, 1)


def test_a_scrape_answers_what_it_can() -> None:
    """A collector that raises is left out and counted; each other metric is there."""
    failures = Failures()
    registry = IsolatingRegistry(failures)
    registry.register(Broken())
    metrics = Metrics(registry, [ZONE])
    metrics.config_refused.set_function(lambda: 1 / 0)
    text = generate_latest(registry).decode()
    assert "enactord_build_info{" in text
    assert "enactord_config_refused 1" not in text
    assert failures.totals["scrape"] == 2


async def test_a_feed_that_fails_begins_anew() -> None:
    """The status page goes on after an error that no rule foresees, and what comes later is told."""
    world = World()
    member = await world.add("a")
    failures = Failures()
    feed = Feed(member.enactor.ports.clock.now, failures=failures)
    cache = member.enactor.cache
    following = asyncio.create_task(feed.follow(Unsteady(cache)))  # type: ignore[arg-type]
    await world.until(lambda: failures.totals["feed"] > 0)
    turn = feed.turn
    await world.until(lambda: feed.turn > turn + 2)
    await world.publish(plan(fleet(3, 1)))
    await world.until(lambda: feed.newest > 0)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await world.close()


class Unsteady:
    """A cache whose fences cannot be read the first time."""

    def __init__(self, cache: Cache) -> None:
        object.__setattr__(self, "_cache", cache)
        object.__setattr__(self, "_asked", 0)

    def __getattr__(self, name: str) -> Any:
        if name == "fences":
            object.__setattr__(self, "_asked", self._asked + 1)
            if self._asked == 1:
                raise RuntimeError("not now")
        return getattr(self._cache, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._cache, name, value)


async def test_lag_is_watched_on_after_a_failure() -> None:
    """One measure that cannot be told is counted, and the next is told."""
    lags: list[float] = []
    failures = Failures()

    def observe(lag_s: float) -> None:
        lags.append(lag_s)
        if len(lags) == 1:
            raise ValueError

    watching = asyncio.create_task(watch_lag(observe, failures))
    async with asyncio.timeout(20):
        while len(lags) < 2:
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert failures.totals["lag"] == 1


@pytest.mark.real_time
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
