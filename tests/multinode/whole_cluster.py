"""Everything: the hosts that this machine allows, an object store, Redis, and Ray."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hosts import ROOT, Host, Hosts
from loopback import running_loopback
from namespaces import running_network, why_not
from ray_nodes import RayNodes, running_ray
from stores import running_stores

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A busy machine needs longer than the 30 s that Ray waits.
    "RAY_raylet_start_wait_time_s": "120",
    # Requests' limits begin before Ray's proxies read bodies.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "cluster.edge.middlewares",
}


@dataclass(frozen=True)
class Running:
    """A cluster, and how it is ended."""

    nodes: RayNodes
    stack: ExitStack


@contextmanager
def running_hosts(logs: Path) -> Iterator[Hosts]:
    """Hosts in namespaces where the kernel allows it, else what comes nearest.

    Args:
        logs: folder for what their programs say.
    """
    reason = why_not()
    if reason is None:
        with running_network(logs) as network:
            yield network
        return
    if "CI" in os.environ and os.geteuid() == 0:
        pytest.fail(f"no hosts in namespaces, though this is root: {reason}")
    with running_loopback(logs) as loopback:
        loopback.kind += f" ({reason})"
        yield loopback


@contextmanager
def running_cluster(logs: Path, redis_server: str, workers: int = 2) -> Iterator[RayNodes]:
    """A cluster.

    Args:
        logs: folder for what its programs say.
        redis_server: path of the program.
        workers: how many nodes do the work.
    """
    with ExitStack() as stack:
        hosts = stack.enter_context(running_hosts(logs))
        store, head, client = (hosts.add(name) for name in ("store", "head", "client"))
        stores = stack.enter_context(running_stores(store, redis_server))
        nodes = RayNodes(hosts, head, client, [], stores)
        for host in (head, client):
            prepare(host, nodes)
        for number in range(1, workers + 1):
            nodes.workers.append(hosts.add(f"worker{number}"))
            prepare(nodes.workers[-1], nodes)
        stack.enter_context(running_ray(nodes))
        yield nodes


def prepare(host: Host, nodes: RayNodes) -> None:
    """Gives a host the source, and into its environment what the cluster's programs need."""
    _install(host)
    metrics = f"{host.temporary}/metrics"
    host.path(metrics).mkdir()
    host.environment |= {**_SETTINGS, **nodes.stores.environment, "LMSERVE_METRICS_DIR": metrics}


def _install(host: Host) -> None:
    """Copies the source to a host, with the kernels that are compiled already."""
    for package in ("lmserve", "cluster", "jobs"):
        shutil.copytree(ROOT / package, host.path(f"{host.source}/{package}"))
    host.environment["PYTHONPATH"] = host.source
