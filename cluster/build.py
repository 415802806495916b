"""Building an n-gram model on Ray: plan it, run its stages, publish the result."""

import shutil
import sys

from cluster.config import BuildConfig
from cluster.counting import NgramWorker
from cluster.pool import InProcessPool, RayPool
from cluster.progress import Observer, Silent
from cluster.session import connect, connected, disconnect
from cluster.stages import Run
from cluster.workspace import Workspace
from lmserve.errors import BuildError, InputError
from lmserve.ngram.manifest import Manifest
from lmserve.text.sources import STDIN, Piece, find_files, split

_MIN_PIECE_BYTES, _MAX_PIECE_BYTES = 1 << 20, 64 << 20


def build(
    config: BuildConfig,
    observer: Observer | None = None,
    *,
    address: str | None = None,
    on_ray: bool = True,
) -> Manifest:
    """Builds a model.

    A build that fails leaves its folder, `OUTPUT.building`, so that `resume` can go on from it;
    one whose text is refused leaves nothing.

    Args:
        config: what to build.
        observer: told of the progress.
        address: Ray cluster, see `cluster.session.connect`; connected to when input and output
            have been checked.
        on_ray: False does all work in this process, one task after the other.

    Returns:
        The manifest of the finished model.

    Raises:
        InputError: the text cannot be read or may not be counted.
        BuildError: the output exists, workers died too often, or no discounts can be computed.
    """
    observer = observer or Silent()
    files = Workspace(config.output.with_name(config.output.name + ".building"))
    pieces = _plan(config, files)
    try:
        if on_ray:
            manifest = _run_on_ray(config, files, pieces, observer, address)
        else:
            pool = InProcessPool(NgramWorker(str(files.folder), config.order))
            manifest = Run(config, files, pieces, observer).stages(pool)
    except InputError:
        files.remove()
        raise
    _publish(files, config)
    return manifest


def _run_on_ray(
    config: BuildConfig,
    files: Workspace,
    pieces: list[Piece],
    observer: Observer,
    address: str | None,
) -> Manifest:
    run = Run(config, files, pieces, observer)
    ours = not connected()
    try:
        with run.stage("start Ray", 1):
            connect(address, num_cpus=config.workers)
        with RayPool(NgramWorker, config.workers, str(files.folder), config.order) as pool:
            return run.stages(pool)
    except BaseException:
        if ours:
            disconnect()
        raise


def _plan(config: BuildConfig, files: Workspace) -> list[Piece]:
    """The pieces to read, from the unfinished build or anew. Checks all that it can."""
    if config.output.exists() and not config.overwrite:
        raise BuildError(
            f"{str(config.output)!r} exists already",
            "Give another --output, or --overwrite to replace it once the new model is complete.",
        )
    if files.folder.exists() and not config.resume:
        raise BuildError(
            f"there is an unfinished build in {str(files.folder)!r}",
            "Continue it with --resume, or delete that folder to start anew.",
        )
    from_stdin = config.inputs == (STDIN,)
    if config.resume:
        inputs = [files.stdin_copy] if from_stdin else find_files(config.inputs)
        return files.resume(config.facts(inputs))
    if from_stdin:
        with files.new_stdin_copy() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy, 1 << 20)
    try:
        inputs = [files.stdin_copy] if from_stdin else find_files(config.inputs)
        total_bytes = sum(path.stat().st_size for path in inputs)
        pieces = split(inputs, min(max(total_bytes // 64, _MIN_PIECE_BYTES), _MAX_PIECE_BYTES))
    except InputError:
        files.remove()
        raise
    files.create(config.facts(inputs), pieces)
    return pieces


def _publish(files: Workspace, config: BuildConfig) -> None:
    """Moves the finished model to its place; one that is there gives way only now."""
    if config.output.exists():
        old = config.output.with_name(config.output.name + ".old")
        config.output.rename(old)
        files.model.rename(config.output)
        shutil.rmtree(old)
    else:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        files.model.rename(config.output)
    files.remove()
