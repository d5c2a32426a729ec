"""A drill: a fault, the commands of its section in the order in which a person types them, and the fault's end."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.runbook.desk import Desk

Hand = Callable[[Desk], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Look:
    """A command that only looks. It is typed until it ends with the code and says the words: a person looks again."""

    command: str
    says: str = ""
    code: int | tuple[int, ...] = 0


@dataclass(frozen=True, slots=True)
class Deed:
    """A command that changes something: typed once."""

    command: str
    says: str = ""
    code: int | tuple[int, ...] = 0


@dataclass(frozen=True, slots=True)
class Hands:
    """What the section says in words: to be done by hand, by another program, or to be awaited."""

    do: Hand


Step = Look | Deed | Hands


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """How a section is tried."""

    section: str
    fault: Hand
    """Makes the fault, and waits until it shows. In a procedure: what has happened before."""
    steps: Sequence[Step]
    over: Hand
    """Waits until the fault is over; fails where it is not."""
    enactors: int = 1
    """How many run; 0: servers alone, and no plan."""

    @property
    def commands(self) -> list[str]:
        """What is typed, each as often as it is typed."""
        return [step.command for step in self.steps if not isinstance(step, Hands)]


def ends(code: int, wanted: int | tuple[int, ...]) -> bool:
    """Whether a command has ended as it should; several codes: it depends on what other servers have done by then."""
    return code == wanted if isinstance(wanted, int) else code in wanted


async def carry_out(drill: Drill, desk: Desk) -> None:
    """Make the fault, go through the steps, and see its end."""
    await drill.fault(desk)
    for step in drill.steps:
        match step:
            case Hands():
                await step.do(desk)
            case Deed():
                typed = await desk.type(step.command)
                assert ends(typed.code, step.code), f"{step.command}: exit code {typed.code}: {typed.text}"
                assert step.says in typed.text, f"{step.command}: no {step.says!r} in: {typed.text}"
            case Look():

                async def shows(look: Look = step) -> bool:
                    typed = await desk.type(look.command)
                    return ends(typed.code, look.code) and look.says in typed.text

                await desk.until(shows, f"{step.command}: exit code {step.code} and {step.says!r}")
    await drill.over(desk)
