"""Rounds: who runs when, and what is done with a candidate that cannot or takes too long."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from bench.candidates.protocol import Candidate, CannotDo, Took
from bench.fleet import Fleet
from bench.registry import BENCHMARKS, FORMS
from bench.runner import Bench, Sizes
from bench.sites import KINDS, Quiet, Site
from enactord.core.content import parse_content
from enactord.core.guards import Limits, judge_endpoint
from enactord.core.plan import read_plan
from tests.servers.dns_server import DnsServer
from tests.servers.etcd import Etcd

ZONE = "one.test."


class Scripted:
    """A candidate that only notes when it was asked."""

    def __init__(self, name: str, order: list[str], *, takes_s: float = 0.0, cannot: str = "") -> None:
        self.name = name
        self.fleet = Fleet(ZONE, 5)
        self._order = order
        self._takes_s = takes_s
        self._cannot = cannot

    async def prepare(self) -> None: ...

    async def apply(self) -> Took:
        self._order.append(self.name)
        await asyncio.sleep(self._takes_s)
        if self._cannot:
            raise CannotDo(self._cannot)
        return Took(took_s=1.0, cpu_s=0.0, endpoints=5)

    async def close(self) -> None: ...


def site() -> Site:
    """A site of which only name and kind are looked at."""
    nothing = cast(DnsServer, None), cast(Etcd, None)
    return Site(name="bind", kind=KINDS["bind"], server=nothing[0], etcd=nothing[1], dir=Path(), pids=())


async def interleave(bench: Bench, candidates: Sequence[Candidate]) -> None:
    def record(candidate: Candidate, took: Took) -> None:
        bench.record("bind", "case", candidate.name, "time", "s", took.took_s)

    await bench.interleave(site(), "case", candidates, record=record)


async def test_candidates_take_turns_and_each_round_begins_with_another() -> None:
    """What comes after a pause, or warms something up, is not always the same one."""
    order: list[str] = []
    bench = Bench(Sizes(rounds=3), lambda text: None)
    await interleave(bench, [Scripted(name, order) for name in "abc"])
    assert order == list("abcbcacab")
    assert {cell.candidate: len(cell.values) for cell in bench.cells} == {"a": 3, "b": 3, "c": 3}


async def test_who_cannot_is_asked_once_and_remarked() -> None:
    """The table then says why there is no figure."""
    order: list[str] = []
    bench = Bench(Sizes(rounds=3), lambda text: None)
    await interleave(bench, [Scripted("a", order), Scripted("b", order, cannot="no such key")])
    assert order.count("b") == 1
    (cell,) = (cell for cell in bench.cells if cell.candidate == "b")
    assert (cell.values, cell.note) == ((), "no such key")


async def test_who_has_spent_its_time_sits_out_but_had_a_round() -> None:
    """Slow ones must not make the whole run long."""
    order: list[str] = []
    bench = Bench(Sizes(rounds=4, limit_s=0.0), lambda text: None)
    await interleave(bench, [Scripted("a", order, takes_s=0.001)])
    assert order == ["a"]


async def test_a_zone_is_left_alone_before_a_round() -> None:
    """As long as its kind of server wants it."""
    loop = asyncio.get_running_loop()
    quiet = Quiet(0.05)
    async with quiet:
        pass
    left = loop.time()
    async with quiet:
        assert loop.time() - left >= 0.045


async def test_each_step_changes_what_it_says() -> None:
    """Every changed endpoint gets addresses it did not have; the others keep theirs; no guard would hold one."""
    fleet = Fleet(ZONE, 300)
    before = {name: fleet.addresses(name) for name in fleet.names}
    changed = fleet.step(0.01)
    assert len(changed) == 3
    for name in fleet.names:
        assert (not set(before[name]) & set(fleet.addresses(name))) == (name in changed)
        assert fleet.version_of(frozenset(fleet.addresses(name))) == (1 if name in changed else 0)
    contents = read_plan(fleet.document()).endpoints
    assert sorted(contents) == sorted(fleet.names)
    limits = Limits(allow_private=True)
    assert all(
        judge_endpoint(parse_content(text), None, limits, 0.0, approved=False) is None for text in contents.values()
    )
    assert sorted(read_plan(fleet.document(base=1)).endpoints) == sorted(changed)


def test_every_benchmark_has_each_form_and_asks_a_question() -> None:
    """And names of candidates' measures that ratios are of."""
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.name == name
        assert benchmark.question.endswith("?") or benchmark.question.endswith(".")
        assert set(benchmark.sizes) == set(FORMS)
        assert benchmark.main


@pytest.mark.parametrize("server", ["knot", "bind"])
def test_sizes_can_be_kept_to_one_server(server: str) -> None:
    """The other's are left out, all else stays."""
    sizes = Sizes(endpoints={"knot": (1, 2), "bind": (3,)}, rounds=7).on(server)
    assert {name for name, _ in sizes.places} == {server}
    assert sizes.rounds == 7


def test_sizes_can_be_given() -> None:
    """On every server that the benchmark runs on."""
    sizes = Sizes(endpoints={"knot": (1, 2), "bind": (3,)}).of((50,))
    assert list(sizes.places) == [("knot", 50), ("bind", 50)]
