"""When the certificates that a config names expire."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from enactord.config.tables import Config
from enactord.wire.tls import BadCertificate, expiries


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate in use."""

    use: str
    """`store_ca`, `store_client` or `http`; a label of a metric."""
    key: str
    """The key of the config that names its file."""
    expires_at: float
    """Seconds since the epoch. Of a chain the first to expire: without it the chain proves nothing. Of a file of
    authorities the last one: while they are exchanged, the old one and the new one stand in it side by side."""

    def problem(self, now: float) -> str:
        """Return that it has expired, with what to do; nothing while it has not."""
        if now < self.expires_at:
            return ""
        at = datetime.fromtimestamp(self.expires_at, UTC)
        return f"{self.key}: the certificate expired at {at:%Y-%m-%dT%H:%M:%SZ}; put a new one in its place"


def expired(certificates: Iterable[Certificate], now: float) -> list[str]:
    """Return what is to be said of those that have expired."""
    return [problem for certificate in certificates if (problem := certificate.problem(now))]


def certificates_of(config: Config) -> list[Certificate]:
    """Return the certificates of a config whose end can be read."""
    store, http = config.store, config.http
    uses: Iterable[tuple[str, str, bytes, Callable[[Iterable[float]], float]]] = (
        ("store_ca", "store.ca_file", store.ca, max),
        ("store_client", "store.cert_file", store.cert, min),
        ("http", "http.tls_cert_file", http.tls_cert, min),
    )
    found = []
    for use, key, pem, which in uses:
        try:
            if pem:
                found.append(Certificate(use=use, key=key, expires_at=which(expiries(pem))))
        except BadCertificate:
            pass  # the libraries take it, and say for themselves what becomes of it
    return found
