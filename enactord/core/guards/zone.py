"""Guard `zone`: a plan's names lie in the zones of the config."""

from collections.abc import Collection, Sequence

from enactord.core.guards.kinds import Guard
from enactord.core.refusal import Refusal

GUARD = Guard(name="zone")
_NAMES_SHOWN = 3
_ZONES_SHOWN = 8


def refuse_outside(outside: Sequence[str], zones: Collection[str]) -> Refusal:
    """Return the refusal of a plan with names, sorted, that lie in none of the configured zones."""
    names = ", ".join(outside[:_NAMES_SHOWN]) + (", …" if len(outside) > _NAMES_SHOWN else "")
    known = ", ".join(sorted(zones)[:_ZONES_SHOWN]) + (", …" if len(zones) > _ZONES_SHOWN else "")
    count = "1 name is" if len(outside) == 1 else f"{len(outside)} names are"
    return Refusal(
        guard=GUARD.name,
        detail=f"{count} in none of the zones {known} ({names}); take them out of the plan or add a [[zone]]",
    )
