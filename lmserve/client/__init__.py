"""Asking a running service, from Python: `Client`, and `AsyncClient` for event loops.

What both have in common is written once: requests and how their answers are read (`calls`), the
texts of a stream cut into requests (`blocks`), where the service is (`remote`), when a request is
tried again (`retrying`), and what a session has sent (`dialogue`).
"""

from lmserve.errors import DependencyError

try:
    import httpx  # noqa: F401
    import websockets  # noqa: F401
except ImportError as error:
    raise DependencyError(
        f"{error.name} is not installed; lmserve.client works with it",
        "Install it: pip install 'lmserve[client]'.",
    ) from error

from lmserve.client.aio import AsyncClient
from lmserve.client.calls import Answer
from lmserve.client.generating import Event
from lmserve.client.remote import Options
from lmserve.client.retrying import Retry
from lmserve.client.sync import Client

__all__ = ["Answer", "AsyncClient", "Client", "Event", "Options", "Retry"]
