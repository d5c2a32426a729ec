"""The runbook's commands, typed as they stand there on real etcd, BIND and enactors, in which the fault was made.

A few drills are tried every day, all of them by `make runbook`. What is put in the place of the runbook's examples is
`tests.runbook.desk.PLACES`, and no more.
"""

import os
from pathlib import Path

import pytest

from tests.runbook import alerts, procedures
from tests.runbook.desk import desk
from tests.runbook.drill import Drill, carry_out
from tests.runbook.procedures import AS_ROOT

SHORT = ("EnactordEndpointEmpty", "Give and take away tokens")
"""Those of the everyday suite."""
_ALL = {drill.section: drill for drill in (*alerts.DRILLS, *procedures.DRILLS)}
_CHOSEN = _ALL if os.environ.get("RUNBOOK") == "all" else {section: _ALL[section] for section in SHORT}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("drill", [pytest.param(drill, id=section) for section, drill in _CHOSEN.items()])
async def test_the_commands_of_a_section_do_what_it_says(drill: Drill, tmp_path: Path) -> None:
    """Each ends with the exit code that is meant and says the words; in the end the fault is over."""
    if drill.section in AS_ROOT and os.geteuid() != 0:
        pytest.skip("it is typed as root: files and folders are given to another user")
    async with desk(tmp_path, enactors=drill.enactors) as live:
        await carry_out(drill, live)
