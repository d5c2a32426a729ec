"""adopt: names that somebody else put into a zone become the ledger's."""

import asyncio

import click

from enactord.cli.opening import open_tools
from enactord.cli.program import common, examples
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import Out, deny, tell_done
from enactord.core.names import parse_name
from enactord.daemon import operations
from enactord.daemon.operations import Adopted, Denied


@click.command(epilog=examples("enactorctl adopt db.example.com cache.example.com"))
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--reason", metavar="TEXT", default="", help="Why; the audit log keeps it.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@common
def adopt(names: tuple[str, ...], reason: str, author: str | None) -> int:
    """Enter names into the ledger as they are served now, so that plans may change them.

    A plan never takes over a name that the ledger does not own: it is held, as "foreign",
    until it is adopted. All the names are adopted, or none.
    """
    done = asyncio.run(_adopt([parse_name(name) for name in names], reason, author_or_user(author)))
    if isinstance(done, Denied):
        return deny(done)
    tell_done(done.document, lambda out: _print(out, done))
    return 0


async def _adopt(names: list[str], reason: str, author: str) -> Adopted | Denied:
    async with open_tools() as tools, tools.zones() as zones:
        readers = {name: (ports.zone, ports.settings.answers_max) for name, ports in zones.items()}
        return await operations.adopt(tools.scope, names, readers, author=author, reason=reason)


def _print(out: Out, done: Adopted) -> None:
    for name, content in sorted(done.contents.items()):
        addresses = " ".join(target.address for target in content.targets)
        out.line(f"adopted {name}  ttl {content.ttl_s} s: {addresses}")
