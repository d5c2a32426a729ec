"""Guard `targets_max`: at its limit, and one beyond it."""

import pytest

from enactord.core.content import Content, Target
from enactord.core.guards import Limits, judge_endpoint


@pytest.mark.parametrize(("count", "held"), [(3, False), (4, True)])
def test_an_endpoint_with_too_many_targets_is_held(count: int, held: bool) -> None:
    """Also where an operator has approved the plan."""
    content = Content(ttl_s=5, targets=tuple(Target(address=f"192.0.2.{i}", weight=1) for i in range(1, count + 1)))
    limits = Limits(targets_max=3, allow_private=True)
    refusal = judge_endpoint(content, None, limits, 0.0, approved=True)
    assert (refusal is not None and refusal.guard == "targets_max") == held
