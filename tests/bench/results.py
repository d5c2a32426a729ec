"""A small run, as it is stored: what reports and bars are tested on."""

from bench.bars import judge
from bench.results import Cell, Found, Results, Series

CASE = "10,000 endpoints × 8, all changed"
TIMES = {
    "naive-batched": (1.0, 2.0, 1.0),
    "enactord 1, etcd": (1.5, 3.0, 1.6),
    "enactord 3, etcd": (1.8, 3.3, 1.7),
    "naive": (20.0,),
}


def apply_found(times: dict[str, tuple[float, ...]] | None = None, *, server: str = "bind") -> Found:
    """Return what a benchmark of whole applies found, with a candidate that could not do it."""
    cells = [
        Cell(server=server, case=CASE, candidate=name, measure="time", unit="s", values=values)
        for name, values in (TIMES if times is None else times).items()
    ]
    note = "cannot: <no> such | key"
    cells.append(Cell(server=server, case=CASE, candidate="octoDNS", measure="", unit="", values=(), note=note))
    return Found(
        name="apply",
        question="How long does it take?",
        baseline="naive-batched",
        main="time",
        cells=tuple(cells),
        series=(
            Series(
                server=server,
                case=CASE,
                candidate="enactord 1, etcd",
                x_label="time (s)",
                y_label="share (%)",
                points=((0.0, 0.0), (1.0, 50.0), (2.0, 100.0)),
            ),
        ),
        notes=("A note & more.",),
        took_s=12.5,
    )


def small_results(found: Found | None = None) -> Results:
    """Return a whole run."""
    found = found or apply_found()
    return Results(
        form="tiny",
        started_at="2026-11-21T10:00:00+00:00",
        took_s=13.0,
        machine={"processor": "Example", "cores": "2"},
        versions={"Python": "3.11.2", "etcd": "not installed"},
        found=(found,),
        bars=judge([found]),
    )
