"""A training from text to finished model folder, in steps that can each be repeated.

OUTPUT.training/
run.json        what is trained, on what
train.npy       the text as rows; valid.npy likewise
model/          the vocabulary, then weights and manifest: what becomes OUTPUT
checkpoints/    see `checkpoints`, and the log of steps
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lmserve.errors import OptionError, TrainingError
from lmserve.ngram.limiting import ALL_WORDS, VocabularyLimit
from lmserve.ngram.manifest import MANIFEST_FILE
from lmserve.ngram.vocabulary import WORDS_FILE, Vocabulary
from lmserve.rnn.checkpoints import WEIGHTS_FILE, save_weights
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.corpus import Numbering, count_words, read_rows
from lmserve.rnn.manifest import RecurrentManifest, file_sha256
from lmserve.rnn.step_log import STEPS_FILE
from lmserve.rnn.training import Listener, Task, Trainer
from lmserve.rnn.workers import Workers
from lmserve.text.sources import BLOCK_BYTES, DEFAULT_COLUMN, file_stat, find_files, split
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Tokenization


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of a training.

    Attributes:
        inputs: the text to train on: files, URLs and patterns.
        valid: the text that perplexities are measured on after every epoch.
        output: folder of the model to make.
        network: what is trained.
        training: how.
        special_tokens: what to do about `<s>`, `</s>`, `<unk>` in the text.
        vocabulary: which words are known; see `corpus.count_words`.
        tokenization: how the text becomes tokens.
        tokenizer_file: the tokenizer's file, where the tokenization has one.
        text_column: the field of JSON and Parquet that holds the text.
        checkpoint_every: seconds between checkpoints.
        probe_lags: measure memory horizons after every epoch, up to so many words; 0 for not.
        resume: go on with an unfinished training.
        overwrite: replace a model that is there already, once the new one is complete.
    """

    inputs: tuple[str, ...]
    valid: tuple[str, ...]
    output: Path
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    special_tokens: SpecialTokens = SpecialTokens.ERROR
    vocabulary: VocabularyLimit = ALL_WORDS
    tokenization: Tokenization = field(default_factory=Tokenization)
    tokenizer_file: Path | None = None
    text_column: str = DEFAULT_COLUMN
    checkpoint_every: float = 60.0
    probe_lags: int = 0
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Makes the output's path absolute: workers have other current folders."""
        object.__setattr__(self, "output", Path(os.path.abspath(self.output)))
        if self.checkpoint_every <= 0:
            raise OptionError(
                f"checkpoint_every is {self.checkpoint_every}", "Give seconds, such as 60."
            )
        if self.probe_lags < 0:
            raise OptionError(f"probe_lags is {self.probe_lags}", "Give words, or 0 for none.")

    @property
    def folder(self) -> Path:
        """The folder of the unfinished training."""
        return self.output.with_name(f"{self.output.name}.training")

    def facts(self) -> dict[str, Any]:
        """What must be the same for a training to be resumed."""
        files = [[name, *self._stat(name)] for name in find_files([*self.inputs, *self.valid])]
        return {
            "files": files,
            "network": self.network.model_dump(mode="json"),
            # Workers and threads may be others.
            "training": self.training.model_dump(mode="json", exclude={"threads"}),
            "special_tokens": str(self.special_tokens),
            "vocab_size": self.vocabulary.size,
            "vocab_file": self.vocabulary.file_sha256(),
            "tokenization": self.tokenization.model_dump(mode="json"),
            "text_column": self.text_column,
        }

    @staticmethod
    def _stat(name: str) -> tuple[int | None, int | None]:
        stat = file_stat(name)
        return stat.size_bytes, stat.changed_ns


def prepare(config: RunConfig) -> None:
    """Makes the run's folder: reads the texts, counts the words. Nothing, if that is done.

    Raises:
        InputError: a text cannot be read, or is refused.
        TrainingError: the output exists, or there is an unfinished training, or none to resume.
    """
    _check_output(config)
    unfinished = _facts_file(config).is_file()
    if unfinished and not config.resume:
        raise TrainingError(
            f"there is an unfinished training in {str(config.folder)!r}",
            "Continue it with --resume, or delete that folder to start anew.",
        )
    if config.resume and not unfinished:
        raise TrainingError(
            f"nothing to resume: there is no unfinished training in {str(config.folder)!r}",
            "Run the same command without --resume.",
        )
    facts = config.facts()
    if unfinished:
        _check_facts(config, facts)
        return
    config.folder.mkdir(parents=True, exist_ok=True)
    model = config.folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir()
    if config.tokenizer_file is not None:
        config.tokenization.keep(config.tokenizer_file, model)
    segment = config.tokenization.open(model)
    try:
        with tempfile.TemporaryDirectory(dir=config.folder) as scratch:
            train = count_words(
                config.inputs,
                config.special_tokens,
                model,
                Path(scratch),
                limit=config.vocabulary,
                segment=segment,
                column=config.text_column,
            )
        valid = read_rows(
            split(find_files(config.valid), BLOCK_BYTES, config.text_column),
            Vocabulary.open(model),
            config.special_tokens,
            segment,
        )
    except BaseException:
        shutil.rmtree(config.folder)
        raise
    np.save(config.folder / "train.npy", train)
    np.save(config.folder / "valid.npy", valid)
    _facts_file(config).write_text(json.dumps(facts, indent=2) + "\n")


def train(config: RunConfig, workers: Workers, listen: Listener = lambda _: None) -> None:
    """Trains to the end what was prepared; called by every worker.

    The first worker then completes the model's folder.
    """
    model = config.folder / "model"
    numbering = Numbering.of(Vocabulary.open(model))
    task = Task(
        network=config.network,
        training=config.training,
        words=len(numbering),
        eos=numbering.eos,
        train=np.load(config.folder / "train.npy", mmap_mode="r"),
        valid=np.load(config.folder / "valid.npy", mmap_mode="r"),
        vocabulary=file_sha256(model / WORDS_FILE),
        folder=config.folder / "checkpoints",
        checkpoint_every=config.checkpoint_every,
        probe_lags=config.probe_lags,
    )
    trainer = Trainer(task, workers, listen)
    progress = trainer.run()
    if workers.first:
        save_weights(trainer.best, model / WEIGHTS_FILE)
        shutil.copyfile(task.folder / STEPS_FILE, model / STEPS_FILE)
        RecurrentManifest(
            words=len(numbering) + 1,
            tokens=len(task.train),
            parameters=sum(p.numel() for p in trainer.network.parameters()),
            network=config.network,
            training=config.training,
            special_tokens=config.special_tokens,
            tokenization=config.tokenization,
            epochs=progress.epochs,
        ).seal(model)
    workers.wait()


def publish(config: RunConfig) -> RecurrentManifest:
    """Moves the finished model into place; what is there gives way only now.

    Raises:
        TrainingError: something has taken that place meanwhile.
    """
    _check_output(config)
    if config.output.exists():
        config.output.rename(config.folder / "replaced")
    (config.folder / "model").rename(config.output)
    shutil.rmtree(config.folder)
    return RecurrentManifest.read(config.output)


@contextmanager
def locked(config: RunConfig) -> Iterator[None]:
    """Keeps other trainings out of the run's folder while the block runs.

    Raises:
        TrainingError: another one is in it.
    """
    path = config.output.with_name(f".{config.output.name}.training.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"another process is training {str(config.output)!r}",
                "Wait for it, or give another --output.",
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def run_name(config: RunConfig) -> str:
    """A short name of a run, for metrics: its output's, and what tells it from others."""
    canonical = json.dumps(config.facts(), sort_keys=True)
    return f"{config.output.name}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"


def _facts_file(config: RunConfig) -> Path:
    return config.folder / "run.json"


def _check_output(config: RunConfig) -> None:
    if not os.path.lexists(config.output):
        return
    if not (config.output / MANIFEST_FILE).is_file():
        raise TrainingError(
            f"{str(config.output)!r} exists and is no model; it is not touched",
            "Give another --output.",
        )
    if not config.overwrite:
        raise TrainingError(
            f"{str(config.output)!r} exists already",
            "Give another --output, or --overwrite to replace it once the new one is complete.",
        )


def _check_facts(config: RunConfig, facts: dict[str, Any]) -> None:
    kept = json.loads(_facts_file(config).read_bytes())
    changed = sorted(name for name in facts if facts[name] != kept.get(name))
    if changed:
        raise TrainingError(
            f"{', '.join(changed)} changed since the training in {str(config.folder)!r} began",
            "Give the same options and texts as then, or delete that folder to start anew.",
        )
