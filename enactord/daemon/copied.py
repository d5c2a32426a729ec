"""What commands read of an enactor's local copy."""

from enactord.adapters.local_copy import COPY_NAME, read_copy
from enactord.core.errors import CopyUnreadable
from enactord.daemon.config import Config
from enactord.registry.keys import Keys, parse_installation


def copied_installation(config: Config) -> str:
    """Return the installation's id as the enactor's local copy has it; "" where no copy that can be read has one."""
    try:
        return read_copied_installation(config)
    except CopyUnreadable:
        return ""


def read_copied_installation(config: Config) -> str:
    """Return the installation's id as the enactor's local copy has it; "" where there is no copy, or none in it.

    Raises `CopyUnreadable`: damaged, another version's, or not to be read by this user.
    """
    path = config.enactor.state_dir / COPY_NAME
    try:
        if not path.stat().st_size:
            return ""
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise CopyUnreadable(f"{path}: {error.strerror}") from error
    items, _ = read_copy(config.enactor.state_dir)
    key = Keys(config.settings.scope).installation
    found = next((parse_installation(item.value) for item in items if item.key == key), "")
    if not isinstance(found, str):
        raise CopyUnreadable(f"{path}: its id of the installation cannot be read")
    return found
