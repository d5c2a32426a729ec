"""Where everything is kept in the plan store: `/enactord/<scope>/…`."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from enactord.core.buckets import BucketId, valid_slots
from enactord.core.fence import FenceRecord, parse_fence_text
from enactord.core.plan import GENERATION_MAX
from enactord.store.ledger_index import ledger_name

_SCOPE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z")
_DIGITS = 20
_PLAN_VALUE = re.compile(rb"([0-9]{20}) ([0-9a-f]{16})\Z")
_RECORD_VALUE = re.compile(rb"([0-9]{20}) ([0-9a-f]{16}) (0|[1-9][0-9]{0,5}) (v=.*)\Z", re.DOTALL)


def valid_scope(scope: str) -> bool:
    """Whether a text can name a scope: 1 to 63 of a-z, 0-9, '.', '_' and '-'."""
    return _SCOPE.match(scope) is not None


def pad(generation: int) -> str:
    """Return a generation in 20 digits: etcd compares bytes, so 9 must sort below 10."""
    return f"{generation:0{_DIGITS}d}"


def plan_value(generation: int, mark: str) -> bytes:
    """Return what `head` and `applied/<zone>` hold for a generation."""
    return f"{pad(generation)} {mark}".encode("ascii")


def parse_plan_value(value: bytes) -> tuple[int, str] | None:
    """Return generation and plan mark of a `head` or `applied/<zone>`, or None where it is garbage."""
    found = _PLAN_VALUE.match(value)
    if found is None or int(found[1]) >= GENERATION_MAX:
        return None
    return int(found[1]), found[2].decode("ascii")


def record_value(record: FenceRecord) -> bytes:
    """Return what `fences/<zone>` holds: generation opened, its plan's mark, slots of the ledger, TXT in the DNS."""
    return f"{pad(record.generation)} {record.plan} {record.slots} {record.txt.text}".encode("ascii")


@lru_cache(maxsize=4096)
def parse_record(value: bytes) -> FenceRecord | None:
    """Return the record that a `fences/<zone>` value stands for, or None where it is garbage."""
    found = _RECORD_VALUE.match(value)
    txt = parse_fence_text(found[4]) if found else None
    if found is None or txt is None:
        return None
    generation, slots = int(found[1]), int(found[3])
    if not txt.generation <= generation < GENERATION_MAX or not (slots == 0 or valid_slots(slots)):
        return None
    return FenceRecord(generation=generation, plan=found[2].decode("ascii"), slots=slots, txt=txt)


def stored_json(value: bytes) -> Any:
    """Return what a value of the store says that is JSON; None where it is none."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


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

    def aside(self, generation: int) -> str:
        """A plan that was out of reach, as an operator set it aside: nothing reads it but people."""
        return f"{self.root}aside/{pad(generation)}"

    @property
    def all_claims(self) -> str:
        return self.root + "claims/"

    def claims(self, generation: int) -> str:
        return f"{self.all_claims}{pad(generation)}/"

    def claim(self, generation: int, enactor: str) -> str:
        return self.claims(generation) + enactor

    @property
    def all_ledger(self) -> str:
        return self.root + "ledger/"

    def zone_ledger(self, zone: str) -> str:
        return f"{self.all_ledger}{zone}/"

    def ledger(self, bucket: BucketId) -> str:
        return self.all_ledger + ledger_name(bucket.zone, bucket.slot)

    def enactor(self, enactor: str) -> str:
        return f"{self.root}enactors/{enactor}"

    @property
    def configured(self) -> str:
        """Under it, each enactor alive says which zones its config has."""
        return self.root + "configured/"

    def retired(self, zone: str) -> str:
        return f"{self.root}control/retired/{zone}"

    def lowering(self, zone: str) -> str:
        """While it is there, an operator is bringing the zone's fence down, and nobody else moves it."""
        return f"{self.root}control/lowering/{zone}"

    def lowered(self, zone: str) -> str:
        """What was noted when the zone's fence was last brought down."""
        return f"{self.root}control/lowered/{zone}"

    @property
    def rooms(self) -> tuple[str, ...]:
        """The prefixes (and single keys) that a mirror holds: all but the chunks."""
        names = ("applied/", "claims/", "control/", "enactors/", "fences/", "head", "ledger/", "plans/")
        return tuple(self.root + name for name in (*names, "prune_epoch"))


def parse_pad(text: str, digits: int = _DIGITS) -> int | None:
    """Return the number that a padded part of a key stands for, or None where it is garbage."""
    return int(text) if len(text) == digits and text.isascii() and text.isdigit() else None
