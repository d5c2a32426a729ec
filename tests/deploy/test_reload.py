"""SIGHUP: what can change safely does, and a config that cannot be taken up changes nothing."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enactord.backends.embedded import EmbeddedConfig
from enactord.backends.rfc2136.keys import Rfc2136Config
from enactord.config.tables import Config, EnactorConfig, HttpConfig, StoreConfig
from enactord.core.settings import Values
from enactord.daemon.reload import changed_keys, reloadable
from tests.deploy.desk import Desk, reload
from tests.deploy.process import service
from tests.servers.dns_server import FOREIGN_SECRET
from tests.servers.embedded import Embedded
from tests.world import ZONE, fleet, plan

OTHER_ZONE = """[[zone]]
name = "other.test."
backend = "rfc2136"
server = "127.0.0.1:9"
tsig_name = "enactor"
tsig_secret_file = "tsig.secret"
[guard]"""
"""A zone that the running enactor has not."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Embedded([ZONE]) as server:
        yield Desk(tmp_path, server)


async def test_another_tsig_key_is_taken_up(desk: Desk) -> None:
    """A key is changed without a restart: what the server refused before is applied after."""
    desk.edit(('"enactor"\ntsig_secret', '"foreign"\ntsig_secret'))
    await desk.publish(plan(fleet(5)))
    async with service(desk.config) as enactor:
        await enactor.until(lambda: "BADSIG" in enactor.standing() or "BADKEY" in enactor.standing())
        assert not enactor.event("plan.applied")
        desk.secret("tsig.secret", FOREIGN_SECRET)
        await reload(enactor)
        assert [e["keys"] for e in enactor.events if e["event"] == "config.reloaded"] == [
            ["zone[example.test.].tsig_secret_file"]
        ]
        await enactor.until(lambda: enactor.event("plan.applied"))
    assert FOREIGN_SECRET not in enactor.text


async def test_other_limits_token_and_log_are_taken_up(desk: Desk) -> None:
    """A plan that was refused is judged anew by the limits of now; the old token opens nothing any more."""
    async with service(desk.config) as enactor:
        await desk.publish(plan(fleet(10)))
        await enactor.until(lambda: enactor.event("plan.applied"))
        await desk.publish(plan(fleet(2)))
        await enactor.until(lambda: enactor.event("plan.refused"))
        desk.edit(("max_ratio = 0.2", "max_ratio = 0.9"), ('"info"', '"debug"'))
        desk.tokens("second")
        await reload(enactor)
        assert (desk.thaw("first"), desk.thaw("second")) == (401, 200)
        # The limits of the store are in force, for all enactors: this config says others, and that is noted.
        noted = "guard.endpoints_removed_max_ratio: this config says 0.9, in force is 0.2"
        await enactor.until(lambda: noted in desk.notes())
        assert not enactor.event("plan.applied", 2)
        await desk.ctl("limits", "set", "endpoints_removed_max_ratio", "0.9", "--reason", "fewer are wanted")
        await enactor.until(lambda: enactor.event("plan.applied", 2))
        (changed,) = [event for event in enactor.events if event["event"] == "limits.changed"]
        assert changed["changes"] == "endpoints_removed_max_ratio 0.2 -> 0.9"
        assert changed["reason"] == "fewer are wanted"
        await enactor.until(lambda: noted not in desk.notes())
        assert {"guard.endpoints_removed_max_ratio", "http.tokens_file", "log.level"} == set(
            next(e["keys"] for e in enactor.events if e["event"] == "config.reloaded")
        )
        assert any(event["level"] == "debug" for event in enactor.events)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('scope = "test"', 'scope = "other"'), "enactor.scope: cannot change while enactord runs"),
        (('scope = "test"', "scope = 7"), "enactor.scope"),
        (("[store]", "[stoer]"), "did you mean"),
        (("[log]", "[log"), "enactord.toml"),
        (('tsig_secret_file = "tsig.secret"', 'tsig_secret_file = "gone"'), "gone"),
        (("[guard]", OTHER_ZONE), "zone: cannot change while enactord runs"),
    ],
)
async def test_a_config_that_cannot_be_taken_up_changes_nothing(desk: Desk, change: tuple[str, str], told: str) -> None:
    """Not even the keys beside it that could; the enactor goes on by the old one and says so until a good one comes."""
    async with service(desk.config) as enactor:
        await enactor.until(lambda: enactor.event("store.up"))
        before = desk.config.read_text()
        desk.edit(change, ('level = "info"', 'level = "debug"'))
        await reload(enactor)
        assert not enactor.event("config.reloaded")
        (refusal,) = [event for event in enactor.events if event["event"] == "config.refused"]
        assert told in str(refusal["problems"])
        await enactor.until(lambda: "config not taken up" in enactor.standing())
        desk.config.write_text(before)
        await desk.publish(plan(fleet(3)))
        await enactor.until(lambda: enactor.event("plan.applied"))
        await reload(enactor)
        await enactor.until(lambda: enactor.event("config.reloaded"))
        await enactor.until(lambda: "config not taken up" not in enactor.standing())
        assert not any(event["level"] == "debug" for event in enactor.events)


def test_every_key_that_can_be_set_is_seen_to_change(desk: Desk) -> None:
    """A key that a comparison overlooks would be neither taken up nor refused."""
    config = desk.load()
    assert changed_keys(config, config) == []
    for table in dataclasses.fields(Config):
        if table.name in ("zones", "warnings", "source"):
            continue
        part = getattr(config, table.name)
        declared = isinstance(part, Values)
        names = list(part.by_name()) if declared else [field.name for field in dataclasses.fields(part)]
        for name in names:
            changed = part.replaced(**{name: "other"}) if declared else dataclasses.replace(part, **{name: "other"})
            other = dataclasses.replace(config, **{table.name: changed})
            assert len(changed_keys(config, other)) == 1, f"{table.name}.{name}"
    (zone,) = config.zones
    for field in dataclasses.fields(zone):
        if field.name != "name":
            change: dict[str, Any] = {field.name: "other"}
            other = dataclasses.replace(config, zones=(dataclasses.replace(zone, **change),))
            assert len(changed_keys(config, other)) == 1, field.name
    assert "zone" in changed_keys(config, dataclasses.replace(config, zones=()))


def test_who_and_where_it_is_never_changes_while_it_runs() -> None:
    """An enactor of another scope, store or zone is another enactor."""
    for table, key in (
        (EnactorConfig, "id"),
        (EnactorConfig, "scope"),
        (EnactorConfig, "state_dir"),
        (StoreConfig, "url"),
        (StoreConfig, "username"),
        (Rfc2136Config, "name"),
        (Rfc2136Config, "backend"),
        (Rfc2136Config, "server"),
        (Rfc2136Config, "answers_max"),
        (EmbeddedConfig, "tsig_secret_file"),
        (HttpConfig, "listen"),
    ):
        assert not reloadable(table, key), f"{table}.{key}"
    assert reloadable(Rfc2136Config, "tsig_secret_file")
