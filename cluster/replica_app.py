"""What a replica answers with: its models, its caches and the application around them."""

from fastapi import FastAPI

from cluster.replica_state import shutting_down
from cluster.service_arguments import ServiceArguments
from lmserve.errors import ModelError
from lmserve.publishing.directory import ModelDirectory, is_directory
from lmserve.service.app import create_app
from lmserve.service.cache import LruCache
from lmserve.service.context import Service
from lmserve.service.following import FollowingCatalogue
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.opening import ModelOpener, import_kinds
from lmserve.service.rate_limits import LocalRateLimiter
from lmserve.service.redis_cache import RedisCache
from lmserve.service.redis_connection import connect
from lmserve.service.redis_rate_limits import RedisRateLimiter
from lmserve.service.redis_state_store import RedisStateStore
from lmserve.service.served import Catalogue
from lmserve.service.settings import ServiceSettings
from lmserve.service.state_store import MemoryStateStore

_LIMITER_TIMEOUT_S = 0.25


def build_app(arguments: ServiceArguments) -> FastAPI:
    """Loads the models and builds the application.

    Raises:
        ModelError: no model can be loaded.
    """
    metrics = ServiceMetrics()
    metrics.replica_starts.inc()
    metrics.replicas_wanted.set(arguments.replicas)
    redis_url = arguments.redis_url
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
    settings = ServiceSettings(
        # Ray Serve's proxies add the requests' identifiers.
        echo_request_id=False,
        poll_s=arguments.poll_s,
        protection=arguments.protection,
    )
    opener = ModelOpener(
        cache=cache,
        policy=arguments.cache,
        metrics=metrics,
        settings=settings,
        device=arguments.device,
        model_cache=arguments.cache_folder,
    )
    models = _catalogue(arguments.model, opener, settings.poll_s)
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
        served = opener.folder(location)
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
