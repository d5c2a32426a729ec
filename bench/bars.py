"""The bars: what was set beforehand, against what a run found. All are ratios within one run, or memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.cases import apply, fence, one
from bench.figures import paired_ratio
from bench.results import Bar, Found

ENACTORD, THREE, FLOOR = "enactord 1, etcd", "enactord 3, etcd", "naive-batched"
WANTED = 10_000
"""Endpoints that the bars are meant for; a smaller form shows them for the largest size that it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ratio:
    """A bar on the ratio of two cells: `above` over `below`, each (candidate, measure)."""

    text: str
    benchmark: str
    above: tuple[str, str]
    below: tuple[str, str]
    sense: str
    limits: Mapping[str, float]
    """By server."""


_RATIOS = (
    _Ratio(
        text="price of the fence: throughput with it over throughput without",
        benchmark="fence",
        above=(fence.WITH, fence.RATE),
        below=(fence.WITHOUT, fence.RATE),
        sense=">=",
        limits={"knot": 0.97, "bind": 0.97},
    ),
    _Ratio(
        text="all changed, every endpoint read back: one enactor over naive-batched",
        benchmark="apply",
        above=(ENACTORD, apply.TIME),
        below=(FLOOR, apply.TIME),
        sense="<=",
        limits={"knot": 4.0, "bind": 1.7},
    ),
    _Ratio(
        text="all changed: three enactors over one",
        benchmark="apply",
        above=(THREE, apply.TIME),
        below=(ENACTORD, apply.TIME),
        sense="<=",
        limits={"knot": 1.0, "bind": 1.0},
    ),
    _Ratio(
        text="all changed: naive over one enactor",
        benchmark="apply",
        above=("naive", apply.TIME),
        below=(ENACTORD, apply.TIME),
        sense=">=",
        limits={"knot": 50.0, "bind": 5.0},
    ),
    _Ratio(
        text="all changed, reading the plan included: octoDNS over one enactor",
        benchmark="apply",
        above=("octoDNS", apply.TIME),
        below=(ENACTORD, apply.WITH_PARSING),
        sense=">=",
        limits={"knot": 5.0, "bind": 2.0},
    ),
    _Ratio(
        text="1 % changed, reading the plan included: octoDNS over one enactor",
        benchmark="share",
        above=("octoDNS", apply.TIME),
        below=(ENACTORD, apply.WITH_PARSING),
        sense=">=",
        limits={"knot": 20.0, "bind": 20.0},
    ),
    _Ratio(
        text="1 % a second, p99 publish to seen served: one enactor over bare updates",
        benchmark="churn",
        above=(ENACTORD, "p99"),
        below=(FLOOR, "p99"),
        sense="<=",
        limits={"knot": 3.0, "bind": 3.0},
    ),
    _Ratio(
        text="one change among many over one among few: time",
        benchmark="one",
        above=(one.MANY, one.TIME),
        below=(one.FEW, one.TIME),
        sense="<=",
        limits={"knot": 2.0, "bind": 2.0},
    ),
    _Ratio(
        text="one change among many over one among few: CPU of the planner",
        benchmark="one",
        above=(one.MANY, one.PLANNER),
        below=(one.FEW, one.PLANNER),
        sense="<",
        limits={"knot": 3.0, "bind": 3.0},
    ),
    _Ratio(
        text="one change among many over one among few: CPU of the enactor",
        benchmark="one",
        above=(one.MANY, one.ENACTOR),
        below=(one.FEW, one.ENACTOR),
        sense="<",
        limits={"knot": 3.0, "bind": 3.0},
    ),
)
MEMORY_LIMIT_MB = 400.0


def judge(found: Iterable[Found]) -> tuple[Bar, ...]:
    """Return every bar of the benchmarks that were run, with what it came to."""
    by_name = {each.name: each for each in found}
    bars = [bar for ratio in _RATIOS if ratio.benchmark in by_name for bar in _judge(ratio, by_name[ratio.benchmark])]
    if "one" in by_name:
        bars.append(_memory(by_name["one"]))
    return tuple(bars)


def _judge(ratio: _Ratio, found: Found) -> list[Bar]:
    bars = []
    for server, limit in ratio.limits.items():
        case = _case(found, server)
        figure = None if case is None else _ratio(found, server, case, ratio)
        name = f"{server}, {case or 'not run'}: {ratio.text}"
        bars.append(Bar(name=name, sense=ratio.sense, limit=limit, figure=figure, benchmark=found.name))
    return bars


def _ratio(found: Found, server: str, case: str, ratio: _Ratio) -> float | None:
    """Return the median of the ratios of the rounds."""
    above, below = (
        found.values(server=server, case=case, candidate=candidate, measure=measure)
        for candidate, measure in (ratio.above, ratio.below)
    )
    return paired.median if (paired := paired_ratio(above, below)) else None


def _case(found: Found, server: str) -> str | None:
    """Return the case of the size that the bars are for, else the last, which is the largest."""
    cases = [cell.case for cell in found.cells if cell.server == server and cell.case != "first plan"]
    meant = [case for case in cases if case.startswith(f"{WANTED:,} ")]
    return next(reversed(meant or cases), None)


def _memory(found: Found) -> Bar:
    cells = [cell for cell in found.cells if (cell.candidate, cell.measure) == (one.MANY, one.PEAK) and cell.values]
    case = next((cell.note for cell in cells if cell.note), "")
    peak = max((value for cell in cells for value in cell.values), default=None)
    return Bar(
        name=f"peak memory of an enactor, {case}",
        sense="<=",
        limit=MEMORY_LIMIT_MB,
        figure=peak,
        benchmark=found.name,
        unit="MB",
    )
