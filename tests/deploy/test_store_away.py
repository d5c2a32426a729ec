"""What an enactor says while the store is away."""

import asyncio
from pathlib import Path

from tests.deploy.process import service
from tests.deploy.test_notify import write
from tests.servers.etcd import Etcd


async def test_a_store_that_is_away_is_told_once(tmp_path: Path) -> None:
    """One line when it goes and one when it is back: not a line for each attempt, nor a gauge that flutters."""
    with Etcd() as etcd:
        async with service(write(tmp_path, etcd.url)) as enactor:
            await enactor.until(lambda: enactor.event("store.up"))
            etcd.kill()
            await enactor.until(lambda: "degraded: store" in enactor.standing())
            await asyncio.sleep(5)  # longer than the pauses between attempts
            assert len([event for event in enactor.events if event["event"] == "store.down"]) == 1
            etcd.start()
            await enactor.until(lambda: enactor.event("store.up", 2))
            assert len([event for event in enactor.events if event["event"].startswith("store.")]) == 3


async def test_a_sqlite_store_that_is_away_at_the_start_comes_back_by_itself(tmp_path: Path) -> None:
    """The enactor runs, says what to do, and goes on once the directory is there."""
    away = tmp_path / "mnt"
    async with service(write(tmp_path, f"sqlite://{away}/store.db")) as enactor:
        await enactor.until(lambda: f"the directory {away} is not there; mount it" in enactor.standing())
        assert enactor.notices.count("READY=1") == 1
        assert len([event for event in enactor.events if event["event"] == "store.down"]) == 1
        away.mkdir()
        await enactor.until(lambda: enactor.event("store.up"))
