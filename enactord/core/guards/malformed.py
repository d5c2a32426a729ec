"""Guard `malformed`: what the planner sent for a name is an endpoint. The name is held, and the others go on."""

from enactord.core.guards.kinds import Change, EndpointGuard
from enactord.core.settings import Values


def _judge(change: Change, limits: Values) -> str:
    why = change.content.malformed
    return f"{why}; mend it in the planner, and publish again" if why else ""


GUARD = EndpointGuard(name="malformed", judge=_judge)
