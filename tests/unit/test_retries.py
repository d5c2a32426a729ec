"""When a refused name is tried again."""

import random

from enactord.core.records import Expect
from enactord.engine.retries import Retries


class Time:
    now = 0.0


def made(interval_s: float = 10.0) -> tuple[Retries, Time]:
    time = Time()
    return Retries(random.Random(1), lambda: time.now, interval_s=interval_s), time


def test_a_refused_name_waits_longer_each_time_up_to_a_bound() -> None:
    """Doubled at each refusal of the same content, with jitter, to eight intervals."""
    retries, time = made()
    waits = []
    for _ in range(8):
        retries.refused("a.", "content")
        start = time.now
        while not retries.due("a.", "content"):
            time.now += 0.5
        waits.append(time.now - start)
    for wait_s, ceiling_s in zip(waits, (10, 20, 40, 80, 80, 80, 80, 80), strict=True):
        assert ceiling_s / 2 <= wait_s <= ceiling_s + 0.5
    assert len(set(waits)) > 4


def test_another_content_is_tried_at_once() -> None:
    """A plan that changes the name gets its try, and its own waits."""
    retries, _ = made()
    retries.refused("a.", "one")
    assert not retries.due("a.", "one")
    assert retries.due("a.", "two")
    assert retries.known("a.", "one")
    assert not retries.known("a.", "two")


def test_a_name_that_was_adopted_is_tried_at_once() -> None:
    """It was refused as a new one; now it is written over."""
    retries, _ = made()
    retries.refused("a.", "one", Expect.NEW)
    assert not retries.due("a.", "one", Expect.NEW)
    assert retries.due("a.", "one", Expect.OWNED)


def test_a_name_whose_obstacle_has_left_is_tried_at_once() -> None:
    """Whoever sees that asks for a pass, too."""
    retries, _ = made()
    retries.refused("a.", "one")
    assert not retries.freed
    retries.free("a.", "zone.")
    assert retries.freed == {"zone."}
    assert retries.due("a.", "one")


def test_a_name_that_was_taken_is_forgotten() -> None:
    """A later refusal begins with the first wait."""
    retries, time = made()
    for _ in range(5):
        retries.refused("a.", "one")
    retries.done("a.")
    retries.refused("a.", "one")
    time.now = 10.0
    assert retries.due("a.", "one")
