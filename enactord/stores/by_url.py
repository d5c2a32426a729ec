"""The plan store that a URL names."""

from pathlib import Path

from enactord.core.errors import ConfigError
from enactord.ports import KeyValue
from enactord.wire.tls import Tls

_FORMS = "etcd://host:2379,host:2379 or sqlite:///absolute/path"


async def open_store(
    url: str, *, tls: Tls | None = None, username: str = "", password: str = "", timeout_s: float = 5.0
) -> KeyValue:
    """Open a store, which may be away at this time. Raises `ConfigError` for a URL of another form.

    Libraries are imported only for the store that is used.
    """
    kind, _, rest = url.partition("://")
    if kind == "sqlite" and rest.startswith("/"):
        from enactord.stores.sqlite import SqliteStore

        return SqliteStore(Path(rest), timeout_s=timeout_s)
    if kind == "etcd" and rest:
        from enactord.stores.etcd import EtcdStore

        return EtcdStore.connect(
            rest.rstrip("/").split(","), tls=tls, username=username, password=password, timeout_s=timeout_s
        )
    raise ConfigError((f"store.url: {url!r} must be {_FORMS}",))
