"""Limits in the store: seeded once, the same for all, changed by a word with a reason, strict where unreadable."""

import json
from dataclasses import replace
from typing import Any

import pytest

from enactord.core.events import LimitsChanged
from enactord.core.guards import LIMITS, Limits
from enactord.core.kv import Put
from enactord.core.retention import Keep
from enactord.core.settings import Key
from enactord.engine.settings import Settings
from enactord.operations.limits import set_limit
from enactord.operations.scope import Denied, Scope
from enactord.store.layout import LIMITS as KIND
from enactord.store.limits import Ruling, parse_limit, parse_ruling, read_ruling, ruling_value, strictest
from tests.unit.command import ctl_in
from tests.world import SCOPE, ZONE, World, fleet, plan, tolerant

LOOSE = Limits(
    allow_private=True,
    targets_min=1,
    endpoints_removed_max_ratio=0.9,
    ttl_min_s=0,
    ttl_max_s=10**9,
    velocity_window_s=1.0,
)


def scope_of(world: World) -> Scope:
    return Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=tolerant(), clock=world.clock)


def test_what_is_stored_is_read_again() -> None:
    ruling = Ruling(limits=LOOSE, author="a", reason="r", at=5.0)
    assert parse_ruling(ruling_value(ruling), LIMITS) == ruling
    assert parse_ruling(None, LOOSE) == Ruling(limits=LOOSE)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"junk",
        KIND.value(b"{"),
        KIND.value(b"[]"),
        KIND.value(b'{"limits": {"targets_min": "2"}, "author": "", "reason": "", "at": 0}'),
        KIND.value(b'{"limits": {"targets_min": true}, "author": "", "reason": "", "at": 0}'),
        KIND.value(b'{"limits": {"targets_min": 0}, "author": "", "reason": "", "at": 0}'),
        KIND.value(b'{"limits": {"endpoints_removed_max_ratio": NaN}, "author": "", "reason": "", "at": 0}'),
        KIND.value(b'{"limits": {"allow_private": 1}, "author": "", "reason": "", "at": 0}'),
        KIND.value(b'{"limits": {}, "author": 1, "reason": "", "at": 0}'),
        KIND.value(b'{"limits": {}, "author": "", "reason": "", "at": 1e999}'),
        b"limits %d\n{}" % (KIND.format + 1),
    ],
)
def test_unreadable_limits_are_the_stricter_of_config_and_defaults(value: bytes) -> None:
    ruling = parse_ruling(value, LOOSE)
    assert ruling.problem
    assert ruling.limits == LIMITS, "the loose config counts for nothing"
    strict = Limits(
        targets_min=3, endpoints_removed_max_ratio=0.05, ttl_min_s=30, ttl_max_s=60, velocity_window_s=900.0
    )
    assert parse_ruling(value, strict).limits == strict


def test_a_limit_that_is_newer_than_what_is_stored_has_its_default() -> None:
    document = {"limits": {"targets_min": 2}, "author": "a", "reason": "r", "at": 1.0}
    ruling = parse_ruling(KIND.value(json.dumps(document).encode()), LOOSE)
    assert ruling.limits == Limits(targets_min=2)


def test_the_stricter_of_two_is_stricter_in_every_key() -> None:
    """Said once, beside each key: which end of it lets less pass."""
    loosest: dict[str, Any] = {}
    for key in Limits.KEYS:
        if isinstance(key.default, bool):
            loosest[key.name] = not key.high_is_strict
        else:
            bound = key.low if key.high_is_strict else key.high
            loosest[key.name] = type(key.default)(bound)
    assert strictest(Limits(**loosest), LIMITS) == LIMITS == strictest(LIMITS, Limits(**loosest))


@pytest.mark.parametrize("key", Limits.KEYS, ids=lambda key: key.name)
def test_a_value_is_taken_as_the_key_says(key: Key[Any]) -> None:
    text = str(key.default).lower()
    assert parse_limit(key, text) == key.default
    assert type(parse_limit(key, text)) is type(key.default)
    for wrong in ("", "x", "-1", "nan", "1e400", "0x1"):
        with pytest.raises(ValueError, match=key.name) as caught:
            parse_limit(key, wrong)
        assert key.takes in str(caught.value)


async def test_the_first_enactor_puts_its_limits_into_the_store_and_all_go_by_them() -> None:
    """An enactor with looser limits decides for nobody."""
    world = World()
    world.settings["limits"] = tolerant(endpoints_removed_max_ratio=0.3)
    one = await world.add("a")
    await world.until(lambda: one.enactor.cache.rules)
    world.settings["limits"] = tolerant(endpoints_removed_max_ratio=1.0)
    other = await world.add("b")
    await world.until(lambda: other.enactor.settings.limits == one.enactor.settings.limits)
    assert "this config says 1.0, in force is 0.3" in other.enactor.limits_notes()[0]
    assert one.enactor.limits_notes() == []
    await world.publish(plan(fleet(10)))
    await world.applied(1)
    await world.publish(plan(fleet(5)))
    await world.until(lambda: one.enactor.head_refusal and other.enactor.head_refusal)
    done = await set_limit(
        scope_of(world), tolerant(), "endpoints_removed_max_ratio", "0.5", author="op", reason="meant"
    )
    assert isinstance(done, tuple)
    assert done[1].limits.by_name()["endpoints_removed_max_ratio"] == 0.3
    await world.applied(2)
    (told,) = one.recorder.of(LimitsChanged)
    assert (told.changes, told.author, told.reason) == ("endpoints_removed_max_ratio 0.3 -> 0.5", "op", "meant")
    assert (await read_ruling(world.store, world.keys, tolerant())).author == "op"
    await world.close()


async def test_limits_of_another_version_are_not_replaced() -> None:
    world = World()
    newer = b"limits %d\nwhat it says" % (KIND.format + 1)
    await world.store.transact((), [Put(key=world.keys.limits, value=newer)])
    done = await set_limit(scope_of(world), tolerant(), "targets_min", "2", author="op", reason="r")
    assert isinstance(done, Denied)
    assert done.refusals[0].guard == "format"
    assert (await world.store.get([world.keys.limits]))[world.keys.limits].value == newer


def test_the_stricter_of_two_ranges_lets_some_ttl_pass() -> None:
    narrow, high = Limits(ttl_min_s=30, ttl_max_s=60), Limits(ttl_min_s=100_000, ttl_max_s=200_000)
    assert strictest(high, narrow) == narrow


async def test_damaged_limits_are_told_and_strict_until_they_are_put_right() -> None:
    world = World()
    member = await world.add("a")
    await world.until(lambda: member.enactor.cache.rules)
    await world.store.transact((), [Put(key=world.keys.limits, value=b"limits 1\njunk")])
    await world.until(lambda: any("limits are damaged" in reason for reason in member.enactor.reasons()))
    assert member.enactor.settings.limits == LIMITS
    done = await set_limit(scope_of(world), tolerant(), "allow_private", "true", author="op", reason="r")
    assert isinstance(done, tuple)
    await world.until(lambda: not member.enactor.reasons())
    assert member.enactor.settings.limits == Limits(allow_private=True)
    await world.close()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("targets_max", "1", "did you mean targets_min"),
        ("targets_min", "0", "it takes an integer from 1 to 1000"),
        ("ttl_min_s", "86401", "would be above ttl_max_s"),
    ],
)
async def test_a_limit_that_is_none_changes_nothing(name: str, value: str, told: str) -> None:
    world = World()
    with pytest.raises(ValueError, match=told):
        await set_limit(scope_of(world), tolerant(), name, value, author="op", reason="r")
    assert (await read_ruling(world.store, world.keys, tolerant())) == Ruling(limits=tolerant())


def test_the_command_shows_and_changes_limits(tmp_path: Any) -> None:
    run = ctl_in(tmp_path)
    assert "the store has no limits yet" in run("limits")
    assert "targets_min: 1 -> 2" in run("limits", "set", "targets_min", "2", "--reason", "two zones", "--author", "me")
    told = run("limits")
    assert "set by me at 2" in told
    assert "two zones" in told
    document = json.loads(run("limits", "--json"))
    by_key = {one["key"]: one for one in document["limits"]}
    assert (by_key["targets_min"]["value"], by_key["targets_min"]["config"]) == (2, 1)
    assert by_key["allow_private"]["value"] is True
    assert "targets_min: this config says 1" in told
    assert "it takes an integer" in run("limits", "set", "targets_min", "none", "--reason", "x", code=2)
    assert "--reason" in run("limits", "set", "targets_min", "1", code=2)


def test_history_is_kept_for_as_long_as_the_limits_in_force_look_back() -> None:
    """Prune must not delete a baseline, whatever this config says of the window."""
    settings = Settings(id="a", scope=SCOPE, zones=[], keep=Keep(plans=3, window_s=300.0))
    assert settings.ruled(Limits(velocity_window_s=900.0)).keep == Keep(plans=3, window_s=900.0)
    assert replace(settings, keep=Keep(plans=3)).ruled(Limits(velocity_window_s=900.0)).keep == Keep(plans=3)
