"""What a name should serve, where the store is away and the ledger at hand may be older than what is served."""

from typing import Any, cast

import pytest

from enactord.core.content import Content, Target, content_text
from enactord.core.guards import Limits
from enactord.core.ledger import Entry, Hold, Version
from enactord.core.plan import Manifest
from enactord.core.records import NO_RECORDS, Records, Served
from enactord.engine.desired import DesiredState
from enactord.store.cache import Cache
from tests.world import ZONE

NAME = f"api.{ZONE}"
GUARDED = 5
"""The plan at the fence: guards hold what it wants of the name."""


def content(*addresses: str) -> str:
    return content_text(Content(ttl_s=5, targets=tuple(Target(address, 10) for address in addresses)))


APPLIED = Version(generation=1, content=content("192.0.2.1", "192.0.2.2", "192.0.2.3"), answers_max=16)
BETWEEN = Version(generation=3, content=content("192.0.2.4", "192.0.2.5", "192.0.2.6"), answers_max=16)
"""What others wrote since, which the ledger at hand does not have."""


class Judged(DesiredState):
    """A judgement by a plan that has the name empty: the plainest of all holds."""

    def _content(self, entry: Entry) -> str | None:
        return content()


def version(entry: Entry, served: Records, *, store_up: bool) -> Version | None:
    plan = Manifest(
        generation=GUARDED,
        digest="0" * 64,
        scope="s",
        endpoints=1,
        author="",
        reason="",
        created_at="",
        published_at=0.0,
        zones={},
    )
    judge = Judged(
        zone=ZONE,
        cache=cast(Cache, None),
        manifest=plan,
        limits=Limits(allow_private=True),
        answers_max=16,
        now=0.0,
        store_up=store_up,
        refused=lambda name, text: False,
    )
    answer: Any = Served(records=served)
    return judge.version(entry, answer)


@pytest.mark.parametrize("store_up", [True, False])
def test_what_others_may_have_written_is_not_put_back(store_up: bool) -> None:
    """The ledger knows of no hold by the plan at the fence: it may be older than what is served."""
    entry = Entry(name=NAME, applied=APPLIED, good=APPLIED)
    assert version(entry, BETWEEN.records(NAME), store_up=store_up) is None
    assert version(entry, NO_RECORDS, store_up=store_up) == APPLIED, "empty, it is filled all the same"


@pytest.mark.parametrize("store_up", [True, False])
def test_what_a_pass_of_this_plan_has_held_is_put_back(store_up: bool) -> None:
    """The ledger is of this plan's own pass: what it has as applied is what should be served."""
    hold = Hold(generation=GUARDED, guard="targets_min", detail="", since_s=0)
    entry = Entry(name=NAME, applied=APPLIED, good=APPLIED, held=hold)
    assert version(entry, BETWEEN.records(NAME), store_up=store_up) == APPLIED
