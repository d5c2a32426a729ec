"""The benchmarks: what each asks, and how large it is in each form."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.cases import apply, backlog, churn, cost, fence, micro, one, race, recovery, slow
from bench.runner import Bench, Sizes

FORMS = ("tiny", "quick", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark. `main`: its chief measure, of which ratios to the candidate `baseline` are shown."""

    name: str
    question: str
    run: Callable[[Bench], Awaitable[None]]
    main: str
    baseline: str
    sizes: Mapping[str, Sizes]


def _forms(tiny: Sizes, quick: Sizes, full: Sizes) -> Mapping[str, Sizes]:
    return dict(zip(FORMS, (tiny, quick, full), strict=True))


def _knot(*counts: int) -> Mapping[str, Sequence[int]]:
    return {"knot": counts}


def _both(*counts: int) -> Mapping[str, Sequence[int]]:
    return {"knot": counts, "bind": counts}


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="fence",
            question="What does the fence cost? Our batches with the prerequisite that they carry, and without it.",
            run=fence.run,
            main="names a second",
            baseline="without the fence",
            sizes=_forms(
                Sizes(endpoints=_knot(100), rounds=2),
                Sizes(endpoints=_both(2_000), rounds=4),
                Sizes(endpoints=_both(10_000), rounds=7),
            ),
        ),
        Benchmark(
            name="apply",
            question="How long does a plan take in which every endpoint changed, beside what else one could use?",
            run=apply.run,
            main="time",
            baseline="naive-batched",
            sizes=_forms(
                Sizes(endpoints=_knot(60), rounds=1, limit_s=5, naive_endpoints=5),
                Sizes(endpoints=_both(1_000), rounds=2, limit_s=2, naive_endpoints=10),
                Sizes(
                    endpoints={"knot": (1_000, 10_000, 30_000), "bind": (1_000, 10_000)},
                    rounds=5,
                    limit_s=8,
                    naive_endpoints=50,
                ),
            ),
        ),
        Benchmark(
            name="share",
            question="How long does a plan take in which 1 % of the endpoints changed, with each way to apply it?",
            run=apply.run_share,
            main="time",
            baseline="naive-batched",
            sizes=_forms(
                Sizes(endpoints=_knot(60), rounds=1, limit_s=5, naive_endpoints=5),
                Sizes(endpoints=_knot(1_000), rounds=2, limit_s=2, naive_endpoints=10),
                Sizes(endpoints=_both(10_000), rounds=5, limit_s=8, naive_endpoints=50),
            ),
        ),
        Benchmark(
            name="churn",
            question="1 % changes each second: how long from publishing until each changed endpoint is seen served?",
            run=churn.run,
            main="p99",
            baseline="naive-batched",
            sizes=_forms(
                Sizes(endpoints=_knot(60), seconds=2),
                Sizes(endpoints=_both(1_000), seconds=4),
                Sizes(endpoints={"knot": (1_000, 10_000, 30_000), "bind": (10_000,)}, seconds=60),
            ),
        ),
        Benchmark(
            name="one",
            question="One endpoint changed: does it cost more among many than among few?",
            run=one.run,
            main="time",
            baseline="few",
            sizes=_forms(
                Sizes(endpoints=_knot(20, 60), rounds=2),
                Sizes(endpoints=_knot(200, 5_000), rounds=3),
                Sizes(endpoints=_both(1_000, 100_000), rounds=7),
            ),
        ),
        Benchmark(
            name="backlog",
            question="Plans come faster than they can be applied: how old is what is served?",
            run=backlog.run,
            main="age, greatest",
            baseline="",
            sizes=_forms(
                Sizes(endpoints=_knot(60), seconds=2),
                Sizes(endpoints=_knot(1_000), seconds=3),
                Sizes(endpoints=_knot(10_000), seconds=30),
            ),
        ),
        Benchmark(
            name="slow",
            question="Of three enactors, one becomes a hundred times slower: what do the others lose by it?",
            run=slow.run,
            main="time",
            baseline="3 healthy",
            sizes=_forms(
                Sizes(endpoints=_knot(60), rounds=1),
                Sizes(endpoints=_knot(1_000), rounds=2),
                Sizes(endpoints=_knot(10_000), rounds=3),
            ),
        ),
        Benchmark(
            name="race",
            question="The outage's race: an enactor stops half way through a plan and wakes up late. What is served?",
            run=race.run,
            main=race.EMPTY,
            baseline="",
            sizes=_forms(
                Sizes(endpoints=_knot(10), seconds=2),
                Sizes(endpoints=_knot(10), seconds=3),
                Sizes(endpoints=_both(30), seconds=10),
            ),
        ),
        Benchmark(
            name="recovery",
            question="How long until all is well again, with the zone emptied, etcd away, all enactors restarted?",
            run=recovery.run,
            main="time",
            baseline="",
            sizes=_forms(
                Sizes(endpoints=_knot(60), outage_s=1),
                Sizes(endpoints=_knot(300), outage_s=2),
                Sizes(endpoints=_knot(10_000), outage_s=300),
            ),
        ),
        Benchmark(
            name="cost",
            question="What memory and CPU does an enactor take, at rest and while it applies?",
            run=cost.run,
            main="peak memory",
            baseline="",
            sizes=_forms(
                Sizes(endpoints=_knot(50), seconds=1),
                Sizes(endpoints=_knot(1_000), seconds=2),
                Sizes(endpoints=_knot(1_000, 10_000, 30_000), seconds=10),
            ),
        ),
        Benchmark(
            name="micro",
            question="What do the hot pieces cost by themselves?",
            run=micro.run,
            main="time",
            baseline="",
            sizes=_forms(Sizes(seconds=0.01), Sizes(seconds=0.1), Sizes(seconds=1)),
        ),
    )
}
