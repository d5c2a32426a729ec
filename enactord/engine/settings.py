"""What the engine is told: the parts of the config that it needs, and its ports by zone."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from enactord.core.fence import FenceRecord
from enactord.core.guards import VELOCITY_WINDOW, Limits
from enactord.core.render import ANSWERS_MAX
from enactord.core.retention import Keep
from enactord.ports import Clock, KeyValue, LocalCopy, Observer, Primaries, Verifier, ZoneBackend

HEAD_START_S = 0.25
FIRST_ANSWERS_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneSettings:
    """How one zone is written."""

    name: str
    answers_max: int = ANSWERS_MAX
    batch_names_max: int = 50
    """Names of one DNS message; pacing may use fewer."""
    in_flight_max: int = 16
    """DNS messages under way at once; pacing moves below it."""
    verify_timeout_s: float | None = None
    """How long a written name may take here to be seen; None: as the enactor's settings say."""
    server: str = ""
    """The server that is asked; zones with the same text here share its questions. "": it has this zone alone."""
    primaries: Sequence[str] = ()
    """The servers that the config names as the zone's primary; (): its backend has no such choice."""
    fence_questions_per_s: float | None = None
    """Questions for fences that this server takes; None: as the enactor's settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One enactor. Times in seconds."""

    id: str
    scope: str
    zones: Sequence[ZoneSettings]
    limits: Limits = field(default_factory=Limits)
    claim_ttl_s: int = 10
    keep: Keep = field(default_factory=Keep)
    """Which plans stay that nothing needs."""
    prune_interval_s: float = 60.0
    repair_interval_s: float = 30.0
    repair_names_per_s: float = 500.0
    fence_interval_s: float = 5.0
    """How often the fence of each zone is asked for."""
    fence_questions_per_s: float = 20.0
    """How many such questions a server gets at most; with many zones on it the interval grows."""
    verify_timeout_s: float = 3.0
    """How long a written name may take to be seen on every verify server."""
    head_start_s: float = HEAD_START_S
    """How long a small plan is left to the enactor whose turn it is, before the next one begins, too."""

    first_answers_s: float = FIRST_ANSWERS_S
    """How long all zones are waited for before an installation gets its id."""

    def ruled(self, limits: Limits) -> "Settings":
        """Return the same with other limits; history is kept for as long as these look back."""
        window_s = limits[VELOCITY_WINDOW] if self.keep.window_s else 0.0
        return replace(self, limits=limits, keep=replace(self.keep, window_s=window_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePorts:
    """The outside of one zone."""

    settings: ZoneSettings
    zone: ZoneBackend
    verifiers: Sequence[Verifier]
    primaries: Primaries | None = None
    """The choice among several servers; None: there is one."""

    @property
    def primary(self) -> str:
        """The server that is written to now; "": there is no choice."""
        return "" if self.primaries is None else self.primaries.current

    @property
    def own_verifiers(self) -> list[Verifier]:
        """The verify servers that are the server which is written to."""
        return [verifier for verifier in self.verifiers if self._is_own(verifier)]

    @property
    def other_verifiers(self) -> list[Verifier]:
        """The verify servers that are not the server which is written to."""
        return [verifier for verifier in self.verifiers if not self._is_own(verifier)]

    def may_write(self, record: FenceRecord | None) -> bool:
        """Whether the zone is written on a server that the config names; where nothing is recorded, one must be found.

        `record`: the zone's fence in the store.
        """
        if record is not None and record.primary:
            return self.names(record.primary)
        return self.primaries is None or self.primaries.decided

    def names(self, primary: str) -> bool:
        """Whether the config names a server as the zone's primary; it does where none is meant, or none is named."""
        return not primary or not self.settings.primaries or primary in self.settings.primaries

    def _is_own(self, verifier: Verifier) -> bool:
        return verifier.bulk is self.zone or (self.primaries is not None and verifier.server == self.primary)


def draw_mark() -> str:
    """Return 16 hex digits that nobody else draws."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside of one enactor."""

    store: KeyValue
    zones: Mapping[str, ZonePorts]
    clock: Clock
    observer: Observer
    copy: LocalCopy
    draw_mark: Callable[[], str] = draw_mark
