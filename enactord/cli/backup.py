"""backup, restore: the store of a scope as one file, and back."""

import asyncio
from pathlib import Path

import click

from enactord.cli.opening import open_tools
from enactord.cli.program import examples, on_site
from enactord.cli.publish import author_or_user
from enactord.cli.terminal import Out, deny, progress, tell_done, warn
from enactord.core.moment import utc
from enactord.operations import archive
from enactord.operations.archive import Restored, Saved
from enactord.operations.scope import Denied, Stage
from enactord.stores.local_copy import COPY_NAME, read_copy

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=examples("enactorctl backup /var/backups/enactord-$(date +%F)"))
@click.argument("file", metavar="FILE", type=_FILE)
@on_site
def backup(file: Path) -> None:
    """Write all that is needed to rebuild the scope's store into FILE, as of one moment.

    Plans, ledger, fences and freeze; not the leases of running enactors. An existing FILE
    is replaced once the new one is whole.
    """
    if str(file) == "-":
        raise click.UsageError(
            "the backup is written to a file, and is there whole or not at all; name one, as ./backup"
        )
    if file.exists() and not file.is_file():
        raise click.UsageError(f"{file} is no regular file, and would be replaced by one; name another")
    with progress("backing up") as bar:
        saved = asyncio.run(_backup(file, bar.stage))
    tell_done(lambda: saved.document() | {"file": str(file)}, lambda out: _print_saved(out, file, saved))


async def _backup(file: Path, stage: Stage) -> Saved:
    async with open_tools() as tools:
        # A link is followed: what it leads to is replaced, and the link stays.
        return await archive.backup(tools.scope, await asyncio.to_thread(file.resolve), stage=stage)


def _print_saved(out: Out, file: Path, saved: Saved) -> None:
    out.line(
        f"{file}: scope {saved.scope} at revision {saved.revision}, {saved.plans} plans, "
        f"{saved.keys:,} keys, {saved.bytes:,} bytes"
    )
    if saved.unknown:
        out.line(f"of them {', '.join(saved.unknown)} are of a newer version: only that version restores this file")


@click.command(
    epilog=examples(
        "enactorctl restore /var/backups/enactord-2026-01-31\n"
        "enactorctl restore /var/backups/enactord-2026-01-31 --replace\n"
        "enactorctl restore --from-copy /var/lib/enactord"
    )
)
@click.argument("file", metavar="[FILE]", type=_FILE, required=False)
@click.option(
    "--from-copy",
    metavar="[STATE_DIR]",
    is_flag=False,
    flag_value="",
    help="Restore from an enactor's copy on local disk in place of a FILE [default: state_dir of the config].",
)
@click.option("--replace", is_flag=True, help="Replace what the store holds of this scope.")
@click.option("--author", metavar="NAME", help="Who says so [default: you].")
@on_site
def restore(file: Path | None, from_copy: str | None, replace: bool, author: str | None) -> int:
    """Put a backup into the store; what is served does not change by it.

    Without a backup, --from-copy takes the copy that each enactor keeps on its local disk: the
    ledger, the fences, and the plans that stand at them. Take the enactor that was up last. Enactors
    that refused the empty store go on by themselves.

    The scope is frozen while it lasts. Fences are never lowered: where a zone stands above
    the newest plan of the backup, enactors wait for the next publication, which takes a
    generation above it. A restore that broke off is begun again by the same command.
    """
    if (file is None) == (from_copy is None):
        raise click.UsageError("name a FILE, or --from-copy")
    with progress("restoring") as bar:
        if from_copy is not None:
            done = asyncio.run(_restore_copy(from_copy, author_or_user(author), replace, bar.stage))
        else:
            assert file is not None
            done = asyncio.run(_restore(file, author_or_user(author), replace, bar.stage))
    if isinstance(done, Denied):
        return deny(done)
    if done.unentered:
        warn(done.unentered)
    tell_done(done.document, lambda out: _print_restored(out, done))
    return 0


async def _restore(file: Path, author: str, replace: bool, stage: Stage) -> Restored | Denied:
    async with open_tools() as tools, tools.zones() as zones:
        return await archive.restore(tools.scope, file, zones, author=author, replace=replace, stage=stage)


async def _restore_copy(state_dir: str, author: str, replace: bool, stage: Stage) -> Restored | Denied:
    async with open_tools() as tools, tools.zones() as zones:
        folder = Path(state_dir) if state_dir else tools.config.enactor.state_dir
        items, chunks = read_copy(folder)
        file = folder / COPY_NAME
        source = archive.copy_source(tools.scope, str(file), items, chunks, file.stat().st_mtime)
        if isinstance(source, Denied):
            return source
        return await archive.restore_from(tools.scope, source, zones, author=author, replace=replace, stage=stage)


def _print_restored(out: Out, done: Restored) -> None:
    out.line(
        f"restored as of {utc(done.taken_at)}: newest plan {done.newest}, "
        f"{done.plans} plans, {done.written:,} keys written, {done.removed:,} removed"
    )
    if done.installation:
        out.line(f"it is the store of installation {done.installation}")
    if done.left_out:
        shown = ", ".join(map(str, done.left_out[-5:]))
        out.line(f"left out: {len(done.left_out)} plans of which the copy has no content (the last: {shown})")
    for zone, generation in sorted(done.fences.items()):
        waits = ": waits for the next publication" if zone in done.ahead else ""
        out.line(f"{zone} stands at generation {generation}{waits}")
    for zone, problem in sorted(done.unread.items()):
        out.line(f"{zone}: its own fence was not taken over: {problem}")
    for other in done.other_formats:
        out.line(f"the store holds a {other}")
    if done.frozen:
        out.line(f"still frozen by {done.frozen}")
