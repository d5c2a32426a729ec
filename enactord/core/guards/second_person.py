"""Guard `second_person`: nobody approves a plan of their own, where the limits ask for two people."""

from enactord.core.guards.kinds import Guard
from enactord.core.refusal import Refusal
from enactord.core.settings import Key, Values

SECOND_PERSON = Key(
    name="second_person",
    default=False,
    high_is_strict=True,
    meaning="Whether an approval needs somebody else than the plan's author. On the command line, names are as they are"
    " given.",
)
GUARD = Guard(name="second_person", keys=(SECOND_PERSON,))


def judge_approval(publisher: str, approver: str, limits: Values) -> Refusal | None:
    """An approval is of another person than the plan, if the limits say so. `publisher`: "": nobody knows."""
    if not limits[SECOND_PERSON] or (publisher and publisher != approver):
        return None
    of = f"the plan is of {publisher}, who approves it" if publisher else "the plan names no author"
    return Refusal(
        guard=GUARD.name,
        detail=f"{of}: an approval needs somebody else ({SECOND_PERSON.name}); have another operator run"
        " enactorctl publish --approve, or bring older content back with enactorctl rollback",
    )
