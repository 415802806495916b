"""A training's epochs as programs follow them."""

from typing import Any

from jobs.following import Job


class TrainingEvents:
    """Logs the epochs of a job, and that it comes on."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._epochs = 0

    def __call__(self, log: dict[str, Any]) -> None:
        """Takes a line of the log of steps: a new epoch is an event."""
        self._job.advanced()
        if int(log["epoch"]) > self._epochs:
            self._epochs = int(log["epoch"])
            names = ("step", "loss", "norm", "clipped", "skipped", "tokens_per_s")
            fields = {name: log[name] for name in names}
            self._job.tell(
                "epoch", epoch=self._epochs, valid_perplexity=log["valid_perplexity"], **fields
            )
