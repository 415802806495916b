"""A node's exporter: what its processes counted, and what they and their disks are now."""

import platform
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from prometheus_client import start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lmserve.errors import OptionError
from lmserve.metrics import membership, node_metrics
from lmserve.metrics.declaration import Declaration
from lmserve.metrics.reading import NodeCollector, registry_of


class Surroundings(Collector):
    """Of a node: versions, processes that live, their memory, disks.

    Args:
        folder: that the processes share.
        disks: paths; each disk that one lies on is told of once.
    """

    def __init__(self, folder: Path, disks: tuple[Path, ...]) -> None:
        self._folder = folder
        self._disks = disks

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        yield _build_info()
        yield from self._processes()
        yield from self._rooms()

    def _processes(self) -> Iterator[Metric]:
        processes, memory = Counter[str](), Counter[str]()
        for process in membership.living(self._folder).values():
            processes[process.role] += 1
            # What has another container's identifier is counted, but cannot be measured.
            if process.here:
                memory[process.role] += _resident_bytes(process.pid)
        for declared, values in (
            (node_metrics.PROCESSES, processes),
            (node_metrics.RESIDENT_MEMORY, memory),
        ):
            family = _family(declared)
            for role, value in sorted(values.items()):
                family.add_metric([role], value)
            yield family

    def _rooms(self) -> Iterator[Metric]:
        free, size = _family(node_metrics.DISK_FREE), _family(node_metrics.DISK_SIZE)
        for mount in sorted({_mount(path) for path in (self._folder, *self._disks)}):
            usage = psutil.disk_usage(mount)
            free.add_metric([mount], usage.free)
            size.add_metric([mount], usage.total)
        yield from (free, size)


def serve(folder: Path, host: str, port: int, disks: tuple[Path, ...] = ()) -> None:
    """Answers Prometheus at http://HOST:port/metrics until the process ends, in a thread.

    Raises:
        OptionError: the port cannot be had.
    """
    registry = registry_of(NodeCollector(folder), Surroundings(folder, disks))
    try:
        start_http_server(port, host, registry)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"port {port} of {host} cannot be had: {error}", "Give another port or host."
        ) from error


def _build_info() -> Metric:
    family = _family(node_metrics.BUILD_INFO)
    versions = [_version("lmserve"), platform.python_version(), _version("ray")]
    family.add_metric(versions, 1)
    return family


def _family(declared: Declaration) -> GaugeMetricFamily:
    return GaugeMetricFamily(declared.name, declared.about, labels=declared.labels)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _mount(path: Path) -> str:
    path = path.resolve()
    while not path.is_mount():
        path = path.parent
    return str(path)
