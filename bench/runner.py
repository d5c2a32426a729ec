"""Running a benchmark: its candidates side by side in rounds, and what they took written down."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.candidates.protocol import Candidate, CannotDo, Took
from bench.results import Cell, Series
from bench.sites import Site

Tell = Callable[[str], None]
"""Told what is being done, for a person who waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large a benchmark is; each uses what it has a use for."""

    endpoints: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """By server."""
    rounds: int = 1
    seconds: float = 0.0
    limit_s: float = 60.0
    """What a candidate may spend on the rounds of a case; it then sits out the rest, having had one at least."""
    naive_endpoints: int = 100
    """How many endpoints the naive enactor walks over where it would take too long to walk over all."""
    outage_s: float = 0.0
    """How long etcd is away."""

    @property
    def places(self) -> Iterator[tuple[str, int]]:
        """Each server with each number of endpoints."""
        return ((server, count) for server, counts in self.endpoints.items() for count in counts)

    def on(self, server: str) -> "Sizes":
        """Return the same on one server alone."""
        return replace(self, endpoints={name: counts for name, counts in self.endpoints.items() if name == server})

    def of(self, counts: Sequence[int]) -> "Sizes":
        """Return the same with so many endpoints."""
        return replace(self, endpoints={server: tuple(counts) for server in self.endpoints})


class Bench:
    """One benchmark's run: its sizes, and what it finds."""

    def __init__(self, sizes: Sizes, tell: Tell) -> None:
        self.sizes = sizes
        self.tell = tell
        self.notes: list[str] = []
        self.series: list[Series] = []
        self._cells: dict[tuple[str, str, str, str], tuple[str, list[float]]] = {}
        self._remarks: dict[tuple[str, str, str], str] = {}

    def record(self, server: str, case: str, candidate: str, measure: str, unit: str, *values: float) -> None:
        """Write down a round's value (or several)."""
        known = self._cells.setdefault((server, case, candidate, measure), (unit, []))
        assert known[0] == unit, (known[0], unit)
        known[1].extend(values)

    def remark(self, server: str, case: str, candidate: str, text: str) -> None:
        """Say something about a candidate's figures, or why there are none."""
        self._remarks[(server, case, candidate)] = text

    def cannot(self, server: str, case: str, reasons: Mapping[str, str]) -> None:
        """Say of candidates why a case has no figures of theirs."""
        for candidate, reason in reasons.items():
            self.remark(server, case, candidate, f"cannot: {reason}")

    def draw(self, series: Series) -> None:
        self.series.append(series)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Everything written down; a candidate of which there is only a remark has a cell without values."""
        found = [
            Cell(
                server=server,
                case=case,
                candidate=candidate,
                measure=measure,
                unit=unit,
                values=tuple(round(value, 6) for value in values),
                note=self._remarks.get((server, case, candidate), ""),
            )
            for (server, case, candidate, measure), (unit, values) in self._cells.items()
        ]
        said = {(cell.server, cell.case, cell.candidate) for cell in found}
        for key, text in self._remarks.items():
            if key not in said:
                server, case, candidate = key
                found.append(
                    Cell(server=server, case=case, candidate=candidate, measure="", unit="", values=(), note=text)
                )
        return tuple(found)

    async def interleave(
        self,
        site: Site,
        case: str,
        candidates: Sequence[Candidate],
        *,
        record: Callable[[Candidate, Took], None],
        share: float = 1.0,
    ) -> None:
        """Let all candidates apply a step of this share, in turn, several rounds; each round begins with another.

        A candidate that cannot do it is remarked and left out; one that has spent its time sits out.
        """
        spent_s: dict[str, float] = defaultdict(float)
        unable: set[str] = set()
        quiet = {candidate.name: site.quiet() for candidate in candidates}
        for number in range(self.sizes.rounds):
            first = number % len(candidates)
            for candidate in [*candidates[first:], *candidates[:first]]:
                name = candidate.name
                if name in unable or spent_s[name] > self.sizes.limit_s:
                    continue
                self.tell(f"{site.name}, {case}: round {number + 1} of {self.sizes.rounds}, {name}")
                candidate.fleet.step(share)
                async with quiet[name]:
                    start = time.perf_counter()
                    try:
                        took = await candidate.apply()
                    except CannotDo as reason:
                        unable.add(name)
                        self.remark(site.name, case, name, str(reason))
                        continue
                    spent_s[name] += time.perf_counter() - start
                record(candidate, took)
