"""One folder a node, in which all processes of lmserve count, and where any of them reads all.

prometheus_client keeps a process's values in files of the folder that PROMETHEUS_MULTIPROC_DIR
names when it is imported: `share_metrics` comes before that. Nothing here imports it at once, so
that whatever counts nothing doesn't pay for it.
"""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmserve.errors import LmserveError
from lmserve.metrics import membership

# Where this process shares, for prometheus_client; and where processes of this user should.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CHOICE_VARIABLE = "LMSERVE_METRICS_DIR"


def metrics_folder() -> Path:
    """The folder that processes started here share: LMSERVE_METRICS_DIR, or else the user's own."""
    named = os.environ.get(FOLDER_VARIABLE) or os.environ.get(CHOICE_VARIABLE)
    return Path(named) if named else _default_folder()


def share_metrics() -> Path:
    """Has this process count in its node's folder, which is made where there is none.

    Returns:
        The folder.

    Raises:
        RuntimeError: it is too late, as prometheus_client was imported.
        LmserveError: the folder cannot be had.
    """
    if FOLDER_VARIABLE not in os.environ and "prometheus_client" in sys.modules:
        raise RuntimeError(
            "prometheus_client was imported before share_metrics(): what this process counts "
            "would stay its own; share first, and import lmserve.metrics.families after it"
        )
    folder = metrics_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = _is_own(folder) or folder != _default_folder()
    except OSError as error:
        raise LmserveError(
            f"metrics cannot be kept in {folder}: {error.strerror}",
            f"Name a folder that this user may make in {CHOICE_VARIABLE}.",
        ) from error
    if not mine:
        raise LmserveError(
            f"metrics cannot be kept in {folder}: other users may write there",
            f"Remove it, or name another folder in {CHOICE_VARIABLE}.",
        )
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def shared_folder() -> Path | None:
    """The folder in which this process counts; None where it counts for itself."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else None


@contextmanager
def not_inherited() -> Iterator[None]:
    """Programs that are started in the block don't count in this process's folder."""
    folder = os.environ.pop(FOLDER_VARIABLE, None)
    try:
        yield
    finally:
        if folder is not None:
            os.environ[FOLDER_VARIABLE] = folder


def join_node(role: str) -> None:
    """Tells that this process lives and what it is; nothing where it counts for itself.

    Args:
        role: "replica", "job", "trainer" or "exporter".
    """
    if folder := shared_folder():
        membership.tell_role(folder, role)


def process_name() -> str:
    """The name of this process's files: never another's, whatever its identifier."""
    return membership.current_name() or membership.own_name(metrics_folder())


def exposition(folder: Path) -> bytes:
    """The metrics of all processes that share a folder, in Prometheus text format.

    Of processes that died, gauges go at once (`LATEST` ones some minutes after their last value);
    what they counted stays.
    """
    # Here, for whoever only shares.
    from prometheus_client import generate_latest

    from lmserve.metrics.reading import NodeCollector, registry_of

    return generate_latest(registry_of(NodeCollector(folder)))


def _default_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"lmserve-metrics-{os.getuid()}"


def _is_own(folder: Path) -> bool:
    status = folder.lstat()
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.getuid()
        and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    )
