"""Response rate limiting of the embedded server: by network, with slip, in bounded memory, and never over TCP."""

import asyncio
import math
import socket
from collections import Counter
from contextlib import suppress

import dns.flags
import dns.message
import dns.tsig
import pytest

from enactord.dns_server.rates import RESPONSES_PER_S, ResponseRates, Verdict, network_of, truncated
from tests.embedded_lab import SIGNER, ZONE, ask, look_up, put, serving, texts


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def verdicts(rates: ResponseRates, source: str, count: int) -> list[Verdict]:
    return [rates.judge(source) for _ in range(count)]


SEND, TRUNCATE, DROP = Verdict.SEND, Verdict.TRUNCATE, Verdict.DROP


def test_answers_beyond_the_rate_are_dropped_but_for_each_second_one() -> None:
    """A second's answers may come at once; then drop, truncate, drop, truncate, until time has passed."""
    clock = Clock()
    rates = ResponseRates(clock, per_s=5)
    assert verdicts(rates, "192.0.2.1", 5) == [SEND] * 5
    assert verdicts(rates, "192.0.2.1", 4) == [DROP, TRUNCATE, DROP, TRUNCATE]
    clock.now += 0.2
    assert verdicts(rates, "192.0.2.1", 2) == [SEND, DROP]
    clock.now += 100
    assert verdicts(rates, "192.0.2.1", 6) == [SEND] * 5 + [TRUNCATE]
    assert (rates.dropped, rates.truncated) == (3, 3)


@pytest.mark.parametrize("load", [1.25, 1.5, 3.0])
def test_each_second_answer_beyond_the_rate_is_truncated_whatever_the_load(load: float) -> None:
    """Just above the rate, too, where each answer beyond it stands between two that are sent."""
    clock = Clock()
    rates = ResponseRates(clock, per_s=8)
    seen = []
    for _ in range(800):
        clock.now += 1 / (8 * load)
        seen.append(rates.judge("192.0.2.1"))
    beyond = [verdict for verdict in seen if verdict is not SEND]
    assert len(beyond) == pytest.approx(800 * (1 - 1 / load), abs=10)
    assert beyond == ([DROP, TRUNCATE] * 800)[: len(beyond)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("::ffff:192.0.2.1", "192.0.2.9", True),
        ("2001:db8:0:100::1", "2001:db8:0:1ff:ffff::1", True),
        ("2001:db8:0:100::1", "2001:db8:0:200::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_a_network_shares_its_rate(one: str, other: str, same: bool) -> None:
    """/24 and /56: a flood forges all addresses of a network, and one client may hold a whole /64."""
    rates = ResponseRates(Clock(), per_s=1)
    assert rates.judge(one) is SEND
    assert rates.judge(other) is (DROP if same else SEND)
    assert (network_of(one) == network_of(other)) is same


@pytest.mark.parametrize("source", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_limited_on_demand_alone(source: str) -> None:
    """Nobody elsewhere can forge it, and enactors beside the server ask much."""
    assert set(verdicts(ResponseRates(Clock(), per_s=1), source, 1000)) == {SEND}
    assert DROP in verdicts(ResponseRates(Clock(), per_s=1, loopback=True), source, 10)


def test_without_a_limit_or_a_slip() -> None:
    assert set(verdicts(ResponseRates(Clock(), per_s=math.inf), "192.0.2.1", 1000)) == {SEND}
    assert verdicts(ResponseRates(Clock(), per_s=1, slip=0), "192.0.2.1", 4) == [SEND, DROP, DROP, DROP]
    assert verdicts(ResponseRates(Clock(), per_s=1, slip=1), "192.0.2.1", 3) == [SEND, TRUNCATE, TRUNCATE]


def test_what_is_remembered_is_bounded() -> None:
    """A flood from everywhere takes no more memory; the network that is silent longest is forgotten first."""
    rates = ResponseRates(Clock(), per_s=1, networks_max=100)
    for number in range(1000):
        rates.judge(f"10.{number // 256}.{number % 256}.1")
        rates.judge("192.0.2.1")
    assert len(rates._networks) == 100
    assert rates.judge("192.0.2.1") is not SEND, "one that goes on asking is not forgotten"


def test_a_truncated_answer_is_no_larger_than_its_question() -> None:
    """It holds the question, and no record: the flood that it would make is smaller than the one that came."""
    question = dns.message.make_query("a.b.example.test.", "AAAA", use_edns=False)
    full = dns.message.make_response(question)
    full.flags |= dns.flags.AA
    full.answer.append(dns.rrset.from_text("a.b.example.test.", 5, "IN", "AAAA", *(f"2001:db8::{n}" for n in range(9))))
    wire = truncated(full.to_wire())
    assert len(wire) <= len(question.to_wire())
    short = dns.message.from_wire(wire)
    assert question.is_response(short)
    assert short.flags & dns.flags.TC
    assert short.flags & dns.flags.AA
    assert not short.answer
    assert len(truncated(question.to_wire()[:2] + b"\x84\x01" + bytes(8))) == 12


def test_a_truncated_answer_keeps_a_name_whose_label_holds_a_zero_byte() -> None:
    """A zero byte ends a name only where a label would begin."""
    question = dns.message.make_query(r"a\000b.example.test.", "A", use_edns=False).to_wire()
    assert truncated(question) == question[:2] + bytes((question[2] | 0x02,)) + question[3:]


async def test_signed_questions_over_udp_are_not_limited() -> None:
    """Their clients drop an unsigned "truncated"; and what others have spent of the rate keeps no enactor out."""
    async with serving(udp_responses_per_s=1.0, udp_limits_loopback=True) as server:
        await put(server, "www 30 A 192.0.2.1")
        for _ in range(20):
            query = dns.message.make_query(f"www.{ZONE}", "A", use_edns=False)
            query.use_tsig(SIGNER)
            answer = await ask(server, query)
            assert answer.had_tsig
            assert texts(answer) == [f"www.{ZONE} 30 IN A 192.0.2.1"]
        assert server.responses_limited == 0


async def test_what_is_signed_wrongly_is_limited() -> None:
    """Anybody can put a wrong signature below a question."""
    query = dns.message.make_query(f"www.{ZONE}", "A", use_edns=False)
    query.use_tsig(dns.tsig.Key("enactor.", b"x" * 32, "hmac-sha256"))
    async with serving(udp_responses_per_s=1.0, udp_limits_loopback=True) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for _ in range(20):
                client.sendto(query.to_wire(), (server.host, server.port))
            async with asyncio.timeout(20):
                while server.queries < 20:
                    await asyncio.sleep(0.01)
        assert server.responses_limited > 0


async def test_a_flood_over_a_real_socket_gets_few_answers_and_tcp_gets_all() -> None:
    """Most of a flood is left out; who is told "truncated" asks over TCP, and is answered whole."""
    asked = 400
    async with serving(udp_responses_per_s=10.0, udp_limits_loopback=True) as server:
        await put(server, "www 30 A 192.0.2.1")
        loop = asyncio.get_running_loop()
        query = dns.message.make_query(f"www.{ZONE}", "A", use_edns=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((server.host, server.port))
            began = loop.time()
            for _ in range(asked):
                await loop.sock_sendall(client, query.to_wire())
            async with asyncio.timeout(20):
                while server.queries < asked:
                    await asyncio.sleep(0.01)
            lasted_s = loop.time() - began
            seen: Counter[str] = Counter()
            with suppress(BlockingIOError):
                while True:
                    answer = dns.message.from_wire(client.recv(4096))
                    seen["truncated" if answer.flags & dns.flags.TC else "whole"] += 1
        assert 10 <= seen["whole"] <= 10 + 10 * lasted_s + 1
        assert seen["truncated"] > 0
        assert seen["whole"] + server.responses_limited == asked
        over_tcp = [await look_up(server, f"www.{ZONE}", tcp=True) for _ in range(30)]
        assert {tuple(texts(answer)) for answer in over_tcp} == {(f"www.{ZONE} 30 IN A 192.0.2.1",)}


async def test_loopback_is_not_limited_by_default() -> None:
    async with serving() as server:
        await put(server, "www 30 A 192.0.2.1")
        query = dns.message.make_query(f"www.{ZONE}", "A", use_edns=False)
        for _ in range(int(RESPONSES_PER_S) + 50):
            assert not (await ask(server, query)).flags & dns.flags.TC
        assert server.responses_limited == 0
