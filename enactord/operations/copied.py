"""What commands read of an enactor's local copy."""

from pathlib import Path

from enactord.core.errors import CopyUnreadable
from enactord.store.keys import Keys, parse_installation
from enactord.stores.local_copy import COPY_NAME, read_copy


def copied_installation(state_dir: Path, scope: str) -> str:
    """Return the installation's id as the enactor's local copy has it; "" where no copy that can be read has one."""
    try:
        return read_copied_installation(state_dir, scope)
    except CopyUnreadable:
        return ""


def read_copied_installation(state_dir: Path, scope: str) -> str:
    """Return the installation's id as the enactor's local copy has it; "" where there is no copy, or none in it.

    Raises `CopyUnreadable`: damaged, another version's, or not to be read by this user.
    """
    path = state_dir / COPY_NAME
    try:
        if not path.stat().st_size:
            return ""
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise CopyUnreadable(f"{path}: {error.strerror}") from error
    items, _ = read_copy(state_dir)
    key = Keys(scope).installation
    found = next((parse_installation(item.value) for item in items if item.key == key), "")
    if not isinstance(found, str):
        raise CopyUnreadable(f"{path}: its id of the installation cannot be read")
    return found
