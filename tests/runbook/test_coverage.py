"""Every command of the runbook is typed by a drill, and no drill types what the runbook does not say."""

import re

import pytest

from tests.docs.runbook import TEXT
from tests.runbook import alerts, procedures
from tests.runbook.commands import Command, is_command, runbook_commands
from tests.runbook.desk import PLACES

DRILLS = (*alerts.DRILLS, *procedures.DRILLS)
NOT_RUN = {
    "kubectl --namespace enactord exec enactord-0 -- enactorctl status": "no cluster runs here",
    "kubectl --namespace enactord get pods": "no cluster runs here",
    "kubectl --namespace enactord top pods": "no cluster runs here",
    "kubectl apply --kustomize deploy/kubernetes/overlays/three-zones": "no cluster runs here",
    "systemctl status systemd-journald": "no journal runs here",
}
"""Commands that no drill types, each with the reason. Besides, `Desk` does what systemctl and journalctl would do."""


def test_every_command_of_the_runbook_is_typed_by_the_drill_of_its_section() -> None:
    """A command that nobody has tried fails at three in the morning."""
    written = {command for command in runbook_commands() if command.line not in NOT_RUN}
    typed = {Command(drill.section, line) for drill in DRILLS for line in drill.commands}
    assert sorted(written - typed) == [], "the runbook has these, and no drill types them"
    assert sorted(typed - written) == [], "drills type these, and the runbook does not have them (any more)"


def test_what_is_not_run_stands_in_the_runbook() -> None:
    """An exception that is no longer needed goes."""
    assert set(NOT_RUN) <= {command.line for command in runbook_commands()}


def test_a_section_has_one_drill() -> None:
    sections = [drill.section for drill in DRILLS]
    assert len(sections) == len(set(sections))


def test_every_replacement_is_needed_by_a_command() -> None:
    """What is put in the place of the runbook's words is declared, and is no more than that."""
    lines = [command.line for command in runbook_commands()]
    idle = [pattern for pattern, _ in PLACES if not any(re.search(pattern, line) for line in lines)]
    assert idle == []


def test_blocks_and_spans_are_found_with_their_sections() -> None:
    """The tests above can fail: a command that is added is found, wherever it stands."""
    text = "# R\n`dig\n@h n A` and `[store] url`\n```\nls -l  # one\n\n# none\n```\n## Next\n```\ndf -h\n```\n"
    assert runbook_commands(text) == [Command("R", "dig @h n A"), Command("R", "ls -l"), Command("Next", "df -h")]
    assert len(runbook_commands(TEXT)) > 150


def test_a_span_of_several_words_is_a_command_or_listed() -> None:
    """A program that nobody has entered cannot pass as prose."""
    assert not is_command("Broken pipe")
    assert not is_command("enactorctl")
    with pytest.raises(AssertionError, match="PROGRAMS"):
        is_command("rm -r /")
