"""A backend for trials: the zone is kept in this process, and nobody serves it."""

from dataclasses import dataclass
from typing import ClassVar

from enactord.backends.backend import Backend, Capabilities, Connected, Site, ZoneConfig
from enactord.core.settings import integer


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchConfig(ZoneConfig):
    """A zone of the backend scratch."""

    BACKEND: ClassVar[str] = "scratch"

    negative_ttl_s: int = integer(5, low=0, high=86_400, meaning="TTL of an empty answer, in seconds.")


async def _connect(zone: ScratchConfig, site: Site) -> Connected:
    from enactord.backends.memory import MemoryServer, MemoryZone
    from enactord.backends.readers.verifiers import named_or_itself

    server = MemoryServer(zone.name)
    server.negative_ttl_s = zone.negative_ttl_s
    port = MemoryZone(server)
    return Connected(zone=port, verifiers=named_or_itself(zone, site, port))


BACKEND = Backend(
    meaning="a zone in this process, for trials", zone=ScratchConfig, can=Capabilities(), connect=_connect
)
