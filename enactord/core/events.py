"""What happened, as values: the engine emits them, telemetry turns them into log lines and metrics.

`id` is stable, a promise to those who read the log; every field of an event becomes a key of its line.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from enactord.core.fence import Fence

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    id: ClassVar[str]
    severity: ClassVar[Severity] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSeen(Event):
    """A plan with a higher generation appeared in the store; told once."""

    id: ClassVar[str] = "plan.seen"
    generation: int
    digest: str
    endpoints: int
    author: str
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRefused(Event):
    """A plan as a whole will not be applied."""

    id: ClassVar[str] = "plan.refused"
    severity: ClassVar[Severity] = "error"
    generation: int
    guard: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceOpened(Event):
    """The zone's fence was raised (or put back) to a generation."""

    id: ClassVar[str] = "fence.opened"
    zone: str
    generation: int
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonesKept(Event):
    """A plan changes nothing in these zones: they were settled in the store, and their TXT was left as it is."""

    id: ClassVar[str] = "zones.kept"
    generation: int
    zones: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceAhead(Event):
    """The zone's fence stands above every generation in the store: nothing can be applied at or below it."""

    id: ClassVar[str] = "fence.ahead"
    severity: ClassVar[Severity] = "error"
    zone: str
    fence: Fence
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryChosen(Event):
    """From now on a zone is written on another server, or on one that was chosen for the first time."""

    id: ClassVar[str] = "primary.chosen"
    severity: ClassVar[Severity] = "warning"
    zone: str
    primary: str
    before: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFinished(Event):
    """One DNS transaction got its answer (or did not). Counted; logged only when it was not committed."""

    id: ClassVar[str] = "write.finished"
    zone: str
    generation: int
    names: int
    outcome: Literal["committed", "refused", "unknown"]
    detail: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleWriteRefused(Event):
    """The DNS server refused a write below its fence: the control that this product exists for."""

    id: ClassVar[str] = "write.refused_stale"
    severity: ClassVar[Severity] = "warning"
    zone: str
    generation: int
    fence: str
    names: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowingPaused(Event):
    """So many names are refused that finding them goes on in the next pass; those not told apart yet stay pending."""

    id: ClassVar[str] = "narrowing.paused"
    severity: ClassVar[Severity] = "warning"
    zone: str
    generation: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceCommitted(Event):
    """Some endpoints of a plan were written, verified and committed to the ledger."""

    id: ClassVar[str] = "slice.committed"
    zone: str
    generation: int
    endpoints: int
    seen: int
    write_s: float
    verify_s: float
    apply_s: tuple[float, ...] = ()
    """Per endpoint seen served: seconds from the plan's publication."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHeld(Event):
    """An endpoint stays on its last known good."""

    id: ClassVar[str] = "endpoint.held"
    severity: ClassVar[Severity] = "warning"
    zone: str
    generation: int
    name: str
    guard: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDrifted(Event):
    """A name is not served as the ledger has it."""

    id: ClassVar[str] = "endpoint.drifted"
    severity: ClassVar[Severity] = "warning"
    zone: str
    name: str
    kind: Literal["emptied", "drifted"]
    served: tuple[str, ...]
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRepaired(Event):
    """A name that was not served as the ledger has it was put back."""

    id: ClassVar[str] = "endpoint.repaired"
    severity: ClassVar[Severity] = "warning"
    zone: str
    generation: int
    name: str
    kind: Literal["emptied", "drifted"]
    store_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TtlKept(Event):
    """The server keeps another TTL than is asked for, whatever is put there: its own rule, and no drift."""

    id: ClassVar[str] = "ttl.kept"
    severity: ClassVar[Severity] = "warning"
    zone: str
    name: str
    asked_s: int
    kept_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TtlTaken(Event):
    """The server takes a TTL that it would not keep before."""

    id: ClassVar[str] = "ttl.taken"
    zone: str
    asked_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Event):
    """A look at what a zone serves has come to its end. `unread`: names for which no answer came."""

    id: ClassVar[str] = "zone.scanned"
    zone: str
    names: int
    empty: int
    drifted: int
    unread: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNotWell(Event):
    """A server that is asked after each write does not answer ("away"), or shows older content ("behind")."""

    id: ClassVar[str] = "server.not_well"
    severity: ClassVar[Severity] = "warning"
    zone: str
    server: str
    state: Literal["away", "behind"]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerWell(Event):
    """A server answers again ("away"), or has caught up ("behind")."""

    id: ClassVar[str] = "server.well"
    zone: str
    server: str
    state: Literal["away", "behind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNudged(Event):
    """The server holds what was written and serves what was before: its fence was written anew, as it stands.

    BIND 9.18 with inline-signing leaves out a change in its signed copy until the zone changes once more.
    """

    id: ClassVar[str] = "server.nudged"
    severity: ClassVar[Severity] = "warning"
    zone: str
    names: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanApplied(Event):
    """Every endpoint of a zone conforms to a plan or is held."""

    id: ClassVar[str] = "plan.applied"
    zone: str
    generation: int
    written: int
    held: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSuperseded(Event):
    """Work on a plan ended because a newer one is there."""

    id: ClassVar[str] = "plan.superseded"
    generation: int
    by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPruned(Event):
    id: ClassVar[str] = "plan.pruned"
    generation: int
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRefused(Event):
    """A plan that is old enough to go must stay."""

    id: ClassVar[str] = "prune.refused"
    generation: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLost(Event):
    id: ClassVar[str] = "claim.lost"
    severity: ClassVar[Severity] = "warning"
    generation: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatUnknown(Event):
    """The store holds values that another version has written: they are left alone until that version runs."""

    id: ClassVar[str] = "format.unknown"
    severity: ClassVar[Severity] = "error"
    kind: str
    found: int
    reads: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatKnown(Event):
    """Of a kind of stored thing, the store holds no value of that format any more."""

    id: ClassVar[str] = "format.known"
    kind: str
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationMade(Event):
    """An installation that had no id has this one from now on."""

    id: ClassVar[str] = "installation.made"
    installation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationRefused(Event):
    """The store is not the one of this enactor's installation, or it is not certain that it is."""

    id: ClassVar[str] = "installation.refused"
    severity: ClassVar[Severity] = "error"
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationAccepted(Event):
    """What was refused is the store of this enactor's installation again."""

    id: ClassVar[str] = "installation.accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnactorSameId(Event):
    """Another process is alive under the id of this enactor."""

    id: ClassVar[str] = "enactor.same_id"
    severity: ClassVar[Severity] = "warning"
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnactorOwnId(Event):
    """This process alone has its id again."""

    id: ClassVar[str] = "enactor.own_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWentDown(Event):
    id: ClassVar[str] = "store.down"
    severity: ClassVar[Severity] = "error"
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCameUp(Event):
    id: ClassVar[str] = "store.up"
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneWentDown(Event):
    id: ClassVar[str] = "zone.down"
    severity: ClassVar[Severity] = "error"
    zone: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneCameUp(Event):
    id: ClassVar[str] = "zone.up"
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WasFrozen(Event):
    id: ClassVar[str] = "frozen"
    severity: ClassVar[Severity] = "warning"
    mode: str
    reason: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WasThawed(Event):
    id: ClassVar[str] = "thawed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsChanged(Event):
    """The guards judge by other limits from now on; `changes`: each key with what it was and is."""

    id: ClassVar[str] = "limits.changed"
    severity: ClassVar[Severity] = "warning"
    changes: str
    author: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Event):
    """An attempt against the store or a zone is made again after a failure."""

    id: ClassVar[str] = "retry"
    target: str
    detail: str
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesTaken(Event):
    """Secrets or certificates that the config names have changed on disk, and are used from now on."""

    id: ClassVar[str] = "files.taken"
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRefused(Event):
    """A file that the config names has changed so that it cannot be used; what was read before goes on being used."""

    id: ClassVar[str] = "file.refused"
    severity: ClassVar[Severity] = "error"
    key: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideStays(Event):
    """The time of an override is over, and guards refuse its end: it stays in force until an operator ends it."""

    id: ClassVar[str] = "override.stays"
    severity: ClassVar[Severity] = "warning"
    override: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Event):
    """A bug or a state that no rule foresees: the step is given up and tried again later."""

    id: ClassVar[str] = "step.failed"
    severity: ClassVar[Severity] = "error"
    step: str
    zone: str = ""
    """Where it was a step of one zone."""
    detail: str
    traceback: str
