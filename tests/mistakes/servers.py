"""The real servers that some mistakes take: etcd, and a BIND with zones that the key may and may not change."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.mistakes.bench import ZONE, Servers
from tests.mistakes.mistakes import LOCKED, TAKEN
from tests.servers.bind import Bind
from tests.servers.etcd import Etcd


class _LockedBind(Bind):
    """named that lets only the key "foreign" change one of its zones."""

    def zone_stanza(self, zone: str) -> str:
        stanza = super().zone_stanza(zone)
        return stanza.replace("grant enactor zonesub A AAAA TXT; ", "") if zone == LOCKED else stanza


@contextmanager
def running() -> Iterator[Servers]:
    """Run the servers while the context lasts."""
    with Etcd() as etcd, _LockedBind([ZONE, LOCKED, TAKEN]) as bind:
        yield Servers(f"{bind.host}:{bind.port}", etcd.url)
