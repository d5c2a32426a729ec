"""The command: a real run of one benchmark, and what it says to a wrong order."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from bench.__main__ import main, run, show
from bench.cases import fence
from bench.registry import BENCHMARKS
from bench.results import read_results, write_results
from tests.bench.results import small_results

ROOT = Path(__file__).parents[2]
LIMIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the command ended, and what it said."""

    code: object
    output: str
    errors: str


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the command in this process."""

    def call(*words: str) -> Ended:
        code: object = 0
        try:
            main(words)
        except SystemExit as ending:
            code = ending.code
        said = capsys.readouterr()
        return Ended(code=code, output=said.out, errors=said.err)

    return call


def test_an_unknown_name_is_an_error_that_names_those_there_are(bench: Callable[..., Ended]) -> None:
    """Nothing is run."""
    assert "error: no benchmark aply; there are: fence, apply" in str(bench("aply", "fence").code)


@pytest.mark.parametrize("words", [["--endpoints", "0"], ["--endpoints", "many"], ["--quick", "--full"]])
def test_wrong_usage_exits_2(bench: Callable[..., Ended], words: list[str]) -> None:
    """As for every command."""
    assert bench("fence", *words).code == 2


def test_a_missing_server_names_what_installs_it(tmp_path: Path) -> None:
    """No figure is made up for it. A process of its own, in which no program is found."""
    (tmp_path / "sitecustomize.py").write_text("import shutil\nshutil.which = lambda *a, **k: None\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench", "fence", "--quick", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env=dict(os.environ) | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 1
    assert "`make setup`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_results_that_are_not_there_are_an_error(bench: Callable[..., Ended], tmp_path: Path) -> None:
    """And one sentence."""
    assert str(bench("--again", str(tmp_path / "results.json")).code).startswith("error: ")


def test_a_report_can_be_made_again(bench: Callable[..., Ended], tmp_path: Path) -> None:
    """From the stored document alone; a readme gets its tables, one that has no place for them is an error."""
    write_results(small_results(), tmp_path / "results.json")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- results -->\n<!-- end of results -->\n", encoding="utf-8")
    again = ["--again", str(tmp_path / "results.json"), "--out", str(tmp_path / "out"), "--readme", str(readme)]
    done = bench(*again)
    assert done.code == 0
    assert "NOT REACHED" in done.output
    assert read_results(tmp_path / "out/results.json").found == small_results().found
    assert (tmp_path / "out/report.html").exists()
    assert "NOT REACHED" in readme.read_text(encoding="utf-8")
    readme.write_text("No marks.\n", encoding="utf-8")
    done = bench(*again)
    assert done.code == 1
    assert "end of results" in done.errors


def test_help_lists_every_benchmark(bench: Callable[..., Ended]) -> None:
    """With the question that it asks."""
    done = bench("--help")
    assert done.code == 0
    for benchmark in BENCHMARKS.values():
        assert f"  {benchmark.name} " in done.output


async def test_an_enactor_is_weighed_on_real_servers() -> None:
    """`enactord run` on Knot and etcd: plans are applied, and it takes memory and CPU."""
    results, wrong = await run([BENCHMARKS["cost"]], "tiny", lambda text: None)
    assert not wrong
    (found,) = results.found
    figures = {cell.measure: cell.values for cell in found.cells}
    assert 10 < figures["peak memory"][0] < 400
    assert len(figures["CPU per 1,000, applying"]) > 1
    assert results.versions["etcd"].startswith("etcd")


async def test_one_benchmark_runs_on_a_real_server(capsys: pytest.CaptureFixture[str]) -> None:
    """The smallest form, on Knot: figures of both candidates, a bar that has one, and words meanwhile."""
    told: list[str] = []
    results, wrong = await run([BENCHMARKS["fence"]], "tiny", told.append)
    assert not wrong
    (found,) = results.found
    rates = {cell.candidate: cell.values for cell in found.cells}
    assert set(rates) == {fence.WITH, fence.WITHOUT}
    assert all(len(values) == 2 and min(values) > 0 for values in rates.values())
    assert next(bar for bar in results.bars if bar.name.startswith("knot")).figure is not None
    assert any("round 1 of 2" in text for text in told)
    assert results.versions["Knot DNS"].startswith("knotd")
    show(results, Console())
    assert fence.WITHOUT in capsys.readouterr().out
