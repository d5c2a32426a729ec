"""Whether the plan store takes a transaction, and each of its members answers."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from enactord.config.files import is_there
from enactord.config.store import open_config_store
from enactord.config.tables import Config
from enactord.core.errors import EnactordError, StoreDown, StoreRefused
from enactord.core.kv import Delete, Put, absent, valued
from enactord.doctor.check import Check, Group, State
from enactord.ports import KeyValue
from enactord.store.keys import Keys
from enactord.store.layout import PROBE

_PROBE_TTL_S = 30
"""So long a key of ours lives on where the doctor is ended in the middle."""
SLOW_S = 0.5
"""Transactions that take longer make every plan slow: each slice of a zone needs two."""


def not_made(config: Config) -> Check | None:
    """Return what there is to tell of a store in SQLite whose file is still to be made; None where there is a store.

    The doctor makes none: it may be run by another user than the enactor. Raises `PermissionError` where this user
    may not look there.
    """
    if not config.store.url.startswith("sqlite://"):
        return None
    path = Path(config.store.url.removeprefix("sqlite://"))
    if is_there(path):
        return None
    return _told(config, State.OK, "it does not exist yet: the first enactor, or the first publication, makes it")


async def check_transaction(config: Config, store: KeyValue) -> Check:
    """Put a key under a lease of its own where none is, compare its value, and delete it."""
    loop = asyncio.get_running_loop()
    name = secrets.token_hex(8)
    key, value = Keys(config.enactor.scope).key(PROBE, name), PROBE.value(name.encode("ascii"))
    begun = loop.time()
    try:
        lease = await store.grant(_PROBE_TTL_S)
        try:
            put = await store.transact([absent(key)], [Put(key=key, value=value, lease=lease)])
            deleted = await store.transact([valued(key, value)], [Delete(key=key)])
        finally:
            await store.revoke(lease)
    except StoreRefused as error:
        return _told(config, State.FAULT, f"it answers, and refuses: {error}", _refused_fix(config))
    except StoreDown as error:
        return _told(config, State.FAULT, f"it cannot be reached: {error}", _away_fix(config))
    took_s = loop.time() - begun
    if not put.succeeded or not deleted.succeeded:
        seen = "a compare of a key that was just written does not hold: this store keeps no transactions"
        return _told(config, State.FAULT, seen, "name an etcd itself in store.url, without a proxy in between")
    seen = f"a key was put, compared and deleted; lease and transactions took {took_s * 1000:.0f} ms"
    if took_s > 4 * SLOW_S:
        return _told(config, State.WARNING, seen, "look at the disk of the store: etcdctl check perf")
    return _told(config, State.OK, seen)


async def check_members(config: Config) -> list[Check]:
    """Ask each endpoint of an etcd by itself. None where there is one endpoint: the transaction says it all."""
    endpoints = config.store.url.removeprefix("etcd://").rstrip("/").split(",")
    if not config.store.url.startswith("etcd://") or len(endpoints) < 2:
        return []
    return list(await asyncio.gather(*(_member(config, endpoint, endpoints) for endpoint in endpoints)))


async def _member(config: Config, endpoint: str, endpoints: Sequence[str]) -> Check:
    subject = f"member {endpoint}"
    alone = await open_config_store(replace(config, store=replace(config.store, url=f"etcd://{endpoint}")))
    try:
        await alone.get([Keys(config.enactor.scope).head])
    except (EnactordError, OSError) as error:
        fix = (
            f"etcdctl --endpoints={','.join(endpoints)} endpoint status -w table; start it, or take it out of store.url"
        )
        return Check(group=Group.STORE, subject=subject, state=State.WARNING, seen=f"no answer: {error}", fix=fix)
    finally:
        await alone.close()
    return Check(group=Group.STORE, subject=subject, state=State.OK, seen="it answers")


def _told(config: Config, state: State, seen: str, fix: str = "") -> Check:
    return Check(group=Group.STORE, subject=config.store.url, state=state, seen=seen, fix=fix)


def _away_fix(config: Config) -> str:
    if config.store.url.startswith("sqlite://"):
        return "check that the file of store.url can be read and written by this user, and that its disk has room"
    at = config.store.url.removeprefix("etcd://")
    return f"start etcd, or correct store.url: etcdctl --endpoints={at} endpoint health"


def _refused_fix(config: Config) -> str:
    if config.store.url.startswith("sqlite://"):
        return "check the file of store.url: its rights, and the room on its disk"
    at = f"etcdctl --endpoints={config.store.url.removeprefix('etcd://')}"
    return f"{at} alarm list; {at} endpoint status -w table; and check store.username and store.password_file"
