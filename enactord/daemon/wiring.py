"""From a config to an enactor with its ports: the only place where backends and stores are chosen."""

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from enactord.backends.readers.aiodns import AiodnsReader
from enactord.backends.readers.bulk import BulkReader
from enactord.backends.readers.fallback import FallbackReader
from enactord.backends.rfc2136.connections import ServerConnections
from enactord.backends.rfc2136.primaries import CurrentReader, SeveralServers
from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.backends.skydns.zone import SkydnsZone
from enactord.clock import SystemClock
from enactord.config.files import is_there
from enactord.config.store import open_config_store
from enactord.config.tables import Address, Config, ZoneConfig
from enactord.core.errors import ConfigError
from enactord.dns_server import EmbeddedServer
from enactord.engine.settings import Ports, Verifier, ZonePorts
from enactord.ports import KeyValue, Observer, ServedReader, Zone
from enactord.stores.local_copy import SqliteLocalCopy
from enactord.wire.tsig import TsigKey

if TYPE_CHECKING:
    from enactord.backends.route53 import Route53Api

EMBEDDED_KEY = "enactord"
_OWN_SECRET_FILE = "embedded-tsig.secret"
_SECRET_BYTES = 32


def zone_key(config: Config, zone: ZoneConfig) -> TsigKey:
    """Return the key that signs updates of a zone and questions to its server.

    The embedded server's own is made where there is none yet.
    """
    if zone.backend == "embedded" and not zone.tsig_name:
        return TsigKey(name=EMBEDDED_KEY, algorithm="hmac-sha256", secret=_own_secret(config.enactor.state_dir))
    return TsigKey(name=zone.tsig_name, algorithm=zone.tsig_algorithm, secret=zone.tsig_secret)


def owns_no_key(config: Config, zone: ZoneConfig) -> bool:
    """Whether a zone is of the embedded server, and the key of its own is still to be made.

    Raises `PermissionError` where this user may not look.
    """
    own = zone.backend == "embedded" and not zone.tsig_name
    return own and not is_there(config.enactor.state_dir / _OWN_SECRET_FILE)


def _own_secret(state_dir: Path) -> bytes:
    path = state_dir / _OWN_SECRET_FILE
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            fresh = path.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
                os.fsync(file.fileno())
            fresh.replace(path)
        return path.read_bytes()
    except OSError as error:
        raise ConfigError((f"enactor.state_dir: {path}: {error.strerror}",)) from error


class _Opener:
    """Opens zones; those of one backend share what they can: the etcd of the store, the account of Route 53."""

    def __init__(self, config: Config, stack: AsyncExitStack) -> None:
        self._config = config
        self._stack = stack
        self._clock = SystemClock()
        self._store: KeyValue | None = None
        self._api: Route53Api | None = None
        self._servers: dict[Address, ServerConnections] = {}

    def connections(self, server: Address) -> ServerConnections:
        """Return the connections to a DNS server, which all of its zones share."""
        if server not in self._servers:
            opened = self._servers[server] = ServerConnections(server.host, server.port)
            self._stack.push_async_callback(opened.close)
        return self._servers[server]

    async def open(self, zone: ZoneConfig) -> Zone:
        match zone.backend:
            case "skydns":
                if self._store is None:
                    self._store = await open_config_store(self._config)
                    self._stack.push_async_callback(self._store.close)
                return SkydnsZone(zone.name, self._store, path=zone.skydns_path)
            case "route53":
                return await self._open_route53(zone)
            case _ if len(zone.server) > 1:
                return SeveralServers({str(server): self._open_server(zone, server) for server in zone.server})
            case _:
                return self._open_server(zone, zone.first_server)

    def _open_server(self, zone: ZoneConfig, server: Address) -> Rfc2136Zone:
        return Rfc2136Zone(
            zone.name,
            host=server.host,
            port=server.port,
            key=zone_key(self._config, zone),
            clock=self._clock,
            timeout_s=zone.timeout_s,
            shared=self.connections(server),
        )

    async def _open_route53(self, zone: ZoneConfig) -> Zone:
        try:
            from enactord.backends.route53 import Route53Api, Route53Zone  # boto3 takes long to import
        except ModuleNotFoundError as error:
            detail = f"zone.backend: route53 needs {error.name}: pip install 'enactord[route53]'"
            raise ConfigError((detail,)) from error
        if self._api is None:
            self._api = await Route53Api.open(
                timeout_s=zone.timeout_s, requests_per_s=zone.requests_per_s, endpoint_url=zone.endpoint_url
            )
            self._stack.push_async_callback(self._api.close)
        return Route53Zone(zone.name, self._api, zone_id=zone.hosted_zone_id)

    def verifiers(self, zone: ZoneConfig, port: Zone) -> list[Verifier]:
        """Return what is asked after each write: the servers named, or the one that was written to."""
        if not zone.verify and isinstance(port, SeveralServers):
            samples = {str(server): self._signed(zone, server, port.of(str(server))) for server in zone.server}
            return [Verifier(server="the primary", bulk=port, sample=CurrentReader(port, samples))]
        if not zone.verify_servers:
            return [Verifier(server=zone.backend, bulk=port, sample=port)]
        return [self._verifier(zone, server, port) for server in zone.verify_servers]

    def _verifier(self, zone: ZoneConfig, server: Address, port: Zone) -> Verifier:
        if server in zone.server:  # the key may decide what is answered, and whether
            own = port.of(str(server)) if isinstance(port, SeveralServers) else port
            return Verifier(server=str(server), bulk=own, sample=self._signed(zone, server, own))
        bulk = BulkReader(
            server.host,
            server.port,
            timeout_s=zone.timeout_s,
            shared=self.connections(server),
            owner=zone.name,
            zone=zone.name,
        )
        return Verifier(server=str(server), bulk=bulk, sample=self._unsigned(zone, server))

    def _signed(self, zone: ZoneConfig, server: Address, port: ServedReader) -> ServedReader:
        """A reader that shares no code with the writer, and asks again by a key what it gets no answer for."""
        return FallbackReader(self._unsigned(zone, server), port)

    def _unsigned(self, zone: ZoneConfig, server: Address) -> ServedReader:
        return AiodnsReader(server.host, server.port, timeout_s=zone.timeout_s)


@asynccontextmanager
async def open_zones(config: Config) -> AsyncIterator[Mapping[str, ZonePorts]]:
    """Open every zone of a config; connections are made when they are needed."""
    settings = {zone.name: zone for zone in config.settings.zones}
    async with AsyncExitStack() as stack:
        opened: dict[str, ZonePorts] = {}
        opener = _Opener(config, stack)
        for zone in config.zones:
            port = await opener.open(zone)
            stack.push_async_callback(port.close)
            opened[zone.name] = ZonePorts(
                settings=settings[zone.name],
                zone=port,
                verifiers=opener.verifiers(zone, port),
                primaries=port if isinstance(port, SeveralServers) else None,
            )
        yield opened


@asynccontextmanager
async def serve_embedded(config: Config) -> AsyncIterator[None]:
    """Run the embedded DNS server for the zones that ask for it, if any do, while the context lasts."""
    embedded = [zone for zone in config.zones if zone.backend == "embedded"]
    if not embedded:
        yield
        return
    addresses = {zone.first_server for zone in embedded}
    if len(addresses) > 1:
        raise ConfigError(("zone.server: the embedded zones must share one address",))
    address = addresses.pop()
    keys = list({zone_key(config, zone).name: zone_key(config, zone) for zone in embedded}.values())
    server = EmbeddedServer(
        zones=[zone.name for zone in embedded], keys=keys, state_dir=config.enactor.state_dir / "dns"
    )
    try:
        await server.start(address.host, address.port)
    except OSError as error:
        raise ConfigError((f"zone.server: {address}: {error.strerror or error}; choose another port",)) from error
    try:
        yield
    finally:
        await server.close()


@asynccontextmanager
async def open_ports(config: Config, observer: Observer) -> AsyncIterator[Ports]:
    """Open everything that an enactor needs; store and servers may be away. Raises `ConfigError`."""
    state_dir = config.enactor.state_dir
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        probe = state_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        detail = f"enactor.state_dir: {state_dir}: {error.strerror}; make it, writable for this user"
        raise ConfigError((detail,)) from error
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serve_embedded(config))
        zones = await stack.enter_async_context(open_zones(config))
        store = await open_config_store(config)
        stack.push_async_callback(store.close)
        copy = SqliteLocalCopy(state_dir)
        stack.push_async_callback(copy.close)
        yield Ports(store=store, zones=zones, clock=SystemClock(), observer=observer, copy=copy)
