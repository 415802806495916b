"""Checkpoints: all that a training needs to go on, bit for bit, as if it had not been stopped.

A checkpoint is a folder, complete as soon as it has its name:

    weights.safetensors    the network
    best.safetensors       the network after its best epoch
    training.safetensors   the optimiser, averaged weights, and the state of every column of text
    progress.json          how far it has come

There is no generator of random numbers to be kept: each step seeds its own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import safetensors
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from lmserve.errors import CorruptModelError
from lmserve.ngram.tables import PARTIAL, partial_name
from lmserve.removing import remove
from lmserve.rnn.network import States
from lmserve.rnn.optimizing import Average

WEIGHTS_FILE = "weights.safetensors"
BEST_FILE = "best.safetensors"
TRAINING_FILE = "training.safetensors"
PROGRESS_FILE = "progress.json"
_KEPT = 2
_PREFIX = "step-"

Count = Annotated[int, Field(ge=0)]
Tensors = dict[str, Tensor]


class Epoch(BaseModel):
    """What one time through the text came to.

    Attributes:
        epoch: from 1.
        train_perplexity: while the weights changed, with what was left out.
        valid_perplexity: afterwards.
        seconds: that it took, validation included.
        averaged: whether the validation is of averaged weights.
        horizons: the memory horizon of each layer in words, see `probing`; None for more than were
            probed; empty where nothing was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    epoch: int
    train_perplexity: float
    valid_perplexity: float
    seconds: float
    averaged: bool
    horizons: list[int | None] = []


class Progress(BaseModel):
    """How far a training has come.

    Attributes:
        vocabulary: SHA-256 of the words that the network was made for.
        step: updates tried so far.
        epoch: whole ones.
        position: steps of a column done in this epoch.
        batches: done in this epoch.
        skipped: updates not applied.
        skipped_in_a_row: the latest of them.
        loss: sum of -ln P over this epoch's words so far.
        tokens: these words.
        seconds: of this epoch so far.
        cuts: epochs that did not improve the validation perplexity.
        averaged_steps: that the average is of.
        epochs: done.
    """

    model_config = ConfigDict(extra="forbid")

    vocabulary: str = ""
    step: Count = 0
    epoch: Count = 0
    position: Count = 0
    batches: Count = 0
    skipped: Count = 0
    skipped_in_a_row: Count = 0
    loss: float = 0.0
    tokens: Count = 0
    seconds: float = 0.0
    cuts: Count = 0
    averaged_steps: Count = 0
    epochs: list[Epoch] = []


def write_checkpoint(
    folder: Path,
    progress: Progress,
    network: nn.Module,
    best: Mapping[str, Tensor],
    optimizer: Optimizer,
    average: Average,
    states: States,
) -> Path:
    """Writes a checkpoint, and deletes all but the newest ones.

    Args:
        folder: of the run's checkpoints.
        progress: how far it has come.
        network: now.
        best: its weights after its best epoch; empty before the end of the first.
        optimizer: of its parameters.
        average: of its weights.
        states: of all columns, those of all workers one after the other.
    """
    # Of a worker that died in the middle, or is about to.
    for old in folder.glob(f"*{PARTIAL}"):
        remove(old)
    partial = partial_name(folder / "checkpoint")
    partial.mkdir(parents=True)
    save_weights(dict(network.named_parameters()), partial / WEIGHTS_FILE)
    save_weights(best, partial / BEST_FILE)
    rest = _optimizer_tensors(optimizer)
    rest |= {f"average.{name}": tensor for name, tensor in (average.weights or {}).items()}
    for number, state in enumerate(states):
        rest |= {f"state.{number}.{k}": part for k, part in enumerate(state)}
    save_weights(rest, partial / TRAINING_FILE)
    (partial / PROGRESS_FILE).write_text(progress.model_dump_json(indent=2) + "\n")
    path = checkpoint_at(folder, progress.step)
    remove(path)
    partial.rename(path)
    for old in checkpoints(folder)[:-_KEPT]:
        remove(old)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, the oldest first."""
    return sorted(folder.glob(f"{_PREFIX}*"))


def checkpoint_at(folder: Path, step: int) -> Path:
    """Where a run's checkpoint after so many updates lies."""
    return folder / f"{_PREFIX}{step:010d}"


def newest_step(folder: Path) -> int | None:
    """The updates that the newest complete checkpoint of a run has seen; None without one."""
    found = checkpoints(folder)
    return int(found[-1].name.removeprefix(_PREFIX)) if found else None


def read_progress(checkpoint: Path) -> Progress:
    """How far a checkpoint had come.

    Raises:
        CorruptModelError: it was changed or cut short.
    """
    path = checkpoint / PROGRESS_FILE
    try:
        return Progress.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError) as error:
        raise CorruptModelError(f"{path} is damaged: {error}", _remedy(checkpoint)) from error


def restore(
    checkpoint: Path, network: nn.Module, optimizer: Optimizer, average: Average, steps: int
) -> tuple[States, Tensors]:
    """Puts a training back to where it was.

    Args:
        checkpoint: its folder.
        network: filled.
        optimizer: filled.
        average: filled.
        steps: that the average is of.

    Returns:
        The states of all columns; the weights after the best epoch.

    Raises:
        CorruptModelError: it was changed or cut short, or is of another network.
    """
    device = next(network.parameters()).device
    load_weights(network, load_tensors(checkpoint / WEIGHTS_FILE, device), checkpoint)
    rest = load_tensors(checkpoint / TRAINING_FILE, device)
    _fill_optimizer(optimizer, rest)
    averaged = {
        name.removeprefix("average."): t for name, t in rest.items() if name.startswith("average.")
    }
    average.weights, average.steps = averaged or None, steps
    found: dict[int, dict[int, Tensor]] = {}
    for name, tensor in rest.items():
        if name.startswith("state."):
            _, number, part = name.split(".")
            found.setdefault(int(number), {})[int(part)] = tensor
    states = tuple(tuple(state[k] for k in sorted(state)) for _, state in sorted(found.items()))
    return states, load_tensors(checkpoint / BEST_FILE, device)


def save_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors as safetensors: numbers with names and shapes, nothing that is executed."""
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)


def load_tensors(path: Path, device: torch.device | None = None) -> Tensors:
    """Reads what `save_weights` wrote; raises `CorruptModelError` where it is damaged."""
    try:
        tensors: Tensors = load_file(path, device=str(device or "cpu"))
    except (OSError, safetensors.SafetensorError) as error:
        raise CorruptModelError(
            f"{path} is missing or damaged: {error}", _remedy(path.parent)
        ) from error
    return tensors


def check_shapes(network: nn.Module, path: Path) -> None:
    """Compares the names and shapes in a file with a network's, reading nothing else of it.

    Raises:
        CorruptModelError: the file is damaged, or has those of another network.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CorruptModelError(
            f"{path} is missing or damaged: {error}", _remedy(path.parent)
        ) from error
    _compare(network, found, path.parent)


@torch.no_grad()
def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Fills a network's parameters.

    Raises:
        CorruptModelError: the tensors are those of another network.
    """
    _compare(network, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, where)
    for name, parameter in network.named_parameters():
        parameter.copy_(tensors[name])


def _compare(network: nn.Module, found: Mapping[str, tuple[int, ...]], where: Path) -> None:
    expected = {name: tuple(p.shape) for name, p in network.named_parameters()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))
        raise CorruptModelError(
            f"{where} holds the weights of another network: {wrong[:3]}", _remedy(where)
        )


def _remedy(folder: Path) -> str:
    if (folder / PROGRESS_FILE).exists():
        return f"Delete {str(folder)!r}: the checkpoint before it is used."
    return "Copy the whole folder again, or train the model again."


def _optimizer_tensors(optimizer: Optimizer) -> Tensors:
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def _fill_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = tensor
    content = optimizer.state_dict()
    content["state"] = state
    optimizer.load_state_dict(content)
