"""Results as pictures, each as PNG and SVG: bars with the range of the rounds, and lines over time."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.figures import significant, spread
from bench.results import Cell, Found, Results, Series, distinct

_WIDTH_IN = 9.0
_TITLE_IN = 0.6
_ROW_IN = 0.34
_LOG_FROM = 20.0
"""Where the greatest is so many times the least, bars are drawn on a logarithmic scale."""
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#555555", "#bbbbbb")
"""Told apart by the colour-blind, too. Source: Paul Tol, "Colour Schemes", SRON/EPS/TN/09-002, 2021: bright."""


def draw(results: Results, folder: Path) -> dict[str, list[str]]:
    """Draw all pictures; returns for each benchmark the names of its files, without their endings."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, list[str]] = {}
    for found in results.found:
        names = []
        cells = [cell for cell in found.cells if cell.measure == found.main and cell.values]
        if cells:
            names.append(_save(_bars(found, cells), folder, found.name))
        groups = distinct(f"{each.server}\0{each.case}" for each in found.series)
        for number, group in enumerate(groups, start=1):
            lines = [each for each in found.series if f"{each.server}\0{each.case}" == group]
            names.append(_save(_lines(found, lines), folder, f"{found.name}-{number}"))
        drawn[found.name] = names
    return drawn


def _save(figure: Figure, folder: Path, name: str) -> str:
    for ending in ("png", "svg"):
        figure.savefig(folder / f"{name}.{ending}", dpi=130, bbox_inches="tight")
    return name


def _bars(found: Found, cells: Sequence[Cell]) -> Figure:
    """One panel for each server and case, one bar a candidate."""
    panels = distinct(f"{cell.server}\0{cell.case}" for cell in cells)
    candidates = distinct(cell.candidate for cell in cells)
    colours = {candidate: _COLOURS[number % len(_COLOURS)] for number, candidate in enumerate(candidates)}
    rows = [[cell for cell in cells if f"{cell.server}\0{cell.case}" == panel] for panel in panels]
    heights = [len(row) * _ROW_IN + 0.7 for row in rows]
    height_in = sum(heights) + _TITLE_IN
    figure = Figure(figsize=(_WIDTH_IN, height_in))
    axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)
    for axis, row in zip(axes[:, 0], rows, strict=True):
        _panel(axis, row, colours)
    figure.suptitle(found.question, fontsize=11, wrap=True, va="top", y=1 - 0.1 / height_in)
    figure.tight_layout(rect=(0, 0, 1, 1 - _TITLE_IN / 2 / height_in))
    return figure


def _panel(axis: Axes, cells: Sequence[Cell], colours: dict[str, str]) -> None:
    spreads = [spread(cell.values) for cell in cells]
    places = range(len(cells))
    medians = [each.median for each in spreads]
    ranges = [[s.median - s.low for s in spreads], [s.high - s.median for s in spreads]]
    axis.barh(places, medians, xerr=ranges, color=[colours[cell.candidate] for cell in cells], ecolor="#333333")
    axis.set_yticks(places, [cell.candidate for cell in cells])
    axis.invert_yaxis()
    highest = max(each.high for each in spreads)
    scale = ""
    positive = [median for median in medians if median > 0]
    if len(positive) == len(medians) and highest > _LOG_FROM * min(positive):
        scale = ", logarithmic scale"
        axis.set_xscale("log")
        axis.set_xlim(right=highest * 4)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axis.set_xlim(right=(highest or 1.0) * 1.18)
    for place, each in zip(places, spreads, strict=True):
        axis.annotate(
            significant(each.median), (each.high, place), xytext=(5, 0), textcoords="offset points", va="center"
        )
    first = cells[0]
    axis.set_xlabel((f"{first.measure} ({first.unit})" if first.unit else first.measure) + scale)
    axis.set_title(", ".join(part for part in (first.server, first.case) if part), fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)


def _lines(found: Found, series: Sequence[Series]) -> Figure:
    figure = Figure(figsize=(_WIDTH_IN, 4.0))
    axis = figure.subplots()
    for number, each in enumerate(series):
        axis.plot(*zip(*each.points, strict=True), label=each.candidate, color=_COLOURS[number % len(_COLOURS)])
    axis.set_xlabel(series[0].x_label)
    axis.set_ylabel(series[0].y_label)
    axis.set_ylim(bottom=0)
    axis.set_title(f"{series[0].server}, {series[0].case}", fontsize=10, loc="left", wrap=True)
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(found.question, fontsize=11, wrap=True)
    figure.tight_layout()
    return figure
