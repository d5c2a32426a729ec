"""Whatever a planner sends is a draft that can be stored, or `InvalidPlan` with a short text: nothing else."""

import copy
import json
import math
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enactord.core.content import content_text, parse_content
from enactord.core.errors import InvalidPlan
from enactord.core.names import parse_name
from enactord.core.plan import (
    MAX_PROBLEMS,
    PLAN_BYTES_MAX,
    PLAN_VALUES_MAX,
    PROBLEM_LENGTH_MAX,
    Draft,
    chunk_digest,
    chunk_texts,
    content_digest,
    merge,
    pack_chunk,
    parse_plan,
    unpack_chunk,
)
from enactord.core.visible import visible
from tests.hostile.effort import damaged, tries

PLAN: dict[str, Any] = {
    "schema": "enactord.plan/v1",
    "scope": "test",
    "generation": 7,
    "base": 6,
    "created_at": "2026-11-20T12:00:00Z",
    "author": "planner-1",
    "digest": "ab",
    "endpoints": {
        "a.example.test.": {
            "ttl_s": 5,
            "targets": [
                {"address": "192.0.2.10", "weight": 10, "id": "lb-1"},
                {"address": "2001:db8::10", "weight": 0},
            ],
        },
        "*.b.example.test": {"ttl_s": 0, "targets": []},
        "old.example.test.": {"withdraw": True},
    },
}
DOCUMENT = json.dumps(PLAN).encode()
TOKENS = [
    *b'NaN Infinity -Infinity 1e999 -0 0.0 null true [] {} " \\ , : } ]'.split(),
    *b'"\\ud800" "\\u0000" \xff \xed\xa0\x80 \xef\xbb\xbf "schema": "withdraw":true "*.*." "_enactord.x."'.split(),
    *(b"1" * 5000, b"[" * 2000, b'{"a":' * 2000, "\N{KELVIN SIGN}".encode()),
]
TEXT_MAX = (MAX_PROBLEMS + 1) * (PROBLEM_LENGTH_MAX + 8)
"""Longest error that a document can provoke."""
HELD_TEXT_MAX = 12 * (3 * PROBLEM_LENGTH_MAX + 10)
"""Longest reason for which one endpoint is held: three problems; a character that is not visible takes up to 12."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, 10**18, -1, 0, 10**400])
    | st.floats()
    | st.text(st.characters(), max_size=40)
    | st.sampled_from(["", ".", "a" * 300, "\ud800", "a.\udfff.", "\0", "a\tb", "999.0.0.1", "::ffff:1.2.3.4", "1.2.3"])
)
keys = st.text(st.characters(), max_size=9)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value of a document but the document itself."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


PLACES = list(places(PLAN))


def path_text(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def with_value(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The document with one value put in another's place."""
    document = copy.deepcopy(PLAN)
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


def parsed(document: bytes) -> tuple[Draft | None, tuple[str, ...]]:
    try:
        return parse_plan(document), ()
    except InvalidPlan as error:
        return None, error.problems


def refused(document: bytes) -> bool:
    """Whether a document is refused as a whole, or has an endpoint that will be held as malformed."""
    draft = read(document)
    return draft is None or any(parse_content(content).malformed for content in draft.endpoints.values())


def read(document: bytes) -> Draft | None:
    """Read a document; a draft keeps all that later steps count on, a refusal is short."""
    draft, problems = parsed(document)
    if draft is None:
        assert 0 < len(problems) <= MAX_PROBLEMS + 1
        assert len("; ".join(problems)) <= TEXT_MAX
        return None
    for text in (draft.scope, draft.author, draft.created_at, draft.digest):
        assert len(text.encode("utf-8")) <= 4 * 256
    for name, content in draft.endpoints.items():
        assert parse_name(name) == name
        assert content_text(parse_content(content)) == content
        assert not {"\t", "\n"} & set(content)
        malformed = parse_content(content).malformed
        assert len(malformed) <= HELD_TEXT_MAX
        assert malformed == visible(malformed)
        malformed.encode("utf-8")
    texts = chunk_texts(dict(sorted(draft.endpoints.items())), 4)
    stored = [unpack_chunk(pack_chunk(text), chunk_digest(text)) for text in texts.values()]
    assert merge(stored) == dict(sorted(draft.endpoints.items()))
    assert len(content_digest(draft.scope, draft.endpoints)) == 64
    assert not set(draft.withdrawn) & set(draft.endpoints)
    return draft


def test_the_sample_is_a_plan() -> None:
    """What the tests below damage is accepted as it is: else they would test nothing."""
    draft = read(DOCUMENT)
    assert draft is not None
    assert (len(draft.endpoints), draft.withdrawn) == (2, ("old.example.test.",))


@tries(400)
@given(damaged([DOCUMENT], tokens=TOKENS))
@example(b"")
@example(b"\xef\xbb\xbf" + DOCUMENT)
@example(DOCUMENT + b"\0")
def test_damaged_documents(document: bytes) -> None:
    """Bytes that are changed, cut, doubled or put in give a draft or `InvalidPlan`."""
    read(document)


@tries(400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=1), st.booleans())
def test_any_value_in_any_place(swaps: list[tuple[tuple[Any, ...], Any]], ascii_only: bool) -> None:
    """A value of any kind in the place of any other gives a draft or `InvalidPlan`."""
    for path, value in swaps:
        text = json.dumps(with_value(path, value), ensure_ascii=ascii_only)
        read(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("path", [path for path in PLACES if isinstance(path[-1], str)], ids=path_text)
def test_every_key_twice(path: tuple[Any, ...]) -> None:
    """A key that stands twice is refused, in whatever object it stands: json would take the last in silence."""
    inner: Any = PLAN
    for key in path[:-1]:
        inner = inner[key]
    again = {path[-1] + "HERE": inner[path[-1]]}
    document = json.dumps(with_value(path[:-1], inner | again) if path[:-1] else inner | again)
    assert document.count("HERE") == 1
    with pytest.raises(InvalidPlan, match="duplicate"):
        parse_plan(document.replace("HERE", "").encode())


@pytest.mark.parametrize("path", PLACES, ids=path_text)
def test_no_number_that_json_has_not_and_no_half_character(path: tuple[Any, ...]) -> None:
    """NaN, infinities and lone halves of surrogate pairs are refused, or held as malformed, wherever they stand."""
    for value in (math.nan, math.inf, -math.inf, "\ud800", "x\udfffy"):
        assert refused(json.dumps(with_value(path, value)).encode()), value


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_any_depth(opening: bytes) -> None:
    """However deep a document is nested, it is refused or held, at each depth around Python's own limit."""
    limit = sys.getrecursionlimit()
    closing = {b"[": b"]", b'{"a":': b"}"}[opening]
    for path in (("schema",), ("endpoints", "a.example.test.", "targets", 0, "address"), ("author",)):
        front, back = json.dumps(with_value(path, "HERE")).encode().split(b'"HERE"')
        for depth in (*range(limit - 150, limit + 20), 100_000):
            for document in (front + opening * depth + b"0" + closing * depth + back, front + opening * depth):
                assert refused(document)


def peak_of(document: bytes) -> int:
    """The most memory that reading a document took, in bytes."""
    tracemalloc.start()
    try:
        assert read(document) is None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_document_that_is_too_long_costs_nothing() -> None:
    """One byte above the limit is refused before anything is decoded."""
    assert peak_of(b" " * (PLAN_BYTES_MAX + 1)) < 100_000


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'"ab",', b"1.5,", b"0,", b'{"a":', b"["])
def test_a_document_of_nothing_but_structure_costs_little(unit: bytes) -> None:
    """Millions of tiny values, as many as the bytes allow, are refused before each becomes an object."""
    document = b'{"endpoints":[' + unit * ((PLAN_BYTES_MAX - 20) // len(unit)) + b"0]}"
    assert len(document) <= PLAN_BYTES_MAX
    assert peak_of(document) < 2 * PLAN_BYTES_MAX


@pytest.mark.parametrize("path", [("schema",), ("author",), ("endpoints", "a.example.test.", "ttl_s")])
def test_one_value_of_megabytes_is_not_told_back(path: tuple[Any, ...]) -> None:
    """What is wrong is named in few words, however long it is."""
    assert refused(json.dumps(with_value(path, "x" * 3_000_000)).encode())


def test_a_real_plan_is_far_from_the_limit_of_values() -> None:
    """The densest endpoints and targets that there are pass: bytes bind before values do."""
    targets = [f'{{"address":"::{number:x}","weight":1}}' for number in range(1, 4096)]
    text = f'{{"ttl_s":5,"targets":[{",".join(targets)}]}}'.encode()
    values_of = text.count(b",") + text.count(b"{") + text.count(b"[")
    assert values_of / len(text) < PLAN_VALUES_MAX / PLAN_BYTES_MAX
