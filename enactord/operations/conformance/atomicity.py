"""Trials of whole messages: one winner of a race, all or nothing, and what is acknowledged is there."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from enactord.operations.conformance.bench import NOERROR, NOTZONE, YXRRSET, Bench, Reply
from enactord.operations.conformance.prerequisites import ONE, SIX, TWO
from enactord.operations.conformance.verdict import Property, Tried, failed, passed, unknown
from enactord.wire.answer import TYPE_A, TYPE_AAAA, TYPE_TXT
from enactord.wire.plain_update import Record, absent, add, delete, exactly, text

WRITERS = 50
_CONNECTIONS = 10
_ROUNDS = 4
_OUTSIDE = "conformance.invalid."


async def _acknowledged(bench: Bench) -> Tried:
    name = bench.name("plain")
    for turn, rdata in enumerate((ONE, TWO, ONE)):
        reply = await bench.send([delete(name, TYPE_A), add(name, TYPE_A, rdata)])
        if reply.rcode == NOERROR and not reply.signed:
            return failed(f"the answer NOERROR is not signed by the key: {reply.detail}")
        if not reply.applied:
            return unknown(f"a plain signed update is not taken ({reply.text}): let the key update {bench.apex}")
        if not await bench.reads(name, TYPE_A, [rdata]):
            return failed(f"update {turn + 1} was acknowledged, and is not read within some seconds")
    return passed("3 of 3 updates were acknowledged, signed, and read")


async def _key(bench: Bench) -> Tried:
    name = bench.name("key")
    wrong = replace(bench.key, secret=bytes(byte ^ 0xFF for byte in bench.key.secret))
    nobody = replace(bench.key, name="nobody.enactord-conformance.")
    update = [add(name, TYPE_A, ONE)]
    replies = {
        "no signature": await bench.send(update, signed=False),
        "another secret": await bench.send(update, key=wrong),
        "an unknown key": await bench.send(update, key=nobody),
    }
    for what, reply in replies.items():
        if reply.rcode == NOERROR:
            return failed(f"an update with {what} was answered NOERROR")
    if not await bench.has_settled():
        return unknown("a write after the updates without the key is not read, so nothing shows their end")
    if not await bench.reads(name, TYPE_A, []):
        return failed("an update without the key was not acknowledged, and applied all the same")
    silent = [what for what, reply in replies.items() if reply.rcode is None]
    if silent:
        return unknown(f"an update with {silent[0]}: {replies[silent[0]].text}")
    return passed("; ".join(f"{what}: {reply.text.partition(',')[0]}" for what, reply in replies.items()))


async def _race(bench: Bench) -> Tried:
    name = bench.name("race")
    streams = [bench.stream(WRITERS // _CONNECTIONS) for _ in range(_CONNECTIONS)]
    current = text("round 0")
    await bench.prepare(delete(name, TYPE_TXT), add(name, TYPE_TXT, current))
    lost = 0
    for turn in range(1, _ROUNDS + 1):
        own = [text(f"round {turn} writer {writer}") for writer in range(WRITERS)]
        when = exactly(name, TYPE_TXT, [current])
        replies = await asyncio.gather(
            *(
                bench.send([delete(name, TYPE_TXT), add(name, TYPE_TXT, rdata)], when=when, stream=stream)
                for rdata, stream in zip(own, streams * (WRITERS // _CONNECTIONS), strict=True)
            )
        )
        winners = [rdata for rdata, reply in zip(own, replies, strict=True) if reply.rcode == NOERROR]
        silent = sum(reply.rcode is None for reply in replies)
        lost += silent
        if len(winners) > 1:
            return failed(
                f"round {turn}: {len(winners)} of {WRITERS} writers that required the same TXT were let through"
            )
        if not winners:
            return unknown(f"round {turn}: no writer was let through, {silent} had no answer")
        current = winners[0]
        if not silent and not await bench.reads(name, TYPE_TXT, [current]):
            return failed(f"round {turn}: the TXT is not that of the one writer that was let through")
    if lost:
        return unknown(f"one winner in each of {_ROUNDS} rounds, but {lost} writers had no answer")
    return passed(f"one of {WRITERS} writers won, in each of {_ROUNDS} rounds over {_CONNECTIONS} connections")


async def _atomic(bench: Bench) -> Tried:
    taken, *names = (bench.name(f"half-{number}") for number in range(6))
    await bench.prepare(delete(taken, TYPE_A), add(taken, TYPE_A, TWO))
    batch = [*names, taken]
    refused = await bench.send(
        [add(name, TYPE_A, ONE) for name in batch], when=[absent(name, TYPE_A) for name in batch]
    )
    if refused.rcode is None:
        return unknown(f"six names, one of them taken: {refused.text}")
    if refused.rcode != YXRRSET:
        return failed(f"six names, one of them taken: {refused.text}, and should be YXRRSET")
    end = await _untouched(bench, refused, names)
    if end is not None:
        return end
    names = [bench.name(f"part-{number}") for number in range(5)]
    adds = [add(name, TYPE_A, ONE) for name in names]
    outside = await bench.send([*adds[:3], add(_OUTSIDE, TYPE_A, ONE), *adds[3:]])
    if outside.rcode is None:
        return unknown(f"six names, one of them outside the zone: {outside.text}")
    if outside.rcode == NOERROR:
        return passed("a prerequisite that fails stops the message whole; no other refusal could be brought about")
    end = await _untouched(bench, outside, names)
    if end is not None:
        return end
    return passed(f"two refused messages of six names changed nothing (YXRRSET, {outside.text.partition(',')[0]})")


async def _untouched(bench: Bench, refused: Reply, names: Sequence[str]) -> Tried | None:
    """Look at names of a refused message, which did not exist before; None where they still do not."""
    if not await bench.has_settled():
        return unknown(
            f"a message was refused ({refused.text}); a write after it is not read, so nothing shows its end"
        )
    for name in names:
        if not await bench.reads(name, TYPE_A, []):
            return failed(f"a message was refused ({refused.text}), and part of it was applied")
    return None


async def _outside(bench: Bench) -> Tried:
    reply = await bench.send([add(_OUTSIDE, TYPE_A, ONE), add(bench.name("inside"), TYPE_A, ONE)])
    if reply.rcode == NOTZONE:
        return passed("a name outside the zone is answered NOTZONE")
    if reply.rcode is None:
        return unknown(f"a name outside the zone: {reply.text}")
    if reply.rcode == NOERROR:
        return failed("a name outside the zone is acknowledged, and dropped in silence")
    return passed(f"a name outside the zone is refused: {reply.text}")


async def _total(bench: Bench) -> Tried:
    name = bench.name("total")
    clear = [delete(name, TYPE_A), delete(name, TYPE_AAAA)]
    steps: Sequence[tuple[str, list[Record], list[bytes], list[bytes]]] = (
        ("a removal of what is not there", clear, [], []),
        ("an A where nothing is", [*clear, add(name, TYPE_A, ONE)], [ONE], []),
        ("the same once more", [*clear, add(name, TYPE_A, ONE)], [ONE], []),
        ("AAAA in place of A", [*clear, add(name, TYPE_AAAA, SIX)], [], [SIX]),
        ("A and AAAA in place of AAAA", [*clear, add(name, TYPE_A, TWO), add(name, TYPE_AAAA, SIX)], [TWO], [SIX]),
        ("a removal of both", clear, [], []),
    )
    for what, updates, a, aaaa in steps:
        reply = await bench.send(updates)
        if reply.rcode is None:
            return unknown(f"{what}: {reply.text}")
        if not reply.applied:
            return failed(f"{what}: {reply.text}")
        if not (await bench.reads(name, TYPE_A, a) and await bench.reads(name, TYPE_AAAA, aaaa)):
            return failed(f"{what}: acknowledged, and other records are read")
    return passed(f"{len(steps)} of {len(steps)} writes over any state of a name were carried out")


PROPERTIES = (
    Property(
        name="acknowledged",
        title="what is acknowledged is there",
        needed=True,
        meaning="Nothing that the server says of a write can be believed.",
        labels=("plain",),
        attempt=_acknowledged,
    ),
    Property(
        name="key",
        title="nobody writes without the key",
        needed=True,
        meaning="Anybody can write past the fence.",
        labels=("key",),
        attempt=_key,
        rests_on=("acknowledged",),
    ),
    Property(
        name="race",
        title=f"one winner of {WRITERS} racing writers",
        needed=True,
        meaning="Two plans can both be let through: the server compares and writes in two steps.",
        labels=("race",),
        attempt=_race,
        rests_on=("exact",),
    ),
    Property(
        name="atomic",
        title="a refused message changes nothing",
        needed=True,
        meaning="Names of a refused batch may be half written, and the ledger does not know.",
        labels=(*(f"half-{number}" for number in range(6)), *(f"part-{number}" for number in range(5))),
        attempt=_atomic,
        rests_on=("absent",),
    ),
    Property(
        name="outside",
        title="a name outside the zone is refused",
        needed=False,
        meaning="A mistake of configuration is not told; enactord itself never sends such a name.",
        labels=("inside",),
        attempt=_outside,
        rests_on=("acknowledged",),
    ),
    Property(
        name="total",
        title="a write works over any state of a name",
        needed=True,
        meaning="A name that was emptied or changed by somebody else cannot be put back.",
        labels=("total",),
        attempt=_total,
        rests_on=("acknowledged",),
    ),
)
