"""A finished recurrent model: a folder of weights and words, opened and queried."""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lmserve.errors import CorruptModelError, OptionError
from lmserve.language_model import LanguageModel
from lmserve.ngram.texts import as_bytes, as_text
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.packed_states import seal, unseal
from lmserve.rnn.batch_scoring import score_batches
from lmserve.rnn.checkpoints import WEIGHTS_FILE, check_shapes, load_tensors, load_weights
from lmserve.rnn.corpus import Numbering
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.network import Network, States
from lmserve.rnn.reading import Floats, Reading
from lmserve.rnn.state_packing import pack_states, unpack_states
from lmserve.scorer import Text, TokenScores, WordScore
from lmserve.text.special_tokens import EOS, SPECIAL_WORDS, UNK, SpecialTokens
from lmserve.text.word_table import OOV

LOG10_E = math.log10(math.e)


@dataclass(frozen=True, slots=True)
class RecurrentState:
    """What a network remembers: as much after a million words as after one.

    Attributes:
        states: of its layers, of one text.
        output: [1, E], the last layer's output, from which the next word is predicted.
    """

    states: States
    output: Tensor


class RecurrentModel(LanguageModel):
    """A recurrent network opened for queries; satisfies `lmserve.scorer.Scorer`.

    A text begins as if a sentence had just ended; without `bos`, with nothing at all, and its first
    word is then predicted from the output's biases alone. Words outside the vocabulary have the
    probability of `<unk>`.
    """

    carries_state = True
    costly = True

    def __init__(
        self,
        folder: Path,
        manifest: RecurrentManifest,
        special_tokens: SpecialTokens | None = None,
        device: str = "cpu",
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.special_tokens = special_tokens or manifest.special_tokens
        self.segment = manifest.tokenization.open(folder)
        self.vocabulary = Vocabulary.open(folder)
        if len(self.vocabulary) != manifest.words:
            raise CorruptModelError(
                f"{folder}: {len(self.vocabulary):,} words, the manifest says {manifest.words:,}",
                "Copy the whole folder again, or train the model again.",
            )
        self.numbering = Numbering.of(self.vocabulary)
        # No memory is taken until it is known that the file has as much to fill it with.
        with torch.device("meta"):
            promised = Network(manifest.network, len(self.numbering))
        check_shapes(promised, folder / WEIGHTS_FILE)
        self.network = Network(manifest.network, len(self.numbering))
        load_weights(self.network, load_tensors(folder / WEIGHTS_FILE), folder)
        self.network.to(device).eval().requires_grad_(False)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        special_tokens: SpecialTokens | None = None,
        device: str = "cpu",
    ) -> "RecurrentModel":
        """Opens the model in a folder; every byte of it is checked.

        Args:
            path: the folder that `lmserve train` wrote.
            special_tokens: how to take them in a text; None means as the model was trained.
            device: where it computes, for example "cuda".

        Raises:
            ModelError: there is no recurrent model in this folder.
            CorruptModelError: it was changed or cut short.
            OptionError: this machine has no such device.
        """
        folder = Path(path)
        _check_device(device)
        return cls(folder, RecurrentManifest.read(folder), special_tokens, device)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that determines a score."""
        if self.special_tokens is self.manifest.special_tokens:
            return self.manifest.digest
        chosen = f"{self.manifest.digest} {self.special_tokens}"
        return hashlib.sha256(chosen.encode()).hexdigest()

    def __contains__(self, word: Text) -> bool:
        return self.vocabulary.find(as_bytes(word)) is not None

    def score_tokens(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TokenScores:
        """Scores every token of a batch of texts; see `lmserve.language_model`."""
        ids, starts = self.encode_texts(texts, eos=eos)
        rows, first = self.numbering.rows(ids), self.numbering.eos if bos else None
        log_probs = score_batches(self.network, rows, starts, first)
        return TokenScores.without_ngrams(log_probs * LOG10_E, ids == OOV, starts)

    def read(self, reading: Reading, texts: Sequence[Text]) -> TokenScores:
        """Scores the tokens of texts that go on from what was read before."""
        ids, starts = self.encode_texts(texts, eos=True)
        log_probs = reading.read(self.numbering.rows(ids))
        return TokenScores.without_ngrams(log_probs * LOG10_E, ids == OOV, starts)

    def reader(self) -> "RunningReader":
        """Reads texts one after the other, the state going on from each to the next."""
        return RunningReader(self, Reading(self.network, self.numbering.eos))

    def begin_state(self) -> RecurrentState:
        """The state at the start of a sentence."""
        return self._after(self.null_state(), self.numbering.eos)

    def null_state(self) -> RecurrentState:
        """The state after nothing at all."""
        states = self.network.initial_states(1)
        return RecurrentState(states, states[-1][0])

    def score_word(self, state: RecurrentState, word: Text) -> tuple[WordScore, RecurrentState]:
        """Scores one word after what `state` remembers.

        Args:
            state: from `begin_state`, `null_state`, or the call before.
            word: one word; `</s>` is the end of the sentence.

        Returns:
            The word's score; the state after it.
        """
        written = as_bytes(word)
        found = EOS if written == SPECIAL_WORDS[EOS] else self._find(written)
        word_id = UNK if found is None else found
        log10_prob = float(self.log10_distribution(state)[word_id])
        scored = WordScore(log10_prob, 0, found is None, as_text(written))
        return scored, self.advance(state, word_id)

    def advance(self, state: RecurrentState, word_id: int) -> RecurrentState:
        """The state after one more word, an id of the vocabulary other than `BOS`."""
        return self._after(state, int(self.numbering.row_of_id[word_id]))

    def pack_state(self, state: RecurrentState) -> bytes:
        """A state as bytes, as many after any text; see `lmserve.packed_states`."""
        return seal(pack_states(state.states), self.digest)

    def unpack_state(self, data: bytes) -> RecurrentState:
        """The state of `pack_state`; see `lmserve.language_model`."""
        states = unpack_states(unseal(data, self.digest), self.network)
        return RecurrentState(states, states[-1][0])

    def state_after(self, context: Text, *, bos: bool = True) -> RecurrentState:
        """The state after some words."""
        ids, _ = self.encode_texts([context], eos=False)
        state = self.begin_state() if bos else self.null_state()
        for row in self.numbering.rows(ids).tolist():
            state = self._after(state, row)
        return state

    @torch.inference_mode()
    def log10_distribution(self, state: RecurrentState) -> Floats:
        """log10 P(w | state) of every vocabulary word, float64 [V]; minus infinity for `<s>`."""
        log_probs = self.network.output.log_probs(state.output)[0].double().cpu().numpy()
        scores = np.full(len(self.vocabulary), -np.inf)
        scores[self.numbering.id_of_row] = log_probs * LOG10_E
        return scores

    @torch.inference_mode()
    def _after(self, state: RecurrentState, row: int) -> RecurrentState:
        words = torch.tensor([row], device=self.network.embedding.device)
        output, states = self.network.step(words, state.states)
        return RecurrentState(states, output)

    def _find(self, word: bytes) -> int | None:
        text = np.frombuffer(word, np.uint8)
        ids, _, _ = self.vocabulary.encode(text, self.special_tokens, eos=False, querying=True)
        return int(ids[0]) if len(ids) == 1 and ids[0] != OOV else None


class RunningReader:
    """Texts read one after the other by one `Reading`."""

    def __init__(self, model: RecurrentModel, reading: Reading) -> None:
        self._model = model
        self._reading = reading

    def read(self, texts: Sequence[Text]) -> TokenScores:
        """Scores the next texts; see `lmserve.language_model.Reader`."""
        return self._model.read(self._reading, texts)


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).partition("\n")[0]
        raise OptionError(
            f"this machine has no device {device!r} for PyTorch: {first_line}",
            'Give "cpu", or "cuda" where PyTorch was installed with it and there is a GPU.',
        ) from error
