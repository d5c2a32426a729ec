"""A plan is accepted whole, or refused with every problem named."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.core.buckets import SLOTS_MAX, BucketId, bucket_of, slot_of, slots_for
from enactord.core.content import content_text, parse_content
from enactord.core.errors import InvalidPlan, PlanUnreadable
from enactord.core.manifest import pack_manifest, unpack_manifest
from enactord.core.plan import (
    CHUNK_TEXT_WANTED_MAX,
    Approval,
    Manifest,
    ZonePart,
    chunk_digest,
    chunk_texts,
    content_digest,
    cut_zone,
    merge,
    pack_chunk,
    parse_chunk,
    parse_plan,
    plan_digest,
    split_zones,
    unpack_chunk,
)
from enactord.core.visible import visible


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


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"ttl_s": 5, "targets": [{"address": "10.0.0.300", "weight": 1}]}, "address: '10.0.0.300' is no IPv4"),
        ({"ttl_s": 5, "targets": [{"address": "192.0.2.1", "weight": 2**31}]}, "weight: 2147483648"),
        ({"ttl_s": "5", "targets": []}, 'ttl_s: "5" is no'),
        ({"ttl_s": 5, "targets": [{"address": "192.0.2.1", "weight": 1}] * 2}, "is there twice"),
        (
            {"ttl_s": 5, "targets": [{"address": f"10.0.0.{n}", "weight": 1} for n in range(5000)]},
            "at most",
        ),
        ({"ttl_s": 5, "targets": [{"address": "192.0.2.1", "weight": -1}] * 100, "x": 1, "y": 2}, "x: unknown key"),
        ({"withdraw": "yes"}, "to withdraw a name"),
        ({"ttl_s": 5, "targets": [{"address": "192.0.2.1", "weight": 1, "id": "\ud800"}]}, "id: must be a text"),
        ({"ttl_s": 5, "targets": [], "\ud800\x1b": 1}, "\\ud800\\u001b: unknown key"),
        ("192.0.2.1", "must be an object"),
        (None, "must be an object"),
    ],
)
def test_a_malformed_endpoint_is_kept_for_its_guard(bad: Any, word: str) -> None:
    """The others are as they would be without it, and the reason says what is wrong, in a length for people."""
    good = {"ttl_s": 5, "targets": [{"address": "192.0.2.1", "weight": 1}]}
    draft = parse_plan(json.dumps(document(endpoints={"a.test.": bad, "b.test.": good})).encode())
    alone = parse_plan(json.dumps(document(endpoints={"b.test.": good})).encode())
    assert draft.endpoints["b.test."] == alone.endpoints["b.test."]
    content = parse_content(draft.endpoints["a.test."])
    assert word in content.malformed
    assert len(content.malformed) < 1300
    assert content_text(content) == draft.endpoints["a.test."]
    assert (content.targets, content.weight, draft.withdrawn) == ((), 0, ())
    assert word in visible(problems(document(endpoints={"a.test.": bad}))), (
        "where all are malformed, the plan is refused"
    )


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
    endpoints = {f"n{i:03d}.test.": f'[5,[["10.0.0.{i}",1]]]' for i in range(200)}
    texts = chunk_texts(endpoints, 8)
    assert texts.keys() == set(range(8))
    found: dict[str, str] = {}
    for text in texts.values():
        found |= parse_chunk(unpack_chunk(pack_chunk(text), chunk_digest(text)))
    assert found == endpoints


@given(st.integers(0, 300), st.sampled_from([0, 1, 2, 4, 16]))
def test_a_zone_is_cut_into_what_its_part_says(count: int, slots_before: int) -> None:
    """The part counts the endpoints and names each text by its slot and digest; together the texts are the zone."""
    endpoints = {f"n{i:03d}.test.": f'[5,[["10.0.0.{i % 256}",1]]]' for i in range(count)}
    part, texts = cut_zone(endpoints, slots_before)
    assert part.slots == slots_for(count, slots_before)
    assert part.endpoints == count
    assert {slot: texts[digest] for slot, digest in part.chunks.items()} == chunk_texts(endpoints, part.slots)
    assert merge(texts.values()) == endpoints
    for name in endpoints:
        digest = part.chunk(bucket_of(name, "test.", part.slots))
        assert digest is not None
        assert name in parse_chunk(texts[digest])


def test_long_contents_are_cut_finer() -> None:
    """A zone gets more slots than its names alone need, so that no chunk is long; a long name alone is left alone."""
    large = "[5,[" + ",".join(f'["10.0.{i // 250}.{i % 250}",1]' for i in range(1000)) + "]]"
    part, texts = cut_zone({f"n{i:02d}.test.": large for i in range(30)})
    assert slots_for(30) == 1
    assert part.slots > 1
    assert max(map(len, texts.values())) <= CHUNK_TEXT_WANTED_MAX
    huge = "[5,[" + ",".join(f'["10.{i // 62500}.{i // 250 % 250}.{i % 250}",1]' for i in range(10_000)) + "]]"
    assert len(huge) > CHUNK_TEXT_WANTED_MAX
    assert cut_zone({"a.test.": huge})[0].slots == 1


def test_names_are_split_by_the_longest_of_their_zones() -> None:
    """Each name is in exactly one zone's part, or told to be outside; both in order."""
    endpoints = {"x.b.test.": "1", "b.test.": "2", "a.test.": "3", "z.other.": "4", "a.other.": "5"}
    assert split_zones(endpoints, ["test.", "b.test.", "empty."]) == (
        {"b.test.": {"b.test.": "2", "x.b.test.": "1"}, "test.": {"a.test.": "3"}},
        ("a.other.", "z.other."),
    )


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
    zones = {
        "b.test.": ZonePart(slots=1, endpoints=2, chunks={0: "b" * 40}),
        "test.": ZonePart(slots=4, endpoints=1, chunks={3: "a" * 40}),
    }
    fields: dict[str, Any] = {
        "generation": 7,
        "digest": plan_digest("test", zones),
        "scope": "test",
        "endpoints": 3,
        "author": "x",
        "reason": "",
        "created_at": "",
        "published_at": 1.5,
        "zones": zones,
        "approval": Approval(of=6, author="y", reason="z"),
    }
    return Manifest(**(fields | changes))


def test_a_manifest_survives_its_store() -> None:
    """What is packed is what is unpacked."""
    assert unpack_manifest(pack_manifest(manifest()), 7) == manifest()


def part_of(**changes: Any) -> Manifest:
    """A manifest of one zone, whose digest is right, whatever its part says."""
    fields: dict[str, Any] = {"slots": 4, "endpoints": 3, "chunks": {3: "a" * 40}}
    zones = {"test.": ZonePart(**(fields | changes))}
    return manifest(zones=zones, digest=plan_digest("test", zones))


@pytest.mark.parametrize(
    "broken",
    [
        manifest(digest="0" * 64),
        manifest(generation=8),
        manifest(endpoints=4),
        part_of(slots=3),
        part_of(slots=0),
        part_of(slots=True),
        part_of(slots=2 * SLOTS_MAX),
        part_of(chunks={4: "a" * 40}),
        part_of(chunks={-1: "a" * 40}),
        part_of(chunks={3: 7}),
        part_of(endpoints=-1),
        part_of(endpoints=2),
    ],
)
def test_a_manifest_that_contradicts_itself_is_unreadable(broken: Manifest) -> None:
    """A manifest of another generation, whose digest is not its chunks', or whose slots are none, is never applied."""
    assert unpack_manifest(pack_manifest(part_of()), 7) == part_of()
    with pytest.raises(PlanUnreadable):
        unpack_manifest(pack_manifest(broken), 7)


def test_the_digest_covers_scope_and_content_alone() -> None:
    """A rollback has the digest of what it brings back; another scope's plan never has."""
    zones = {"test.": cut_zone({"a.test.": "[5,[]]"})[0]}
    assert plan_digest("test", zones) == plan_digest("test", {"test.": cut_zone({"a.test.": "[5,[]]"})[0]})
    assert plan_digest("test", zones) != plan_digest("other", zones)
    assert plan_digest("test", zones) != plan_digest("test", {"test.": cut_zone({"a.test.": "[6,[]]"})[0]})
    assert manifest(generation=8, author="y", reason="z", published_at=9.0).mark == manifest().mark


def test_the_digest_that_a_planner_states_is_of_names_and_contents_alone() -> None:
    """It does not depend on the order of the document, nor on how the store cuts it: a planner cannot know that."""
    endpoints = {"a.test.": "[5,[]]", "b.test.": "[6,[]]"}
    assert content_digest("test", endpoints) == content_digest("test", dict(reversed(endpoints.items())))
    assert content_digest("test", endpoints) != content_digest("other", endpoints)
    assert content_digest("test", endpoints) != content_digest("test", endpoints | {"b.test.": "[7,[]]"})
    assert content_digest("test", {}) != content_digest("test", {"a.test.": "[5,[]]"})
    # Planners in other languages count on it: this value must never change.
    assert content_digest("test", endpoints) == ("1d528c5eec006d41dca775fb8a08d48a231551761f31f4b4e85b366bc7d676bd")


def test_a_manifest_finds_the_chunk_of_a_name() -> None:
    """By the longest zone that the plan holds, and the slot of the name there; where it holds none, there is none."""
    there = manifest()
    inside = next(f"n{i}.test." for i in range(99) if slot_of(f"n{i}.test.", 4) == 3)
    beside = next(f"n{i}.test." for i in range(99) if slot_of(f"n{i}.test.", 4) == 2)
    assert there.bucket(inside) == BucketId("test.", 3, 4)
    assert there.chunk_of(inside) == "a" * 40
    assert there.chunk_of(beside) is None
    assert there.chunk_of("a.b.test.") == "b" * 40
    assert there.chunk_of("a.other.") is None
    assert there.bucket("a.other.") is None
    assert list(there.digests()) == ["b" * 40, "a" * 40]
    assert there.part("other.") == ZonePart()
