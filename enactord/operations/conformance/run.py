"""One run: is the zone meant for it, then each property in turn, then all is cleaned up, whatever happened."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enactord.core.errors import ZoneDown
from enactord.core.names import fence_name
from enactord.core.refusal import Refusal
from enactord.operations.conformance import atomicity, prerequisites, service
from enactord.operations.conformance.bench import BARRIER, NOERROR, NXRRSET, YXRRSET, Bench, Reply, Unprepared
from enactord.operations.conformance.verdict import Conformance, Property, Result, Tried, Verdict, unknown
from enactord.operations.scope import Denied
from enactord.ports import Clock
from enactord.wire.answer import TYPE_A, TYPE_AAAA, TYPE_TXT
from enactord.wire.plain_update import absent, add, delete, exactly, text
from enactord.wire.tsig import TsigKey
from enactord.wire.version_question import ask_version

PROPERTIES: Sequence[Property] = (*atomicity.PROPERTIES[:2], *prerequisites.PROPERTIES, *atomicity.PROPERTIES[2:],
                                  *service.PROPERTIES)  # fmt: skip
"""In the order of their trials: a property comes after those that it rests on."""
LABELS = (BARRIER, *(label for each in PROPERTIES for label in each.labels))
_LOCK = "enactorctl doctor --conformance works here; what is left of one that was cut off: --yes removes it"
_OURS = b"v=enactord"
_LIMIT_S = 60.0
_CLEAN_LIMIT_S = 20.0

Progress = Callable[[int, int], None]
"""Told how many properties are tried, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The zone that is tried, its server, and the key that may update it."""

    zone: str
    host: str
    port: int
    key: TsigKey
    timeout_s: float = 5.0

    @property
    def server(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def conform(
    target: Target, clock: Clock, *, take_over: bool = False, progress: Progress = lambda _, __: None
) -> Conformance | Denied:
    """Try every property on a server, in a zone that is meant for it, and remove what was written.

    `take_over`: remove what a run left behind that was cut off. Raises `ZoneDown` where the server does not answer.
    """
    bench = Bench(target.zone, target.host, target.port, target.key, clock, target.timeout_s)
    try:
        stands, denied = await _not_meant(bench, take_over=take_over)
        if denied is not None:
            return Denied(refusals=(denied,))
        version = await ask_version(bench.stream(), target.timeout_s)
        progress(0, len(PROPERTIES))
        results: list[Result] = []
        left = ""
        lock = Lock(bench)
        locked = await lock.put(instead_of=stands)
        if locked.rcode in (YXRRSET, NXRRSET):
            return Denied(refusals=(_taken(bench),))
        try:
            if locked.rcode != NOERROR:
                why = (
                    f"not tried: no text could be put at {bench.apex} ({locked.text}): let the key update {bench.apex}"
                )
                results = [_result(each, unknown(why)) for each in PROPERTIES]
            else:
                if stands:
                    bench.aliases.update(prerequisites.ALIASES)
                    await bench.clean(LABELS)
                    bench.aliases.clear()
                for done, each in enumerate(PROPERTIES, start=1):
                    results.append(await _attempt(bench, each, results))
                    progress(done, len(PROPERTIES))
        finally:
            if locked.rcode in (NOERROR, None):
                left = await _cleaned(bench, lock, LABELS if locked.rcode == NOERROR else ())
        return Conformance(server=target.server, zone=target.zone, version=version, results=results, left=left)
    finally:
        await bench.close()


class Lock:
    """The text at the apex that says who works there, of this run alone: nobody else's is replaced or removed."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._own = text(f"{_LOCK} [{secrets.token_hex(4)}]")

    async def put(self, *, instead_of: bytes) -> Reply:
        """Put the lock where none is, or where exactly this one was seen. NXRRSET, YXRRSET: another one is there."""
        apex = self._bench.apex
        when = exactly(apex, TYPE_TXT, [instead_of]) if instead_of else [absent(apex, TYPE_TXT)]
        return await self._bench.send([delete(apex, TYPE_TXT), add(apex, TYPE_TXT, self._own)], when=when)

    async def remove(self) -> Reply:
        """Remove this run's own. NXRRSET: it is not there."""
        apex = self._bench.apex
        return await self._bench.send([delete(apex, TYPE_TXT)], when=exactly(apex, TYPE_TXT, [self._own]))


async def _not_meant(bench: Bench, *, take_over: bool) -> tuple[bytes, Refusal | None]:
    """Return the lock of another run, b"" where none stands, and why the zone must be left alone. Raises `ZoneDown`."""
    fence = fence_name(bench.zone)
    if any(_OURS in rdata for rdata in (await bench.ask(fence, TYPE_TXT)).rdatas):
        detail = f"{fence} holds a fence: the zone is in use; give a zone that no enactor writes"
        return b"", Refusal(guard="fence", detail=detail)
    stands = (await bench.ask(bench.apex, TYPE_TXT)).rdatas
    if len(stands) == 1 and stands[0][1:].startswith(_LOCK.encode("ascii")):
        return stands[0], None if take_over else _taken(bench)
    names = [bench.apex, *(bench.name(label) for label in LABELS)]
    answers = await asyncio.gather(
        *(bench.ask(name, rtype) for name in names for rtype in (TYPE_A, TYPE_AAAA, TYPE_TXT))
    )
    for name, found in zip((name for name in names for _ in range(3)), answers, strict=True):
        if found.rdatas or found.alias is not None:
            detail = f"{name} is answered for, by its own records or a wildcard's: give a zone without names there"
            return b"", Refusal(guard="names", detail=detail)
    return b"", None


def _taken(bench: Bench) -> Refusal:
    detail = f"{bench.apex} says that another run works in {bench.zone}, or was cut off: if none does, add --yes"
    return Refusal(guard="taken", detail=detail)


async def _attempt(bench: Bench, each: Property, before: Sequence[Result]) -> Result:
    """Try one property, within its time."""
    missing = [one.name for one in before if one.name in each.rests_on and one.verdict is not Verdict.PASS]
    if missing:
        tried = unknown(f"not tried: it rests on {', '.join(missing)}")
    else:
        tried = await _within(bench, each)
    return _result(each, tried)


def _result(each: Property, tried: Tried) -> Result:
    return Result(
        name=each.name,
        title=each.title,
        needed=each.needed,
        verdict=tried.verdict,
        evidence=tried.evidence,
        meaning="" if tried.verdict is Verdict.PASS else each.meaning,
    )


async def _within(bench: Bench, each: Property) -> Tried:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return await each.attempt(bench)
    except TimeoutError:
        return unknown(f"no end within {_LIMIT_S:g} s")
    except Unprepared as error:
        return unknown(str(error))
    except ZoneDown as error:
        return unknown(f"a question was not answered: {error}")


async def _cleaned(bench: Bench, lock: Lock, labels: Sequence[str]) -> str:
    """Remove what was written; returns what is left and how to remove it, "" where nothing is."""
    try:
        async with asyncio.timeout(_CLEAN_LIMIT_S):
            wrong = await bench.clean(labels)
            if not wrong:
                reply = await lock.remove()
                wrong = "" if reply.applied or (reply.rcode == NXRRSET and not labels) else reply.text
    except TimeoutError:
        wrong = f"no end within {_CLEAN_LIMIT_S:g} s"
    return f"names below {bench.apex} may be left ({wrong}): run it again with --yes" if wrong else ""
