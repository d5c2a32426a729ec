"""A proxy that the environment names has no part in what enactord asks of the peers in its config."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.servers.etcd import Etcd

NAMES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
ASK = """
import asyncio, sys
from enactord.stores.by_url import open_store
async def ask():
    store = await open_store(sys.argv[1], timeout_s=10)
    print("revision", (await store.range("/nothing")).revision)
    await store.close()
asyncio.run(ask())
"""


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    with Etcd() as server:
        yield server


@pytest.mark.parametrize("form", ["lower", "upper"])
async def test_the_store_is_asked_directly_whatever_proxy_is_named(etcd: Etcd, form: str) -> None:
    """The store answers, and the proxy sees nothing: neither the traffic, nor a connection."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        place = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        named = {getattr(name, form)(): place for name in NAMES}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", ASK, etcd.url],
            env=os.environ | named,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.startswith("revision "), done.stderr
        with pytest.raises(BlockingIOError):
            proxy.accept()
