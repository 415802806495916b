"""A training from text to finished model folder, in steps that can each be repeated.

    OUTPUT.training/
        run.json        what is trained, on what
        train.npy       the text as rows; valid.npy likewise
        model/          the vocabulary, then weights and manifest: what becomes OUTPUT
        checkpoints/    see `checkpoints`, and the log of steps

The folder gets this name when all but the checkpoints is in it, and loses it before anything is
deleted: a folder of this name can be gone on with, or is somebody else's, and is not touched.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lmserve.errors import OptionError, TrainingError
from lmserve.manifests import MANIFEST_FILE
from lmserve.ngram.vocabulary import WORDS_FILE, Vocabulary
from lmserve.rnn.checkpoints import WEIGHTS_FILE, save_weights
from lmserve.rnn.corpus import Numbering, count_words, read_rows
from lmserve.rnn.manifest import RecurrentManifest, file_sha256
from lmserve.rnn.probing import WARM
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.step_log import STEPS_FILE
from lmserve.rnn.training import Listener, Task, Trainer
from lmserve.rnn.workers import Workers
from lmserve.text.sources import BLOCK_BYTES, find_files, split

FACTS_FILE = "run.json"
# What a worker that is stopped by its own error leaves for whoever started it.
ERROR_FILE = "error.json"

# Told of a checkpoint.
Keep = Callable[[Path], None]


def check(config: RunConfig) -> None:
    """Finds what can be wrong before any text is read.

    Raises:
        InputError: a text cannot be found.
        TrainingError: the output exists, or there is an unfinished training, or none to resume, or
            one of other settings.
    """
    if is_published(config):
        return
    _check_output(config)
    unfinished = _facts_file(config).is_file()
    if config.folder.exists() and not unfinished:
        raise TrainingError(
            f"{str(config.folder)!r} exists and is no unfinished training; it is not touched",
            "Give another --output, or move that folder away.",
        )
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


def prepare(config: RunConfig) -> None:
    """Makes the run's folder: reads the texts, counts the words. Nothing, if that is done.

    Raises:
        InputError: a text cannot be read, or is refused.
        OptionError: the network does not fit the words, or the validation text is too short.
        TrainingError: see `check`.
    """
    check(config)
    if config.resume:
        return
    partial = config.output.with_name(f".{config.output.name}.{uuid.uuid4().hex}.training")
    model = partial / "model"
    model.mkdir(parents=True)
    try:
        if config.tokenizer_file is not None:
            config.tokenization.keep(config.tokenizer_file, model)
        _read_texts(config, partial)
        (partial / FACTS_FILE).write_text(json.dumps(config.facts(), indent=2) + "\n")
        partial.rename(config.folder)
    except BaseException:
        shutil.rmtree(partial)
        raise


def _read_texts(config: RunConfig, folder: Path) -> None:
    """Leaves the vocabulary and both texts as rows."""
    model = folder / "model"
    segment = config.tokenization.open(model)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        train = count_words(
            config.inputs,
            config.special_tokens,
            model,
            Path(scratch),
            limit=config.vocabulary,
            segment=segment,
            column=config.text_column,
        )
    vocabulary = Vocabulary.open(model)
    pieces = split(find_files(config.valid), BLOCK_BYTES, config.text_column)
    valid = read_rows(pieces, vocabulary, config.special_tokens, segment)
    if config.probe_lags > 0 and len(valid) < config.probe_lags + WARM:
        raise OptionError(
            f"the validation text has {len(valid):,} words, and {config.probe_lags} lags need "
            f"{config.probe_lags + WARM:,}",
            "Give fewer --probe-lags, or a longer text.",
        )
    words = len(Numbering.of(vocabulary))
    if config.network.cutoffs and config.network.cutoffs[-1] >= words:
        raise OptionError(
            f"the last cluster begins at word {config.network.cutoffs[-1]:,}, and there are "
            f"{words:,}",
            "Give smaller cutoffs.",
        )
    np.save(folder / "train.npy", train)
    np.save(folder / "valid.npy", valid)


def train(
    config: RunConfig,
    workers: Workers,
    listen: Listener = lambda _: None,
    keep: Keep = lambda _: None,
) -> None:
    """Trains to the end what was prepared; called by every worker.

    The first worker then completes the model's folder.

    Args:
        config: what to train.
        workers: this process among those that train.
        listen: told of steps and epochs, on the first worker.
        keep: told of checkpoints, on the first worker.
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
        keep=keep,
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
        CorruptModelError: the model is not what was written.
    """
    if not is_published(config):
        _check_output(config)
        RecurrentManifest.read(config.folder / "model")
        if config.output.exists():
            config.output.rename(config.folder / "replaced")
        (config.folder / "model").rename(config.output)
    done = config.output.with_name(f".{config.output.name}.{uuid.uuid4().hex}.done")
    config.folder.rename(done)
    # Workers on other nodes may have files of it open a little longer.
    shutil.rmtree(done, ignore_errors=True)
    return RecurrentManifest.read(config.output)


def is_published(config: RunConfig) -> bool:
    """Whether a training to be resumed was stopped after its model was in its place."""
    return (
        config.resume
        and _facts_file(config).is_file()
        and not (config.folder / "model").exists()
        and (config.output / MANIFEST_FILE).is_file()
    )


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
        if not path.exists() or not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            # Whoever had it before has just deleted it; another may have made it anew.
            raise TrainingError(
                f"another process has just trained {str(config.output)!r}", "Try again."
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def run_name(config: RunConfig) -> str:
    """A short name of a run, for metrics: its output's, and what tells it from others."""
    canonical = json.dumps(config.facts(), sort_keys=True)
    return f"{config.output.name}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"


def _facts_file(config: RunConfig) -> Path:
    return config.folder / FACTS_FILE


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
    compare_facts(facts, _facts_file(config).read_bytes(), str(config.folder))


def compare_facts(facts: dict[str, Any], written: bytes, place: str) -> None:
    """Raises `TrainingError` where a training to be resumed was of other settings or texts.

    Args:
        facts: as they are now.
        written: those that were kept.
        place: where the training lies, for errors.
    """
    try:
        kept = json.loads(written)
    except ValueError as error:
        raise TrainingError(
            f"{place}/{FACTS_FILE} is damaged: {error}", "Delete that folder to start anew."
        ) from error
    changed = sorted(name for name in facts if facts[name] != kept.get(name))
    if changed:
        raise TrainingError(
            f"{', '.join(changed)} changed since the training in {place!r} began",
            "Give the same options and texts as then, or delete that folder to start anew.",
        )
