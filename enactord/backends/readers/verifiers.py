"""What is asked after each write: a server in bulk, and in part by a stack that shares no code with the writer."""

from enactord.backends.backend import Site, ZoneConfig
from enactord.backends.readers.aiodns import AiodnsReader
from enactord.backends.readers.bulk import BulkReader
from enactord.backends.readers.fallback import FallbackReader
from enactord.ports import ServedReader, Verifier, ZoneBackend
from enactord.wire.address import Address


def other_server(zone: ZoneConfig, site: Site, server: Address) -> Verifier:
    """Return the verifier of a server that is not written to, asked unsigned, as clients ask it."""
    bulk = BulkReader(
        server.host,
        server.port,
        timeout_s=zone.timeout_s,
        shared=site.connections(server),
        owner=zone.name,
        zone=zone.name,
    )
    return Verifier(server=str(server), bulk=bulk, sample=unsigned(zone, server))


def own_server(zone: ZoneConfig, server: Address, port: ZoneBackend) -> Verifier:
    """Return the verifier of the server that is written to: the key may decide what is answered, and whether."""
    return Verifier(server=str(server), bulk=port, sample=signed(zone, server, port))


def signed(zone: ZoneConfig, server: Address, port: ServedReader) -> ServedReader:
    """Return a reader that shares no code with the writer, and asks again by a key what it gets no answer for."""
    return FallbackReader(unsigned(zone, server), port)


def unsigned(zone: ZoneConfig, server: Address) -> ServedReader:
    return AiodnsReader(server.host, server.port, timeout_s=zone.timeout_s)


def named_or_itself(zone: ZoneConfig, site: Site, port: ZoneBackend) -> list[Verifier]:
    """Return the verifiers that the config names; without any, what was written is read back where it was written."""
    named = [other_server(zone, site, server) for server in zone.verify]
    return named or [Verifier(server=zone.backend, bulk=port, sample=port)]
