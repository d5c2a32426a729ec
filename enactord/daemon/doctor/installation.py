"""Whether the plan store is the one that this enactor's local copy knows: by the id of the installation."""

import asyncio
from collections.abc import Sequence

from enactord.daemon.config import Config
from enactord.daemon.copied import copied_installation
from enactord.daemon.doctor.check import Check, Group, State
from enactord.ports import KeyValue
from enactord.registry.keys import Keys, parse_installation


async def check_installation(config: Config, store: KeyValue) -> Sequence[Check]:
    """Compare the id in the store with that of the local copy. Raises `StoreDown`."""
    key = Keys(config.enactor.scope).installation
    item = (await store.get([key])).get(key)
    stored = parse_installation(item.value) if item is not None else ""
    copied = await asyncio.to_thread(copied_installation, config)
    if not isinstance(stored, str):
        seen, fix = "the store's id of the installation cannot be read", "enactorctl restore BACKUP"
        return [_told(State.FAULT, seen, fix)]
    if not copied:
        named = f"the store is of installation {stored}" if stored else "the store has no id yet: an enactor makes one"
        return [_told(State.OK, f"{named}; there is no local copy to compare it with")]
    if not stored:
        seen = f"the store is empty, and the local copy is of installation {copied}"
        fix = "enactorctl restore --from-copy; if the empty store is meant, move state_dir away"
        return [_told(State.FAULT, seen, fix)]
    if stored != copied:
        seen = f"the store is of installation {stored}, and the local copy of installation {copied}"
        fix = "correct store.url; if this store is meant, stop the enactor, and move its state_dir away"
        return [_told(State.FAULT, seen, fix)]
    return [_told(State.OK, f"store and local copy are of installation {stored}")]


def _told(state: State, seen: str, fix: str = "") -> Check:
    return Check(group=Group.STORE, subject="installation", state=state, seen=seen, fix=fix)
