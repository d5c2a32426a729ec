"""Verifying: every name that the ledger owns, asked of every configured verify server."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from enactord.core.errors import ZoneDown
from enactord.core.ledger import Entry
from enactord.core.names import zone_of
from enactord.core.records import Served
from enactord.operations.scope import Scope
from enactord.ports import ServedReader

_PORTION = 500

Progress = Callable[[int, int], None]
"""Told how many questions are answered, of how many."""

Wrong = Literal["empty", "drifted", "alias", "covered", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A name that one server does not serve as the ledger has it.

    `wrong` "silent": it did not answer this name; "covered": a delegation or a DNAME stands above it.
    """

    zone: str
    server: str
    name: str
    wrong: Wrong
    served: tuple[str, ...]
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The end of a look at all zones. `down` maps a server to why it could not be asked.

    `names` are those that the ledger owns; `unasked` of them had no answer from some server. `pending`
    are judged, too, by all that they may serve. `held` may be names that the ledger does not own.
    """

    names: int
    unasked: int
    pending: int
    held: int
    findings: tuple[Finding, ...]
    down: Mapping[str, str]

    @property
    def sound(self) -> bool:
        return not self.findings and not self.down

    def document(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "unasked": self.unasked,
            "pending": self.pending,
            "held": self.held,
            "sound": self.sound,
            "down": dict(sorted(self.down.items())),
            "findings": [
                {
                    "zone": finding.zone,
                    "server": finding.server,
                    "name": finding.name,
                    "wrong": finding.wrong,
                    "served": list(finding.served),
                    "wanted": list(finding.wanted),
                }
                for finding in self.findings
            ],
        }


async def verify(
    scope: Scope, servers: Mapping[str, Sequence[tuple[str, ServedReader]]], *, progress: Progress = lambda _, __: None
) -> Verification:
    """Ask each zone's servers (name and reader) for every name that the ledger owns there.

    A name with a write under way may serve what was applied, what is pending, or was before;
    never nothing, unless one of these is a removal. What looks wrong is asked once more, against
    the ledger as it is then: a write may have passed between the two. Raises `StoreDown`.
    """
    entries = await _entries(scope)
    names: dict[str, list[str]] = {zone: [] for zone in servers}
    for name, entry in entries.items():
        zone = zone_of(name, scope.zones)
        if zone in names and entry.owned:
            names[zone].append(name)
    total = sum(len(names[zone]) * len(servers[zone]) for zone in servers)
    done = 0
    down: dict[str, str] = {}
    suspects: list[tuple[str, str, ServedReader, list[str]]] = []
    unasked: set[str] = set()
    for zone in sorted(servers):
        for server, reader in servers[zone]:
            wrong: list[str] = []
            for start in range(0, len(names[zone]), _PORTION):
                portion = names[zone][start : start + _PORTION]
                served = await _read(reader, portion, server, down)
                if served is None:
                    unasked.update(names[zone][start:])
                    break
                unasked.update(name for name in portion if name not in served)
                wrong += [name for name in portion if _judge(entries[name], served.get(name)) is not None]
                done += len(portion)
                progress(done, total)
            if wrong:
                suspects.append((zone, server, reader, wrong))
    findings: list[Finding] = []
    if suspects:
        entries = await _entries(scope)
        for zone, server, reader, wrong in suspects:
            findings.extend(await _again(zone, server, reader, wrong, entries, down))
    return Verification(
        names=sum(len(some) for some in names.values()),
        unasked=len(unasked),
        pending=sum(entry.pending is not None for entry in entries.values()),
        held=sum(entry.held is not None for entry in entries.values()),
        findings=tuple(findings),
        down=down,
    )


async def _entries(scope: Scope) -> dict[str, Entry]:
    """Return the ledger's entries by name, sorted; between buckets others have their turn, where an enactor does it."""
    ledger = (await scope.cache()).ledger
    found: dict[str, Entry] = {}
    for bucket_id in ledger.all_stored():
        found.update(ledger.bucket(bucket_id))
        await asyncio.sleep(0)
    return dict(sorted(found.items()))


async def _again(
    zone: str,
    server: str,
    reader: ServedReader,
    names: Sequence[str],
    entries: Mapping[str, Entry],
    down: dict[str, str],
) -> list[Finding]:
    """Ask for the suspect names a second time; what is wrong again is a finding."""
    findings: list[Finding] = []
    for start in range(0, len(names), _PORTION):
        portion = [name for name in names[start : start + _PORTION] if name in entries and entries[name].owned]
        served = await _read(reader, portion, server, down)
        if served is None:
            break
        for name in portion:
            answer = served.get(name)
            wrong = _judge(entries[name], answer)
            applied = entries[name].applied
            if wrong is None or applied is None:
                continue
            wanted = applied.records(name)
            told = ((), wanted.texts()) if answer is None else answer.unlike(wanted)
            findings.append(Finding(zone=zone, server=server, name=name, wrong=wrong, served=told[0], wanted=told[1]))
    return findings


async def _read(
    reader: ServedReader, names: Sequence[str], server: str, down: dict[str, str]
) -> Mapping[str, Served] | None:
    try:
        return await reader.read(names)
    except ZoneDown as error:
        down[server] = str(error)
        return None


def _judge(entry: Entry, answer: Served | None) -> Wrong | None:
    """Return what is wrong with an answer, or None where it is as the ledger has it."""
    if entry.applied is None:
        return None
    if answer is None:
        return "silent"
    if answer.covered:
        return "covered"
    if any(answer.shows(version.records(entry.name)) for version in entry.may_serve):
        return None
    if answer.alias is not None:
        return "alias"
    return "empty" if answer.records.empty else "drifted"
