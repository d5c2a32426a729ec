"""The keys of zones that are written by DNS UPDATE: servers, and the key that signs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from enactord.backends.backend import Told, ZoneConfig
from enactord.core.settings import Addresses, File, Holds, declare, text
from enactord.wire.address import Address
from enactord.wire.names import text_to_wire
from enactord.wire.tsig import ALGORITHMS, TsigKey
from enactord.wire.tsig_file import KeyFile, NoKey, parse_algorithm, parse_key_file, same_name

ALGORITHM = "hmac-sha256"
EMBEDDED_ADDRESS = Address(host="127.0.0.1", port=5354)


def parse_key_name(value: str) -> str:
    try:
        text_to_wire(value)
    except ValueError:
        raise ValueError("is no name of a key: labels of at most 63 ASCII characters, 254 in all") from None
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedZone(ZoneConfig):
    """A zone whose servers take DNS updates that a TSIG key signs."""

    NEEDS_KEY: ClassVar[bool] = False
    """Whether an enactor cannot do without a key in the config."""

    server: tuple[Address, ...] = (EMBEDDED_ADDRESS,)
    tsig_name: str = ""
    tsig_algorithm: str = ALGORITHM
    tsig_secret: bytes = b""

    @property
    def first_server(self) -> Address:
        """The server that is tried first."""
        return self.server[0]

    @property
    def own_servers(self) -> tuple[Address, ...]:
        return self.server

    @property
    def verify_servers(self) -> tuple[Address, ...]:
        return self.verify or self.server[:1]

    @property
    def asked_server(self) -> str:
        return ", ".join(sorted(str(server) for server in self.server))

    @property
    def given_tsig(self) -> TsigKey:
        """The key that the config gives."""
        return TsigKey(name=self.tsig_name, algorithm=self.tsig_algorithm, secret=self.tsig_secret)

    def tsig(self, state_dir: Path) -> TsigKey:
        """Return the key that signs updates of the zone and questions to its server. Raises `ConfigError`."""
        return self.given_tsig

    def own_key_file(self, state_dir: Path) -> Path | None:
        """Return the file of the key that the server makes for itself; None: the key is given."""
        return None

    @classmethod
    def finish(cls, values: dict[str, Any], told: Told) -> dict[str, Any]:
        """Take name and algorithm of the key from its file, where the table does not tell them."""
        found = _read_key(values, told, required=cls.NEEDS_KEY and told.for_daemon)
        return values | {"tsig_name": found.name, "tsig_algorithm": found.algorithm, "tsig_secret": found.secret}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rfc2136Config(UpdatedZone):
    """A zone of the backend rfc2136."""

    BACKEND: ClassVar[str] = "rfc2136"
    NEEDS_KEY: ClassVar[bool] = True

    server: tuple[Address, ...] = declare(
        Addresses(several=True),
        (EMBEDDED_ADDRESS,),
        """The primary server, which takes updates; or a list of servers that may be the primary. enactord goes on to
        the next server only when a server says that it is not the primary, never when it is silent. All enactors must
        name the same servers.""",
        required=True,
    )
    tsig_name: str = text(
        parse=parse_key_name,
        reload=True,
        meaning="Name of the TSIG key for updates and questions. Not needed where tsig_secret_file tells it.",
    )
    tsig_algorithm: str = text(
        parse=parse_algorithm,
        takes=f"one of {', '.join(ALGORITHMS)}",
        reload=True,
        meaning="Algorithm of that key. Not needed where tsig_secret_file tells it. By default: hmac-sha256.",
    )
    tsig_secret: bytes = declare(
        File(Holds.SECRET),
        b"",
        "File of the key, as tsig-keygen or keymgr -t print it, or its secret alone in base64.",
        name="tsig_secret_file",
        secret=True,
        required=True,
        for_daemon=True,
        reload=True,
    )

    @property
    def primaries(self) -> tuple[str, ...]:
        return tuple(str(server) for server in self.server)


def _read_key(values: Mapping[str, Any], told: Told, *, required: bool) -> KeyFile:
    """Return the key that signs a zone's updates: from its file, and what the table says besides."""
    name, algorithm, content = values["tsig_name"], values["tsig_algorithm"], values["tsig_secret"]
    read = KeyFile(secret=b"")
    if content:
        try:
            read = parse_key_file(content, name=name)
            parse_key_name(read.name)
        except NoKey as error:
            told.problem("tsig_secret_file", f"{told.path('tsig_secret_file')}: {error}")
        except ValueError as error:
            told.problem("tsig_secret_file", f"the name of the key in it {error}")
    if required and not name and not read.name:
        told.problem("tsig_name", "is missing: tsig_secret_file does not tell it")
    if name and read.name and not same_name(name, read.name):
        told.problem("tsig_name", f"is {name!r}, but the key in tsig_secret_file is {read.name!r}; leave tsig_name out")
    if algorithm and read.algorithm and algorithm != read.algorithm:
        wrong = f"is {algorithm}, but the key in tsig_secret_file is of {read.algorithm}; leave tsig_algorithm out"
        told.problem("tsig_algorithm", wrong)
    return KeyFile(name=name or read.name, algorithm=algorithm or read.algorithm or ALGORITHM, secret=read.secret)
