"""Tokens: a file that people can read and that holds no secret, changed by commands, and what each role may do."""

import json
import re
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from enactord.cli.ctl import main
from enactord.config.reader import load_config
from enactord.config.tables import Config
from enactord.core.errors import ConfigError
from enactord.core.tokens import PREFIX, TOKENS_MAX, BadTokens, Role, Tokens, hashed, parse_tokens, tokens_text
from enactord.operations.scope import Denied
from enactord.operations.tokens import Made, create_token, read_tokens, revoke_token
from tests.tokens import secret_of, tokens, write_tokens
from tests.unit.test_config import GOOD

NOW = 1.7e9


def add(path: Path, name: str, role: Role = Role.PLANNER, *, replace: bool = False) -> str:
    made = create_token(path, name, role, NOW, replace=replace)
    assert isinstance(made, Made), made
    return made.secret


def test_a_token_opens_as_its_own_name_and_role(tmp_path: Path) -> None:
    """The text that was shown once is found by its hash; any other text is nobody's."""
    path = tmp_path / "tokens"
    planner, alice = add(path, "planner-1"), add(path, "alice", Role.OPERATOR)
    assert planner != alice
    found = read_tokens(path)
    assert isinstance(found, Tokens)
    assert [(token.name, token.role, token.made_at) for token in found.all] == [
        ("planner-1", Role.PLANNER, NOW),
        ("alice", Role.OPERATOR, NOW),
    ]
    assert found.of(alice) == found.named("alice")
    assert found.of(planner) == found.named("planner-1")
    assert found.of(secret_of("alice")) is None
    for text in ("", alice[:-1], alice + "A", alice + "\n", alice.upper(), hashed(alice), "é" * 52):
        assert found.of(text) is None, text


def test_a_short_word_is_no_token_though_its_hash_is_in_the_file() -> None:
    """A line made by hand of a word that can be guessed opens nothing."""
    line = f"eve operator 2026-01-31T12:00:00Z {hashed('secret')}\n"
    found = parse_tokens(line.encode())
    assert found.named("eve") is not None
    assert found.of("secret") is None


def test_the_file_tells_no_token_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    secret = add(path, "planner-1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in path.read_text()
    assert re.fullmatch(r"#[^\n]+\nplanner-1 planner 2023-11-14T22:13:20Z sha256:[0-9a-f]{64}\n", path.read_text())
    assert [entry.name for entry in tmp_path.iterdir()] == ["tokens"], "nothing is left beside it"


def test_a_file_that_is_changed_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    """A group that may read it, as the enactor's, goes on reading it."""
    real, link = tmp_path / "real", tmp_path / "link"
    add(real, "one")
    real.chmod(0o640)
    link.symlink_to("real")
    add(link, "two")
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "two" in real.read_text()


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o622])
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """They could add a token of theirs; the fix is named, by the commands and by the config's check."""
    path = tmp_path / "tokens"
    add(path, "one")
    path.chmod(mode)
    for done in (read_tokens(path), create_token(path, "two", Role.PLANNER, NOW), revoke_token(path, "one")):
        assert isinstance(done, Denied)
        assert f"chmod go-w {path}" in done.refusals[0].detail
    assert "two" not in path.read_text()


def test_a_name_is_given_once_and_replaced_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    first = add(path, "one")
    again = create_token(path, "one", Role.OPERATOR, NOW)
    assert isinstance(again, Denied)
    assert "--replace" in again.refusals[0].detail
    second = add(path, "one", Role.VIEWER, replace=True)
    found = read_tokens(path)
    assert isinstance(found, Tokens)
    assert found.of(first) is None
    assert found.of(second) == found.named("one")
    gone = revoke_token(path, "one")
    assert not isinstance(gone, Denied)
    assert gone.role is Role.VIEWER
    assert read_tokens(path) == Tokens()
    assert isinstance(revoke_token(path, "one"), Denied)


def test_commands_side_by_side_lose_no_change(tmp_path: Path) -> None:
    """A removal that another command undoes would leave a stolen token open."""
    path = tmp_path / "tokens"
    add(path, "stolen")
    names = [f"t{number}" for number in range(20)]
    threads = [threading.Thread(target=add, args=(path, name)) for name in names]
    threads.append(threading.Thread(target=revoke_token, args=(path, "stolen")))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_tokens(path)
    assert isinstance(found, Tokens)
    assert sorted(token.name for token in found.all) == sorted(names)


def test_there_are_no_more_tokens_than_can_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    write_tokens(path, **{f"t{number}": "viewer" for number in range(TOKENS_MAX)})
    done = create_token(path, "more", Role.VIEWER, NOW)
    assert isinstance(done, Denied)
    assert done.refusals[0].guard == "number"
    path.write_text(path.read_text() + tokens(more="viewer").all[0].line)
    assert isinstance(read_tokens(path), Denied)


SOUND = tokens(one="planner").all[0].line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (secret_of("one"), "line 1 must be NAME ROLE TIME sha256:HASH"),
        (f"# fine\n\n{SOUND}one operator {secret_of('x')}", "line 4 must be"),
        (SOUND.replace("planner", "admin"), "line 1: the role of one must be one of viewer, planner, operator"),
        (SOUND.replace("2023-11-14T22:13:20Z", "yesterday"), "line 1: the time of one"),
        (SOUND.replace("2023-11-14", "1923-11-14"), "before 1970"),
        (SOUND.replace("sha256:", "sha1:"), "line 1 must be"),
        (SOUND + SOUND, "line 2 names one a second time"),
        (SOUND + SOUND.replace("one", "two"), "line 2 has the hash of an earlier line"),
        (SOUND.replace("one", "-one"), "line 1 must be"),
        (SOUND.replace("one", secret_of("one")), "line 1 must be"),
        ("é", "ASCII"),
    ],
)
def test_a_line_that_is_none_is_told_by_its_number_and_never_shown(text: str, told: str) -> None:
    """Whoever puts a token itself there does not find it in the log."""
    with pytest.raises(BadTokens, match=re.escape(told)) as caught:
        parse_tokens(text.encode())
    assert secret_of("one") not in str(caught.value)
    assert secret_of("x") not in str(caught.value)


def test_what_is_written_is_read_again() -> None:
    made = tokens(one="viewer", two="planner", three="operator")
    assert parse_tokens(tokens_text(made).encode()) == made
    assert parse_tokens(b"") == parse_tokens(b"# nobody\n\n") == Tokens()


def test_each_role_may_do_what_those_before_it_may() -> None:
    may = {role: [needed for needed in Role if role.may(needed)] for role in Role}
    viewer, planner, operator = Role
    assert may == {viewer: [viewer], planner: [viewer, planner], operator: [viewer, planner, operator]}


# -- the config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    (tmp_path / "password").write_text("hunter2\n")
    for name in ("secret", "password"):
        (tmp_path / name).chmod(0o600)
    write_tokens(tmp_path / "tokens", alice="operator")
    (tmp_path / "c.toml").write_text(GOOD + '[http]\ntokens_file = "tokens"\n')
    return tmp_path


def refused(folder: Path, http: str) -> str:
    (folder / "c.toml").write_text(GOOD + f"[http]\n{http}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(folder / "c.toml")
    return "\n".join(caught.value.problems)


def test_a_config_reads_its_tokens(folder: Path) -> None:
    config = load_config(folder / "c.toml")
    assert config.http.tokens == tokens(alice="operator")
    assert config.warnings == ()
    assert not load_config(folder / "c.toml", for_daemon=False).http.tokens, "tools need not be able to read them"


def given(folder: Path, content: str) -> Config:
    """Return the config whose `token_file` holds this."""
    (folder / "given").write_text(content)
    (folder / "given").chmod(0o600)
    (folder / "c.toml").write_text(GOOD + '[http]\ntokens_file = "tokens"\ntoken_file = "given"\n')
    return load_config(folder / "c.toml")


def test_a_token_that_was_made_elsewhere_is_a_planners(folder: Path) -> None:
    config = given(folder, "dGhlIHNlY3JldCBvZiBhIHBsYW5uZXI=\n")
    assert config.warnings == ()
    bearers = config.http.bearers
    token = bearers.of("dGhlIHNlY3JldCBvZiBhIHBsYW5uZXI=")
    assert token is not None
    assert (token.name, token.role) == ("planner", Role.PLANNER)
    assert [each.name for each in bearers.all] == ["alice", "planner"]
    for wrong in ("dGhlIHNlY3JldCBvZiBhIHBsYW5uZXI", "", "é", "\udc80"):
        assert bearers.of(wrong) is None
    assert "dGhl" not in repr(config)


def test_a_short_token_that_was_made_elsewhere_is_warned_of(folder: Path) -> None:
    (told,) = given(folder, "tok-3cret-8d1f").warnings
    assert "14 characters, which could be guessed" in told
    assert "3cret" not in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("word", "less than 12 characters"),
        ("two words of them", "one token: a line"),
        ("alice operator 2026-01-31T12:00:00Z sha256:00\n", "the file of http.tokens_file"),
        ("sécret-of-a-planner-1234", "ASCII"),
        ("", "is empty"),
    ],
    ids=["short", "words", "a file of tokens", "no ASCII", "empty"],
)
def test_a_file_that_holds_no_token_is_told(folder: Path, content: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        given(folder, content)
    (problem,) = caught.value.problems
    assert re.search(r"c\.toml: line \d+: http\.token_file: ", problem)
    assert told in problem
    assert not content or content.strip() not in problem


def test_two_tokens_of_one_name_are_told(folder: Path) -> None:
    add(folder / "tokens", "planner")
    with pytest.raises(ConfigError, match=r"http\.token_file: a token of http\.tokens_file has the name planner"):
        given(folder, "dGhlIHNlY3JldCBvZiBhIHBsYW5uZXI=")


def test_a_file_of_tokens_that_cannot_be_used_is_told_with_its_key(folder: Path) -> None:
    assert "No such file or directory (no token was made yet? enactorctl token create" in refused(
        folder, 'tokens_file = "gone"'
    )
    told = refused(folder, 'tokens_file = "password"')
    assert "line 1 must be" in told
    assert "hunter2" not in told
    (folder / "tokens").chmod(0o620)
    assert "chmod go-w" in refused(folder, 'tokens_file = "tokens"')
    assert "needs http.tokens_file" in refused(folder, "read_needs_token = true")


# -- the commands


def run(folder: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["--config", str(folder / "c.toml"), "token", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_commands_make_list_and_remove_tokens_of_the_configs_file(folder: Path) -> None:
    made = json.loads(run(folder, "create", "planner-1", "--role", "planner", "--json"))
    assert (made["name"], made["role"], made["file"]) == ("planner-1", "planner", str(folder / "tokens"))
    found = load_config(folder / "c.toml").http.tokens
    assert found.of(made["token"]) == found.named("planner-1")
    listed = json.loads(run(folder, "list", "--json"))
    assert [each["name"] for each in listed["tokens"]] == ["alice", "planner-1"]
    assert made["token"] not in run(folder, "list")
    assert "a token planner-1 already" in run(folder, "create", "planner-1", "--role", "planner", code=1)
    run(folder, "revoke", "planner-1")
    assert "planner-1" not in run(folder, "list")
    assert "token list" in run(folder, "revoke", "planner-1", code=1)
    run(folder, "create", "no name", "--role", "planner", code=2)
    run(folder, "create", "x", "--role", "root", code=2)
    assert made["token"] not in run(folder, "create", made["token"], "--role", "planner", code=2)


@pytest.mark.parametrize("before", ["", "Bearer ", "Authorization: Bearer ", "-- ", "'"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_token_that_is_pasted_for_a_name_is_not_told(folder: Path, before: str, whole: bool) -> None:
    """Whole, or without its beginning: what a terminal or a log of commands shows can be read by others."""
    secret = secret_of("alice")[0 if whole else len(PREFIX) :]
    pasted = f"{before}{secret}"
    for words in (["remove"], ["remove", "--json"], ["add", "--role", "viewer"]):
        if words[0] == "add" and not (whole or before):
            continue  # 43 letters can be meant as a name
        done = CliRunner().invoke(main, ["--config", str(folder / "c.toml"), "token", *words, "--", pasted])
        assert done.exit_code in (1, 2), done.output
        assert secret[:12] not in done.output
    assert "alice" in run(folder, "list")


def test_the_first_token_is_made_before_there_is_a_file_or_a_config(folder: Path) -> None:
    (folder / "tokens").unlink()
    assert "no token in" in run(folder, "list")
    run(folder, "create", "first", "--role", "viewer")
    (folder / "c.toml").write_text(GOOD)
    assert "--file FILE" in run(folder, "list", code=2)
    (folder / "c.toml").unlink()
    shown = run(folder, "create", "second", "--role", "viewer", "--file", str(folder / "other"))
    assert shown.startswith("enactord_")
    assert "second" in run(folder, "list", "--file", str(folder / "other"))
