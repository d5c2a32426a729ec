"""Certificates for tests: an authority on disk that issues certificates for 127.0.0.1, made by openssl."""

import shutil
import subprocess
from pathlib import Path

import pytest

from enactord.wire.tls import Tls

_KIND = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """An authority in a folder: its own certificate is `ca.pem` there, its key `ca.key`."""

    def __init__(self, at: Path, name: str = "test-ca", *, days: int = 2) -> None:
        if shutil.which("openssl") is None:
            pytest.fail("openssl is not installed")
        at.mkdir(exist_ok=True)
        self.at = at
        self.ca = at / "ca.pem"
        self._openssl(
            "req", "-x509", *_KIND, "-keyout", "ca.key", "-out", "ca.pem", "-subj", f"/CN={name}", "-days", str(days)
        )

    def issue(self, name: str, *, days: int = 2) -> tuple[Path, Path]:
        """Issue `NAME.pem` and `NAME.key` in the folder, for a server on loopback or a client; return both paths."""
        (self.at / f"{name}.ext").write_text("subjectAltName = IP:127.0.0.1, DNS:localhost\n")
        self._openssl("req", *_KIND, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing, "-days", str(days))
        return self.at / f"{name}.pem", self.at / f"{name}.key"

    def tls(self, name: str) -> Tls:
        """Return what a client of this name trusts and shows."""
        cert, key = self.issue(name)
        return Tls(ca=self.ca.read_bytes(), cert=cert.read_bytes(), key=key.read_bytes())

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.at, check=True, capture_output=True, timeout=60)
