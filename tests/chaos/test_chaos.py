"""A minute of real faults on a real installation; and the same without the fence, which must be found out."""

import shutil
from io import StringIO

import pytest
from rich.console import Console

from tests.chaos.faults import KINDS
from tests.chaos.run import Result, run, show
from tests.chaos.world import Options
from tests.daily import daily

pytestmark = pytest.mark.timeout(900)

ATTEMPTS = 5


def told(result: Result) -> str:
    """The report for people."""
    into = StringIO()
    show(result, Console(file=into, width=160))
    return into.getvalue()


@pytest.mark.parametrize("seconds", daily([12, 45], 1))
async def test_no_invariant_breaks_under_faults(seconds: int) -> None:
    """etcd, DNS servers, network, disks, enactors and operators all go wrong: nothing is violated, all heals."""
    result = await run(Options(seconds=seconds, seed=4))
    print(told(result))
    assert not result.violations, told(result)
    assert result.episodes, "nothing was disturbed"
    assert result.plans > len(result.episodes), "plans kept coming"
    assert result.answered > 10 * result.plans, "somebody looked"
    assert result.sum("enactord_writes_total", outcome="committed")


@pytest.mark.long
async def test_enactors_without_the_fence_are_found_out() -> None:
    """The control: writes that require nothing, held on their way and let go late, step back in sight of users.

    Whether a fault meets a write on its way is chance: a run that meets none is followed by another.
    """
    late = [kind for kind in KINDS if kind.name in {"enactor's updates held", "enactor paused past its lease"}]
    reports = []
    for seed in range(3, 3 + ATTEMPTS):
        result = await run(Options(seconds=8, seed=seed, unfenced=True), late)
        if result.directory is not None:
            shutil.rmtree(result.directory)
        if {violation.invariant for violation in result.violations} & {"I1", "I2"}:
            return
        reports.append(told(result))
    raise AssertionError("\n".join(reports))
