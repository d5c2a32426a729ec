"""What commands read of an enactor's local copy."""

from enactord.adapters.local_copy import read_copy
from enactord.core.errors import CopyUnreadable
from enactord.daemon.config import Config
from enactord.registry.keys import Keys, parse_installation


def copied_installation(config: Config) -> str:
    """Return the installation's id as the enactor's local copy has it; "" where there is no copy, or none in it."""
    try:
        items, _ = read_copy(config.enactor.state_dir)
    except CopyUnreadable:
        return ""
    key = Keys(config.settings.scope).installation
    found = next((parse_installation(item.value) for item in items if item.key == key), None)
    return found if isinstance(found, str) else ""
