"""A finished mixture: models over the same words, opened and queried as one."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lmserve.errors import CorruptModelError, OptionError
from lmserve.language_model import LanguageModel, Reader
from lmserve.loading import kind_of, load
from lmserve.mixing.combining import Floats, Method, combine_linear, combine_log_linear
from lmserve.mixing.components import Component, check_components
from lmserve.mixing.foretelling import Foreteller
from lmserve.mixing.manifest import MixtureManifest, mixture_digest
from lmserve.mixing.reading import (
    LinearReader,
    LogLinearReader,
    RememberingReader,
    log_linear_scores,
    mix_scores,
)
from lmserve.mixing.state_packing import join_states, split_states
from lmserve.mixing.word_cache import NOTHING_READ, CacheSettings, WordCache
from lmserve.ngram.texts import as_bytes
from lmserve.packed_states import seal, unseal
from lmserve.scorer import Text, TokenScores, WordScore
from lmserve.text.special_tokens import BOS, EOS, SPECIAL_WORDS, UNK, SpecialTokens
from lmserve.text.word_table import OOV, Ids

_Part = TypeVar("_Part")


class MixtureState(NamedTuple):
    """What a mixture remembers.

    Attributes:
        parts: what each component does.
        recent: what the cache does, ids of words, uint32 [<= M]; none without a cache.
    """

    parts: tuple[Any, ...]
    recent: Ids = NOTHING_READ


class Mixture(LanguageModel):
    """A mixture opened for queries; satisfies `lmserve.scorer.Scorer`.

    A word of a linear mixture costs what it costs its components. A word of a log-linear one costs
    the components' probabilities of all words, whose sum it is divided by. With a cache, texts are
    cut into tokens once more, and word by word, each costs a look at all that is remembered.

    Args:
        components: K models over the same words, checked by `check_components`.
        weights: float64 [K], none below 0; of a linear mixture, with sum 1.
        method: how they are combined.
        cache: of the words just read; None is none.
    """

    def __init__(
        self,
        components: Sequence[Component],
        weights: Sequence[float],
        method: Method,
        cache: CacheSettings | None = None,
    ) -> None:
        self.components = tuple(components)
        self.weights: Floats = np.array(weights, np.float64)
        self.method = method
        if (
            len(self.weights) != len(self.components)
            or not (self.weights >= 0).all()
            or (method is Method.LINEAR and abs(self.weights.sum() - 1) > 1e-9)
        ):
            raise OptionError(
                f"the weights {list(weights)} of {len(self.components)} models are none of a "
                f"{method} mixture",
                "Give a weight for each model, 0 or more; of a linear mixture, with sum 1.",
            )
        first = self.components[0]
        self.cache = None if cache is None else WordCache(cache, len(first.vocabulary))
        carrying = any(model.carries_state for model in self.components)
        self.carries_state = carrying or self.cache is not None
        self.costly = method is Method.LOG_LINEAR or any(model.costly for model in self.components)
        self.special_tokens = first.special_tokens
        self.segment = first.segment
        self.vocabulary = first.vocabulary

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        special_tokens: SpecialTokens | None = None,
        check: bool = False,
        device: str = "cpu",
    ) -> "Mixture":
        """Opens the mixture in a folder, and its components where they lie.

        Args:
            path: the folder that `lmserve mix` wrote.
            special_tokens: how to take them in a text; None means as the components were made.
            check: read every byte of the components and compare checksums.
            device: where recurrent components compute.

        Raises:
            ModelError: there is no mixture in this folder, or a component is not where it was.
            CorruptModelError: it was changed, or a component is another model than was mixed.
        """
        folder = Path(path)
        manifest = MixtureManifest.read(folder)
        models = []
        for facts in manifest.components:
            if kind_of(folder / facts.path) == "mixture":
                raise CorruptModelError(
                    f"{folder}: its component {facts.path} is a mixture itself",
                    "Mix the models again; mixtures are not mixed.",
                )
            model = load(folder / facts.path, check=check, device=device)
            if model.digest != facts.digest:
                raise CorruptModelError(
                    f"{folder}: its component {facts.path} has the digest {model.digest[:16]}..., "
                    f"the model that was mixed had {facts.digest[:16]}...",
                    "Mix the models again, or put the former one back; --copy keeps copies.",
                )
            if special_tokens not in (None, model.special_tokens):
                model = load(folder / facts.path, special_tokens=special_tokens, device=device)
            models.append(model)
        names = [facts.path for facts in manifest.components]
        weights = [facts.weight for facts in manifest.components]
        components = check_components(models, names, manifest.method)
        return cls(components, weights, manifest.method, manifest.cache)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that determines a score."""
        digests = [model.digest for model in self.components]
        cache = None if self.cache is None else self.cache.settings
        return mixture_digest(self.method, self.weights.tolist(), digests, cache)

    def score_tokens(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TokenScores:
        """Scores every token of a batch of texts; see `lmserve.language_model`."""
        scores = self._score_tokens(texts, bos=bos, eos=eos)
        if self.cache is None:
            return scores
        ids, starts = self.encode_texts(texts, eos=eos)
        recalled = self.cache.recall(ids, starts)
        return replace(scores, log10_prob=self.cache.blend(scores.log10_prob, recalled))

    def _score_tokens(self, texts: Sequence[Text], *, bos: bool, eos: bool) -> TokenScores:
        """The same without the cache."""
        if self.method is Method.LINEAR:
            parts = [model.score_tokens(texts, bos=bos, eos=eos) for model in self.components]
            return mix_scores(parts, self.weights)
        ids, starts = self.encode_texts(texts, eos=eos)
        scores = [np.empty(0)]
        for begun, ended in pairwise(starts):
            foreteller = Foreteller(self.components, bos=bos)
            scores.append(log_linear_scores(foreteller, ids[begun:ended], self.weights))
        return TokenScores.without_ngrams(np.concatenate(scores), ids == OOV, starts)

    def reader(self) -> Reader:
        """Reads texts one after the other, each component as it does by itself."""
        reader: Reader
        if self.method is Method.LINEAR:
            reader = LinearReader([model.reader() for model in self.components], self.weights)
        else:
            reader = LogLinearReader(self.components, self.weights)
        return reader if self.cache is None else RememberingReader(reader, self.cache, self)

    def begin_state(self) -> MixtureState:
        """The state at the start of a sentence."""
        return MixtureState(tuple(model.begin_state() for model in self.components))

    def null_state(self) -> MixtureState:
        """The state after nothing at all."""
        return MixtureState(tuple(model.null_state() for model in self.components))

    def advance(self, state: MixtureState, word_id: int) -> MixtureState:
        """The state after one more word, an id of the vocabulary other than `BOS`."""
        parts = tuple(model.advance(part, word_id) for model, part in self._each(state.parts))
        return MixtureState(parts, self._remember(state.recent, np.array([word_id], np.uint32)))

    def state_after(self, context: Text, *, bos: bool = True) -> MixtureState:
        """The state after some words."""
        parts = tuple(model.state_after(context, bos=bos) for model in self.components)
        ids, _ = self.encode_texts([context], eos=False)
        return MixtureState(parts, self._remember(NOTHING_READ, ids))

    def next_sentence(self, state: MixtureState) -> MixtureState:
        """See `lmserve.language_model`: each component as it does by itself; the cache goes on."""
        parts = tuple(model.next_sentence(part) for model, part in self._each(state.parts))
        return MixtureState(parts, state.recent)

    def pack_state(self, state: MixtureState) -> bytes:
        """The components' states as bytes, and the cache's; see `lmserve.packed_states`."""
        packed = [model.pack_state(part) for model, part in self._each(state.parts)]
        if self.cache is not None:
            packed.append(self.cache.pack_state(state.recent))
        return seal(join_states(packed), self.digest)

    def unpack_state(self, data: bytes) -> MixtureState:
        """The state of `pack_state`; see `lmserve.language_model`."""
        count = len(self.components)
        packed = split_states(unseal(data, self.digest), count + (self.cache is not None))
        parts = tuple(model.unpack_state(part) for model, part in self._each(packed[:count]))
        if self.cache is None:
            return MixtureState(parts)
        return MixtureState(parts, self.cache.unpack_state(packed[count]))

    def _each(self, parts: Sequence[_Part]) -> Iterable[tuple[Component, _Part]]:
        return zip(self.components, parts, strict=True)

    def _remember(self, recent: Ids, ids: Ids) -> Ids:
        return NOTHING_READ if self.cache is None else self.cache.after(recent, ids)

    def score_word(self, state: MixtureState, word: Text) -> tuple[WordScore, MixtureState]:
        """Scores one word after what `state` remembers.

        Args:
            state: from `begin_state`, `null_state`, or the call before.
            word: one word; `</s>` is the end of the sentence.

        Returns:
            The word's score; the state after it.
        """
        told = [model.score_word(part, word) for model, part in self._each(state.parts)]
        first = told[0][0]
        found = self._find(word, first)
        if self.method is Method.LINEAR:
            each = np.array([[score.log10_prob] for score, _ in told])
            log10_prob = combine_linear(each, self.weights)
        else:
            log10_prob = self._log10_distribution(state)[found]
        if self.cache is not None:
            recalled = self.cache.recall_word(state.recent, int(found[0]))
            log10_prob = self.cache.blend(log10_prob, recalled)
        parts = tuple(part for _, part in told)
        after = MixtureState(parts, self._remember(state.recent, found))
        return WordScore(float(log10_prob[0]), 0, first.oov, first.word), after

    def _find(self, word: Text, score: WordScore) -> Ids:
        """The id of a word that components scored, uint32 [1]."""
        if as_bytes(word) == SPECIAL_WORDS[EOS]:
            return np.array([EOS], np.uint32)
        if score.oov:
            return np.array([UNK], np.uint32)
        # As the components do, which forgive white space around a word.
        found, _ = self.encode_texts([word], eos=False)
        return found

    def log10_distribution(self, state: MixtureState) -> Floats:
        """log10 P(w | state) of every vocabulary word, float64 [V]; minus infinity for `<s>`."""
        scores = self._log10_distribution(state)
        if self.cache is None:
            return scores
        return self.cache.blend(scores, self.cache.recall_all(state.recent))

    def _log10_distribution(self, state: MixtureState) -> Floats:
        """The same without the cache."""
        told = np.stack([model.log10_distribution(part) for model, part in self._each(state.parts)])
        if self.method is Method.LOG_LINEAR:
            (scores,) = combine_log_linear(told[:, np.newaxis], self.weights)
            return np.asarray(scores)
        scores = combine_linear(told, self.weights)
        scores[BOS] = -np.inf
        return scores
