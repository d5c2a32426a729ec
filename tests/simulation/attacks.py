"""What a planner can do in small steps, or in one: names and addresses served over time, with the guards in the way.

Plans are put into the store past the early guards, as by a publisher with other limits: the enactors' own guards count.
`python -m tests.simulation.attacks OUT.json` measures, `… --picture OUT.png BEFORE.json AFTER.json` draws.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from enactord.core.guards import Limits
from enactord.core.plan import read_plan
from enactord.store.plans import Orders
from tests.simulation.loop import run
from tests.world import ZONE, World, plan

NAMES = 200
ADDRESSES = 16
STEP_S = 5.0
WINDOW_S = 60.0
STILL_S = 400.0
"""So long each attack lasts at least, and a little longer than several windows."""

Fleet = dict[str, dict[str, int]]
"""Weight by address, by name."""
Series = list[tuple[float, int, int]]
"""Time, names served, addresses served, at each moment that one of them changed."""


def fleet(names: int = NAMES, addresses: int = ADDRESSES) -> Fleet:
    return {
        f"n{number:03d}.{ZONE}": {f"10.1.{number}.{1 + index}": 1 for index in range(addresses)}
        for number in range(names)
    }


async def ratchet() -> AsyncIterator[Fleet]:
    """Each plan leaves out a fifth of the names."""
    wanted = fleet()
    while len(wanted) > 1:
        wanted = dict(list(wanted.items())[: len(wanted) - max(1, len(wanted) // 5)])
        yield wanted
        await asyncio.sleep(STEP_S)


async def replacement() -> AsyncIterator[Fleet]:
    """All names move to addresses that nobody knows, and these answer nothing."""
    yield {name: {f"10.9.{int(name[1:4])}.{1 + i}": 1 for i in range(ADDRESSES)} for name in fleet()}


async def concentration() -> AsyncIterator[Fleet]:
    """Sixteen addresses of weight 1 become one of weight 16, at every tenth name."""
    wanted = fleet()
    yield {n: ({next(iter(t)): ADDRESSES} if int(n[1:4]) % 10 == 0 else t) for n, t in wanted.items()}


async def halving() -> AsyncIterator[Fleet]:
    """All names lose half of their addresses, and again after each window."""
    count = ADDRESSES
    while count > 1:
        count //= 2
        yield {name: dict(list(targets.items())[:count]) for name, targets in fleet().items()}
        await asyncio.sleep(WINDOW_S + STEP_S)


async def drop_and_return() -> AsyncIterator[Fleet]:
    """A tenth of the names is dropped, and comes back within seconds with one address of sixteen."""
    wanted = fleet()
    yield {name: targets for name, targets in wanted.items() if int(name[1:4]) % 10}
    await asyncio.sleep(STEP_S)
    yield {n: (dict(list(t.items())[:1]) if int(n[1:4]) % 10 == 0 else t) for n, t in wanted.items()}


async def empty_then_move() -> AsyncIterator[Fleet]:
    """All names are left without an address, which holds them; a window later they come with addresses of nobody."""
    yield {name: {} for name in fleet()}
    await asyncio.sleep(WINDOW_S + STEP_S)
    async for moved in replacement():
        yield moved


async def mixed_limits() -> AsyncIterator[Fleet]:
    """One plan drops nine names of ten; one enactor of three has a config that would let it pass."""
    yield dict(list(fleet().items())[: NAMES // 10])


ATTACKS: Mapping[str, Callable[[], AsyncIterator[Fleet]]] = {
    "ratchet": ratchet,
    "replacement": replacement,
    "concentration": concentration,
    "halving": halving,
    "drop and return": drop_and_return,
    "empty, then move": empty_then_move,
    "mixed limits": mixed_limits,
}


def measure(attack: str) -> Series:
    """Play an attack against three enactors in virtual time; returns what was served."""
    return run(1, _play(attack))


async def _play(attack: str) -> Series:
    limits = Limits(allow_private=True, velocity_window_s=WINDOW_S)
    world = World(limits=limits, repair_interval_s=10.0)
    try:
        await world.add("a")
        await world.publish(_document(fleet()))
        await world.applied(1, 60.0)
        if attack == "mixed limits":
            world.settings["limits"] = Limits(
                allow_private=True, velocity_window_s=WINDOW_S, endpoints_removed_max_ratio=1.0
            )
        await world.add("b")
        world.settings["limits"] = limits
        await world.add("c")
        await asyncio.sleep(WINDOW_S)
        seen: Series = []
        watching = asyncio.create_task(_watch(world, seen))
        began = asyncio.get_running_loop().time()
        async for wanted in ATTACKS[attack]():
            await world.plans.publish(read_plan(_document(wanted)), Orders())
        await asyncio.sleep(max(0.0, began + STILL_S - asyncio.get_running_loop().time()))
        watching.cancel()
        return seen
    finally:
        await world.close()


def _document(wanted: Fleet) -> dict[str, Any]:
    endpoints = {
        name: {"ttl_s": 5, "targets": [{"address": a, "weight": w} for a, w in targets.items()]}
        for name, targets in wanted.items()
    }
    return plan({}) | {"endpoints": endpoints}


async def _watch(world: World, seen: Series) -> None:
    """Note how many names answer with an address that they had at first, and with how many of these."""
    desired = {name: set(targets) for name, targets in fleet().items()}
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        served = [
            len(addresses & set(world.servers[ZONE].serve(name).records.texts())) for name, addresses in desired.items()
        ]
        now = (sum(count > 0 for count in served), sum(served))
        if not seen or seen[-1][1:] != now:
            seen.append((round(loop.time() - began, 1), *now))
        await asyncio.sleep(1.0)


def picture(path: Path, before: Mapping[str, Series], after: Mapping[str, Series]) -> None:
    """Draw what was served during each attack, with the guards as they were and as they are."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(ATTACKS), figsize=(20, 6), sharex=True, sharey="row")
    for column, attack in enumerate(ATTACKS):
        for row, (title, whole) in enumerate((("names served", NAMES), ("addresses served", NAMES * ADDRESSES))):
            axis = axes[row][column]
            for series, colour, label in ((before[attack], "#c0392b", "before"), (after[attack], "#1f7a4d", "now")):
                times = [at for at, *_ in series] + [STILL_S]
                values = [100 * point[1 + row] / whole for point in series]
                axis.step(times, [*values, values[-1]], where="post", color=colour, label=label, linewidth=2)
            axis.set_ylim(0, 105)
            axis.grid(alpha=0.3)
            if row == 0:
                axis.set_title(attack)
            else:
                axis.set_xlabel("seconds")
            if column == 0:
                axis.set_ylabel(f"{title}, %")
    axes[0][0].legend()
    figure.suptitle(
        "A planner's attacks: what is served of what was wanted (200 names, 16 addresses each, window 60 s)"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def _main(words: Sequence[str]) -> None:
    if words[0] == "--picture":
        before, after = (json.loads(Path(word).read_text(encoding="utf-8")) for word in words[2:4])
        picture(Path(words[1]), before, after)
        return
    found = {attack: measure(attack) for attack in ATTACKS}
    Path(words[0]).write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main(sys.argv[1:])
