"""An etcd that is far away, or on a busy machine: slow to greet is not down."""

import asyncio
from collections.abc import Iterator

import pytest

from enactord.stores.etcd import EtcdStore
from tests.servers.etcd import Etcd
from tests.servers.proxy import Relay

_GREETING_S = 0.4


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    with Etcd() as server:
        yield server


async def test_an_etcd_that_takes_a_moment_to_greet_is_up(etcd: Etcd) -> None:
    """A connection gets the time that two round trips over TLS across a continent take, not 100 ms."""
    async with Relay("127.0.0.1", etcd.port) as relay:
        relay.hold(up=False)
        store = EtcdStore.connect([f"127.0.0.1:{relay.port}"], timeout_s=5)
        asked = asyncio.create_task(store.get(["/nothing"]))
        await asyncio.sleep(_GREETING_S)
        relay.heal()
        assert await asked == {}
        await store.close()
