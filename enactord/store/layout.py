"""What is kept in the plan store: every kind of stored thing, declared once.

A value begins with a line in clear: the name of its kind and the number of its format, as in
"fence 1". So a version can tell a value that is damaged, which may be replaced, from a value of
another version, which it must leave alone.

Everything that goes over the store walks `KINDS`: keys, cache, local copy, backup and restore.
A new kind is one line of the table. Whoever changes the form of a kind's values raises its `format`.
"""

import re
from dataclasses import dataclass, field

_HEADER = re.compile(rb"([a-z-]{1,32}) ([1-9][0-9]{0,5})\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFormat:
    """What stands in place of a value that another version has written: its kind, and both numbers."""

    kind: str
    found: int
    reads: int

    def __str__(self) -> str:
        return (
            f"value of kind {self.kind} in format {self.found}, and this version reads format {self.reads}:"
            f" start enactord of a version that writes format {self.found}"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One kind of stored thing."""

    name: str
    """The first word of its values."""
    prefix: str
    """What its keys begin with below the scope's root; without a final "/" it is the one key."""
    format: int = 1
    """The format that this version writes and reads."""
    cached: bool = False
    """Whether the cache of an enactor holds it."""
    copied: bool = False
    """Whether the copy on local disk has it; of chunks, those of the plans at the fences."""
    leased: bool = False
    """Whether it lives as long as an enactor's lease; then a backup leaves it out."""
    header: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", f"{self.name} {self.format}\n".encode("ascii"))

    @property
    def single(self) -> bool:
        """Whether the kind is one key alone."""
        return not self.prefix.endswith("/")

    def value(self, body: bytes) -> bytes:
        """Return what is stored for a body."""
        return self.header + body

    def body(self, value: bytes) -> bytes | OtherFormat | None:
        """Return what a stored value says behind its first line; None where it is damaged."""
        if value.startswith(self.header):
            return value[len(self.header) :]
        return self.other_format(value)

    def other_format(self, value: bytes) -> OtherFormat | None:
        """Return the format of a value of this kind that another version has written; None for any other value."""
        if value.startswith(self.header):
            return None
        found = _HEADER.match(value)
        if found is None or found[1] != self.name.encode("ascii"):
            return None
        return OtherFormat(kind=self.name, found=int(found[2]), reads=self.format)


KINDS: tuple[Kind, ...] = (
    CHUNK := Kind(name="chunk", prefix="chunks/", format=2, copied=True),
    PLAN := Kind(name="plan", prefix="plans/", format=2, cached=True, copied=True),
    REFUSED := Kind(name="refused", prefix="refused/", cached=True, copied=True),
    CONTRIBUTION := Kind(name="contribution", prefix="contributions/", cached=True),
    HEAD := Kind(name="head", prefix="head", cached=True, copied=True),
    LEDGER := Kind(name="ledger", prefix="ledger/", format=2, cached=True, copied=True),
    FREEZE := Kind(name="freeze", prefix="control/freeze", cached=True, copied=True),
    LIMITS := Kind(name="limits", prefix="control/limits", cached=True, copied=True),
    OVERRIDE := Kind(name="override", prefix="control/overrides/", cached=True, copied=True),
    PAUSED := Kind(name="paused", prefix="control/paused/", cached=True, copied=True),
    RETIRED := Kind(name="retired", prefix="control/retired/", cached=True, copied=True),
    LOWERING := Kind(name="lowering", prefix="control/lowering/", cached=True, copied=True),
    LOWERED := Kind(name="lowered", prefix="control/lowered/"),
    TAKEN := Kind(name="taken", prefix="control/taken/"),
    ASIDE := Kind(name="aside", prefix="aside/"),
    AUDIT := Kind(name="audit", prefix="audit/"),
    PRUNE_EPOCH := Kind(name="prune-epoch", prefix="prune_epoch", cached=True),
    FENCE := Kind(name="fence", prefix="fences/", cached=True, copied=True),
    APPLIED := Kind(name="applied", prefix="applied/", cached=True, copied=True),
    CLAIM := Kind(name="claim", prefix="claims/", cached=True, leased=True),
    ENACTOR := Kind(name="enactor", prefix="enactors/", cached=True, leased=True),
    REPORT := Kind(name="report", prefix="reports/", leased=True),
    CONFIGURED := Kind(name="configured", prefix="configured/", leased=True),
    PROBE := Kind(name="probe", prefix="probes/", leased=True),
    INSTALLATION := Kind(name="installation", prefix="installation", cached=True, copied=True),
)
"""All kinds, in the order in which a restore writes them.

What others refer to comes first. Ledgers come before what is recorded as applied: a bucket that is
written after that record is looked at again. The installation's id is the last: an enactor that
knows it takes no store for its own that does not have it, hence none that is half restored.
"""

CONTENT = (PLAN, LEDGER, FENCE)
"""A store or a copy that has nothing of these is empty: there is nothing to lose."""

_BY_PREFIX = {kind.prefix: kind for kind in KINDS}


def split_name(name: str) -> tuple[Kind | None, str]:
    """Return the kind of a key, given below the scope's root, and what follows its prefix.

    None: a kind that this version does not know.
    """
    end = name.find("/") + 1
    while end:
        kind = _BY_PREFIX.get(name[:end])
        if kind is not None:
            return kind, name[end:]
        end = name.find("/", end) + 1
    return _BY_PREFIX.get(name), ""
