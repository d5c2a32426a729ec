"""Records as keys of the store's etcd, which CoreDNS serves."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from enactord.backends.backend import Access, Backend, Capabilities, Connected, Site, Told, ZoneConfig
from enactord.core.render import ANSWERS_MAX
from enactord.core.settings import integer, text
from enactord.ports import Renewable, ZoneBackend

_ANSWERS_MAX_LIMIT = 50
"""A name with as many A as AAAA must fit one transaction of etcd."""


def _parse_path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value):
        raise ValueError('must begin, but not end, with "/"')
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SkydnsConfig(ZoneConfig):
    """A zone of the backend skydns."""

    BACKEND: ClassVar[str] = "skydns"

    skydns_path: str = text(
        "/skydns",
        parse=_parse_path,
        takes="a path of keys, as /skydns",
        meaning="The `path` of CoreDNS's etcd plugin. The records are kept in the etcd of `store.url`.",
    )
    batch_names_max: int = integer(
        10, low=1, high=200, meaning="Most names in one transaction, which holds 128 operations."
    )
    answers_max: int = integer(
        ANSWERS_MAX,
        low=1,
        high=_ANSWERS_MAX_LIMIT,
        meaning="Most addresses that one name serves, of each family.",
    )

    @classmethod
    def finish(cls, values: dict[str, Any], told: Told) -> dict[str, Any]:
        if not values["verify"]:
            told.warn("verify", "without it the keys in etcd are read back, not what CoreDNS serves")
        return values


async def _connect(zone: SkydnsConfig, site: Site) -> Connected:
    from enactord.backends.readers.verifiers import named_or_itself
    from enactord.backends.skydns.zone import SkydnsZone

    port = SkydnsZone(zone.name, await site.shared("skydns", site.open_store), path=zone.skydns_path)
    return Connected(zone=port, verifiers=named_or_itself(zone, site, port))


def _renew(port: ZoneBackend, zone: SkydnsConfig, access: Access) -> None:
    from enactord.backends.skydns.zone import SkydnsZone

    assert isinstance(port, SkydnsZone), port
    if isinstance(port.store, Renewable):
        port.store.renew(access.tls, access.password)


BACKEND = Backend(
    meaning="keys of the store's etcd, which CoreDNS serves",
    zone=SkydnsConfig,
    can=Capabilities(fence_in_zone=False, store="etcd"),
    connect=_connect,
    renew=_renew,
)
