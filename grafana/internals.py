"""The dashboard for whoever wants to know why: pacing, retries, the store, and the processes themselves."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.parts import SCOPE, ZONE, assemble, graph, heat, states, words

JOB = f'job="enactord", {SCOPE}'
UP = words(v0=("away", "red"), v1=("up", "green"))


def _quantiles(metric: str, selector: str, by: str) -> dict[str, str]:
    rate = f"sum by ({by}, le) (rate({metric}_bucket{{{selector}}}[$__rate_interval]))"
    return {
        f"half {{{{{by}}}}}": f"histogram_quantile(0.5, {rate})",
        f"99 of 100 {{{{{by}}}}}": f"histogram_quantile(0.99, {rate})",
    }


PACING = [
    graph(
        "Messages under way",
        "DNS messages that wait for their answer, and how many may at once: a limit that adapts.",
        {
            "under way {{instance}} {{zone}}": f"enactord_in_flight{{{ZONE}}}",
            "limit {{instance}} {{zone}}": f"enactord_concurrency_limit{{{ZONE}}}",
        },
    ),
    graph(
        "Time of a write",
        "One DNS transaction, from its sending to its answer.",
        _quantiles("enactord_write_duration_seconds", ZONE, "zone"),
        unit="s",
    ),
    heat(
        "Times of writes",
        "One DNS transaction, from its sending to its answer, whatever the answer.",
        f"sum by (le) (increase(enactord_write_duration_seconds_bucket{{{ZONE}}}[$__rate_interval]))",
        width=8,
    ),
    graph(
        "Writes by enactor",
        "The share that each does: about the same, while all are well.",
        {"{{instance}}": f"sum by (instance) (rate(enactord_writes_total{{{ZONE}}}[$__rate_interval]))"},
        unit="ops",
        stacked=True,
    ),
    graph(
        "Writes by outcome",
        "Refused: by the fence, or since a name was not as required. Unknown: no answer came.",
        {"{{zone}} {{outcome}}": f"sum by (zone, outcome) (rate(enactord_writes_total{{{ZONE}}}[$__rate_interval]))"},
        unit="ops",
    ),
    states(
        "Zones by enactor",
        "Whether this enactor can look at the zone and write to it.",
        {"{{instance}} {{zone}}": f"enactord_zone_up{{{ZONE}}}"},
        UP,
    ),
]

RETRIES = [
    graph(
        "Retries",
        "Attempts made again after a failure.",
        {"{{target}}": f"sum by (target) (rate(enactord_retries_total{{{SCOPE}}}[$__rate_interval]))"},
        unit="ops",
    ),
    graph(
        "Retry budget",
        "What is left of it. Without any, a failed write waits for the next pass.",
        {"{{instance}} {{target}}": f"enactord_retry_budget_ratio{{{SCOPE}}}"},
        unit="percentunit",
    ),
    graph(
        "Writes without an answer",
        "Their share; each such name is read before it is written again.",
        {"{{zone}}": f"scope_zone:enactord_writes_unknown:ratio_rate5m{{{ZONE}}}"},
        unit="percentunit",
    ),
]

STORE = [
    states(
        "Store by enactor",
        "Whether this enactor reaches the plan store.",
        {"{{instance}}": f"enactord_store_up{{{SCOPE}}}"},
        UP,
    ),
    states(
        "Installation by enactor",
        "Whether store, zones and id are those of this enactor's own installation.",
        {"{{instance}} {{part}}": f"enactord_identity_up{{{SCOPE}}}"},
        words(v0=("another's", "red"), v1=("own", "green")),
    ),
    states(
        "Local copy by enactor",
        "Whether this enactor can save what repair needs when the store is away.",
        {"{{instance}}": f"enactord_copy_up{{{SCOPE}}}"},
        words(v0=("failing", "red"), v1=("saved", "green")),
    ),
    graph(
        "Values of another version",
        "What the store holds in a format that this version does not read, by kind.",
        {"{{kind}}": f"max by (kind) (enactord_other_format_values{{{SCOPE}}}) > 0"},
    ),
    graph(
        "Newest plan seen",
        "By each enactor; one that stays below the others has lost its watch.",
        {"{{instance}}": f'enactord_generation{{kind="head", {SCOPE}}}'},
    ),
    graph(
        "Verified plan",
        "The newest plan that each enactor has seen served in whole.",
        {"{{instance}}": f'enactord_generation{{kind="verified", {SCOPE}}}'},
    ),
    graph(
        "Plans in the store",
        "Newer than what is applied, applied, and older.",
        {"{{scope}} {{state}}": f"max by (scope, state) (enactord_plans{{{SCOPE}}})"},
        stacked=True,
    ),
    graph(
        "Claims",
        "Statements of enactors that they work on a plan.",
        {"{{scope}}": f"max by (scope) (enactord_claims{{{SCOPE}}})"},
    ),
    graph(
        "Plans that had to stay",
        "Refusals of prune, by what still needs the plan.",
        {"{{reason}}": f"sum by (reason) (increase(enactord_prune_refusals_total{{{SCOPE}}}[$__rate_interval]))"},
        bars=True,
    ),
    graph(
        "Fences lost",
        "Fence records that were missing or garbled, and were put back.",
        {"{{zone}}": f"sum by (zone) (increase(enactord_fences_lost_total{{{ZONE}}}[$__rate_interval]))"},
        bars=True,
    ),
]

PROCESSES = [
    graph(
        "Lag of the event loop",
        "How late timers are woken. What blocks the loop delays answers, leases and probes alike.",
        _quantiles("enactord_loop_lag_seconds", SCOPE, "instance"),
        unit="s",
    ),
    heat(
        "Lags of the event loop",
        "How late timers are woken, of all enactors.",
        f"sum by (le) (increase(enactord_loop_lag_seconds_bucket{{{SCOPE}}}[$__rate_interval]))",
        width=8,
    ),
    graph(
        "Apply loop",
        "Since it last turned; above 30 s /healthz fails.",
        {"{{instance}}": f"enactord_apply_loop_still_seconds{{{SCOPE}}}"},
        unit="s",
    ),
    states(
        "Config by enactor",
        "Whether the config that was read last was taken up.",
        {"{{instance}}": f"enactord_config_refused{{{SCOPE}}}"},
        words(v0=("taken up", "green"), v1=("refused", "red")),
    ),
    graph(
        "Certificates",
        "Time left of each certificate in use; below zero it has expired.",
        {"{{instance}} {{use}}": f"enactord_certificate_expiry_timestamp_seconds{{{SCOPE}}} - time()"},
        unit="s",
    ),
    graph(
        "CPU",
        "Seconds of CPU a second.",
        {"{{instance}}": f"rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval])"},
        unit="percentunit",
    ),
    graph("Memory", "Resident.", {"{{instance}}": f"process_resident_memory_bytes{{{JOB}}}"}, unit="bytes"),
    graph(
        "Open files",
        "Connections included.",
        {"{{instance}}": f"process_open_fds{{{JOB}}}"},
    ),
    graph(
        "Steps that failed",
        "By an error that no rule foresees; the log has the traceback.",
        {
            "{{instance}} {{step}}": "sum by (instance, step) "
            f"(increase(enactord_steps_failed_total{{{SCOPE}}}[$__rate_interval]))"
        },
        bars=True,
    ),
    graph(
        "Versions",
        "How many enactors run each.",
        {"{{version}}": f"count by (version) (enactord_build_info{{{SCOPE}}})"},
        stacked=True,
    ),
]


def internals() -> Dashboard:
    return assemble(
        "enactord-internals",
        "enactord: internals",
        "Why it is as fast or as slow as it is.",
        [("Pacing", PACING), ("Retries", RETRIES), ("Store", STORE), ("Processes", PROCESSES)],
    )
