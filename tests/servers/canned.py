"""A peer on loopback that answers each request by the next of some texts, whatever is asked, as no enactor does."""

import contextlib
import json
import socket
import ssl
import threading
import time
from types import TracebackType
from typing import Any, Self

_DRIP_S = 0.05
_TLS_HANDSHAKE = 0x16
"""What a client of TLS begins with. Source: RFC 8446 section 5.1."""


def answer(status: int, body: str, kind: str = "application/problem+json", *headers: str) -> bytes:
    """Return an answer of HTTP."""
    head = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", f"Content-Length: {len(body.encode())}", *headers]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def problem(status: int, detail: str = "so it is", *headers: str, **members: Any) -> bytes:
    """Return a problem document as an answer. Source: RFC 9457."""
    document = {"type": "about:blank", "title": "", "status": status, "detail": detail, "instance": "/"} | members
    return answer(status, json.dumps(document), "application/problem+json", *headers)


def found(**document: Any) -> bytes:
    """Return a document as an answer."""
    return answer(200, json.dumps(document), "application/json")


class Canned:
    """Listens while the context lasts. `requests`: the heads of those that came, in order."""

    def __init__(self, *answers: bytes, drip: bool = False, tls: ssl.SSLContext | None = None) -> None:
        """The last answer is given for good; b"": the connection is dropped. `drip`: bytes come one by one."""
        self._answers = list(answers)
        self._drip = drip
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.requests: list[str] = []
        self.port = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            plain, _ = self._listening.accept()
            with plain, contextlib.suppress(OSError):
                plain.settimeout(10)
                peer = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
                while not self._ending.is_set() and self._answer(peer):
                    pass
                peer.close()

    def _answer(self, peer: socket.socket) -> bool:
        """Take a request and answer it; returns whether the connection goes on."""
        taken = b""
        while b"\r\n\r\n" not in taken:
            part = peer.recv(65_536)
            if not part:
                return False
            taken += part
            if taken[0] == _TLS_HANDSHAKE:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return False
        head, _, body = taken.partition(b"\r\n\r\n")
        self.requests.append(head.decode())
        length = next((line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b"0")
        while len(body) < int(length):
            body += peer.recv(65_536)
        told = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        for start in range(len(told)) if self._drip else ():
            peer.sendall(told[start : start + 1])
            time.sleep(_DRIP_S)
        if not self._drip:
            peer.sendall(told)
        return bool(told) and b"Connection: close" not in told
