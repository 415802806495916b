"""Jobs in processes of their own, which count in their node's folder.

python watched_job.py build TEXT OUTPUT
python watched_job.py pause TEXT OUTPUT    builds, too, and stops itself when it has come on
python watched_job.py train TEXT OUTPUT CELL LEARNING_RATE
"""

import signal
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from lmserve.metrics.sharing import share_metrics

share_metrics()

from cluster.build import build  # noqa: E402 - nothing may count before metrics are shared
from cluster.build_metrics import BuildMetrics  # noqa: E402
from cluster.config import BuildConfig  # noqa: E402
from cluster.progress import Several, Silent  # noqa: E402
from lmserve.metrics.job_reporting import JobMetrics  # noqa: E402


class Advancing(Silent):
    """Tells that the job comes on."""

    def __init__(self, job: JobMetrics, *, pausing: bool) -> None:
        self._job = job
        self._pausing = pausing

    def advanced(self, amount: int) -> None:
        self._job.advanced()
        if self._pausing:
            self._pausing = False
            # From outside one might come too late: it is a small build.
            signal.raise_signal(signal.SIGSTOP)


def run_build(text: str, output: str, *, pausing: bool = False) -> None:
    run = Path(output).name
    with JobMetrics(run, "build") as job:
        config = BuildConfig(inputs=(text,), output=Path(output), order=3)
        observer = Several(BuildMetrics(run), Advancing(job, pausing=pausing))
        build(config, observer, on_ray=False)


def run_train(text: str, output: str, cell: str, rate: str) -> None:
    import torch

    from lmserve.rnn.config import CellKind, NetworkConfig, TrainingConfig
    from lmserve.rnn.metrics import TrainingMetrics
    from lmserve.rnn.run_config import RunConfig
    from lmserve.rnn.runs import prepare, train
    from lmserve.rnn.step_log import Log
    from lmserve.rnn.workers import Workers

    torch.set_num_threads(1)
    training = TrainingConfig(
        epochs=10**6,
        batch_size=4,
        length=20,
        optimizer="sgd",
        learning_rate=float(rate),
        schedule="constant",
        clip="none",
        max_skipped=10**9,
    )
    config = RunConfig(
        inputs=(text,),
        valid=(text,),
        output=Path(output),
        network=NetworkConfig(
            cell=CellKind(cell), embedding_size=16, hidden_size=16, layers=1, identity_scale=1.5
        ),
        training=training,
        probe_lags=20,
    )
    run = Path(output).name
    measured = TrainingMetrics(run, cell)
    with JobMetrics(run, "train") as job:

        def listen(told: object) -> None:
            job.advanced()
            if isinstance(told, Log):
                measured.update(asdict(told))

        prepare(config)
        train(config, Workers.joined(torch.device("cpu")), listen)


if __name__ == "__main__":
    pause = partial(run_build, pausing=True)
    {"build": run_build, "pause": pause, "train": run_train}[sys.argv[1]](*sys.argv[2:])
