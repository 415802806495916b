"""The log of a training's steps: what some of them came to, a line of JSON each."""

import json
import math
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmserve.rnn.checkpoints import Epoch
from lmserve.rnn.stepping import StepFacts

STEPS_FILE = "steps.jsonl"


@dataclass(frozen=True, slots=True)
class Log:
    """What some steps came to, for people and for Prometheus.

    Attributes:
        step: the last of them, counted from 1.
        epoch: with its part that is done.
        done: the part of all epochs that is done.
        loss: mean of -ln P over their words, of the first worker's columns.
        norm: mean over steps of the gradient's norm before clipping.
        largest_norm: the largest of them.
        clipped_norm: mean of the norm after clipping.
        clipped: the part of the steps that were clipped.
        skipped: steps that were not applied, since the training began.
        groups: mean norms before clipping, by parameter group.
        rate: the last learning rate.
        tokens_per_s: of all workers.
        valid_perplexity: after the last epoch; None in the first.
        horizons: memory horizons after the last epoch, as in `checkpoints.Epoch`.
    """

    step: int
    epoch: float
    done: float
    loss: float
    norm: float
    largest_norm: float
    clipped_norm: float
    clipped: float
    skipped: int
    groups: dict[str, float]
    rate: float
    tokens_per_s: float
    valid_perplexity: float | None = None
    horizons: list[int | None] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: numbers that it cannot write become None."""
        return _finite(asdict(self))


class StepLog:
    """Collects steps, and writes what they came to.

    Args:
        path: the file, added to; None where another process writes it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.begin()

    def begin(self) -> None:
        """Forgets what was collected; the clock starts anew."""
        self._facts: list[StepFacts] = []
        self._tokens = 0
        self._since = time.monotonic()

    def __len__(self) -> int:
        """Steps collected."""
        return len(self._facts)

    def add(self, facts: StepFacts, tokens: int) -> None:
        """Collects a step, in which all workers saw so many words."""
        self._facts.append(facts)
        self._tokens += tokens

    def write(
        self,
        *,
        step: int,
        epoch: float,
        done: float,
        skipped: int,
        rate: float,
        last: Epoch | None,
    ) -> Log:
        """Writes what was collected, and begins anew.

        Args:
            step: as in `Log`, like those that follow.
            epoch: the same.
            done: the same.
            skipped: the same.
            rate: the same.
            last: the last whole epoch.
        """
        gradients = [facts.gradient for facts in self._facts]
        words = max(1, sum(facts.tokens for facts in self._facts))
        log = Log(
            step=step,
            epoch=epoch,
            done=done,
            loss=sum(facts.loss for facts in self._facts) / words,
            norm=_mean([gradient.norm for gradient in gradients]),
            largest_norm=max(gradient.norm for gradient in gradients),
            clipped_norm=_mean([gradient.clipped_norm for gradient in gradients]),
            clipped=_mean([float(gradient.clipped) for gradient in gradients]),
            skipped=skipped,
            groups={
                name: _mean([gradient.groups[name] for gradient in gradients])
                for name in gradients[0].groups
            },
            rate=rate,
            tokens_per_s=self._tokens / (time.monotonic() - self._since),
            valid_perplexity=last.valid_perplexity if last else None,
            horizons=last.horizons if last else [],
        )
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(log.as_dict(), allow_nan=False) + "\n")
        self.begin()
        return log

    def forget_after(self, step: int) -> None:
        """Drops what was written of later steps: they are going to be done again."""
        if self._path is None or not self._path.exists():
            return
        lines = self._path.read_text().splitlines(keepends=True)
        # What was being written when the process ended is no line.
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(kept))
        os.replace(partial, self._path)


def _finite(content: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON cannot write become null."""
    return {
        name: _finite(value)
        if isinstance(value, dict)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in content.items()
    }


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
