"""The plan store that a URL names."""

from pathlib import Path

from enactord.core.errors import ConfigError
from enactord.ports import KeyValue

_FORMS = "etcd://host:2379,host:2379 or sqlite:///absolute/path"


async def open_store(
    url: str,
    *,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    username: str = "",
    password: str = "",
    timeout_s: float = 5.0,
) -> KeyValue:
    """Open a store. Raises `ConfigError` for a URL of another form; etcd may be down at this time.

    Libraries are imported only for the store that is used.
    """
    kind, _, rest = url.partition("://")
    if kind == "sqlite" and rest.startswith("/"):
        from enactord.adapters.sqlite_store import SqliteStore

        return await SqliteStore.open(Path(rest), timeout_s=timeout_s)
    if kind == "etcd" and rest:
        from enactord.adapters.etcd_store import EtcdStore

        return EtcdStore.connect(
            rest.rstrip("/").split(","),
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            username=username,
            password=password,
            timeout_s=timeout_s,
        )
    raise ConfigError((f"store.url: {url!r} must be {_FORMS}",))
