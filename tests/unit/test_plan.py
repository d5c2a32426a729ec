"""A plan is accepted whole, or refused with every problem named."""

import json
from typing import Any

import pytest

from enactord.core.content import parse_content
from enactord.core.errors import InvalidPlan, PlanUnreadable
from enactord.core.plan import (
    Approval,
    Manifest,
    chunk_digest,
    chunk_texts,
    endpoints_digest,
    pack_chunk,
    pack_manifest,
    parse_chunk,
    parse_plan,
    plan_digest,
    unpack_chunk,
    unpack_manifest,
)


def document(**changes: Any) -> dict[str, Any]:
    plan: dict[str, Any] = {
        "schema": "enactord.plan/v1",
        "scope": "test",
        "endpoints": {"a.test.": {"ttl_s": 5, "targets": [{"address": "192.0.2.10", "weight": 10, "id": "lb-1"}]}},
    }
    return plan | changes


def problems(plan: Any) -> str:
    with pytest.raises(InvalidPlan) as caught:
        parse_plan(plan if isinstance(plan, bytes) else json.dumps(plan).encode())
    return str(caught.value)


def test_the_order_and_spelling_of_targets_do_not_matter() -> None:
    """Equal content is equal text, so a planner that shuffles its lists causes no writes."""
    one = document(
        endpoints={
            "A.test": {
                "ttl_s": 5,
                "targets": [{"address": "2001:DB8:0::1", "weight": 1}, {"address": "192.0.2.1", "weight": 2}],
            }
        }
    )
    two = document(
        endpoints={
            "a.test.": {
                "targets": [{"weight": 2, "address": "192.0.2.1"}, {"address": "2001:db8::1", "weight": 1}],
                "ttl_s": 5,
            }
        }
    )
    assert parse_plan(json.dumps(one).encode()).endpoints == parse_plan(json.dumps(two).encode()).endpoints


def test_an_empty_endpoint_is_kept_for_its_guard() -> None:
    """An endpoint without targets is good form: it is held, and the rest of the plan applies."""
    draft = parse_plan(json.dumps(document(endpoints={"a.test.": {"ttl_s": 5, "targets": []}})).encode())
    assert parse_content(draft.endpoints["a.test."]).targets == ()


def test_a_withdrawn_name_is_no_endpoint() -> None:
    """Only `"withdraw": true`, alone, takes a name away."""
    draft = parse_plan(json.dumps(document(endpoints={"a.test.": {"withdraw": True}})).encode())
    assert draft.withdrawn == ("a.test.",)
    assert "withdraw" in problems(document(endpoints={"a.test.": {"withdraw": False}}))


@pytest.mark.parametrize(
    ("plan", "word"),
    [
        (b"not json", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "object"),
        (b'{"a": NaN}', "NaN"),
        (b"[" * 200_000, "nested"),
        (b'{"schema": 1, "schema": 1}', "duplicate"),
        (document(schema="other"), "schema"),
        (document(scope=""), "scope"),
        (document(generation=0), "generation"),
        (document(generation=True), "generation"),
        (document(generation=10**18), "generation"),
        (document(created_at="yesterday"), "created_at"),
        (document(endpoints=[]), "endpoints"),
        (document(targets={}), "unknown key"),
        (
            document(endpoints={"a.test": {"ttl_s": 5, "targets": []}, "A.test.": {"ttl_s": 5, "targets": []}}),
            "duplicate",
        ),
        (document(endpoints={"_enactord.test.": {"ttl_s": 5, "targets": []}}), "fence"),
        (document(endpoints={"a b": {"ttl_s": 5, "targets": []}}), "label"),
        (document(endpoints={"a.test.": {"ttl_s": -1, "targets": []}}), "ttl_s"),
        (document(endpoints={"a.test.": {"ttl_s": 5, "targets": [{"address": "1.2.3", "weight": 1}]}}), "address"),
        (document(endpoints={"a.test.": {"ttl_s": 5, "targets": [{"address": "192.0.2.1", "weight": 1.5}]}}), "weight"),
        (document(endpoints={"a.test.": {"ttl_s": 5, "targets": [{"address": "192.0.2.1"}]}}), "weight"),
        (
            document(
                endpoints={
                    "a.test.": {
                        "ttl_s": 5,
                        "targets": [{"address": "2001:db8::1", "weight": 1}, {"address": "2001:DB8::1", "weight": 1}],
                    }
                }
            ),
            "twice",
        ),
    ],
)
def test_a_malformed_plan_is_refused_with_its_problem(plan: Any, word: str) -> None:
    """Every kind of malformed plan is named by what is wrong with it."""
    assert word in problems(plan)


def test_all_problems_are_named_at_once() -> None:
    """One run tells everything that is wrong, not the first thing."""
    text = problems(document(schema="x", created_at="x", endpoints={"a b": {}}))
    assert "schema" in text
    assert "created_at" in text
    assert "label" in text


def test_a_plan_over_the_limit_is_refused_unread() -> None:
    """50 MB are refused by their size, before any of it is decoded."""
    with pytest.raises(InvalidPlan, match="size"):
        parse_plan(b" " * 50_000_000)


def test_chunks_hold_what_they_were_made_of() -> None:
    """Cutting into buckets and packing lose nothing."""
    endpoints = {f"n{i}.test.": f'[5,[["10.0.0.{i}",1]]]' for i in range(200)}
    texts = chunk_texts(endpoints)
    found: dict[str, str] = {}
    for text in texts.values():
        found |= parse_chunk(unpack_chunk(pack_chunk(text), chunk_digest(text)))
    assert found == endpoints


def test_a_chunk_that_is_not_its_digest_is_unreadable() -> None:
    """A damaged or exchanged chunk is never applied."""
    packed = pack_chunk("a.test.\t[5,[]]\n")
    with pytest.raises(PlanUnreadable):
        unpack_chunk(packed, chunk_digest("b.test.\t[5,[]]\n"))
    with pytest.raises(PlanUnreadable):
        unpack_chunk(packed[:-3], chunk_digest("a.test.\t[5,[]]\n"))
    with pytest.raises(PlanUnreadable):
        unpack_chunk(b"junk", "0" * 40)


def manifest(**changes: Any) -> Manifest:
    chunks = {3: "a" * 40}
    fields: dict[str, Any] = {
        "generation": 7,
        "digest": plan_digest("test", chunks),
        "scope": "test",
        "endpoints": 1,
        "author": "x",
        "reason": "",
        "created_at": "",
        "published_at": 1.5,
        "chunks": chunks,
        "approval": Approval(of=6, author="y", reason="z"),
    }
    return Manifest(**(fields | changes))


def test_a_manifest_survives_its_store() -> None:
    """What is packed is what is unpacked."""
    assert unpack_manifest(pack_manifest(manifest()), 7) == manifest()


@pytest.mark.parametrize("broken", [manifest(digest="0" * 64), manifest(generation=8)])
def test_a_manifest_that_contradicts_itself_is_unreadable(broken: Manifest) -> None:
    """A manifest of another generation, or whose digest is not its chunks', is never applied."""
    with pytest.raises(PlanUnreadable):
        unpack_manifest(pack_manifest(broken), 7)


def test_the_digest_covers_scope_and_content_alone() -> None:
    """A rollback has the digest of what it brings back; another scope's plan never has."""
    endpoints = {"a.test.": "[5,[]]"}
    assert endpoints_digest("test", endpoints) == endpoints_digest("test", dict(endpoints))
    assert endpoints_digest("test", endpoints) != endpoints_digest("other", endpoints)
    assert endpoints_digest("test", endpoints) != endpoints_digest("test", {"a.test.": "[6,[]]"})
