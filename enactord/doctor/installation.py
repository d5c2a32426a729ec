"""Which installation this config is of: by the id in the plan store, and by that in this enactor's local copy."""

import asyncio
import os
from dataclasses import dataclass

from enactord.config.store import open_config_store
from enactord.config.tables import Config
from enactord.core.errors import CopyUnreadable, EnactordError
from enactord.doctor.aside import beside
from enactord.doctor.check import Check, Group, State
from enactord.doctor.store import not_made
from enactord.operations.copied import read_copied_installation
from enactord.store.keys import Keys, parse_installation
from enactord.stores.local_copy import COPY_NAME

AS_USER = "run it as root, or as the enactor's user: sudo -u enactord enactorctl doctor"
_COPY_LIMIT_S = 10.0
_STORE_ANSWERS = 2
"""One to connect, and one for the id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The ids of the installation. "": the store, or the copy, has none; None: it could not be read.

    `copy_problem`: why the copy could not be read. `garbled`: what the store has is no id.
    """

    stored: str | None = None
    copied: str | None = None
    copy_problem: str = ""
    copy_denied: bool = False
    garbled: bool = False

    @property
    def own(self) -> str | None:
        """The id that fences are compared with, as an enactor does: that of the copy, else that of the store.

        "": the store answers, and there is no id yet. None: nobody tells.
        """
        return self.copied or self.stored


async def read_identity(config: Config) -> Identity:
    """Read both ids, each once and within its time. It never raises."""
    stored, copied = await asyncio.gather(_stored(config), _copied(config))
    return Identity(
        stored=stored.stored,
        garbled=stored.garbled,
        copied=copied.copied,
        copy_problem=copied.copy_problem,
        copy_denied=copied.copy_denied,
    )


async def _stored(config: Config) -> Identity:
    key = Keys(config.enactor.scope).installation
    try:
        async with asyncio.timeout(_STORE_ANSWERS * config.store.timeout_s):
            if await beside(lambda: not_made(config)) is not None:
                return Identity(stored="")
            store = await open_config_store(config)
            try:
                item = (await store.get([key])).get(key)
            finally:
                await store.close()
    except (TimeoutError, EnactordError, OSError):
        return Identity()
    found = parse_installation(item.value) if item is not None else ""
    return Identity(stored=found) if isinstance(found, str) else Identity(garbled=True)


async def _copied(config: Config) -> Identity:
    path = config.enactor.state_dir / COPY_NAME

    def read() -> Identity:
        try:
            return Identity(copied=read_copied_installation(config.enactor.state_dir, config.enactor.scope))
        except CopyUnreadable as error:
            denied = isinstance(error.__cause__, PermissionError) or not os.access(path, os.R_OK)
            return Identity(copy_problem=str(error), copy_denied=denied)

    try:
        async with asyncio.timeout(_COPY_LIMIT_S):
            return await beside(read)
    except TimeoutError:
        return Identity(copy_problem=f"{path}: no end within {_COPY_LIMIT_S:g} s")


async def check_installation(found: Identity) -> list[Check]:
    """Compare the id in the store with that of the local copy."""
    if found.garbled:
        return [_told(State.FAULT, "the store's id of the installation cannot be read", "enactorctl restore BACKUP")]
    if found.copy_problem:
        fix = AS_USER if found.copy_denied else "none is needed: the enactor sets it aside at its start, and makes one"
        seen = f"{_named(found)}; the local copy cannot be read: {found.copy_problem}"
        return [_told(State.UNKNOWN if found.copy_denied else State.WARNING, seen, fix)]
    if found.stored is None:
        seen = f"the store does not tell; {_copy(found)}"
        return [_told(State.UNKNOWN, seen, "see the store")]
    if not found.copied:
        return [_told(State.OK, f"{_named(found)}; {_copy(found)}")]
    if not found.stored:
        seen = f"the store is empty, and the local copy is of installation {found.copied}"
        fix = "enactorctl restore --from-copy; if the empty store is meant, move state_dir away"
        return [_told(State.FAULT, seen, fix)]
    if found.stored != found.copied:
        seen = f"the store is of installation {found.stored}, and the local copy of installation {found.copied}"
        fix = "correct store.url; if this store is meant, stop the enactor, and move its state_dir away"
        return [_told(State.FAULT, seen, fix)]
    return [_told(State.OK, f"store and local copy are of installation {found.stored}")]


def _named(found: Identity) -> str:
    if found.stored is None:
        return "the store does not tell"
    return f"the store is of installation {found.stored}" if found.stored else "the store has no id"


def _copy(found: Identity) -> str:
    if found.copied:
        return f"the local copy is of installation {found.copied}"
    return "there is no local copy to compare it with"


def _told(state: State, seen: str, fix: str = "") -> Check:
    return Check(group=Group.STORE, subject="installation", state=state, seen=seen, fix=fix)
