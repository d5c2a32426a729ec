"""The runbook has a section for each alert, and nothing in it is to be looked for in vain at 3 a.m."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from enactord.config.tables import TABLE_ORDER, keys_of
from enactord.core import events
from enactord.daemon import reload, run
from tests.docs.cli import PROGRAMS
from tests.docs.metrics import RULES, metrics_page
from tests.docs.runbook import RUNBOOK, TEXT, commands, sections

PARTS = ("Means", "Served meanwhile", "Look at", "Do")
PROCEDURES = (
    "First install",
    "Adopt an existing zone",
    "Rotate TSIG keys",
    "Give and take away tokens",
    "Freeze",
    "Roll back",
    "Approve a held plan",
    "Back up",
    "Restore the store from a backup",
    "Restore a zone",
    "Upgrade without a gap",
    "Lose two of three zones",
    "Break the glass",
)


def alerts() -> dict[str, str]:
    """Return where each alert says that its section is."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules}


def anchor(title: str) -> str:
    """Return what a heading is linked by."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    """An alert whose link leads nowhere is found out at the worst moment."""
    assert sorted(sections(3)) == sorted(alerts())
    for alert, url in alerts().items():
        assert url.endswith(f"deploy/RUNBOOK.md#{anchor(alert)}"), alert


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_a_section_says_all_four_things(alert: str) -> None:
    """What it means, what is served meanwhile, what to look at, what to do; in this order."""
    body = sections(3).get(alert, "")
    places = [body.find(f"**{part}.**") for part in PARTS]
    assert all(place >= 0 for place in places), dict(zip(PARTS, places, strict=True))
    assert places == sorted(places)


def test_every_procedure_is_there() -> None:
    """What is to be done by hand has steps."""
    assert set(PROCEDURES) <= set(sections(2))
    for title in PROCEDURES:
        assert len(sections(2)[title]) > 200, title


def parse(command: str) -> None:
    """Parse a command line as the program would, without running it. Raises `click.UsageError`."""
    program, *arguments = shlex.split(command)
    found: click.Command = PROGRAMS[program]
    context: click.Context | None = None
    while True:
        try:
            context = found.make_context(program, list(arguments), parent=context)
        except click.exceptions.Exit:  # --help, --version
            return
        if not isinstance(found, click.Group):
            return
        left = [*context._protected_args, *context.args]
        if not left and found.invoke_without_command:
            return
        name, child, arguments = found.resolve_command(context, left)
        assert name is not None
        assert child is not None
        program, found = name, child


@pytest.mark.parametrize("command", sorted(set(commands(TEXT))))
def test_every_command_in_it_exists(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verb, options and arguments are taken by the program of today."""
    monkeypatch.chdir(tmp_path)
    for word in shlex.split(command):
        if re.fullmatch(r"[\w-]+\.(json|backup|toml)", word):
            Path(word).touch()
    parse(command)


@pytest.mark.parametrize(
    "command",
    ["enactorctl frieze", "enactorctl rollback x --reason y", "enactorctl freeze", "enactorctl prune --force"],
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    """The test above can fail."""
    with pytest.raises(click.UsageError):
        parse(command)


def test_every_link_within_it_leads_somewhere() -> None:
    """Anchors are those of headings; files are there."""
    anchors = {anchor(title) for title in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", " ".join(TEXT.split())):
        target = target.replace(" ", "")
        path, _, fragment = target.partition("#")
        assert not path or (RUNBOOK.parent / path).exists(), target
        assert path or fragment in anchors, target


def test_every_metric_key_and_event_in_it_exists() -> None:
    """A name that was changed elsewhere must be changed here."""
    told = {kind.id for kind in vars(events).values() if isinstance(kind, type) and hasattr(kind, "id")}
    logged = r'log\.(?:logger\.\w+\(|tell\("\w+", )"([\w.]+)"'
    told |= set(re.findall(logged, Path(run.__file__).read_text(encoding="utf-8")))
    told |= set(re.findall(r'logger\.\w+\("([\w.]+)"', Path(reload.__file__).read_text(encoding="utf-8")))
    mentioned = set(re.findall(r"`([a-z]+\.[a-z]+)`", TEXT)) - {"enactord.toml"}
    assert mentioned
    assert mentioned <= told
    known = set(re.findall(r"enactord_\w+", "\n".join(metrics_page())))
    assert set(re.findall(r"`(enactord_\w+)`", TEXT)) <= known
    all_keys = {f"{table}.{key.name}" for table in TABLE_ORDER for key in keys_of(table)}
    named = set(re.findall(rf"`((?:{'|'.join(TABLE_ORDER)})\.\w+)`", TEXT))
    assert named
    assert named <= all_keys
