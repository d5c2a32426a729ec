"""Whether the folders that an enactor writes to can be written, and have room."""

import os
import tempfile
from pathlib import Path

from enactord.daemon.config import Config
from enactord.daemon.doctor.check import Check, Group, State

FREE_MIN_BYTES = 16 * 1024**2
"""Less is a fault: a copy of 100,000 endpoints may not fit beside the one that it replaces."""
FREE_LOW_BYTES = 256 * 1024**2
FREE_LOW_RATIO = 0.05
_MIB = 1024**2


def check_disk(config: Config) -> list[Check]:
    """Look at the state directory, and at the folder of a store in SQLite. It leaves nothing behind."""
    folders = {"enactor.state_dir": config.enactor.state_dir}
    if config.store.url.startswith("sqlite://"):
        folders["store.url"] = Path(config.store.url.removeprefix("sqlite://")).parent
    return [_check(key, folder) for key, folder in folders.items()]


def judge_room(free_bytes: int, total_bytes: int) -> State:
    """Return how a file system of this size is that has so much left for this user."""
    if free_bytes < FREE_MIN_BYTES:
        return State.FAULT
    low = free_bytes < FREE_LOW_BYTES or free_bytes < FREE_LOW_RATIO * total_bytes
    return State.WARNING if low else State.OK


def _check(key: str, folder: Path) -> Check:
    subject = f"{key} {folder}"
    user = f"user {os.geteuid()}"
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        room, owner = os.statvfs(there), there.stat().st_uid
    except OSError as error:
        seen = f"{there} cannot be written by {user}: {error.strerror}"
        fix = f"install -d -o enactord -m 0750 {folder}   (or name another folder in {key})"
        return Check(group=Group.DISK, subject=subject, state=State.FAULT, seen=seen, fix=fix)
    free, total = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    state = judge_room(free, total)
    made = f"it belongs to user {owner}" if there == folder else f"it does not exist yet, and can be made in {there}"
    seen = f"{made}; {user} can write there, {free // _MIB:,} MiB of {total // _MIB:,} MiB are free"
    fix = "" if state is State.OK else f"make room: df -h {there}; du -xh {there} | sort -h | tail"
    return Check(group=Group.DISK, subject=subject, state=state, seen=seen, fix=fix)
