"""Building an n-gram model on Ray: plan it, run its stages, publish the result."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from cluster.config import BuildConfig
from cluster.counting import NgramWorker
from cluster.nodes import check_nodes_see, leave_nodes
from cluster.planning import check_output, clean_up, open_workspace, plan, publish, published
from cluster.pool import InProcessPool, Pool, RayPool
from cluster.progress import Observer, Silent
from cluster.session import connect, connected, disconnect
from cluster.stages import Run
from cluster.workspace import Workspace
from lmserve.errors import RefusedTextError
from lmserve.ngram.manifest import Manifest
from lmserve.text.sources import Piece

Config = TypeVar("Config", bound=BuildConfig)
SomeRun = TypeVar("SomeRun", bound=Run)
Result = TypeVar("Result")


def build(
    config: BuildConfig,
    observer: Observer | None = None,
    *,
    address: str | None = None,
    on_ray: bool = True,
) -> Manifest:
    """Builds a model.

    A build that fails leaves its folder, `config.folder`, so that `resume` can go on from it; one
    whose text is refused leaves nothing.

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
    return carry_out(
        config, Run, Run.stages, Manifest.parse, observer, address=address, on_ray=on_ray
    )


def carry_out(
    config: Config,
    make_run: Callable[[Config, Workspace, list[Piece], Observer], SomeRun],
    stages: Callable[[SomeRun, Pool], Result],
    parse: Callable[[bytes, str], Result],
    observer: Observer | None,
    *,
    address: str | None,
    on_ray: bool,
) -> Result:
    """Plans what is to be made, goes through its stages, and publishes what they have made.

    Args:
        config: what to make.
        make_run: of what was planned.
        stages: of a run, given the workers.
        parse: what stages return, of the finished output's manifest and place.
        observer: see `build`.
        address: see `build`.
        on_ray: see `build`.

    Returns:
        What the stages return.
    """
    files = open_workspace(config)
    try:
        if config.resume and (manifest := published(config, files)):
            files.remove()
            return parse(manifest, config.place)
        if not config.resume:
            check_output(config, files)
        with files.locked():
            run = make_run(config, files, plan(config, files), observer or Silent())
            return _carry_out(run, partial(stages, run), address=address, on_ray=on_ray)
    finally:
        files.leave()


def _carry_out(
    run: Run, stages: Callable[[Pool], Result], *, address: str | None, on_ray: bool
) -> Result:
    config, files = run.config, run.files
    try:
        if on_ray:
            return _on_ray(run, stages, address)
        result = stages(_in_process(run))
    except BaseException as error:
        clean_up(config, files, error if isinstance(error, RefusedTextError) else None)
        raise
    publish(config, files)
    return result


def _in_process(run: Run) -> InProcessPool:
    run.files.forget_notes()
    worker = NgramWorker(run.files.opener(), run.config.order)
    return InProcessPool(worker, run.config.workers or 1)


def _on_ray(run: Run, stages: Callable[[Pool], Result], address: str | None) -> Result:
    config = run.config
    ours = not connected()
    with run.log.stage("start Ray"):
        connect(address, num_cpus=config.workers)
    try:
        check_nodes_see(run.files, config.role)
        run.files.forget_notes()
        pool = RayPool(
            NgramWorker, config.workers, run.files.opener(), config.order, role=config.role
        )
        try:
            with run.log.stage("start workers"):
                pool.start()
            result = stages(pool)
        finally:
            # A Ray of our own ends quietly with all its actors, whatever they are doing.
            if not ours or run.files.private:
                pool.close()
        publish(config, run.files)
        return result
    finally:
        # What is on nodes' own disks goes once nobody writes there any more. This machine may be a
        # node, too, and has published by now what it had there.
        if run.files.private:
            leave_nodes(run.files.opener())
        if ours:
            disconnect()
