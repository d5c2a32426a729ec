"""Parameters of which the everyday suite takes a few, and `make test-long` the others."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest


def named(case: Any) -> str:
    """Return the name of a case as pytest would put it: of a class in small letters, of several values with hyphens."""
    if isinstance(case, tuple):
        return "-".join(map(named, case))
    return case.__name__.lower() if isinstance(case, type) else str(case)


def daily(cases: Iterable[Any], few: Collection[Any] | int, *, name: Callable[[Any], str] = named) -> list[Any]:
    """Return a parameter for each case; a tuple is several parameters.

    The everyday suite takes those of `few`, or the first so many. Raises `ValueError` where `few` has what is no
    case: it would be tried by nobody every day.
    """
    every = list(cases)
    chosen = every[:few] if isinstance(few, int) else list(few)
    if missing := [case for case in chosen if case not in every]:
        raise ValueError(f"no case: {missing}")
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            id=name(case),
            marks=() if case in chosen else pytest.mark.long,
        )
        for case in every
    ]
