"""What a person typed that cannot be used, a file or a verb, and what to type in its place."""

import difflib
import os
from collections.abc import Collection


def file_problem(error: OSError) -> str:
    """Return what is wrong with a file that a person named, and what to do; other errors as they are."""
    if not error.filename or error.errno is None:
        return str(error)
    hint = {
        FileNotFoundError: "; correct the path",
        PermissionError: "; run this as a user who may",
        IsADirectoryError: "; name a file in it",
    }.get(type(error), "")
    return f"{os.fsdecode(error.filename)}: {error.strerror}{hint}"


def nearest_verb(given: str, verbs: Collection[str]) -> str:
    """Return what to say of a verb that does not exist: the one that was meant, else which there are."""
    close = difflib.get_close_matches(given, verbs, n=1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(verbs))}"
