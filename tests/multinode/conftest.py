"""One cluster for all tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from programs import program
from ray_nodes import RayNodes
from single_machine import SETTINGS, SETTINGS_FILE, build_alone, write_texts
from whole_cluster import Running, running_cluster

_KIND = pytest.StashKey[str]()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of texts."""
    folder = tmp_path_factory.mktemp("texts")
    write_texts(folder)
    return folder


@pytest.fixture(scope="module")
def model(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built on this machine alone."""
    folder = tmp_path_factory.mktemp("expected") / "model"
    build_alone(texts, folder)
    return folder


@pytest.fixture(scope="module")
def running_nodes(
    texts: Path,
    model: Path,  # noqa: ARG001 - made first: hosts get the kernels that are compiled for it
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Running]:
    logs = tmp_path_factory.mktemp("logs")
    redis_server = program("redis-server", "redis-server")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        nodes = stack.enter_context(running_cluster(logs, redis_server))
        pytestconfig.stash[_KIND] = nodes.hosts.kind
        for name, value in nodes.stores.credentials.items():
            environment.setenv(name, value)
        # In the folder that jobs are given.
        nodes.client.write(f"{nodes.client.source}/{SETTINGS_FILE}", SETTINGS)
        for path in texts.iterdir():
            nodes.stores.bucket.put(f"text/{path.name}", path)
        yield Running(nodes, stack)


@pytest.fixture(scope="module")
def nodes(running_nodes: Running) -> RayNodes:
    """The cluster."""
    return running_nodes.nodes


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Says what the hosts were."""
    if kind := config.stash.get(_KIND, None):
        terminalreporter.write_line(f"hosts: {kind}")
