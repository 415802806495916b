"""Training without Ray: `python -m lmserve.rnn.train`, in one process or under torchrun.

python -m lmserve.rnn.train train.txt --valid valid.txt --output model --set cell=gru
torchrun --nproc-per-node 2 -m lmserve.rnn.train train.txt --valid valid.txt --output model
"""

import argparse
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from lmserve.errors import LmserveError
from lmserve.rnn.checkpoints import Epoch
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import is_published, locked, prepare, publish, train
from lmserve.rnn.settings import configure, read_config
from lmserve.rnn.step_log import Log
from lmserve.rnn.workers import COLLECTIVE_TIMEOUT_S, Workers
from lmserve.text.special_tokens import SpecialTokens


def main(arguments: list[str] | None = None) -> None:
    """Trains what the command line says.

    Raises:
        LmserveError: see `lmserve.rnn.runs`.
    """
    config = _parse(arguments)
    if "WORLD_SIZE" in os.environ:
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(seconds=COLLECTIVE_TIMEOUT_S))
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    workers = Workers.joined()
    try:
        if workers.first:
            with locked(config):
                prepare(config)
                published = is_published(config)
                workers.wait()
                if not published:
                    train(config, workers, _tell)
                manifest = publish(config)
            _say(f"{config.output}: digest {manifest.digest}")
        else:
            workers.wait()
            if not is_published(config):
                train(config, workers)
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _parse(arguments: list[str] | None) -> RunConfig:
    parser = argparse.ArgumentParser(prog="lmserve.rnn.train", description=__doc__)
    parser.add_argument("inputs", nargs="+", help="text to train on, one sentence a line")
    parser.add_argument("--valid", nargs="+", required=True, help="text to measure on")
    parser.add_argument("--output", type=Path, required=True, help="folder of the model to make")
    parser.add_argument("--config", type=Path, help="JSON with network and training settings")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--special-tokens", type=SpecialTokens, choices=list(SpecialTokens), default="error"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an unfinished training")
    parser.add_argument("--overwrite", action="store_true", help="replace the output in the end")
    given = parser.parse_args(arguments)
    base = read_config(given.config) if given.config else (NetworkConfig(), TrainingConfig())
    network, training = configure(given.set, *base)
    return RunConfig(
        inputs=tuple(given.inputs),
        valid=tuple(given.valid),
        output=given.output,
        network=network,
        training=training,
        special_tokens=SpecialTokens(given.special_tokens),
        resume=given.resume,
        overwrite=given.overwrite,
    )


def _tell(what: Log | Epoch) -> None:
    if isinstance(what, Epoch):
        _say(
            f"epoch {what.epoch}: train perplexity {what.train_perplexity:.2f}, "
            f"valid {what.valid_perplexity:.2f}, {what.seconds:.0f} s"
        )


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    try:
        main()
    except LmserveError as error:
        _say(f"error: {error.problem}\ntry: {error.remedy}")
        sys.exit(1)
