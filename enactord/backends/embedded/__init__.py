"""The DNS server inside an enactor's own process, written by DNS UPDATE like any other."""

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from enactord.backends.backend import Backend, Capabilities
from enactord.backends.rfc2136 import connect
from enactord.backends.rfc2136.keys import ALGORITHM, EMBEDDED_ADDRESS, UpdatedZone, parse_key_name
from enactord.core.errors import ConfigError
from enactord.core.settings import Addresses, File, Holds, declare, text
from enactord.wire.address import Address
from enactord.wire.tsig import ALGORITHMS, TsigKey
from enactord.wire.tsig_file import parse_algorithm

KEY = "enactord"
_OWN_SECRET_FILE = "embedded-tsig.secret"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedConfig(UpdatedZone):
    """A zone of the backend embedded. Its key is given at the start: without one, the server makes its own."""

    BACKEND: ClassVar[str] = "embedded"

    server: tuple[Address, ...] = declare(
        Addresses(), (EMBEDDED_ADDRESS,), "Address on which it listens, the same for all embedded zones."
    )
    tsig_name: str = text(
        parse=parse_key_name,
        meaning="Name of the TSIG key for updates. By default the server makes a key for itself.",
    )
    tsig_algorithm: str = text(
        parse=parse_algorithm,
        takes=f"one of {', '.join(ALGORITHMS)}",
        meaning="Algorithm of that key. By default: hmac-sha256.",
    )
    tsig_secret: bytes = declare(
        File(Holds.SECRET),
        b"",
        "File of the key, as tsig-keygen prints it, or its secret alone in base64.",
        name="tsig_secret_file",
        secret=True,
    )

    def tsig(self, state_dir: Path) -> TsigKey:
        if self.tsig_name:
            return self.given_tsig
        return TsigKey(name=KEY, algorithm=ALGORITHM, secret=_own_secret(state_dir))

    def own_key_file(self, state_dir: Path) -> Path | None:
        return None if self.tsig_name else state_dir / _OWN_SECRET_FILE


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


@asynccontextmanager
async def serve(zones: Sequence[EmbeddedConfig], state_dir: Path) -> AsyncIterator[None]:
    """Run the DNS server for these zones while the context lasts. Raises `ConfigError`."""
    from enactord.dns_server import EmbeddedServer

    addresses = {zone.first_server for zone in zones}
    if len(addresses) > 1:
        raise ConfigError(("zone.server: the embedded zones must share one address",))
    address = addresses.pop()
    keys = {key.name: key for key in (zone.tsig(state_dir) for zone in zones)}
    server = EmbeddedServer(zones=[zone.name for zone in zones], keys=list(keys.values()), state_dir=state_dir / "dns")
    try:
        await server.start(address.host, address.port)
    except OSError as error:
        raise ConfigError((f"zone.server: {address}: {error.strerror or error}; choose another port",)) from error
    try:
        yield
    finally:
        await server.close()


BACKEND = Backend(
    meaning="an authoritative DNS server inside the enactor's process",
    zone=EmbeddedConfig,
    can=Capabilities(rfc2136=True),
    connect=connect,
    serve=serve,
)
