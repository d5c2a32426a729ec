"""Every metric, in one screen; names and labels are promises (no endpoint name is ever a label)."""

from collections import Counter as Counts
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from enactord import __version__
from enactord.core import events
from enactord.core.events import Event
from enactord.store.cache import Cache
from enactord.store.damage import STEERING
from enactord.store.layout import KINDS, Kind
from enactord.store.planners import DEFAULT
from enactord.telemetry.failures import PARTS

_APPLY_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_WRITE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

# Counters of these start at 0: one that first shows itself at 1 has, to Prometheus, never increased.
PLAN_GUARDS = ("endpoints_removed", "unreadable", "zone")
ENDPOINT_GUARDS = ("address", "covered", "foreign", "server", "targets_min", "ttl", "velocity")
PRUNE_REASONS = ("active", "changed", "claimed", "fence", "format", "referenced")
ASPECTS = ("server", "answers", "identity", "held", "fence", "writing", "pass")
"""What may be wrong with a zone: the engine's `Aspect`."""
STEPS = ("apply", "copy", "follow", "prune", "repair", "session")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How one zone is paced at this moment."""

    budget_ratio: float
    in_flight: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How one of the servers that are asked after each write was last found."""

    answers: bool
    behind: int
    """Names that it serves otherwise than the zone's own server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an enactor knows at this moment, as far as it is a state and not an event."""

    cache: Cache
    store_up: bool
    verified: int
    pacing: Mapping[str, Pacing]
    zones_down: Mapping[str, str]
    """Those that cannot be looked at or written now, with the aspect that people are told first."""
    zones_unknown: Collection[str]
    """Those that were not looked at lately."""
    servers: Mapping[str, Mapping[str, Reached]]
    """By zone, the servers that are asked after each write, those left out of which nothing is known yet."""
    negative_ttl_s: Mapping[str, int | None]
    """By zone, seconds for which a resolver keeps an empty answer; None: not known."""
    kept_ttls: Mapping[str, int]
    """By zone, how many TTLs its server keeps whatever is asked for."""
    store_full: bool
    copy_up: bool
    identities: Mapping[str, bool]
    """Whether store, zones and id are each of the enactor's own installation."""
    damaged: Collection[Kind]
    """The kind of each stored value that cannot be read, of those that steer the scope."""
    published_at: float | None
    """When the newest plan was published, in seconds since the epoch; None: not known."""
    head_refused: str
    """The guard by which the newest plan is refused as a whole; "": it is not."""
    limits_differing: int
    """Limits of the guards of which the enactor's config says something else than is in force."""
    lag_s: Mapping[str, float]
    """Seconds, by zone, since the oldest plan was published that the zone has not applied; 0: it has the newest."""
    fence_interval_s: Mapping[str, float]
    """Seconds, by zone, between two questions for its fence."""
    still_s: float
    """Seconds since the apply loop last turned."""


class Metrics:
    """Counts events as they come, and reads the rest from the enactor before a scrape."""

    def __init__(self, registry: CollectorRegistry, zones: Iterable[str]) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"enactord_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"enactord_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"enactord_{name}", text, labels, buckets=buckets, registry=registry)

        self.generation = gauge("generation", "Generation by kind; fence and applied by zone", "kind", "zone")
        self.apply = histogram(
            "apply_duration_seconds", "Plan published to endpoint seen served", _APPLY_BUCKETS_S, "zone"
        )
        self.write = histogram("write_duration_seconds", "One DNS transaction", _WRITE_BUCKETS_S, "zone", "outcome")
        self.writes = counter("writes_total", "DNS transactions", "zone", "outcome")
        self.stale = counter("stale_writes_refused_total", "Writes refused by the zone's fence", "zone")
        self.endpoints = gauge("endpoints", "Endpoints of the ledger by state", "state")
        self.empty = gauge("endpoints_empty", "Owned endpoints served empty at the last look", "zone")
        self.drifted = gauge("endpoints_drifted", "Owned endpoints not served as the ledger has them", "zone")
        self.refusals = counter("refusals_total", "Plans and endpoints refused", "guard")
        self.repairs = counter("repairs_total", "Names put back", "zone", "kind")
        self.fences_lost = counter("fences_lost_total", "Fences found missing or garbled, and put back", "zone")
        self.prune_refusals = counter("prune_refusals_total", "Plans that had to stay", "reason")
        self.plans = gauge("plans", "Stored plans by state", "state")
        self.claims = gauge("claims", "Claims on plans, of all enactors")
        self.store_up = gauge("store_up", "1 while the plan store answers")
        self.zone_up = gauge("zone_up", "1 while the zone can be looked at and written", "zone")
        self.zone_down = gauge("zone_down", "1 for what keeps the zone from being worked on", "zone", "aspect")
        self.zone_known = gauge("zone_known", "1 while the zone was looked at lately", "zone")
        self.unread = gauge("endpoints_unread", "Names for which the last look got no answer", "zone")
        self.server_up = gauge("server_up", "1 while a server that is asked after each write answers", "zone", "server")
        self.server_behind = gauge(
            "server_behind_names", "Names that a server serves otherwise than the zone's own server", "zone", "server"
        )
        self.negative_ttl = gauge("negative_ttl_seconds", "How long a resolver keeps an empty answer", "zone")
        self.kept_ttls = gauge("kept_ttls", "TTLs that the server keeps whatever is asked for", "zone")
        self.store_full = gauge("store_full", "1 while the plan store answers and has no room")
        self.zone_lag = gauge(
            "zone_lag_seconds", "Time since the oldest plan was published that the zone has not applied", "zone"
        )
        self.fence_interval = gauge("fence_interval_seconds", "Time between two questions for the zone's fence", "zone")
        self.other_formats = gauge(
            "other_format_values", "Values in the store that another version has written", "kind"
        )
        self.damaged = gauge("damaged_values", "Values in the store that steer the scope and cannot be read", "kind")
        self.identity_up = gauge(
            "identity_up", "1 while the store, the zones, or the id are of this enactor's own installation", "part"
        )
        self.copy_up = gauge("copy_up", "1 while the copy on local disk can be saved")
        self.config_refused = gauge(
            "config_refused", "1 while a config, or a file that it names, is not taken up as it is now"
        )
        self.certificate_expiry = gauge(
            "certificate_expiry_timestamp_seconds", "When a certificate in use expires", "use"
        )
        self.published = gauge("head_timestamp_seconds", "When the newest plan was published")
        self.head_refused = gauge("head_refused", "1 while the newest plan is refused as a whole", "guard")
        self.limits_differing = gauge(
            "limits_differing", "Limits of guards that this enactor's config says otherwise than they are in force"
        )
        self.frozen = gauge("frozen", "1 while frozen in this mode", "mode")
        self.publication_refused = gauge(
            "publication_refused", "1 while guards refuse what the planner last published", "planner"
        )
        self.overrides = gauge(
            "overrides", "Overrides of endpoints that operators have begun, and that are not over yet"
        )
        self.override_ends = gauge(
            "override_ends_timestamp_seconds", "When the time of an override in force is over, of the first; 0: none is"
        )
        self.paused = gauge("planner_paused", "1 while an operator keeps the planner from publishing", "planner")
        self.retries = counter("retries_total", "Attempts made again", "target")
        self.budget = gauge("retry_budget_ratio", "What is left of the retry budget, 0 to 1", "target")
        self.in_flight = gauge("in_flight", "DNS transactions under way", "zone")
        self.limit = gauge("concurrency_limit", "DNS transactions allowed at once", "zone")
        self.verified = gauge("last_verified_timestamp_seconds", "End of the last look at the zone", "zone")
        self.steps_failed = counter("steps_failed_total", "Steps given up by an error that no rule foresees", "step")
        self.still = gauge("apply_loop_still_seconds", "Time since the apply loop last turned")
        self.lines_lost = counter("log_lines_lost_total", "Lines of the log that could not be written")
        self.tell_failures = counter("tell_failures_total", "Failures of what only tells, by part", "part")
        self.lag = histogram("loop_lag_seconds", "How late the event loop wakes a timer", _LAG_BUCKETS_S)
        gauge("build_info", "1, with the version", "version").labels(__version__).set(1)
        self._drifts: dict[str, int] = {}
        self._applied: dict[str, int] = {}
        for zone in zones:
            for outcome in ("committed", "refused", "unknown"):
                self.writes.labels(zone, outcome)
                self.write.labels(zone, outcome)
            for kind in ("emptied", "drifted"):
                self.repairs.labels(zone, kind)
            for family in (
                self.apply,
                self.stale,
                self.empty,
                self.drifted,
                self.unread,
                self.fences_lost,
                self.retries,
                self.verified,
            ):
                family.labels(zone)
            self.zone_up.labels(zone).set(1)
        for guard in (*PLAN_GUARDS, *ENDPOINT_GUARDS):
            self.refusals.labels(guard)
        for reason in PRUNE_REASONS:
            self.prune_refusals.labels(reason)
        for step in STEPS:
            self.steps_failed.labels(step)
        for part in PARTS:
            self.tell_failures.labels(part)
        self._told: dict[str, int] = {}
        self._lines_lost = 0

    def observe(self, event: Event) -> None:
        match event:
            case events.WriteFinished(zone=zone, outcome=outcome, duration_s=duration_s):
                self.writes.labels(zone, outcome).inc()
                self.write.labels(zone, outcome).observe(duration_s)
            case events.StaleWriteRefused(zone=zone):
                self.stale.labels(zone).inc()
            case events.SliceCommitted(zone=zone, apply_s=latencies):
                apply = self.apply.labels(zone)
                for latency_s in latencies:
                    apply.observe(latency_s)
            case events.PlanRefused(guard=guard) | events.EndpointHeld(guard=guard):
                self.refusals.labels(guard).inc()
            case events.EndpointRepaired(zone=zone, kind=kind):
                self.repairs.labels(zone, kind).inc()
            case events.PruneRefused(reason=reason):
                self.prune_refusals.labels(reason).inc()
            case events.Retried(target=target):
                self.retries.labels(target).inc()
            case events.Verified(zone=zone, empty=empty, drifted=drifted, unread=unread, at=at):
                self.unread.labels(zone).set(unread)
                self.empty.labels(zone).set(empty)
                self.drifted.labels(zone).set(drifted)
                self._drifts[zone] = drifted
                self.verified.labels(zone).set(at)
            case events.FenceOpened(zone=zone, before=before):
                # Where a plan has been applied a fence stood; what was there in its place is not ours.
                if self._applied.get(zone) and not before.startswith("v=enactord"):
                    self.fences_lost.labels(zone).inc()
            case events.StepFailed(step=step):
                self.steps_failed.labels(step).inc()
            case _:
                pass  # logged, not counted

    def _refresh_servers(self, standing: Standing) -> None:
        for family in (self.server_up, self.server_behind, self.negative_ttl):
            family.clear()
        for zone, reached in standing.servers.items():
            self.zone_known.labels(zone).set(zone not in standing.zones_unknown)
            self.kept_ttls.labels(zone).set(standing.kept_ttls.get(zone, 0))
            negative_ttl_s = standing.negative_ttl_s.get(zone)
            if negative_ttl_s is not None:
                self.negative_ttl.labels(zone).set(negative_ttl_s)
            for server, how in reached.items():
                self.server_up.labels(zone, server).set(how.answers)
                self.server_behind.labels(zone, server).set(how.behind)

    def refresh_told(self, lines_lost: int, failures: Mapping[str, int]) -> None:
        """Take in how often what only tells has failed, as totals, before a scrape."""
        self.lines_lost.inc(lines_lost - self._lines_lost)
        self._lines_lost = lines_lost
        for part, total in failures.items():
            self.tell_failures.labels(part).inc(total - self._told.get(part, 0))
            self._told[part] = total

    def tell_certificates(self, expiries: Mapping[str, float]) -> None:
        """Take in when the certificates in use expire, by use, in seconds since the epoch."""
        self.certificate_expiry.clear()
        for use, expires_at in sorted(expiries.items()):
            self.certificate_expiry.labels(use).set(expires_at)

    def refresh(self, standing: Standing) -> None:
        """Take in what is a state, before a scrape."""
        cache = standing.cache
        zones = sorted(standing.pacing)
        for zone in zones:
            fence = cache.fence(zone)
            self.generation.labels("fence", zone).set(fence.generation if fence else 0)
            self._applied[zone] = cache.applied(zone)
            self.generation.labels("applied", zone).set(self._applied[zone])
            self.zone_up.labels(zone).set(zone not in standing.zones_down)
            for aspect in ASPECTS:
                self.zone_down.labels(zone, aspect).set(standing.zones_down.get(zone) == aspect)
            self.zone_lag.labels(zone).set(standing.lag_s.get(zone, 0.0))
            self.fence_interval.labels(zone).set(standing.fence_interval_s.get(zone, 0.0))
        self.generation.labels("head", "").set(cache.newest)
        self.generation.labels("verified", "").set(standing.verified)
        totals = cache.ledger.totals
        settled = max(0, totals.entries - totals.pending - totals.held)
        for state, count in (("applied", settled), ("pending", totals.pending), ("held", totals.held)):
            self.endpoints.labels(state).set(count)
        self.endpoints.labels("drifted").set(sum(self._drifts.values()))
        applied = set(self._applied.values())
        generations = cache.generations
        for state, count in (
            ("newer", sum(generation > max(applied, default=0) for generation in generations)),
            ("applied", sum(generation in applied for generation in generations)),
            (
                "older",
                sum(generation < max(applied, default=0) and generation not in applied for generation in generations),
            ),
        ):
            self.plans.labels(state).set(count)
        self.claims.set(len(cache.all_claims))
        self.store_up.set(standing.store_up)
        self.store_full.set(standing.store_full)
        self.copy_up.set(standing.copy_up)
        self._refresh_servers(standing)
        for part, own in standing.identities.items():
            self.identity_up.labels(part).set(own)
        spoilt = Counts(standing.damaged)
        for kind in STEERING:
            self.damaged.labels(kind.name).set(spoilt[kind])
        if standing.published_at is not None:
            self.published.set(standing.published_at)
        counts = Counts(other.kind for other in cache.other_formats.values())
        for kind in KINDS:
            self.other_formats.labels(kind.name).set(counts[kind.name])
        self.head_refused.clear()
        for guard in sorted({*PLAN_GUARDS, standing.head_refused} - {""}):
            self.head_refused.labels(guard).set(guard == standing.head_refused)
        self.limits_differing.set(standing.limits_differing)
        self.still.set(standing.still_s)
        freeze = cache.freeze
        for mode in ("all", "repair-only"):
            self.frozen.labels(mode).set(freeze is not None and freeze.mode == mode)
        refused = {kept.planner for kept in cache.contributions}
        self.publication_refused.clear()
        for planner in (DEFAULT, *refused):
            self.publication_refused.labels(planner).set(planner in refused)
        overrides = cache.overrides
        self.overrides.set(len(overrides))
        self.override_ends.set(min((override.until for override in overrides), default=0.0))
        self.paused.clear()
        for planner in (DEFAULT, *cache.paused):
            self.paused.labels(planner).set(planner in cache.paused)
        for zone, pacing in standing.pacing.items():
            self.budget.labels(zone).set(pacing.budget_ratio)
            self.in_flight.labels(zone).set(pacing.in_flight)
            self.limit.labels(zone).set(pacing.limit)
