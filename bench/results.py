"""What a run found, as one JSON document; tables, pictures and bars are all made from it.

A cell is one measure of one candidate in one case on one server, with a value a round.
Values of the same round of several candidates ran side by side, so they may be compared pair by
pair. A cell without values says in its note why there are none.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import Spread, paired_ratio, spread

SCHEMA = "enactord.bench/v1"


class InvalidResults(ValueError):
    """A document that is no results of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measure; `unit` is s, ms, MB, names/s, … or "" for a plain number."""

    server: str
    case: str
    candidate: str
    measure: str
    unit: str
    values: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line for a picture: something over time, or over size."""

    server: str
    case: str
    candidate: str
    x_label: str
    y_label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that one benchmark found. `main`: the measure that ratios are of, against the candidate `baseline`."""

    name: str
    question: str
    baseline: str
    main: str
    cells: tuple[Cell, ...] = ()
    series: tuple[Series, ...] = ()
    notes: tuple[str, ...] = ()
    took_s: float = 0.0

    def values(self, *, server: str, case: str, candidate: str, measure: str) -> tuple[float, ...]:
        """Return the rounds of one cell, () where there is none."""
        for cell in self.cells:
            if (cell.server, cell.case, cell.candidate, cell.measure) == (server, case, candidate, measure):
                return cell.values
        return ()

    def median(self, *, server: str, case: str, candidate: str, measure: str) -> Spread | None:
        """Return one cell's median and range."""
        found = self.values(server=server, case=case, candidate=candidate, measure=measure)
        return spread(found) if found else None

    def ratio(self, *, server: str, case: str, measure: str, above: str, below: str) -> Spread | None:
        """Return one candidate's measure over another's, round by round."""
        return paired_ratio(
            self.values(server=server, case=case, candidate=above, measure=measure),
            self.values(server=server, case=case, candidate=below, measure=measure),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar that was set beforehand: `figure` (None: not measured) must be `sense` ("<=", ">=", "<") `limit`."""

    name: str
    sense: str
    limit: float
    figure: float | None
    benchmark: str
    unit: str = ""
    """Of figure and limit; "" for a ratio."""

    @property
    def reached(self) -> bool | None:
        """Whether it was reached; None where it was not measured."""
        if self.figure is None:
            return None
        match self.sense:
            case "<=":
                return self.figure <= self.limit
            case ">=":
                return self.figure >= self.limit
            case "<":
                return self.figure < self.limit
        raise AssertionError(self.sense)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One run."""

    form: str
    """quick, full, or tiny: what the sizes were."""
    started_at: str
    took_s: float
    machine: dict[str, str]
    versions: dict[str, str]
    found: tuple[Found, ...]
    bars: tuple[Bar, ...] = field(default=())

    def of(self, name: str) -> Found | None:
        """Return what one benchmark found, None where it was not run."""
        return next((found for found in self.found if found.name == name), None)


def write_results(results: Results, path: Path) -> None:
    """Write the document."""
    document = {"schema": SCHEMA} | asdict(results)
    for bar, written in zip(results.bars, document["bars"], strict=True):
        written["reached"] = bar.reached  # for readers; made anew when it is read
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read a document back. Raises `InvalidResults`, OSError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("schema", None) != SCHEMA:
            raise InvalidResults(f"{path}: not {SCHEMA}")
        document["found"] = tuple(_found(each) for each in document["found"])
        bars = tuple({key: value for key, value in bar.items() if key != "reached"} for bar in document["bars"])
        document["bars"] = tuple(Bar(**bar) for bar in bars)
        return Results(**document)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise InvalidResults(f"{path}: {error!r}") from error


def _found(document: dict[str, Any]) -> Found:
    cells = (Cell(**(cell | {"values": tuple(cell["values"])})) for cell in document["cells"])
    series = (Series(**(each | {"points": tuple((x, y) for x, y in each["points"])})) for each in document["series"])
    parts = {"cells": tuple(cells), "series": tuple(series), "notes": tuple(document["notes"])}
    return Found(**(document | parts))


def distinct(values: Iterable[str]) -> Sequence[str]:
    """Return each value once, in the order of first appearance."""
    return list(dict.fromkeys(values))
