"""Answers to requests that no route is asked for."""

from starlette.types import Receive, Scope, Send

from lmserve.service import request_record
from lmserve.service.problems import problem_response

# RFC 6455: the message, here the connection, violates the server's policy.
_POLICY_VIOLATION = 1008


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    status: int,
    detail: str,
    reason: str,
    headers: dict[str, str] | None = None,
) -> None:
    """Answers with a problem, also in place of a WebSocket's handshake.

    Args:
        scope: of the request or the WebSocket.
        receive: as ASGI has it.
        send: as ASGI has it.
        status: HTTP status.
        detail: what the client can do.
        reason: one word for metrics and logs.
        headers: of the answer.
    """
    record = request_record.of(scope)
    record.refused = reason
    response = problem_response(status, detail, request_id=record.request_id, headers=headers)
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get(
        "extensions", {}
    ):
        record.status = status
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
        return
    # Starlette's responses know how to stand in a handshake's place.
    await response(scope, receive, send)
