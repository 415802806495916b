"""The service on several hosts, as clients see it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode

import httpx
from hosts import Host
from prometheus_client.mmap_dict import MmapedDict
from ray_nodes import START_S, RayNodes
from waiting import wait_until
from websockets.sync.client import ClientConnection, connect

HTTP_PORT = 8000
# Replicas compile what they compute with, before they are ready.
_READY_S = 420.0
_APPLICATION = "lmserve"


def deploy(nodes: RayNodes, replicas: int) -> None:
    """Deploys the service from the client, and waits until all workers answer."""
    deployment = {
        "name": "scorer",
        "num_replicas": replicas,
        "ray_actor_options": {"num_cpus": 1, "label_selector": {"lmserve/role": "build"}},
    }
    application = {
        "name": _APPLICATION,
        "import_path": "cluster.application:service",
        "route_prefix": "/",
        "args": {
            "model": nodes.stores.url("models"),
            "redis_url": nodes.stores.redis_url,
            "replicas": replicas,
        },
        "deployments": [deployment],
    }
    config = {
        "proxy_location": "EveryNode" if len(entrances(nodes)) > 1 else "HeadOnly",
        "http_options": {"host": "0.0.0.0", "port": HTTP_PORT},
        "applications": [application],
    }
    # JSON is YAML, too.
    nodes.client.write(f"{nodes.client.home}/serve.yaml", json.dumps(config))
    result = nodes.client.run("serve", "deploy", "serve.yaml", "--address", nodes.dashboard)
    assert result.returncode == 0, result.stdout
    wait_until(lambda: _runs(nodes), "the service", _READY_S)
    for host in entrances(nodes):
        wait_until(partial(_answers, host), f"the service on {host.name}", _READY_S)


def entrances(nodes: RayNodes) -> list[Host]:
    """The hosts through which clients reach the service."""
    # Where all hosts have the same ports, there can be one only.
    return nodes.workers if nodes.hosts.apart else [nodes.head]


def answers_of_a_stream(host: Host, lines: list[bytes]) -> list[bytes]:
    """What a host answers to texts that are sent as a stream."""
    url = f"http://{host.address}:{HTTP_PORT}/v1/score/stream"
    headers = {"Content-Type": "text/plain"}
    answer = httpx.post(url, content=iter(lines), headers=headers, timeout=START_S)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.content.splitlines(keepends=True)


@contextmanager
def session_on(host: Host, **query: str) -> Iterator[ClientConnection]:
    """A session that the service has begun, or taken up, for a client of this host."""
    url = f"ws://{host.address}:{HTTP_PORT}/v1/stream?{urlencode(query)}"
    with connect(url, open_timeout=START_S, close_timeout=1) as connection:
        assert "ready" in _told(connection)
        yield connection


def words_on(connection: ClientConnection, words: list[str]) -> list[dict[str, Any]]:
    """The answers to words that are sent in a session."""
    connection.send(json.dumps({"words": words}))
    return [_told(connection) for _ in words]


def sessions(host: Host) -> float:
    """How many sessions the replicas of a host have, as they tell Prometheus."""
    count = 0.0
    for file in host.path(host.environment["LMSERVE_METRICS_DIR"]).glob("gauge_livesum_*.db"):
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(file)):
            if json.loads(key)[0] == "lmserve_sessions":
                count += value
    return count


def _told(connection: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(connection.recv(timeout=START_S))
    assert "error" not in answer, answer
    return answer


def _runs(nodes: RayNodes) -> bool:
    applications = nodes.ask("/api/serve/applications/")["applications"]
    status = applications.get(_APPLICATION, {}).get("status")
    assert status not in ("DEPLOY_FAILED", "UNHEALTHY"), applications
    return bool(status == "RUNNING")


def _answers(host: Host) -> bool:
    try:
        return httpx.get(f"http://{host.address}:{HTTP_PORT}/readyz", timeout=START_S).is_success
    except httpx.TransportError:
        return False
