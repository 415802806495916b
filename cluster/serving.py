"""The scoring service on Ray Serve: one address, as many replicas of the model as asked for.

A replica reads the model folder and the Redis password on its own node: the folder has the same
path on every node, and the password comes from the node's environment (`LMSERVE_REDIS_PASSWORD` or
`LMSERVE_REDIS_PASSWORD_FILE`), as Ray shows a deployment's arguments in its logs and dashboard.

Ray's own HTTP proxy is simple; with `RAY_SERVE_ENABLE_HA_PROXY=1` in the cluster's environment,
HAProxy takes its place: about ten times the small requests a second, slower to stop.
"""

import http.client
import io
import logging
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import lmserve
from cluster.session import connect, disconnect
from lmserve.errors import DependencyError, LmserveError, ModelError, OptionError
from lmserve.positions import beginning, read_text

try:
    from fastapi import FastAPI
    from ray import serve
    from ray.exceptions import RayError

    from lmserve.service.app import create_app
    from lmserve.service.cache import LruCache
    from lmserve.service.context import Service
    from lmserve.service.metrics import FOLDER_VARIABLE, ServiceMetrics
    from lmserve.service.redis_cache import PASSWORD_VARIABLE, RedisCache
    from lmserve.service.redis_state_store import RedisStateStore
    from lmserve.service.scoring import CachedScorer
    from lmserve.service.served import Catalogue, ServedModel
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
    """Which model is served, and where.

    Attributes:
        model: model folder, under the same path on every node.
        host: address that the HTTP proxies listen on.
        port: port that the HTTP proxies listen on.
        redis_url: shared score cache; without one, each replica keeps scores of its own.
        replicas: copies of the model.
        cpus_per_replica: CPU cores that Ray sets aside for each.

    Raises:
        OptionError: a value outside its range, or a password in `redis_url`.
    """

    model: Path
    host: str = "127.0.0.1"
    port: int = 8000
    redis_url: str | None = None
    replicas: int = 1
    cpus_per_replica: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise OptionError(f"port is {self.port}", "Give a port of 1 to 65535.")
        if self.replicas < 1 or self.cpus_per_replica < 0:
            raise OptionError(
                f"{self.replicas} replicas with {self.cpus_per_replica} CPUs each are asked for",
                "Give at least 1 replica, and 0 or more CPUs for each.",
            )
        if self.redis_url is not None:
            _check_redis_url(self.redis_url)

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the service."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@serve.ingress()
class Replica:
    """One copy of the model with the service around it.

    Args:
        model: model folder.
        redis_url: shared score cache.
    """

    def __init__(self, model: str, redis_url: str | None) -> None:
        self._model = model
        self._redis_url = redis_url

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Loads the model and builds the application, on the replica."""
        model = lmserve.load(self._model)
        # The first calls compile the kernels: no client shall wait for that.
        model.score_texts([b""])
        model.score_words(b"")
        read_text(model, beginning(model), "a")
        model.next_words("", top=1)
        metrics = ServiceMetrics(model.digest)
        cache = (
            RedisCache(self._redis_url, on_error=metrics.cache_errors.inc)
            if self._redis_url
            else LruCache()
        )
        settings = ServiceSettings(echo_request_id=False)  # Ray Serve's proxies do it.
        lives_s = settings.state_time_to_live_s
        states = (
            RedisStateStore(
                self._redis_url, time_to_live_s=lives_s, on_error=metrics.state_store_errors.inc
            )
            if self._redis_url
            else MemoryStateStore(time_to_live_s=lives_s)
        )
        served = ServedModel(
            name=Path(self._model).name,
            version=model.digest[:12],
            model=model,
            scorer=CachedScorer(
                model, cache=cache, metrics=metrics, thread_bytes=settings.thread_bytes
            ),
        )
        models = Catalogue({served.name: served})
        service = Service(models=models, metrics=metrics, settings=settings, states=states)
        return create_app(service, cache=cache)


@contextmanager
def serving(config: ServeConfig, address: str | None = None) -> Iterator[str]:
    """Serves the model until the block ends, then answers what is in flight and stops Ray Serve.

    Yields the URL, once the service answers there.

    Args:
        config: what to serve.
        address: Ray cluster, see `cluster.session.connect`; when the block ends, this process is
            disconnected from it.

    Raises:
        ModelError: the folder is missing or no model, or the replicas do not start.
        OptionError: the port is taken.
        LmserveError: this cluster runs Ray Serve already, or the service doesn't come up.
    """
    # Mapped here once as a trial: a folder that is no model is named at once, not by a replica.
    lmserve.load(config.model)
    _check_port_free(config.host, config.port)
    connect(address)
    # Of its progress it says more than anyone wants to know; errors come as exceptions.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if serve.status().proxies:
        raise LmserveError(
            "Ray Serve runs on this cluster already, with settings of its own",
            "Stop it with `serve shutdown`, or use another cluster.",
        )
    with tempfile.TemporaryDirectory(prefix="lmserve-metrics-") as metrics_folder:
        try:
            _deploy(config, metrics_folder)
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
            # Named one by one: nothing else of this process's environment goes to the replicas.
            "runtime_env": {"env_vars": {FOLDER_VARIABLE: metrics_folder}},
        },
    )
    try:
        serve.run(
            deployment(Replica).bind(str(config.model.resolve()), config.redis_url),
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


def _check_port_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: a port whose last connections are still fading is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OptionError(
                f"{host}:{port} cannot be listened on: {error.strerror}",
                "Give another --port, or stop the program that listens there.",
            ) from error


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


def _check_redis_url(url: str) -> None:
    """Raises `OptionError` where it is no URL of a Redis server, or has a password in it."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("redis", "rediss", "unix")
    except ValueError:
        known = False
    if not known:
        raise OptionError(
            f"{re.sub('//.*@', '//...@', url)!r} is no URL of a Redis server",
            "Give one like redis://localhost:6379/0, rediss://... with TLS, or unix:///path.",
        )
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise OptionError(
            "the Redis URL has a password in it, which Ray would log",
            f"Leave it out, and set {PASSWORD_VARIABLE} where Ray's nodes start.",
        )
