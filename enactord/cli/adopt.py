"""adopt: names that somebody else put into a zone become the ledger's."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from enactord.cli.program import anywhere, examples
from enactord.cli.publish import author_or_user
from enactord.cli.source import ask
from enactord.cli.terminal import Out, deny, tell_done
from enactord.core.names import parse_name
from enactord.operations import acts as operations
from enactord.operations.acts import Denied

if TYPE_CHECKING:
    from enactord.cli.opening import Tools


@click.command(epilog=examples("enactorctl adopt db.example.com cache.example.com"))
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--reason", metavar="TEXT", default="", help="Why; the audit log keeps it.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@anywhere
def adopt(names: tuple[str, ...], reason: str, author: str | None) -> int:
    """Enter names into the ledger as they are served now, so that plans may change them.

    A plan never takes over a name that the ledger does not own: it is held, as "foreign",
    until it is adopted. All the names are adopted, or none.
    """
    wanted = [parse_name(name) for name in names]
    order = {"names": wanted, "reason": reason or None, "author": author}
    done = ask(lambda enactor: enactor.post("adopt", order=order), partial(_adopt, wanted, reason, author))
    if isinstance(done, Denied):
        return deny(done)
    tell_done(lambda: done, lambda out: _print(out, done))
    return 0


async def _adopt(names: Sequence[str], reason: str, author: str | None, tools: "Tools") -> dict[str, Any] | Denied:
    async with tools.zones() as zones:
        readers = {name: (ports.zone, ports.settings.answers_max) for name, ports in zones.items()}
        done = await operations.adopt(tools.scope, names, readers, author=author_or_user(author), reason=reason)
        return done if isinstance(done, Denied) else done.document()


def _print(out: Out, document: dict[str, Any]) -> None:
    for each in document["adopted"]:
        out.line(f"adopted {each['name']}  ttl {each['ttl_s']} s: {' '.join(each['addresses'])}")
