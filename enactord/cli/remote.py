"""An enactor that is asked over HTTP, in place of the store: what --url names, and what its answers come to."""

import ipaddress
import json
import os
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click

from enactord.cli.program import (
    CA_FILE_VARIABLE,
    NO,
    TOKEN_FILE_VARIABLE,
    UNREACHABLE,
    USAGE,
    Answered,
    Problem,
    Refused,
    enactor_file,
)
from enactord.cli.terminal import warn
from enactord.client.enactor import Answer, Base, Client, Query
from enactord.core.refusal import Denied, Refusal

Document = dict[str, Any]

_API = "/api/v1"
_PAGE = 500
ALL = 10**9
"""More entries than a list has."""
_FILE_BYTES_MAX = 1024 * 1024
_READ_BY_ALL = 0o007
_TRIES = 6
_RETRY_S_MAX = 10.0
_TOKENS = "make a token on the enactor's machine: enactorctl token create NAME --role ROLE"


class Remote:
    """One enactor's API. What it does not answer with a document is raised: see `no`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._warned = False

    def get(self, *path: str | int, query: Query | None = None) -> Document:
        """Return the document of a page."""
        return self._ask("GET", path, query or {})

    def find(self, *path: str | int, query: Query | None = None) -> Document | None:
        """Return the document of a page; None where the enactor knows such pages, and has not this one."""
        try:
            return self.get(*path, query=query)
        except Refused:
            return None

    def post(self, *path: str | int, order: Mapping[str, Any], query: Query | None = None) -> Document:
        """Order something, and return what came of it. Keys of the order that are None are left out."""
        given = {name: value for name, value in order.items() if value is not None}
        return self._ask("POST", path, query or {}, json.dumps(given).encode("ascii"))

    def send(self, *path: str | int, body: bytes, query: Query) -> Document:
        """Order something by a body that is JSON already."""
        return self._ask("POST", path, query, body)

    def pages(
        self, *path: str | int, cursor: str, limit: int | None = ALL, query: Query | None = None
    ) -> Iterator[Document]:
        """Yield the pages of a list; `cursor`: the parameter that says where the next one begins.

        `limit`: entries in all; None: the enactor alone decides how many stand on a page.
        """
        left = limit
        place: Query = {}
        while left is None or left > 0:
            sized = {} if left is None else {"limit": min(_PAGE, left)}
            page = self.get(*path, query={**(query or {}), **sized, **place})
            yield page
            if page["next"] is None:
                return
            left = None if left is None else left - _PAGE
            place = {cursor: page["next"]}

    def news(self, for_s: float | None) -> Generator[Document, None, None]:
        """Yield what happens, as `daemon.news` tells it, for so many seconds; None: until the enactor ends it."""
        until = None if for_s is None else time.monotonic() + for_s
        target = f"{_API}/events"
        for told in self._client.events(target, until=until):
            if isinstance(told, Answer):
                raise no(told, "GET", target)
            kind, body = told
            if kind == "news":
                yield {key: value for key, value in body.items() if key not in ("id", "at")}
            elif kind == "reset":
                yield {
                    "event": "events.missed",
                    "severity": "warning",
                    "text": "some events were missed: too many came",
                }
        if until is None or time.monotonic() < until:
            raise Answered(_unreachable("enactor", "the enactor has ended its stream of events; run it again"))

    def _ask(self, method: str, path: tuple[str | int, ...], query: Query, body: bytes | None = None) -> Document:
        target = "/".join((_API, *(quote(str(part), safe="") for part in path)))
        for left in reversed(range(_TRIES)):
            answer = self._client.ask(method, target, query=query, body=body)
            # One that asks too often has been refused before anything was done.
            if answer.status != 429 or not left:
                break
            time.sleep(min(answer.retry_s, _RETRY_S_MAX))
        if answer.store_away and not self._warned:
            self._warned = True
            warn("the plan store does not answer this enactor: what it shows is of before (see: enactorctl status)")
        if answer.status < 300:
            return answer.document
        raise no(answer, method, target)


def no(answer: Answer, method: str, target: str) -> Exception:
    """Return the error that an answer comes to. Source: RFC 9457, for what is in its document."""
    document = answer.document
    detail = str(document.get("detail") or f"status {answer.status}, and no word about it")
    refusals = document.get("refusals")
    if isinstance(refusals, list) and refusals:
        kept = document.get("kept")
        denied = Denied(refusals=tuple(_refusal(one) for one in refusals), kept=kept if isinstance(kept, str) else "")
        return Refused(denied)
    problems = document.get("problems")
    kind = str(document.get("kind", ""))
    match answer.status:
        case 401:
            return Answered(Problem(code=USAGE, kind="token", message=_tokenless()))
        case 403:
            return Answered(
                Problem(code=NO, kind="role", message=f"the enactor does not let this token do it: {detail}")
            )
        case 404 | 405:
            message = f"{method} {target} is not known there: the URL has a path too many, or the enactor is older than"
            message += " this enactorctl; correct --url, upgrade it, or run the command where its config is"
            return Answered(_unreachable("version", message))
        case 409:
            return Answered(Problem(code=NO, kind="unreadable", message=f"{detail}; publish the whole content anew"))
        case 421:
            message = f"{detail} in the enactor's config, give a token (--token-file), or name an address in --url"
            return Answered(Problem(code=USAGE, kind="host", message=message))
        case 422 if isinstance(problems, list):
            said = tuple(str(one) for one in problems)
            return Answered(Problem(code=NO, kind="plan", message="the plan cannot be accepted", problems=said))
        case 503 | 504:
            return Answered(_unreachable(kind or "enactor", _unavailable(kind, detail)))
        case status if 400 <= status < 500 and status != 429:
            return Answered(Problem(code=USAGE, kind=kind or "usage", message=detail))
        case _:
            return Answered(_unreachable("enactor", f"the enactor says: {detail}"))


def _refusal(told: Any) -> Refusal:
    facts = told if isinstance(told, dict) else {}
    return Refusal(guard=str(facts.get("guard", "")), detail=str(facts.get("detail", "")))


def _unreachable(kind: str, message: str) -> Problem:
    return Problem(code=UNREACHABLE, kind=kind, message=message)


def _tokenless() -> str:
    """Say what to do where no token, or none that is known, was given."""
    path = enactor_file("token-file", TOKEN_FILE_VARIABLE)
    if path is None:
        return f"the enactor wants a token: name its file with --token-file FILE; {_TOKENS}"
    return f"the enactor does not know the token in {path}: it was removed, or is another scope's; {_TOKENS}"


def _unavailable(kind: str, detail: str) -> str:
    if kind == "store-unknown":
        return f"{detail}; it may have been carried out: look with `enactorctl audit` before you try again"
    return f"the enactor says: {detail}"


def open_client(url: str) -> Client:
    """Return the client for a URL, with the token and authority that are named. Raises `click.UsageError`, OSError."""
    base = parse_url(url)
    path = enactor_file("token-file", TOKEN_FILE_VARIABLE)
    token = "" if path is None else read_token(path)
    if token and not base.tls and not is_loopback(base.host):
        warn(f"the token goes to {base.host} in clear text, and whoever reads it on the way can use it; serve https")
    ca_path = enactor_file("ca-file", CA_FILE_VARIABLE)
    if not base.tls:
        if "enactord.ca-file" in click.get_current_context().meta:
            raise click.UsageError(f"--ca-file is of use with an https URL alone, and this is {base}")
        return Client(base, token=token)
    if ca_path is not None:
        ca_path.open("rb").close()  # what ssl says of a file that it cannot read does not name it
    try:
        trust = ssl.create_default_context(cafile=ca_path)
    except ssl.SSLError as error:
        raise click.UsageError(f"--ca-file: {ca_path} holds no certificate in PEM form: {error.reason}") from error
    return Client(base, token=token, trust=trust)


def parse_url(url: str) -> Base:
    """Return where an enactor is, by its URL. Raises `click.UsageError`."""
    example = "give it as http://127.0.0.1:8451, or https://enactor-a.example.com:8451"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise click.UsageError(f"--url: {url[:80]!r} is no URL ({error}); {example}") from None
    if parts.username is not None or parts.password is not None:
        raise click.UsageError(
            "--url: it must hold no name and no password; the token stands in a file: --token-file FILE"
        )
    if parts.scheme not in ("http", "https") or not host or not host.isprintable() or " " in host:
        raise click.UsageError(f"--url: {url[:80]!r} is no URL of an enactor; {example}")
    if parts.query or parts.fragment:
        raise click.UsageError(f"--url: {url[:80]!r} must end before its '?' or '#'; {example}")
    tls = parts.scheme == "https"
    path = quote(parts.path.rstrip("/"), safe="/%")
    return Base(tls=tls, host=host, port=port or (443 if tls else 80), path=path)


def read_token(path: Path) -> str:
    """Return the token that a file holds. Raises `click.UsageError`, OSError."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        text = file.read(_FILE_BYTES_MAX).decode("ascii", "replace").strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise click.UsageError(f"--token-file: {path} must hold one token, as `enactorctl token create` shows it")
    if mode & _READ_BY_ALL:
        warn(f"{path} can be read by everybody on this machine; chmod o= {path}")
    return text


def is_loopback(host: str) -> bool:
    """Whether what is sent to a host does not leave this machine, as far as its name or address tells."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
