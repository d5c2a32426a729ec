"""What an enactor says of itself: why it is degraded, how it sees its zones, and what it knows besides the store."""

from bisect import bisect_right
from typing import TYPE_CHECKING

from enactord.core.errors import PlanUnreadable
from enactord.core.ledger import Entry
from enactord.engine.evidence import NEGATIVE_TTL_MAX_S, Seen, State
from enactord.store.damage import damaged
from enactord.store.layout import LIMITS

if TYPE_CHECKING:
    from enactord.engine.enactor import Enactor

_HEAD_LOST = (
    "store: its key `head`, which says which plan is the newest, is lost: no plan can be based on another."
    " The next whole plan mends it: enactorctl publish, or enactorctl rollback to the newest of enactorctl plans"
)
_ZONES_SHOWN = 3
_LOOKED_AT_STEP_S = 10.0
"""When all zones were last looked at is told to this step: the state of a quiet scope is sent no more often."""


class Account:
    """The account of one enactor; it changes nothing."""

    def __init__(self, enactor: "Enactor") -> None:
        self._enactor = enactor

    def reasons(self) -> list[str]:
        """Return why this enactor is degraded; nothing while all is well. Work that is under way is no reason."""
        found = []
        if not self._enactor.store_up:
            found.append(f"store: {self._enactor.health.store_problem}")
        found.extend(f"identity: {problem}" for problem in self._enactor.health.identity_problems)
        found.extend(self._enactor.health.format_problems)
        if self._enactor.ruling.problem:
            found.append(f"limits: {self._enactor.ruling.problem}")
        passing = self._enactor.health.loop_problems | {
            f"damaged {key}": f"store: the value at {key} cannot be read; the next publication writes it anew:"
            " enactorctl publish PLAN.json"
            for key, kind in damaged(self._enactor.cache).items()
            if kind is not LIMITS  # told above, with another remedy
        }
        for zone, (_, problem) in self.zone_states().items():
            text = problem if zone in problem else f"{zone}: {problem}"
            if self._enactor.health.zone_aspect(zone) or self._enactor.health.evidence.looked_at(zone):
                found.append(text)
            else:
                passing[f"first look {zone}"] = text  # after a start it comes soon
        for zone, ports in self._enactor.ports.zones.items():
            told = ports.own_verifiers if self._enactor.health.cannot_be_asked(zone) else []
            found.extend(self._enactor.health.server_problems(zone, but=[verifier.server for verifier in told]))
        if self._enactor.store_up and self._enactor.cache.head_lost:
            passing["head"] = _HEAD_LOST
        if self._enactor.copy_problem:
            passing["copy"] = self._enactor.copy_problem
        found.extend(self._enactor.health.settled(passing))
        freeze = self._enactor.cache.freeze
        if freeze is not None:
            found.append(f"frozen ({freeze.mode}) by {freeze.author}: {freeze.reason}")
        refusal = self._enactor.head_refusal
        if refusal is not None:
            found.append(f"plan {self._enactor.cache.head} is refused: {refusal}")
        found.extend(self._enactor.surroundings())
        return found

    def notes(self) -> list[str]:
        """Return what an operator should know besides, and what is no reason to be degraded."""
        found = []
        unfinished = self._enactor.unfinished
        if unfinished:
            zones = ", ".join(list(unfinished)[:_ZONES_SHOWN]) + (", …" if len(unfinished) > _ZONES_SHOWN else "")
            found.append(f"{sum(unfinished.values())} endpoints are not finished yet ({zones})")
        for zone in self._enactor.writers:
            for asked_s, kept_s in self._enactor.health.kept_ttls.rules(zone).items():
                found.append(f"{zone}: its server keeps TTL {kept_s}, whatever is asked for (a plan has {asked_s})")
            negative_ttl_s = self._enactor.health.evidence.negative_ttl_s(zone)
            if negative_ttl_s is not None and negative_ttl_s > NEGATIVE_TTL_MAX_S:
                found.append(
                    f"{zone}: who saw a name empty keeps that answer for {negative_ttl_s} s, also after a repair;"
                    f" lower the last number of the zone's SOA record to {NEGATIVE_TTL_MAX_S} or less"
                )
        amiss = len(self.amiss())
        if amiss:
            seen = f"{amiss} endpoints are served otherwise than they should be, or gave no answer"
            found.append(f"{seen}; see them with: enactorctl verify")
        return [*found, *self._enactor.limits_notes()]

    def zone_states(self) -> dict[str, tuple[str, str]]:
        """Return the zones that are not known to be well: "not well" or "unknown", and what is told of each."""
        states = {zone: ("not well", problem) for zone, problem in self._enactor.zone_problems.items()}
        interval_s = self.look_interval_s
        for zone in self._enactor.writers:
            if zone not in states and (unknown := self._enactor.health.evidence.unknown(zone, interval_s)):
                states[zone] = ("unknown", unknown)
        return dict(sorted(states.items()))

    @property
    def look_interval_s(self) -> float:
        """How long it takes, in seconds, until every zone has been looked at once more."""
        names = self._enactor.cache.ledger.totals.owned
        return self._enactor.settings.repair_interval_s + names / self._enactor.settings.repair_names_per_s

    def lag_s(self) -> dict[str, float]:
        """Return how long, by zone, a plan has been waiting that the zone has not applied; 0: it has the newest."""
        now = self._enactor.ports.clock.now()
        generations = self._enactor.cache.generations
        lags = {}
        for zone in self._enactor.writers:
            manifest = None
            for generation in generations[bisect_right(generations, self._enactor.cache.applied(zone)) :]:
                try:
                    manifest = self._enactor.cache.manifest(generation)
                except PlanUnreadable:
                    continue
                break
            lags[zone] = 0.0 if manifest is None else max(0.0, now - manifest.published_at)
        return lags

    def published_at(self) -> float | None:
        """Return when the newest plan was published, in seconds since the epoch; None: not known."""
        cache = self._enactor.cache
        try:
            manifest = cache.manifest(cache.newest)
        except PlanUnreadable:
            return None
        return None if manifest is None else manifest.published_at

    def status(self) -> dict[str, object]:
        """Return what this enactor itself knows besides the cache, for the status document."""
        return {
            "id": self._enactor.settings.id,
            "identity_up": self._enactor.health.identity_up,
            "store_up": self._enactor.store_up,
            "store_full": self._enactor.health.store_full,
            "working_on": self._enactor.working_on,
            "verified": self._enactor.verified,
            "looked_at": self._enactor.health.evidence.oldest_at // _LOOKED_AT_STEP_S * _LOOKED_AT_STEP_S,
            "zones": {
                zone: {
                    "problem": self._enactor.health.zone_problem(zone),
                    "aspect": self._enactor.health.zone_aspect(zone),
                    "unfinished": self._enactor.unfinished.get(zone, 0),
                    "fence_interval_s": self._enactor.fence_watch.interval_s(zone),
                }
                | self._evidence(zone)
                for zone in self._enactor.writers
            },
            "refused": {
                str(generation): {"guard": refusal.guard, "detail": refusal.detail}
                for generation, refusal in self._enactor.refused.items()
            },
            "amiss": len(self.amiss()),
            "reasons": self.reasons(),
            "notes": self.notes(),
        }

    def seen(self, entry: Entry, zone: str) -> Seen:
        """Return how a name is served, as this enactor last saw it; unknown where its zone is not well."""
        health = self._enactor.health
        if zone not in self._enactor.writers or health.zone_aspect(zone):
            return Seen(state=State.UNKNOWN)
        if health.evidence.unknown(zone, self.look_interval_s):
            return Seen(state=State.UNKNOWN)
        return health.evidence.of(zone, entry)

    def amiss(self) -> frozenset[str]:
        """Return the names that the last looks saw otherwise than they should be, or got no answer for."""
        evidence = self._enactor.health.evidence
        return frozenset().union(*(evidence.amiss(zone) for zone in self._enactor.writers))

    def _evidence(self, zone: str) -> dict[str, object]:
        """What was seen of a zone, for the status document."""
        evidence, kept = self._enactor.health.evidence, self._enactor.health.kept_ttls
        last = evidence.last(zone)
        return {
            "names": last.names,
            "drifted": len(last.drifted),
            "unread": len(last.unread),
            "negative_ttl_s": evidence.negative_ttl_s(zone),
            "kept_ttls": [{"asked_s": asked_s, "kept_s": kept_s} for asked_s, kept_s in kept.rules(zone).items()],
            "servers": [
                {
                    "server": view.server,
                    "state": view.state,
                    "since": view.away_since or view.behind_since,
                    "behind": len(view.behind),
                    "detail": view.text,
                }
                for view in evidence.servers(zone)
            ],
        }
