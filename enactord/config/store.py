"""The plan store that a config names; apart from the zones, which many commands do not need."""

from enactord.config.tables import Config
from enactord.ports import KeyValue
from enactord.stores.by_url import open_store


async def open_config_store(config: Config) -> KeyValue:
    """Open the plan store, which may be away at this time. Raises `ConfigError`."""
    store, access = config.store, config.store.access
    return await open_store(
        store.url,
        tls=access.tls,
        username=store.username,
        password=access.password,
        timeout_s=store.timeout_s,
    )
