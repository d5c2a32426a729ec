"""Errors as problem documents. Source: RFC 9457."""

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.core.errors import (
    InvalidPlan,
    PlanUnreadable,
    StoreDown,
    StoreNotOurs,
    StoreRefused,
    StoreUnknown,
    ZoneDown,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OnFailure = Callable[[BaseException], None]

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer of "no": its status, one sentence for people, and what programs read besides."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


def missing(guard: str, detail: str) -> Problem:
    """Return the problem of a thing that is not there, as a refusal: a page that is not there has none."""
    return Problem(HTTPStatus.NOT_FOUND, detail, refusals=[{"guard": guard, "detail": detail}])


def problem_response(
    status: int, detail: str, path: str, headers: Mapping[str, str] | None = None, **members: Any
) -> web.Response:
    """Return a problem document as an answer."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
    }
    return web.Response(
        status=status, text=json.dumps(document | members), content_type=MEDIA_TYPE, headers=headers or {}
    )


def problems(on_failure: OnFailure) -> Any:
    """Return the middleware that turns every error into a problem document; it tells failures of ours."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as error:
            return problem_response(error.status, error.detail, request.path, error.headers, **error.members)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return problem_response(error.status, _detail(error, request), request.path, allow)
        except ConnectionError:
            raise  # the client has gone: nobody is left to answer
        except Exception as error:
            on_failure(error)
            return problem_response(500, "a mistake of ours; the log has the traceback", request.path)

    return answer


def from_outside(handler: Handler) -> Handler:
    """Turn what a plan, the store and DNS servers may fail with into problems; `kind` tells programs which it was."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except InvalidPlan as error:
            detail, problems = "; ".join(error.problems), list(error.problems)
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"no plan: {detail}", problems=problems) from error
        except PlanUnreadable as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from error
        except StoreNotOurs as error:
            raise _away(f"nothing is stored: {error}", "store-not-ours") from error
        except (StoreDown, StoreRefused) as error:
            raise _away(f"the plan store: {error}", _store_kind(error)) from error
        except ZoneDown as error:
            raise _away(f"a DNS server cannot be reached: {error}", "zone") from error

    return guarded


def _store_kind(error: StoreDown | StoreRefused) -> str:
    match error:
        case StoreUnknown():
            return "store-unknown"
        case StoreDown():
            return "store"
        case StoreRefused():
            return "store-refused"


def _away(detail: str, kind: str) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "5"}, kind=kind)


def _detail(error: web.HTTPException, request: web.Request) -> str:
    match error:
        case web.HTTPNotFound():
            return "no such page; what there is stands in /api/v1/openapi.json"
        case web.HTTPMethodNotAllowed():
            return f"{request.method} is not for this page; it takes {', '.join(sorted(error.allowed_methods))}"
        case _:
            return error.reason
