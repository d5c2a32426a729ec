"""Seeing what is served: each verify server is asked directly, in bulk, and in part by a second stack."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set

from enactord.core.errors import ZoneDown
from enactord.core.records import Records, Served
from enactord.engine.run_all import run_all
from enactord.ports import ServedReader, Verifier

SAMPLE_ALL_UP_TO = 128
"""Up to so many names the second stack is asked for all of them, and the bulk reader not at all."""
SAMPLE_ABOVE = 32
_FIRST_PAUSE_S = 0.02
_PAUSE_MAX_S = 0.5

GivenUp = Callable[[Sequence[str]], Awaitable[Set[str]]]
Shows = Callable[[Served, Records], bool]


async def seen_served(
    verifiers: Sequence[Verifier],
    wanted: Mapping[str, Records],
    *,
    timeout_s: float,
    rng: random.Random,
    given_up: GivenUp | None = None,
    shows: Shows = Served.shows,
) -> set[str]:
    """Return the names that every server serves exactly as wanted, waiting for laggards up to the limit.

    `given_up` says which of some names, not shown yet, are not worth waiting for; `shows`, whether an answer
    counts as what is wanted. Without any server nothing is seen.
    """
    seen = set(wanted) if verifiers else set()
    looks = (_seen_on(verifier, wanted, timeout_s, rng, given_up, shows) for verifier in verifiers)
    for found in await run_all(looks):
        seen &= found
    return seen


async def _seen_on(
    verifier: Verifier,
    wanted: Mapping[str, Records],
    timeout_s: float,
    rng: random.Random,
    given_up: GivenUp | None,
    shows: Shows,
) -> set[str]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    names = sorted(wanted)
    if len(names) <= SAMPLE_ALL_UP_TO:
        plan: list[tuple[ServedReader, list[str]]] = [(verifier.sample, names)]
    else:
        plan = [(verifier.bulk, names), (verifier.sample, sorted(rng.sample(names, SAMPLE_ABOVE)))]
    unseen: set[str] = set()
    for reader, asked in plan:
        left, pause_s = asked, _FIRST_PAUSE_S
        while left:
            served: Mapping[str, Served] = {}
            try:
                async with asyncio.timeout_at(deadline):
                    served = await reader.read(left)
            except (ZoneDown, TimeoutError):
                pass
            left = [name for name in left if name not in served or not shows(served[name], wanted[name])]
            if left and given_up is not None:
                try:
                    async with asyncio.timeout_at(deadline):
                        hopeless = await given_up(left)
                except TimeoutError:
                    hopeless = set()
                unseen.update(hopeless)
                left = [name for name in left if name not in hopeless]
            if not left or loop.time() + pause_s >= deadline:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(_PAUSE_MAX_S, pause_s * 2)
        unseen.update(left)
    return set(names) - unseen
