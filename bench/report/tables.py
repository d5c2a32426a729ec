"""Results as tables: a row a candidate, a column a measure, and the ratio to what it is compared with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.figures import paired_ratio, significant, spread
from bench.results import Cell, Found, Results, distinct


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of text; all rows are as long as the head."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(found: Found) -> Iterator[Table]:
    """Yield a table for each server and case of a benchmark."""
    for server, case in dict.fromkeys((cell.server, cell.case) for cell in found.cells):
        cells = [cell for cell in found.cells if (cell.server, cell.case) == (server, case)]
        yield _table(found, ", ".join(part for part in (server, case) if part), cells)


def _table(found: Found, title: str, cells: Sequence[Cell]) -> Table:
    measures = [measure for measure in distinct(cell.measure for cell in cells) if measure]
    units = {cell.measure: cell.unit for cell in cells}
    by_key = {(cell.candidate, cell.measure): cell for cell in cells}
    base = by_key.get((found.baseline, found.main))
    head = ["", *(f"{measure} ({units[measure]})" if units[measure] else measure for measure in measures)]
    if base is not None:
        head.append(f"{found.main}: × {found.baseline}")
    notes = {cell.candidate: cell.note for cell in cells if cell.note}
    head += ["rounds"] + (["remarks"] if notes else [])
    rows = []
    for candidate in distinct(cell.candidate for cell in cells):
        row = [candidate, *(_figure(by_key.get((candidate, measure))) for measure in measures)]
        chief = by_key.get((candidate, found.main))
        if base is not None:
            row.append(_ratio(chief, base))
        row.append(str(max((len(cell.values) for cell in cells if cell.candidate == candidate), default=0)))
        if notes:
            row.append(notes.get(candidate, ""))
        rows.append(tuple(row))
    return Table(title=title, head=tuple(head), rows=tuple(rows))


def _figure(cell: Cell | None) -> str:
    """Return a median, with the range of the rounds where there are several."""
    if cell is None or not cell.values:
        return "–"
    median, low, high, rounds = spread(cell.values)
    text = significant(median)
    return text if rounds == 1 else f"{text} ({significant(low, 2)}–{significant(high, 2)})"


def _ratio(cell: Cell | None, base: Cell) -> str:
    ratio = None if cell is None else paired_ratio(cell.values, base.values)
    return "–" if ratio is None else significant(ratio.median)


def bars_table(results: Results) -> Table:
    """Return the bars, each with what it came to."""
    rows = []
    for bar in results.bars:
        unit = f" {bar.unit}" if bar.unit else ""
        figure = "not measured" if bar.figure is None else significant(bar.figure) + unit
        verdict = {True: "reached", False: "NOT REACHED", None: "–"}[bar.reached]
        rows.append((bar.name, f"{bar.sense} {bar.limit:g}{unit}", figure, verdict))
    return Table(title="Bars", head=("bar", "wanted", "found", ""), rows=tuple(rows))


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    lines = ["| " + " | ".join(table.head) + " |", "|---" * len(table.head) + "|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows]
    return f"**{table.title}**\n\n" + "\n".join(lines) + "\n"


def markdown_report(results: Results) -> str:
    """Return the whole run as Markdown: machine, versions, bars, and every table."""
    parts = [f"Form: {results.form}. Begun {results.started_at}, took {results.took_s:.0f} s.\n"]
    facts = tuple((name, value) for name, value in (results.machine | results.versions).items())
    parts.append(markdown(Table(title="Machine and versions", head=("what", "which"), rows=facts)))
    parts.append(markdown(bars_table(results)))
    for found in results.found:
        parts.append(f"### {found.name}\n\n{found.question}\n")
        parts += [markdown(table) for table in tables(found)]
        parts += [f"{note}\n" for note in found.notes]
    return "\n".join(parts)
