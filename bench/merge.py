"""Several runs put together as one: a benchmark that was run more than once counts as it was run last."""

from collections.abc import Mapping, Sequence

from bench.bars import judge
from bench.results import Results, distinct


def merge(runs: Sequence[Results], order: Sequence[str]) -> Results:
    """Return all that was found, its benchmarks in this order; the bars are judged anew. At least one run."""
    assert runs
    by_name = {found.name: found for run in runs for found in run.found}
    found = tuple(by_name[name] for name in order if name in by_name)
    return Results(
        form=", ".join(distinct(run.form for run in runs)),
        started_at=min(run.started_at for run in runs),
        took_s=sum(each.took_s for each in found),
        machine=_joined([run.machine for run in runs]),
        versions=_joined([run.versions for run in runs]),
        found=found,
        bars=judge(found),
    )


def _joined(facts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return each fact; where the runs differ, all that was said."""
    names = distinct(name for each in facts for name in each)
    return {name: "; ".join(distinct(each[name] for each in facts if name in each)) for name in names}
