"""prune: delete plans that nothing can need any more."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import anywhere, examples
from enactord.cli.publish import author_or_user
from enactord.cli.source import read
from enactord.cli.terminal import Out, show, tell_done, warn
from enactord.operations import pruning

if TYPE_CHECKING:
    from enactord.cli.opening import Tools


@click.command(epilog=examples("enactorctl prune --dry-run\nenactorctl prune"))
@click.option("--dry-run", is_flag=True, help="Delete nothing; show what would go, and who holds the rest.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@anywhere
def prune(dry_run: bool, author: str | None) -> None:
    """Delete plans that nothing can need any more; shows why each other one stays."""
    order = {"dry_run": dry_run, "author": author}
    document = read(lambda enactor: enactor.post("prune", order=order), partial(_prune, dry_run, author))
    for warning in document["warnings"]:
        warn(warning)
    if dry_run:
        show(document, lambda out: _print(out, document))
    else:
        tell_done(lambda: document, lambda out: _print(out, document))


async def _prune(dry_run: bool, author: str | None, tools: "Tools") -> dict[str, Any]:
    author = author_or_user(author)
    return (await pruning.prune(tools.scope, tools.settings.keep, author=author, dry_run=dry_run)).document()


def _print(out: Out, document: dict[str, Any]) -> None:
    gone = "would go" if document["dry_run"] else "pruned"
    verdicts = {each["generation"]: f"stays: {each['detail']}" for each in document["kept"]}
    verdicts |= dict.fromkeys(document["pruned"], gone)
    out.table(("generation", "verdict"), [[generation, verdicts[generation]] for generation in sorted(verdicts)])
    out.line(f"{len(document['pruned'])} of {len(verdicts)} plans {gone}")
