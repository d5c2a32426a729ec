"""Attacks of a planner: what is left of the names and of the addresses that were wanted when each began."""

import json
from pathlib import Path

import pytest

from tests.daily import daily
from tests.simulation.attacks import ADDRESSES, ATTACKS, NAMES, measure, picture

LEFT = {
    "ratchet": (0.8, 0.8),
    "replacement": (1.0, 1.0),
    "concentration": (1.0, 1.0),
    "halving": (1.0, 1.0),
    "drop and return": (0.9, 0.9),
    "empty, then move": (1.0, 1.0),
    "mixed limits": (1.0, 1.0),
}
"""Share of names and of addresses that are served all along; without a memory: 1 name of 200 is left, none, …"""
BEFORE = Path(__file__).with_name("attacks-before.json")
"""Measured by this module at the last commit before guards had a memory."""


@pytest.mark.parametrize("attack", daily(ATTACKS, {"ratchet"}))
def test_what_is_served_during_an_attack(attack: str) -> None:
    series = measure(attack)
    names, addresses = (min(cells) for cells in list(zip(*series, strict=True))[1:])
    assert names >= LEFT[attack][0] * NAMES
    assert addresses >= LEFT[attack][1] * NAMES * ADDRESSES


def test_without_a_memory_each_attack_took_something_away() -> None:
    """So that the attacks show what the guards do, and not that nothing happens."""
    for series in json.loads(BEFORE.read_text(encoding="utf-8")).values():
        assert series[-1][2] < 0.95 * NAMES * ADDRESSES


def test_the_picture_can_be_drawn(tmp_path: Path) -> None:
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    picture(tmp_path / "guards.png", before, before)
    assert (tmp_path / "guards.png").stat().st_size > 10_000
