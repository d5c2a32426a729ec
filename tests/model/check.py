"""Checks a variant of a model: every order of its steps, by SPIN, and the shortest way to what goes wrong.

A search visits every state that the model can reach, in order of distance from the start. It ends with
all states, or with the shortest way to a state that breaks one of the rules asked for.
A second search (`Question.ends`) looks for a cycle in the graph of states. Where there is
none every run comes to rest, and what the model says of that rest (I5) is then said of every run,
without a word on who is scheduled when.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MODELS = Path(__file__).parent
TIMEOUT_S = 600
MEMORY_MAX_MIB = 6 * 1024
"""A search that would need more ends with an error, and not with half a verdict."""
DEPTH_MAX = 1_000_000

_STATES = re.compile(r"^ *([0-9.e+]+) states, stored", re.MULTILINE)
_ERRORS = re.compile(r"errors: ([0-9]+)")
_INCOMPLETE = ("Search not completed", "max search depth too small", "reached -DMEMLIM bound", "out of memory")
_STUCK = re.compile(r"^pan.*: invalid end state", re.MULTILINE)
_STEP = re.compile(r"^ *\| (.*)$", re.MULTILINE)
_BROKEN = re.compile(r"VIOLATED (I[0-9])")

ENDLESS = "endless"
"""What is broken where the model can go round for ever."""
STUCK = "stuck"
"""What is broken where a process waits for ever though all rules hold."""


class ModelError(Exception):
    """The check itself failed; says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One search: a model with its flags set, and the rules that must hold in every state.

    `ends`: look for a cycle instead; the rules are not looked at. `large`: millions of states.
    """

    model: str
    flags: Mapping[str, int] = field(default_factory=dict)
    rules: Sequence[str] = ()
    ends: bool = False
    large: bool = False
    directory: Path = MODELS

    @property
    def defines(self) -> list[str]:
        """The flags as the preprocessor takes them."""
        mask = 0 if self.ends else sum(1 << int(rule[1:]) for rule in self.rules)
        return [f"-D{name}={value}" for name, value in ({**self.flags, "RULES": mask}).items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The end of a search: `broken` is the rule found broken ("": none, every state was visited).

    `steps` is the way there: the shortest one, where it is a rule's.
    """

    states: int
    broken: str = ""
    steps: tuple[str, ...] = ()


def programs_missing() -> list[str]:
    """Return which of the programs that a check needs are not installed."""
    return [program for program in ("spin", "gcc") if shutil.which(program) is None]


def ask(question: Question) -> Answer:
    """Run one search. Raises `ModelError` where it gives no whole answer."""
    missing = programs_missing()
    if missing:
        raise ModelError(f"{' and '.join(missing)} not found; run: make setup")
    with tempfile.TemporaryDirectory(prefix="enactord-model-") as name:
        return _search(question, Path(name))


def _search(question: Question, place: Path) -> Answer:
    model = place / f"{question.model}.pml"
    shutil.copyfile(question.directory / model.name, model)
    _run(["spin", *question.defines, "-a", model.name], place)
    # Compiling takes longer than most searches, and so does a large table of states that stays empty.
    level, slots_log2 = ("-O1", 22) if question.large else ("-O0", 20)
    # No partial order reduction: SPIN does not promise that it goes with `timeout` and `unless`.
    kind = ["-DNP"] if question.ends else ["-DSAFETY", "-DBFS"]
    limits = ["-DNOREDUCE", "-DNOFAIR", f"-DMEMLIM={MEMORY_MAX_MIB}"]
    _run(["gcc", level, "-w", *kind, *limits, "-o", "pan", "pan.c"], place)
    rest = [] if "I5" in question.rules else ["-E"]  # whether a process may be stuck is part of I5
    report = _run(["./pan", f"-m{DEPTH_MAX}", f"-w{slots_log2}", *(["-l"] if question.ends else rest)], place)
    errors, states = _ERRORS.search(report), _STATES.search(report)
    if errors is None or states is None:
        raise ModelError(f"{question.model} {' '.join(question.defines)}: {report.strip()}")
    count = int(float(states[1]))
    if errors[1] != "0":
        steps = _steps(question, place, model.name)
        if question.ends:
            return Answer(states=count, broken=ENDLESS, steps=steps)
        if _STUCK.search(report):
            return Answer(states=count, broken=STUCK, steps=steps)
        return Answer(states=count, broken=_rule(question, steps), steps=steps)
    if any(sign in report for sign in _INCOMPLETE):
        raise ModelError(f"{question.model} {' '.join(question.defines)}: not every state was visited\n{report}")
    return Answer(states=count)


def _steps(question: Question, place: Path, model: str) -> tuple[str, ...]:
    """What the model itself says on the way that was found."""
    told = _run(["spin", *question.defines, "-t", "-T", model], place)
    return tuple(_STEP.findall(told))


def _rule(question: Question, steps: Sequence[str]) -> str:
    """The rule that the last step breaks: no other error can end a search."""
    match = _BROKEN.fullmatch(steps[-1]) if steps else None
    if match is None or match[1] not in question.rules:
        raise ModelError(f"{question.model} {' '.join(question.defines)}: ends by no rule asked for: {steps[-3:]}")
    return match[1]


def _run(command: Sequence[str], place: Path) -> str:
    """Run a program; returns what it printed."""
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{' '.join(command)}: no answer within {TIMEOUT_S} s") from error
    if done.returncode:
        raise ModelError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
