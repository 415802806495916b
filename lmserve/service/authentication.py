"""Bearer keys (RFC 6750) before every route."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmserve.service import request_record
from lmserve.service.keys import ApiKey, KeyRing, now
from lmserve.service.refusing import refuse

# Browsers let pages set one header of a WebSocket's handshake: the subprotocols that they offer.
SUBPROTOCOL = "lmserve"
KEY_SUBPROTOCOL_PREFIX = "lmserve.key."
_REALM = 'Bearer realm="lmserve"'


class AuthenticationMiddleware:
    """Lets requests with a valid key pass, and those that need none.

    Args:
        app: what answers.
        keys: the keys; None lets everybody pass.
        open_paths: paths that need no key; one that ends with `*` stands for all that begin so.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyRing, open_paths: tuple[str, ...]) -> None:
        self._app = app
        self._keys = keys
        self._open_paths = frozenset(path for path in open_paths if not path.endswith("*"))
        self._open_prefixes = tuple(path[:-1] for path in open_paths if path.endswith("*"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        offered = SUBPROTOCOL in scope.get("subprotocols", ())
        given = _take_key(scope)
        if self._is_open(scope["path"]):
            await self._app(scope, receive, _selecting(send) if offered else send)
            return
        key = self._keys.find(given) if given else None
        if key is None:
            error = ', error="invalid_token"' if given else ""
            await refuse(
                scope,
                receive,
                send,
                status=401,
                detail="Send 'Authorization: Bearer KEY' with a key of this service.",
                reason="unauthenticated",
                headers={"WWW-Authenticate": _REALM + error},
            )
        elif not_valid := _why_not_valid(key):
            detail = f"The key {key.name!r} {not_valid}; ask for another."
            await refuse(scope, receive, send, status=403, detail=detail, reason="forbidden")
        else:
            request_record.of(scope).caller = key.name
            scope["state"]["key"] = key
            await self._app(scope, receive, _selecting(send) if offered else send)

    def _is_open(self, path: str) -> bool:
        return path in self._open_paths or path.startswith(self._open_prefixes)


def _take_key(scope: Scope) -> str:
    """The key that the client gives, if any; from subprotocols it is removed: routes echo them."""
    protocols = scope.get("subprotocols", [])
    keys = [one for one in protocols if one.startswith(KEY_SUBPROTOCOL_PREFIX)]
    if keys:
        scope["subprotocols"] = [one for one in protocols if one not in keys]
        scope["headers"] = [
            (name, value) for name, value in scope["headers"] if name != b"sec-websocket-protocol"
        ]
    scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        return given.strip()
    return keys[0].removeprefix(KEY_SUBPROTOCOL_PREFIX) if keys else ""


def _selecting(send: Send) -> Send:
    """Browsers end a WebSocket whose server selects none of the subprotocols that they offer."""

    async def send_selecting(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message["subprotocol"] = SUBPROTOCOL
        await send(message)

    return send_selecting


def _why_not_valid(key: ApiKey) -> str:
    if key.disabled:
        return "is disabled"
    if key.expired(now()):
        return "has expired"
    return ""
