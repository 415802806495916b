"""Ray on several hosts, closed to all who have no token."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from hosts import Host, Hosts, running
from stores import Stores
from waiting import wait_for_port, wait_until

GCS_PORT, DASHBOARD_PORT, AGENT_PORT = 6379, 8265, 52365
START_S = 180.0
JOB_S = 420.0
_SUBMIT = ("job", "submit", "--log-color=false", "--working-dir=.")
_PYTHON = ("python", "-m")
_STORE_BYTES = 100_000_000


@dataclass
class RayNodes:
    """A cluster: a head that does no work itself, workers of one processor each, and a client.

    Args:
        hosts: all there are.
        head: where jobs' drivers run.
        client: outside the cluster: all its commands come from here.
        workers: nodes that do the work.
        stores: what all nodes reach.
    """

    hosts: Hosts
    head: Host
    client: Host
    workers: list[Host]
    stores: Stores

    @property
    def dashboard(self) -> str:
        """Where jobs are submitted."""
        return f"http://{self.head.address}:{self.head.port(DASHBOARD_PORT)}"

    @property
    def address(self) -> str:
        """Where drivers and nodes connect."""
        return f"{self.head.address}:{self.head.port(GCS_PORT)}"

    def ray(
        self, *arguments: object, timeout_s: float = START_S, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Runs `ray ARGUMENTS...` on the client, where its source is."""
        return self.client.run(
            "ray",
            *arguments,
            folder=self.client.source,
            timeout_s=timeout_s,
            RAY_API_SERVER_ADDRESS=self.dashboard,
            **environment,
        )

    def submit(
        self, *job: object, timeout_s: float = JOB_S, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Submits `python -m jobs.JOB...`, and waits for its end."""
        return self.ray(*_SUBMIT, "--", *_PYTHON, *job, timeout_s=timeout_s, **environment)

    def submit_aside(self, name: str, *job: object) -> None:
        """Submits a job under a name, and doesn't wait."""
        options = ("--no-wait", f"--submission-id={name}")
        result = self.ray(*_SUBMIT, *options, "--", *_PYTHON, *job)
        assert result.returncode == 0, result.stdout

    def job(self, name: str) -> dict[str, Any]:
        """What the cluster knows of a job."""
        found: dict[str, Any] = self.ask(f"/api/jobs/{name}")
        return found

    def finished(self, name: str) -> str:
        """Waits for a job's end, and returns what it said."""
        running = ("PENDING", "RUNNING")
        wait_until(lambda: self.job(name)["status"] not in running, f"the end of {name}", JOB_S)
        logs: str = self.ask(f"/api/jobs/{name}/logs")["logs"]
        return logs

    def took_part(self, kind: str) -> set[str]:
        """Addresses of the nodes on which there were actors of a class."""
        nodes = {node["node_id"]: node["node_ip"] for node in self._state("nodes")}
        actors = self._state("actors")
        return {nodes[actor["node_id"]] for actor in actors if actor["class_name"] == kind}

    def alive(self) -> dict[str, dict[str, str]]:
        """The labels of the nodes that Ray takes for alive, by their addresses."""
        nodes = self._state("nodes")
        return {node["node_ip"]: node["labels"] for node in nodes if node["state"] == "ALIVE"}

    def ask(self, path: str) -> Any:
        """What the dashboard answers to one who has the token."""
        token = self.client.path(_token_file(self.client)).read_text()
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{self.dashboard}{path}", headers=headers, timeout=START_S)
        assert answer.is_success, answer.text
        return answer.json()

    def _state(self, kind: str) -> list[dict[str, Any]]:
        found = self.ask(f"/api/v0/{kind}?detail=1&limit=1000")["data"]["result"]["result"]
        return list(found)


@contextmanager
def running_ray(nodes: RayNodes) -> Iterator[None]:
    """The cluster with a token, from when all its workers have joined on."""
    make_token(nodes.client)
    give_token(nodes.client, [nodes.head, *nodes.workers])
    with running(nodes.head, *_head_command(nodes.head), log="ray"), ExitStack() as stack:
        wait_for_port(nodes.head, GCS_PORT)
        for worker in nodes.workers:
            stack.enter_context(joining(nodes, worker, "build"))
        wait_for_port(nodes.head, DASHBOARD_PORT)
        wait_for_nodes(nodes, [nodes.head, *nodes.workers])
        yield


def wait_for_nodes(nodes: RayNodes, hosts: list[Host]) -> None:
    """Waits until Ray knows these hosts, and their agents listen."""
    addresses = {host.address for host in hosts}
    wait_until(lambda: addresses <= nodes.alive().keys(), "all nodes alive", START_S)
    for host in hosts:
        wait_for_port(host, AGENT_PORT)


@contextmanager
def joining(nodes: RayNodes, host: Host, role: str) -> Iterator[None]:
    """A node of one processor more, while a `with` block runs.

    Args:
        nodes: of the cluster.
        host: has the token.
        role: what it is for, as a label.
    """
    command = ("ray", "start", "--block", f"--address={nodes.address}", "--num-cpus=1")
    command += (f"--labels=lmserve/role={role}", *_common(host))
    with running(host, *command, log="ray"):
        yield


def make_token(host: Host) -> None:
    """Makes the cluster's token, on one host."""
    result = host.run("ray", "get-auth-token", "--generate")
    assert result.returncode == 0, result.stdout
    _use_token(host)


def give_token(owner: Host, others: list[Host]) -> None:
    """Gives a host's token to others."""
    for host in others:
        host.write(_token_file(host), owner.path(_token_file(owner)).read_text())
        _use_token(host)


def _use_token(host: Host) -> None:
    host.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": _token_file(host)}


def _token_file(host: Host) -> str:
    return f"{host.home}/.ray/auth_token"


def _head_command(head: Host) -> tuple[str, ...]:
    command = ("ray", "start", "--head", "--block", "--num-cpus=0", "--labels=lmserve/role=head")
    command += (f"--port={head.port(GCS_PORT)}", f"--dashboard-host={head.address}")
    return (*command, f"--dashboard-port={head.port(DASHBOARD_PORT)}", *_common(head))


def _common(host: Host) -> tuple[str, ...]:
    return (
        f"--node-ip-address={host.address}",
        f"--temp-dir={host.temporary}/ray",
        f"--object-store-memory={_STORE_BYTES}",
        f"--dashboard-agent-listen-port={host.port(AGENT_PORT)}",
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--disable-usage-stats",
    )
