"""Scores of many texts at once, each from a state of its own."""

import numpy as np
import numpy.typing as npt
import torch

from lmserve.rnn.corpus import Rows
from lmserve.rnn.cross_entropy import IGNORED
from lmserve.rnn.network import Network
from lmserve.rnn.reading import Floats
from lmserve.text.word_table import Offsets

# Positions of a batch of texts, and steps of it that are in memory at a time.
_POSITIONS = 4096
_LENGTH = 256

Numbers = npt.NDArray[np.int64]


def score_batches(network: Network, rows: Rows, starts: Offsets, first: int | None) -> Floats:
    """Ln P of every word of many texts, float64 [N].

    Args:
        network: in evaluation mode.
        rows: int64 [N], text after text.
        starts: int64 [B + 1], where each text's words begin.
        first: the row that is seen before each text; None for nothing, when the first word is
            predicted from an output of zeros.
    """
    log_probs = np.empty(len(rows), np.float64)
    for batch in _batches(starts):
        sizes = np.diff(starts)[batch]
        targets = np.full((sizes.max(), len(batch)), IGNORED, np.int64)
        for column, (text, size) in enumerate(zip(batch, sizes, strict=True)):
            targets[:size, column] = rows[starts[text] : starts[text] + size]
        scores = _score(network, targets, first)
        for column, (text, size) in enumerate(zip(batch, sizes, strict=True)):
            log_probs[starts[text] : starts[text] + size] = scores[:size, column]
    return log_probs


@torch.inference_mode()
def _score(network: Network, targets: Numbers, first: int | None) -> Floats:
    """Ln P of the words of texts side by side: float64 [T, B] for int64 [T, B]."""
    device, batch = network.embedding.device, targets.shape[1]
    # Where a text has ended, any word will do: nothing after it counts.
    seen = np.maximum(targets[:-1], 0)
    states = network.initial_states(batch)
    found = [np.empty((0, batch))]
    # Outputs that are there before any word is seen, for the targets that come next.
    output = states[-1][0].unsqueeze(0)
    if first is not None:
        seen = np.concatenate((np.full((1, batch), first), seen))
        output = output[:0]
    for start in range(0, len(targets), _LENGTH):
        words = torch.from_numpy(seen[start : start + _LENGTH]).to(device)
        outputs = output
        if len(words) > 0:
            activity, states = network.activity(words, states)
            outputs = torch.cat((output, activity.whole))
        aims = torch.from_numpy(targets[start : start + _LENGTH]).to(device)
        hidden, output = outputs[: len(aims)], outputs[len(aims) :]
        counted = aims != IGNORED
        scores = torch.zeros(aims.shape, dtype=torch.float64, device=device)
        log_probs = network.output.target_log_probs(hidden[counted], aims[counted])
        scores[counted] = log_probs.double()
        found.append(scores.cpu().numpy())
    return np.concatenate(found)


def _batches(starts: Offsets) -> list[Numbers]:
    """Texts of similar length together, the longest first, those without words left out."""
    sizes = np.diff(starts)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    batches: list[Numbers] = []
    begin = 0
    while begin < len(order):
        end = begin + max(1, _POSITIONS // int(sizes[order[begin]]))
        batches.append(order[begin:end])
        begin = end
    return batches
