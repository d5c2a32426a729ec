"""What each answer to a question proves; the second table of `enactord.backends.rfc2136.zone`, row by row."""

import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.core.errors import ZoneDown
from enactord.core.fence import Fence
from enactord.core.records import Records, Served
from enactord.wire.answer import TYPE_A, TYPE_AAAA
from enactord.wire.tsig import TsigFault, TsigKey, find_tsig, sign, verify, with_unsigned_error
from tests.servers.tcp_peer import Peer, serving

NOW_S = 1_800_000_000
KEY = TsigKey(name="enactor.", algorithm="hmac-sha256", secret=b"0" * 32)
OTHER = TsigKey(name="enactor.", algorithm="hmac-sha256", secret=b"1" * 32)
NEXT = TsigKey(name="next.", algorithm="hmac-sha512", secret=b"2" * 64)
NAMES = [f"n{number}.example.test." for number in range(4)]
FENCE = Fence(scope="s", generation=7, plan="0" * 16)
AA = 0x8400
RIGHT = Served(records=Records(ttl_s=30, a=(b"\xc0\0\2\1",), aaaa=()))

Make = Callable[[bytes], bytes]


class StoppedClock:
    def __init__(self, now_s: float = NOW_S + 0.9) -> None:
        self.now_s = now_s

    def now(self) -> float:
        return self.now_s


def rtype_of(request: bytes) -> int:
    return int.from_bytes(request[request.index(0, 12) + 1 :][:2], "big")


def unsigned(request: bytes, rcode: int = 0, *, flags: int = AA) -> bytes:
    """192.0.2.1 for A, nothing for AAAA, the fence for TXT; to an error nothing."""
    question = request[12 : request.index(0, 12) + 5]
    rtype = rtype_of(request)
    rdata = {TYPE_A: b"\xc0\0\2\1", TYPE_AAAA: b""}.get(rtype, FENCE.seen[0])
    count = 1 if rdata and rcode == 0 else 0
    record = b"\xc0\x0c" + question[-4:] + b"\0\0\0\x1e" + len(rdata).to_bytes(2, "big") + rdata
    head = request[:2] + (flags | rcode).to_bytes(2, "big") + b"\0\1" + count.to_bytes(2, "big") + bytes(4)
    return head + question + record * count


def signed(request: bytes, rcode: int = 0, *, key: TsigKey = KEY, now_s: int = NOW_S, error: int = 0) -> bytes:
    """The same, signed as RFC 8945 wants it."""
    mac = verify(request, [key], now_s=now_s).mac
    return sign(unsigned(request, rcode), key, now_s=now_s, request_mac=mac, error=error)[0]


def naming(fault: TsigFault) -> Make:
    def make(request: bytes) -> bytes:
        record = find_tsig(request)
        assert record is not None
        return with_unsigned_error(unsigned(request, 9), record, fault)

    return make


@contextlib.asynccontextmanager
async def zone_of(make: Make, clock: StoppedClock | None = None) -> AsyncIterator[Rfc2136Zone]:
    """A zone whose server answers each question with what `make` returns."""

    async def script(peer: Peer) -> None:
        while True:
            peer.reply(make(await peer.receive()))

    async with serving(script) as port:
        zone = Rfc2136Zone(
            "example.test.", host="127.0.0.1", port=port, key=KEY, clock=clock or StoppedClock(), timeout_s=5.0
        )
        try:
            yield zone
        finally:
            await zone.close()


async def test_what_the_key_signed_is_believed() -> None:
    """Names and fence; every question verifies at the server."""
    async with zone_of(signed) as zone:
        assert await zone.read(NAMES) == dict.fromkeys(NAMES, RIGHT)
        assert await zone.read_fence() == FENCE.seen


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (unsigned, "not signed; somebody may answer in the server's place"),
        (lambda request: unsigned(request, 3), "not signed; somebody may answer"),
        (lambda request: sign(unsigned(request), KEY, now_s=NOW_S)[0], "does not match; somebody"),
        (lambda request: sign(unsigned(request), OTHER, now_s=NOW_S)[0], "does not match; somebody"),
        (lambda request: sign(unsigned(request), NEXT, now_s=NOW_S)[0], "not known; somebody"),
        (lambda request: signed(request)[:-7] + b"\0\0\0\0\0\0\0", "somebody"),
        (lambda request: request, "somebody"),
        (naming(TsigFault.BADSIG), "NOTAUTH to key enactor.: BADSIG: the server has another secret"),
        (naming(TsigFault.BADKEY), "NOTAUTH to key enactor.: BADKEY: the server does not know this key"),
        (naming(TsigFault.BADTIME), "NOTAUTH to key enactor.: BADTIME: the clocks"),
        (naming(TsigFault.BADTRUNC), "BADTRUNC: the server wants a longer"),
        (lambda request: signed(request, 9, error=18), "NOTAUTH to key enactor.: BADTIME: the clocks"),
        (lambda request: unsigned(request, 9), "another secret.*clock too far off; PowerDNS"),
        (lambda request: unsigned(request, 5), "REFUSED to key enactor.: .*allow-query"),
        (lambda request: signed(request, 5), "REFUSED to key enactor.: .*allow-query"),
        (lambda request: unsigned(request, 2), "SERVFAIL to key enactor."),
        (lambda request: unsigned(request, 11), "rcode 11 to key enactor."),
    ],
)
async def test_what_proves_nothing_tells_of_no_name(make: Make, told: str) -> None:
    """Neither of a fence: the zone is down, and the message says what to mend."""
    async with zone_of(make) as zone:
        with pytest.raises(ZoneDown, match=told):
            await zone.read(NAMES)
        with pytest.raises(ZoneDown, match=rf"_enactord\.example\.test\.: .*{told}"):
            await zone.read_fence()


@pytest.mark.parametrize("off_s", [-400, 400])
async def test_an_answer_of_another_time_names_the_clocks(off_s: int) -> None:
    """A recorded answer, or a clock that is wrong."""
    clock = StoppedClock()

    def make(request: bytes) -> bytes:
        clock.now_s += off_s
        return signed(request)

    async with zone_of(make, clock) as zone:
        with pytest.raises(ZoneDown, match=r"BADTIME: the clocks .*set this machine's"):
            await zone.read_fence()


async def test_names_that_are_not_proved_are_left_out() -> None:
    """One falsified answer, to A or to AAAA, costs its name alone."""

    def make(request: bytes) -> bytes:
        spoilt = b"\2n1" in request and rtype_of(request) == TYPE_A
        spoilt |= b"\2n3" in request and rtype_of(request) == TYPE_AAAA
        return unsigned(request) if spoilt else signed(request)

    async with zone_of(make) as zone:
        assert await zone.read(NAMES) == dict.fromkeys([NAMES[0], NAMES[2]], RIGHT)


async def test_questions_follow_the_key_of_the_moment() -> None:
    """A new key signs the next question; answers that the old one signs are then not believed."""
    keys = [KEY]

    def make(request: bytes) -> bytes:
        return signed(request, key=keys[0])

    async with zone_of(make) as zone:
        assert await zone.read_fence() == FENCE.seen
        zone.key = keys[0] = NEXT
        assert await zone.read_fence() == FENCE.seen
        assert await zone.read(NAMES) == dict.fromkeys(NAMES, RIGHT)

    def stale(request: bytes) -> bytes:
        record = find_tsig(request)
        assert record is not None
        return sign(unsigned(request), KEY, now_s=NOW_S, request_mac=record.mac)[0]

    async with zone_of(stale) as zone:
        zone.key = NEXT
        with pytest.raises(ZoneDown, match="not known"):
            await zone.read_fence()
