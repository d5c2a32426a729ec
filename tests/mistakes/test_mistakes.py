"""Of every mistake the message names the place and the fix, and the exit code is the one that is promised."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.reference import ROOT
from tests.mistakes.bench import Bench, Mistake, Said, Servers
from tests.mistakes.mistakes import DOCTOR, MISTAKES
from tests.mistakes.page import entry
from tests.mistakes.servers import running

ALL = [mistake for mistakes in MISTAKES.values() for mistake in mistakes]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def said(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """What is said of each mistake, by its title."""
    return {mistake.wrong: mistake.commit(tmp_path_factory.mktemp("mistake"), servers) for mistake in ALL}


@pytest.mark.parametrize("mistake", [pytest.param(mistake, id=mistake.wrong) for mistake in ALL])
def test_a_mistake_is_told_with_its_place_and_its_fix(mistake: Mistake, said: dict[str, Said]) -> None:
    """In words that can be searched for; nothing is told as an error that no rule foresees."""
    found = said[mistake.wrong]
    text = " ".join(found.text.split())
    assert found.code == mistake.code, text
    assert mistake.place in text
    assert mistake.fix in text
    assert "Traceback" not in text
    assert "no rule foresees" not in text


@pytest.mark.parametrize("mistake", [pytest.param(mistake, id=mistake.wrong) for mistake in ALL])
def test_programs_are_told_the_same_as_one_document(mistake: Mistake, said: dict[str, Said]) -> None:
    """With `--json`, stdout is one JSON document, with the place in it; the exit code is the same."""
    code, text = said[mistake.wrong].for_programs
    assert code == mistake.code, text
    told = " ".join(_texts(json.loads(text)))
    assert mistake.place in told


def _texts(document: Any) -> Iterator[str]:
    """Yield every text in a JSON document, and the keys."""
    match document:
        case dict():
            for key, value in document.items():
                yield key
                yield from _texts(value)
        case list():
            for value in document:
                yield from _texts(value)
        case str():
            yield document


def test_there_are_forty_mistakes_and_more() -> None:
    """Of each kind some, and none twice."""
    titles = [mistake.wrong for mistake in ALL]
    assert len(titles) == len(set(titles)) >= 40
    assert {"Config", "Keys", "Plans", "Store", "Servers", "Tokens"} <= set(MISTAKES)


def test_the_doctor_finds_what_the_check_of_the_config_cannot(said: dict[str, Said]) -> None:
    """The config is sound in itself; only who asks the servers sees what is wrong."""
    asked = [mistake for mistake in ALL if mistake.command == DOCTOR]
    assert len(asked) >= 8
    assert {mistake.wrong: said[mistake.wrong].checked for mistake in asked} == {mistake.wrong: 0 for mistake in asked}


def test_without_a_mistake_nothing_is_found(tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the mistakes are made in is sound: the tests above can fail."""
    monkeypatch.chdir(tmp_path)
    bench = Bench(folder=tmp_path, server=servers.dns, store=servers.etcd)
    for command in ("enactord check-config enactord.toml", DOCTOR, "enactorctl publish plan.json --confirm-within 0"):
        done = bench.type(command)
        assert done.exit_code == 0, done.output
        assert "fault " not in done.output


def test_the_page_of_mistakes_is_up_to_date(said: dict[str, Said]) -> None:
    """`make mistakes` writes it. How a server fails to answer may be told in other words another time."""
    page = (ROOT / "docs" / "mistakes.md").read_text(encoding="utf-8")
    assert page.count("\n**") == len(ALL)
    for mistake in ALL:
        assert f"\n**{mistake.wrong}** " in page
        assert mistake.asks or "\n".join(entry(mistake, said[mistake.wrong])) in page, mistake.wrong
