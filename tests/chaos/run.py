"""One run: a world, its nemesis, the checks, and what is told of it."""

import asyncio
import json
import re
import signal
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.checkers import Violation, check, staleness
from tests.chaos.faults import Kind
from tests.chaos.nemesis import Episode, Nemesis
from tests.chaos.world import Options, World, running

INTERRUPTED = 130
_AROUND_S = 5.0
_LINES_MAX = 40
_TOLD_MAX = 10


@dataclass
class Told:
    """A violation with what is needed to find its cause."""

    violation: Violation
    faults: list[str]
    answers: list[str]
    logs: dict[str, list[str]]


@dataclass
class Result:
    """What came of a run."""

    options: Options
    disk: str = ""
    seconds: float = 0.0
    asked: int = 0
    answered: int = 0
    plans: int = 0
    refused_plans: int = 0
    deleted: int = 0
    episodes: list[Episode] = field(default_factory=list)
    counted: dict[str, float] = field(default_factory=dict)
    stale_s: list[float] = field(default_factory=list)
    """For how long a newer plan had said otherwise, at each answer that was kept; sorted."""
    violations: list[Violation] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    unforeseen: list[str] = field(default_factory=list)
    directory: Path | None = None

    def sum(self, metric: str, **labels: str) -> int:
        """The sum of a counter's samples that have these labels."""
        wanted = [f"{key}={value}" for key, value in labels.items()]
        return int(
            sum(v for k, v in self.counted.items() if k.startswith(metric + "{") and all(w in k for w in wanted))
        )

    def staleness(self) -> dict[str, float]:
        """Median, 99th percentile and greatest, in seconds."""
        if not self.stale_s:
            return {}
        return {
            label: round(self.stale_s[int(share * (len(self.stale_s) - 1))], 2)
            for label, share in (("median", 0.5), ("p99", 0.99), ("longest", 1.0))
        }

    def by_kind(self) -> dict[str, list[float]]:
        """Times to converge by kind of fault; a fault in company counts with its company's time."""
        found: dict[str, list[float]] = {}
        for episode in self.episodes:
            for done in episode.faults:
                times = found.setdefault(done.kind, [])
                if episode.converged_s is not None:
                    times.append(episode.converged_s)
        return dict(sorted(found.items()))

    def document(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "seconds": round(self.seconds, 1),
            "seed": self.options.seed,
            "options": asdict(self.options),
            "disk": self.disk,
            "questions": {"asked": self.asked, "answered": self.answered},
            "plans": {"published": self.plans, "to_be_refused": self.refused_plans, "deleted": self.deleted},
            "writes": {
                outcome: self.sum("enactord_writes_total", outcome=outcome)
                for outcome in ("committed", "refused", "unknown")
            },
            "stale_writes_refused": self.sum("enactord_stale_writes_refused_total"),
            "answers_behind_s": self.staleness(),
            "repairs": self.sum("enactord_repairs_total"),
            "retries": self.sum("enactord_retries_total"),
            "counters": {key: self.counted[key] for key in sorted(self.counted)},
            "faults": dict(sorted(Counter(d.kind for e in self.episodes for d in e.faults).items())),
            "converge_s": {
                kind: {"median": round(statistics.median(times), 2), "longest": round(max(times), 2)} if times else {}
                for kind, times in self.by_kind().items()
            },
            "episodes": [asdict(episode) for episode in self.episodes],
            "unforeseen_errors": self.unforeseen,
            "violations": [
                {
                    "invariant": told.violation.invariant,
                    "at": told.violation.at,
                    "subject": told.violation.subject,
                    "text": told.violation.text,
                    "faults": told.faults,
                    "answers": told.answers,
                    "logs": told.logs,
                }
                for told in self.told
            ]
            + [{"invariant": v.invariant, "at": v.at, "text": str(v)} for v in self.violations[len(self.told) :]],
            "directory": None if self.directory is None else str(self.directory),
        }


async def run(options: Options, kinds: Sequence[Kind] = ()) -> Result:
    """Run a world for so many seconds, then check it. Whatever happens, every part of it is ended."""
    result = Result(options=options)
    async with running(options) as world:
        start = world.now()
        nemesis = Nemesis(world, options.seed, kinds)
        try:
            if await nemesis.converge("the start") is not None:
                await nemesis.run(world.now() + options.seconds)
            await nemesis.finish()
        finally:
            _gather(world, nemesis, result)
        result.seconds = world.now() - start
        world.violations.extend(check(world.history))
        result.stale_s = staleness(world.history)
        result.unforeseen = _unforeseen(world)
        for error in result.unforeseen[:3]:
            world.violated("alive", "log", f"an error that nobody foresaw: {error[:600]}")
        world.violations.sort(key=lambda violation: violation.at)
        result.violations = list(world.violations)
        result.told = [_tell(world, nemesis, violation) for violation in world.violations[:_TOLD_MAX]]
        if result.violations:
            result.directory = world.dir
            (world.dir / "report.json").write_text(json.dumps(result.document(), indent=1, default=str))
    return result


def _gather(world: World, nemesis: Nemesis, result: Result) -> None:
    result.disk = next(iter(world.enactors.values())).disk.kind
    result.asked = sum(prober.asked for prober in world.probers.values())
    result.answered = sum(prober.answered for prober in world.probers.values())
    result.plans = len(world.history.plans)
    result.refused_plans = sum(plan.refused for plan in world.history.plans.values())
    result.deleted = len(world.history.deleted)
    result.episodes = nemesis.episodes
    result.counted = dict(world.totals())


def _unforeseen(world: World) -> list[str]:
    """Tracebacks in the logs: errors that no rule foresaw."""
    found = []
    for child in [*(enactor.child for enactor in world.enactors.values()), world.planner]:
        text = child.log.read_text(errors="replace")
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                found.append(f"{child.name}: {line}")
                continue
            if isinstance(event, dict) and event.get("traceback"):
                found.append(f"{child.name}: {event.get('at', '')} {event.get('step')}: {event['traceback'][-1500:]}")
    return found


def _tell(world: World, nemesis: Nemesis, violation: Violation) -> Told:
    """Gather what was on, what was served and what the enactors said around a violation."""
    at = violation.at
    faults = [
        f"{done.kind} of {done.target} ({done.detail}), {done.begun - at:+.2f} s to {done.healed - at:+.2f} s"
        for episode in nemesis.episodes
        for done in episode.faults
        if done.begun - _AROUND_S <= at <= done.healed + 2 * _AROUND_S
    ]
    name = violation.subject.split()[0]
    around = [read for read in world.history.reads if read.name == name and abs(read.received - at) < _AROUND_S]
    answers = [
        f"{read.received - at:+.3f} s: {read.rtype} {read.rcode} {', '.join(sorted(read.addresses)) or 'nothing'}"
        f" (generations {list(world.view.versions.of(name, read.rtype, read.addresses))[:6]})"
        for read in around[:_LINES_MAX]
    ]
    wall = time.time() - (world.now() - at)
    logs = {e.id: _lines(e.child.log, wall) for e in world.enactors.values()}
    return Told(violation=violation, faults=faults, answers=answers, logs=logs)


_AT = re.compile(r'"at": "([^"]+)"')


def _lines(log: Path, wall: float) -> list[str]:
    """The lines of a log around a time of day."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        match = _AT.search(line)
        if match is None:
            continue
        when = datetime.fromisoformat(match[1].replace("Z", "+00:00")).astimezone(UTC).timestamp()
        if wall - _AROUND_S <= when <= wall + 1.0:
            found.append(line[:600])
    return found[-_LINES_MAX:]


def show(result: Result, console: Console) -> None:
    """The report for people."""
    table = Table(title=f"chaos: {result.seconds:.0f} s, seed {result.options.seed}", title_justify="left")
    table.add_column("fault")
    for column in ("times", "median s to converge", "longest"):
        table.add_column(column, justify="right")
    counts = Counter(done.kind for episode in result.episodes for done in episode.faults)
    for kind, times in result.by_kind().items():
        median = f"{statistics.median(times):.1f}" if times else "never"
        table.add_row(kind, str(counts[kind]), median, f"{max(times):.1f}" if times else "never")
    every = [episode.converged_s for episode in result.episodes if episode.converged_s is not None]
    if every:
        table.add_section()
        table.add_row("all", str(sum(counts.values())), f"{statistics.median(every):.1f}", f"{max(every):.1f}")
    console.print(table)
    facts = Table(show_header=False)
    for label, value in (
        ("questions answered", f"{result.answered:,} of {result.asked:,}"),
        (
            "plans published",
            f"{result.plans:,}, {result.refused_plans} of them to be refused; {result.deleted:,} pruned",
        ),
        ("writes committed", f"{result.sum('enactord_writes_total', outcome='committed'):,}"),
        ("writes refused", f"{result.sum('enactord_writes_total', outcome='refused'):,}"),
        ("writes of unknown end", f"{result.sum('enactord_writes_total', outcome='unknown'):,}"),
        ("stale writes that a server refused", f"{result.sum('enactord_stale_writes_refused_total'):,}"),
        ("answers behind the newest plan, s", ", ".join(f"{k} {v:g}" for k, v in result.staleness().items())),
        ("names repaired", f"{result.sum('enactord_repairs_total'):,}"),
        ("full disk", result.disk),
        ("violations", str(len(result.violations))),
    ):
        facts.add_row(label, value)
    console.print(facts)
    for told in result.told:
        console.print(str(told.violation), style="red", soft_wrap=True, highlight=False, markup=False)
        for line in (*told.faults, *told.answers):
            console.print(f"    {line}", soft_wrap=True, highlight=False, markup=False)
    if result.directory is not None:
        console.print(f"everything is kept in {result.directory}", soft_wrap=True)


async def _until_told(options: Options) -> Result:
    """Run to the end, or until SIGTERM or SIGINT; then, too, everything is ended in order."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await run(options)


def main(options: Options, report: Path | None) -> int:
    """Run, show, write the report; 1 where something was violated, 130 where it was told to end."""
    try:
        result = asyncio.run(_until_told(options))
    except asyncio.CancelledError:
        return INTERRUPTED
    show(result, Console())
    if report is not None:
        report.write_text(json.dumps(result.document(), indent=1, default=str) + "\n")
    return 1 if result.violations else 0
