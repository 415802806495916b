"""What comes next in the places of a text: the probabilities of all words at once."""

import numpy as np
import torch

from lmserve.rnn.reading import Floats
from lmserve.rnn.scoring import LOG10_E, RecurrentModel, RecurrentState
from lmserve.text.word_table import Ids


@torch.inference_mode()
def foretell(
    model: RecurrentModel, state: RecurrentState, ids: Ids
) -> tuple[Floats, RecurrentState]:
    """log10 P of every word before each of some words.

    Args:
        model: the network.
        state: before the first.
        ids: uint32 [T], ids of the vocabulary, one or more.

    Returns:
        float64 [T, V], minus infinity for `<s>`; the state after the last word.
    """
    network, numbering = model.network, model.numbering
    words = torch.from_numpy(numbering.rows(ids)).to(network.embedding.device)
    activity, states = network.activity(words.unsqueeze(1), state.states)
    outputs = torch.cat((state.output, activity.whole.squeeze(1)))
    log_probs = network.output.log_probs(outputs[:-1]).double().cpu().numpy()
    scores = np.full((len(ids), len(model.vocabulary)), -np.inf)
    scores[:, numbering.id_of_row] = log_probs * LOG10_E
    return scores, RecurrentState(states, outputs[-1:])
