"""A client of an enactor's HTTP: bounded in time and size.

It is made of the standard library: a short command would spend most of its time on the import of aiohttp. It follows no
redirect, as a token must not go elsewhere, and takes no proxy from the environment.
"""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from enactord.core.errors import EnactorAway, EnactorUnknown, NoEnactor
from enactord.wire.timed_socket import TimedSocket

CONNECT_S = 10.0
ANSWER_S = 60.0
"""Longer than an enactor works on one request by default (`http.request_timeout_s`), and than it waits for a body."""
SILENCE_S = 20.0
"""An enactor that has no news says so every 5 s on its stream of events."""
RETRY_S = 1.0
"""Where an answer does not say after how long to come again."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024
STORE_AWAY = "Enactord-Store-Away"
"""The header of an answer that an enactor gives while its store does not answer."""
_LINE_BYTES_MAX = 8 * 1024 * 1024
"""A message of the stream is one line; the state of a scope of a thousand zones is one."""
_PORTION_BYTES = 65_536

Query = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where an enactor's HTTP is: what stands in front of each path."""

    tls: bool
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the status, the document, and after how many seconds to come again, if it is refused for now.

    `store_away`: the enactor answers by what it knew before its store went away.
    """

    status: int
    document: dict[str, Any]
    retry_s: float = RETRY_S
    store_away: bool = False


class Client:
    """Asks one enactor, one request after the other, over one connection. To be closed."""

    def __init__(
        self,
        base: Base,
        *,
        token: str = "",
        trust: ssl.SSLContext | None = None,
        answer_s: float = ANSWER_S,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        """`token`: "" for none. `trust`: whose certificates count, for https."""
        assert base.tls == (trust is not None), base
        self._base = base
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._trust = trust
        self._answer_s = answer_s
        self._bytes_max = bytes_max
        self._connection: http.client.HTTPConnection | None = None
        self._timed: TimedSocket | None = None

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def ask(self, method: str, path: str, *, query: Query | None = None, body: bytes | None = None) -> Answer:
        """Send a request; return what came back, whatever its status.

        Raises `EnactorAway`; `EnactorUnknown` where an order was sent and no answer came; `NoEnactor`.
        """
        with self._told(order=method != "GET", limit_s=self._answer_s):
            until = time.monotonic() + self._answer_s
            answer = self._answer(self._send(method, path, query or {}, body, until))
            if self._connection is not None and self._connection.sock is None:
                self._connection = None  # the enactor wants no more requests on it
            return answer

    def events(self, path: str, *, until: float | None = None) -> Iterator[tuple[str, dict[str, Any]] | Answer]:
        """Yield what a stream tells, as kind and document; of an answer that is no stream, that answer alone.

        It ends at `until` (monotonic), and where the enactor ends it. Raises as `ask` does.
        Source: HTML, 9.2.6 Interpreting an event stream.
        """
        with self._told(order=False, limit_s=SILENCE_S, until=until):
            response = self._send("GET", path, {}, None, time.monotonic() + self._answer_s)
            if response.status != http.client.OK:
                yield self._answer(response)
                return
            if _media_type(response) != "text/event-stream":
                raise self._strange(response)
            kind, told = "", b""
            while line := self._line(response, until):
                name, _, value = line.rstrip(b"\r\n").partition(b": ")
                if not name:
                    if told:
                        yield kind, self._document(told)
                    kind, told = "", b""
                elif name == b"event":
                    kind = value.decode("ascii", "replace")
                elif name == b"data":
                    told += value

    # -- one request

    def _send(self, method: str, path: str, query: Query, body: bytes | None, until: float) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        self._end_at(until)
        target = f"{self._base.path}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
        with suppress(BrokenPipeError, ConnectionResetError):
            # An enactor that does not take so long a body answers before it has all of it.
            self._connection.request(method, target, body=body, headers=headers)
        return self._connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        base = self._base
        connection: http.client.HTTPConnection
        if self._trust is None:
            connection = http.client.HTTPConnection(base.host, base.port, timeout=CONNECT_S)
        else:
            connection = http.client.HTTPSConnection(base.host, base.port, timeout=CONNECT_S, context=self._trust)
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that is none
            connection.close()
            raise EnactorAway(f"{base} cannot be reached: {_why(error, base)}") from error
        self._timed = connection.sock = TimedSocket(connection.sock)
        return connection

    def _end_at(self, until: float) -> None:
        """Have every wait on the connection end at that moment."""
        assert self._timed is not None
        self._timed.until = until

    def _answer(self, response: http.client.HTTPResponse) -> Answer:
        body = bytearray()
        while portion := response.read(_PORTION_BYTES):
            body += portion
            if len(body) > self._bytes_max:
                raise NoEnactor(f"{self._base} answers with more than {self._bytes_max:,} bytes, which is no enactor's")
        if response.length:  # what is still to come
            raise http.client.IncompleteRead(bytes(body), response.length)
        if not _media_type(response).endswith("json"):
            raise self._strange(response)
        retry = response.headers.get("Retry-After", "")
        document = self._document(bytes(body))
        return Answer(
            status=response.status,
            document=document,
            retry_s=float(retry) if retry.isdecimal() else RETRY_S,
            store_away=STORE_AWAY in response.headers,
        )

    def _line(self, response: http.client.HTTPResponse, until: float | None) -> bytes:
        silent = time.monotonic() + SILENCE_S
        self._end_at(silent if until is None else min(silent, until))
        line = response.readline(_LINE_BYTES_MAX)
        if len(line) == _LINE_BYTES_MAX:
            raise NoEnactor(f"{self._base}: a message of its stream is longer than {_LINE_BYTES_MAX:,} bytes")
        return line

    def _document(self, text: bytes) -> dict[str, Any]:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NoEnactor(f"{self._base} answers with what is no JSON, though it says so: {error}") from error
        if not isinstance(document, dict):
            raise NoEnactor(f"{self._base} answers with JSON that is no object")
        return document

    def _strange(self, response: http.client.HTTPResponse) -> NoEnactor:
        """Return what to say of an answer that no enactor gives."""
        said = f"{self._base} answers with status {response.status} and {_media_type(response) or 'no type of content'}"
        place = response.headers.get("Location", "")
        if 300 <= response.status < 400 and place:
            return NoEnactor(f"{said}: it sends on to {place[:200]}, and no token is sent there; if that is it: --url")
        return NoEnactor(
            f"{said}, which is no enactor's: look what listens there, and whether a proxy stands before it"
        )

    @contextmanager
    def _told(self, *, order: bool, limit_s: float, until: float | None = None) -> Iterator[None]:
        """Turn what may fail on the way into errors of ours, and let go of the connection then."""
        base = self._base
        whole = False
        try:
            yield
            whole = True
        except TimeoutError as error:
            if until is None or time.monotonic() < until:
                raise _lost(order, f"{base} gave no answer within {limit_s:g} s") from error
        except http.client.HTTPException as error:
            if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
                hint = "" if base.tls else "; does it serve TLS (https://…)?"
                raise _lost(order, f"{base} ended the connection before its answer was there{hint}") from error
            raise NoEnactor(f"{base} answers with what is no HTTP; does it speak TLS (https://…)?") from error
        except OSError as error:
            raise _lost(order, f"the connection to {base} broke: {error.strerror or error}") from error
        finally:
            if not whole:
                self.close()


def _lost(order: bool, detail: str) -> EnactorAway:
    return EnactorUnknown(detail) if order else EnactorAway(detail)


def _media_type(response: http.client.HTTPResponse) -> str:
    return str(response.headers.get_content_type()) if "Content-Type" in response.headers else ""


_NAME_DIFFERS = 62
"""Source: OpenSSL, X509_V_ERR_HOSTNAME_MISMATCH; for an address the number is two higher."""


def _why(error: Exception, base: Base) -> str:
    """Say why there is no connection, and what to try."""
    match error:
        case ssl.SSLCertVerificationError(verify_code=code):
            if code in (_NAME_DIFFERS, _NAME_DIFFERS + 2):
                return f"its certificate is not for {base.host}; name it in --url as the certificate does"
            detail = error.verify_message or str(error)
            return f"its certificate is not trusted ({detail}); name the authority that signed it: --ca-file FILE"
        case ssl.SSLError():
            return f"TLS fails ({error.reason or error}); does it serve plain HTTP (http://…)?"
        case TimeoutError():
            return f"no answer within {CONNECT_S:g} s; check the address, and firewalls on the way"
        case ConnectionRefusedError():
            return (
                "nothing listens there; check the port, and http.listen of the enactor: by default it is loopback alone"
            )
        case socket.gaierror() | UnicodeError():
            return f"the host {base.host} is not known; check its name"
        case _:
            return getattr(error, "strerror", None) or str(error)
