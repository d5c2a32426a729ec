"""Route 53 through boto3 and HTTP, on a double that keeps to what AWS documents."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from enactord.backends.route53.api import Route53Api
from enactord.backends.route53.zone import Route53Zone
from enactord.core.errors import ZoneDown
from enactord.core.fence import Fence
from enactord.core.names import fence_name
from enactord.core.records import (
    NO_RECORDS,
    Change,
    Committed,
    Expect,
    Reason,
    Records,
    Refused,
    Served,
    Transaction,
    Unknown,
)
from tests.servers.route53_double import Faults, Route53Double, use_credentials
from tests.servers.route53_double.hosted_zone import Change as Given
from tests.servers.route53_double.hosted_zone import RecordSet

ZONE = "example.test."
WWW = f"www.{ZONE}"
FENCE = Fence(scope="us-east-1", generation=7, plan="0123456789abcdef")
A1, A2, A3 = (bytes((192, 0, 2, k)) for k in (1, 2, 3))
AAAA1 = bytes.fromhex("20010db8" + "0" * 23 + "1")
WEIGHED = Records(ttl_s=30, a=(A1, A2), aaaa=(AAAA1,), weights=(10, 20, 5))


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(monkeypatch)


@pytest.fixture
async def double() -> AsyncIterator[Route53Double]:
    async with Route53Double([ZONE, "other.test."]) as running:
        yield running


Opener = Callable[..., Any]


@pytest.fixture
async def opener(double: Route53Double) -> AsyncIterator[Opener]:
    """Open zones, each through an API client of its own."""
    opened: list[Any] = []

    async def open_zone(
        name: str = ZONE, *, zone_id: str = "", in_sync_wait_s: float = 60.0, **settings: Any
    ) -> Route53Zone:
        given: dict[str, Any] = {"timeout_s": 5.0, "requests_per_s": 10_000.0, "endpoint_url": double.url}
        api = await Route53Api.open(**(given | settings))
        zone = Route53Zone(name, api, zone_id=zone_id or double.ids[name], poll_s=0.01, in_sync_wait_s=in_sync_wait_s)
        opened.extend((zone, api))
        return zone

    yield open_zone
    for one in opened:
        await one.close()


@pytest.fixture
async def zone(opener: Opener) -> Route53Zone:
    """A zone in which the fence stands."""
    opened: Route53Zone = await opener()
    assert await opened.write(Transaction(fence_seen=(), fence_after=FENCE)) == Committed()
    return opened


def put(*changes: Change) -> Transaction:
    return Transaction(fence_seen=FENCE.seen, changes=changes)


def sets(double: Route53Double, name: str = WWW) -> list[RecordSet]:
    return [one for one in double.zones[double.ids[ZONE]].listed() if one.name == name]


def place(double: Route53Double, *new: RecordSet) -> None:
    problems = double.zones[double.ids[ZONE]].apply([Given(action="CREATE", record_set=one) for one in new])
    assert not problems


# Weights


async def test_weights_become_a_set_an_address(double: Route53Double, zone: Route53Zone) -> None:
    """And are read back as they were written."""
    assert await zone.write(put(Change(name=WWW, after=WEIGHED, expect=Expect.NEW))) == Committed()
    assert [(one.type, one.identifier, one.weight, one.ttl_s, one.values) for one in sets(double)] == [
        ("A", "192.0.2.1", 10, 30, ("192.0.2.1",)),
        ("A", "192.0.2.2", 20, 30, ("192.0.2.2",)),
        ("AAAA", "2001:db8::1", 5, 30, ("2001:db8::1",)),
    ]
    assert await zone.read([WWW]) == {WWW: Served(records=WEIGHED)}


async def test_only_what_changes_is_in_the_batch(double: Route53Double, zone: Route53Zone) -> None:
    """Of an owned name's sets those that stay as they are cost nothing."""
    assert await zone.write(put(Change(name=WWW, after=WEIGHED))) == Committed()
    after = Records(ttl_s=30, a=(A1, A2), aaaa=(AAAA1,), weights=(10, 21, 5))
    assert await zone.write(put(Change(name=WWW, after=after))) == Committed()
    assert [(one.action, one.record_set.name, one.record_set.weight) for one in double.batches[-1]] == [
        ("DELETE", fence_name(ZONE), None),
        ("DELETE", WWW, 20),
        ("CREATE", fence_name(ZONE), None),
        ("CREATE", WWW, 21),
    ]


@pytest.mark.parametrize(
    "after",
    [
        Records(ttl_s=31, a=(A1, A2), aaaa=(AAAA1,), weights=(10, 20, 5)),
        Records(ttl_s=30, a=(A1, A2), aaaa=(AAAA1,)),
        Records(ttl_s=30, a=(A3,), aaaa=(), weights=(1,)),
        NO_RECORDS,
    ],
    ids=["another TTL", "no weights", "another address", "nothing"],
)
async def test_sets_that_cannot_stand_together_change_in_one_batch(
    double: Route53Double, zone: Route53Zone, after: Records
) -> None:
    """Weighted sets share a TTL and stand beside no plain one: all of the old go as the new come."""
    assert await zone.write(put(Change(name=WWW, after=WEIGHED))) == Committed()
    for content in (after, WEIGHED, after):
        assert await zone.write(put(Change(name=WWW, after=content))) == Committed()
        assert (await zone.read([WWW]))[WWW].records == content


@pytest.mark.parametrize(
    "foreign",
    [
        RecordSet(
            name=WWW, type="A", ttl_s=30, values=("192.0.2.1",), identifier="x", routing=(("Region", "eu-west-1"),)
        ),
        RecordSet(name=WWW, type="A", ttl_s=30, values=("192.0.2.1",), identifier="x", weight=0),
        RecordSet(name=WWW, type="A", ttl_s=30, values=("192.0.2.1", "192.0.2.2"), identifier="x", weight=9),
        RecordSet(
            name=WWW, type="A", ttl_s=30, values=("192.0.2.1",), identifier="x", routing=(("MultiValueAnswer", "true"),)
        ),
    ],
    ids=["by place", "weight 0", "two values", "multivalue"],
)
async def test_sets_of_another_kind_are_never_what_is_wanted(
    double: Route53Double, zone: Route53Zone, foreign: RecordSet
) -> None:
    """They are seen, they keep a new name from us, and a plan's write of an owned name replaces them."""
    place(double, foreign)
    served = (await zone.read([WWW]))[WWW]
    assert set(served.records.weights) == {0}
    assert not served.shows(Records(ttl_s=30, a=(A1,), aaaa=(), weights=(9,)))
    assert not served.shows(Records(ttl_s=30, a=(A1,), aaaa=()))
    taken = await zone.write(put(Change(name=WWW, after=WEIGHED, expect=Expect.NEW)))
    assert isinstance(taken, Refused)
    assert taken.reason is Reason.CONDITION
    assert await zone.write(put(Change(name=WWW, after=WEIGHED))) == Committed()
    assert (await zone.read([WWW]))[WWW].records == WEIGHED


async def test_an_alias_is_nobodys_to_replace(double: Route53Double, zone: Route53Zone) -> None:
    """Route 53's own alias is treated as a CNAME: shown, and left alone."""
    alias = RecordSet(name=WWW, type="A", alias="lb.elsewhere.test.")
    place(double, alias)
    assert (await zone.read([WWW]))[WWW].alias == "lb.elsewhere.test."
    outcome = await zone.write(put(Change(name=WWW, after=WEIGHED)))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONDITION
    assert await zone.write(put(Change(name=WWW, after=NO_RECORDS))) == Committed()
    assert sets(double) == [alias]


async def test_a_repair_minds_the_weights(zone: Route53Zone) -> None:
    """What was read includes them: another weight is another content."""
    assert await zone.write(put(Change(name=WWW, after=WEIGHED))) == Committed()
    other = Records(ttl_s=30, a=WEIGHED.a, aaaa=WEIGHED.aaaa, weights=(10, 20, 6))
    for before, committed in ((other, False), (WEIGHED, True)):
        outcome = await zone.write(put(Change(name=WWW, after=other, expect=Expect.EXACT, before=before)))
        assert (outcome == Committed()) is committed


# What moves between reading and writing


class Meddler:
    """An API in which something happens just before each of the next changes."""

    def __init__(self, api: Route53Api, *before: Callable[[], None]) -> None:
        self._api = api
        self._before = list(before)
        self.page = api.page
        self.in_sync = api.in_sync

    async def change(self, zone_id: str, changes: Any) -> str:
        if self._before:
            self._before.pop(0)()
        return await self._api.change(zone_id, changes)


async def test_the_fence_is_compared_by_route_53(double: Route53Double, zone: Route53Zone) -> None:
    """A newer open between reading and writing refuses the whole batch."""
    newer = RecordSet(name=fence_name(ZONE), type="TXT", ttl_s=0, values=('"newer"',))

    def open_newer() -> None:
        (there,) = sets(double, fence_name(ZONE))
        steps = [Given(action="DELETE", record_set=there), Given(action="CREATE", record_set=newer)]
        assert not double.zones[double.ids[ZONE]].apply(steps)

    zone._api = Meddler(zone._api, open_newer)  # type: ignore[assignment]
    outcome = await zone.write(put(Change(name=WWW, after=WEIGHED)))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONDITION
    assert sets(double) == []


@pytest.mark.parametrize("expect", list(Expect))
async def test_a_set_created_between_reading_and_writing_counts(
    double: Route53Double, zone: Route53Zone, expect: Expect
) -> None:
    """It is read again: what is required no longer holds, or is written over."""
    plain = RecordSet(name=WWW, type="A", ttl_s=60, values=("192.0.2.9",))
    zone._api = Meddler(zone._api, lambda: place(double, plain))  # type: ignore[assignment]
    outcome = await zone.write(put(Change(name=WWW, after=WEIGHED, expect=expect)))
    if expect is Expect.OWNED:
        assert outcome == Committed()
        assert (await zone.read([WWW]))[WWW].records == WEIGHED
    else:
        assert isinstance(outcome, Refused)
        assert outcome.reason is Reason.CONDITION
        assert sets(double) == [plain]


@pytest.mark.parametrize("weight", [6, None], ids=["another weight", "gone"])
async def test_a_repair_is_compared_by_route_53_as_a_whole(
    double: Route53Double, zone: Route53Zone, weight: int | None
) -> None:
    """Sets that it would leave as they are must be there as they were read: a late repair undoes nothing."""
    assert await zone.write(put(Change(name=WWW, after=WEIGHED))) == Committed()
    there = sets(double)
    steps = [Given(action="DELETE", record_set=there[2])]
    if weight is not None:
        steps.append(Given(action="CREATE", record_set=replace(there[2], weight=weight)))

    def meddle() -> None:
        assert not double.zones[double.ids[ZONE]].apply(steps)

    zone._api = Meddler(zone._api, meddle)  # type: ignore[assignment]
    wanted = Records(ttl_s=30, a=WEIGHED.a, aaaa=WEIGHED.aaaa, weights=(11, 20, 5))
    outcome = await zone.write(put(Change(name=WWW, after=wanted, expect=Expect.EXACT, before=WEIGHED)))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONDITION
    assert sets(double)[:2] == there[:2]


# INSYNC


async def test_a_name_is_seen_when_its_change_is_in_sync(double: Route53Double, zone: Route53Zone) -> None:
    """Accepted is not served: reading waits for every DNS server of Route 53."""
    await zone.read([fence_name(ZONE)])
    double.faults = Faults(polls_until_in_sync=10**9)
    assert await zone.write(put(Change(name=WWW, after=WEIGHED))) == Committed()
    reading = asyncio.create_task(zone.read([WWW]))
    assert await zone.read([f"other.{ZONE}"]) == {f"other.{ZONE}": Served(records=NO_RECORDS)}, "others do not wait"
    asked = double.requests.count("get")
    while double.requests.count("get") < asked + 3:
        await asyncio.sleep(0.01)
    assert not reading.done()
    double.in_sync()
    assert await reading == {WWW: Served(records=WEIGHED)}
    assert await zone.read_fence() == FENCE.seen


async def test_a_change_that_takes_too_long_is_left_out(
    double: Route53Double, zone: Route53Zone, opener: Opener
) -> None:
    """What is not known to be served is no part of the answer; alone, it is none."""
    hasty = await opener(in_sync_wait_s=0.05)
    double.faults = Faults(polls_until_in_sync=10**9)
    assert await hasty.write(put(Change(name=WWW, after=WEIGHED))) == Committed()
    other = f"other.{ZONE}"
    assert await hasty.read([WWW, other]) == {other: Served(records=NO_RECORDS)}
    with pytest.raises(ZoneDown, match="PENDING"):
        await hasty.read([WWW])


async def test_changes_are_followed_each(double: Route53Double, zone: Route53Zone) -> None:
    """A name waits for the last of its changes."""
    double.faults = Faults(polls_until_in_sync=3)
    for weight in (1, 2, 3):
        after = Records(ttl_s=30, a=(A1,), aaaa=(), weights=(weight,))
        assert await zone.write(put(Change(name=WWW, after=after))) == Committed()
    assert (await zone.read([WWW]))[WWW].records.weights == (3,)
    assert double.requests.count("get") >= 12, "each of the three, until it was"


# What Route 53 answers


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "Throttling", Reason.BUSY),
        (400, "PriorRequestNotComplete", Reason.BUSY),
        (403, "AccessDenied", Reason.DENIED),
        (403, "ExpiredToken", Reason.DENIED),
        (400, "InvalidInput", Reason.CONTENT),
        (500, "InternalFailure", None),
        (503, "ServiceUnavailable", None),
    ],
)
async def test_each_refusal_is_told_apart(
    double: Route53Double, zone: Route53Zone, status: int, code: str, reason: Reason | None
) -> None:
    """Come later, an operator must act, or not known; never sent again by itself."""
    double.faults = Faults(errors=[(status, code)])
    outcome = await zone.write(put(Change(name=WWW, after=WEIGHED)))
    if reason is None:
        assert isinstance(outcome, Unknown)
    else:
        assert isinstance(outcome, Refused)
        assert outcome.reason is reason
    assert code in outcome.detail
    assert double.requests.count("change") == 2, "the open, and this"
    assert await zone.write(put(Change(name=WWW, after=WEIGHED))) == Committed()


async def test_an_answer_that_is_lost_is_unknown(double: Route53Double, zone: Route53Zone) -> None:
    """It was carried out, and reading shows it; sending it blindly again would be refused by itself."""
    double.faults = Faults(changes_to_lose=1)
    assert isinstance(await zone.write(put(Change(name=WWW, after=WEIGHED))), Unknown)
    assert double.requests.count("change") == 2, "sent once"
    assert await zone.read([WWW]) == {WWW: Served(records=WEIGHED)}


async def test_a_zone_takes_one_change_at_a_time(double: Route53Double, zone: Route53Zone, opener: Opener) -> None:
    """One enactor's wait for each other; another enactor's are refused with PriorRequestNotComplete, and come later."""
    other = await opener()
    double.faults = Faults(hold=asyncio.Event())
    names = [f"n{k}.{ZONE}" for k in range(6)]
    mine = [asyncio.create_task(zone.write(put(Change(name=name, after=WEIGHED)))) for name in names]
    while not double.busy:
        await asyncio.sleep(0.01)
    refused = await other.write(put(Change(name=WWW, after=WEIGHED)))
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.BUSY
    assert "PriorRequestNotComplete" in refused.detail
    assert double.faults.hold is not None
    double.faults.hold.set()
    assert await asyncio.gather(*mine) == [Committed()] * 6
    assert await other.write(put(Change(name=WWW, after=WEIGHED))) == Committed()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY0000000000", "InvalidClientTokenId"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "", "credentials"),
    ],
)
async def test_credentials_that_are_not_accepted_are_denied(
    monkeypatch: pytest.MonkeyPatch, opener: Opener, variable: str, value: str, said: str
) -> None:
    """The refusal says what to mend; the double checks each signature."""
    use_credentials(monkeypatch, **{variable: value})
    if not value:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv(variable)
    zone = await opener()
    outcome = await zone.write(Transaction(fence_seen=(), fence_after=FENCE))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED
    assert said in outcome.detail
    with pytest.raises(ZoneDown, match=said):
        await zone.read([WWW])


async def test_a_hosted_zone_that_is_not_there_is_denied(opener: Opener) -> None:
    """So is one of another account."""
    zone = await opener(zone_id="Z99999999")
    outcome = await zone.write(Transaction(fence_seen=(), fence_after=FENCE))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED
    assert "NoSuchHostedZone" in outcome.detail


# The account's limits


async def test_three_enactors_stay_below_the_accounts_limit(double: Route53Double, opener: Opener) -> None:
    """At their default pace none is ever throttled; asking as fast as it goes is."""
    double.faults = Faults(requests_per_s=10.0, burst=50)
    paced = [await opener(requests_per_s=3.0) for _ in range(3)]

    async def ask(zone: Route53Zone, times: int = 20) -> None:
        for _ in range(times):
            await zone.read_fence()

    await asyncio.gather(*(ask(zone) for zone in paced))
    assert double.throttled == 0
    with pytest.raises(ZoneDown, match="Throttling"):
        await ask(await opener(), times=100)


async def test_a_wait_for_the_accounts_tokens_has_an_end(opener: Opener) -> None:
    """Who would wait too long is told to come later, and nothing is sent."""
    zone = await opener(requests_per_s=0.1, timeout_s=0.5)
    assert await zone.read_fence() == ()
    outcome = await zone.write(Transaction(fence_seen=(), fence_after=FENCE))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.BUSY
    assert "requests_per_s" in outcome.detail


async def test_a_batch_of_too_many_characters_is_refused_before_it_is_sent(
    double: Route53Double, zone: Route53Zone
) -> None:
    """Elements alone do not fill a batch: 800 long IPv6 addresses are over 31,000 characters."""
    long = tuple(bytes.fromhex("20010db8" + f"{k:04x}" * 6) for k in range(0x1111, 0x1111 + 90))
    changes = [Change(name=f"n{k}.{ZONE}", after=Records(ttl_s=30, a=(), aaaa=long)) for k in range(10)]
    outcome = await zone.write(put(*changes))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONTENT
    assert "characters" in outcome.detail
    assert double.requests.count("change") == 1
    assert await zone.write(put(*changes[:5])) == Committed()


@pytest.mark.parametrize("names", [1, 3, 250])
async def test_many_names_cost_few_requests(double: Route53Double, zone: Route53Zone, names: int) -> None:
    """A page of 300 sets tells of all names in it, and of those that it passed over."""
    wanted = [f"n{k:03}.{ZONE}" for k in range(names)]
    place(double, *(RecordSet(name=n, type="A", ttl_s=9, values=("192.0.2.1",)) for n in wanted[::2]))
    place(double, *(RecordSet(name=n, type="MX", ttl_s=9, values=("1 mx.test",)) for n in wanted[::3]))
    asked = double.requests.count("list")
    served = await zone.read(wanted)
    assert [n for n in wanted if not served[n].records.empty] == wanted[::2]
    assert double.requests.count("list") - asked == 1


async def test_a_name_of_more_sets_than_a_page_is_read_whole(double: Route53Double, zone: Route53Zone) -> None:
    """Its pages are put together."""
    a = tuple(bytes((10, 0, 0, k)) for k in range(100))
    aaaa = tuple(bytes.fromhex("20010db8" + f"{k:024x}") for k in range(100))
    both = Records(ttl_s=30, a=a, aaaa=aaaa, weights=tuple(range(1, 201)))
    names = [f"{label}.{ZONE}" for label in "abc"]
    for name in names:
        assert await zone.write(put(Change(name=name, after=both))) == Committed()
    assert await zone.read([*names, f"d.{ZONE}"]) == {name: Served(records=both) for name in names} | {
        f"d.{ZONE}": Served(records=NO_RECORDS)
    }


# The double against moto


def compare_and_swap(client: Any, zone_id: str, name: str, old: str, new: str) -> bool:
    """Replace a TXT that is believed to be `old`; returns whether that was accepted."""
    batch = [
        {
            "Action": action,
            "ResourceRecordSet": {"Name": name, "Type": "TXT", "TTL": 0, "ResourceRecords": [{"Value": text}]},
        }
        for action, text in (("DELETE", old), ("CREATE", new))
    ]
    try:
        client.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch={"Changes": batch})
    except client.exceptions.InvalidChangeBatch:
        return False
    return True


def race(client: Any, zone_id: str) -> list[bool]:
    """Let 32 writers, who all have read the same fence, replace it one after the other."""
    name = fence_name(ZONE)
    first = {"Name": name, "Type": "TXT", "TTL": 0, "ResourceRecords": [{"Value": '"0"'}]}
    client.change_resource_record_sets(
        HostedZoneId=zone_id, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": first}]}
    )
    return [compare_and_swap(client, zone_id, name, '"0"', f'"{k}"') for k in range(1, 33)]


async def test_the_double_refuses_what_moto_lets_through(double: Route53Double) -> None:
    """On moto each of 32 racers wins, so a fence tested on it proves nothing; on the double one does."""
    client = boto3.client(
        "route53", "us-east-1", endpoint_url=double.url, config=Config(retries={"total_max_attempts": 1})
    )
    on_double = await asyncio.to_thread(race, client, double.ids[ZONE])
    assert on_double == [True] + [False] * 31
    assert sets(double, fence_name(ZONE))[0].values == ('"1"',)
    with mock_aws():
        moto = boto3.client("route53", "us-east-1")
        zone_id = moto.create_hosted_zone(Name=ZONE, CallerReference="1")["HostedZone"]["Id"]
        assert all(race(moto, zone_id)), "moto compares now: it can take the double's place"
