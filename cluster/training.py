"""Training a recurrent model on Ray Train: workers, their failures, and how far they have come.

The training itself is `lmserve.rnn.runs`, the same with and without Ray. Here it gets processes
that are joined by `torch.distributed`. Checkpoints lie in the run's folder, which all workers see;
whoever starts again looks there for the newest one by itself, since Ray would know of a checkpoint
only some seconds after it was written.
"""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cluster.session import connect, connected, disconnect, processors
from lmserve.errors import DependencyError, LmserveError, OptionError, TrainingError
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import check, is_published, locked, prepare, publish, train
from lmserve.rnn.step_log import STEPS_FILE
from lmserve.rnn.workers import COLLECTIVE_TIMEOUT_S, Workers

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
# What a run that is stopped by its own error leaves for the driver, who would get Ray's wrapping.
_ERROR_FILE = "error.json"

Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """What a training runs on.

    Attributes:
        workers: processes, a CPU or GPU each.
        gpus: whether each has a GPU.
        max_failures: workers that may die before the training gives up.
    """

    workers: int = 1
    gpus: bool = False
    max_failures: int = 3


def train_on_ray(
    config: RunConfig,
    scale: Scale,
    watch: Watch = lambda _: None,
    *,
    address: str | None = None,
) -> RecurrentManifest:
    """Trains a model.

    A training that fails leaves its folder, so that `resume` can go on from its last checkpoint.

    Args:
        config: what to train; its output must be a path that all nodes share.
        scale: on what.
        watch: told of the lines of the log of steps as they are written.
        address: Ray cluster, see `cluster.session.connect`.

    Raises:
        InputError: a text cannot be read, or is refused.
        TrainingError: the output exists, gradients exploded, or workers died too often.
    """
    check(config)
    ours = not connected()
    connect(address)
    try:
        threads = _threads(config, scale)
        with locked(config):
            prepare(config)
            if not is_published(config):
                with _watching(config.folder / "checkpoints" / STEPS_FILE, watch):
                    _fit(config, scale, threads)
            return publish(config)
    finally:
        if ours:
            disconnect()


def _threads(config: RunConfig, scale: Scale) -> int:
    """Of torch, for each worker: those of its share of the processors, if nothing is said."""
    available = ray.cluster_resources().get("GPU", 0) if scale.gpus else processors()
    if not 1 <= scale.workers <= available:
        kind = "GPUs" if scale.gpus else "processors"
        raise OptionError(
            f"workers is {scale.workers}, and the cluster has {available:.0f} {kind}",
            f"Give 1 to {max(1, int(available))} workers, or a larger cluster.",
        )
    if config.training.batch_size % scale.workers:
        raise OptionError(
            f"batch_size is {config.training.batch_size}, which {scale.workers} workers cannot "
            "share",
            f"Give a multiple of {scale.workers}.",
        )
    return config.training.threads or max(1, processors() // scale.workers)


def _fit(config: RunConfig, scale: Scale, threads: int) -> None:
    failure = config.folder / _ERROR_FILE
    failure.unlink(missing_ok=True)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"config": config, "threads": threads},
        scaling_config=ray.train.ScalingConfig(num_workers=scale.workers, use_gpu=scale.gpus),
        torch_config=ray.train.torch.TorchConfig(
            backend="nccl" if scale.gpus else "gloo", timeout_s=COLLECTIVE_TIMEOUT_S
        ),
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=str(config.folder),
            failure_config=ray.train.FailureConfig(max_failures=scale.max_failures),
        ),
    )
    try:
        _in_thread(trainer.fit)
    except ray.train.TrainingFailedError as error:
        if not failure.exists():
            raise TrainingError(
                f"workers died more than {scale.max_failures} times: {_cause(error)}",
                "See Ray's logs for why, mend it, and go on with --resume.",
            ) from error
    if failure.exists():
        raise TrainingError(*json.loads(failure.read_bytes()))


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
    # Ray has said 1 in the environment.
    torch.set_num_threads(settings["threads"])
    first = ray.train.get_context().get_world_rank() == 0
    try:
        train(config, Workers.joined(ray.train.torch.get_device()))
    except LmserveError as error:
        # What all workers come to alike would come again; only a single worker's own trouble,
        # such as a file that it alone cannot read, may be gone when it starts again.
        if first:
            content = json.dumps([error.problem, error.remedy])
            (config.folder / _ERROR_FILE).write_text(content)
        elif not isinstance(error, TrainingError | OptionError):
            raise


@contextmanager
def _watching(path: Path, watch: Watch) -> Iterator[None]:
    """Tells of a file's lines as they are added, while a `with` block runs."""
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(path, watch, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _follow(path: Path, watch: Watch, stop: threading.Event) -> None:
    told, offset, inode = -1, 0, 0
    while True:
        stopping = stop.wait(_POLL_S)
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            # A training that goes on from a checkpoint writes the file anew.
            now = os.fstat(file.fileno()).st_ino
            file.seek(offset if now == inode else 0)
            added = file.read()
            whole = added[: added.rfind(b"\n") + 1]
            offset, inode = file.tell() - len(added) + len(whole), now
            for line in whole.splitlines():
                log = json.loads(line)
                if log["step"] > told:
                    told = log["step"]
                    watch(log)
        if stopping:
            return


def _cause(error: ray.train.TrainingFailedError) -> str:
    """What the first worker to fail said, or else Ray's own words."""
    failures = getattr(error, "worker_failures", None) or {}
    told = [str(failure).strip() for _, failure in sorted(failures.items())]
    lines = (told[0] if told else str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
