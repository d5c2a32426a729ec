"""What each answer to an update proves; the table of `enactord.backends.rfc2136.zone`, row by row."""

from collections.abc import Callable

import pytest

from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.core.fence import Fence
from enactord.core.records import Committed, Outcome, Reason, Refused, Transaction, Unknown
from enactord.wire.tsig import TsigFault, TsigKey, find_tsig, sign, verify, with_unsigned_error
from tests.servers.tcp_peer import Peer, serving

NOW_S = 1_800_000_000
KEY = TsigKey(name="enactor.", algorithm="hmac-sha256", secret=b"0" * 32)
OTHER = TsigKey(name="enactor.", algorithm="hmac-sha256", secret=b"1" * 32)
OPEN = Transaction(fence_seen=(), fence_after=Fence(scope="s", generation=1, plan="0" * 16))


class StoppedClock:
    def now(self) -> float:
        return NOW_S + 0.9


def unsigned(request: bytes, rcode: int, *, flags: int = 0xA800) -> bytes:
    return request[:2] + (flags | rcode).to_bytes(2, "big") + bytes(8)


async def outcome_of(make: Callable[[bytes], bytes | None], timeout_s: float = 5.0) -> Outcome:
    """Write to a server that replies what `make` returns; None resets the connection."""

    async def script(peer: Peer) -> None:
        reply = make(await peer.receive())
        if reply is None:
            peer.reset()
        elif reply:
            peer.reply(reply)
        await peer.receive()

    async with serving(script) as port:
        zone = Rfc2136Zone(
            "example.test.", host="127.0.0.1", port=port, key=KEY, clock=StoppedClock(), timeout_s=timeout_s
        )
        try:
            return await zone.write(OPEN)
        finally:
            await zone.close()


async def test_noerror_signed_by_the_key_is_committed() -> None:
    """The request verifies at the server, and its answer, computed over the request's MAC, here."""

    def make(request: bytes) -> bytes:
        mac = verify(request, [KEY], now_s=NOW_S).mac
        return sign(unsigned(request, 0), KEY, now_s=NOW_S, request_mac=mac)[0]

    assert await outcome_of(make) == Committed()


@pytest.mark.parametrize(
    "make",
    [
        lambda request: unsigned(request, 0),
        lambda request: sign(unsigned(request, 0), KEY, now_s=NOW_S)[0],
        lambda request: sign(
            unsigned(request, 0), OTHER, now_s=NOW_S, request_mac=verify(request, [KEY], now_s=NOW_S).mac
        )[0],
        lambda request: unsigned(request, 0, flags=0x8000),
        lambda request: unsigned(request, 2),
        lambda request: unsigned(request, 11),
        lambda request: request,
        lambda request: None,
    ],
    ids=["unsigned", "over no request", "other secret", "to a query", "SERVFAIL", "odd rcode", "echo", "reset"],
)
async def test_answers_that_prove_nothing_are_unknown(make: Callable[[bytes], bytes | None]) -> None:
    """Anyone could have said it, or the server failed half way: read before writing again."""
    assert isinstance(await outcome_of(make), Unknown)


async def test_no_answer_in_time_is_unknown() -> None:
    """Silence after sending proves nothing."""
    assert isinstance(await outcome_of(lambda _: b"", 0.1), Unknown)


@pytest.mark.parametrize(
    ("rcode", "reason"),
    [
        (3, Reason.CONTENT),
        (6, Reason.CONTENT),
        (7, Reason.CONDITION),
        (8, Reason.CONDITION),
        (5, Reason.DENIED),
        (9, Reason.DENIED),
        (1, Reason.CONTENT),
        (4, Reason.CONTENT),
        (10, Reason.CONTENT),
    ],
)
async def test_refusals_are_believed_unsigned(rcode: int, reason: Reason) -> None:
    """The rcode alone says why; nothing was applied."""
    outcome = await outcome_of(lambda request: unsigned(request, rcode))
    assert isinstance(outcome, Refused)
    assert outcome.reason is reason


@pytest.mark.parametrize(
    ("fault", "word"), [(TsigFault.BADSIG, "secret"), (TsigFault.BADKEY, "know"), (TsigFault.BADTIME, "clock")]
)
async def test_denials_name_what_to_mend(fault: TsigFault, word: str) -> None:
    """The TSIG error tells a wrong secret, an unknown key and a wrong clock apart."""

    def make(request: bytes) -> bytes:
        record = find_tsig(request)
        assert record is not None
        return with_unsigned_error(unsigned(request, 9), record, fault)

    outcome = await outcome_of(make)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED
    assert word in outcome.detail


async def test_nobody_listening_is_busy() -> None:
    """What was never sent was certainly not applied."""
    async with serving(_hang_up) as port:
        pass
    zone = Rfc2136Zone("example.test.", host="127.0.0.1", port=port, key=KEY, clock=StoppedClock(), timeout_s=1.0)
    outcome = await zone.write(OPEN)
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.BUSY


async def _hang_up(peer: Peer) -> None:
    peer.reset()


async def test_a_bare_refusal_names_each_of_its_likely_causes() -> None:
    """REFUSED says no more: a secondary, a frozen zone and a policy all answer so, and none of them alone is blamed."""
    outcome = await outcome_of(lambda request: unsigned(request, 5))
    assert isinstance(outcome, Refused)
    assert all(cause in outcome.detail for cause in ("secondary", "not its primary", "frozen", "policy"))
