"""The scoring service on Ray Serve: one address, as many replicas of the models as asked for."""

import http.client
import io
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from urllib.parse import urlsplit

from cluster.placement import check_role, role_selector
from cluster.proxying import check_haproxy, haproxy_environment
from cluster.session import client_host, connect, disconnect
from lmserve.errors import DependencyError, LmserveError, ModelError

try:
    from ray import serve
    from ray.exceptions import RayError

    from cluster import edge
    from cluster.application import APPLICATION, LOGGING, scorer
    from cluster.serve_config import ServeConfig
    from cluster.serving_checks import check_models, check_port_free
    from lmserve.service.keys import read_keys
    from lmserve.service.protection_settings import variables
except ImportError as error:
    raise DependencyError(
        f"the service needs a package that is not installed: {error}",
        "Install it: pip install 'lmserve[serve]'.",
    ) from error

_READY_TIMEOUT_S = 60.0


@contextmanager
def serving(config: ServeConfig, address: str | None = None) -> Iterator[str]:
    """Serves the models until the block ends, then answers what is in flight and stops Ray Serve.

    Yields the URL, once the service answers there.

    Args:
        config: what to serve.
        address: Ray cluster, see `cluster.session.connect`; when the block ends, this process is
            disconnected from it. One that is ray://HOST:PORT may be elsewhere: paths, ports and
            credentials are its nodes' then, and the replicas alone tell what is wrong with them.

    Raises:
        ModelError: there is no model where it is said, or the replicas do not start.
        InputError: the URL cannot be read.
        OptionError: the port is taken, or the proxy is not this process's to choose.
        LmserveError: this cluster runs Ray Serve already, or the service doesn't come up.
    """
    head = client_host(address)
    if head is None:
        check_models(config.location)
        if config.api_keys is not None:
            read_keys(config.api_keys)
        check_port_free(config.host, config.port)
    if config.haproxy:
        check_haproxy(address)
    # A Ray that is started here inherits it; for others, it is set where their nodes start.
    os.environ.setdefault(edge.VARIABLE, edge.IMPORT_PATH)
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
            _deploy(config)
            url = config.url if head is None else f"http://{head}:{config.port}"
            _wait_until_ready(url)
            yield url
        finally:
            _stop()


def _stop() -> None:
    # Ray says on standard output that the call which ended Serve's controller did not return.
    with redirect_stdout(io.StringIO()):
        # First the replicas, which end what is in flight: a shutdown begins with the proxies.
        serve.delete(APPLICATION)
        serve.shutdown()
        disconnect()


def _deploy(config: ServeConfig) -> None:
    check_role(config.role)
    protection = config.arguments.protection
    serve.start(http_options={"host": config.host, "port": config.port}, logging_config=LOGGING)
    deployment = scorer(
        protection,
        num_replicas=config.replicas,
        ray_actor_options={
            "num_cpus": config.cpus_per_replica,
            "num_gpus": config.gpus_per_replica,
            "label_selector": role_selector(config.role),
            # Named one by one: nothing else of this process's environment goes to the replicas.
            "runtime_env": {"env_vars": {edge.VARIABLE: edge.IMPORT_PATH, **variables(protection)}},
        },
    )
    try:
        serve.run(
            deployment.bind(config.arguments),
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


def _wait_until_ready(url: str) -> None:
    """Ray Serve reports a running application before its proxies know the way to it."""
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while not _answers(url):
        if time.monotonic() > deadline_s:
            raise LmserveError(
                f"{url} did not answer within {_READY_TIMEOUT_S:.0f} s",
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
