"""Where everything is kept in the plan store, `/enactord/<scope>/…`, and in what form."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from enactord.core.buckets import BucketId, valid_slots
from enactord.core.contribution import Contribution, pack_contribution, unpack_contribution
from enactord.core.errors import PlanOfOtherFormat, PlanUnreadable
from enactord.core.fence import FenceRecord, parse_fence_text
from enactord.core.kv import prefix_end
from enactord.core.manifest import pack_manifest, unpack_manifest
from enactord.core.moment import AT_MAX
from enactord.core.plan import GENERATION_MAX, Manifest, pack_chunk, unpack_chunk
from enactord.store.layout import (
    APPLIED,
    ASIDE,
    AUDIT,
    CHUNK,
    CLAIM,
    CONFIGURED,
    CONTRIBUTION,
    ENACTOR,
    FENCE,
    FREEZE,
    HEAD,
    INSTALLATION,
    LEDGER,
    LIMITS,
    LOWERED,
    LOWERING,
    OVERRIDE,
    PAUSED,
    PLAN,
    PRUNE_EPOCH,
    REFUSED,
    REPORT,
    RETIRED,
    TAKEN,
    Kind,
    OtherFormat,
    split_name,
)
from enactord.store.ledger_index import ledger_name

_SCOPE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z")
_DIGITS = 20
_PLAN_BODY = re.compile(rb"([0-9]{20}) ([0-9a-f]{16})\Z")
_INSTALLATION_BODY = re.compile(rb"[0-9a-f]{16}\Z")
_NO_PRIMARY = "-"
_RECORD_BODY = re.compile(rb"([0-9]{20}) ([0-9a-f]{16}) (0|[1-9][0-9]{0,5}) ([!-~]{1,300}) (v=.*)\Z", re.DOTALL)


def valid_scope(scope: str) -> bool:
    """Whether a text can name a scope: 1 to 63 of a-z, 0-9, '.', '_' and '-'."""
    return _SCOPE.match(scope) is not None


def pad(generation: int) -> str:
    """Return a generation in 20 digits: etcd compares bytes, so 9 must sort below 10."""
    return f"{generation:0{_DIGITS}d}"


def head_value(generation: int, mark: str) -> bytes:
    """Return what `head` holds for the newest plan."""
    return HEAD.value(_plan_body(generation, mark))


def applied_value(generation: int, mark: str) -> bytes:
    """Return what `applied/<zone>` holds for a plan."""
    return APPLIED.value(_plan_body(generation, mark))


def _plan_body(generation: int, mark: str) -> bytes:
    return f"{pad(generation)} {mark}".encode("ascii")


def parse_head(value: bytes) -> tuple[int, str] | OtherFormat | None:
    """Return generation and plan mark of a stored `head`; None where it is garbage."""
    return _parse_plan_body(HEAD.body(value))


def parse_applied(value: bytes) -> tuple[int, str] | OtherFormat | None:
    """Return generation and plan mark of a stored `applied/<zone>`; None where it is garbage."""
    return _parse_plan_body(APPLIED.body(value))


def _parse_plan_body(body: bytes | OtherFormat | None) -> tuple[int, str] | OtherFormat | None:
    if not isinstance(body, bytes):
        return body
    found = _PLAN_BODY.match(body)
    if found is None or int(found[1]) >= GENERATION_MAX:
        return None
    return int(found[1]), found[2].decode("ascii")


def installation_value(installation: str) -> bytes:
    """Return what `installation` holds: the id, 16 hex digits."""
    return INSTALLATION.value(installation.encode("ascii"))


def parse_installation(value: bytes) -> str | OtherFormat | None:
    """Return the id of a stored installation; None where it is garbage."""
    body = INSTALLATION.body(value)
    if not isinstance(body, bytes):
        return body
    return body.decode("ascii") if _INSTALLATION_BODY.match(body) else None


def record_value(record: FenceRecord) -> bytes:
    """Return what `fences/<zone>` holds: generation opened, its plan's mark, slots of the ledger, primary, TXT."""
    body = f"{pad(record.generation)} {record.plan} {record.slots} {record.primary or _NO_PRIMARY} {record.txt.text}"
    return FENCE.value(body.encode("ascii"))


@lru_cache(maxsize=4096)
def parse_record(value: bytes) -> FenceRecord | OtherFormat | None:
    """Return the record that a `fences/<zone>` value stands for; None where it is garbage."""
    body = FENCE.body(value)
    if not isinstance(body, bytes):
        return body
    found = _RECORD_BODY.match(body)
    txt = parse_fence_text(found[5]) if found else None
    if found is None or txt is None:
        return None
    generation, slots = int(found[1]), int(found[3])
    if not txt.generation <= generation < GENERATION_MAX or not (slots == 0 or valid_slots(slots)):
        return None
    primary = found[4].decode("ascii")
    return FenceRecord(
        generation=generation,
        plan=found[2].decode("ascii"),
        slots=slots,
        txt=txt,
        primary="" if primary == _NO_PRIMARY else primary,
    )


def manifest_value(manifest: Manifest) -> bytes:
    """Return what `plans/<generation>` holds."""
    return PLAN.value(pack_manifest(manifest))


def read_manifest(value: bytes, generation: int) -> Manifest:
    """Return a stored manifest. Raises `PlanUnreadable`: `PlanOfOtherFormat` where another version wrote it."""
    return unpack_manifest(_plan_part(PLAN, value, f"the manifest of generation {generation}"), generation)


def contribution_value(kept: Contribution) -> bytes:
    """Return what `contributions/<planner>` holds."""
    return CONTRIBUTION.value(pack_contribution(kept))


def read_contribution(value: bytes, planner: str) -> Contribution:
    """Return a stored refused publication. Raises `PlanUnreadable` as `read_manifest` does."""
    body = _plan_part(CONTRIBUTION, value, f"the refused publication of planner {planner}")
    return unpack_contribution(body, planner)


def chunk_value(text: str) -> bytes:
    """Return what `chunks/<digest>` holds. Raises `InvalidPlan` where one bucket holds too much."""
    return CHUNK.value(pack_chunk(text))


def read_chunk(value: bytes, digest: str) -> str:
    """Return a stored chunk's text. Raises `PlanUnreadable`: `PlanOfOtherFormat` where another version wrote it."""
    return unpack_chunk(_plan_part(CHUNK, value, f"chunk {digest}"), digest)


def _plan_part(kind: Kind, value: bytes, what: str) -> bytes:
    body = kind.body(value)
    if isinstance(body, OtherFormat):
        raise PlanOfOtherFormat(f"{what} is a {body}")
    if body is None:
        raise PlanUnreadable(f"{what} is damaged: it does not say its format")
    return body


def json_value(kind: Kind, document: Mapping[str, Any] | list[Any]) -> bytes:
    """Return what is stored of a kind whose values are JSON."""
    return kind.value(json.dumps(document).encode("ascii"))


def stored_json(kind: Kind, value: bytes) -> Any:
    """Return what a value says that is JSON; None where it is damaged, `OtherFormat` where another version wrote it."""
    body = kind.body(value)
    if not isinstance(body, bytes):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def stored_word(found: Any, when: str = "at") -> tuple[str, str, float]:
    """Return author, reason and time of what a person has said, as it is stored; `when`: what its time is called.

    Raises ValueError, KeyError, TypeError or OverflowError where it is damaged.
    """
    author, reason, at = found["author"], found["reason"], float(found[when])
    if not isinstance(author, str) or not isinstance(reason, str) or not 0 <= at < AT_MAX:
        raise ValueError("a word that is none")
    return author, reason, at


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one scope."""

    scope: str

    @property
    def root(self) -> str:
        return f"/enactord/{self.scope}/"

    def key(self, kind: Kind, name: str = "") -> str:
        """Return the key of one thing of a kind; without a name, what the keys of the kind begin with."""
        return self.root + kind.prefix + name

    def shown(self, key: str) -> str:
        """Return a key of this scope as people read it: below the scope's root."""
        return key.removeprefix(self.root)

    def bounds(self, kind: Kind) -> tuple[str, str]:
        """Return from where to where a read of a whole kind goes."""
        start = self.key(kind)
        return start, "" if kind.single else prefix_end(start)

    def split(self, key: str) -> tuple[Kind | None, str]:
        """Return the kind of a key of this scope, and what it is called there; None: no kind of this version."""
        return split_name(key[len(self.root) :]) if key.startswith(self.root) else (None, "")

    @property
    def head(self) -> str:
        return self.key(HEAD)

    @property
    def prune_epoch(self) -> str:
        return self.key(PRUNE_EPOCH)

    @property
    def freeze(self) -> str:
        return self.key(FREEZE)

    @property
    def limits(self) -> str:
        return self.key(LIMITS)

    @property
    def installation(self) -> str:
        """Whose store it is: without it, no enactor works by the store."""
        return self.key(INSTALLATION)

    def plan(self, generation: int) -> str:
        return self.key(PLAN, pad(generation))

    def refused(self, generation: int) -> str:
        """While it is there, an enactor has refused the plan of that generation."""
        return self.key(REFUSED, pad(generation))

    def contribution(self, planner: str) -> str:
        """What guards last refused of a planner's publications."""
        return self.key(CONTRIBUTION, planner)

    def chunk(self, digest: str) -> str:
        return self.key(CHUNK, digest)

    def fence(self, zone: str) -> str:
        return self.key(FENCE, zone)

    def applied(self, zone: str) -> str:
        return self.key(APPLIED, zone)

    def aside(self, generation: int) -> str:
        """A plan that was out of reach, as an operator set it aside: nothing reads it but people."""
        return self.key(ASIDE, pad(generation))

    @property
    def all_claims(self) -> str:
        return self.key(CLAIM)

    def claims(self, generation: int) -> str:
        return self.key(CLAIM, f"{pad(generation)}/")

    def claim(self, generation: int, enactor: str) -> str:
        return self.claims(generation) + enactor

    @property
    def all_ledger(self) -> str:
        return self.key(LEDGER)

    def zone_ledger(self, zone: str) -> str:
        return self.key(LEDGER, f"{zone}/")

    def ledger(self, bucket: BucketId) -> str:
        return self.key(LEDGER, ledger_name(bucket.zone, bucket.slot))

    def enactor(self, enactor: str) -> str:
        return self.key(ENACTOR, enactor)

    def report(self, enactor: str) -> str:
        """What an enactor alive reports of the fences that it sees."""
        return self.key(REPORT, enactor)

    def configured(self, enactor: str) -> str:
        """Under it, an enactor alive says which zones its config has."""
        return self.key(CONFIGURED, enactor)

    def override(self, ident: str) -> str:
        """An operator's word on one endpoint, that outlives plans."""
        return self.key(OVERRIDE, ident)

    def paused(self, planner: str) -> str:
        """While it is there, nothing of that planner is published."""
        return self.key(PAUSED, planner)

    def retired(self, zone: str) -> str:
        return self.key(RETIRED, zone)

    def lowering(self, zone: str) -> str:
        """While it is there, an operator is bringing the zone's fence down, and nobody else moves it."""
        return self.key(LOWERING, zone)

    def acts(self, room: str) -> str:
        """What the keys of a part of the audit log begin with."""
        return self.key(AUDIT, f"{room}/")

    def act(self, room: str, at_us: int, mark: str) -> str:
        """An entry of the audit log: in the order of time, in microseconds since the epoch."""
        return f"{self.acts(room)}{pad(at_us)}-{mark}"

    def lowered(self, zone: str) -> str:
        """What was noted when the zone's fence was last brought down."""
        return self.key(LOWERED, zone)

    def taken(self, zone: str) -> str:
        """What was noted when the zone was last taken over from another installation."""
        return self.key(TAKEN, zone)


def parse_pad(text: str, digits: int = _DIGITS) -> int | None:
    """Return the number that a padded part of a key stands for, or None where it is garbage."""
    return int(text) if len(text) == digits and text.isascii() and text.isdigit() else None
