"""Two readers in a row: the second is asked for what the first says nothing of."""

from collections.abc import Mapping, Sequence

import pytest

from enactord.backends.readers.fallback import FallbackReader
from enactord.core.errors import ZoneDown
from enactord.core.records import NO_RECORDS, Records, Served

FIRST = Served(records=Records(ttl_s=5, a=(b"\xc0\0\2\1",), aaaa=()))
SECOND = Served(records=Records(ttl_s=5, a=(b"\xc0\0\2\2",), aaaa=()))
EMPTY = Served(records=NO_RECORDS)


class Known:
    """Answers from what it holds, as a `ServedReader`; down where that is nothing of what was asked for."""

    def __init__(self, answers: Mapping[str, Served]) -> None:
        self._answers = answers
        self.asked: list[Sequence[str]] = []

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        self.asked.append(names)
        found = {name: self._answers[name] for name in names if name in self._answers}
        if not found:
            raise ZoneDown("no answer")
        return found


@pytest.mark.parametrize(
    ("first", "second", "expected", "asked"),
    [
        ({"a": FIRST, "b": EMPTY}, {"a": SECOND, "b": SECOND}, {"a": FIRST, "b": EMPTY}, []),
        ({"a": FIRST}, {"a": SECOND, "b": SECOND}, {"a": FIRST, "b": SECOND}, [["b"]]),
        ({"a": FIRST}, {}, {"a": FIRST}, [["b"]]),
        ({}, {"b": SECOND}, {"b": SECOND}, [["a", "b"]]),
    ],
)
async def test_the_second_is_asked_for_what_is_left(
    first: dict[str, Served], second: dict[str, Served], expected: dict[str, Served], asked: list[list[str]]
) -> None:
    """An answer of the first holds, be it empty, and without a question to the second."""
    other = Known(second)
    assert await FallbackReader(Known(first), other).read(["a", "b"]) == expected
    assert other.asked == asked


async def test_both_without_an_answer_are_down() -> None:
    """As one alone would be."""
    with pytest.raises(ZoneDown):
        await FallbackReader(Known({}), Known({})).read(["a"])
