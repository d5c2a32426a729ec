"""The plan store that a config names; apart from the zones, which many commands do not need."""

from enactord.adapters.stores import open_store
from enactord.daemon.config import Config
from enactord.ports import KeyValue


async def open_config_store(config: Config) -> KeyValue:
    """Open the plan store, which may be away at this time. Raises `ConfigError`."""
    store = config.store
    return await open_store(
        store.url,
        tls=store.tls,
        username=store.username,
        password=store.password,
        timeout_s=store.timeout_s,
    )
