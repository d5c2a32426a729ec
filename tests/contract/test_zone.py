"""What every `Zone` does: one suite over the double in memory and real servers."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence

import dns.asyncquery
import dns.message
import dns.name
import dns.rcode
import dns.update
import pytest

from enactord.backends.readers.aiodns import AiodnsReader
from enactord.backends.readers.bulk import BulkReader
from enactord.core.errors import ZoneDown
from enactord.core.fence import NO_PLAN, Fence, FenceSeen, parse_fence
from enactord.core.names import fence_name
from enactord.core.records import (
    NO_RECORDS,
    Change,
    Committed,
    Expect,
    Reason,
    Records,
    Refused,
    Requirement,
    Served,
    Transaction,
    Unknown,
)
from enactord.ports import ServedReader, ZoneBackend
from tests.contract.sites.base import DnsSite, FixedClock, Site, is_powerdns
from tests.servers.choosy import FORBIDDEN, OK

A1, A2, A3 = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)), bytes((192, 0, 2, 3))
AAAA1 = bytes.fromhex("20010db8000000000000000000000001")
AAAA2 = bytes.fromhex("20010db8000000000000000000000002")
ONE = Records(ttl_s=30, a=(A1,), aaaa=())
TWO = Records(ttl_s=60, a=(A2, A3), aaaa=())
BOTH = Records(ttl_s=20, a=(A1, A2), aaaa=(AAAA1, AAAA2))
SIX = Records(ttl_s=30, a=(), aaaa=(AAAA1,))


def fence(generation: int) -> Fence:
    return Fence(scope="us-east-1", generation=generation, plan=f"{generation:016x}")


async def opened(site: Site, generation: int = 1) -> ZoneBackend:
    """A client of a zone in which the generation is open."""
    zone = site.client()
    seen = await zone.read_fence()
    assert await zone.write(Transaction(fence_seen=seen, fence_after=fence(generation))) == Committed()
    return zone


def put(*changes: Change, generation: int = 1) -> Transaction:
    return Transaction(fence_seen=fence(generation).seen, changes=sorted(changes, key=lambda change: change.name))


def is_condition(outcome: object) -> bool:
    return isinstance(outcome, Refused) and outcome.reason is Reason.CONDITION


async def answers(zone: ZoneBackend, names: Sequence[str]) -> Mapping[str, Served]:
    """Return what is served for each name; one whose question failed, as just after a start, is asked for again."""
    served: dict[str, Served] = {}
    async with asyncio.timeout(30.0):
        while left := [name for name in names if name not in served]:
            served |= await zone.read(left)
    return served


async def records(zone: ZoneBackend, *names: str) -> list[Records]:
    served = await zone.read(names)
    return [served[name].records for name in names]


# The fence


async def test_fence_of_a_new_zone_is_absent(site: Site) -> None:
    """A zone that enactord never opened shows no fence."""
    assert await site.client().read_fence() == ()


@pytest.mark.parametrize(
    "there",
    [
        [],
        [["v=spf1 -all"]],
        [["v=enactord1 scope=us-east-1 gen=one"]],
        [["long " * 50]],
        [[""]],
    ],
    ids=["absent", "other text", "no number", "long", "empty"],
)
async def test_fence_opens_from_any_state(site: Site, there: list[list[str]]) -> None:
    """Whatever stands where the fence belongs, reading it and replacing exactly that opens the zone."""
    await _open_over(site, there)


@pytest.mark.parametrize(
    "there",
    [[["two"], ["records"]], [["v=enactord1 scope=us-east-1", " gen=7 plan=0000000000000000"]]],
    ids=["several", "several strings"],
)
async def test_fence_opens_over_any_records(record_site: Site, there: list[list[str]]) -> None:
    """Nor do several records or strings at the fence's name keep anybody out."""
    await _open_over(record_site, there)


async def _open_over(site: Site, there: list[list[str]]) -> None:
    await site.put_fence(there)
    zone = site.client()
    seen = await zone.read_fence()
    assert len(seen) == len(there)
    assert await zone.write(Transaction(fence_seen=seen, fence_after=fence(9))) == Committed()
    assert await zone.read_fence() == fence(9).seen


async def test_fence_opens_beside_a_wildcard_txt(dns_site: DnsSite) -> None:
    """A wildcard TXT answers for a fence that is not there; the zone opens all the same."""
    await dns_site.put_wildcard_txt("v=spf1 -all")
    zone = dns_site.client()
    assert await zone.read_fence() == ()
    assert await zone.write(Transaction(fence_seen=(), fence_after=fence(1))) == Committed()
    assert await zone.read_fence() == fence(1).seen


async def test_fence_opens_beside_a_wildcard_cname(cut_site: Site) -> None:
    """So does a wildcard CNAME, which stands in no fence's way."""
    await cut_site.put_foreign(f"*.{cut_site.zone}", cname="elsewhere.test.")
    zone = await opened(cut_site)
    assert await zone.read_fence() == fence(1).seen


async def test_fence_does_not_open_beside_a_cname(record_site: Site) -> None:
    """Servers drop a TXT beside a CNAME in silence, so the open is refused, not half done."""
    await record_site.put_foreign(fence_name(record_site.zone), cname="elsewhere.test.")
    zone = record_site.client()
    with pytest.raises(ZoneDown, match="CNAME"):
        await zone.read_fence()
    assert is_condition(await zone.write(Transaction(fence_seen=(), fence_after=fence(1))))


async def test_fence_that_an_operator_holds_is_read_as_written(site: Site) -> None:
    """Whatever an operator's reason holds, quotes and backslashes too, it is compared as it stands."""
    zone = site.client()
    held = Fence(scope="us-east-1", generation=3, plan=NO_PLAN, hold='Ann: "stop" \\o/ it\'s 100% $1; (#4711) \\065 ~')
    assert await zone.write(Transaction(fence_seen=(), fence_after=held)) == Committed()
    assert await zone.read_fence() == held.seen
    assert parse_fence(held.seen) == held
    assert is_condition(await zone.write(Transaction(fence_seen=fence(3).seen, fence_after=fence(4))))
    assert await zone.write(Transaction(fence_seen=held.seen, fence_after=fence(4))) == Committed()
    assert await zone.read_fence() == fence(4).seen


async def test_fence_that_moved_refuses_an_open(site: Site) -> None:
    """An open that requires an older fence, or none, changes nothing."""
    zone = await opened(site, 5)
    seen: FenceSeen
    for seen in ((), fence(4).seen, (*fence(5).seen, b"\1x")):
        assert is_condition(await zone.write(Transaction(fence_seen=seen, fence_after=fence(6))))
    assert await zone.read_fence() == fence(5).seen


async def test_fence_that_is_absent_refuses_a_write(site: Site) -> None:
    """A zone that lost its fence takes no write that relies on one: it is opened again first."""
    name = f"www.{site.zone}"
    zone = site.client()
    assert is_condition(await zone.write(put(Change(name=name, after=ONE))))
    assert await records(zone, name) == [NO_RECORDS]


async def test_fence_has_one_winner_a_generation(site: Site) -> None:
    """Of 20 writers that race to replace what they all read, one does, generation after generation."""
    zones = [site.client() for _ in range(20)]
    for generation in (1, 2, 3):
        seen = {await zone.read_fence() for zone in zones}
        assert len(seen) == 1
        own = [Fence(scope="us-east-1", generation=generation, plan=f"{k:016x}") for k in range(20)]
        outcomes = await asyncio.gather(
            *(
                zone.write(Transaction(fence_seen=next(iter(seen)), fence_after=mine))
                for zone, mine in zip(zones, own, strict=True)
            )
        )
        winners = [k for k, outcome in enumerate(outcomes) if outcome == Committed()]
        assert len(winners) == 1
        assert all(is_condition(outcome) for k, outcome in enumerate(outcomes) if k != winners[0])
        assert await zones[0].read_fence() == own[winners[0]].seen


# Writes


async def test_write_at_the_fence_commits(site: Site) -> None:
    """Content, A and AAAA alike, is served as written, TTL included."""
    zone = await opened(site)
    one, both, six = (f"{label}.{site.zone}" for label in ("a-one", "b-both", "c-six"))
    changes = (Change(name=one, after=ONE), Change(name=both, after=BOTH), Change(name=six, after=SIX))
    assert await zone.write(put(*changes)) == Committed()
    assert await records(zone, one, both, six) == [ONE, BOTH, SIX]


async def test_write_at_the_zone_name_commits(site: Site) -> None:
    """The zone's own name is one like any other."""
    zone = await opened(site)
    www = f"www.{site.zone}"
    assert await zone.write(put(Change(name=site.zone, after=ONE), Change(name=www, after=TWO))) == Committed()
    assert await records(zone, site.zone, www) == [ONE, TWO]
    assert await zone.read_fence() == fence(1).seen


async def test_write_at_a_wildcard_commits(record_site: Site) -> None:
    """So is a wildcard."""
    zone = await opened(record_site)
    star = f"*.svc.{record_site.zone}"
    assert await zone.write(put(Change(name=star, after=TWO))) == Committed()
    assert await records(zone, star) == [TWO]


async def test_write_beside_a_name_below_touches_neither(site: Site) -> None:
    """A name and one below it have records of their own, whichever is written or removed."""
    zone = await opened(site)
    upper, lower, other = f"svc.{site.zone}", f"0.svc.{site.zone}", f"svc-0.{site.zone}"
    changes = (Change(name=lower, after=ONE), Change(name=upper, after=TWO), Change(name=other, after=SIX))
    for change in changes:
        assert await zone.write(put(change._replace(expect=Expect.NEW))) == Committed()
    assert await records(zone, upper, lower, other) == [TWO, ONE, SIX]
    assert await zone.write(put(Change(name=upper, after=BOTH))) == Committed()
    assert await records(zone, upper, lower, other) == [BOTH, ONE, SIX]
    assert await zone.write(put(Change(name=upper, after=NO_RECORDS))) == Committed()
    assert await records(zone, upper, lower, other) == [NO_RECORDS, ONE, SIX]


async def test_write_below_the_fence_changes_nothing(site: Site) -> None:
    """A writer that slept through a newer open is refused, whatever it carries."""
    zone = await opened(site, 1)
    name = f"www.{site.zone}"
    assert await zone.write(put(Change(name=name, after=ONE))) == Committed()
    assert await zone.write(Transaction(fence_seen=fence(1).seen, fence_after=fence(2))) == Committed()
    assert is_condition(await zone.write(put(Change(name=name, after=TWO), generation=1)))
    assert is_condition(await zone.write(put(Change(name=name, after=NO_RECORDS), generation=1)))
    assert await records(zone, name) == [ONE]
    assert await zone.read_fence() == fence(2).seen


async def test_write_replaces_both_rrsets(site: Site) -> None:
    """A write is total: an AAAA that the new content lacks is gone."""
    zone = await opened(site)
    name = f"www.{site.zone}"
    for content in (BOTH, ONE, SIX, BOTH, TWO):
        assert await zone.write(put(Change(name=name, after=content))) == Committed()
        assert await records(zone, name) == [content]


async def test_write_sent_twice_commits_twice(site: Site) -> None:
    """An update of owned names may be sent again and changes nothing more; an open may not."""
    zone = await opened(site)
    name = f"www.{site.zone}"
    for _ in range(2):
        assert await zone.write(put(Change(name=name, after=BOTH))) == Committed()
    assert await records(zone, name) == [BOTH]
    again = Transaction(fence_seen=(), fence_after=fence(1))
    assert is_condition(await zone.write(again))


@pytest.mark.parametrize("size", [1, 25, 100])
async def test_write_of_many_names_is_one_transaction(site: Site, size: int) -> None:
    """All names of a batch are served after it."""
    zone = await opened(site)
    each = min(8, site.records_max // size)
    after = {
        f"n{k:03}.{site.zone}": Records(ttl_s=k + 1, a=tuple(bytes((10, 0, k, j)) for j in range(each)), aaaa=())
        for k in range(size)
    }
    assert await zone.write(put(*(Change(name=name, after=one) for name, one in after.items()))) == Committed()
    served = await zone.read(list(after))
    assert {name: one.records for name, one in served.items()} == after


async def test_write_with_a_ttl_of_zero_commits(record_site: Site) -> None:
    """A TTL of 0 is one like any other."""
    zone = await opened(record_site)
    name = f"www.{record_site.zone}"
    uncached = BOTH._replace(ttl_s=0)
    assert await zone.write(put(Change(name=name, after=uncached))) == Committed()
    assert await records(zone, name) == [uncached]


async def test_write_with_a_new_fence_carries_content_too(site: Site) -> None:
    """One transaction may open and write."""
    zone = site.client()
    name = f"www.{site.zone}"
    transaction = Transaction(fence_seen=(), fence_after=fence(1), changes=[Change(name=name, after=ONE)])
    assert await zone.write(transaction) == Committed()
    assert await records(zone, name) == [ONE]
    assert await zone.read_fence() == fence(1).seen


@pytest.mark.parametrize("taken", [ONE, SIX, "cname"], ids=["A", "AAAA", "CNAME"])
async def test_write_of_a_new_name_leaves_what_is_there(site: Site, taken: Records | str) -> None:
    """A name that the ledger does not own is never taken over, and the batch is refused whole."""
    zone = await opened(site)
    taken_name, free = f"taken.{site.zone}", f"free.{site.zone}"
    if isinstance(taken, str):
        await site.put_foreign(taken_name, cname="elsewhere.test.")
    else:
        await site.put_foreign(taken_name, records=taken)
    before = await zone.read([taken_name])
    batch = put(*(Change(name=name, after=TWO, expect=Expect.NEW) for name in (free, taken_name)))
    assert is_condition(await zone.write(batch))
    assert await zone.read([taken_name]) == before
    assert await records(zone, free) == [NO_RECORDS]


async def test_write_of_a_new_name_commits_where_nothing_is(site: Site) -> None:
    """A free name is taken once."""
    zone = await opened(site)
    change = Change(name=f"free.{site.zone}", after=BOTH, expect=Expect.NEW)
    assert await zone.write(put(change)) == Committed()
    assert await records(zone, change.name) == [BOTH]
    assert is_condition(await zone.write(put(change)))


async def test_write_beside_a_cname_refuses_the_batch(site: Site) -> None:
    """Servers drop an A beside a CNAME in silence and accept the rest: the prerequisite refuses it all."""
    zone = await opened(site)
    first, second, third = (f"{label}.{site.zone}" for label in "abc")
    assert await zone.write(put(*(Change(name=name, after=ONE) for name in (first, second, third)))) == Committed()
    await site.put_foreign(second, cname="elsewhere.test.")
    assert is_condition(await zone.write(put(*(Change(name=name, after=TWO) for name in (first, second, third)))))
    served = await zone.read([first, second, third])
    assert [served[name].records for name in (first, third)] == [ONE, ONE]
    assert served[second] == Served(records=NO_RECORDS, alias="elsewhere.test.")


@pytest.mark.parametrize("there", [ONE, SIX, BOTH, NO_RECORDS], ids=["A", "AAAA", "both", "nothing"])
@pytest.mark.parametrize("expected", [ONE, SIX, BOTH, NO_RECORDS], ids=["A", "AAAA", "both", "nothing"])
async def test_write_expecting_exactly_commits_only_on_that(site: Site, there: Records, expected: Records) -> None:
    """A repair writes over what was read and over nothing else; the TTL does not count."""
    zone = await opened(site)
    name = f"www.{site.zone}"
    if not there.empty:
        await site.put_foreign(name, records=there)
    before = expected if expected.empty else Records(ttl_s=7, a=expected.a, aaaa=expected.aaaa)
    outcome = await zone.write(put(Change(name=name, after=TWO, expect=Expect.EXACT, before=before)))
    if there is expected:
        assert outcome == Committed()
        assert await records(zone, name) == [TWO]
    else:
        assert is_condition(outcome)
        assert await records(zone, name) == [there]


async def test_write_expecting_exactly_minds_each_address(site: Site) -> None:
    """A subset or a superset of what is there is not what is there."""
    zone = await opened(site)
    name = f"www.{site.zone}"
    await site.put_foreign(name, records=Records(ttl_s=30, a=(A1, A2), aaaa=()))
    for wrong in ((A1,), (A1, A2, A3), (A1, A3)):
        before = Records(ttl_s=30, a=wrong, aaaa=())
        assert is_condition(await zone.write(put(Change(name=name, after=TWO, expect=Expect.EXACT, before=before))))
    assert (await records(zone, name))[0].a == (A1, A2)


async def test_removal_leaves_no_address(site: Site) -> None:
    """A removed name serves nothing, and removing it again is no error."""
    zone = await opened(site)
    name, other = f"www.{site.zone}", f"other.{site.zone}"
    assert await zone.write(put(Change(name=name, after=BOTH), Change(name=other, after=ONE))) == Committed()
    for _ in range(2):
        assert await zone.write(put(Change(name=name, after=NO_RECORDS))) == Committed()
        assert await records(zone, name, other) == [NO_RECORDS, ONE]


async def test_removal_leaves_a_foreign_cname(site: Site) -> None:
    """What is not an address at a removed name belongs to somebody else."""
    zone = await opened(site)
    name = f"www.{site.zone}"
    await site.put_foreign(name, cname="elsewhere.test.")
    assert await zone.write(put(Change(name=name, after=NO_RECORDS))) == Committed()
    assert (await zone.read([name]))[name].alias == "elsewhere.test."


async def test_removal_can_expect_exactly(site: Site) -> None:
    """A removal that expects other content is refused."""
    zone = await opened(site)
    name = f"www.{site.zone}"
    assert await zone.write(put(Change(name=name, after=ONE))) == Committed()
    for before, removed in ((TWO, False), (ONE, True)):
        outcome = await zone.write(put(Change(name=name, after=NO_RECORDS, expect=Expect.EXACT, before=before)))
        assert (outcome == Committed()) is removed
        assert await records(zone, name) == [NO_RECORDS if removed else ONE]


async def test_write_leaves_other_types_alone(dns_site: DnsSite) -> None:
    """A TXT that somebody keeps at an endpoint's name outlives a write and a removal."""
    zone = await opened(dns_site)
    name = f"www.{dns_site.zone}"
    await dns_site.put_txt(name, "kept")
    for after in (ONE, NO_RECORDS):
        assert await zone.write(put(Change(name=name, after=after))) == Committed()
        assert await dns_site.txt_at(name) == ["kept"]


async def test_write_outside_the_zone_is_a_value_error(site: Site) -> None:
    """A name of another zone is the caller's mistake, and is never sent."""
    zone = await opened(site)
    with pytest.raises(ValueError, match="not in zone"):
        await zone.write(put(Change(name="www.elsewhere.test.", after=ONE)))


async def test_a_write_that_no_message_holds_is_refused_by_its_content(site: Site) -> None:
    """Nothing is sent, and it is the caller who makes the batch smaller."""
    zone = await opened(site)
    after = Records(ttl_s=5, a=tuple(bytes((10, 0, 0, k)) for k in range(100)), aaaa=())
    changes = [Change(name=f"n{k:02}.{site.zone}", after=after) for k in range(50)]
    outcome = await zone.write(put(*changes))
    assert isinstance(outcome, Refused)
    while isinstance(outcome, Refused) and len(changes) > 1:
        assert outcome.reason is Reason.CONTENT
        assert "smaller" in outcome.detail
        changes = changes[: len(changes) // 2]
        outcome = await zone.write(put(*changes))
    assert outcome == Committed()
    assert len(changes) > site.records_max // 200


# What a zone holds, whatever is answered


def ask(*required: Requirement) -> Transaction:
    return Transaction(fence_seen=fence(1).seen, requires=required)


@pytest.mark.parametrize("there", [ONE, SIX, BOTH, NO_RECORDS], ids=["A", "AAAA", "both", "nothing"])
async def test_requirement_holds_of_exactly_what_stands_there(site: Site, there: Records) -> None:
    """It changes nothing, and sees each address."""
    zone = await opened(site)
    name, other = f"www.{site.zone}", f"other.{site.zone}"
    if not there.empty:
        await site.put_foreign(name, records=there)
    await site.put_foreign(other, records=TWO)
    before = await zone.read([name, other])
    for records_ in (ONE, SIX, BOTH, TWO, NO_RECORDS):
        outcome = await zone.write(ask(Requirement(name, records_), Requirement(other, TWO)))
        assert outcome == Committed() if records_ == there else is_condition(outcome)
    assert is_condition(await zone.write(ask(Requirement(name, there), Requirement(other, ONE))))
    assert await zone.read([name, other]) == before


async def test_requirement_sees_a_cname_and_the_fence(record_site: Site) -> None:
    """No name holds what is required where a CNAME stands; and nothing holds under another fence."""
    zone = await opened(record_site)
    name = f"www.{record_site.zone}"
    assert await zone.write(ask(Requirement(name, NO_RECORDS))) == Committed()
    moved = Transaction(fence_seen=fence(2).seen, requires=[Requirement(name, NO_RECORDS)])
    assert is_condition(await zone.write(moved))
    await record_site.put_foreign(name, cname="elsewhere.test.")
    assert is_condition(await zone.write(ask(Requirement(name, NO_RECORDS))))


@pytest.mark.parametrize("alias", [False, True], ids=["addresses", "CNAME"])
async def test_requirement_looks_past_a_wildcard(cut_site: Site, alias: bool) -> None:
    """A wildcard answers for a name, and nothing is the name's own; below a name that exists it does not answer."""
    zone = await opened(cut_site)
    name, star = f"www.{cut_site.zone}", f"*.{cut_site.zone}"
    there = Served(records=NO_RECORDS, alias="elsewhere.test.") if alias else Served(records=TWO)
    await cut_site.put_foreign(star, records=there.records, cname=there.alias)
    await cut_site.put_foreign(f"a.b.{cut_site.zone}", records=ONE)
    served = await zone.read([name, star, f"x.y.{cut_site.zone}", f"b.{cut_site.zone}", f"x.b.{cut_site.zone}"])
    assert served == {
        name: there,
        star: there,
        f"x.y.{cut_site.zone}": there,
        f"b.{cut_site.zone}": Served(records=NO_RECORDS),
        f"x.b.{cut_site.zone}": Served(records=NO_RECORDS),
    }
    assert await zone.write(ask(Requirement(name, NO_RECORDS))) == Committed()
    assert await zone.write(put(Change(name=name, after=ONE, expect=Expect.NEW))) == Committed()
    assert await records(zone, name) == [ONE]


async def test_a_name_below_a_delegation_is_read_as_covered(cut_site: Site) -> None:
    """The zone takes and holds its records, and answers with a referral; the delegation's own name is covered, too."""
    zone = await opened(cut_site)
    cut, good = f"sub.{cut_site.zone}", f"good.{cut_site.zone}"
    names = [cut, f"api.{cut}", f"deep.api.{cut}"]
    await cut_site.put_cut(cut, "NS")
    assert await zone.write(put(*(Change(name=name, after=ONE) for name in (*names, good)))) == Committed()
    covered = Served(records=NO_RECORDS, covered=f"NS {cut}")
    assert await zone.read([*names, good]) == dict.fromkeys(names, covered) | {good: Served(records=ONE)}
    assert await zone.write(ask(*(Requirement(name, ONE) for name in names))) == Committed()
    await cut_site.put_cut(cut, "")
    # PowerDNS goes on hiding what was written below a delegation, until it is written anew.
    written = [Change(name=name, after=ONE, expect=Expect.EXACT, before=ONE) for name in names]
    assert await zone.write(put(*written)) == Committed()
    assert await records(zone, *names) == [ONE] * 3


async def test_a_name_below_a_dname_is_read_as_covered(dname_site: Site) -> None:
    """A DNAME leads away what is below it, and leaves its own name alone."""
    zone = await opened(dname_site)
    cut = f"sub.{dname_site.zone}"
    name = f"api.{cut}"
    await dname_site.put_cut(cut, "DNAME")
    assert (await zone.read([name]))[name] == Served(records=NO_RECORDS, covered=f"DNAME {cut}")
    assert await zone.write(put(Change(name=cut, after=ONE))) == Committed()
    assert await records(zone, cut) == [ONE]


# Names that the server does not take


async def test_a_name_that_the_policy_forbids_refuses_its_batch(refusing_site: Site) -> None:
    """The answer names neither the name nor that it is at fault; an update without it is taken."""
    zone = await opened(refusing_site)
    good, bad = f"good.{OK}.{refusing_site.zone}", f"{FORBIDDEN[0]}.{refusing_site.zone}"
    outcome = await zone.write(put(Change(name=good, after=ONE), Change(name=bad, after=ONE)))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED
    assert outcome.answer.startswith(("REFUSED", "NOTAUTH"))
    assert await records(zone, good, bad) == [NO_RECORDS, NO_RECORDS]
    assert await zone.write(Transaction(fence_seen=fence(1).seen)) == Committed()
    assert is_condition(await zone.write(Transaction(fence_seen=fence(2).seen)))
    assert await zone.write(ask(Requirement(bad, NO_RECORDS))) == Committed(), "requirements are not changes"
    assert await zone.write(put(Change(name=good, after=ONE))) == Committed()


async def test_a_name_that_the_policy_drops_is_told_by_a_requirement(dropping_site: Site) -> None:
    """The answer is success; the zone does not hold what was written, new or over something else."""
    zone = await opened(dropping_site)
    good, bad = f"good.{OK}.{dropping_site.zone}", f"{FORBIDDEN[0]}.{dropping_site.zone}"
    there = NO_RECORDS
    for after in (ONE, BOTH):
        assert await zone.write(put(Change(name=good, after=after), Change(name=bad, after=after))) == Committed()
        assert await records(zone, good, bad) == [after, there]
        assert is_condition(await zone.write(ask(Requirement(bad, after))))
        assert await zone.write(ask(Requirement(bad, there), Requirement(good, after))) == Committed()
        there = TWO
        await dropping_site.put_foreign(bad, records=there)


# Keys


async def test_write_with_a_wrong_secret_is_denied(dns_site: DnsSite) -> None:
    """The refusal names what to mend, and the zone is unchanged."""
    outcome = await dns_site.client(secret="d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I=").write(
        Transaction(fence_seen=(), fence_after=fence(1))
    )
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED
    assert "secret" in outcome.detail
    assert await dns_site.client().read_fence() == ()


async def test_write_with_an_unknown_key_is_denied(dns_site: DnsSite) -> None:
    """A key that the server does not know is told apart from a wrong secret, where the server does."""
    outcome = await dns_site.client(key_name="nobody").write(Transaction(fence_seen=(), fence_after=fence(1)))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED
    assert ("an unknown key" if is_powerdns(dns_site) else "BADKEY") in outcome.detail


async def test_write_with_a_wrong_clock_is_denied(dns_site: DnsSite) -> None:
    """A clock an hour off is named as such."""
    zone = dns_site.client(clock=FixedClock(ahead_s=3600))
    outcome = await zone.write(Transaction(fence_seen=(), fence_after=fence(1)))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED
    assert "clock" in outcome.detail


async def test_write_without_a_signature_is_denied(dns_site: DnsSite) -> None:
    """The fence is worth something only where nobody can write past it."""
    update = dns.update.UpdateMessage(dns_site.zone)
    update.add(dns.name.from_text(f"www.{dns_site.zone}"), 30, "A", "192.0.2.1")
    answer = await dns.asyncquery.tcp(update, dns_site.host, 5.0, dns_site.port)
    assert answer.rcode() in (dns.rcode.REFUSED, dns.rcode.NOTAUTH)
    assert await records(dns_site.client(), f"www.{dns_site.zone}") == [NO_RECORDS]


async def test_write_to_a_zone_not_served_is_denied(dns_site: DnsSite) -> None:
    """A zone that the server does not have is for an operator to mend; its reads are refused too."""
    zone = dns_site.client(zone="absent.example.")
    outcome = await zone.write(Transaction(fence_seen=(), fence_after=fence(1)))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED
    with pytest.raises(ZoneDown):
        await zone.read_fence()


# Reads


async def test_read_of_nothing_is_an_answer(site: Site) -> None:
    """A name that does not exist, and one without addresses, are served as empty."""
    zone = await opened(site)
    names = (f"missing.{site.zone}", fence_name(site.zone))
    assert await zone.read(names) == {name: Served(records=NO_RECORDS) for name in names}
    assert await zone.read([]) == {}


@pytest.mark.parametrize("reader_type", [BulkReader, AiodnsReader])
async def test_readers_see_what_the_zone_sees(
    dns_site: DnsSite, reader_type: type[BulkReader] | type[AiodnsReader]
) -> None:
    """Every reader shows the same, each time anew, several times more names than it asks at once."""
    zone = await opened(dns_site)
    contents = itertools.cycle((ONE, TWO, BOTH, SIX))
    after = {f"n{k:03}.{dns_site.zone}": content for k, content in zip(range(100), contents, strict=False)}
    assert await zone.write(put(*(Change(name=name, after=one) for name, one in after.items()))) == Committed()
    alias = f"alias.{dns_site.zone}"
    await dns_site.put_foreign(alias, cname="elsewhere.test.")
    expected = {name: Served(records=one) for name, one in after.items()}
    expected[f"missing.{dns_site.zone}"] = Served(records=NO_RECORDS)
    expected[alias] = Served(records=NO_RECORDS, alias="elsewhere.test.")
    reader: ServedReader = reader_type(dns_site.host, dns_site.port, timeout_s=5.0, in_flight_max=20)
    assert await reader.read(list(expected)) == expected
    name = min(after)
    assert await zone.write(put(Change(name=name, after=TWO))) == Committed()
    assert (await reader.read([name]))[name].records == TWO, "answered from a cache"
    if isinstance(reader, BulkReader):
        await reader.close()


async def test_read_leaves_out_what_the_server_has_no_authority_for(dns_site: DnsSite) -> None:
    """A name of another zone is missing beside good ones."""
    zone = await opened(dns_site)
    good = fence_name(dns_site.zone)
    assert await zone.read([good, "www.elsewhere.example."]) == {good: Served(records=NO_RECORDS)}


async def test_ttls_that_differ_are_told_apart(dns_site: DnsSite) -> None:
    """A and AAAA have a TTL each: with two, a name shows no records that could be wanted."""
    zone = await opened(dns_site)
    name = f"www.{dns_site.zone}"
    await dns_site.put_foreign(name, records=BOTH)
    await dns_site.put_ttl(name, "AAAA", 86_400)
    for reader in (
        zone,
        BulkReader(dns_site.host, dns_site.port, timeout_s=5.0),
        AiodnsReader(dns_site.host, dns_site.port, timeout_s=5.0),
    ):
        answer = (await reader.read([name]))[name]
        assert (answer.records, answer.ttl_most_s) == (BOTH, 86_400)
        assert answer.shows_but_for_ttl(BOTH)
        assert not answer.shows(BOTH)
        assert not answer.shows(BOTH._replace(ttl_s=86_400))
        if isinstance(reader, BulkReader):
            await reader.close()
    assert await zone.write(put(Change(name=name, after=BOTH, expect=Expect.EXACT, before=BOTH))) == Committed()
    assert (await zone.read([name]))[name] == Served(records=BOTH)


async def test_the_negative_ttl_is_what_an_empty_answer_says(dns_site: DnsSite) -> None:
    """The lesser of the SOA's TTL and its last field, as it comes with an answer for a name that is not there."""
    query = dns.message.make_query(f"nowhere.{dns_site.zone}", "A")
    answer = await dns.asyncquery.tcp(query, dns_site.host, 5.0, dns_site.port)
    soa = answer.authority[0]
    assert await dns_site.client().negative_ttl_s() == min(soa.ttl, soa[0].minimum)


async def test_the_negative_ttl_is_told_or_not_known(site: Site) -> None:
    """Every backend answers, and those that cannot tell say so."""
    told = await site.client().negative_ttl_s()
    assert told is None or 0 < told < 2**31


async def test_a_fence_written_anew_with_another_ttl_changes_the_zone_and_no_word(dns_site: DnsSite) -> None:
    """A signed copy that did not follow gets its chance: the serial rises, and the fence stands as it did."""
    zone = await opened(dns_site)
    serials = [await dns_site.serial()]
    for ttl_s in (7, 8):
        again = Transaction(fence_seen=fence(1).seen, fence_after=fence(1), fence_ttl_s=ttl_s)
        assert await zone.write(again) == Committed()
        serials.append(await dns_site.serial())
    assert serials == sorted(set(serials))
    assert await zone.read_fence() == fence(1).seen


# The server's bad days


async def test_server_down_is_said_at_once(own_site: Site) -> None:
    """No write counts as done, no read as empty, while the server is down; then all is as before."""
    zone = await opened(own_site)
    name = f"www.{own_site.zone}"
    assert await zone.write(put(Change(name=name, after=ONE))) == Committed()
    await own_site.stop()
    outcome = await zone.write(put(Change(name=name, after=TWO)))
    assert isinstance(outcome, Unknown) or (isinstance(outcome, Refused) and outcome.reason is Reason.BUSY)
    assert isinstance(await zone.write(put(Change(name=name, after=TWO))), Refused), "refused before it is sent"
    with pytest.raises(ZoneDown):
        await zone.read([name])
    with pytest.raises(ZoneDown):
        await zone.read_fence()
    await own_site.start()
    assert await records(zone, name) == [ONE]
    assert await zone.read_fence() == fence(1).seen


async def test_write_acknowledged_outlives_a_kill(own_site: Site) -> None:
    """What was committed is there after SIGKILL, and what was in flight is there whole or not at all."""
    zone = await opened(own_site)
    for round_ in range(3):
        names = [f"r{round_}-{k:02}.{own_site.zone}" for k in range(40)]
        writes = [
            asyncio.create_task(zone.write(put(*(Change(name=name, after=BOTH) for name in names[start : start + 4]))))
            for start in range(0, len(names), 4)
        ]
        await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        await own_site.kill()
        outcomes = await asyncio.gather(*writes)
        await own_site.start()
        assert Committed() in outcomes
        served = await answers(zone, names)
        for k, outcome in enumerate(outcomes):
            batch = [served[name].records for name in names[4 * k : 4 * k + 4]]
            assert batch == [BOTH] * 4 or (outcome != Committed() and batch == [NO_RECORDS] * 4)
        assert await zone.read_fence() == fence(1).seen


async def test_zone_closed_sends_nothing(site: Site) -> None:
    """A closed zone refuses."""
    zone = await opened(site)
    await zone.close()
    assert isinstance(await zone.write(put(Change(name=f"www.{site.zone}", after=ONE))), Refused)
    with pytest.raises(ZoneDown):
        await zone.read([f"www.{site.zone}"])
