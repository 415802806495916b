"""Errors in the shape that OpenAI's clients read."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from lmserve.service.problems import describe

Body = TypeVar("Body", bound=BaseModel)

_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_PARAMETERS = {404: "model"}


class InvalidRequestError(HTTPException):
    """A request that is refused, with the parameter that is to blame.

    Args:
        detail: what is wrong, and what to do.
        param: the parameter's name, where it is one.
    """

    def __init__(self, detail: str, param: str | None = None) -> None:
        super().__init__(400, detail)
        self.param = param


class OpenAIRoute(APIRoute):
    """A route whose errors have the shape of OpenAI's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI has it."""
        answer = super().get_route_handler()

        async def answer_or_error(request: Request) -> Response:
            try:
                return await answer(request)
            except HTTPException as error:
                return _response(error)

        return answer_or_error


def parse_openai(schema: type[Body], body: bytes) -> Body:
    """A body as its schema has it; raises `InvalidRequestError`, which is 400 in any case."""
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        where = errors[0]["loc"]
        param = str(where[0]) if where else None
        if param == "prompt":
            detail = "a text, a list of texts, a list of token ids or a list of such lists"
            raise InvalidRequestError(f"prompt: give {detail}.", param) from error
        raise InvalidRequestError(describe(errors), param) from error


def openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How these errors stand in the OpenAPI document."""
    members = {
        "message": {"type": "string"},
        "type": {"type": "string"},
        "param": {"type": ["string", "null"]},
        "code": {"type": ["string", "null"]},
    }
    error = {"type": "object", "properties": members}
    schema = {"schema": {"type": "object", "properties": {"error": error}}}
    content = {"application/json": schema}
    return {status: {"description": "What is wrong.", "content": content} for status in statuses}


def _response(error: HTTPException) -> Response:
    status = error.status_code
    param = getattr(error, "param", _PARAMETERS.get(status))
    fallback = "invalid_request_error" if status < 500 else "server_error"
    content = {
        "message": error.detail,
        "type": _TYPES.get(status, fallback),
        "param": param,
        "code": _CODES.get(status),
    }
    body = orjson.dumps({"error": content})
    return Response(body, status, dict(error.headers or {}), "application/json")
