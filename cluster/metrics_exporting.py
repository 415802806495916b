"""An exporter of metrics on each node of a Ray cluster, and a list of them for Prometheus."""

import json
import os
import time
import urllib.request
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.session import connect
from lmserve.errors import OptionError
from lmserve.metrics.sharing import join_node, share_metrics

_LOOK_S = 10.0
_ANSWER_S = 5.0
_NAMESPACE = "lmserve"


class Exporter:
    """A node's exporter; one that Ray starts again serves again, whether or not it is told to.

    Args:
        host: to listen on.
        port: to listen on.
        disks: as in `lmserve.metrics.exporting.Surroundings`.
    """

    def __init__(self, host: str, port: int, disks: tuple[Path, ...]) -> None:
        self._host = host
        self._port = port
        self._disks = disks
        if ray.get_runtime_context().was_current_actor_reconstructed:
            self.serve()

    def serve(self) -> None:
        """Answers Prometheus from now on, unless another exporter of the machine does.

        Raises:
            OptionError: something else has the port.
        """
        folder = share_metrics()
        # Here, as it may be imported only where metrics are shared.
        from lmserve.metrics import exporting

        join_node("exporter")
        try:
            exporting.serve(folder, self._host, self._port, self._disks)
        except OptionError:
            if not _is_exporter(self._host, self._port):
                raise


def export_all(
    address: str,
    *,
    host: str,
    port: int,
    disks: tuple[Path, ...] = (),
    targets: Path | None = None,
    look_s: float = _LOOK_S,
) -> None:
    """Keeps an exporter on each node until it is interrupted; the exporters stay after it.

    Args:
        address: Ray cluster.
        host: that exporters listen on.
        port: that exporters listen on.
        disks: as in `lmserve.metrics.exporting.Surroundings`.
        targets: file of Prometheus's file_sd that names them, replaced as nodes come and go.
        look_s: seconds between two looks at the nodes.

    Raises:
        OptionError: something else has the port on a node.
        BuildError: the cluster does not answer.
    """
    connect(address)
    while True:
        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in _living_nodes()}
        for node in nodes:
            _start_if_it_stays(node, host, port, disks)
        if targets is not None:
            write_targets(targets, [f"{ip}:{port}" for ip in nodes.values()])
        time.sleep(look_s)


def write_targets(path: Path, addresses: list[str]) -> None:
    """Names exporters in a file as Prometheus's file_sd reads it, at once or not at all."""
    unique = sorted(set(addresses))
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps([{"targets": unique, "labels": {"job": "lmserve"}}], indent=2))
    os.replace(partial, path)


def _living_nodes() -> list[dict[str, str]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _start_if_it_stays(node: str, host: str, port: int, disks: tuple[Path, ...]) -> None:
    try:
        _start(node, host, port, disks)
    except RayTaskError as error:
        # What the exporter raised, not the mixture of it and Ray's that `ray.get` makes.
        raise error.cause from None
    except RayError:
        # The node leaves just now, or the exporter is starting again.
        return


def _start(node: str, host: str, port: int, disks: tuple[Path, ...]) -> None:
    """Starts a node's exporter where there is none, and says it once more where there is."""
    exporter = (
        ray.remote(Exporter)
        .options(
            name=f"lmserve-exporter-{port}-{node}",
            namespace=_NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote(host, port, disks)
    )
    ray.get(exporter.serve.remote(), timeout=60)  # type: ignore[attr-defined]


def _is_exporter(host: str, port: int) -> bool:
    """Whether what listens there tells what exporters tell."""
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/metrics"  # noqa: S104
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
            return b"lmserve_build_info" in answer.read()
    except OSError:
        return False
