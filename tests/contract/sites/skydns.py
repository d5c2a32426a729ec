"""Where the zone suite runs for records in etcd: each client has a connection of its own."""

import asyncio
import json
from collections.abc import Sequence

from enactord.backends.skydns.zone import SkydnsZone
from enactord.core.errors import StoreDown
from enactord.core.kv import Delete, Operation, Put
from enactord.core.records import NO_RECORDS, Records
from enactord.ports import ZoneBackend
from enactord.stores.etcd import EtcdStore
from tests.contract.sites.base import Kind, Servers, Site
from tests.servers.etcd import Etcd

_READY_LIMIT_S = 20.0


class SkydnsSite:
    """A zone in etcd; edits past the fence are puts of keys, of the form that other tools give them."""

    records_max = 120

    def __init__(self, zone: str, server: Etcd, *, owned: bool = False) -> None:
        self.zone = zone
        self.store = EtcdStore.connect([server.endpoint], timeout_s=5)
        self._server = server
        self._owned = owned
        self._stores = [self.store]

    @classmethod
    def own(cls, zone: str) -> "SkydnsSite":
        server = Etcd()
        server.start()
        return cls(zone, server, owned=True)

    def client(self) -> ZoneBackend:
        store = EtcdStore.connect([self._server.endpoint], timeout_s=5)
        self._stores.append(store)
        return SkydnsZone(self.zone, store)

    def path(self, name: str) -> str:
        return "/".join(["/skydns", *reversed(name.rstrip(".").split("."))])

    async def put_foreign(self, name: str, *, records: Records = NO_RECORDS, cname: str | None = None) -> None:
        path = self.path(name)
        await self.store.transact([], [Delete(key=path), Delete(key=path + "/", prefix=True)])
        puts: list[Operation] = [
            self.service(f"{path}/{number:08x}", host=text, ttl=records.ttl_s)
            for number, text in enumerate(records.texts())
        ]
        if cname is not None:
            puts.append(self.service(path, host=cname.rstrip("."), ttl=30))
        await self.store.transact([], puts)

    def service(self, key: str, **fields: str | int) -> Put:
        return Put(key=key, value=json.dumps(fields).encode())

    async def put_cut(self, owner: str, kind: str) -> None:
        raise NotImplementedError

    async def put_fence(self, texts: Sequence[Sequence[str]]) -> None:
        key = f"/enactord/@fences/skydns/{self.zone}"
        operations: list[Operation] = [Put(key=key, value="".join(parts).encode()) for parts in texts]
        await self.store.transact([], operations or [Delete(key=key)])

    async def stop(self) -> None:
        assert self._owned
        await asyncio.to_thread(self._server.stop)

    async def kill(self) -> None:
        assert self._owned
        self._server.kill()

    async def start(self) -> None:
        """Start it again, and wait until every client has found it: gRPC tries anew at its own pace."""
        assert self._owned
        await asyncio.to_thread(self._server.start)
        async with asyncio.timeout(_READY_LIMIT_S):
            for store in self._stores:
                while not await self._answers(store):
                    await asyncio.sleep(0.05)

    async def close(self) -> None:
        for store in self._stores:
            await store.close()
        if self._owned:
            await asyncio.to_thread(self._server.remove)

    async def _answers(self, store: EtcdStore) -> bool:
        try:
            await store.get(["/"])
        except StoreDown:
            return False
        return True


async def _open(zone: str, servers: Servers) -> Site:
    return SkydnsSite(zone, servers.shared(Etcd, Etcd))


async def _own(zone: str) -> Site:
    return SkydnsSite.own(zone)


KINDS = (Kind(name="skydns", open=_open, own=_own),)
