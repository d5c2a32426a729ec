"""The worked examples of CONTRIBUTING.md are true: a file, a test and a line each; what is left out is told."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Files that are added, by the place where they go; the lines that are changed; and what is run then.

    `told`: what fails, by node id, where the files are there and the lines are not.
    """

    files: Mapping[str, str]
    lines: Mapping[str, Sequence[tuple[str, str]]]
    tests: Sequence[str]
    told: str
    shows: str
    """A program that exits 0 where the example is in force."""


GUARD = Example(
    files={
        "enactord/core/guards/targets_max.py": "guard/targets_max.py",
        "tests/unit/test_targets_max.py": "guard/test_targets_max.py",
    },
    lines={
        "enactord/core/guards/__init__.py": [
            ("    targets,\n", "    targets,\n    targets_max,\n"),
            ("    targets.GUARD,\n", "    targets.GUARD,\n    targets_max.GUARD,\n"),
        ]
    },
    tests=["tests/unit/test_targets_max.py", "tests/unit/test_guards.py"],
    told="tests/unit/test_guards.py",
    shows="""
from enactord.config.tables import keys_of
from enactord.core.guards import Limits
assert Limits().by_name()["targets_max"] == 512
assert "targets_max" in {key.name for key in keys_of("guard")}
""",
)
BACKEND = Example(
    files={
        "enactord/backends/scratch/__init__.py": "backend/__init__.py",
        "tests/contract/sites/scratch.py": "backend/site.py",
    },
    lines={
        "enactord/backends/__init__.py": [
            ("import embedded, rfc2136, route53, skydns", "import embedded, rfc2136, route53, scratch, skydns"),
            ("        embedded.BACKEND,\n", "        embedded.BACKEND,\n        scratch.BACKEND,\n"),
        ]
    },
    tests=["tests/contract/test_zone.py", "-k", "scratch", "tests/unit/test_backends.py"],
    told="tests/unit/test_backends.py",
    shows="""
from enactord.config.tables import keys_of
from enactord.backends import ALL
assert "scratch" in ALL
assert "negative_ttl_s" in {key.name for key in keys_of("zone")}
""",
)


def copy_of_the_tree(folder: Path) -> Path:
    """Return a copy of what the examples need."""
    tree = folder / "tree"
    for part in ("enactord", "planner_stub", "tests"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(tree)}
    return subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize("example", [GUARD, BACKEND], ids=["guard", "backend"])
def test_an_example_is_files_and_lines_and_its_omission_is_told(example: Example, tmp_path: Path) -> None:
    """The files alone fail a test; with the lines all pass, and config and limits know what was added."""
    tree = copy_of_the_tree(tmp_path)
    for place, source in example.files.items():
        (tree / place).parent.mkdir(exist_ok=True)
        shutil.copy(HERE / source, tree / place)
    left_out = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", example.told)
    assert left_out.returncode == 1, left_out.stdout
    assert run(tree, "-c", example.shows).returncode != 0
    for place, changes in example.lines.items():
        text = (tree / place).read_text(encoding="utf-8")
        for before, after in changes:
            assert text.count(before) == 1, (place, before)
            text = text.replace(before, after)
        (tree / place).write_text(text, encoding="utf-8")
    done = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *example.tests)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = run(tree, "-c", example.shows)
    assert shown.returncode == 0, shown.stderr
