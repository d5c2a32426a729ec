"""What enactors report of the fences that they see, for those who publish: the next plan goes above them all."""

import asyncio
from dataclasses import asdict, dataclass

from enactord.core.moment import AT_MAX
from enactord.core.plan import GENERATION_MAX
from enactord.ports import Clock, Reading
from enactord.store.keys import Keys, json_value, stored_json
from enactord.store.layout import ENACTOR, REPORT

REPORT_EVERY_S = 5.0
YOUNG_S = 15.0
"""A report that is older than this is of an enactor that may be gone."""
WAIT_S = 10.0
"""How long a publication waits for a report by default."""
_POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one enactor knows. `at`: its clock, in seconds since the epoch.

    `fence`: the highest generation that stands in a zone, of those in reach; 0: none. `zones`: how many zones its
    config has; `unknown`: of how many of them it knows nothing.
    """

    at: float
    fence: int
    zones: int
    unknown: int


def pack_report(report: Report) -> bytes:
    """Return a report as it is stored."""
    return json_value(REPORT, asdict(report))


def parse_report(value: bytes) -> Report | None:
    """Return a stored report; None where it is none."""
    found = stored_json(REPORT, value)
    if not isinstance(found, dict):
        return None
    at = found.get("at")
    counts = [count for name in ("fence", "zones", "unknown") if type(count := found.get(name)) is int]
    if not isinstance(at, int | float) or not 0 <= at < AT_MAX or len(counts) < 3:
        return None
    fence, zones, unknown = counts
    if not (0 <= fence < GENERATION_MAX and 0 <= unknown <= zones):
        return None
    return Report(at=at, fence=fence, zones=zones, unknown=unknown)


async def await_reports(store: Reading, keys: Keys, clock: Clock, *, wait_s: float = 0.0) -> list[Report]:
    """Return the reports that are young; waits for the first of them, if there is an enactor that can make it.

    A report is young by the reader's clock, or because it was made meanwhile: clocks differ. Raises `StoreDown`.
    """
    deadline = asyncio.get_running_loop().time() + wait_s
    before: dict[str, int] | None = None
    while True:
        page = await store.range(*keys.bounds(REPORT))
        revisions = {item.key: item.mod_revision for item in page.items}
        if before is None:
            before = revisions
        young = []
        for item in page.items:
            report = parse_report(item.value)
            if report is None:
                continue
            if abs(clock.now() - report.at) <= YOUNG_S or before.get(item.key) != item.mod_revision:
                young.append(report)
        left_s = deadline - asyncio.get_running_loop().time()
        if young or left_s <= 0 or not await _anybody(store, keys):
            return young
        await asyncio.sleep(min(_POLL_S, left_s))


async def _anybody(store: Reading, keys: Keys) -> bool:
    """Whether any enactor is alive."""
    return bool((await store.range(*keys.bounds(ENACTOR), limit=1)).items)
