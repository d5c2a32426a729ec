"""Bad plans: each kind is refused for what it is."""

import json
from dataclasses import replace

import pytest

from enactord.core.content import parse_content
from enactord.core.errors import InvalidPlan
from enactord.core.guards import Limits, judge_endpoint, look
from enactord.core.guards.kinds import Weighing
from enactord.core.measures import Loss, Size
from enactord.core.plan import PLAN_BYTES_MAX, content_digest, parse_plan
from planner_stub.bad import KINDS, bad_plan, default_basis
from planner_stub.names import FIRST_NAME

LIMITS = Limits(allow_private=True)


def document(kind: str) -> bytes:
    return b"".join(bad_plan(kind, default_basis()))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "huge"])
def test_bad_plan_is_the_same_each_time(kind: str) -> None:
    """A kind's document depends on its basis alone."""
    assert document(kind) == document(kind)


@pytest.mark.parametrize(("kind", "word"), [("truncated", "not JSON"), ("duplicate", "duplicate"), ("huge", "size")])
def test_bad_plan_is_refused_when_read(kind: str, word: str) -> None:
    """Documents that are broken in themselves are refused by the parser, which says why."""
    with pytest.raises(InvalidPlan, match=word):
        parse_plan(document(kind))


@pytest.mark.long
def test_bad_huge_is_a_valid_plan_but_for_its_size() -> None:
    """Only the size of a huge plan is wrong: a limit must refuse it, not a typing error."""
    text = document("huge")
    assert len(text) > PLAN_BYTES_MAX
    assert len(parse_plan(text, bytes_max=2 * PLAN_BYTES_MAX).endpoints) > 10_000


def test_bad_empty_has_one_endpoint_that_is_held() -> None:
    """An empty plan's one endpoint without targets is refused by `targets_min`; the others pass."""
    draft = parse_plan(document("empty"))
    refusals = {
        name: judge_endpoint(parse_content(text), None, LIMITS, 0.0, approved=True)
        for name, text in draft.endpoints.items()
    }
    refused = {name: refusal.guard for name, refusal in refusals.items() if refusal is not None}
    assert refused == {FIRST_NAME: "targets_min"}


def test_bad_shrunk_removes_more_than_is_allowed() -> None:
    """A shrunk plan leaves out most endpoints, the first one among them."""
    basis = default_basis()
    draft = parse_plan(document("shrunk"))
    removed = len(basis.endpoints) - len(draft.endpoints)
    assert FIRST_NAME not in draft.endpoints
    weighing = Weighing("", 1, Size(len(basis.endpoints)), Loss(removed), len(draft.endpoints))
    assert [f.guard for f in look(weighing, LIMITS) if f.seen.refused] == ["endpoints_removed"]


def test_bad_stale_is_not_above_the_newest() -> None:
    """A stale plan carries a generation below the newest plan's."""
    basis = replace(default_basis(), newest=103)
    draft = parse_plan(b"".join(bad_plan("stale", basis)))
    assert draft.generation == 102


def test_bad_wrong_digest_is_not_its_own() -> None:
    """The digest that a wrong-digest plan carries is not that of its content."""
    draft = parse_plan(document("wrong-digest"))
    assert draft.digest
    assert draft.digest != content_digest(draft.scope, draft.endpoints)


def test_bad_duplicate_repeats_a_name_as_text() -> None:
    """json alone would keep the last of two equal keys in silence: the text holds both."""
    text = document("duplicate").decode()
    assert text.count(f'"{FIRST_NAME}"') == 2
    json.loads(text)
