"""The planner stub's fleet: the same for the same seed, and never beyond the guards."""

from pathlib import Path

import pytest

from enactord.cli.dev import names_zones
from enactord.core.content import parse_content
from enactord.core.errors import InvalidName
from enactord.core.guards import Limits, judge_endpoint
from enactord.core.ledger import Entry, Version, with_applied
from enactord.core.names import parse_name
from enactord.core.plan import split_zones
from planner_stub.fleet import LOSS_MAX_RATIO, Fleet
from planner_stub.names import (
    FIRST_NAME,
    botocore_names,
    bundled_names,
    choose_names,
    read_names,
)

PRIVATE = Limits(allow_private=True)


def test_fleet_is_the_same_for_the_same_seed() -> None:
    """Two fleets of one seed are equal after any number of steps; another seed's goes another way."""
    names = choose_names(50)
    one, same, other = Fleet(names, 7), Fleet(names, 7), Fleet(names, 8)
    for _ in range(20):
        assert one.step(0.1) == same.step(0.1)
        other.step(0.1)
    assert one.contents() == same.contents()
    assert one.contents() != other.contents()


def test_fleet_first_endpoint_has_both_families() -> None:
    """DynamoDB's endpoint of us-east-1 has usable IPv4 and IPv6 addresses, whatever happens."""
    fleet = Fleet(choose_names(5), 3)
    for _ in range(200):
        usable = [target.address for target in fleet.content(FIRST_NAME).usable]
        assert any(":" in address for address in usable)
        assert any(":" not in address for address in usable)
        fleet.step(1.0)


def test_fleet_changes_what_it_says_it_changed_and_nothing_else() -> None:
    """`step` names exactly the endpoints whose content is another one after it."""
    fleet = Fleet(choose_names(40), 1)
    for _ in range(50):
        before = fleet.contents()
        changed = fleet.step(0.2)
        after = fleet.contents()
        assert {name for name in after if after[name] != before[name]} == set(changed)
        assert len(changed) == 8


def test_fleet_in_good_health_passes_every_guard() -> None:
    """No content of a fleet is ever held: neither velocity nor any other guard refuses it."""
    fleet = Fleet(choose_names(20), 5)
    entries: dict[str, Entry] = {}
    now = 1_000.0
    for generation in range(1, 150):
        for name, text in fleet.contents().items():
            content = parse_content(text)
            assert judge_endpoint(content, entries.get(name), PRIVATE, now, approved=False) is None
            version = Version(generation=generation, content=text, answers_max=16)
            entry = entries.get(name, Entry(name=name))
            entries[name] = with_applied(entry, version, seen=True, now_s=int(now), capacity=content.capacity(16))
        fleet.step(1.0)
        now += 1.0


def test_fleet_capacity_never_falls_below_its_share() -> None:
    """An endpoint keeps at least 1 - LOSS_MAX_RATIO of its nominal weight."""
    names = choose_names(10)
    fleet = Fleet(names, 11)
    nominal = {name: fleet.content(name).weight for name in names}
    for _ in range(300):
        fleet.step(1.0)
        for name in names:
            assert fleet.content(name).weight >= nominal[name] * (1 - LOSS_MAX_RATIO) - 1


def test_names_begin_with_the_endpoint_of_the_outage_and_are_all_valid() -> None:
    """The bundled names are normalised, unique, and start with dynamodb.us-east-1.amazonaws.com."""
    names = bundled_names()
    assert names[0] == FIRST_NAME
    assert [parse_name(name) for name in names] == list(names)
    assert len(set(names)) == len(names) > 150


def test_names_go_on_with_account_endpoints() -> None:
    """More names than are bundled are account endpoints; none is there twice."""
    names = choose_names(5_000)
    assert len(set(names)) == 5_000
    assert names[len(bundled_names())] == "123456789012.ddb.us-east-1.amazonaws.com."


@pytest.mark.parametrize("zones", [["amazonaws.com."], ["api.aws."], ["example.test."], ["us-east-1.amazonaws.com."]])
def test_names_stay_inside_the_zones(zones: list[str]) -> None:
    """With zones given, every chosen name is in one, however many are asked for."""
    names = choose_names(300, zones=zones)
    assert len(names) == 300
    assert split_zones(dict.fromkeys(names, ""), zones)[1] == ()


def test_names_zones_hold_every_name() -> None:
    """`names_zones` gives zones that contain all the names."""
    zones = names_zones([*bundled_names(), "www.example.test."])
    assert "amazonaws.com." in zones
    assert "example.test." in zones
    assert split_zones(dict.fromkeys(bundled_names(), ""), zones)[1] == ()


def test_names_file_is_read_without_comments(tmp_path: Path) -> None:
    """A file of names: comments and blank lines are left out, a wrong name is an error."""
    file = tmp_path / "names.txt"
    file.write_text("# ours\nWWW.example.test\n\nwww.example.test.\ndb.example.test.\n")
    assert read_names(file) == ("www.example.test.", "db.example.test.")
    file.write_text("no name\n")
    with pytest.raises(InvalidName):
        read_names(file)


def test_names_of_botocore_hold_the_bundled_first_one() -> None:
    """With botocore installed, every AWS endpoint name is there, DynamoDB's among them."""
    pytest.importorskip("botocore")
    names = botocore_names()
    assert FIRST_NAME in names
    assert len(names) > 5_000
