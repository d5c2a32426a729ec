"""Records: the RRsets of one name, and a DNS transaction with what it requires and its answer."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from enactord.core.fence import Fence, FenceSeen


class Records(NamedTuple):
    """The A and AAAA RRsets of one name.

    Addresses are packed (4 and 16 bytes, network order) and sorted; `ttl_s` is 0 when
    both are empty. `weights`: where the zone expresses them, one for each of `a` and then of
    `aaaa`; () elsewhere. Equality ignores nothing: compare `addresses` to leave the TTL out.
    """

    ttl_s: int
    a: tuple[bytes, ...]
    aaaa: tuple[bytes, ...]
    weights: tuple[int, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.a and not self.aaaa

    @property
    def addresses(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        return (self.a, self.aaaa)

    def texts(self) -> tuple[str, ...]:
        """The addresses as text, A first."""
        return tuple(socket.inet_ntop(socket.AF_INET, packed) for packed in self.a) + tuple(
            socket.inet_ntop(socket.AF_INET6, packed) for packed in self.aaaa
        )


NO_RECORDS = Records(ttl_s=0, a=(), aaaa=())


class Served(NamedTuple):
    """What an authoritative server answers for a name, or says that it holds there.

    `alias` is the target of a CNAME that stands there instead of addresses, else None.
    `ttl_known` is False where the asker cannot see the TTL; then `records.ttl_s` is 0.
    `covered` names what stands above the name, so that the zone does not answer for it: "NS sub.zone."
    (a delegation), "DNAME sub.zone.", or "zone sub.zone." (a child zone of the same server); else "".
    `ttl_most_s` is the greatest TTL where A and AAAA, or the records of one RRset, do not have one and
    the same; `records.ttl_s` is the least then, and the answer shows no records that could be wanted.
    """

    records: Records
    alias: str | None = None
    ttl_known: bool = True
    covered: str = ""
    ttl_most_s: int | None = None

    @property
    def empty(self) -> bool:
        """Whether the zone answers for the name, and with no address and no CNAME."""
        return self.records.empty and self.alias is None and not self.covered

    def texts(self) -> tuple[str, ...]:
        """What is served, for people: addresses, or what stands in their place."""
        if self.covered:
            return (f"covered by {self.covered}",)
        return self.records.texts() if self.alias is None else (f"CNAME {self.alias}",)

    @property
    def ttl_text(self) -> str:
        """The TTL that is served, for people: "TTL 5", or "TTL 5 to 86400" where it is not the same everywhere."""
        return f"TTL {self.records.ttl_s}" + ("" if self.ttl_most_s is None else f" to {self.ttl_most_s}")

    def shows(self, records: Records) -> bool:
        """Whether this answer is exactly these records (and their TTL, where it is known)."""
        return self.shows_but_for_ttl(records) and (
            records.empty or not self.ttl_known or (self.records.ttl_s == records.ttl_s and self.ttl_most_s is None)
        )

    def shows_but_for_ttl(self, records: Records) -> bool:
        """Whether this answer is exactly these records, whatever their TTL."""
        same = self.records.addresses == records.addresses and self.records.weights == records.weights
        return same and not self.covered and self.alias is None

    def unlike(self, wanted: Records) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is served and what is wanted, for people: with the TTLs where nothing else differs."""
        if self.shows_but_for_ttl(wanted) and not self.shows(wanted):
            return (*self.texts(), self.ttl_text), (*wanted.texts(), f"TTL {wanted.ttl_s}")
        return self.texts(), wanted.texts()


def served_with(
    ttls: Sequence[int], a: tuple[bytes, ...], aaaa: tuple[bytes, ...], weights: tuple[int, ...] = ()
) -> Served:
    """Return the answer that these addresses are, where records have these TTLs."""
    least, most = min(ttls), max(ttls)
    records = Records(ttl_s=least, a=a, aaaa=aaaa, weights=weights)
    return Served(records=records, ttl_most_s=None if least == most else most)


class Expect(StrEnum):
    """What a change requires of its name, besides that no CNAME stands there."""

    OWNED = "owned"
    """Nothing more: the write is total."""
    NEW = "new"
    """No A and no AAAA: never take over a name that the ledger does not own."""
    EXACT = "exact"
    """The A and the AAAA RRset are each exactly `Change.before`, or absent where that is empty."""


class Requirement(NamedTuple):
    """What must stand at a name: exactly these A and AAAA records (NO_RECORDS: neither), and no CNAME."""

    name: str
    records: Records


class Change(NamedTuple):
    """The new records of one name; `after` is NO_RECORDS to remove it.

    A removal requires no "no CNAME": it deletes A and AAAA alone, and a CNAME stays.
    `before` counts only with `Expect.EXACT` (its TTL does not: prerequisites carry none).
    """

    name: str
    after: Records
    expect: Expect = Expect.OWNED
    before: Records = NO_RECORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One atomic update of a zone: all of it happens, or nothing.

    The zone's fence must be exactly `fence_seen` (no fence record at all where that is
    empty); it becomes `fence_after` where one is given. Changes are sorted by name.
    `requires` changes nothing: a transaction of requirements alone asks what the zone holds, where
    an answer to a question may be a wildcard's, or of a copy that lags. `primary`: the server that it
    is for, where a zone may have several; "": the one that is asked now. `fence_ttl_s` is the TTL of the
    fence that is written: with another one than stands there, the zone changes where nothing else does.
    """

    fence_seen: FenceSeen
    fence_after: Fence | None = None
    changes: Sequence[Change] = ()
    requires: Sequence[Requirement] = ()
    primary: str = ""
    fence_ttl_s: int = 0


class Reason(StrEnum):
    """Why a server refused a transaction."""

    CONDITION = "condition"
    """A prerequisite does not hold: the fence moved, or a name is not as expected. Read to learn which."""
    DENIED = "denied"
    """The server does not accept key, clock or zone, or something of the content: its answer does not say which."""
    CONTENT = "content"
    """The server does not take these records (FORMERR, NOTIMP, NOTZONE and other answers about a message)."""
    BUSY = "busy"
    """The server asks to come later: nothing was applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The server acknowledged the transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server answered that nothing of the transaction was applied.

    `answer`: the server's own word for it, as "REFUSED" or "NOTAUTH, TSIG error BADKEY"; "": `detail` is all there is.
    """

    reason: Reason
    detail: str
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """No answer, or one that proves nothing: it may have been applied. Read before any other write.

    `answered`: the server did answer, and said that it failed at it (SERVFAIL).
    """

    detail: str
    answered: bool = False


Outcome = Committed | Refused | Unknown
