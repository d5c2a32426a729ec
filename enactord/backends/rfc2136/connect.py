"""A zone's config to its ports: on one server, or on several that may be the primary."""

from enactord.backends.backend import Connected, Site
from enactord.backends.readers.verifiers import other_server, own_server, signed
from enactord.backends.rfc2136.keys import Rfc2136Config, UpdatedZone
from enactord.backends.rfc2136.primaries import CurrentReader, SeveralServers
from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.ports import Verifier, ZoneBackend
from enactord.wire.address import Address


def connect_updated(zone: UpdatedZone, site: Site) -> Connected:
    """Return the ports of a zone; connections are made when they are needed. Raises `ConfigError`."""
    if len(zone.server) == 1:
        port = _server(zone, site, zone.first_server)
        return Connected(zone=port, verifiers=[_verifier(zone, site, one, port) for one in zone.verify_servers])
    several = SeveralServers({str(server): _server(zone, site, server) for server in zone.server})
    return Connected(zone=several, verifiers=_of_several(zone, site, several), primaries=several)


def sign_by(port: ZoneBackend, zone: Rfc2136Config) -> None:
    """Let a zone that is open sign by the key of this config from now on."""
    assert isinstance(port, Rfc2136Zone | SeveralServers), port
    port.key = zone.given_tsig


def _server(zone: UpdatedZone, site: Site, server: Address) -> Rfc2136Zone:
    return Rfc2136Zone(
        zone.name,
        host=server.host,
        port=server.port,
        key=zone.tsig(site.state_dir),
        clock=site.clock,
        timeout_s=zone.timeout_s,
        shared=site.connections(server),
    )


def _of_several(zone: UpdatedZone, site: Site, several: SeveralServers) -> list[Verifier]:
    if zone.verify:
        return [_verifier(zone, site, server, several) for server in zone.verify]
    samples = {str(server): signed(zone, server, several.of(str(server))) for server in zone.server}
    return [Verifier(server="the primary", bulk=several, sample=CurrentReader(several, samples))]


def _verifier(zone: UpdatedZone, site: Site, server: Address, port: Rfc2136Zone | SeveralServers) -> Verifier:
    if server not in zone.server:
        return other_server(zone, site, server)
    return own_server(zone, server, port.of(str(server)) if isinstance(port, SeveralServers) else port)
