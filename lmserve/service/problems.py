"""Errors as RFC 9457 problem details."""

from http import HTTPStatus
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str) -> dict[str, Any]:
    """The members of a problem that says no more about its type than its HTTP status does."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }


def problem_response(
    status: int, detail: str, *, request_id: str, headers: dict[str, str] | None = None
) -> Response:
    """An answer with a problem as its body."""
    body = orjson.dumps(problem(status, detail) | {"request_id": request_id})
    return Response(body, status, headers, MEDIA_TYPE)


def describe(errors: list[Any]) -> str:
    """One line about pydantic's errors, without the values, which may be long or private."""
    lines = [
        f"{'.'.join(map(str, error['loc']))}: {error['msg']}" if error["loc"] else error["msg"]
        for error in errors[:10]
    ]
    return "; ".join(lines)


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    """Answers an error that a route or the router raised."""
    return problem_response(
        error.status_code,
        error.detail,
        request_id=request.state.request_id,
        headers=dict(error.headers or {}),
    )


async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
    """Answers query parameters that are not what the route declares."""
    return problem_response(
        422, describe(list(error.errors())), request_id=request.state.request_id
    )
