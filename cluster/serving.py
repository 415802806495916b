"""The scoring service on Ray Serve: one address, as many replicas of the model as asked for.

A replica reads the models and the Redis password on its own node: folders have the same path on
every node, models of an object store are fetched to each, and the password comes from the node's
environment (`LMSERVE_REDIS_PASSWORD` or `LMSERVE_REDIS_PASSWORD_FILE`), as Ray shows a deployment's
arguments in its logs and dashboard.
"""

import http.client
import io
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cluster.proxying import check_haproxy, haproxy_environment
from cluster.session import connect, disconnect
from lmserve.errors import DependencyError, LmserveError, ModelError, OptionError
from lmserve.publishing.directory import ModelDirectory, is_directory
from lmserve.publishing.fetching import default_cache
from lmserve.text.storage import is_url

try:
    from fastapi import FastAPI
    from ray import serve
    from ray.exceptions import RayError

    from cluster.serving_checks import check_models, check_port_free
    from lmserve.service.app import create_app
    from lmserve.service.cache import CachePolicy, LruCache
    from lmserve.service.context import Service
    from lmserve.service.following import FollowingCatalogue
    from lmserve.service.metrics import FOLDER_VARIABLE, ServiceMetrics
    from lmserve.service.opening import ModelOpener, import_kinds
    from lmserve.service.redis_cache import RedisCache
    from lmserve.service.redis_connection import check_url
    from lmserve.service.redis_state_store import RedisStateStore
    from lmserve.service.served import Catalogue
    from lmserve.service.settings import ServiceSettings
    from lmserve.service.state_store import MemoryStateStore
except ImportError as error:
    raise DependencyError(
        f"the service needs a package that is not installed: {error}",
        "Install it: pip install 'lmserve[serve]'.",
    ) from error

APPLICATION = "lmserve"
# Requests that a replica works on at a time; streams wait for their clients most of the time.
_MAX_ONGOING_REQUESTS = 256
_READY_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeConfig:
    """Which models are served, and where.

    Attributes:
        model: a model folder, or a model directory with all its models; a path that is the same on
            every node, or the URL of a model directory.
        host: address that the HTTP proxies listen on.
        port: port that the HTTP proxies listen on.
        redis_url: shared score cache, see `redis_connection.connect`; without one, each replica
            keeps scores of its own.
        cache: for which models scores are kept.
        replicas: copies of the models.
        cpus_per_replica: CPU cores that Ray sets aside for each.
        gpus_per_replica: GPUs that Ray sets aside for each; several can share one (0.5).
        device: where recurrent models compute, for example "cuda".
        haproxy: where this process starts a Ray of its own, HAProxy stands before the replicas and
            sends requests of replicas that died to others.
        poll_s: see `ServiceSettings`.
        model_cache: folder on each node for models fetched from a URL.

    Raises:
        OptionError: a value outside its range, or a password in `redis_url`.
    """

    model: Path | str
    host: str = "127.0.0.1"
    port: int = 8000
    redis_url: str | None = None
    cache: CachePolicy = CachePolicy.AUTO
    replicas: int = 1
    cpus_per_replica: float = 1.0
    gpus_per_replica: float = 0.0
    device: str = "cpu"
    haproxy: bool = False
    poll_s: float = 2.0
    model_cache: Path = field(default_factory=default_cache)

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise OptionError(f"port is {self.port}", "Give a port of 1 to 65535.")
        if self.replicas < 1 or self.cpus_per_replica < 0 or self.gpus_per_replica < 0:
            raise OptionError(
                f"{self.replicas} replicas with {self.cpus_per_replica} CPUs and "
                f"{self.gpus_per_replica} GPUs each are asked for",
                "Give at least 1 replica, and 0 or more CPUs and GPUs for each.",
            )
        if self.device != "cpu" and not self.gpus_per_replica:
            raise OptionError(
                f"device is {self.device!r}, and no GPU is asked for",
                "Give --gpus 1, or a part of one (0.5) where replicas share it.",
            )
        if self.redis_url is not None:
            check_url(self.redis_url)

    @property
    def location(self) -> str:
        """The models' URL, or their absolute path."""
        name = os.fspath(self.model)
        return name if is_url(name) else str(Path(name).resolve())

    @property
    def settings(self) -> ServiceSettings:
        """Of each replica."""
        # Ray Serve's proxies add the requests' identifiers.
        return ServiceSettings(echo_request_id=False, poll_s=self.poll_s)

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the service."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


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
        metrics = ServiceMetrics()
        redis_url = self._config.redis_url
        cache = (
            RedisCache(redis_url, on_error=metrics.cache_errors.inc) if redis_url else LruCache()
        )
        settings = self._config.settings
        opener = ModelOpener(
            cache=cache,
            policy=self._config.cache,
            metrics=metrics,
            settings=settings,
            device=self._config.device,
            model_cache=self._config.model_cache,
        )
        models = _catalogue(self._config.location, opener, settings.poll_s)
        lives_s = settings.state_time_to_live_s
        states = (
            RedisStateStore(
                redis_url, time_to_live_s=lives_s, on_error=metrics.state_store_errors.inc
            )
            if redis_url
            else MemoryStateStore(time_to_live_s=lives_s)
        )
        service = Service(models=models, metrics=metrics, settings=settings, states=states)
        return create_app(service, cache=cache)


def _catalogue(location: str, opener: ModelOpener, poll_s: float) -> Catalogue:
    """The models of a directory, or the one of a folder.

    Raises:
        ModelError: none of them can be loaded.
    """
    if not is_directory(location):
        served = opener.folder(Path(location))
        opener.metrics.serves(served.name, served.version, served.digest)
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


@contextmanager
def serving(config: ServeConfig, address: str | None = None) -> Iterator[str]:
    """Serves the models until the block ends, then answers what is in flight and stops Ray Serve.

    Yields the URL, once the service answers there.

    Args:
        config: what to serve.
        address: Ray cluster, see `cluster.session.connect`; when the block ends, this process is
            disconnected from it.

    Raises:
        ModelError: there is no model where it is said, or the replicas do not start.
        InputError: the URL cannot be read.
        OptionError: the port is taken, or the proxy is not this process's to choose.
        LmserveError: this cluster runs Ray Serve already, or the service doesn't come up.
    """
    check_models(config.location)
    check_port_free(config.host, config.port)
    if config.haproxy:
        check_haproxy(address)
    # Of its progress it says more than anyone wants to know; errors come as exceptions.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="lmserve-") as folder:
        with haproxy_environment(Path(folder)) if config.haproxy else nullcontext():
            connect(address)
        if serve.status().proxies:
            raise LmserveError(
                "Ray Serve runs on this cluster already, with settings of its own",
                "Stop it with `serve shutdown`, or use another cluster.",
            )
        try:
            _deploy(config, f"{folder}/metrics")
            _wait_until_ready(config)
            yield config.url
        finally:
            _stop()


def _stop() -> None:
    # Ray says on standard output that the call which ended Serve's controller did not return.
    with redirect_stdout(io.StringIO()):
        serve.shutdown()
        disconnect()


def _deploy(config: ServeConfig, metrics_folder: str) -> None:
    logging_config = {"enable_access_log": False}
    serve.start(
        http_options={"host": config.host, "port": config.port}, logging_config=logging_config
    )
    deployment = serve.deployment(
        name="scorer",
        num_replicas=config.replicas,
        max_ongoing_requests=_MAX_ONGOING_REQUESTS,
        logging_config=logging_config,
        ray_actor_options={
            "num_cpus": config.cpus_per_replica,
            "num_gpus": config.gpus_per_replica,
            # Named one by one: nothing else of this process's environment goes to the replicas.
            "runtime_env": {"env_vars": {FOLDER_VARIABLE: metrics_folder}},
        },
    )
    try:
        serve.run(
            deployment(Replica).bind(config),
            name=APPLICATION,
            route_prefix="/",
        )
    except (RuntimeError, RayError) as error:
        raise ModelError(
            f"the replicas did not start: {error}\n{_failure()}",
            "The last lines of the message name the cause; mend it and serve again.",
        ) from error


def _failure() -> str:
    """What the controller heard from replicas that failed."""
    application = serve.status().applications.get(APPLICATION)
    deployments = application.deployments.values() if application else ()
    return "\n".join(deployment.message.rstrip() for deployment in deployments)


def _wait_until_ready(config: ServeConfig) -> None:
    """Ray Serve reports a running application before its proxies know the way to it."""
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while not _answers(config.url):
        if time.monotonic() > deadline_s:
            raise LmserveError(
                f"{config.url} did not answer within {_READY_TIMEOUT_S:.0f} s",
                "Look into Ray Serve's logs, in the folder logs/serve of Ray's session.",
            )
        time.sleep(0.1)


def _answers(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
