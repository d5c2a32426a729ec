"""What the engine needs of the outside: Protocols of one to three methods.

Every implementation passes the contract suite of its port (tests/contract), the
memory ones for simulation too, so that a double cannot lie.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from enactord.core.fence import FenceSeen
from enactord.core.kv import Changes, Compare, Item, Operation, Page, Result
from enactord.core.records import Outcome, Served, Transaction
from enactord.wire.tls import Tls

if TYPE_CHECKING:
    # A class for each event: a short command, which observes nothing, would spend a tenth of its time on them.
    from enactord.core.events import Event


class Reading(Protocol):
    """Reads of the plan store. Each raises `StoreDown` when the store does not answer in time."""

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Page:
        """Return the items with start <= key < end (`end` "": the one key), at a revision (0: newest).

        Raises `Compacted` when that revision is gone.
        """
        ...

    async def get(self, keys: Sequence[str]) -> dict[str, Item]:
        """Return those of the keys that exist, any number of keys; not necessarily at one revision."""
        ...


class Transacting(Protocol):
    """Writes of the plan store."""

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        """Carry out all operations if every compare holds, atomically.

        At most `MAX_OPERATIONS` of each and `MAX_REQUEST_BYTES` in all; no key twice
        (ValueError). Raises `StoreUnknown` when it may have been carried out,
        `StoreDown` when it was not, `StoreRefused` when the store will not (also for a
        put with a lease that is gone: `LeaseLost`).
        """
        ...


class Watching(Protocol):
    """News of the plan store."""

    def watch(self, prefix: str, *, start_revision: int) -> AsyncIterator[Changes]:
        """Yield every change under the prefix from that revision on, each revision whole, in order.

        Ends only by an error: `StoreDown` (watch anew from the last revision + 1) or
        `Compacted` (read the prefix afresh). Close the iterator to stop.
        """
        ...


class Leasing(Protocol):
    """Leases: keys attached to one are removed when it is not kept alive for its time to live."""

    async def grant(self, ttl_s: int) -> int:
        """Return the id of a new lease, never 0."""
        ...

    async def keep_alive(self, lease: int) -> None:
        """Set the lease's time back to its full length. Raises `LeaseLost` when it is gone."""
        ...

    async def revoke(self, lease: int) -> None:
        """End the lease and remove its keys; a lease that is gone already is no error."""
        ...


class KeyValue(Reading, Transacting, Watching, Leasing, Protocol):
    """The plan store. A subset of etcd's API and its semantics."""

    async def close(self) -> None:
        """Let go of connections and files; watches end."""
        ...


@runtime_checkable
class Renewable(Protocol):
    """A store that goes over to other certificates and another password while it is used."""

    def renew(self, tls: Tls, password: str) -> None: ...


class ServedReader(Protocol):
    """Asks one authoritative server what it serves."""

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        """Return what is served for each name, from a fresh question each time.

        A name whose question failed while others did not is missing from the answer.
        Raises `ZoneDown` when the server does not answer at all.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """One authoritative server that is asked: in bulk, and, by a stack that shares no code, in part."""

    server: str
    bulk: ServedReader
    sample: ServedReader


class ZoneBackend(ServedReader, Protocol):
    """One zone of an authoritative server that compares and writes in one transaction."""

    async def read_fence(self) -> FenceSeen:
        """Return the TXT records at the fence's name. Raises `ZoneDown`."""
        ...

    async def write(self, transaction: Transaction) -> Outcome:
        """Carry out one transaction; never raises for what a server answers or fails to answer.

        A batch that no message of this backend can hold is refused by its content: make it smaller.
        """
        ...

    async def negative_ttl_s(self) -> int | None:
        """Return how long a resolver keeps an empty answer of this zone, in seconds; None: it cannot be told.

        Raises `ZoneDown`.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; answers still awaited become `Unknown`."""
        ...


class Duty(StrEnum):
    """What a server is for a zone, by its own word."""

    PRIMARY = "primary"
    OTHER = "other"
    """A secondary, or a server without the zone."""
    UNKNOWN = "unknown"
    """It did not say: no answer, no word that proves anything, or a kind of server that is never told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A server's word of its duty; `detail`: how it said so, for people; `takes`: it was seen to take updates."""

    duty: Duty
    detail: str
    takes: bool = False


class Primaries(Protocol):
    """The servers that a zone's config names as its primary; one of them is written to."""

    @property
    def names(self) -> Sequence[str]:
        """The servers, in the order in which they are tried."""
        ...

    @property
    def current(self) -> str:
        """The server that is asked and written to now."""
        ...

    @property
    def decided(self) -> bool:
        """Whether it was found out, or recorded, that this server is the one."""
        ...

    def go_by(self, chosen: Callable[[], str], first: str = "") -> None:
        """Go by what is chosen at each moment; where that is none of the servers, by `first` ("": not decided)."""
        ...

    async def duty(self, name: str) -> Said:
        """Ask a server whether it is the zone's primary."""
        ...

    async def find(self) -> tuple[str, Mapping[str, Said]]:
        """Ask the servers; return the first that is the primary by its own word, and what each has said.

        Where none says so: the first that takes updates; "": none does.
        """
        ...

    async def takes_over(self, name: str) -> Said:
        """Ask a server whether it is the zone's primary, and takes updates: only a signed word counts."""
        ...


class Clock(Protocol):
    """The time of day. Pacing uses the event loop's clock; no safety rests on either."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class Observer(Protocol):
    """Hears what the engine did; must not raise, must not block."""

    def observe(self, event: "Event") -> None: ...


class LocalCopy(Protocol):
    """What an enactor keeps on its own disk, so that it can repair with the store away."""

    async def load(self) -> tuple[list[Item], dict[str, bytes]]:
        """Return the store's items as last saved, and chunks by digest; nothing where there is no copy.

        Raises `CopyUnreadable` where it cannot be used: damaged, or another version's. It is then out of the way,
        or is replaced by the next save.
        """
        ...

    async def save(
        self, items: Mapping[str, Item | None], chunks: Mapping[str, bytes], keep_chunks: Set[str] | None
    ) -> None:
        """Put items (None: remove) and chunks, all or nothing, on disk when this returns.

        `keep_chunks`: drop every chunk not in it (None: drop none). Raises OSError.
        """
        ...
