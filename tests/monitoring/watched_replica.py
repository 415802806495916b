"""A replica in a process of its own, without Ray: `python watched_replica.py MODEL [REDIS_URL]`.

MODEL is a model folder, or a directory of published models. The port is written to standard output.
"""

import socket
import sys
from pathlib import Path

from lmserve.metrics.sharing import share_metrics

share_metrics()

import uvicorn  # noqa: E402 - nothing may count before metrics are shared

from lmserve.publishing.directory import ModelDirectory, is_directory  # noqa: E402
from lmserve.service.app import create_app  # noqa: E402
from lmserve.service.cache import CachePolicy, LruCache  # noqa: E402
from lmserve.service.context import Service  # noqa: E402
from lmserve.service.following import FollowingCatalogue  # noqa: E402
from lmserve.service.metrics import ServiceMetrics  # noqa: E402
from lmserve.service.opening import ModelOpener  # noqa: E402
from lmserve.service.protection_settings import protection_from  # noqa: E402
from lmserve.service.redis_cache import RedisCache  # noqa: E402
from lmserve.service.redis_connection import connect  # noqa: E402
from lmserve.service.redis_rate_limits import RedisRateLimiter  # noqa: E402
from lmserve.service.served import Catalogue  # noqa: E402
from lmserve.service.settings import ServiceSettings  # noqa: E402

_POLL_S = 0.2


def main(location: str, redis_url: str = "") -> None:
    metrics, settings = ServiceMetrics(), ServiceSettings(protection=protection_from())
    cache = (
        RedisCache(redis_url, on_error=metrics.cache_errors.inc, breaker=metrics.breaker("cache"))
        if redis_url
        else LruCache()
    )
    limiter = (
        RedisRateLimiter(
            connect(redis_url, timeout_s=0.25),
            on_error=metrics.rate_limiter_errors.inc,
            breaker=metrics.breaker("limits"),
        )
        if redis_url
        else None
    )
    opener = ModelOpener(
        cache=cache,
        policy=CachePolicy.ALL,
        metrics=metrics,
        settings=settings,
        device="cpu",
        model_cache=Path(location),
    )
    service = Service(models=_catalogue(location, opener), metrics=metrics, settings=settings)
    app = create_app(service, cache=cache, limiter=limiter)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(app, log_level="critical", ws="websockets-sansio")
        uvicorn.Server(config).run(sockets=[listening])


def _catalogue(location: str, opener: ModelOpener) -> Catalogue:
    if not is_directory(location):
        served = opener.folder(Path(location))
        return Catalogue({served.name: served})
    directory = ModelDirectory.at(location)
    return FollowingCatalogue(directory, opener.version, metrics=opener.metrics, poll_s=_POLL_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
