"""Training: epochs of steps, validated, checkpointed, and the same however often it is stopped."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from lmserve.errors import CorruptModelError, OptionError
from lmserve.rnn.batches import Columns, lengths
from lmserve.rnn.checkpoints import (
    Epoch,
    Progress,
    Tensors,
    checkpoint_at,
    newest_step,
    read_progress,
    restore,
    write_checkpoint,
)
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.corpus import Rows
from lmserve.rnn.measuring import exchanged, mean_loss, perplexity_of
from lmserve.rnn.network import Network, States, columns
from lmserve.rnn.optimizing import Average, make_optimizer, rate_at, stopped_improving
from lmserve.rnn.probing import probe
from lmserve.rnn.step_log import STEPS_FILE, Log, StepLog
from lmserve.rnn.stepping import StepFacts, Stepper
from lmserve.rnn.workers import Workers

_LOG_EVERY = 20


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be trained, on what, and where it is kept.

    Attributes:
        network: the network but for its words.
        training: how it is trained.
        words: V.
        eos: the row of a sentence's end.
        train: int64 [N], the text as rows.
        valid: int64 [M], the text that perplexities are measured on.
        vocabulary: SHA-256 of the words, which checkpoints carry.
        folder: of the run: checkpoints and `STEPS_FILE`. All workers see it.
        checkpoint_every: seconds between checkpoints; there is one after every epoch as well.
        probe_lags: measure the memory horizon after every epoch, up to so many words; 0 for not.
        keep: told of every checkpoint that was written, on the first worker.
    """

    network: NetworkConfig
    training: TrainingConfig
    words: int
    eos: int
    train: Rows
    valid: Rows
    folder: Path
    vocabulary: str = ""
    checkpoint_every: float = 60.0
    probe_lags: int = 0
    keep: Callable[[Path], None] = lambda _: None


Listener = Callable[[Log | Epoch], None]


class Trainer:
    """Trains one network.

    Args:
        task: what to do.
        workers: this process among those that do it.
        listen: told of steps and epochs, on the first worker.
    """

    def __init__(self, task: Task, workers: Workers, listen: Listener = lambda _: None) -> None:
        config = task.training
        if config.batch_size % workers.size:
            raise OptionError(
                f"batch_size is {config.batch_size}, which {workers.size} workers cannot share",
                f"Give a multiple of {workers.size}.",
            )
        if config.compiled and workers.device.type == "cpu":
            raise OptionError(
                "compiled is set, and there is no GPU", "Leave it out, or train on a GPU: --gpus."
            )
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.task, self.config, self.workers, self.listen = task, config, workers, listen
        # Workers are alike until they draw what they leave out.
        torch.manual_seed(config.seed)
        self.network = Network(task.network, task.words).to(workers.device)
        self.optimizer = make_optimizer(self.network, config)
        self.average = Average()
        self.progress = Progress(vocabulary=task.vocabulary)
        self.best: Tensors = {}
        self.text = Columns(task.train, task.eos, config.batch_size)
        self.valid = Columns(task.valid, task.eos, config.batch_size)
        self.columns = self.text.part(workers.rank, workers.size)
        states = self.network.initial_states(config.batch_size)
        task.folder.mkdir(parents=True, exist_ok=True)
        found = self._newest()
        if found is not None:
            self.progress = read_progress(found)
            if self.progress.vocabulary != task.vocabulary:
                raise CorruptModelError(
                    f"{found} is of other words: {self.progress.vocabulary[:16]}..., "
                    f"now {task.vocabulary[:16]}...",
                    "Delete the folder of the run and train anew.",
                )
            if not workers.first:
                # They are sums over all workers.
                self.progress.loss, self.progress.tokens = 0.0, 0
            states, self.best = restore(
                found,
                self.network,
                self.optimizer,
                self.average,
                self.progress.averaged_steps,
            )
        self.stepper = Stepper(
            self.network, self.optimizer, config, workers, self._on_device(states)
        )
        self.stepper.skipped_in_a_row = self.progress.skipped_in_a_row
        self.log = StepLog(task.folder / STEPS_FILE if workers.first else None)
        self.log.forget_after(self.progress.step)

    def _newest(self) -> Path | None:
        """The newest checkpoint that the first worker sees: others may see one more or less."""
        step = newest_step(self.task.folder) if self.workers.first else None
        (told,) = self.workers.sum(0 if step is None else step + 1)
        return checkpoint_at(self.task.folder, int(told) - 1) if told else None

    def run(self) -> Progress:
        """Trains to the end; the best epoch's weights are then in `best`.

        Raises:
            TrainingError: the gradients exploded.
        """
        while self.progress.epoch < self.config.epochs:
            self._run_epoch()
        return self.progress

    def _run_epoch(self) -> None:
        progress, started = self.progress, time.monotonic() - self.progress.seconds
        if progress.position == 0:
            self.stepper.states = self._on_device(
                self.network.initial_states(self.config.batch_size)
            )
        saved = time.monotonic()
        self.log.begin()
        for length in list(self._lengths())[progress.batches :]:
            self.log.add(*self._step(length))
            progress.seconds = time.monotonic() - started
            if len(self.log) < _LOG_EVERY and progress.position < len(self.text):
                continue
            log = self.log.write(
                step=progress.step,
                epoch=progress.epoch + progress.position / len(self.text),
                done=self._done(),
                skipped=progress.skipped,
                rate=self.optimizer.param_groups[0]["lr"],
                last=progress.epochs[-1] if progress.epochs else None,
            )
            if self.workers.first:
                self.listen(log)
            # The first worker's clock is the one that counts.
            due = self.workers.first and time.monotonic() - saved >= self.task.checkpoint_every
            if self.workers.sum(due) != [0]:
                self._save()
                saved = time.monotonic()
        self._end_epoch(started)

    def _step(self, length: int) -> tuple[StepFacts, int]:
        progress, config = self.progress, self.config
        batch = self.text.batch(progress.position, length, self.columns)
        tokens = self.text.targets_in(progress.position, length)
        rate = rate_at(config, self._done(), progress.step, progress.cuts)
        facts = self.stepper.step(
            batch.to(self.workers.device),
            tokens=tokens,
            # A short batch's gradient is as large as a long one's, but says less.
            rate=rate * (batch.length / config.length if config.vary_length else 1),
            seed=_mixed(config.seed, progress.step, self.workers.rank),
        )
        progress.step += 1
        progress.position += batch.length
        progress.batches += 1
        progress.skipped += not facts.applied
        progress.skipped_in_a_row = self.stepper.skipped_in_a_row
        if math.isfinite(facts.loss):
            progress.loss += facts.loss
            progress.tokens += facts.tokens
        if self.average.steps:
            self.average.add(self.network)
            progress.averaged_steps = self.average.steps
        return facts, tokens

    def _end_epoch(self, started: float) -> None:
        progress = self.progress
        loss, tokens = self.workers.sum(progress.loss, progress.tokens)
        averaged = self.average.steps > 0
        with exchanged(self.network, self.average.weights):
            valid = perplexity_of(mean_loss(self.network, self.valid, self.workers))
            horizons = self._horizons()
            before = [epoch.valid_perplexity for epoch in progress.epochs]
            if not before or valid < min(before):
                named = self.network.named_parameters()
                self.best = {name: p.detach().clone() for name, p in named}
            else:
                progress.cuts += 1
        epoch = Epoch(
            epoch=progress.epoch + 1,
            train_perplexity=perplexity_of(loss / tokens) if tokens else math.inf,
            valid_perplexity=valid,
            seconds=time.monotonic() - started,
            averaged=averaged,
            horizons=horizons,
        )
        if (
            self.config.optimizer == "asgd"
            and not averaged
            and stopped_improving([*before, valid], self.config.patience)
        ):
            self.average.add(self.network)
            progress.averaged_steps = self.average.steps
        progress.epochs = [*progress.epochs, epoch]
        progress.epoch += 1
        progress.position = progress.batches = progress.tokens = 0
        progress.loss = progress.seconds = 0.0
        self._save()
        if self.workers.first:
            self.listen(epoch)

    def _horizons(self) -> list[int | None]:
        """The memory horizon of each layer; the first worker's affair, for the others wait."""
        if not self.workers.first or self.task.probe_lags == 0:
            return []
        curves = probe(self.network, self.task.valid, lags=self.task.probe_lags, windows=1)
        return [curve.horizon for curve in curves]

    def _save(self) -> None:
        states = self.workers.gather(self.stepper.states)
        loss, tokens = self.workers.sum(self.progress.loss, self.progress.tokens)
        if self.workers.first:
            progress = self.progress.model_copy(update={"loss": loss, "tokens": int(tokens)})
            written = write_checkpoint(
                self.task.folder,
                progress,
                self.network,
                self.best,
                self.optimizer,
                self.average,
                states,
            )
            self.task.keep(written)
        self.workers.wait()

    def _done(self) -> float:
        part = self.progress.position / len(self.text)
        return (self.progress.epoch + part) / self.config.epochs

    def _lengths(self) -> Iterator[int]:
        config = self.config
        seed = _mixed(config.seed, self.progress.epoch, -1) if config.vary_length else None
        return lengths(len(self.text), config.length, seed)

    def _on_device(self, states: States) -> States:
        """This worker's columns of all columns' states."""
        part = columns(states, self.columns)
        return tuple(tuple(t.to(self.workers.device) for t in state) for state in part)


def _mixed(seed: int, step: int, rank: int) -> int:
    """A seed for every step of every worker, by splitmix64's mixing (Steele et al. 2014)."""
    z = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03 + (rank + 2)) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z ^ (z >> 31)
