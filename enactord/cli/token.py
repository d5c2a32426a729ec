"""token: who may read and write over the HTTP of enactors."""

import time
from pathlib import Path
from typing import Any

import click

from enactord.cli.program import NO, F, Verbs, config_path, examples, on_site
from enactord.cli.terminal import Out, Untold, complain, deny, note, show, tell_done
from enactord.config.reader import load_config
from enactord.core.moment import utc
from enactord.core.tokens import Role, Token, Tokens, check_token_name
from enactord.operations.scope import Denied
from enactord.operations.tokens import create_token, read_tokens, revoke_token


def _name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    wrong = check_token_name(value)
    if wrong:
        raise click.BadParameter(wrong)
    return value


def in_file(command: F) -> F:
    """Give a command the option --file of tokens."""
    return click.option(
        "--file",
        "file",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The file of tokens [default: http.tokens_file of the config].",
    )(command)


@click.group(
    cls=Verbs,
    epilog=examples(
        """
enactorctl token create planner-1 --role planner
enactorctl token create alice --role operator --file /etc/enactord/http.tokens
enactorctl token list
enactorctl token revoke planner-1
"""
    ),
)
@on_site
def token() -> None:
    """Make, list and revoke the tokens that open the HTTP of enactors, each with a role.

    \b
    viewer    reads, where http.read_needs_token is true (else everybody does)
    planner   publishes plans, too: under the token's name
    operator  does everything: freeze, thaw, rollback, pause and resume planners

    The file holds names, roles and hashes, and no token. Running enactors take a changed file up by themselves.
    Every enactor of a scope needs the file.
    """


@token.command(
    epilog=examples("enactorctl token create planner-1 --role planner\nenactorctl token create alice --role operator")
)
@click.argument("name", metavar="NAME", callback=_name)
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do.")
@click.option("--replace", is_flag=True, help="Make another in the place of the token of this name.")
@in_file
@on_site
def create(name: str, role: str, replace: bool, file: Path | None) -> int:
    """Make a token, and show it once: the file keeps its hash alone.

    NAME is recorded as the author of whatever is done with the token. Give each planner and each person a token of
    its own. A file that is not there yet is made, readable by you alone.
    """
    path = _path(file)
    made = create_token(path, name, Role(role), time.time(), replace=replace)
    if isinstance(made, Denied):
        return deny(made)
    document = _document(made.token) | {"token": made.secret, "file": str(path)}

    try:
        show(document, lambda out: out.line(made.secret))
    except Untold as error:
        complain(("error: ", "red"), f"the token is in {path}, and could not be shown: {error}")
        complain(f"nobody knows it; make it anew: enactorctl token create {name} --role {role} --replace")
        return NO
    # Beside the token itself, so that `token create … > FILE` makes a file for --token-file.
    note(f"token {name}, role {role}: keep it now, it is shown only once; its hash is in {path}")
    return 0


@token.command("list", epilog=examples("enactorctl token list\nenactorctl token list --file http.tokens --json"))
@in_file
@on_site
def list_(file: Path | None) -> int:
    """List the tokens by name: role, and when each was made."""
    path = _path(file)
    tokens = read_tokens(path)
    if isinstance(tokens, Denied):
        return deny(tokens)
    show(
        {"file": str(path), "tokens": [_document(each) for each in tokens.all]},
        lambda out: _print(out, path, tokens),
    )
    return 0


@token.command(epilog=examples("enactorctl token revoke planner-1"))
@click.argument("name", metavar="NAME", callback=_name)
@in_file
@on_site
def revoke(name: str, file: Path | None) -> int:
    """Take a token away: it opens nothing any more once the enactors have taken the file up, in a few seconds."""
    path = _path(file)
    gone = revoke_token(path, name)
    if isinstance(gone, Denied):
        return deny(gone)
    text = f"token {gone.name}, role {gone.role}, is revoked: it is no more in {path}"
    tell_done(lambda: _document(gone) | {"file": str(path)}, lambda out: out.line(text))
    return 0


def _path(given: Path | None) -> Path:
    """Return the file that is meant. Raises `ConfigError`."""
    if given is not None:
        return given
    config = load_config(config_path(), for_daemon=False)
    for use in config.source.uses:
        if "http.tokens_file" in use.keys:
            return use.paths[0]
    raise click.UsageError(f"{config.source.path} has no http.tokens_file; set it, or name the file: --file FILE")


def _document(token: Token) -> dict[str, Any]:
    return {"name": token.name, "role": token.role.value, "made_at": token.made_at}


def _print(out: Out, path: Path, tokens: Tokens) -> None:
    if not tokens:
        out.line(f"no token in {path}; make the first: enactorctl token create NAME --role ROLE")
        return
    out.table(("name", "role", "made"), [[each.name, each.role, utc(each.made_at)] for each in tokens.all])
