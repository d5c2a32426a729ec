"""The reference says what the code does: it is made from it, and this notices when it was not made anew."""

import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from enactord.config.tables import TABLE_ORDER, keys_of
from enactord.core.settings import Integer, Number
from tests.docs.cli import cli_page
from tests.docs.config import problems
from tests.docs.reference import FILES, ROOT


@pytest.mark.parametrize("path", FILES)
def test_what_is_made_from_the_code_is_up_to_date(path: str) -> None:
    """`make docs` writes it anew. Made in a process of its own: a command that was run tells less of itself."""
    program = "import sys; from tests.docs.reference import made; sys.stdout.write(made(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    assert (ROOT / path).read_bytes() == done.stdout, "run: make docs"


@pytest.mark.parametrize("name", TABLE_ORDER)
def test_every_key_says_what_it_is_and_is_read(name: str) -> None:
    """A key without a meaning leaves a hole in the reference; a key that the reader does not know is a promise."""
    header = f"[[{name}]]" if name == "zone" else f"[{name}]"
    (told,) = [problem for problem in problems(f'{header}\n"?" = 1\n') if "; known: " in problem]
    assert told.partition("; known: ")[2].split(", ") == [key.name for key in keys_of(name)]
    assert [key.name for key in keys_of(name) if not key.meaning or not key.kind.takes] == []


def test_every_bound_of_the_reference_is_where_a_config_is_refused() -> None:
    """Each bound of each number is taken, and a value beyond it is refused with the bounds."""
    tried = 0
    for table in TABLE_ORDER:
        head = "[[zone]]\nbackend = 'embedded'" if table == "zone" else f"[{table}]"
        for key in keys_of(table):
            if not isinstance(key.kind, Integer | Number) or (table, key.name) == ("zone", "requests_per_s"):
                continue
            low, high = key.kind.low, key.kind.high
            for value, refused in ((low, False), (high, False), (low - 1, True), (high + 1, True)):
                told = problems(f"{head}\n{key.name} = {value}\n")
                beyond = [problem for problem in told if f"{table}.{key.name}: must be {key.kind.takes}" in problem]
                assert bool(beyond) == refused, (table, key.name, value, told)
                tried += 1
    assert tried > 100


def test_the_schema_takes_the_configs_that_are_shipped_and_refuses_a_wrong_key() -> None:
    """It is made from the same declarations; a config that the reader takes is one that an editor takes."""
    schema = json.loads((ROOT / "docs" / "config.schema.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(schema)
    shipped = sorted((ROOT / "deploy").rglob("*.toml"))
    assert shipped
    for path in shipped:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
        assert [error.message for error in validator.iter_errors(config)] == [], path
        changes: list[dict[str, Any]] = [
            {"http": {"listn": "x"}},
            {"log": {"level": "loud"}},
            {"prune": {"keep_plans": -1}},
            {"x": {}},
        ]
        for change in changes:
            assert list(validator.iter_errors(config | change)), change


def test_every_command_shows_an_example() -> None:
    """People copy examples before they read options."""
    text = "\n".join(cli_page())
    commands = re.findall(r"^### `([^`]+)`\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(commands) > 15
    assert [
        command for command, said in commands if f" {command.split()[-1]}" not in said.partition("Example:")[2]
    ] == []
