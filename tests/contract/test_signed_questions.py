"""Questions to real servers are signed: what they need for it, and what somebody on the way can make of it."""

import re
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from enactord.backends.readers.bulk import BulkReader
from enactord.backends.readers.fallback import FallbackReader
from enactord.core.errors import ZoneDown, ZoneUnproved
from enactord.core.fence import Fence
from enactord.core.names import fence_name
from enactord.core.records import NO_RECORDS, Change, Committed, Records, Served, Transaction
from enactord.ports import ZoneBackend
from enactord.wire.tsig import find_tsig
from tests.contract.sites.base import DnsSite, FixedClock, ProcessSite, is_powerdns
from tests.servers.bind import Bind, PrivateBind, ViewsBind
from tests.servers.dns_server import FOREIGN_SECRET, SECRET
from tests.servers.proxy import Proxy

ONE = Records(ttl_s=30, a=(bytes((192, 0, 2, 1)),), aaaa=())
TWO = Records(ttl_s=30, a=(bytes((192, 0, 2, 2)),), aaaa=())
FALSE = Records(ttl_s=30, a=(bytes((198, 51, 100, 66)),), aaaa=())
FENCES = [Fence(scope="us-east-1", generation=generation, plan="0" * 16) for generation in (1, 2)]
WRONG_SECRET = "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I="

Answers = Callable[[bytes], Sequence[bytes]]


async def opened(site: DnsSite, **contents: Records) -> ZoneBackend:
    """A client of a zone in which the first fence and some content, by label, stand."""
    zone = site.client()
    assert await zone.write(Transaction(fence_seen=(), fence_after=FENCES[0])) == Committed()
    await put(site, zone, **contents)
    return zone


async def put(site: DnsSite, zone: ZoneBackend, **contents: Records) -> None:
    changes = [Change(name=f"{label}.{site.zone}", after=after) for label, after in sorted(contents.items())]
    assert await zone.write(Transaction(fence_seen=FENCES[0].seen, changes=changes)) == Committed()


# What the server says to a key


@pytest.mark.parametrize(
    ("secret", "key_name", "ahead_s", "told"),
    [
        (WRONG_SECRET, "enactor", 0, "BADSIG: the server has another secret"),
        (SECRET, "nobody", 0, "BADKEY: the server does not know this key"),
        (SECRET, "enactor", 3600, "BADTIME: the clocks are too far apart"),
        (SECRET, "enactor", -3600, "BADTIME: the clocks are too far apart"),
    ],
)
async def test_a_question_with_a_wrong_key_or_clock_names_what_to_mend(
    dns_site: DnsSite, secret: str, key_name: str, ahead_s: int, told: str
) -> None:
    """Names and fence are unknown then, not absent; PowerDNS does not say which it is."""
    await opened(dns_site, www=ONE)
    clock = FixedClock(ahead_s=ahead_s)
    zone = dns_site.client(key_name=key_name, clock=clock, secret=secret)
    told = "PowerDNS does not say which" if is_powerdns(dns_site) else told
    for ask in (zone.read_fence(), zone.read([f"www.{dns_site.zone}"])):
        with pytest.raises(ZoneUnproved, match=f"NOTAUTH to key {key_name}.: .*{told}"):
            await ask


async def test_any_key_that_the_server_knows_may_ask(dns_site: DnsSite) -> None:
    """What lets a key update does not keep it, or another one, from asking."""
    await opened(dns_site, www=ONE)
    foreign = dns_site.client(key_name="foreign", secret=FOREIGN_SECRET)
    assert await foreign.read([f"www.{dns_site.zone}"]) == {f"www.{dns_site.zone}": Served(records=ONE)}


# Servers that tell keys apart


@pytest.fixture(params=[PrivateBind, ViewsBind])
async def keyed_site(request: pytest.FixtureRequest) -> AsyncIterator[ProcessSite]:
    """A zone that only those see who sign."""
    kind: type[Bind] = request.param
    site = ProcessSite.alone("keyed.test.", kind)
    yield site
    await site.close()


async def test_reads_and_writes_meet_the_same_zone(keyed_site: ProcessSite) -> None:
    """Whatever the server shows to others: fence after fence is opened, and what was written is read."""
    zone = await opened(keyed_site, www=ONE)
    www, missing = f"www.{keyed_site.zone}", f"missing.{keyed_site.zone}"
    assert await zone.read_fence() == FENCES[0].seen
    assert await zone.write(Transaction(fence_seen=FENCES[0].seen, fence_after=FENCES[1])) == Committed()
    assert await zone.read_fence() == FENCES[1].seen
    expected = {www: Served(records=ONE), missing: Served(records=NO_RECORDS)}
    assert await zone.read([www, missing]) == expected


async def test_who_does_not_sign_is_told_so_or_sees_another_zone(keyed_site: ProcessSite) -> None:
    """A reader without a key; with a signed one behind it, it still gets what it is refused."""
    zone = await opened(keyed_site, www=ONE)
    www = f"www.{keyed_site.zone}"
    plain = BulkReader(keyed_site.host, keyed_site.port, timeout_s=5.0)
    both = FallbackReader(plain, zone)
    if isinstance(keyed_site.server, PrivateBind):
        with pytest.raises(ZoneDown, match=r"answered REFUSED: .*without a key"):
            await plain.read([www])
        assert await both.read([www]) == {www: Served(records=ONE)}
    else:
        assert await plain.read([www]) == await both.read([www]) == {www: Served(records=NO_RECORDS)}
    await plain.close()


# Somebody on the way


def stripped(answer: bytes) -> bytes:
    """An answer without its signature."""
    record = find_tsig(answer)
    assert record is not None
    return answer[:10] + (int.from_bytes(answer[10:12], "big") - 1).to_bytes(2, "big") + answer[12 : record.start]


def falsified(answer: bytes) -> bytes:
    """Another address, and a fence of a high generation in place of what is there."""
    return re.sub(rb" gen=\d", b" gen=9", answer.replace(ONE.a[0], FALSE.a[0]))


def bare_no(answer: bytes) -> bytes:
    """Nothing is there, says an answer that leaves out all records."""
    return answer[:6] + bytes(6) + answer[12 : answer.index(0, 12) + 5]


class Swap:
    """Gives each two answers that follow each other the id of the other."""

    def __init__(self) -> None:
        self._first: bytes | None = None

    def __call__(self, answer: bytes) -> Sequence[bytes]:
        first = self._first
        if first is None:
            self._first = answer
            return []
        self._first = None
        return [first[:2] + answer[2:], answer[:2] + first[2:]]


class Replay:
    """Keeps the first answer to each question and gives it again, with the id of the new question."""

    def __init__(self) -> None:
        self._first: dict[bytes, bytes] = {}

    def __call__(self, answer: bytes) -> Sequence[bytes]:
        question = answer[12 : answer.index(0, 12) + 5]
        first = self._first.setdefault(question, answer)
        again = bytearray(answer[:2] + first[2:])
        again[-6:-4] = answer[:2]  # the original id, too
        return [bytes(again)]


@pytest.mark.parametrize(
    "spoil",
    [falsified, stripped, lambda answer: falsified(stripped(answer)), lambda answer: bare_no(stripped(answer))],
    ids=["falsified", "stripped", "stripped and falsified", "emptied"],
)
async def test_an_answer_that_was_changed_on_the_way_is_none(
    dns_site: DnsSite, spoil: Callable[[bytes], bytes]
) -> None:
    """No other content, no other fence, and nothing in its place."""
    await opened(dns_site, www=ONE)
    www = f"www.{dns_site.zone}"
    async with Proxy(dns_site.host, dns_site.port) as proxy:
        zone = dns_site.client(port=proxy.port)
        assert await zone.read_fence() == FENCES[0].seen
        proxy.answers = lambda answer: [spoil(answer)]
        for ask in (zone.read_fence(), zone.read([www])):
            with pytest.raises(ZoneDown, match="somebody may answer"):
                await ask
        proxy.answers = lambda answer: [answer]
        assert await zone.read([www]) == {www: Served(records=ONE)}
        assert await zone.read_fence() == FENCES[0].seen


async def test_a_reader_without_a_key_is_misled(dns_site: DnsSite) -> None:
    """So the tests around this one can fail."""
    await opened(dns_site, www=ONE)
    www = f"www.{dns_site.zone}"
    async with Proxy(dns_site.host, dns_site.port) as proxy:
        proxy.answers = lambda answer: [falsified(answer)]
        plain = BulkReader(proxy.host, proxy.port, timeout_s=5.0)
        assert await plain.read([www]) == {www: Served(records=FALSE)}
        await plain.close()


async def test_an_answer_of_earlier_is_none(dns_site: DnsSite) -> None:
    """An older fence and older content, signed as they were, are not taken for those of now."""
    writer = await opened(dns_site, www=ONE)
    www = f"www.{dns_site.zone}"
    async with Proxy(dns_site.host, dns_site.port) as proxy:
        proxy.answers = Replay()
        zone = dns_site.client(port=proxy.port)
        assert await zone.read_fence() == FENCES[0].seen
        assert await zone.read([www]) == {www: Served(records=ONE)}
        await put(dns_site, writer, www=TWO)
        assert await writer.write(Transaction(fence_seen=FENCES[0].seen, fence_after=FENCES[1])) == Committed()
        for ask in (zone.read_fence(), zone.read([www])):
            with pytest.raises(ZoneDown, match="somebody may answer"):
                await ask
        proxy.answers = lambda answer: [answer]
        assert await zone.read_fence() == FENCES[1].seen
        assert await zone.read([www]) == {www: Served(records=TWO)}


async def test_answers_that_change_places_are_none(dns_site: DnsSite) -> None:
    """The answers to two questions, each sent as the other's, say nothing of either name."""
    await opened(dns_site, one=ONE, two=TWO)
    names = [f"one.{dns_site.zone}", f"two.{dns_site.zone}"]
    async with Proxy(dns_site.host, dns_site.port) as proxy:
        zone = dns_site.client(port=proxy.port)
        proxy.answers = Swap()
        with pytest.raises(ZoneDown, match="somebody may answer"):
            await zone.read(names)
        proxy.answers = lambda answer: [answer]
        assert await zone.read(names) == {names[0]: Served(records=ONE), names[1]: Served(records=TWO)}


async def test_one_changed_answer_costs_its_name_alone(dns_site: DnsSite) -> None:
    """The rest of what was asked with it is told as ever, and the fence, too."""
    await opened(dns_site, one=ONE, two=TWO)
    names = [f"one.{dns_site.zone}", f"two.{dns_site.zone}"]
    async with Proxy(dns_site.host, dns_site.port) as proxy:
        zone = dns_site.client(port=proxy.port)
        proxy.answers = lambda answer: [falsified(answer)] if b"\3one" in answer else [answer]
        assert await zone.read(names) == {names[1]: Served(records=TWO)}
        assert await zone.read([fence_name(dns_site.zone)])
