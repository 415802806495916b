"""Training a recurrent model on Ray Train: workers, their failures, and how far they have come.

The training itself is `lmserve.rnn.runs`, the same with and without Ray. Here it gets processes
that are joined by `torch.distributed`. Checkpoints lie in the run's folder, which all workers see;
whoever starts again looks there for the newest one by itself, since Ray would know of a checkpoint
only some seconds after it was written.
"""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cluster.session import connect, connected, disconnect, processors
from lmserve.errors import DependencyError, OptionError, TrainingError
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.runs import RunConfig, locked, prepare, publish, train
from lmserve.rnn.step_log import STEPS_FILE
from lmserve.rnn.workers import Workers

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
    with locked(config):
        prepare(config)
        ours = not connected()
        connect(address)
        try:
            with _watching(config.folder / "checkpoints" / STEPS_FILE, watch):
                _fit(config, scale, _threads(config, scale))
        finally:
            if ours:
                disconnect()
        return publish(config)


def _threads(config: RunConfig, scale: Scale) -> int:
    """Of torch, for each worker: those of its share of the processors, if nothing is said."""
    available = ray.cluster_resources().get("GPU", 0) if scale.gpus else processors()
    if not 1 <= scale.workers <= available:
        kind = "GPUs" if scale.gpus else "processors"
        raise OptionError(
            f"workers is {scale.workers}, and the cluster has {available:.0f} {kind}",
            f"Give 1 to {max(1, int(available))} workers, or a larger cluster.",
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
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if scale.gpus else "gloo"),
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=str(config.folder),
            failure_config=ray.train.FailureConfig(max_failures=scale.max_failures),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise TrainingError(
            f"workers died more than {scale.max_failures} times: {_first_line(error)}",
            "See Ray's logs for why, mend it, and go on with --resume.",
        ) from error
    if failure.exists():
        raise TrainingError(*json.loads(failure.read_bytes()))


def _work(settings: dict[str, Any]) -> None:
    """What each worker does."""
    config: RunConfig = settings["config"]
    device = ray.train.torch.get_device()
    # Ray has said 1 in the environment.
    torch.set_num_threads(settings["threads"])
    try:
        train(config, Workers.joined(device))
    except TrainingError as error:
        # All workers come to the same conclusion, and starting again would not change it.
        if ray.train.get_context().get_world_rank() == 0:
            content = json.dumps([error.problem, error.remedy])
            (config.folder / _ERROR_FILE).write_text(content)


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
    told = -1
    while True:
        stopping = stop.wait(_POLL_S)
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    content = json.loads(line)
                    if content["step"] > told:
                        told = content["step"]
                        watch(content)
        if stopping:
            return


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
