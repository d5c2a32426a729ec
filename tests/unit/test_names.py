"""Names have one normal form."""

from collections.abc import Callable, Collection

import pytest

from enactord.core.errors import InvalidName
from enactord.core.names import parse_name, wire_name, zone_of


@pytest.mark.parametrize(
    ("text", "name"),
    [("Example.COM", "example.com."), ("*.a.test.", "*.a.test."), ("_x.a-b.test", "_x.a-b.test.")],
)
def test_a_name_is_lower_case_with_its_final_dot(text: str, name: str) -> None:
    """Case and the final dot never make two names of one."""
    assert parse_name(text) == name


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "-a.test", "a-.test", "a.*.test", "ä.test", "a b.test", "a" * 64 + ".test", "a.b\n", "a." * 128],
)
def test_what_is_no_host_name_is_refused(text: str) -> None:
    """A text that DNS servers would read in different ways is not accepted."""
    with pytest.raises(InvalidName):
        parse_name(text)


@pytest.mark.parametrize("kind", [list, set, dict.fromkeys])
def test_a_name_belongs_to_the_longest_zone(kind: Callable[[list[str]], Collection[str]]) -> None:
    """A delegated zone's names are not written to its parent."""
    zones = kind(["test.", "b.test.", "c.test."])
    assert zone_of("a.b.test.", zones) == "b.test."
    assert zone_of("b.test.", zones) == "b.test."
    assert zone_of("xb.test.", zones) == "test."
    assert zone_of("*.c.test.", zones) == "c.test."
    assert zone_of("a.example.", zones) is None
    assert zone_of("", zones) is None


def test_wire_form_is_labels_with_lengths() -> None:
    """RFC 1035 section 3.1."""
    assert wire_name("ab.c.") == b"\x02ab\x01c\x00"
    assert wire_name(".") == b"\x00"
