"""The HTTP side: signatures, the account's limit, and what can go wrong on the way."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.servers.dns_server import free_port
from tests.servers.route53_double.credentials import ACCESS_KEY, SECRET_KEY
from tests.servers.route53_double.documents import changed, listed, normal, read_changes, refused
from tests.servers.route53_double.hosted_zone import Change, HostedZone

_CLOCK_OFF_MAX_S = 300


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong next; each entry of `errors` answers one change, before it is carried out."""

    errors: list[tuple[int, str]] = field(default_factory=list)
    changes_to_lose: int = 0
    """So many changes are carried out, and their answers are lost with the connection."""
    requests_per_s: float | None = None
    burst: int = 0
    hold: asyncio.Event | None = None
    """Until when a change is worked on; another of the same zone is refused meanwhile."""
    polls_until_in_sync: int = 0


class Route53Double:
    """Some hosted zones, the one of `zones[k]` with the id `Z…k`. The data outlives `stop` and `kill`."""

    def __init__(self, zones: Sequence[str]) -> None:
        self.zones = {f"Z{number:08d}": HostedZone(zone) for number, zone in enumerate(zones)}
        self.ids = {zone.name: zone_id for zone_id, zone in self.zones.items()}
        self.faults = Faults()
        self.requests: list[str] = []
        self.throttled = 0
        self.batches: list[list[Change]] = []
        self.port = free_port()
        self._serial = count(1)
        self._polls: dict[str, int] = {}
        self.busy: set[str] = set()
        self._tokens: tuple[float, float] | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/2013-04-01/hostedzone/{zone}/rrset/", self._change),
                web.get("/2013-04-01/hostedzone/{zone}/rrset", self._list),
                web.get("/2013-04-01/change/{id}", self._get_change),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """End it; what is under way loses its connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> "Route53Double":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def in_sync(self) -> None:
        """Let all changes that were accepted reach every server."""
        self._polls.clear()

    # -- the API

    async def _change(self, request: web.Request) -> web.Response:
        refusal = await self._admit(request, "change")
        if refusal is not None:
            return refusal
        zone_id = request.match_info["zone"]
        zone = self.zones.get(zone_id)
        if zone is None:
            return _refusal(404, "NoSuchHostedZone", f"No hosted zone found with ID: {zone_id}")
        if self.faults.errors:
            status, code = self.faults.errors.pop(0)
            return _refusal(status, code, f"the double was told to answer {code}")
        if zone_id in self.busy:
            return _refusal(400, "PriorRequestNotComplete", "Route 53 was still processing a prior request.")
        try:
            changes = read_changes(await request.read())
        except ValueError as error:
            return _refusal(400, "InvalidInput", str(error))
        if self.faults.hold is not None:
            self.busy.add(zone_id)
            try:
                await self.faults.hold.wait()
            finally:
                self.busy.discard(zone_id)
        problems = zone.apply(changes)
        if problems:
            return web.Response(status=400, body=refused("InvalidChangeBatch", problems), content_type="text/xml")
        self.batches.append(changes)
        change_id = f"C{next(self._serial):013d}"
        self._polls[change_id] = self.faults.polls_until_in_sync
        if self.faults.changes_to_lose:
            self.faults.changes_to_lose -= 1
            _cut(request)
        return _answer(changed(change_id, self._status(change_id), answer="ChangeResourceRecordSetsResponse"))

    async def _get_change(self, request: web.Request) -> web.Response:
        refusal = await self._admit(request, "get")
        if refusal is not None:
            return refusal
        change_id = request.match_info["id"]
        status = self._status(change_id)
        if status == "PENDING":
            self._polls[change_id] -= 1
        return _answer(changed(change_id, status, answer="GetChangeResponse"))

    async def _list(self, request: web.Request) -> web.Response:
        refusal = await self._admit(request, "list")
        if refusal is not None:
            return refusal
        zone = self.zones.get(request.match_info["zone"])
        if zone is None:
            return _refusal(404, "NoSuchHostedZone", "No hosted zone found")
        query = request.query
        start = (_order(normal(query.get("name", zone.name))), query.get("type", ""), query.get("identifier", ""))
        items_max = min(300, int(query.get("maxitems", "300")))
        left = [one for one in zone.listed() if (_order(one.name), one.type, one.identifier) >= start]
        following = left[items_max] if len(left) > items_max else None
        return _answer(listed(left[:items_max], following, items_max))

    def _status(self, change_id: str) -> str:
        return "PENDING" if self._polls.get(change_id) else "INSYNC"

    # -- who may ask, and how often

    async def _admit(self, request: web.Request, what: str) -> web.Response | None:
        self.requests.append(what)
        if not self._token():
            self.throttled += 1
            return _refusal(400, "Throttling", "Rate exceeded")
        authorization = request.headers.get("Authorization", "")
        if not authorization.startswith("AWS4-HMAC-SHA256 "):
            return _refusal(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        parts = dict(part.strip().split("=", 1) for part in authorization.split(" ", 1)[1].split(","))
        key, date, region, service, _ = parts["Credential"].split("/")
        if key != ACCESS_KEY:
            return _refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid")
        sent = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if date != f"{sent:%Y%m%d}" or abs((datetime.now(UTC) - sent).total_seconds()) > _CLOCK_OFF_MAX_S:
            return _refusal(403, "SignatureDoesNotMatch", "Signature expired or not yet current")
        if parts["Signature"] != await _signature(request, parts["SignedHeaders"].split(";"), region, service):
            return _refusal(403, "SignatureDoesNotMatch", "The signature does not match the one you provided.")
        return None

    def _token(self) -> bool:
        """Take one of the account's tokens."""
        rate = self.faults.requests_per_s
        if rate is None:
            return True
        now = asyncio.get_running_loop().time()
        tokens, at = self._tokens or (float(self.faults.burst), now)
        tokens = min(float(self.faults.burst), tokens + (now - at) * rate)
        allowed = tokens >= 1
        self._tokens = (tokens - allowed, now)
        return allowed


async def _signature(request: web.Request, signed: Sequence[str], region: str, service: str) -> str:
    """Return what a request's signature must be, by botocore's own reckoning."""
    url = f"http://{request.host}{request.raw_path}"
    headers = {name: request.headers[name] for name in signed}
    again = AWSRequest(method=request.method, url=url, data=await request.read(), headers=headers)
    again.context["timestamp"] = request.headers["X-Amz-Date"]
    auth = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), service, region)
    signature: str = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    return signature


def _order(name: str) -> str:
    return ".".join(reversed(name[:-1].split("."))) + "."


def _answer(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="text/xml")


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.Response(status=status, body=refused(code, [message]), content_type="text/xml")


def _cut(request: web.Request) -> None:
    """Lose the connection in the midst of a request."""
    assert request.transport is not None
    request.transport.abort()
