"""DNS UPDATE over TCP, signed by TSIG: BIND, Knot, PowerDNS, CoreDNS and others."""

from enactord.backends.backend import Access, Backend, Capabilities, Connected, Site
from enactord.backends.rfc2136.keys import Rfc2136Config, UpdatedZone
from enactord.ports import ZoneBackend

__all__ = ["BACKEND", "connect"]


async def connect(zone: UpdatedZone, site: Site) -> Connected:
    """Connect a zone to its server, or to those that may be its primary. Raises `ConfigError`."""
    from enactord.backends.rfc2136.connect import (
        connect_updated,  # what it imports, commands on other zones do not need
    )

    return connect_updated(zone, site)


def _renew(port: ZoneBackend, zone: Rfc2136Config, access: Access) -> None:
    from enactord.backends.rfc2136.connect import sign_by

    sign_by(port, zone)


BACKEND = Backend(
    meaning="DNS UPDATE (RFC 2136) over TCP with TSIG",
    zone=Rfc2136Config,
    can=Capabilities(rfc2136=True),
    connect=connect,
    renew=_renew,
)
