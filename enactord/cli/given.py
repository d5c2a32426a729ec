"""What a person typed that cannot be used, and what to type in its place: files, verbs, generations, reasons."""

import difflib
import errno
import os
from collections.abc import Collection
from typing import Any

import click


def file_problem(error: OSError) -> str:
    """Return what is wrong with a file that a person named, and what to do; other errors as they are."""
    if error.errno is not None and not error.filename:
        return f"{error.strerror}{'; make room on that disk' if error.errno == errno.ENOSPC else ''}"
    if error.errno is None:
        return str(error)
    hint = {
        FileNotFoundError: "; correct the path",
        PermissionError: "; run this as a user who may",
        IsADirectoryError: "; name a file in it",
        FileExistsError: "; it is no folder: name another",
        NotADirectoryError: "; part of the path is no folder: correct it",
    }.get(type(error), "; make room on that disk" if error.errno == errno.ENOSPC else "")
    return f"{os.fsdecode(error.filename)}: {error.strerror}{hint}"


def nearest_verb(given: str, verbs: Collection[str]) -> str:
    """Return what to say of a verb that does not exist: the one that was meant, else which there are."""
    close = difflib.get_close_matches(given, verbs, n=1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(verbs))}"


class _Generation(click.IntRange):
    """The number of a plan."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no generation: give the number of a plan (see: enactorctl plans)", param, ctx)


class _Reason(click.types.StringParamType):
    """Words that say why: whoever reads them later has nothing else."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip():
            self.fail('it is empty; say why, for whoever reads it later: --reason "INC-4711: …"', param, ctx)
        return super().convert(value, param, ctx)


GENERATION = _Generation(min=1)
REASON = _Reason()
