"""A program of several verbs: options that all of them take, and the one place where errors become exit codes.

0 ok; 1 the answer is "no"; 2 wrong usage or config; 3 the store, a server or the enactor cannot be reached.
"""

import errno
import importlib
import io
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from enactord.cli import terminal
from enactord.cli.given import file_problem, nearest_verb
from enactord.core.errors import (
    ArchiveUnreadable,
    ConfigError,
    CopyUnreadable,
    EnactorAway,
    EnactordError,
    EnactorUnknown,
    InvalidName,
    InvalidPlan,
    NoEnactor,
    PlanUnreadable,
    StoreDown,
    StoreRefused,
    StoreUnknown,
    ZoneDown,
)
from enactord.core.refusal import Denied
from enactord.core.visible import visible

OK = 0
NO = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130
"""Source: the shells' 128 + SIGINT."""

CONFIG_VARIABLE = "ENACTORD_CONFIG"
CONFIG_DEFAULT = "/etc/enactord/enactord.toml"
URL_VARIABLE = "ENACTORD_URL"
TOKEN_FILE_VARIABLE = "ENACTORD_TOKEN_FILE"
CA_FILE_VARIABLE = "ENACTORD_CA_FILE"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as its exit code, a stable kind for programs, and what people read."""

    code: int
    kind: str
    message: str
    problems: tuple[str, ...] = ()


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
"""Failures of a disk: nothing that was typed is wrong."""


class Answered(EnactordError):
    """A "no" of an enactor over HTTP, which says by itself what it comes to here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Refused(Answered):
    """An enactor over HTTP refuses what it is asked, by its rules."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(Problem(code=NO, kind="refused", message="; ".join(map(str, denied.refusals))))
        self.denied = denied


def translate(error: Exception) -> Problem | None:
    """Return the problem that an error is, or None for one that nobody foresaw."""
    message = str(error)
    match error:
        case Answered(problem=problem):
            return problem
        case click.ClickException():
            return Problem(code=USAGE, kind="usage", message=error.format_message())
        case ConfigError(problems=problems):
            return Problem(code=USAGE, kind="config", message="the config cannot be used", problems=problems)
        case InvalidName():
            return Problem(code=USAGE, kind="name", message=message)
        case InvalidPlan(problems=problems):
            return Problem(code=NO, kind="plan", message="the plan cannot be accepted", problems=problems)
        case PlanUnreadable():
            return Problem(code=NO, kind="unreadable", message=f"{message}; publish the whole content anew")
        case ArchiveUnreadable() | CopyUnreadable():
            return Problem(code=NO, kind="archive", message=message)
        case StoreUnknown():
            hint = "it may have been carried out: look with `enactorctl plans` before you try again"
            return Problem(code=UNREACHABLE, kind="store-unknown", message=f"{message}; {hint}")
        case StoreDown():
            hint = "check [store] url in the config, and that the store runs"
            return Problem(
                code=UNREACHABLE, kind="store", message=f"the plan store cannot be reached: {message}; {hint}"
            )
        case StoreRefused():
            hint = "check its credentials and quota"
            return Problem(code=UNREACHABLE, kind="store-refused", message=f"the plan store refuses: {message}; {hint}")
        case EnactorUnknown():
            hint = "it may have been carried out: look with `enactorctl audit` before you try again"
            return Problem(code=UNREACHABLE, kind="enactor-unknown", message=f"{message}; {hint}")
        case NoEnactor():
            return Problem(code=UNREACHABLE, kind="no-enactor", message=message)
        case EnactorAway():
            return Problem(code=UNREACHABLE, kind="enactor", message=message)
        case ZoneDown():
            hint = "check the zone's server and verify in the config"
            return Problem(code=UNREACHABLE, kind="zone", message=f"a DNS server cannot be reached: {message}; {hint}")
        case EnactordError():
            return Problem(code=UNREACHABLE, kind="failed", message=message)
        case OSError():
            code = NO if error.errno in _NO_ROOM else USAGE
            return Problem(code=code, kind="file", message=file_problem(error))
    return None


def report(problem: Problem, *, as_json: bool) -> None:
    """Print a problem: a document on stdout for programs, lines on stderr for people."""
    if as_json:
        error: dict[str, Any] = {"kind": problem.kind, "message": problem.message}
        if problem.problems:
            error["problems"] = list(problem.problems)
        terminal.show_error(error)
        return
    for line in (f"error: {problem.message}", *(f"  {line}" for line in problem.problems)):
        terminal.complain(line)


class Verbs(click.Group):
    """A group that tells which verb was meant, where there is none of that name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        unknown = not args[0].startswith("-") and self.get_command(ctx, args[0]) is None
        if unknown and not ctx.resilient_parsing:  # a shell that completes is told nothing
            ctx.fail(f"no command {args[0]!r}; {nearest_verb(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class Program(Verbs):
    """A group whose errors become exit codes, and documents where --json was given."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)

        def invoke() -> Any:
            return super(Program, self).main(
                arguments, prog_name, complete_var, False, windows_expand_args=windows_expand_args, **extra
            )

        if not standalone_mode:
            return invoke()
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, signal.default_int_handler)
        terminal.prepare()
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        as_json = "--json" in options
        try:
            code = invoke()
        except (click.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        except click.UsageError as error:
            if not as_json:
                usage = io.StringIO()
                error.show(usage)
                terminal.complain_text(visible(usage.getvalue(), lines=True))
            else:
                report(Problem(code=USAGE, kind="usage", message=error.format_message()), as_json=True)
            code = USAGE
        except terminal.Untold as error:
            code = _untold(error)
        except Exception as error:
            if isinstance(error, OSError) and not error.filename and {"--help", "-h", "--version"} & set(options):
                sys.exit(_untold(terminal.Untold(error)))  # printed by click itself
            problem = translate(error)
            if problem is None:
                terminal.complain_text(visible(traceback.format_exc(), lines=True))
                problem = Problem(code=NO, kind="failed", message=f"an error that no rule foresees: {error!r}")
            report(problem, as_json=as_json)
            code = problem.code
        code = code if isinstance(code, int) else OK
        try:
            terminal.flush()
        except terminal.Untold as error:
            code = code or _untold(error)
        sys.exit(code)


class OnDemand(Program):
    """A program that imports a verb when it is called: most of a short command's time would go into the others."""

    def __init__(self, *arguments: Any, verbs: Mapping[str, tuple[str, str]], **options: Any) -> None:
        """`verbs`: name to its module in this package, and to its summary, which is the first line of its help."""
        super().__init__(*arguments, **options)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._verbs:
            return None
        found = getattr(importlib.import_module(f"enactord.cli.{self._verbs[cmd_name][0]}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            limit = formatter.width - 6 - max(map(len, self._verbs))  # as click does for commands at hand
            rows = [
                (name, textwrap.shorten(self._verbs[name][1], limit, placeholder="...")) for name in sorted(self._verbs)
            ]
            formatter.write_dl(rows)


def _untold(error: terminal.Untold) -> int:
    """Return the exit code of a question whose answer could not be written: none, where the reader had enough."""
    if error.left:
        return OK
    terminal.complain(f"error: the answer could not be written: {error}")
    return NO


def _keep(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        meta: MutableMapping[str, Any] = context.meta
        if value:
            meta[f"enactord.{key}"] = value

    return callback


def common(command: F) -> F:
    """Give a command the options that every verb takes, before and after it: --config and --json."""
    command = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_keep("json"),
        help="Print one JSON document on stdout, errors too.",
    )(command)
    return click.option(
        "--config",
        metavar="FILE",
        expose_value=False,
        callback=_keep("config"),
        help=f"The config [default: ${CONFIG_VARIABLE}, else {CONFIG_DEFAULT}].",
    )(command)


def anywhere(command: F) -> F:
    """Give a command the options of a verb that works by the config, and over an enactor's HTTP too."""
    return _over_http(common(command), hidden=False)


def on_site(command: F) -> F:
    """Give a command the options of a verb that needs the config: it takes --url, too, to say so."""
    return _over_http(common(command), hidden=True)


def _over_http(command: F, *, hidden: bool) -> F:
    in_file = "In a file, as every user of this machine can read arguments."
    for key, metavar, text in (
        ("ca-file", "FILE", f"Trust this authority alone, for an https URL [default: ${CA_FILE_VARIABLE}]."),
        ("token-file", "FILE", f"The token for --url [default: ${TOKEN_FILE_VARIABLE}]. {in_file}"),
        ("url", "URL", f"Ask this enactor over HTTP, without config and store [default: ${URL_VARIABLE}]."),
    ):
        command = click.option(
            f"--{key}", metavar=metavar, expose_value=False, callback=_keep(key), help=text, hidden=hidden
        )(command)
    return command


def config_path() -> Path:
    """Return where the config is: --config, the environment, or the default.

    Raises `click.UsageError` where the verb is to ask an enactor: then it needs the config.
    """
    context = click.get_current_context()
    if enactor_url():
        by = "--url" if context.meta.get("enactord.url") else f"${URL_VARIABLE}"
        raise click.UsageError(
            f"`{context.command_path}` needs the config and its plan store, which {by} does not give; run it on a"
            " machine that has the config, with --config FILE in its place"
        )
    given = context.meta.get("enactord.config")
    return Path(given or os.environ.get(CONFIG_VARIABLE) or CONFIG_DEFAULT)


def enactor_url() -> str:
    """Return the URL of the enactor to ask over HTTP; "" where the config says which store it is.

    An option counts more than the environment, and there the URL more than the config. Raises `click.UsageError`.
    """
    context = click.get_current_context()
    if not any(parameter.name == "url" for parameter in context.find_root().command.params):
        return ""  # a program that asks no enactor
    meta = context.meta
    url, config = meta.get("enactord.url", ""), meta.get("enactord.config")
    if url and config:
        raise click.UsageError("--url and --config exclude each other: an enactor is asked, or its store")
    url = url or ("" if config else os.environ.get(URL_VARIABLE, ""))
    for option in ("token-file", "ca-file"):
        if not url and f"enactord.{option}" in meta:
            raise click.UsageError(f"--{option} is of use with --url alone: name the enactor to ask with --url URL")
    return str(url)


def enactor_file(option: str, variable: str) -> Path | None:
    """Return the file that an option about the enactor's HTTP names, or the environment; None: neither does."""
    given = click.get_current_context().meta.get(f"enactord.{option}") or os.environ.get(variable)
    return Path(given) if given else None


def examples(text: str) -> str:
    """Return an epilog that click prints as it is."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in text.strip().splitlines())
