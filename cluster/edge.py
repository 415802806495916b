"""What stands at Ray Serve's edge, before its queues.

That is in its HTTP proxies, or, behind HAProxy, in the HTTP servers of its replicas.

Ray calls `middlewares` where `VARIABLE` is set to `IMPORT_PATH` when the process starts.
"""

from starlette.middleware import Middleware

from lmserve.service.protection_settings import protection_from
from lmserve.service.read_window import WindowMiddleware

VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
IMPORT_PATH = "cluster.edge.middlewares"
# Some 10 ms of a fast stream: the way of an acknowledgement through Ray under load.
_WINDOW_BYTES = 4 * 1024 * 1024


def middlewares() -> list[Middleware]:
    """The window for what a client may send ahead of the replica."""
    max_stall_s = protection_from().max_stall_s
    return [Middleware(WindowMiddleware, window_bytes=_WINDOW_BYTES, max_stall_s=max_stall_s)]
