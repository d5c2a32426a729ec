"""Where the zone suite runs for Route 53: boto3, threads and HTTP are real, what answers is the double."""

from collections.abc import Sequence

from enactord.backends.route53.api import Route53Api
from enactord.backends.route53.zone import Route53Zone
from enactord.core.names import fence_name
from enactord.core.records import NO_RECORDS, Records
from enactord.ports import ZoneBackend
from tests.contract.sites.base import Kind, Servers, Site
from tests.servers.route53_double import Route53Double
from tests.servers.route53_double.hosted_zone import Change, RecordSet


class Route53Site:
    """A hosted zone of a double; edits past the fence are record sets put into it."""

    records_max = 1000

    def __init__(self, zone: str, double: Route53Double, api: Route53Api) -> None:
        self.zone = zone
        self.double = double
        self._api = api
        self._zones: list[ZoneBackend] = []

    @classmethod
    async def open(cls, zone: str) -> "Route53Site":
        double = Route53Double([zone])
        await double.start()
        api = await Route53Api.open(timeout_s=5.0, requests_per_s=10_000, endpoint_url=double.url)
        return cls(zone, double, api)

    def client(self) -> ZoneBackend:
        opened = Route53Zone(self.zone, self._api, zone_id=self.double.ids[self.zone], poll_s=0.01)
        self._zones.append(opened)
        return opened

    async def put_foreign(self, name: str, *, records: Records = NO_RECORDS, cname: str | None = None) -> None:
        texts = {"A": [t for t in records.texts() if ":" not in t], "AAAA": [t for t in records.texts() if ":" in t]}
        new = [
            RecordSet(name=name, type=rtype, ttl_s=records.ttl_s, values=tuple(values))
            for rtype, values in texts.items()
            if values
        ]
        if cname is not None:
            new.append(RecordSet(name=name, type="CNAME", ttl_s=30, values=(cname.rstrip("."),)))
        self.put(name, *new)

    async def put_cut(self, owner: str, kind: str) -> None:
        raise NotImplementedError

    async def put_fence(self, texts: Sequence[Sequence[str]]) -> None:
        name = fence_name(self.zone)
        values = tuple(" ".join(f'"{part}"' for part in parts) for parts in texts)
        self.put(name, *[RecordSet(name=name, type="TXT", ttl_s=300, values=values)][: len(values)])

    def put(self, name: str, *sets: RecordSet) -> None:
        """Make a name hold exactly these."""
        hosted = self.double.zones[self.double.ids[self.zone]]
        gone = [Change(action="DELETE", record_set=one) for one in hosted.sets.values() if one.name == name]
        problems = hosted.apply([*gone, *(Change(action="CREATE", record_set=one) for one in sets)])
        assert not problems, problems

    async def stop(self) -> None:
        await self.double.stop()

    kill = stop

    async def start(self) -> None:
        await self.double.start()

    async def close(self) -> None:
        for zone in self._zones:
            await zone.close()
        await self._api.close()
        await self.double.stop()


async def _open(zone: str, servers: Servers) -> Site:
    return await Route53Site.open(zone)


KINDS = (Kind(name="route53", open=_open, own=Route53Site.open),)
