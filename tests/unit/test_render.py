"""Weights to records: bounded, stable, fair."""

from collections import Counter

from enactord.core.content import Content, Target
from enactord.core.render import render


def content(weights: list[int]) -> Content:
    targets = tuple(Target(address=f"10.0.{i // 256}.{i % 256}", weight=w) for i, w in enumerate(weights))
    return Content(ttl_s=5, targets=targets)


def test_weight_zero_is_never_served() -> None:
    """Weight 0 means: known, not served."""
    assert len(render("a.test.", 1, content([0, 1, 1]), 16).a) == 2
    assert render("a.test.", 1, content([0, 0]), 16).empty


def test_an_rrset_is_bounded_and_sorted() -> None:
    """At most `answers_max` of each family; A and AAAA of one endpoint come together."""
    mixed = Content(
        ttl_s=5,
        targets=tuple(
            [Target(address=f"10.0.0.{i}", weight=1) for i in range(20)]
            + [Target(address=f"2001:db8::{i:x}", weight=1) for i in range(20)]
        ),
    )
    records = render("a.test.", 1, mixed, 8)
    assert len(records.a) == len(records.aaaa) == 8
    assert list(records.a) == sorted(records.a)


def test_a_sample_depends_on_name_and_generation_alone() -> None:
    """Two machines render the same; another generation draws anew."""
    many = content([1] * 50)
    assert render("a.test.", 1, many, 8) == render("a.test.", 1, many, 8)
    assert render("a.test.", 1, many, 8) != render("a.test.", 2, many, 8)
    assert render("a.test.", 1, many, 8) != render("b.test.", 1, many, 8)


def test_over_time_each_target_has_its_share() -> None:
    """One answer of 10 targets, the first with half the weight: it is drawn about half the time."""
    skewed = content([9, *[1] * 9])
    drawn = Counter(render("a.test.", generation, skewed, 1).a[0] for generation in range(4000))
    share = drawn[bytes([10, 0, 0, 0])] / 4000
    assert 0.45 < share < 0.55
    assert len(drawn) == 10


def test_samples_are_the_same_on_every_machine() -> None:
    """This draw is a promise between machines: it must never change."""
    drawn = render("a.test.", 7, content(list(range(1, 21))), 3)
    assert drawn.texts() == ("10.0.0.10", "10.0.0.12", "10.0.0.13")
