"""Times as people give them on the command line."""

import time
from typing import Any

import click

from enactord.core.moment import parse_moment


class Moment(click.ParamType):  # type: ignore[type-arg]  # not generic in all versions that serve
    """A moment, in seconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        try:
            return parse_moment(str(value), time.time())
        except ValueError as error:
            self.fail(str(error), param, context)
