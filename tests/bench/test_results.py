"""What a run found is stored, read back, judged and shown without loss."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.bars import judge
from bench.merge import merge
from bench.report.page import write_readme, write_report
from bench.report.tables import bars_table, markdown_report, tables
from bench.results import Bar, Cell, Found, InvalidResults, read_results, write_results
from tests.bench.results import CASE, TIMES, apply_found, small_results

PNG = b"\x89PNG\r\n\x1a\n"


def bar(found: Found, text: str, server: str = "bind") -> Bar:
    (only,) = (each for each in judge([found]) if text in each.name and each.name.startswith(server))
    return only


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    """Every value, series, note and bar."""
    results = small_results()
    write_results(results, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == results


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "enactord.bench/v0"}', '{"schema": "enactord.bench/v1"}'])
def test_what_is_no_results_is_refused(tmp_path: Path, text: str) -> None:
    """With an error that names the file."""
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InvalidResults, match=r"results\.json"):
        read_results(tmp_path / "results.json")


def test_a_bar_is_judged_by_the_median_of_ratios() -> None:
    """1.5, 1.5 and 1.6 times the floor: reached on BIND, where 1.7 is allowed."""
    judged = bar(apply_found(), "one enactor over naive-batched")
    assert (judged.figure, judged.limit, judged.reached) == (1.5, 1.7, True)


def test_a_bar_that_is_missed_says_so() -> None:
    """Three enactors took longer than one."""
    judged = bar(apply_found(), "three enactors over one")
    assert judged.figure == pytest.approx(1.1)
    assert judged.reached is False


@pytest.mark.parametrize(("sense", "figure", "reached"), [
    ("<=", 2.0, True), ("<=", 2.1, False), (">=", 2.0, True), (">=", 1.9, False), ("<", 2.0, False), ("<", 1.9, True),
    ("<=", None, None),
])  # fmt: skip
def test_a_limit_counts_as_its_sign_says(sense: str, figure: float | None, reached: bool | None) -> None:
    """Only "<" excludes the limit itself; what was not measured is neither reached nor missed."""
    assert Bar(name="x", sense=sense, limit=2.0, figure=figure, benchmark="apply").reached is reached


def test_what_was_not_measured_is_not_judged() -> None:
    """No rounds of octoDNS, none on Knot: the bars stand there without a figure."""
    assert bar(apply_found(), "octoDNS").figure is None
    assert bar(apply_found(), "one enactor over naive-batched", "knot").figure is None


def test_a_bar_takes_the_size_that_it_was_set_for() -> None:
    """10,000 endpoints, whatever larger size was run, too."""
    found = apply_found()
    larger = tuple(
        replace(cell, case=CASE.replace("10,000", "30,000"), values=tuple(9.0 for _ in cell.values))
        for cell in found.cells
        if cell.values
    )
    assert bar(replace(found, cells=(*found.cells, *larger)), "one enactor over naive-batched").figure == 1.5


def test_a_table_has_a_row_a_candidate_with_range_and_ratio() -> None:
    """And a candidate that could not do the case says why."""
    (table,) = tables(apply_found())
    rows = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    assert list(rows) == [*TIMES, "octoDNS"]
    assert rows["enactord 1, etcd"]["time (s)"] == "1.60 (1.5–3.0)"
    assert rows["enactord 1, etcd"]["time: × naive-batched"] == "1.50"
    assert rows["naive"]["rounds"] == "1"
    assert rows["octoDNS"]["time (s)"] == "–"
    assert rows["octoDNS"]["remarks"] == "cannot: <no> such | key"


def test_markdown_holds_every_bar_and_candidate() -> None:
    """A bar sign in a remark does not break the row."""
    text = markdown_report(small_results())
    for name in [*TIMES, "octoDNS", "A note & more.", "not installed", "NOT REACHED", r"<no> such \| key"]:
        assert name in text
    heads = [line for line in text.splitlines() if line.startswith("| bar |")]
    assert len(heads) == 1


class _Read(HTMLParser):
    """What a browser would show and load."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.loaded: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value for name, value in attrs if name in {"src", "href"} and value]


def test_a_report_is_complete_and_needs_nothing_from_outside(tmp_path: Path) -> None:
    """Page, pictures with their units, document and tables lie in one folder; what is shown is escaped."""
    write_report(small_results(), tmp_path / "out")
    page = _Read()
    page.feed((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    for shown in [*TIMES, "cannot: <no> such | key", "A note & more.", "Example", "1.50", "NOT REACHED"]:
        assert shown in page.text
    assert page.loaded == ["apply.png", "apply.svg", "apply-1.png", "apply-1.svg"]
    for name in page.loaded:
        content = (tmp_path / "out" / name).read_bytes()
        if name.endswith("png"):
            assert content.startswith(PNG)
        else:
            assert ElementTree.fromstring(content).tag.endswith("svg")
    stored = json.loads((tmp_path / "out/results.json").read_text())
    assert {bar["reached"] for bar in stored["bars"]} == {True, False, None}
    assert (tmp_path / "out/tables.md").read_text(encoding="utf-8") == markdown_report(small_results())


def test_pictures_are_labelled_with_measure_and_unit(tmp_path: Path) -> None:
    """Text in the SVG is drawn as shapes, each named by a comment that tells the text."""
    write_report(small_results(), tmp_path)
    bars = (tmp_path / "apply.svg").read_text(encoding="utf-8")
    for label in ["time (s)", "naive-batched", "enactord 3, etcd", f"bind, {CASE}", "1.60"]:
        assert f"<!-- {label} -->" in bars or label in bars
    assert "share (%)" in (tmp_path / "apply-1.svg").read_text(encoding="utf-8")


def test_widely_different_times_are_drawn_on_a_named_logarithmic_scale(tmp_path: Path) -> None:
    """Otherwise the short bars could not be told apart."""
    write_report(small_results(apply_found({"naive-batched": (1.0,), "naive": (700.0,)})), tmp_path)
    assert "logarithmic scale" in (tmp_path / "apply.svg").read_text(encoding="utf-8")
    write_report(small_results(), tmp_path)
    assert "logarithmic scale" not in (tmp_path / "apply.svg").read_text(encoding="utf-8")


def test_runs_are_put_together_and_judged_as_one() -> None:
    """A benchmark that was run twice counts as it was last; what differs between machines is all told."""
    slower = apply_found(TIMES | {"enactord 1, etcd": (9.0, 9.0, 9.0)})
    fence = Found(name="fence", question="?", baseline="", main="time", took_s=1.0)
    later = replace(small_results(slower), machine={"processor": "Other", "cores": "2"})
    merged = merge([small_results(), small_results(fence), later], ["fence", "apply"])
    assert [found.name for found in merged.found] == ["fence", "apply"]
    assert bar(merged.found[1], "one enactor over naive-batched").figure == 9.0
    assert merged.bars == judge(merged.found)
    assert merged.machine == {"processor": "Example; Other", "cores": "2"}
    assert merged.took_s == 13.5


def test_one_run_alone_is_itself() -> None:
    """But for its time, which is that of what it found."""
    assert merge([small_results()], ["apply"]) == replace(small_results(), took_s=12.5)


def test_a_run_that_found_nothing_still_has_a_report(tmp_path: Path) -> None:
    """As when every server is missing."""
    empty = Found(name="apply", question="?", baseline="naive-batched", main="time")
    write_report(small_results(empty), tmp_path)
    assert all(row[2] == "not measured" for row in bars_table(small_results(empty)).rows)


def test_figures_of_zero_are_drawn(tmp_path: Path) -> None:
    """Nothing was served stale: a bar of no length, not an error."""
    cells = (Cell(server="knot", case="", candidate="enactord", measure="time", unit="s", values=(0.0,)),)
    write_report(small_results(Found(name="race", question="?", baseline="", main="time", cells=cells)), tmp_path)
    assert (tmp_path / "race.png").read_bytes().startswith(PNG)


def test_tables_are_put_between_the_marks_of_a_readme(tmp_path: Path) -> None:
    """Again and again: what stands around them stays, older tables go."""
    readme = tmp_path / "README.md"
    readme.write_text("# Method\n\n<!-- results -->\nold\n<!-- end of results -->\n\nThe end.\n", encoding="utf-8")
    for _ in range(2):
        write_readme(small_results(), readme)
        text = readme.read_text(encoding="utf-8")
        assert text.startswith("# Method\n\n<!-- results -->\n\nForm: tiny.")
        assert text.endswith("<!-- end of results -->\n\nThe end.\n")
        assert text.count(markdown_report(small_results())) == 1
        assert "old\n" not in text


def test_a_readme_without_marks_is_left_as_it_is(tmp_path: Path) -> None:
    """There is no place for the tables."""
    readme = tmp_path / "README.md"
    readme.write_text("# Method\n\n<!-- results -->\n", encoding="utf-8")
    with pytest.raises(ValueError, match="end of results"):
        write_readme(small_results(), readme)
    assert readme.read_text(encoding="utf-8") == "# Method\n\n<!-- results -->\n"
