"""Trials of service: sizes, many messages at once, TTLs, signed errors, and reads after writes."""

import asyncio

from enactord.core.records import Change, Records
from enactord.operations.conformance.bench import NOERROR, Bench, rcode_text
from enactord.operations.conformance.prerequisites import ONE, TWO
from enactord.operations.conformance.verdict import Property, Tried, failed, passed, unknown
from enactord.wire.answer import RCODE_NOERROR, TYPE_A, TYPE_TXT
from enactord.wire.connections import UPDATES_IN_FLIGHT_MAX
from enactord.wire.plain_update import absent, add, delete, exactly, pack_plain, text
from enactord.wire.update import pack_after

_SIZE_NAMES = 28
_SIZE_ADDRESSES = 50
"""Of each family, at each name: so many names fill a message of TCP to nine tenths."""
_SIZE_TIMEOUT_S = 30.0
_PIPELINED_TIMEOUTS = 4
"""Of one message: a server may carry them out one after the other."""
_TTLS_S = (0, 1, 5, 60, 3600, 86_400, 604_800)
_READS = 20
_LATE_ENOUGH = 3
"""So many late reads are proof."""
_LATE_MAX_S = 5.0
_LATE_AGAIN_S = 0.02


async def _size(bench: Bench) -> Tried:
    addresses = Records(
        ttl_s=60,
        a=tuple(bytes((10, 0, 0, number)) for number in range(_SIZE_ADDRESSES)),
        aaaa=tuple(bytes((0x20, 1, 0xD, 0xB8, *bytes(11), number)) for number in range(_SIZE_ADDRESSES)),
    )
    ends: list[str] = []
    names = _SIZE_NAMES
    while names:
        changes = [Change(name=bench.name(f"size-{number:02}"), after=addresses) for number in range(names)]
        body = pack_after(([], [], (0, 0)), bench.zone, changes, 0)[2:]
        told = f"{len(body) + 2:,} bytes with {names * 2 * _SIZE_ADDRESSES:,} records"
        reply = await bench.send_packed(body, timeout_s=_SIZE_TIMEOUT_S)
        if reply.applied:
            whole = await bench.reads(changes[-1].name, TYPE_A, addresses.a)
            if not whole:
                return failed(f"a message of {told} was acknowledged, and its last name is not read")
            if not ends:
                return passed(f"a message of {told} was taken")
            return failed(f"the largest message that was taken: {told}; before it {'; '.join(ends)}")
        ends.append(f"{told}: {reply.text}")
        names //= 2
    return failed("; ".join(ends))


async def _pipelined(bench: Bench) -> Tried:
    count = UPDATES_IN_FLIGHT_MAX
    stream = bench.stream(count)
    names = [bench.name(f"pipe-{number:02}") for number in range(count)]
    bodies = [pack_plain(bench.zone, [], [delete(name, TYPE_A), add(name, TYPE_A, ONE)]) for name in names]
    limit_s = _PIPELINED_TIMEOUTS * bench.timeout_s
    replies = await asyncio.gather(*(bench.send_packed(body, stream=stream, timeout_s=limit_s) for body in bodies))
    applied = [name for name, reply in zip(names, replies, strict=True) if reply.applied]
    if len(applied) < count:
        other = next(reply.text for reply in replies if not reply.applied)
        return failed(f"of {count} updates at once on a connection {len(applied)} were acknowledged; else {other}")
    for name in applied:
        if not await bench.reads(name, TYPE_A, [ONE]):
            return failed(f"{count} updates at once were acknowledged, and {name} is not read")
    return passed(f"{count} of {count} updates at once on one connection were acknowledged, and read")


async def _ttl(bench: Bench) -> Tried:
    name = bench.name("ttl")
    for ttl_s in _TTLS_S:
        reply = await bench.send([delete(name, TYPE_A), add(name, TYPE_A, ONE, ttl_s)])
        if reply.rcode is None:
            return unknown(f"a TTL of {ttl_s} s: {reply.text}")
        if not reply.applied:
            return failed(f"a TTL of {ttl_s} s is not taken: {reply.text}")
        if not await bench.shows(name, TYPE_A, lambda answer, ttl_s=ttl_s: answer.ttl_s == ttl_s and answer.rdatas):  # type: ignore[misc]
            read = (await bench.ask(name, TYPE_A)).ttl_s
            return failed(f"a TTL of {ttl_s} s was written, and {read} s is read")
    return passed(f"TTLs from {_TTLS_S[0]} to {_TTLS_S[-1]:,} s are read as they were written, changed alone, too")


async def _signed_errors(bench: Bench) -> Tried:
    name = bench.name("error")
    await bench.prepare(delete(name, TYPE_A), add(name, TYPE_A, ONE))
    replies = (
        await bench.send([], when=[absent(name, TYPE_A)]),
        await bench.send([], when=exactly(name, TYPE_TXT, [text("not here")])),
        await bench.send([add("conformance.invalid.", TYPE_A, ONE)]),
    )
    errors = [reply for reply in replies if reply.rcode]
    unsigned = sorted({rcode_text(reply.rcode or 0) for reply in errors if not reply.signed})
    if unsigned:
        return failed(f"not signed: {', '.join(unsigned)}")
    if not errors:
        return unknown(f"no update was refused: {', '.join(reply.text for reply in replies)}")
    return passed(f"{len(errors)} error answers to signed updates are signed")


async def _reads(bench: Bench) -> Tried:
    name = bench.name("reads")
    loop = asyncio.get_running_loop()
    late_s: list[float] = []
    done = 0
    while done < _READS and len(late_s) < _LATE_ENOUGH:
        await bench.ask(name, TYPE_A)  # so that a cache has something to forget
        wanted = (ONE, TWO)[done % 2]
        reply = await bench.send([delete(name, TYPE_A), add(name, TYPE_A, wanted)])
        if reply.rcode is None:
            return unknown(f"a plain update: {reply.text}")
        if reply.rcode != NOERROR:
            return failed(f"a plain update is not taken: {reply.text}")
        done += 1
        acknowledged = loop.time()
        if (await bench.ask(name, TYPE_A)).rdatas == (wanted,):
            continue
        while (await bench.ask(name, TYPE_A)).rdatas != (wanted,):
            if loop.time() - acknowledged > _LATE_MAX_S:
                return failed(f"an acknowledged write is not read within {_LATE_MAX_S:g} s")
            await asyncio.sleep(_LATE_AGAIN_S)
        late_s.append(loop.time() - acknowledged)
    if late_s:
        lag = f"for up to {max(late_s) * 1000:.0f} ms"
        return failed(f"{len(late_s)} of {done} reads after a write showed what was before, {lag}")
    return passed(f"{done} of {done} reads right after the acknowledgement showed the write")


async def _below(bench: Bench) -> Tried:
    name = bench.name("above")
    reply = await bench.send([add(bench.name("deep.above"), TYPE_A, ONE)])
    if not reply.applied:
        return unknown(f"a name below it could not be written: {reply.text}")
    answer = await bench.ask(name, TYPE_A)
    if answer.rcode != RCODE_NOERROR or answer.rdatas or answer.alias is not None:
        return failed(f"a name that only has names below it is answered {rcode_text(answer.rcode)}, and not empty")
    return passed("a name that only has names below it is answered NOERROR, empty")


PROPERTIES = (
    Property(
        name="size",
        title="large messages",
        needed=False,
        meaning="Set batch_names_max so that a batch is smaller: a refused one is halved, which takes time.",
        labels=tuple(f"size-{number:02}" for number in range(_SIZE_NAMES)),
        attempt=_size,
        rests_on=("acknowledged",),
    ),
    Property(
        name="pipelined",
        title=f"{UPDATES_IN_FLIGHT_MAX} updates at once on a connection",
        needed=False,
        meaning="Set in_flight_max = 1: a write without an answer is read back before it is written again.",
        labels=tuple(f"pipe-{number:02}" for number in range(UPDATES_IN_FLIGHT_MAX)),
        attempt=_pipelined,
        rests_on=("acknowledged",),
    ),
    Property(
        name="ttl",
        title="TTLs are kept as they are written",
        needed=False,
        meaning="A name with another TTL than that of its plan counts as drifted, and is repaired again and again:"
        " let guard.ttl_min_s and ttl_max_s be what the server keeps.",
        labels=("ttl",),
        attempt=_ttl,
        rests_on=("acknowledged",),
    ),
    Property(
        name="signed-errors",
        title="error answers are signed",
        needed=False,
        meaning="Somebody on the way can make writes fail, and slow a plan down; he cannot make any land.",
        labels=("error",),
        attempt=_signed_errors,
        rests_on=("absent",),
    ),
    Property(
        name="reads",
        title="reads follow writes at once",
        needed=False,
        meaning="Each write is asked for again until it is read (verify_timeout_s); the fence does not need it.",
        labels=("reads",),
        attempt=_reads,
        rests_on=("acknowledged",),
    ),
    Property(
        name="non-terminal",
        title="names that only have names below them",
        needed=False,
        meaning="Clients of a name above an endpoint are told that nothing exists there.",
        labels=("deep.above",),
        attempt=_below,
        rests_on=("acknowledged",),
    ),
)
