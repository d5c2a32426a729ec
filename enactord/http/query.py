"""What a request asks for in its query: typed, bounded, and nothing that is not known."""

from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web

from enactord.http.problems import Problem

PAGE = 50
PAGE_MAX = 500
"""Entries of a page of a list: by default, and at most."""


def bad(detail: str) -> Problem:
    """Return the problem of a request that is not in good form."""
    return Problem(HTTPStatus.BAD_REQUEST, detail)


class Query:
    """The query of one request. A misspelt key is an error: ignored, it would answer another question."""

    def __init__(self, request: web.Request, known: Sequence[str] = ()) -> None:
        self._values: dict[str, str] = {}
        for key, value in request.query.items():
            if key not in known:
                names = ", ".join(known) or "none"
                raise bad(f"{key[:40]!r}: no such parameter here (known: {names})")
            if key in self._values:
                raise bad(f"{key}: is there twice")
            self._values[key] = value

    def text(self, key: str, *, length_max: int = 255) -> str:
        """Return a text; "" where it is not given."""
        value = self._values.get(key, "")
        if len(value) > length_max:
            raise bad(f"{key}: at most {length_max} characters")
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """Return one of the choices; "" where it is not given."""
        value = self._values.get(key)
        if value is not None and value not in choices:
            raise bad(f"{key}: must be one of {', '.join(choices)}")
        return value or ""

    def flag(self, key: str) -> bool:
        """Return whether something is wanted; false where it is not given."""
        return self.choice(key, ("true", "false")) == "true"

    def given(self, key: str) -> dict[str, str]:
        """Return a key with its value; nothing where it is not given."""
        return {key: self._values[key]} if key in self._values else {}

    def integer(self, key: str, default: int, *, low: int, high: int) -> int:
        value = self._values.get(key)
        return default if value is None else whole_number(key, value, low=low, high=high)


def whole_number(key: str, text: str, *, low: int, high: int) -> int:
    """Return a number as a URL has it: digits alone, within bounds."""
    if text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high:
        return int(text)
    raise bad(f"{key}: must be a whole number from {low} to {high}")
