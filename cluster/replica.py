"""One copy of the models, with the service around them, as Ray Serve runs it.

A replica reads the models and the Redis password on its own node: folders have the same path on
every node (a file of keys, too), models of an object store are fetched to each, and the password
comes from the node's environment (`LMSERVE_REDIS_PASSWORD` or `LMSERVE_REDIS_PASSWORD_FILE`), as
Ray shows a deployment's arguments in its logs and dashboard.
"""

from pathlib import Path

from fastapi import FastAPI
from ray import serve

from cluster.replica_state import shutting_down
from cluster.serve_config import ServeConfig
from lmserve.errors import ModelError
from lmserve.metrics.sharing import join_node
from lmserve.publishing.directory import ModelDirectory, is_directory
from lmserve.service.app import create_app
from lmserve.service.cache import LruCache
from lmserve.service.context import Service
from lmserve.service.following import FollowingCatalogue
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.opening import ModelOpener, import_kinds
from lmserve.service.protection_settings import protection_from
from lmserve.service.rate_limits import LocalRateLimiter
from lmserve.service.redis_cache import RedisCache
from lmserve.service.redis_connection import connect
from lmserve.service.redis_rate_limits import RedisRateLimiter
from lmserve.service.redis_state_store import RedisStateStore
from lmserve.service.served import Catalogue
from lmserve.service.settings import ServiceSettings
from lmserve.service.state_store import MemoryStateStore

_LIMITER_TIMEOUT_S = 0.25


@serve.ingress()
class Replica:
    """One copy of the models with the service around them.

    Args:
        config: what to serve.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._config = config

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Loads the models and builds the application, on the replica."""
        join_node("replica")
        metrics = ServiceMetrics()
        metrics.replica_starts.inc()
        metrics.replicas_wanted.set(self._config.replicas)
        redis_url = self._config.redis_url
        cache = (
            RedisCache(
                redis_url,
                on_error=metrics.cache_errors.inc,
                on_late=metrics.cache_late.inc,
                breaker=metrics.breaker("cache"),
            )
            if redis_url
            else LruCache()
        )
        # Protection as in the environment that `_deploy` gives this process.
        settings = ServiceSettings(
            # Ray Serve's proxies add the requests' identifiers.
            echo_request_id=False,
            poll_s=self._config.poll_s,
            protection=protection_from(),
        )
        opener = ModelOpener(
            cache=cache,
            policy=self._config.cache,
            metrics=metrics,
            settings=settings,
            device=self._config.device,
            model_cache=self._config.model_cache,
        )
        models = _catalogue(self._config.location, opener, settings.poll_s)
        metrics.replicas.set(1)
        lives_s = settings.state_time_to_live_s
        states = (
            RedisStateStore(
                redis_url,
                time_to_live_s=lives_s,
                on_error=metrics.state_store_errors.inc,
                breaker=metrics.breaker("states"),
            )
            if redis_url
            else MemoryStateStore(time_to_live_s=lives_s)
        )
        limiter = (
            RedisRateLimiter(
                connect(redis_url, timeout_s=_LIMITER_TIMEOUT_S),
                on_error=metrics.rate_limiter_errors.inc,
                breaker=metrics.breaker("limits"),
            )
            if redis_url
            else LocalRateLimiter()
        )
        service = Service(models=models, metrics=metrics, settings=settings, states=states)
        return create_app(service, cache=cache, limiter=limiter, shutting_down=shutting_down)


def _catalogue(location: str, opener: ModelOpener, poll_s: float) -> Catalogue:
    """The models of a directory, or the one of a folder.

    Raises:
        ModelError: none of them can be loaded.
    """
    if not is_directory(location):
        served = opener.folder(Path(location))
        opener.metrics.serves(served.name, served.version, served.digest, served.heldout_perplexity)
        return Catalogue({served.name: served})
    import_kinds()
    models = FollowingCatalogue(
        ModelDirectory.at(location), opener.version, metrics=opener.metrics, poll_s=poll_s
    )
    if models.unready:
        problems = "; ".join(f"{one.name}: {one.problem}" for one in models.failures)
        raise ModelError(
            f"none of the models can be loaded: {problems or 'there are none'}",
            "Publish a model: lmserve publish.",
        )
    return models
