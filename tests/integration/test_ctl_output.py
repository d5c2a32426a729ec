"""enactorctl where its answer cannot be shown: what was carried out exits 0, what only tells does not pretend."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.daily import daily
from tests.hidden import hidden
from tests.integration.test_ctl import CONFIG
from tests.world import SCOPE, ZONE, fleet, plan

LIMIT_S = 60
EVIL = "A\x1b]0;title\x07\x1b[2J\rCR\u009b31m\u202eRLO\nforged line\u2028\U000e0041"
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"}
FULL = "No space left on device"
GONE = "a pipe whose reader has gone"
UNTOLD = {">/dev/full": FULL, ">&-": "stdout is closed", GONE: "Broken pipe"}
"""How stdout is led away, as a shell writes it, and what is said of it."""


class Shell:
    """A scope on disk, and its programs as a shell starts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self, *arguments: str, to: str = "", module: str = "enactord.cli.ctl", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program with its stdout led elsewhere; the exit code is the program's, also in a pipe."""
        script = '"$@"' if to == GONE else f'"$@" {to}'
        stdout = subprocess.PIPE
        if to == GONE:
            reading, stdout = os.pipe()
            os.close(reading)
        try:
            return subprocess.run(
                ["bash", "-o", "pipefail", "-c", script, "bash", sys.executable, "-m", module, *arguments],
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=LIMIT_S,
                check=False,
                env=os.environ | {"ENACTORD_CONFIG": str(self.folder / "enactord.toml")} | env,
            )
        finally:
            if stdout != subprocess.PIPE:
                os.close(stdout)

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def plan(self, number: int = 1, **changes: Any) -> str:
        path = self.folder / f"plan-{number}.json"
        path.write_text(json.dumps(plan(fleet(3, number), **changes)))
        return str(path)

    def stored(self) -> list[int]:
        return [each["generation"] for each in self.json("plans")["plans"]]

    def on_terminal(self, *arguments: str, columns: int = 200, **env: str) -> tuple[int, str]:
        """Run on a terminal of so many columns; returns the exit code and all that reached it."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "enactord.cli.ctl", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env=os.environ | {"ENACTORD_CONFIG": str(self.folder / "enactord.toml"), "TERM": "xterm-256color",
                              "COLUMNS": str(columns)} | env,
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while read := os.read(ours, 65_536):
                shown += read
        except OSError:
            pass  # its other end has closed
        os.close(ours)
        return process.wait(LIMIT_S), shown.decode("utf-8", "surrogateescape")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "tsig.secret").write_text("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=\n")
    (tmp_path / "tsig.secret").chmod(0o600)
    url = f"sqlite://{tmp_path}/store.db"
    (tmp_path / "enactord.toml").write_text(CONFIG.format(scope=SCOPE, directory=tmp_path, url=url, zone=ZONE))
    return Shell(tmp_path)


@pytest.mark.parametrize(
    ("to", "as_json"),
    daily([(">/dev/full", False), (">&-", False), (">/dev/full", True), (GONE, True)], 1),
)
def test_what_was_carried_out_exits_0_whatever_becomes_of_its_answer(shell: Shell, to: str, as_json: bool) -> None:
    """A script that is told of a failure would publish twice, or believe that nothing is frozen."""
    options = ["--json"] if as_json else []

    def does(*arguments: str, module: str = "enactord.cli.ctl") -> None:
        done = shell.run(*arguments, *options, to=to, module=module)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "what was asked was carried out" in done.stderr
        assert UNTOLD[to] in done.stderr

    does("publish", shell.plan(1))
    does("publish", shell.plan(2), module="planner_stub.cli")
    assert shell.stored() == [2, 1]
    does("rollback", "1", "--reason", "drill")
    assert shell.stored() == [3, 2, 1]
    does("publish", "1", "--approve", "--reason", "drill")
    assert shell.stored() == [4, 3, 2, 1]
    does("freeze", "--reason", "drill")
    assert shell.json("status")["frozen"]["reason"] == "drill"
    does("backup", str(shell.folder / "saved"))
    does("thaw")
    assert shell.json("status")["frozen"] is None
    does("restore", str(shell.folder / "saved"), "--replace")
    does("prune")


@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
def test_a_token_that_nobody_saw_is_no_success(shell: Shell, to: str) -> None:
    """The answer is the deed here: it says how the token is made anew."""
    tokens = str(shell.folder / "tokens")
    done = shell.run("token", "create", "alice", "--role", "viewer", "--file", tokens, to=to)
    assert done.returncode == 1, done.stderr
    assert "--replace" in done.stderr


def test_a_token_alone_goes_to_stdout(shell: Shell) -> None:
    """So that what is redirected into a file is what --token-file takes."""
    done = shell.run("token", "create", "alice", "--role", "viewer", "--file", str(shell.folder / "tokens"), to="")
    assert re.fullmatch(r"enactord_\S+\n", done.stdout)
    assert "keep it now" in done.stderr


@pytest.mark.parametrize(
    ("name", "told"), [("-", "is written to a file"), ("/dev/null", "no regular file"), ("/dev/stdout", "regular file")]
)
def test_a_backup_replaces_no_device_and_no_pipe(shell: Shell, name: str, told: str) -> None:
    done = shell.run("backup", name, to="")
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
    assert not Path("/dev/null").is_file()


def test_a_backup_through_a_link_leaves_the_link(shell: Shell) -> None:
    shell.json("publish", shell.plan(1))
    link, real = shell.folder / "link", shell.folder / "real"
    link.symlink_to(real)
    shell.json("backup", str(link))
    assert link.is_symlink()
    assert real.stat().st_size > 100


def test_a_closed_stdin_is_told(shell: Shell) -> None:
    done = shell.run("publish", "-", "--dry-run", to="<&-")
    assert (done.returncode, "stdin is closed" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("words", [("--help",), ("status", "--help"), ("--version",)])
def test_help_that_cannot_be_written_is_no_wrong_usage(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell.run(*words, to=">/dev/full")
    assert (done.returncode, "could not be written" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
def test_a_question_whose_answer_cannot_be_written_exits_1(shell: Shell, to: str) -> None:
    """Nobody has the answer: that is a failed check, told in a sentence."""
    shell.run("publish", shell.plan(1))
    for question in (["status"], ["plans", "--json"], ["show", "1", "--full"], ["publish", shell.plan(2), "--dry-run"]):
        done = shell.run(*question, to=to)
        assert done.returncode == 1, (question, done.stderr)
        said = [line for line in done.stderr.splitlines() if "unconfirmed" not in line]  # no enactor runs here
        assert said == [f"error: the answer could not be written: {UNTOLD[to]}"]
    assert shell.stored() == [1], "a dry run stores nothing"


def test_a_question_piped_into_a_reader_that_has_enough_ends_quietly(shell: Shell) -> None:
    """As with `| head -1`: that is how one looks at long answers."""
    (shell.folder / "big.json").write_text(json.dumps(plan(fleet(3000, 1))))
    shell.run("publish", str(shell.folder / "big.json"))
    for question in (["show", "1", "--full"], ["diff", "1", "--json"], ["plans"], ["--help"]):
        done = shell.run(*question, to="| head -c 1")
        assert (done.returncode, done.stderr) == (0, ""), question


@pytest.mark.parametrize(
    ("to", "as_json"),
    daily([("", True), (">&-", False), (">/dev/full", True), (GONE, True)], 2),
)
def test_what_was_not_carried_out_never_exits_0(shell: Shell, to: str, as_json: bool) -> None:
    """A refusal, a wrong use and a store that is away keep their codes, whether they can be told or not."""
    options = ["--json"] if as_json else []
    shell.run("publish", shell.plan(1))
    assert shell.run("publish", shell.plan(2, generation=1), *options, to=to).returncode == 1
    assert shell.run("rollback", "77", "--reason", "drill", *options, to=to).returncode == 1
    assert shell.run("freeze", *options, to=to).returncode == 2
    config = shell.folder / "enactord.toml"
    config.write_text(config.read_text().replace("sqlite:///", "sqlite:////nowhere/"))
    assert shell.run("freeze", "--reason", "drill", *options, to=to).returncode not in (0, 1)


@pytest.mark.parametrize(
    "env",
    daily([ASCII, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}], 1, name=" ".join),
)
def test_an_encoding_that_lacks_a_character_is_no_error(shell: Shell, env: dict[str, str]) -> None:
    """What cannot be shown is escaped; documents stay JSON, and read back what was said."""
    reason = "Störung — 漢字 ✓"
    done = shell.run("publish", shell.plan(1, author="Jörg ✓"), **env)
    assert done.returncode == 0, done.stderr
    assert shell.run("freeze", "--reason", reason, **env).returncode == 0
    for question in (["status"], ["plans"], ["show", "1"], ["plans", "--json"], ["status", "--json"], ["--help"]):
        done = shell.run(*question, **env)
        assert (done.returncode, done.stderr) == (0, ""), question
        if question == ["plans", "--json"]:
            assert json.loads(done.stdout)["plans"][0]["author"] == "Jörg ✓"
    assert shell.run("rollback", "x", **env).returncode == 2
    assert shell.run("thaw", **env).returncode == 0


@pytest.mark.parametrize("columns", daily([1, 20, 80], 1))
def test_a_narrow_terminal_is_no_error(shell: Shell, columns: int) -> None:
    """Lines are broken somewhere, and all of them are there."""
    shell.run("publish", shell.plan(1))
    for question in (["status"], ["plans"], ["show", "1", "--full"], ["endpoints"], ["diff", "1"], ["prune"]):
        code, shown = shell.on_terminal(*question, columns=columns)
        assert code == 0, shown
        assert "Traceback" not in shown
        assert "note:" not in shown


@pytest.mark.parametrize("columns", [40, 80])
def test_a_word_of_a_table_is_never_broken(shell: Shell, columns: int) -> None:
    """Names, digests and times can be copied from a narrow terminal; only what has several words wraps."""
    name = "a-long-name-of-a-service." + "x" * 50 + "." + ZONE
    document = plan({name: ["10.0.0.1"]}, author="somebody-with-a-long-name-of-their-own")
    path = shell.folder / "long.json"
    path.write_text(json.dumps(document))
    assert shell.run("publish", str(path)).returncode == 0
    _, shown = shell.on_terminal("plans", columns=columns)
    (told,) = shell.json("plans")["plans"]
    for word in (told["digest"][:16], "somebody-with-a-long-name-of-their-own"):
        assert word in shown, shown
    assert "scope_capacity_removed_max_ratio" in shell.on_terminal("limits", columns=columns)[1]


def test_what_comes_from_outside_acts_on_no_terminal(shell: Shell) -> None:
    """An author, a reason, the text of a wrong plan: no escape, no forged line, no text the other way round."""
    shell.run("publish", shell.plan(1, author=EVIL))
    shell.run("freeze", "--repair-only", "--reason", EVIL, "--author", EVIL)
    wrong = shell.folder / "wrong.json"
    wrong.write_text(json.dumps({"schema": EVIL, EVIL: 1, "scope": SCOPE, "endpoints": {EVIL: {EVIL: EVIL}}}))
    questions = [
        ["plans"], ["status"], ["show", "1"], ["show", "1", "--full"], ["plans", "--json"], ["status", "--json"],
        ["publish", str(wrong)], ["publish", str(wrong), "--json"], ["history", EVIL], ["publish", f"/nowhere/{EVIL}"],
        ["emergency", "release", EVIL], [EVIL], ["--config", EVIL, "status"], ["thaw"],
    ]  # fmt: skip
    seen = ""
    for question in questions:
        _, shown = shell.on_terminal(*question)
        plain = shown.replace("\r\n", "\n")
        for style in ("0", "1", "2", "31", "32", "33", "1;31", "1;37;41"):
            plain = plain.replace(f"\x1b[{style}m", "")  # colours of our own
        assert hidden(plain, but="\n") == [], (question, shown)
        assert not any(line.startswith("forged line") for line in plain.splitlines()), question
        seen += plain
    assert "\\u001b]0;title\\u0007\\u001b[2J" in seen


def test_documents_read_back_what_was_hidden(shell: Shell) -> None:
    """Escapes are the form of JSON: a program gets the very text that the author wrote."""
    shell.run("publish", shell.plan(1, author=EVIL))
    (told,) = shell.json("plans")["plans"]
    assert told["author"] == EVIL


def test_a_planner_goes_on_though_nobody_reads_what_it_says(shell: Shell) -> None:
    """Plans are what it is for; its lines tell of them."""
    arguments = ["run", "--endpoints", "3", "--interval", "0.05", "--rounds", "4"]
    for to in UNTOLD:
        before = len(shell.stored())
        done = shell.run(*arguments, to=to, module="planner_stub.cli")
        assert (done.returncode, done.stderr) == (0, "")
        assert len(shell.stored()) == before + 4
