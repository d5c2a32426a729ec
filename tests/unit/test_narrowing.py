"""Finding the names that a server refuses: by halves, with few messages, and never by taking one name for the zone."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from enactord.backends.memory import MemoryServer, MemoryZone
from enactord.core.events import NarrowingPaused
from enactord.core.fence import Fence
from enactord.core.records import (
    NO_RECORDS,
    Change,
    Committed,
    Expect,
    Outcome,
    Reason,
    Records,
    Refused,
    Requirement,
    Served,
    Transaction,
    Unknown,
)
from enactord.engine.probing import Ground, Narrowing
from enactord.engine.settings import ZonePorts, ZoneSettings
from enactord.engine.write import Fate, FenceMoved, Written, ZoneDenied, ZoneWriter
from tests.world import Recorder

ZONE = "example.test."
FENCE = Fence(scope="test", generation=3, plan="3" * 16)
ONE = Records(ttl_s=5, a=(b"\x0a\0\0\1",), aaaa=())
TWO = Records(ttl_s=5, a=(b"\x0a\0\0\2",), aaaa=())
REFUSED = Refused(reason=Reason.DENIED, detail="REFUSED for key enactor: …", answer="REFUSED")
ANSWERS: dict[str, Refused | Unknown] = {
    "REFUSED": REFUSED,
    "NOTAUTH": Refused(reason=Reason.DENIED, detail="NOTAUTH …", answer="NOTAUTH, TSIG error BADKEY"),
    "FORMERR": Refused(reason=Reason.CONTENT, detail="FORMERR", answer="FORMERR"),
    "YXDOMAIN": Refused(reason=Reason.CONTENT, detail="YXDOMAIN", answer="YXDOMAIN"),
    "SERVFAIL": Unknown(detail="SERVFAIL", answered=True),
}


class Counting(MemoryZone):
    """Counts the messages, and refuses all updates of the key where told so."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.writes: list[Transaction] = []
        self.denied: Refused | None = None

    async def write(self, transaction: Transaction) -> Outcome:
        self.writes.append(transaction)
        await asyncio.sleep(0)
        return self.denied or await super().write(transaction)

    @property
    def probes(self) -> int:
        """Updates that change nothing and require nothing but the fence."""
        return sum(not sent.changes and not sent.requires for sent in self.writes)


class Site:
    """A zone with a writer, opened at `FENCE`."""

    def __init__(self, **settings: Any) -> None:
        self.server = MemoryServer(ZONE)
        self.server.put_fence(FENCE.seen)
        self.zone = Counting(self.server)
        self.recorder = Recorder()
        ports = ZonePorts(settings=ZoneSettings(name=ZONE, **settings), zone=self.zone, verifiers=[])
        self.writer = ZoneWriter(ports, self.recorder, random.Random(1))


def names(count: int) -> list[str]:
    return [f"n{number:04d}.{ZONE}" for number in range(count)]


def changes(names: Sequence[str], expect: Expect = Expect.NEW) -> list[Change]:
    return [Change(name=name, after=ONE, expect=expect) for name in names]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("bad", [[7], [0, 1, 49], list(range(50))], ids=["one", "three", "all"])
async def test_names_that_the_server_refuses_are_alone(answer: str, bad: list[int]) -> None:
    """Whatever its word for it, each other name of the batch is written, and the answer is quoted."""
    site = Site()
    batch = names(50)
    for number in bad:
        site.server.refuse(batch[number], ANSWERS[answer])
    fates = await site.writer.write(FENCE, changes(batch))
    refused = {batch[number] for number in bad}
    assert {name for name, written in fates.items() if written.fate is Fate.REJECTED} == refused
    assert {name for name, written in fates.items() if written.fate is Fate.COMMITTED} == set(batch) - refused
    word = {"NOTAUTH": "NOTAUTH, TSIG error BADKEY"}.get(answer, answer)
    assert all(f"the server answers {word} " in fates[name].detail for name in refused)
    assert set(site.server.names()) == set(batch) - refused


@pytest.mark.parametrize("bad", [1, 2, 5])
async def test_names_are_found_with_few_messages(bad: int) -> None:
    """Of a batch of n with k bad names, it takes O(k log n) messages, and one probe."""
    site = Site(batch_names_max=64)
    batch = names(64)
    for name in random.Random(bad).sample(batch, bad):
        site.server.refuse(name, REFUSED)
    await site.writer.write(FENCE, changes(batch))
    assert site.zone.probes == 1
    assert len(site.zone.writes) <= 2 + 2 * bad * 6  # the batch, the probe, and two for each halving


async def test_a_storm_of_refusals_shares_a_probe() -> None:
    """Twenty batches, each with a bad name, and all of them at once: the server is probed once."""
    site = Site(batch_names_max=10)
    batch = names(200)
    for name in batch[::10]:
        site.server.refuse(name, REFUSED)
    fates = await site.writer.write(FENCE, changes(batch))
    assert sum(written.fate is Fate.REJECTED for written in fates.values()) == 20
    assert site.zone.probes == 1


async def test_a_key_that_is_refused_is_the_zones_matter() -> None:
    """Where the server refuses an update of nothing, too, no name is at fault, and the answer says so."""
    site = Site()
    site.zone.denied = REFUSED
    with pytest.raises(ZoneDenied, match=r"REFUSED for key enactor.*changes nothing is refused, too"):
        await site.writer.write(FENCE, changes(names(50)))
    assert len(site.zone.writes) == 2
    with pytest.raises(ZoneDenied):
        await site.writer.write_once(FENCE, changes(names(50)))


async def test_a_server_that_says_nothing_to_a_probe_refuses_no_name() -> None:
    """Nothing is concluded from silence: the names stay open."""
    site = Site(in_flight_max=1)

    class Mute(Counting):
        async def write(self, transaction: Transaction) -> Outcome:
            await super().write(transaction)
            return REFUSED if transaction.changes else Unknown(detail="no answer")

    site.zone = Mute(site.server)
    ports = ZonePorts(settings=ZoneSettings(name=ZONE), zone=site.zone, verifiers=[])
    writer = ZoneWriter(ports, site.recorder, random.Random(1))
    writer.budget.tokens = 1.0
    fates = await writer.write(FENCE, changes(names(4)))
    assert {written.fate for written in fates.values()} == {Fate.UNRESOLVED}


async def test_a_refusal_behind_a_fence_that_moved_says_so() -> None:
    """The probe carries the fence: who is late is told that it is late, not that its names are bad."""
    site = Site()
    site.server.refuse(names(1)[0], REFUSED)

    class Moving(Counting):
        async def write(self, transaction: Transaction) -> Outcome:
            outcome = await super().write(transaction)
            self._server.put_fence(Fence(scope="test", generation=4, plan="4" * 16).seen)
            return outcome

    ports = ZonePorts(settings=ZoneSettings(name=ZONE), zone=Moving(site.server), verifiers=[])
    with pytest.raises(FenceMoved):
        await ZoneWriter(ports, site.recorder, random.Random(1)).write(FENCE, changes(names(4)))


async def test_names_beyond_the_limit_stay_open_and_it_is_said_once() -> None:
    """The next pass goes on: held names are left out there, so that each pass gets further."""
    site = Site(batch_names_max=8)
    batch = names(32)
    for name in batch:
        site.server.refuse(name, REFUSED)
    left, passes = batch, 0
    while left and passes < 9:
        before = len(site.zone.writes)
        fates = await site.writer.write(FENCE, changes(left), Narrowing(left=24))
        assert len(site.zone.writes) - before <= 24 + 1 + -(-len(left) // 8)
        assert {written.fate for written in fates.values()} <= {Fate.REJECTED, Fate.UNRESOLVED}
        left, passes = [name for name in left if fates[name].fate is Fate.UNRESOLVED], passes + 1
    assert 1 < passes < 9
    assert len(site.recorder.of(NarrowingPaused)) == passes - 1


async def test_a_name_below_a_cut_that_the_server_refuses_says_so() -> None:
    """Knot refuses what would stand below a DNAME: the name is covered, whatever the word."""
    site = Site()
    name = f"api.sub.{ZONE}"
    site.server.put_cut(f"sub.{ZONE}", "DNAME")
    site.server.refuse(name, REFUSED)
    fates = await site.writer.write(FENCE, changes([name, *names(3)]))
    assert fates[name].fate is Fate.CONFLICT
    assert fates[name].cut == f"DNAME sub.{ZONE}"
    assert all(fates[other].fate is Fate.COMMITTED for other in names(3))


async def test_a_wildcards_records_are_not_said_to_be_the_names_own() -> None:
    """What a refused name holds is told from what a wildcard answers for it."""
    site = Site()
    name = names(1)[0]
    site.server.put_foreign(f"*.{ZONE}", records=TWO)
    site.server.put_foreign(name, records=ONE._replace(a=(b"\x0a\0\0\x63",)))
    fates = await site.writer.write(FENCE, changes([name]))
    assert fates[name] == Written(fate=Fate.CONFLICT, detail="the zone holds 10.0.0.99")


# Probes


async def test_ground_is_what_an_update_of_nothing_meets() -> None:
    """Fine, moved, denied and silent are told apart; the zone is as before."""
    for denied, fence, expected in (
        (None, FENCE, Ground.FINE),
        (None, Fence(scope="test", generation=2, plan="2" * 16), Ground.MOVED),
        (REFUSED, FENCE, Ground.DENIED),
        (Refused(reason=Reason.BUSY, detail="down"), FENCE, Ground.SILENT),
    ):
        site = Site()
        site.zone.denied = denied
        assert (await site.writer.prober.ground(fence)).ground is expected
        assert site.server.names() == ()


@pytest.mark.parametrize("wrong", [[], [3], [0, 1, 2, 30], list(range(40))])
async def test_what_names_hold_is_told_by_halves(wrong: list[int]) -> None:
    """Each name is told, and none without a probe that it was in."""
    site = Site()
    required = []
    for number, name in enumerate(names(40)):
        site.server.put_foreign(name, records=ONE)
        required.append(Requirement(name=name, records=TWO if number in wrong else ONE))
    held = await site.writer.prober.holding(FENCE, required)
    assert held == {name: number not in wrong for number, name in enumerate(names(40))}


async def test_what_names_hold_is_not_known_under_another_fence() -> None:
    """A refusal that the fence brought about says nothing of a name."""
    site = Site()
    other = Fence(scope="test", generation=2, plan="2" * 16)
    assert await site.writer.prober.holding(other, [Requirement(name=names(1)[0], records=ONE)]) == {}


@pytest.mark.parametrize("alias", [None, "elsewhere.test."])
async def test_an_answer_of_a_wildcard_is_told_from_a_names_own(alias: str | None) -> None:
    """Also where both say the same; the wildcard itself is a name like any other."""
    site = Site()
    star, bare, own, other = f"*.{ZONE}", *names(3)
    there = NO_RECORDS if alias else TWO
    site.server.put_foreign(star, records=there, cname=alias)
    site.server.put_foreign(own, records=there, cname=alias)
    site.server.put_foreign(other, records=ONE)
    served = await site.zone.read([star, bare, own, other])
    assert served[bare] == served[own] == served[star]
    told = await site.writer.prober.own(FENCE, served)
    assert told == dict(served) | {bare: Served(records=NO_RECORDS)}
    assert await site.zone.write(Transaction(fence_seen=FENCE.seen)) == Committed()
