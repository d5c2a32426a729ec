"""Rules on the tree itself: what review would otherwise have to look for each time."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from enactord.core.plan import parse_plan

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = sorted((ROOT / "enactord").rglob("*.py"))
PLANNER = sorted((ROOT / "planner_stub").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LINES_MAX = 600

MAY_CATCH_ALL = {
    "enactord/engine/supervise.py": "a loop of the engine that fails is logged and started again",
    "enactord/engine/pipelines.py": "a pass that fails is told, and tried again; the other zones go on",
    "enactord/cli/program.py": "a command ends with a sentence and an exit code, not with a traceback",
    "enactord/cli/terminal.py": "what was carried out must not look failed because its answer cannot be shown",
    "enactord/core/visible.py": "a text for any value, also for one that cannot say what it is",
    "enactord/telemetry/failures.py": "what only tells must not reach what works",
    "enactord/telemetry/lines.py": "the log's thread must outlive each line",
    "enactord/telemetry/log.py": "a line is made of whatever values come",
    "enactord/telemetry/strays.py": "a library that logs must not fail because of the log",
    "enactord/dns_server/server.py": "one bad message must not end the server",
    "enactord/dns_server/writer.py": "one bad update must not stop those after it",
    "enactord/daemon/run.py": "the daemon logs what ends it, and ends what it has begun",
    "enactord/doctor/aside.py": "a check of the doctor that fails is a finding, and the others go on",
    "enactord/doctor/examination.py": "a check of the doctor that fails is a finding, and the others go on",
    "enactord/http/problems.py": "a request that fails is answered and logged, and the others go on",
    "enactord/operations/override.py": "a bug must not keep overrides in force for ever",
}
"""The outermost frames, each with its reason."""

PURE = ("enactord/core/", "enactord/store/", "enactord/engine/")
"""Layers where the time and chance come in as arguments."""

UNFIT_FOR_CORE = frozenset(
    {"asyncio", "logging", "multiprocessing", "os", "random", "secrets", "selectors", "signal", "sqlite3",
     "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uuid"}
)  # fmt: skip

PURE_PARTS_OF_SOCKET = frozenset({"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"})
"""Texts of addresses to bytes and back: the same everywhere, and no socket is opened."""

Check = Callable[[ast.Module], Iterator[int]]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of each module that is imported, and of each name taken from one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def prints(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


def catches_all(tree: ast.Module) -> Iterator[int]:
    """Find handlers that swallow every error; one that lets go of something and raises again swallows none."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        last = node.body[-1]
        if isinstance(last, ast.Raise) and last.exc is None:
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if any(
            kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})
            for kind in caught
        ):
            yield node.lineno


def asks_the_clock_or_a_die(tree: ast.Module) -> Iterator[int]:
    """Find calls of `time.…`, `random.…` and `datetime.now`; naming `random.Random` as a type is no call."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = ast.unparse(node.func.value)
        asked = owner in {"time", "random"}
        told = owner in {"datetime", "date", "datetime.datetime", "datetime.date"}
        if asked or (told and node.func.attr in {"now", "utcnow", "today"}):
            yield node.lineno
    for line, name in imports(tree):
        if name.startswith("time.") or (name.startswith("random.") and name != "random.Random"):
            yield line


def is_impure(tree: ast.Module) -> Iterator[int]:
    """Find what core must not do: import beyond the standard library's pure part and itself, or await."""
    for line, name in imports(tree):
        top = name.partition(".")[0]
        if top == "socket" and name not in {"socket", *(f"socket.{part}" for part in PURE_PARTS_OF_SOCKET)}:
            yield line
        if name.startswith("enactord.core.") or (top in sys.stdlib_module_names and top not in UNFIT_FOR_CORE):
            continue
        yield line
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket":
            if node.attr not in PURE_PARTS_OF_SOCKET:
                yield node.lineno
        elif isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno


def lacks_docstring(tree: ast.Module) -> Iterator[int]:
    if not (ast.get_docstring(tree) or "").strip():
        yield 1


def found(check: Check, paths: Iterable[Path]) -> list[str]:
    return [f"{relative(path)}:{line}" for path in paths for line in check(ast.parse(path.read_text(encoding="utf-8")))]


def below(*prefixes: str) -> list[Path]:
    paths = [path for path in PRODUCT if relative(path).startswith(prefixes)]
    assert paths, f"nothing under {prefixes}: the rule would hold of nothing"
    return paths


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (prints, "def f():\n    print(1)", "out.print(1)"),
        (catches_all, "try:\n    f()\nexcept Exception:\n    pass", "try:\n    f()\nexcept OSError:\n    pass"),
        (catches_all, "try:\n    f()\nexcept (OSError, BaseException):\n    pass", "x = Exception()"),
        (catches_all, "try:\n    f()\nexcept:\n    pass", "try:\n    f()\nexcept ExceptionGroup:\n    pass"),
        (
            catches_all,
            "try:\n    f()\nexcept Exception:\n    g()",
            "try:\n    f()\nexcept Exception:\n    g()\n    raise",
        ),
        (asks_the_clock_or_a_die, "now = time.time()", "now = clock.now()"),
        (asks_the_clock_or_a_die, "now = datetime.now(UTC)", "at = datetime.fromisoformat(text)"),
        (asks_the_clock_or_a_die, "rng = random.Random()", "def f(rng: random.Random) -> float: return rng.random()"),
        (asks_the_clock_or_a_die, "from time import monotonic", "from random import Random"),
        (is_impure, "import time", "import json"),
        (is_impure, "from enactord.ports import Clock", "from enactord.core.names import zone_of"),
        (
            is_impure,
            "import socket\nx = socket.gethostname()",
            "import socket\nx = socket.inet_pton(socket.AF_INET, y)",
        ),
        (is_impure, "from socket import gethostname", "import re"),
        (is_impure, "import structlog", "from dataclasses import dataclass"),
        (is_impure, "async def f(): ...", "def f(): ..."),
        (lacks_docstring, "x = 1", '"""What it is."""'),
    ],
)
def test_each_check_finds_what_it_is_for(check: Check, wrong: str, right: str) -> None:
    """A check that cannot fail is a defect: each finds its wrong sample, and lets the right one be."""
    assert list(check(ast.parse(wrong)))
    assert not list(check(ast.parse(right)))


def test_imports_go_in_one_direction() -> None:
    """From cli down to core, as the contracts in pyproject.toml say."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_architecture_draws_the_layers_and_names_every_package() -> None:
    """The drawing is import-linter's contract; the table has each package and module below enactord/, and no other."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## Layers\n")[2].partition("\n## ")[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert [line.strip() for line in section.splitlines() if line.startswith("    ")] == contract
    there = {
        path.stem for path in (ROOT / "enactord").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == there - {"__init__"}


def test_core_imports_pure_parts_of_the_standard_library_alone() -> None:
    """Core holds values and rules: the same input gives the same output, everywhere and always."""
    assert found(is_impure, below("enactord/core/")) == []


def test_no_module_asks_the_clock_or_a_die_where_rules_are() -> None:
    """In these layers the time and the random numbers are handed in, so that a seed replays a run."""
    assert found(asks_the_clock_or_a_die, below(*PURE)) == []


def test_no_module_is_too_long_to_read() -> None:
    """No module of the product has more than 600 lines."""
    lengths = {relative(path): path.read_text(encoding="utf-8").count("\n") for path in PRODUCT}
    assert {path: lines for path, lines in lengths.items() if lines > LINES_MAX} == {}


def test_every_module_says_what_it_is() -> None:
    """Each module of the product starts with a docstring."""
    assert found(lacks_docstring, PRODUCT + PLANNER) == []


def test_only_programs_print() -> None:
    """Outside the command line nothing is printed: the engine emits events, telemetry logs them."""
    quiet = [path for path in PRODUCT if not relative(path).startswith("enactord/cli/")]
    programs = {ROOT / "planner_stub" / "cli.py"}
    assert found(prints, quiet + [path for path in PLANNER if path not in programs]) == []


MAY_WRITE = {
    "enactord/cli/terminal.py": "the one place for output of programs",
    "enactord/telemetry/lines.py": "the log's writer",
    "enactord/telemetry/log.py": "the log's default place",
}


def writes_to_a_stream(tree: ast.Module) -> Iterator[int]:
    """Find `sys.stdout`, `sys.stderr`, `click.echo` and rich's console."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {
            "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__", "click.echo", "click.secho"
        }:  # fmt: skip
            yield node.lineno
    for line, name in imports(tree):
        if name.startswith("rich.console"):
            yield line


def test_output_goes_through_the_places_that_survive_it() -> None:
    """A stream that is closed, full or of another encoding must not decide how a command or a daemon ends."""
    free = [path for path in PRODUCT + PLANNER if relative(path) not in MAY_WRITE]
    assert found(writes_to_a_stream, free) == []


def test_the_page_sets_text_in_one_place() -> None:
    """`dom.js` makes visible what hides in a text; no other module of the page puts text into the document."""
    sets = re.compile(
        r"innerHTML|outerHTML|insertAdjacent|textContent|innerText|replaceChildren|\.append\(|\.prepend\("
    )
    modules = [path for path in (ROOT / "enactord/http/page").glob("*.js") if path.name != "dom.js"]
    assert len(modules) > 5
    assert [path.name for path in modules if sets.search(path.read_text(encoding="utf-8"))] == []


def test_only_outermost_frames_catch_everything() -> None:
    """`except Exception` hides mistakes, so it stands only where the list above says why."""
    free = [path for path in PRODUCT + PLANNER if relative(path) not in MAY_CATCH_ALL]
    assert found(catches_all, free) == []
    unused = [path for path in sorted(MAY_CATCH_ALL) if not found(catches_all, [ROOT / path])]
    assert unused == [], "these no longer need to be in the list"


def test_nothing_is_left_to_be_done() -> None:
    """What is not finished belongs into the tracker, where somebody sees it, not into a comment."""
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
    others = [*(ROOT / "scripts").iterdir(), ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("*.md")]
    left = [
        f"{relative(path)}:{number}"
        for path in [*PRODUCT, *PLANNER, *TESTS, *others]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if marks.search(line)
    ]
    assert left == []


def test_lock_files_hold_exact_pins_and_say_no_place() -> None:
    """Each line pins one version by name; where packages come from is the installer's business."""
    pin = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+")
    files = sorted((ROOT / "requirements").glob("*.txt"))
    pins: dict[str, set[str]] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                assert pin.fullmatch(line), f"{file.name}: {line}"
                name, _, version = line.partition("==")
                pins.setdefault(name.lower(), set()).add(version)
    assert {file.stem for file in files} >= {"runtime", "test"}
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}, "one version of each"


def test_lock_files_pin_every_dependency_of_the_project() -> None:
    """What pyproject.toml asks for is in the lock file of its set: run `make lock` after a change."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"runtime": project["dependencies"], **project["optional-dependencies"]}
    for name, requirements in wanted.items():
        lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        pinned = {_normal(line.partition("==")[0]) for line in lines}
        names = {_normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) for requirement in requirements}
        assert names <= pinned, f"{name}: {sorted(names - pinned)}"


def _normal(name: str) -> str:
    """Return a project's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


RETIRED = {
    "happenings?": "event",
    "mirrors?|mirrored": "cache",
    "rightful": "desired (state)",
    r"batch\.(committed|refused)": "slice.committed, write.refused_stale",
    r"zone\.verified": "zone.scanned",
    "enactord[./](adapters|registry)": "wire, stores, backends, dns_server, client; store",
}
"""Words that were given up, and what is said in their place: one word, one meaning (CONTRIBUTING.md, words)."""
MAY_SAY = {"CHANGELOG.md", "tests/test_tidy.py", "enactord/dns_server/rates.py"}


def test_no_retired_word_is_left() -> None:
    """In code, documents, metrics, log events and the command line alike."""
    words = re.compile(rf"\b({'|'.join(RETIRED)})\b", re.IGNORECASE)
    kinds = {".py", ".md", ".json", ".yml", ".yaml", ".toml", ".js", ".html", ".pml"}
    folders = ("enactord", "planner_stub", "tests", "bench", "docs", "deploy", "grafana")
    paths = [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    texts = [path for path in paths if path.suffix in kinds and relative(path) not in MAY_SAY]
    assert len(texts) > 400
    left = [
        f"{relative(path)}:{number}: {found[0]}"
        for path in sorted(texts)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := words.search(line))
    ]
    assert left == []


def test_ci_runs_the_readmes_test_command() -> None:
    """`.ci/run` can be executed, and runs what the README tells people to run."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8").splitlines()


def test_readme_shows_both_commands_on_its_first_screen() -> None:
    """Whoever opens the README sees, without scrolling, how to run it and how to test it."""
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40]
    assert "make run" in "\n".join(first_screen)
    assert "make test" in "\n".join(first_screen)


def test_plan_in_the_readme_is_a_plan() -> None:
    """Whoever copies the README's plan has a plan that is read."""
    (example,) = _blocks("json")
    draft = parse_plan(example.encode("utf-8"))
    assert (len(draft.endpoints), len(draft.withdrawn)) == (1, 1)


def _blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_makefile_has_every_target_that_the_documents_name() -> None:
    """No document sends a reader to a target of make that is not there."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target
        for document in ROOT.glob("*.md")
        for target in re.findall(r"\bmake ([a-z-]+)", " ".join(_code_of(document.read_text(encoding="utf-8"))))
    }
    assert {"run", "test"} <= named
    assert named <= targets


def _code_of(text: str) -> list[str]:
    """Return what a Markdown text sets as code: spans, fenced and indented blocks."""
    fenced = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    return [*fenced, *re.findall(r"`([^`\n]+)`", text), *re.findall(r"^    .*$", text, re.MULTILINE)]


def test_every_folder_with_tests_is_run() -> None:
    """pytest goes through the folders that are listed, and would not miss one that is not."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    listed = options["testpaths"]
    here = {path for path in TESTS if path.name.startswith("test_")}
    assert {path for path in here if not any(path.is_relative_to(ROOT / each) for each in listed)} == set()
    assert [each for each in listed if not any(path.is_relative_to(ROOT / each) for path in here)] == []
