"""Calls of Route 53's API: boto3 in a few threads, at the pace that the account bears, each answer told apart.

boto3 never sends a request again here: a change whose answer was lost must be read back first.
Credentials come by boto3's usual chain (environment, shared files, container, instance).
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
)
from botocore.parsers import ResponseParserError

from enactord.backends.route53.tokens import TokenBucket
from enactord.core.errors import ConfigError

THREADS = 4
REQUESTS_PER_S = 3.0
"""Of one enactor: three of them stay below what an account has, 10 a second. Source: Route 53, Quotas."""
BURST_S = 5.0
"""A burst is so many seconds' worth, as it is for the account."""
_REGION = "us-east-1"
"""Where Route 53's requests are signed for. Source: AWS General Reference, Route 53 endpoints."""

_BUSY = frozenset(
    {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "PriorRequestNotComplete"}
)
"""Nothing was done. Source: Route 53 API, ChangeResourceRecordSets and Common Errors."""
_TOO_OFTEN = _BUSY - {"PriorRequestNotComplete"}
_DENIED = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
        "InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken", "NoSuchHostedZone",
        "NotAuthorized", "OptInRequired", "RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException",
    }
)  # fmt: skip
_NEVER_SENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError, CredentialRetrievalError)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)

Kind = Literal["busy", "denied", "invalid", "content", "unknown"]


class ApiError(Exception):
    """What Route 53, or the way there, says instead of an answer.

    `kind`: "busy" (nothing was done, come later), "denied" (an operator must act), "invalid" (this
    batch does not apply to the zone as it is), "content" (it would apply to none), "unknown"
    (it may have been done).
    """

    def __init__(self, kind: Kind, detail: str) -> None:
        self.kind = kind
        super().__init__(detail)


class Route53Api:
    """One account's API, shared by all of its zones. Make it with `open`."""

    def __init__(self, client: Any, tokens: TokenBucket, *, timeout_s: float) -> None:
        self._client = client
        self._tokens = tokens
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="route53")
        self._closed = False

    @classmethod
    async def open(
        cls, *, timeout_s: float, requests_per_s: float = REQUESTS_PER_S, endpoint_url: str = ""
    ) -> "Route53Api":
        """Make the client; nothing is asked of Route 53 yet. Raises `ConfigError` for a profile that is not there."""
        settings = Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            max_pool_connections=THREADS,
            retries={"total_max_attempts": 1, "mode": "standard"},
        )

        def make() -> Any:
            session = boto3.Session()
            # Route 53 is one for all regions; a region that is set still tells the partition (AWS, China, …).
            region = session.region_name or _REGION
            return session.client("route53", region, endpoint_url=endpoint_url or None, config=settings)

        try:
            client = await asyncio.to_thread(make)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError((f"zone.backend: route53: {error}",)) from error
        burst = max(1.0, requests_per_s * BURST_S)
        return cls(client, TokenBucket(rate_per_s=requests_per_s, burst=burst), timeout_s=timeout_s)

    async def change(self, zone_id: str, changes: Sequence[Mapping[str, Any]]) -> str:
        """Carry out a batch, all of it or nothing; returns the change's id. Raises `ApiError`."""
        answer = await self._call(
            self._client.change_resource_record_sets, HostedZoneId=zone_id, ChangeBatch={"Changes": list(changes)}
        )
        change_id: str = answer["ChangeInfo"]["Id"]
        return change_id

    async def in_sync(self, change_id: str) -> bool:
        """Whether a change has reached all of Route 53's DNS servers. Raises `ApiError`."""
        answer = await self._call(self._client.get_change, Id=change_id)
        return bool(answer["ChangeInfo"]["Status"] == "INSYNC")

    async def page(self, zone_id: str, start: Mapping[str, str], *, items_max: int) -> dict[str, Any]:
        """Return record sets from a name (type, identifier) on, those still PENDING included. Raises `ApiError`."""
        answer: dict[str, Any] = await self._call(
            self._client.list_resource_record_sets, HostedZoneId=zone_id, MaxItems=str(items_max), **start
        )
        return answer

    async def close(self) -> None:
        """Call no more; what is under way ends in its thread."""
        self._closed = True
        self._threads.shutdown(wait=False)

    async def _call(self, method: Any, **arguments: Any) -> Any:
        if not await self._tokens.take(wait_max_s=self._timeout_s):
            raise ApiError("busy", "too many requests are waiting; raise requests_per_s if the account bears more")
        if self._closed:
            raise ApiError("busy", "closed")
        loop = asyncio.get_running_loop()
        try:
            # Sockets have their own limits; this one is for all of a call, which goes on in its thread.
            async with asyncio.timeout(3 * self._timeout_s):
                return await loop.run_in_executor(self._threads, lambda: method(**arguments))
        except (ClientError, BotoCoreError, ResponseParserError) as error:
            translated = _translated(error)
            if isinstance(error, ClientError) and _code(error) in _TOO_OFTEN:
                self._tokens.drain()
            raise translated from error
        except TimeoutError as error:
            raise ApiError("unknown", f"no answer in {3 * self._timeout_s:g} s") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _translated(error: Exception) -> ApiError:
    if isinstance(error, ClientError):
        return _answered(error)
    if isinstance(error, _NO_CREDENTIALS):
        return ApiError("denied", f"{error}: give this process credentials, as any AWS program gets them")
    if isinstance(error, _NEVER_SENT):
        return ApiError("busy", str(error))
    return ApiError("unknown", str(error))


def _answered(error: ClientError) -> ApiError:
    """Read an error that Route 53 answered with."""
    code = _code(error)
    said = error.response.get("messages") or [error.response.get("Error", {}).get("Message", "")]
    detail = f"{code}: {'; '.join(str(one) for one in said)}"
    if code in _BUSY:
        return ApiError("busy", detail)
    if code in _DENIED:
        return ApiError("denied", f"{detail}; let these credentials list and change this hosted zone's record sets")
    if code == "InvalidChangeBatch":
        return ApiError("invalid", detail)
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) >= 500:
        return ApiError("unknown", detail)
    return ApiError("content", detail)
