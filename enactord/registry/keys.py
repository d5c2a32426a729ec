"""Where everything is kept in the plan store: `/enactord/<scope>/…`."""

import re
from dataclasses import dataclass

from enactord.core.fence import Fence
from enactord.core.plan import GENERATION_MAX

_SCOPE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z")
_DIGITS = 20
_FENCE_VALUE = re.compile(rb"([0-9]{20}) ([0-9a-f]{16})\Z")


def valid_scope(scope: str) -> bool:
    """Whether a text can name a scope: 1 to 63 of a-z, 0-9, '.', '_' and '-'."""
    return _SCOPE.match(scope) is not None


def pad(generation: int) -> str:
    """Return a generation in 20 digits: etcd compares bytes, so 9 must sort below 10."""
    return f"{generation:0{_DIGITS}d}"


def fence_value(generation: int, mark: str) -> bytes:
    """Return what `fences/<zone>` and `head` hold for a generation."""
    return f"{pad(generation)} {mark}".encode("ascii")


def parse_fence_value(value: bytes) -> tuple[int, str] | None:
    """Return generation and plan mark of a stored fence or head, or None where it is garbage."""
    found = _FENCE_VALUE.match(value)
    if found is None or int(found[1]) >= GENERATION_MAX:
        return None
    return int(found[1]), found[2].decode("ascii")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one scope."""

    scope: str

    @property
    def root(self) -> str:
        return f"/enactord/{self.scope}/"

    @property
    def head(self) -> str:
        return self.root + "head"

    @property
    def prune_epoch(self) -> str:
        return self.root + "prune_epoch"

    @property
    def freeze(self) -> str:
        return self.root + "control/freeze"

    def plan(self, generation: int) -> str:
        return f"{self.root}plans/{pad(generation)}"

    def chunk(self, digest: str) -> str:
        return f"{self.root}chunks/{digest}"

    def fence(self, zone: str) -> str:
        return f"{self.root}fences/{zone}"

    def applied(self, zone: str) -> str:
        return f"{self.root}applied/{zone}"

    def claims(self, generation: int) -> str:
        return f"{self.root}claims/{pad(generation)}/"

    def claim(self, generation: int, enactor: str) -> str:
        return self.claims(generation) + enactor

    def ledger(self, bucket: int) -> str:
        return f"{self.root}ledger/{bucket:04d}"

    def enactor(self, enactor: str) -> str:
        return f"{self.root}enactors/{enactor}"

    @property
    def rooms(self) -> tuple[str, ...]:
        """The prefixes (and single keys) that a mirror holds: all but the chunks."""
        names = ("applied/", "claims/", "control/", "enactors/", "fences/", "head", "ledger/", "plans/")
        return tuple(self.root + name for name in (*names, "prune_epoch"))


def parse_pad(text: str, digits: int = _DIGITS) -> int | None:
    """Return the number that a padded part of a key stands for, or None where it is garbage."""
    return int(text) if len(text) == digits and text.isascii() and text.isdigit() else None


def store_fence(scope: str, value: bytes) -> Fence | None:
    """Return the fence that a `fences/<zone>` value stands for, or None where it is garbage."""
    parsed = parse_fence_value(value)
    return parsed and Fence(scope=scope, generation=parsed[0], plan=parsed[1])
