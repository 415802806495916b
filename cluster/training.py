"""Training a recurrent model on Ray Train: workers, their failures, and how far they have come.

The training itself is `lmserve.rnn.runs`, the same with and without Ray. Here it gets processes
that are joined by `torch.distributed`. Checkpoints lie in the run's folder, which all workers see,
or at the run's URL, see `lmserve.rnn.stored_runs`; whoever starts again looks there for the newest
one by itself, since Ray would know of a checkpoint only some seconds after it was written.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from cluster.placement import gpus, processors, role_selector
from cluster.session import connect, connected, disconnect
from cluster.sharing import require_all_see
from cluster.training_steps import (
    StepRelay,
    Watch,
    following_file,
    following_relay,
    relaying,
)
from lmserve.errors import DependencyError, LmserveError, OptionError, TrainingError
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.run_places import RunPlace, place_of
from lmserve.rnn.runs import train
from lmserve.rnn.step_log import STEPS_FILE
from lmserve.rnn.stored_runs import run_url
from lmserve.rnn.workers import COLLECTIVE_TIMEOUT_S, Workers
from lmserve.text.storage import file_system

try:
    import ray
    import ray.train
    import ray.train.torch
except ImportError as error:
    raise DependencyError(
        f"training on Ray needs a package that is not installed: {error}",
        "Install it: pip install 'lmserve[ray,rnn]'; or train with python -m lmserve.rnn.train.",
    ) from error

_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """What a training runs on.

    Attributes:
        workers: processes, a CPU or GPU each.
        gpus: whether each has a GPU.
        max_failures: workers that may die before the training gives up.
        role: of the nodes that they run on, see `cluster.placement`; None: any node.
    """

    workers: int = 1
    gpus: bool = False
    max_failures: int = 3
    role: str | None = None


def train_on_ray(
    config: RunConfig,
    scale: Scale,
    watch: Watch = lambda _: None,
    *,
    address: str | None = None,
) -> RecurrentManifest:
    """Trains a model.

    A training that fails leaves its folder, so that `resume` can go on from its last checkpoint.
    Where this process was connected to Ray before, workers of a training that is interrupted work
    on until the process ends.

    Args:
        config: what to train; its output is a URL, or a path that all nodes share.
        scale: on what.
        watch: told of the lines of the log of steps as they are written.
        address: Ray cluster, see `cluster.session.connect`.

    Raises:
        InputError: a text cannot be read, or is refused.
        TrainingError: the output exists, gradients exploded, or workers died too often.
    """
    place = place_of(config)
    # Until the workers are gone, too, where Ray ends with the training.
    with place.locked():
        place.check()
        with _connection(address):
            threads = _threads(config, scale)
            place.prepare()
            if not place.trained():
                _train(config, scale, threads, place, watch)
            return place.publish()


@contextmanager
def _connection(address: str | None) -> Iterator[None]:
    """Connects to Ray while a `with` block runs, unless this process is connected already."""
    ours = not connected()
    connect(address)
    try:
        yield
    finally:
        if ours:
            disconnect()


def _train(config: RunConfig, scale: Scale, threads: int, place: RunPlace, watch: Watch) -> None:
    place.failure()
    if config.url is not None:
        relay: Any = ray.remote(num_cpus=0)(StepRelay).remote()
        with following_relay(relay, watch):
            _fit(config, scale, threads, place, relay)
        return
    require_all_see(str(config.folder), "the training's folder", TrainingError, scale.role)
    with following_file(config.folder / "checkpoints" / STEPS_FILE, watch):
        _fit(config, scale, threads, place, None)


def _threads(config: RunConfig, scale: Scale) -> int:
    """Of torch, for each worker: those of its share of the processors, if nothing is said."""
    available = gpus(scale.role) if scale.gpus else processors(scale.role)
    if not 1 <= scale.workers <= available:
        kind = "GPUs" if scale.gpus else "processors"
        where = "the cluster has" if scale.role is None else f"nodes of {scale.role!r} have"
        raise OptionError(
            f"workers is {scale.workers}, and {where} {available} {kind}",
            f"Give 1 to {max(1, available)} workers, or a larger cluster.",
        )
    if config.training.batch_size % scale.workers:
        raise OptionError(
            f"batch_size is {config.training.batch_size}, which {scale.workers} workers cannot "
            "share",
            f"Give a multiple of {scale.workers}.",
        )
    return config.training.threads or max(1, processors(scale.role) // scale.workers)


def _fit(config: RunConfig, scale: Scale, threads: int, place: RunPlace, relay: Any) -> None:
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"config": config, "threads": threads, "relay": relay},
        scaling_config=ray.train.ScalingConfig(
            num_workers=scale.workers,
            use_gpu=scale.gpus,
            # Ray's own types are still those of the former Ray Train.
            label_selector=role_selector(scale.role) or None,  # type: ignore[call-arg]
        ),
        torch_config=ray.train.torch.TorchConfig(
            backend="nccl" if scale.gpus else "gloo", timeout_s=COLLECTIVE_TIMEOUT_S
        ),
        run_config=ray.train.RunConfig(
            name="ray",
            failure_config=ray.train.FailureConfig(max_failures=scale.max_failures),
            **_storage(config),
        ),
    )
    try:
        _in_thread(trainer.fit)
    except ray.train.TrainingFailedError as error:
        failure = place.failure()
        if failure is None:
            raise TrainingError(
                f"workers died more than {scale.max_failures} times: {_cause(error)}",
                "See Ray's logs for why, mend it, and go on with --resume.",
            ) from error
        raise TrainingError(*failure) from error
    failure = place.failure()
    if failure is not None:
        raise TrainingError(*failure)


def _storage(config: RunConfig) -> dict[str, Any]:
    """Where Ray Train keeps its own few files."""
    if config.url is None:
        return {"storage_path": str(config.folder)}
    system, path = file_system(run_url(config.url))
    return {"storage_path": path, "storage_filesystem": system}


def _in_thread(function: Callable[[], object]) -> None:
    """Calls a function, and lets Ctrl-C through: in the main thread, Ray would take it."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
    if errors:
        raise errors[0]


def _work(settings: dict[str, Any]) -> None:
    """What each worker does."""
    config: RunConfig = settings["config"]
    relay = settings["relay"]
    # Ray has said 1 in the environment.
    torch.set_num_threads(settings["threads"])
    first = ray.train.get_context().get_world_rank() == 0
    place = place_of(config)
    try:
        with place.entered() as (entered, keep):
            workers = Workers.joined(ray.train.torch.get_device())
            train(entered, workers, relaying(relay), keep)
            if first:
                place.finish(entered)
    except LmserveError as error:
        # What all workers come to alike would come again; only a single worker's own trouble,
        # such as a file that it alone cannot read, may be gone when it starts again.
        if first:
            place.fail(error)
        elif not isinstance(error, TrainingError | OptionError):
            raise


def _cause(error: ray.train.TrainingFailedError) -> str:
    """What the first worker to fail said, or else Ray's own words."""
    failures = getattr(error, "worker_failures", None) or {}
    told = [str(failure).strip() for _, failure in sorted(failures.items())]
    lines = (told[0] if told else str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
