"""The models: the design keeps its rules, each mechanism is needed, and the outage is found in what led to it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.daily import daily
from tests.model.__main__ import main
from tests.model.check import ENDLESS, MODELS, STUCK, ModelError, Question, ask
from tests.model.variants import NAIVE, OFF, SHIPPED, VARIANTS, Variant
from tests.model.verdicts import Verdict, judge, marks

BY_NAME = {variant.name: variant for variant in VARIANTS}
SHORT = [variant for variant in VARIANTS if not variant.large and not variant.full]


def in_group(*groups: str) -> list[Variant]:
    return [variant for variant in SHORT if variant.group in groups]


def named(variant: Variant) -> str:
    return variant.name


BREAKING = [variant for variant in in_group(OFF) if variant.breaks]


@pytest.mark.parametrize("variant", daily(in_group(SHIPPED), in_group(SHIPPED)[::3], name=named))
def test_the_design_keeps_every_rule(variant: Variant) -> None:
    """Whatever the order of steps, no rule is broken."""
    answer = ask(Question(model=variant.model, flags=variant.flags, rules=variant.rules))
    assert not answer.broken, answer.steps


@pytest.mark.parametrize(
    "name", daily(["apply", "unknown", "hold", "repair", "keep", "keep-txt-ahead", "keep-txt-own"], 2)
)
def test_every_run_comes_to_rest(name: str) -> None:
    """There is no cycle at all: what holds at rest comes to hold."""
    answer = ask(Question(model="enactord", flags=BY_NAME[name].flags, ends=True))
    assert not answer.broken, answer.steps


@pytest.mark.parametrize("variant", daily(BREAKING, BREAKING[::3], name=named))
def test_a_mechanism_switched_off_breaks_the_rule_it_keeps(variant: Variant) -> None:
    """The search finds the rule that is named, and the shortest way ends with it."""
    rule = variant.breaks[0]
    answer = ask(Question(model=variant.model, flags=variant.flags, rules=(rule,)))
    assert answer.broken == rule
    assert answer.steps[-1] == f"VIOLATED {rule}"


@pytest.mark.parametrize("name", daily(["no-fence", "no-claims", "no-keep-ledger"], 1))
def test_a_mechanism_switched_off_breaks_no_other_rule(name: str) -> None:
    """A rule that is not asked for is not found: the verdict is about that rule and no other."""
    variant = BY_NAME[name]
    answer = ask(Question(model=variant.model, flags=variant.flags, rules=variant.keeps))
    assert not answer.broken, answer.steps


@pytest.mark.parametrize(
    "name", daily(["published", "rollback-record", "lock", "fence-pins-leases", "fence-exists"], {"published", "lock"})
)
def test_the_outage_is_found_in_what_led_to_it(name: str) -> None:
    """The naive enactor loses a name; a lock or leases do not save it; the generations compared with the plan do."""
    verdict = judge(BY_NAME[name])
    assert verdict.broken == verdict.variant.breaks, verdict.ways
    assert verdict.expected


def test_a_verdict_that_is_not_the_expected_one_is_told() -> None:
    """Said to hold and found broken, or said to break and found to hold: neither is as expected."""
    assert BY_NAME["published"].group == NAIVE
    held = judge(replace(BY_NAME["published"], breaks=("I1",)))
    assert held.broken == ("I1", "I2")
    assert not held.expected
    assert held.ways["I2"][-1] == "VIOLATED I2"
    broken = judge(replace(BY_NAME["fence-age"], breaks=("I1",)))
    assert broken.broken == ()
    assert not broken.expected


@pytest.mark.parametrize(
    ("body", "ends", "found"),
    [
        ('do :: printf("| on\\n"); n = 1 - n od', True, ENDLESS),
        ('printf("| waits\\n"); n == 1', False, STUCK),
    ],
)
def test_a_run_without_an_end_is_found(tmp_path: Path, body: str, ends: bool, found: str) -> None:
    """A cycle, and a process that waits for ever, are each a verdict of their own."""
    (tmp_path / "small.pml").write_text(f"byte n;\nactive proctype P() {{ {body} }}\n", encoding="utf-8")
    answer = ask(Question(model="small", rules=("I5",), ends=ends, directory=tmp_path))
    assert answer.broken == found
    assert answer.steps


@pytest.mark.parametrize("body", ["assert(false)", "this is no model"])
def test_an_end_that_is_no_verdict_is_an_error(tmp_path: Path, body: str) -> None:
    """Only a rule that was asked for can be found broken."""
    (tmp_path / "small.pml").write_text(f"active proctype P() {{ {body} }}\n", encoding="utf-8")
    with pytest.raises(ModelError, match="small"):
        ask(Question(model="small", rules=("I1",), directory=tmp_path))


def test_missing_programs_are_named_with_what_installs_them() -> None:
    """Neither SPIN nor a compiler: one sentence, and exit code 1."""
    done = CliRunner().invoke(main, ["--variant", "apply"], env={"PATH": ""})
    assert done.exit_code == 1
    assert "spin and gcc not found; run: make setup" in done.output


def test_the_command_tells_programs_and_people() -> None:
    """JSON has the way to each broken rule; the table names the variant; a name that is none is wrong usage."""
    done = CliRunner().invoke(main, ["--variant", "no-prune-fence", "--json"])
    assert done.exit_code == 0, done.output
    (document,) = json.loads(done.output)
    assert document["expected"]
    assert document["broken"]["I4"][-1] == "VIOLATED I4"
    shown = CliRunner().invoke(main, ["--variant", "no-prune-fence"])
    assert shown.exit_code == 0, shown.output
    assert "the shortest way to break I4" in shown.output
    assert CliRunner().invoke(main, ["--variant", "none-such"]).exit_code == 2


def test_the_tables_of_the_readme_are_those_of_the_variants() -> None:
    """Each variant stands there with its description and its verdicts (the states aside)."""
    rows = [line.split(" | ") for line in (MODELS / "README.md").read_text(encoding="utf-8").splitlines()]
    told = {cells[0].strip("| `"): cells[1:-1] for cells in rows if cells[0].startswith("| `")}
    for variant in VARIANTS:
        verdict = Verdict(variant=variant, ways=dict.fromkeys(variant.breaks, ()), states=0, seconds=0)
        assert told[variant.name] == [variant.what, *marks(verdict)], variant.name
