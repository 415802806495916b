"""Fixtures that many tests share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpora import zipf_text
from hypothesis import settings

import lmserve

# Who runs the tests in the background of a shell has them ignore Ctrl-C, and their programs too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Kernels are compiled when they are first called, which takes seconds.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="module", autouse=True)
def metrics_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the programs that a file's tests start count: nothing of what others counted."""
    folder = tmp_path_factory.mktemp("metrics")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LMSERVE_METRICS_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 sentences over some hundred words."""
    path = tmp_path_factory.mktemp("text") / "tiny.txt"
    path.write_text(zipf_text(600))
    return path


@pytest.fixture(scope="session")
def tiny_model_path(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 3-gram model of `tiny_text`."""
    from cluster.build import build
    from cluster.config import BuildConfig

    output = tmp_path_factory.mktemp("model") / "tiny"
    build(BuildConfig(inputs=(str(tiny_text),), output=output, order=3), on_ray=False)
    return output


@pytest.fixture(scope="session")
def tiny_model(tiny_model_path: Path) -> lmserve.NgramModel:
    """`tiny_model_path`, opened."""
    return lmserve.load(tiny_model_path)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A real Ray on this machine, with processors for more workers than there are cores."""
    from cluster.session import connect, disconnect

    connect(None, num_cpus=6)
    yield
    disconnect()


@pytest.fixture(scope="session")
def other_model_path(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 2-gram model of `tiny_text`."""
    from cluster.build import build
    from cluster.config import BuildConfig

    output = tmp_path_factory.mktemp("model") / "other"
    build(BuildConfig(inputs=(str(tiny_text),), output=output, order=2), on_ray=False)
    return output
