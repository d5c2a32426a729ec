"""What a variant's searches find, put together and held against what must be found."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.model.check import ENDLESS, STUCK, Answer, Question, ask
from tests.model.variants import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The rules found broken in a variant, each with the shortest way there; the other rules hold.

    `states` are those of the largest search.
    """

    variant: Variant
    ways: dict[str, tuple[str, ...]]
    states: int
    seconds: float

    @property
    def broken(self) -> tuple[str, ...]:
        return tuple(sorted(self.ways))

    @property
    def expected(self) -> bool:
        return self.broken == self.variant.breaks


def questions(variant: Variant) -> list[Question]:
    """Return the searches: one for each rule that must be found broken, one for all the others together.

    Where I5 is among those, a last one for a run that never comes to rest.
    """
    asked = [(rule,) for rule in variant.breaks] + [variant.keeps]
    found = [Question(model=variant.model, flags=variant.flags, rules=rules, large=variant.large) for rules in asked]
    if "I5" in variant.keeps:
        found.append(Question(model=variant.model, flags=variant.flags, ends=True, large=variant.large))
    return found


def judge(variant: Variant) -> Verdict:
    """Run a variant's searches. Raises `ModelError`."""
    start = time.monotonic()
    answers = [ask(question) for question in questions(variant)]
    ways = {_rule(answer): answer.steps for answer in answers if answer.broken}
    states = max(answer.states for answer in answers)
    return Verdict(variant=variant, ways=ways, states=states, seconds=time.monotonic() - start)


def judge_all(variants: Iterable[Variant], jobs: int, done: Callable[[Verdict], None]) -> list[Verdict]:
    """Run the searches of many variants, a few at once; returns the verdicts in the order of the variants."""

    def one(variant: Variant) -> Verdict:
        verdict = judge(variant)
        done(verdict)
        return verdict

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, variants))


def _rule(answer: Answer) -> str:
    """A run without an end, or a process that waits for ever, breaks I5."""
    return "I5" if answer.broken in (ENDLESS, STUCK) else answer.broken


def markdown(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Yield the lines of the tables, one for each group of variants."""
    group = ""
    for verdict in verdicts:
        variant = verdict.variant
        if variant.group != group:
            if group:
                yield ""
            group = variant.group
            head = [f"{group}", "", *variant.rules, "states"]
            yield "| " + " | ".join(head) + " |"
            yield "|---" * (len(head) - 1) + "|--:|"
        cells = [f"`{variant.name}`", variant.what, *marks(verdict), f"{verdict.states:,}"]
        yield "| " + " | ".join(cells) + " |"


def marks(verdict: Verdict) -> list[str]:
    """Return "holds" or "**broken**" for each rule of the variant's model."""
    return ["**broken**" if rule in verdict.ways else "holds" for rule in verdict.variant.rules]
