"""Whether the folders that an enactor writes to can be written, and have room."""

import os
import stat
import tempfile
from pathlib import Path

from enactord.config.files import is_there
from enactord.config.tables import Config
from enactord.doctor.check import Check, Group, State
from enactord.doctor.installation import AS_USER

FREE_MIN_BYTES = 16 * 1024**2
"""Less is a fault: a copy of 100,000 endpoints may not fit beside the one that it replaces."""
FREE_LOW_BYTES = 256 * 1024**2
FREE_LOW_RATIO = 0.05
_MIB = 1024**2
_OWNER_WRITES = stat.S_IWUSR | stat.S_IXUSR


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


def judge_rights(mode: int, owner: int, user: int) -> str:
    """Return why the owner of a folder may not write there, where root looks at it: root may write everywhere.

    "": he may, or the attempt of `user` has told. Capabilities and lists of rights (ACL) are not looked at.
    """
    if user != 0 or owner == 0 or mode & _OWNER_WRITES == _OWNER_WRITES:
        return ""
    return f"it belongs to user {owner}, who may not write there (mode {stat.S_IMODE(mode):04o})"


def _check(key: str, folder: Path) -> Check:
    subject = f"{key} {folder}"
    user = os.geteuid()
    there = folder
    try:
        while not is_there(there) and there != there.parent:
            there = there.parent
        found = there.stat()
    except PermissionError:
        return _told(subject, State.UNKNOWN, f"user {user} may not look at {there}", AS_USER)
    owner = found.st_uid
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        room = os.statvfs(there)
    except OSError as error:
        seen = f"{there} cannot be written by user {user}: {error.strerror}"
        if isinstance(error, PermissionError) and there == folder and owner != user:
            fix = f"{AS_USER}; if user {user} is the enactor's: chown {user} {folder}"
            return _told(subject, State.UNKNOWN, f"{seen}; it belongs to user {owner}", fix)
        fix = f"install -d -o enactord -m 0750 {folder}   (or name another folder in {key})"
        if isinstance(error, NotADirectoryError):
            fix = f"move the file away, or name another folder in {key}: ls -l {there}"
        return _told(subject, State.FAULT, seen, fix)
    if there == folder:
        denied = judge_rights(found.st_mode, owner, user)
        if denied:
            return _told(subject, State.FAULT, denied, f"chmod u+rwx {folder}")
        seen = f"it belongs to user {owner}; user {owner if user == 0 else user} can write there"
    else:
        seen = f"it does not exist yet, and can be made in {there}; user {user} can write there"
    if user == 0 and (there != folder or owner == 0):
        seen += " (root always can: if the enactor is another user, run the doctor as that user)"
    free, total = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    state = judge_room(free, total)
    seen += f", {free // _MIB:,} MiB of {total // _MIB:,} MiB are free"
    return _told(subject, state, seen, f"make room: df -h {there}; du -xh {there} | sort -h | tail")


def _told(subject: str, state: State, seen: str, fix: str) -> Check:
    return Check(group=Group.DISK, subject=subject, state=state, seen=seen, fix="" if state is State.OK else fix)
