"""Guard `targets_min`: an endpoint has enough usable addresses. Nobody's word lets an empty one pass."""

from enactord.core.guards.kinds import Change, EndpointGuard
from enactord.core.settings import Key, Values

_TARGETS_MIN = Key(
    name="targets_min",
    default=1,
    low=1,
    high=1000,
    high_is_strict=True,
    meaning="Usable addresses that an endpoint needs; with fewer it is held.",
)


def _judge(change: Change, limits: Values) -> str:
    needed = 1 if change.approved else limits[_TARGETS_MIN]
    content = change.content
    usable = len(content.usable)
    if usable >= needed:
        return ""
    return (
        f"{usable} usable addresses of {len(content.targets)}, at least {needed};"
        ' to withdraw the name, publish it with "withdraw": true'
    )


GUARD = EndpointGuard(name="targets_min", keys=(_TARGETS_MIN,), judge=_judge)
