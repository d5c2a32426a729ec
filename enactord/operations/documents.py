"""What a scope looks like, as JSON documents: shared by the command line, HTTP and the status page.

Times are seconds since the epoch; generation 0 means "none". Lists are sorted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from enactord.core.content import content_json, parse_content
from enactord.core.contribution import Contribution
from enactord.core.errors import PlanUnreadable
from enactord.core.ledger import REMOVAL, Entry, Version
from enactord.core.names import zone_of
from enactord.core.overrides import Override
from enactord.core.plan import Manifest, parse_chunk
from enactord.store.cache import Cache, Presence
from enactord.store.control import Freeze
from enactord.store.keys import stored_json
from enactord.store.layout import RETIRED, OtherFormat
from enactord.store.planners import DEFAULT, Pause
from enactord.store.plans import Plans

Document = dict[str, Any]

STATES = ("applied", "pending", "held")
HELD_MAX = 5
"""Most held names that a summary tells of; `endpoints` has them all."""


_TIME_MAX_S = 253_402_300_800
"""The end of the year 9999: later times have no calendar date."""
OVER_S = 60.0
"""An override that is in force so long after its time is not about to end."""
STALE_S = 60.0
"""What an enactor last said of itself longer ago than this tells nothing of now."""


def status_document(
    cache: Cache, zones: Sequence[str], now: float, *, own: tuple[str, Mapping[str, str]] | None = None
) -> Document:
    """Return the state of a scope: newest plan, freeze, zones, endpoints by state, claims, enactors.

    A zone is as its enactors say that they see it. `own`: the id of the enactor that asks, and the zones that are not
    well, or of which nothing is known, as it sees them; None: it is no enactor.
    """
    totals = cache.ledger.totals
    generations = cache.generations
    configured = frozenset(zones)
    enactors = [_enactor_document(presence, now) for presence in cache.enactors]
    seen = _seen(enactors, own)
    return {
        "scope": cache.keys.scope,
        "installation": cache.installation or None,
        "head": cache.head,
        "plans": {
            "stored": len(generations),
            "oldest": generations[0] if generations else 0,
            "refused": sorted(cache.refused),
        },
        "frozen": freeze_document(cache.freeze),
        "paused": pauses_document(cache.paused),
        "refused": [contribution_document(kept) for kept in cache.contributions],
        "overrides": [override.document() for override in cache.overrides],
        "zones": [
            _zone_document(cache, zone, seen, configured=zone in configured)
            for zone in sorted(configured.union(cache.fences))
        ],
        "endpoints": {
            "total": totals.entries,
            "owned": totals.owned,
            "applied": max(0, totals.entries - totals.pending - totals.held),
            "pending": totals.pending,
            "held": totals.held,
            "unseen": totals.unseen,
        },
        "held": held_document(cache),
        "claims": [{"generation": generation, "enactor": enactor} for generation, enactor in cache.all_claims],
        "enactors": enactors,
        "retired": retired_document(cache),
        "other_formats": other_formats_document(cache),
    }


def _enactor_document(presence: Presence, now: float) -> Document:
    """Return what an enactor last said of itself; "stale": that was long ago, though its lease lives."""
    facts = dict(presence.facts)
    at = facts.pop("updated_at", None)
    return {"id": presence.id} | facts | {"stale": not isinstance(at, int | float) or abs(now - at) > STALE_S}


def _seen(enactors: Sequence[Document], own: tuple[str, Mapping[str, str]] | None) -> Callable[[str], str]:
    """Return what says of a zone how it is seen: "not well", "unknown", or "" where nothing is wrong with it."""
    told: list[tuple[Mapping[str, Any], bool]] = [] if own is None else [(own[1], False)]
    for enactor in enactors:
        zones = enactor.get("zones")
        if not enactor["stale"] and isinstance(zones, dict) and (own is None or enactor["id"] != own[0]):
            told.append((zones, bool(enactor.get("zones_left_out"))))

    def state(zone: str) -> str:
        found = {one.get(zone, "unknown" if cut else "") for one, cut in told}
        if "not well" in found:
            return "not well"
        return "" if "" in found else "unknown"  # who has just started does not know yet what others do

    return state


def _zone_document(cache: Cache, zone: str, seen: Callable[[str], str], *, configured: bool) -> Document:
    fence = cache.fence(zone)
    totals = cache.ledger.zone_totals(zone)
    opened, applied = (fence.generation if fence else 0), cache.applied(zone)
    if not configured:
        state = "not in this config"
    elif cache.of_other_version(zone):
        state = "of another version"
    elif seen(zone) == "not well":
        state = "not well"
    elif not opened:
        state = "never opened"
    elif seen(zone):
        state = seen(zone)
    elif applied < opened:
        state = "applying"
    else:
        state = "applied" if opened == cache.head else "behind"
    return {
        "zone": zone,
        "fence": opened,
        "txt": fence.txt.generation if fence else 0,
        "primary": fence.primary if fence else "",
        "plan": fence.plan if fence else "",
        "applied": applied,
        "state": state,
        "endpoints": {"total": totals.entries, "pending": totals.pending, "held": totals.held, "unseen": totals.unseen},
    }


def retired_document(cache: Cache) -> list[Document]:
    """Return the zones that were retired and have not come back, sorted: by whom, when and why."""
    return [{"zone": zone} | _note(value) for zone, value in cache.retired.items()]


def _note(value: bytes) -> Document:
    """Return what was written when a zone was retired; what cannot be read of it, as nothing."""
    found = stored_json(RETIRED, value)
    note = found if isinstance(found, dict) else {}
    at, generation = note.get("at"), note.get("generation")
    return {
        "reason": str(note.get("reason", "")),
        "author": str(note.get("author", "")),
        "at": at if isinstance(at, int | float) and 0 <= at < _TIME_MAX_S else 0,
        "generation": generation if isinstance(generation, int) and generation >= 0 else 0,
    }


def other_formats_document(cache: Cache) -> list[Document]:
    """Return what another version has written: kind, both formats, how many values, and the first key."""
    keys: dict[OtherFormat, list[str]] = {}
    for key, other in sorted(cache.other_formats.items()):
        keys.setdefault(other, []).append(key)
    return [
        {"kind": o.kind, "found": o.found, "reads": o.reads, "values": len(names), "first": names[0]}
        for o, names in keys.items()
    ]


def held_document(cache: Cache) -> list[Document]:
    """Return the first names that are held, by bucket, with why: `HELD_MAX` at most."""
    found: list[Document] = []
    for bucket in cache.ledger.holding():
        if len(found) >= HELD_MAX:
            break
        found += [
            {"name": name, "guard": entry.held.guard, "detail": entry.held.detail}
            for name, entry in sorted(cache.ledger.bucket(bucket).items())
            if entry.held is not None
        ]
    return found[:HELD_MAX]


def held_notes(cache: Cache) -> list[str]:
    """Return the held names for people, a few of them, and how many there are."""
    held = cache.ledger.totals.held
    notes = [f"{one['name']} is held ({one['guard']}): {one['detail']}" for one in held_document(cache)]
    if held > len(notes):
        notes.append(f"{held - len(notes)} more are held; see them all with: enactorctl endpoints --state held")
    return notes


def pauses_document(pauses: Mapping[str, Pause]) -> list[Document]:
    """Return which planners are paused, by whom and why."""
    return [
        {"planner": planner, "reason": pause.reason, "author": pause.author, "at": pause.at}
        for planner, pause in sorted(pauses.items())
    ]


def planners_document(paused: Mapping[str, Pause]) -> list[Document]:
    """Return the planners, each with its pause; None where it may publish. Who names no planner is of `default`."""
    return [
        {"planner": planner, "paused": pauses_document({planner: paused[planner]})[0] if planner in paused else None}
        for planner in sorted({DEFAULT, *paused})
    ]


def resumed_document(planner: str, before: Pause | None) -> Document:
    """Return which planner goes on, and what its pause was."""
    return {"planner": planner, "paused": None, "before": before and pauses_document({planner: before})[0]}


def pause_notes(cache: Cache) -> list[str]:
    """Return for people which planners are paused."""
    return [
        f"planner {planner} is paused by {pause.author or '?'}: {pause.reason};"
        f" to go on: enactorctl planner resume {planner}"
        for planner, pause in cache.paused.items()
    ]


def refused_notes(cache: Cache) -> list[str]:
    """Return for people which planners' last publications guards refused."""
    return [
        f"guards refused what planner {kept.planner} last published ({', '.join(_guards(kept))}):"
        f" enactorctl diff {kept.mark}; if it is meant: enactorctl publish --approve {kept.mark} --reason …"
        for kept in cache.contributions
    ]


def override_notes(cache: Cache, now: float) -> list[str]:
    """Return for people which endpoints operators override, and which of that is over and stays."""
    return [one.note() if now < one.until + OVER_S else one.over_note() for one in cache.overrides]


def _guards(kept: Contribution) -> list[str]:
    return sorted({refusal.guard for refusal in kept.refusals})


def freeze_document(freeze: Freeze | None) -> Document | None:
    """Return who froze the scope, how and why, or None."""
    if freeze is None:
        return None
    return {"mode": freeze.mode, "reason": freeze.reason, "author": freeze.author, "since": freeze.since}


def manifest_document(manifest: Manifest) -> Document:
    """Return what is known of a plan besides its endpoints."""
    approval = manifest.approval
    return {
        "generation": manifest.generation,
        "digest": manifest.digest,
        "scope": manifest.scope,
        "endpoints": manifest.endpoints,
        "chunks": sum(len(part.chunks) for part in manifest.zones.values()),
        "zones": {zone: {"endpoints": part.endpoints, "slots": part.slots} for zone, part in manifest.zones.items()},
        "author": manifest.author,
        "reason": manifest.reason,
        "created_at": manifest.created_at,
        "published_at": manifest.published_at,
        "approval": approval and asdict(approval),
        "rollback_of": manifest.rollback_of,
        "overridden": sorted(manifest.planned),
    }


def plans_document(cache: Cache, generations: Iterable[int] | None = None) -> list[Document]:
    """Return every stored plan, newest first, or these; one that cannot be read says so under "unreadable".

    Each says in which zones it is the plan that is open, and in which it is applied.
    """
    found: list[Document] = []
    fences = cache.fences
    for generation in reversed(cache.generations) if generations is None else generations:
        at = {
            "open_in": [zone for zone in fences if fences[zone] == generation],
            "applied_in": [zone for zone in fences if cache.applied(zone) == generation],
        }
        try:
            manifest = cache.manifest(generation)
        except PlanUnreadable as error:
            found.append({"generation": generation, "unreadable": str(error)} | at)
            continue
        if manifest is not None:
            found.append(manifest_document(manifest) | {"claims": cache.claims(generation)} | at)
    return found


def contribution_document(kept: Contribution) -> Document:
    """Return a refused publication, without what it holds: whose it is, and why guards refused it."""
    return {
        "digest": kept.digest,
        "planner": kept.planner,
        "author": kept.author,
        "whole": kept.whole,
        "names": kept.names,
        "newest": kept.newest,
        "first_at": kept.first_at,
        "last_at": kept.last_at,
        "times": kept.times,
        "refusals": [{"guard": refusal.guard, "detail": refusal.detail} for refusal in kept.refusals],
    }


def contents_document(endpoints: Mapping[str, str]) -> Document:
    """Return contents by name, sorted, as a plan document has them."""
    return {name: content_json(parse_content(endpoints[name])) for name in sorted(endpoints)}


def endpoint_document(entry: Entry, zones: Sequence[str], overrides: Sequence[Override] = ()) -> Document:
    """Return one endpoint of the ledger: its state, what is applied, and the addresses that stands for.

    `overrides`: those of the scope; the endpoint's own are told with it.
    Of what is served, the ledger tells only whether it was seen once ("seen").
    """
    hold = entry.held
    applied = entry.applied
    return {
        "name": entry.name,
        "zone": zone_of(entry.name, zones) or "",
        "state": entry.state,
        "owned": entry.owned,
        "generation": applied.generation if applied else 0,
        "content": version_content(applied),
        "addresses": list(applied.records(entry.name).texts()) if applied else [],
        "good": entry.good.generation if entry.good else None,
        "seen": applied is not None and entry.good == applied,
        "pending": entry.pending.generation if entry.pending else None,
        "overrides": [override.document() for override in overrides if override.name == entry.name],
        "held": hold
        and {"generation": hold.generation, "guard": hold.guard, "detail": hold.detail, "since": hold.since_s},
    }


def version_content(version: Version | None) -> Document | None:
    """Return a version's content as a plan document has it; None for nothing and for a removal."""
    if version is None or version.content == REMOVAL:
        return None
    return content_json(parse_content(version.content))


def find_entries(cache: Cache, names: Iterable[str] | None = None) -> dict[str, Entry]:
    """Return the ledger's entries by name, sorted: all, or those of the names that it has."""
    found: dict[str, Entry] = {}
    if names is None:
        for zone in cache.ledger.zones:
            found.update(cache.ledger.zone_entries(zone))
    else:
        for name in names:
            entry = cache.ledger.entry(name)
            if entry is not None:
                found[name] = entry
    return dict(sorted(found.items()))


def diff_plans(before: Mapping[str, str], after: Mapping[str, str]) -> Document:
    """Return what leads from one name-to-content mapping to another, each list sorted by name."""
    return {
        "added": [{"name": name, "after": _json(after[name])} for name in sorted(after.keys() - before.keys())],
        "removed": [{"name": name, "before": _json(before[name])} for name in sorted(before.keys() - after.keys())],
        "changed": [
            {"name": name, "before": _json(before[name]), "after": _json(after[name])}
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        ],
    }


def _json(content: str) -> Document:
    return content_json(parse_content(content))


def owned_contents(cache: Cache) -> dict[str, str]:
    """Return name to content text of all that the ledger owns, as it is applied."""
    return owned_in(find_entries(cache))


def owned_in(entries: Mapping[str, Entry]) -> dict[str, str]:
    """Return name to content text of what is applied of some entries."""
    return {
        name: entry.applied.content
        for name, entry in entries.items()
        if entry.applied is not None and entry.applied.content != REMOVAL
    }


async def history_document(
    cache: Cache, plans: Plans, name: str, zones: Sequence[str], generations: Sequence[int] | None = None
) -> Document:
    """Return a name's contents across the stored plans (or these), newest first, where they changed; and the ledger's.

    `content` None: the plan does not hold the name.
    """
    changes: list[Document] = []
    known: str | None = None
    texts: dict[str, str] = {}
    for generation in cache.generations if generations is None else generations:
        try:
            manifest = cache.manifest(generation)
            if manifest is None:
                continue
            digest = manifest.chunk_of(name)
            if digest is not None and digest not in texts:
                texts.update(await plans.texts([digest]))
        except PlanUnreadable as error:
            changes.append({"generation": generation, "unreadable": str(error)})
            continue
        content = parse_chunk(texts[digest]).get(name) if digest is not None else None
        if content != known:
            changes.append(
                {
                    "generation": generation,
                    "published_at": manifest.published_at,
                    "author": manifest.author,
                    "content": None if content is None else _json(content),
                }
            )
        known = content
    entry = cache.ledger.entry(name)
    ledger = None if entry is None else endpoint_document(entry, zones)
    if ledger is not None and entry is not None:
        ledger["good_content"] = version_content(entry.good)
    return {"name": name, "ledger": ledger, "plans": changes[::-1]}
