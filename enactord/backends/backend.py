"""What a backend is: the keys of its zones, what it can do, and how a zone of it is connected.

A backend is a package here that exports `BACKEND`, and a line of `ALL`. Config, wiring, reload, doctor, documents and
the contract suite walk that list.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from enactord.core.errors import InvalidName
from enactord.core.names import fence_name, parse_name, wire_name
from enactord.core.render import ANSWERS_MAX, ANSWERS_MAX_LIMIT
from enactord.core.settings import Addresses, declare, integer, number, text
from enactord.ports import Clock, KeyValue, Primaries, Verifier, ZoneBackend
from enactord.wire.address import Address
from enactord.wire.connections import ServerConnections
from enactord.wire.names import MAX_NAME_BYTES
from enactord.wire.tls import Tls


class Told(Protocol):
    """A table of the config while it is read: what it was given, and where its problems go."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are given."""
        ...

    @property
    def for_daemon(self) -> bool:
        """Whether an enactor is to run by it; tools for people need less."""
        ...

    def problem(self, key: str, text: str) -> None: ...

    def warn(self, key: str, text: str) -> None: ...

    def path(self, key: str) -> Path | None:
        """Return the path that a key names."""
        ...


def _parse_zone(value: str) -> str:
    try:
        name = parse_name(value)
        if len(wire_name(fence_name(name))) > MAX_NAME_BYTES:
            most = MAX_NAME_BYTES - len(fence_name("")) - 1  # its final dot included
            raise ValueError(
                f"too long: {fence_name('')} before it names its fence, and so it may have {most} characters"
            )
    except InvalidName as error:
        raise ValueError(str(error)) from error
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneConfig:
    """One [[zone]]: the keys of every backend. Each backend's class adds its own.

    A field that a backend declares again without a key is fixed: the backend takes no such key.
    """

    BACKEND: ClassVar[str] = ""
    """Name of the backend."""
    REPAIR_INTERVAL_S: ClassVar[float] = 30.0
    """Usual pause between two looks at all that is served."""
    SHARED: ClassVar[tuple[str, ...]] = ()
    """Keys that all zones of this backend must agree in."""
    WITHOUT: ClassVar[Mapping[str, str]] = {}
    """Why the backend takes no such key of `ZoneConfig`."""

    name: str = text(
        required=True,
        parse=_parse_zone,
        takes="a domain name",
        meaning="Name of the zone. An endpoint belongs to the zone with the longest matching name.",
    )
    batch_names_max: int = integer(
        50, low=1, high=200, meaning="Most names in one message. BIND is fastest with 20 to 25, Knot with 50 to 100."
    )
    in_flight_max: int = integer(
        16, low=1, high=1000, meaning="Most messages under way at once. Below that limit the pace adapts."
    )
    timeout_s: float = number(
        5.0, low=0.1, high=300, meaning="Time limit for one answer of a DNS server, or of Route 53."
    )
    verify: tuple[Address, ...] = declare(
        Addresses(listed=True),
        (),
        "Authoritative servers that are asked after each write. By default: the server that was written to.",
    )
    verify_timeout_s: float = number(
        3.0, low=0.1, high=600, meaning="Time limit for a written name to appear on these servers."
    )
    answers_max: int = integer(
        ANSWERS_MAX,
        low=1,
        high=ANSWERS_MAX_LIMIT,
        meaning="""Most addresses that one name serves, of each family. If it has more targets, a weighted sample is
        drawn.""",
    )

    @classmethod
    def finish(cls, values: dict[str, Any], told: Told) -> dict[str, Any]:
        """Return the values of the fields as the zone has them, once all were read; problems are told."""
        return values

    @property
    def backend(self) -> str:
        return self.BACKEND

    @property
    def verify_servers(self) -> tuple[Address, ...]:
        """The DNS servers that are asked after a write: by default the one that was written to, if it was one."""
        return self.verify

    @property
    def asked_server(self) -> str:
        """What answers questions for the fence: a DNS server, the store's etcd, or an account."""
        return self.BACKEND

    @property
    def own_servers(self) -> tuple[Address, ...]:
        """The DNS servers that are written to."""
        return ()

    @property
    def primaries(self) -> tuple[str, ...]:
        """The servers that may be the zone's primary, as its fence record names them."""
        return ()

    @property
    def fence_questions_per_s(self) -> float | None:
        """A bound of its own on questions for fences; None: the config's."""
        return None


T = TypeVar("T", bound="Closable")


class Closable(Protocol):
    """Something that is let go of at the end."""

    async def close(self) -> None: ...


class Site:
    """What the zones of a config are connected with, and share while they are open."""

    def __init__(
        self,
        stack: AsyncExitStack,
        *,
        state_dir: Path,
        clock: Clock,
        open_store: Callable[[], Awaitable[KeyValue]],
    ) -> None:
        """`stack`: closes what is opened here. `open_store`: connects to the plan store anew."""
        self.state_dir = state_dir
        self.clock = clock
        self.open_store = open_store
        self._stack = stack
        self._shared: dict[Hashable, Any] = {}

    async def shared(self, of: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return what is shared under this key; it is made for the first who asks, and closed at the end."""
        return self._shared.get(of) or self._kept(of, await make())

    def connections(self, server: Address) -> ServerConnections:
        """Return the connections to a DNS server, which all of its zones share."""
        return self._shared.get(server) or self._kept(server, ServerConnections(server.host, server.port))

    def _kept(self, of: Hashable, made: T) -> T:
        """Share from now on what was made, and close it at the end."""
        self._shared[of] = made
        self._stack.push_async_callback(made.close)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A zone that is connected, and what is asked after each write to it."""

    zone: ZoneBackend
    verifiers: Sequence[Verifier]
    primaries: Primaries | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the plan store is reached now: certificates and a password, which may have been renewed."""

    tls: Tls
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do that not every backend can.

    `rfc2136`: it takes DNS updates itself. `fence_in_zone`: the fence is a record that DNS serves, and names may be
    wildcards. `store`: the kind of store that it needs; "": any.
    """

    rfc2136: bool = False
    fence_in_zone: bool = True
    store: str = ""


@asynccontextmanager
async def _serve_nothing(zones: Sequence[Any], state_dir: Path) -> AsyncIterator[None]:
    yield


def _renew_nothing(zone: Any, config: Any, access: Access) -> None:
    """Hold nothing that can be renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A way to write zones.

    `connect` makes the ports of one zone; connections are made when they are needed. It raises `ConfigError`.
    `serve` runs, while its context lasts, what the zones of this backend need in this process. `renew` gives an open
    zone the secrets of its config read anew; it cannot fail.
    """

    meaning: str
    zone: type[ZoneConfig]
    can: Capabilities
    connect: Callable[[Any, Site], Awaitable[Connected]]
    serve: Callable[[Sequence[Any], Path], AbstractAsyncContextManager[None]] = _serve_nothing
    renew: Callable[[Any, Any, Access], None] = _renew_nothing

    @property
    def name(self) -> str:
        return self.zone.BACKEND
