"""Guard `generation_step`: generations end, and never go back, so none is used up by a mistake."""

from enactord.core.guards.kinds import Guard
from enactord.core.refusal import Refusal
from enactord.core.settings import Key, Values

STEP_MAX = Key(
    name="generation_step_max",
    default=1_000_000,
    low=1,
    high=10**15,
    meaning="How far above the newest plan (or the highest fence) a plan's generation may be; one beyond is refused.",
)
GUARD = Guard(name="generation_step", keys=(STEP_MAX,))


def in_step(generation: int, newest: int, limits: Values) -> bool:
    """Whether a generation is not so far above the newest plan that nothing but a mistake explains it."""
    return generation <= newest + limits[STEP_MAX]


def judge_step(generation: int, before: int, limits: Values, *, approved: bool) -> Refusal | None:
    """A plan's generation is not too far above what was before it."""
    if approved or in_step(generation, before, limits):
        return None
    return Refusal(
        guard=GUARD.name,
        detail=f"generation {generation} is {generation - before} above {before}, at most"
        f" {limits[STEP_MAX]} ({STEP_MAX.name}); leave the generation out to be given {before + 1},"
        " or publish it with --approve if it is meant",
    )
