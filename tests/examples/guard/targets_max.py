"""Guard `targets_max`: an endpoint has no more targets than its clients bear."""

from enactord.core.guards.kinds import Change, EndpointGuard
from enactord.core.settings import Key, Values

_TARGETS_MAX = Key(
    name="targets_max",
    default=512,
    low=1,
    high=4096,
    meaning="Most targets that an endpoint may have; with more it is held.",
)


def _judge(change: Change, limits: Values) -> str:
    count, most = len(change.content.targets), limits[_TARGETS_MAX]
    return "" if count <= most else f"{count} targets, at most {most} ({_TARGETS_MAX.name}); split the endpoint"


GUARD = EndpointGuard(name="targets_max", keys=(_TARGETS_MAX,), judge=_judge)
