"""Certificates and keys in PEM: checked before they are used, and read for the time they expire.

A file is read once and its bytes are used from then on, so that what was checked is
what is used, whoever replaces the file meanwhile.
"""

import base64
import binascii
import os
import re
import ssl
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

_BLOCK = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END (?:X509 |TRUSTED )?CERTIFICATE-----", re.DOTALL
)
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_UTC_CENTURY_PIVOT = 50
"""Source: RFC 5280 section 4.1.2.5.1 (of two digits, 50 and above are of the 20th century)."""


class BadCertificate(ValueError):
    """A content that is no certificate or key, or a pair that does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What a client trusts, and what it shows of itself, in PEM; empty where there is none."""

    ca: bytes = b""
    cert: bytes = b""
    key: bytes = field(default=b"", repr=False)

    def __bool__(self) -> bool:
        return bool(self.ca or self.cert or self.key)


def check_authorities(ca: bytes) -> None:
    """Raise `BadCertificate` unless a content is certificates, each of them whole."""
    if not ca.strip():
        raise BadCertificate("it is empty")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=ca.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise BadCertificate(f"it holds no whole certificate: {_reason(error)}") from error


def check_pair(cert: bytes, key: bytes) -> None:
    """Raise `BadCertificate` unless a certificate and a key belong together."""
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)


def load_pair(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    """Let a context show a certificate from now on. Raises `BadCertificate`; then the context may hold half of it."""
    if b"ENCRYPTED" in key:
        raise BadCertificate("the key is encrypted; give one without a password, readable by enactord's user alone")
    with ExitStack() as stack:
        # ssl takes paths alone; a file that others replace would be another one than was checked.
        paths = [stack.enter_context(_InMemory(content)) for content in (cert, key)]
        try:
            # Without a password's callback OpenSSL would ask for one on the terminal.
            context.load_cert_chain(paths[0], paths[1], password=lambda: b"")
        except (OSError, ValueError) as error:
            raise BadCertificate(_fault(error)) from error


def expiries(pem: bytes) -> list[float]:
    """Return when each certificate of a file expires, in seconds since the epoch. Raises `BadCertificate`."""
    found = []
    for block in _BLOCK.finditer(pem):
        try:
            found.append(_not_after(base64.b64decode(block[1])))
        except (binascii.Error, ValueError, IndexError) as error:
            raise BadCertificate("a certificate in it cannot be read") from error
    if not found:
        raise BadCertificate("it holds no certificate")
    return found


class _InMemory:
    """A file that only this process has, while the context lasts; gives its path. Source: memfd_create(2)."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._fd = -1

    def __enter__(self) -> str:
        self._fd = os.memfd_create("pem", os.MFD_CLOEXEC)
        with open(self._fd, "wb", closefd=False) as file:
            file.write(self._content)
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)


def _fault(error: Exception) -> str:
    match getattr(error, "reason", None):
        case "KEY_VALUES_MISMATCH" | "KEY_TYPE_MISMATCH":
            return "the certificate and the key do not belong together"
        case _:
            wanted = "the one must hold -----BEGIN CERTIFICATE-----, the other its key without a password"
            return f"no whole certificate and key: {_reason(error)}; {wanted}"


def _reason(error: Exception) -> str:
    """Return what OpenSSL says, without the place in its sources."""
    said = str(getattr(error, "reason", None) or error).lower().replace("_", " ")
    bare = re.sub(r"^\[ssl\]\s*|\s*\(\s*\S+\.c:\d+\)$", "", said).strip()
    return "it is no PEM" if bare == "pem lib" else bare


def _not_after(der: bytes) -> float:
    """Return the end of a certificate's validity. Source: RFC 5280 section 4.1."""
    certificate = _sequences(der)[0]
    to_be_signed = _sequences(certificate)[0]
    parts = [part for part in _tagged(to_be_signed) if part[0] != _VERSION]
    validity = parts[3][1]  # after the serial number, the signature's algorithm and the issuer
    _, (tag, text) = _tagged(validity)
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("19" if int(digits[:2]) >= _UTC_CENTURY_PIVOT else "20") + digits
    elif tag != _GENERALIZED_TIME:
        raise ValueError("a time of another kind")
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _sequences(data: bytes) -> list[bytes]:
    return [content for tag, content in _tagged(data) if tag == _SEQUENCE]


def _tagged(data: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each DER element in a row. Raises ValueError, IndexError. Source: X.690 section 8.1."""
    found, position = [], 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            count = length & 0x7F
            if not 0 < count <= 4:
                raise ValueError("a length that DER does not have")
            length = int.from_bytes(data[position : position + count], "big")
            position += count
        if position + length > len(data):
            raise ValueError("an element that ends beyond its data")
        found.append((tag, data[position : position + length]))
        position += length
    return found
