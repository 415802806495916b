"""Building an n-gram model on Ray: plan it, run its stages, publish the result."""

from cluster.config import BuildConfig
from cluster.counting import NgramWorker
from cluster.planning import check_output, clean_up, is_published, plan, publish
from cluster.pool import InProcessPool, RayPool
from cluster.progress import Observer, Silent
from cluster.session import connect, connected, disconnect
from cluster.stages import Run
from cluster.workspace import Workspace
from lmserve.errors import RefusedTextError
from lmserve.ngram.manifest import Manifest


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
        on_ray: False does all work in this process, one task after the other, cut up as if for
            `config.workers`.

    Returns:
        The manifest of the finished model.

    Raises:
        InputError: the text cannot be read or may not be counted.
        BuildError: the output exists, workers died too often, or no discounts can be computed.
    """
    files = Workspace(config.output.parent / f"{config.output.name}.building")
    if config.resume and is_published(config, files):
        files.remove()
        return Manifest.read(config.output)
    if not config.resume:
        check_output(config)
    with files.locked():
        run = Run(config, files, plan(config, files), observer or Silent())
        try:
            manifest = _run_on_ray(run, address) if on_ray else run.stages(_in_process(run))
        except BaseException as error:
            clean_up(config, files, error if isinstance(error, RefusedTextError) else None)
            raise
        publish(config, files)
    return manifest


def _in_process(run: Run) -> InProcessPool:
    worker = NgramWorker(str(run.files.folder), run.config.order)
    return InProcessPool(worker, run.config.workers or 1)


def _run_on_ray(run: Run, address: str | None) -> Manifest:
    config = run.config
    ours = not connected()
    with run.stage("start Ray", 1):
        connect(address, num_cpus=config.workers)
    try:
        pool = RayPool(NgramWorker, config.workers, str(run.files.folder), config.order)
        try:
            return run.stages(pool)
        finally:
            # A Ray of our own ends quietly with all its actors, whatever they are doing.
            if not ours:
                pool.close()
    finally:
        if ours:
            disconnect()
