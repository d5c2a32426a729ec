"""The reference says what the code does: it is made from it, and this notices when it was not made anew."""

import re
import subprocess
import sys

import pytest

from tests.docs.cli import cli_page
from tests.docs.config import CLASSES, keys, meanings, problems, tables, takes
from tests.docs.reference import FILES, ROOT


@pytest.mark.parametrize("path", FILES)
def test_what_is_made_from_the_code_is_up_to_date(path: str) -> None:
    """`make docs` writes it anew. Made in a process of its own: a command that was run tells less of itself."""
    program = "import sys; from tests.docs.reference import made; sys.stdout.write(made(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    assert (ROOT / path).read_bytes() == done.stdout, "run: make docs"


def test_every_table_of_the_config_is_in_the_reference() -> None:
    """A table that the reader knows and the reference does not would be missing without a word."""
    assert sorted(tables()) == sorted(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_key_says_what_it_is(name: str) -> None:
    """A field of the config without a docstring leaves a hole in the reference."""
    assert keys(name)
    assert [field for field, meaning in meanings(name).items() if not meaning] == []


def test_what_a_key_takes_is_what_the_reader_takes() -> None:
    """The bounds in the reference are those at which a config is refused."""
    text = takes("store", "claim_ttl_s")
    low, high = (int(number) for number in re.findall(r"\d+", text))
    for value, refused in ((low, False), (high, False), (low - 1, True), (high + 1, True)):
        told = problems(f"[store]\nclaim_ttl_s = {value}\n")
        assert any("claim_ttl_s" in problem for problem in told) == refused, value


def test_every_command_shows_an_example() -> None:
    """People copy examples before they read options."""
    text = "\n".join(cli_page())
    commands = re.findall(r"^### `([^`]+)`\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(commands) > 15
    assert [
        command for command, said in commands if f" {command.split()[-1]}" not in said.partition("Example:")[2]
    ] == []
