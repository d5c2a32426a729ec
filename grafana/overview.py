"""The dashboard to open first: is it safe, is it current, what is held, and each zone by itself."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.parts import SCOPE, ZONE, assemble, graph, heat, number, states, words

RED, YELLOW = "red", "yellow"

BEHIND = (
    f"scope:enactord_generation_head:max{{{SCOPE}}} - on (scope) group_right () "
    f"scope_zone:enactord_generation_applied:max{{{ZONE}}}"
)

SAFE = [
    number(
        "Alerts firing",
        "Of all scopes. Each has a section in deploy/RUNBOOK.md.",
        'count(ALERTS{alertname=~"Enactord.+", alertstate="firing"}) or vector(0)',
        bad=[(1, RED)],
    ),
    number(
        "Served empty",
        "Names that the ledger owns and that had no address at the last look.",
        f"sum(scope_zone:enactord_endpoints_empty:last_look{{{ZONE}}})",
        bad=[(1, RED)],
    ),
    number(
        "Drifted",
        "Names that were not served as the ledger has them at the last look, empty ones included.",
        f"sum(scope_zone:enactord_endpoints_drifted:last_look{{{ZONE}}})",
        bad=[(1, YELLOW)],
    ),
    number(
        "Enactors that answer",
        "Any one of them can do all the work.",
        f'sum(up{{job="enactord", {SCOPE}}})',
        mappings=words(v0=("none", RED)),
    ),
    number(
        "Enactors with the store",
        "Those that reach the plan store. Without it nothing new is applied; repair goes on.",
        f"sum(enactord_store_up{{{SCOPE}}})",
        mappings=words(v0=("none", RED)),
    ),
    number(
        "Freeze",
        "Whether an operator has stopped the scope.",
        f"max(enactord_frozen{{{SCOPE}}})",
        mappings=words(v0=("no", "green"), v1=("FROZEN", "purple")),
    ),
    graph(
        "Stale writes refused",
        "Writes that came too late, and were stopped by the fence in the zone: what would have been an outage.",
        {"{{zone}}": f"sum by (zone) (increase(enactord_stale_writes_refused_total{{{ZONE}}}[$__rate_interval]))"},
        bars=True,
    ),
    graph(
        "Repairs",
        "Names that somebody else emptied or changed, and that were put back.",
        {"{{zone}} {{kind}}": f"sum by (zone, kind) (increase(enactord_repairs_total{{{ZONE}}}[$__rate_interval]))"},
        bars=True,
    ),
    states(
        "Zones",
        "Whether at least one enactor can look at the zone and write to it.",
        {"{{zone}}": f"max by (zone) (enactord_zone_up{{{ZONE}}})"},
        words(v0=("away", RED), v1=("up", "green")),
    ),
]

CURRENT = [
    number(
        "Newest plan",
        "The generation published last.",
        f"max(scope:enactord_generation_head:max{{{SCOPE}}})",
        width=6,
    ),
    number(
        "Generations behind",
        "How far the zone that is furthest behind is from the newest plan.",
        f"max({BEHIND})",
        bad=[(1, YELLOW), (10, RED)],
        width=6,
    ),
    number(
        "Newest plan refused",
        "Whether the newest plan is refused as a whole; what is served stays as it is.",
        f"max(enactord_head_refused{{{SCOPE}}})",
        mappings=words(v0=("no", "green"), v1=("REFUSED", RED)),
        width=6,
    ),
    number(
        "Longest since a look",
        "Since any enactor has looked at all of a zone's names.",
        f"max(time() - max by (scope, zone) (enactord_last_verified_timestamp_seconds{{{ZONE}}}))",
        unit="s",
        bad=[(300, YELLOW), (900, RED)],
        width=6,
    ),
    graph(
        "Generations",
        "The newest plan, and for each zone what is opened (its fence) and what is applied.",
        {
            "newest": f"scope:enactord_generation_head:max{{{SCOPE}}}",
            "fence {{zone}}": f"scope_zone:enactord_generation_fence:max{{{ZONE}}}",
            "applied {{zone}}": f"scope_zone:enactord_generation_applied:max{{{ZONE}}}",
        },
        width=12,
    ),
    heat(
        "Published to seen served",
        "For each endpoint: from the plan's publication to the moment that every server was seen to serve it.",
        f"sum by (le) (increase(enactord_apply_duration_seconds_bucket{{{ZONE}}}[$__rate_interval]))",
    ),
]

HELD = [
    number(
        "Held",
        "Endpoints that stay on their last known good, since a guard refused their new content.",
        f'sum(max by (scope) (enactord_endpoints{{state="held", {SCOPE}}}))',
        bad=[(1, YELLOW)],
    ),
    graph(
        "Endpoints",
        "By state, as the ledger has them.",
        {
            "{{scope}} {{state}}": "max by (scope, state) "
            f'(enactord_endpoints{{state=~"applied|pending|held", {SCOPE}}})',
        },
        stacked=True,
        width=10,
    ),
    graph(
        "Refusals",
        "Plans and endpoints that a guard refused, counted by each enactor that judged them.",
        {"{{guard}}": f"sum by (guard) (increase(enactord_refusals_total{{{SCOPE}}}[$__rate_interval]))"},
        bars=True,
        width=10,
    ),
]

EACH_ZONE = [
    graph(
        "Generations",
        "Fence and applied plan of this zone.",
        {
            "fence": f"max(scope_zone:enactord_generation_fence:max{{{ZONE}}})",
            "applied": f"max(scope_zone:enactord_generation_applied:max{{{ZONE}}})",
        },
        width=6,
    ),
    graph(
        "Writes",
        "DNS transactions by how they ended.",
        {"{{outcome}}": f"sum by (outcome) (rate(enactord_writes_total{{{ZONE}}}[$__rate_interval]))"},
        unit="ops",
        width=6,
    ),
    graph(
        "Published to seen served",
        "For each endpoint, over the last five minutes.",
        {
            "half": f"max(scope_zone:enactord_apply_duration_seconds:p50_5m{{{ZONE}}})",
            "99 of 100": f"max(scope_zone:enactord_apply_duration_seconds:p99_5m{{{ZONE}}})",
        },
        unit="s",
        width=6,
    ),
    graph(
        "Not as it should be",
        "Names found empty or drifted at the last look.",
        {
            "empty": f"sum(scope_zone:enactord_endpoints_empty:last_look{{{ZONE}}})",
            "drifted": f"sum(scope_zone:enactord_endpoints_drifted:last_look{{{ZONE}}})",
        },
        width=6,
    ),
]


def overview() -> Dashboard:
    return assemble(
        "enactord-overview",
        "enactord: overview",
        "Is it safe, is it current, what is held; then each zone by itself.",
        [
            ("Is it safe?", SAFE),
            ("Is it current?", CURRENT),
            ("What is held?", HELD),
            ("Zone $zone", EACH_ZONE),
        ],
        repeated="zone",
    )
