"""Plans as JSON files in a folder: documents as enactord takes them, each with its generation."""

from pathlib import Path

from bench.naive.ports import NaiveError, Plan, plan_of
from enactord.core.errors import InvalidPlan
from enactord.core.plan import parse_plan


def read_plan_file(path: Path) -> Plan:
    """Return the plan in a file. Raises `NaiveError`."""
    try:
        draft = parse_plan(path.read_bytes())
    except (OSError, InvalidPlan) as error:
        raise NaiveError(f"{path}: {error}") from error
    if draft.generation is None:
        raise NaiveError(f'{path}: the plan needs a number: "generation"')
    return plan_of(draft, draft.generation)


class FolderPlans:
    """The `*.json` files of a folder, looked at anew each time; implements `Plans`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[int, Plan]] = {}

    async def newest(self) -> Plan | None:
        """Return the plan of the highest generation. Raises `NaiveError` for a file that holds none."""
        for path in sorted(self._folder.glob("*.json")):
            changed = path.stat().st_mtime_ns
            if self._read.get(path, (0, None))[0] != changed:
                self._read[path] = (changed, read_plan_file(path))
        return max((plan for _, plan in self._read.values()), key=lambda plan: plan.generation, default=None)
