"""A plan that a person or a planner gives as a file."""

import sys
from pathlib import Path

import click

from enactord.core.errors import InvalidPlan
from enactord.core.plan import PLAN_BYTES_MAX, Draft, parse_plan


def parse_document(path: str, document: bytes) -> Draft:
    """Return the plan of a file ("-": stdin) that was read. Raises `InvalidPlan`, whose problems name the file."""
    try:
        return parse_plan(document)
    except InvalidPlan as error:
        name = "stdin" if path == "-" else path
        raise InvalidPlan(tuple(f"{name}: {problem}" for problem in error.problems)) from error


def read_document(path: str) -> bytes:
    """Return a plan file ("-": stdin), no more of it than shows that it is too large. Raises OSError."""
    if path == "-":
        if sys.stdin is None:
            raise click.UsageError("stdin is closed, and the plan was to come from it; name a file")
        return sys.stdin.buffer.read(PLAN_BYTES_MAX + 1)
    with Path(path).open("rb") as file:
        return file.read(PLAN_BYTES_MAX + 1)
