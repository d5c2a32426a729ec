"""Certificates and keys in PEM: what is none is refused with the reason; the end of each is read as by openssl."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from enactord.config.reader import load_config
from enactord.daemon.certificates import Certificate, certificates_of
from enactord.wire.tls import BadCertificate, check_authorities, check_pair, expiries
from tests.servers.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    for name in ("one", "two"):
        made.issue(name)
    return made


def pem(authority: Authority, name: str) -> bytes:
    return (authority.at / name).read_bytes()


def test_a_pair_that_fits_is_taken(authority: Authority) -> None:
    """With the chain behind it, and with text around it."""
    chain = b"# of ns1\n" + pem(authority, "one.pem") + pem(authority, "ca.pem")
    check_pair(chain, pem(authority, "one.key"))
    check_authorities(b"# ours\n" + pem(authority, "ca.pem") + pem(authority, "one.pem"))


def test_what_is_no_pair_is_refused_with_the_reason(authority: Authority) -> None:
    """Of two, half written, empty, the wrong way round, or with a password that nobody is there to type."""
    cert, key = pem(authority, "one.pem"), pem(authority, "one.key")
    for given, told in (
        ((cert, pem(authority, "two.key")), "do not belong together"),
        ((cert[:-40], key), "no whole certificate and key"),
        ((cert + pem(authority, "ca.pem")[:-40], key), "no whole certificate and key"),
        ((cert, key[:-40]), "no whole certificate and key"),
        ((b"", key), "no whole certificate and key"),
        ((key, cert), "no whole certificate and key"),
        ((b"\xff\0", key), "no whole certificate and key"),
    ):
        with pytest.raises(BadCertificate, match=told):
            check_pair(*given)
    locked = subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:secret"], input=key, capture_output=True, check=True, timeout=60
    ).stdout
    with pytest.raises(BadCertificate, match="encrypted"):
        check_pair(cert, locked)


def test_what_are_no_authorities_is_refused(authority: Authority) -> None:
    """Empty, half written, or something else."""
    ca = pem(authority, "ca.pem")
    for given in (b"", b"\n", ca[:-40], ca + ca[:-40], b"no certificate", b"\xff\0", pem(authority, "one.key")):
        with pytest.raises(BadCertificate):
            check_authorities(given)


@pytest.mark.parametrize("days", [1, 90, 3650, 36_500])
def test_the_end_of_a_certificate_is_read_as_openssl_reads_it(tmp_path: Path, days: int) -> None:
    """Of this century and the next, which are written in two ways."""
    made = Authority(tmp_path / "authority", days=days)
    printed = subprocess.run(
        ["openssl", "x509", "-in", str(made.ca), "-noout", "-enddate"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    wanted = datetime.strptime(printed.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).timestamp()
    assert expiries(made.ca.read_bytes()) == [wanted]


def test_what_has_no_end_that_can_be_read_is_refused(authority: Authority) -> None:
    """However it is damaged, no more than that comes of it."""
    ca = pem(authority, "ca.pem")
    lines = ca.splitlines(keepends=True)
    for given in (b"", ca[:-40], b"".join([lines[0], b"AAAA\n", lines[-1]]), b"".join(lines[:1] + lines[2:])):
        with pytest.raises(BadCertificate):
            expiries(given)


def test_of_a_chain_the_first_end_counts_and_of_authorities_the_last(tmp_path: Path) -> None:
    """A chain is worth nothing once a part has expired; an old authority beside its successor does no harm."""
    short, long = Authority(tmp_path / "short", days=5), Authority(tmp_path / "long", days=50)
    cert, key = long.issue("client", days=40)
    both = short.ca.read_bytes() + long.ca.read_bytes()
    (tmp_path / "ca.pem").write_bytes(both)
    (tmp_path / "chain.pem").write_bytes(cert.read_bytes() + short.ca.read_bytes())
    (tmp_path / "key.pem").write_bytes(key.read_bytes())
    (tmp_path / "c.toml").write_text(
        '[enactor]\nid = "a"\nscope = "s"\n[store]\nurl = "etcd://127.0.0.1:1"\nca_file = "ca.pem"\n'
        'cert_file = "chain.pem"\nkey_file = "key.pem"\n[[zone]]\nname = "z."\nbackend = "embedded"\n'
    )
    config = load_config(tmp_path / "c.toml")
    ends = {certificate.use: certificate.expires_at for certificate in certificates_of(config)}
    assert ends == {"store_ca": max(expiries(both)), "store_client": min(expiries(both))}
    assert len(set(ends.values())) == 2


def test_an_expired_certificate_is_told_with_its_key() -> None:
    """From that second on, with the time and what to do."""
    certificate = Certificate(use="http", key="http.tls_cert_file", expires_at=1_000_000_000.0)
    assert certificate.problem(999_999_999.9) == ""
    told = certificate.problem(1_000_000_000.0)
    assert told.startswith("http.tls_cert_file: the certificate expired at 2001-09-09T01:46:40Z")
    assert replace(certificate, expires_at=1_000_000_001.0).problem(1_000_000_000.0) == ""
