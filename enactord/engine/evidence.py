"""Evidence: what was seen served, on which server, and when. What was not looked at lately is unknown.

A look asks a zone's own server and each `verify` server for the names of the ledger. Its end
is kept here until the next one. Nothing here is stored: after a start all is unknown until a look has ended.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from enactord.core.ledger import Entry
from enactord.core.moment import utc
from enactord.core.refusal import COVERED
from enactord.ports import Clock

LEFT_OUT_AFTER_S = 300.0
"""A verify server that has not answered for so long does not keep contents from becoming the last known good."""
_MISSED_MAX = 2
"""What was not looked at for so many intervals is unknown."""
NEGATIVE_TTL_MAX_S = 60
"""An empty answer that resolvers keep for longer than this is warned of: so long the name stays away after a repair."""
NAMES_KEPT_MAX = 100_000
_ASK_AGAIN_S = 30.0
"""How often a server that is away is asked again."""


class State(StrEnum):
    """How a name, a server or a zone stands, by what was seen."""

    WELL = "well"
    BEHIND = "behind"
    """The server shows older content than the zone's own server."""
    AWAY = "away"
    """The server does not answer."""
    DRIFTED = "drifted"
    NOT_READ = "not yet read"
    """It was written, and has not been seen served since."""
    COVERED = "covered"
    UNKNOWN = "unknown"


@dataclass(slots=True, kw_only=True)
class ServerView:
    """What was seen of one server of a zone. Times are seconds since the epoch; 0: never."""

    server: str
    answered_at: float = 0.0
    away_since: float = 0.0
    away_loop_s: float = 0.0
    """The same in loop time: a clock that is set must not end anybody's patience."""
    asked_loop_s: float = 0.0
    """When it last gave no answer, in loop time."""
    problem: str = ""
    """Why it does not answer."""
    behind: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names that it served otherwise than the zone's own server in the last two looks, with what it served."""
    behind_since: float = 0.0
    suspects: Mapping[str, int] = field(default_factory=dict)
    """Names that it served otherwise in the last look, with the generation that it was to show."""

    @property
    def state(self) -> State:
        if self.away_since:
            return State.AWAY
        if self.behind:
            return State.BEHIND
        return State.WELL if self.answered_at else State.UNKNOWN

    @property
    def text(self) -> str:
        """What is wrong with it, for people; "": nothing, or nothing is known."""
        match self.state:
            case State.AWAY:
                problem = self.problem.removeprefix(f"{self.server}: ")
                return f"{self.server} has not answered since {utc(self.away_since)}: {problem}"
            case State.BEHIND:
                example = min(self.behind)
                served = ", ".join(self.behind[example]) or "nothing"
                return (
                    f"{self.server} is behind since {utc(self.behind_since)}: {len(self.behind)} names are not as the"
                    f" zone's own server has them ({example} is {served})"
                )
            case _:
                return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """What a name is served as on a server, instead of what it should be; for people."""

    served: tuple[str, ...]
    wanted: tuple[str, ...]
    generation: int = 0
    """That of the version that should be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What one whole look at a zone has found."""

    names: int = 0
    unread: Collection[str] = ()
    """Names for which the zone's own server gave no answer."""
    aside: Collection[str] = ()
    """Names whose answers could not be judged, as the ledger moved meanwhile."""
    drifted: Mapping[str, Otherwise] = field(default_factory=dict)
    behind: Mapping[str, Mapping[str, Otherwise]] = field(default_factory=dict)
    """By server: names that it serves otherwise than the zone's own server."""


@dataclass(slots=True, kw_only=True)
class _ZoneView:
    servers: dict[str, ServerView]
    looked: Looked = field(default_factory=Looked)
    looked_at: float = 0.0
    """When the last whole look ended, in seconds since the epoch; 0: none has."""
    looked_loop_s: float = 0.0
    negative_ttl_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How one name is served, by the last look at its zone."""

    state: State
    at: float = 0.0
    """When that look ended, in seconds since the epoch; 0: there was none."""
    otherwise: Otherwise | None = None
    """What is served instead, where it drifted."""
    behind: tuple[str, ...] = ()
    """Servers that show older content."""


class Evidence:
    """What one enactor has seen of the names of its zones."""

    def __init__(self, zones: Mapping[str, Sequence[str]], clock: Clock) -> None:
        """`zones`: to the servers that are asked after each write, the zone's own among them or not."""
        self._clock = clock
        self._zones = {
            zone: _ZoneView(servers={server: ServerView(server=server) for server in servers})
            for zone, servers in zones.items()
        }

    # -- what a look enters

    def answered(self, zone: str, server: str) -> bool:
        """A server has answered; returns whether it was away before."""
        view = self._zones[zone].servers[server]
        came, view.away_since, view.problem = bool(view.away_since), 0.0, ""
        view.answered_at = self._clock.now()
        return came

    def silent(self, zone: str, server: str, problem: str) -> bool:
        """A server has not answered; returns whether it did before."""
        view = self._zones[zone].servers[server]
        went, view.problem = not view.away_since, problem
        view.asked_loop_s = asyncio.get_running_loop().time()
        if went:
            view.away_since, view.away_loop_s = self._clock.now(), view.asked_loop_s
        return went

    def ask_again(self, zone: str, server: str) -> bool:
        """Whether a server is to be asked in a look that begins now."""
        view = self._zones[zone].servers[server]
        return not view.away_since or asyncio.get_running_loop().time() - view.asked_loop_s >= _ASK_AGAIN_S

    def looked(self, zone: str, found: Looked) -> Sequence[tuple[ServerView, bool]]:
        """A whole look has ended; returns the servers that are behind since this look (True), or no longer (False)."""
        now = self._clock.now()
        view = self._zones[zone]
        view.looked, view.looked_at = found, now
        view.looked_loop_s = asyncio.get_running_loop().time()
        changed = []
        for server in view.servers.values():
            if server.away_since:
                continue
            was = bool(server.behind)
            seen = found.behind.get(server.server, {})
            # A copy may be a moment behind: what the look before has found, too, is a state. It stays one until a
            # look has judged all names and finds nothing: a plan that changes the same names is no end of it.
            now_behind = {
                name: other.served
                for name, other in seen.items()
                if was or server.suspects.get(name) == other.generation
            }
            unjudged = {name: served for name, served in server.behind.items() if name in found.aside}
            server.behind = unjudged | now_behind
            server.suspects = {name: other.generation for name, other in list(seen.items())[:NAMES_KEPT_MAX]}
            if bool(server.behind) != was:
                server.behind_since = 0.0 if was else now
                changed.append((server, not was))
        return changed

    def note_negative_ttl(self, zone: str, negative_ttl_s: int | None) -> None:
        """Enter how long a resolver keeps an empty answer of the zone; None: it was not told."""
        self._zones[zone].negative_ttl_s = negative_ttl_s

    # -- what is known

    def left_out(self, zone: str) -> frozenset[str]:
        """Return the servers of which no word is waited for: they have not answered for `LEFT_OUT_AFTER_S`."""
        now = asyncio.get_running_loop().time()
        servers = self._zones[zone].servers.values()
        return frozenset(one.server for one in servers if one.away_since and now - one.away_loop_s >= LEFT_OUT_AFTER_S)

    def servers(self, zone: str) -> Sequence[ServerView]:
        """Return what was seen of each server of a zone, in order of the config."""
        return tuple(self._zones[zone].servers.values())

    def last(self, zone: str) -> Looked:
        """Return what the last whole look has found; nothing before the first."""
        return self._zones[zone].looked

    def looked_at(self, zone: str) -> float:
        """Return when the last whole look ended, in seconds since the epoch; 0: none has."""
        return self._zones[zone].looked_at

    @property
    def oldest_at(self) -> float:
        """Return since when, in seconds since the epoch, every zone has been looked at; 0: some zone never was."""
        return min((view.looked_at for view in self._zones.values()), default=0.0)

    def negative_ttl_s(self, zone: str) -> int | None:
        """Return how long a resolver keeps an empty answer of the zone, in seconds; None: not known."""
        return self._zones[zone].negative_ttl_s

    def unknown(self, zone: str, interval_s: float) -> str:
        """Return why nothing is known of what a zone serves now; "" where a look ended within two intervals."""
        view = self._zones[zone]
        if not view.looked_at:
            return f"{zone}: not looked at yet: what it serves is not known"
        if asyncio.get_running_loop().time() - view.looked_loop_s <= _MISSED_MAX * interval_s:
            return ""
        return f"{zone}: not looked at since {utc(view.looked_at)}: what it serves now is not known"

    def amiss(self, zone: str) -> set[str]:
        """Return the names that are seen otherwise than they should be, on some server, or got no answer."""
        view = self._zones[zone]
        found = {*view.looked.drifted, *view.looked.unread}
        return found.union(*(server.behind for server in view.servers.values() if not server.away_since))

    def of(self, zone: str, entry: Entry) -> Seen:
        """Return how a name of the ledger is served, by the last look at its zone."""
        view = self._zones[zone]
        if not view.looked_at:
            return Seen(state=State.UNKNOWN)
        at, name = view.looked_at, entry.name
        if entry.held is not None and entry.held.guard == COVERED:
            return Seen(state=State.COVERED, at=at)
        if name in view.looked.drifted:
            return Seen(state=State.DRIFTED, at=at, otherwise=view.looked.drifted[name])
        if name in view.looked.unread or name in view.looked.aside:
            return Seen(state=State.UNKNOWN, at=at)
        answering = (server for server in view.servers.values() if not server.away_since)
        behind = tuple(server.server for server in answering if name in server.behind)
        if behind:
            return Seen(state=State.BEHIND, at=at, behind=behind)
        return Seen(state=State.WELL if entry.good == entry.applied else State.NOT_READ, at=at)
