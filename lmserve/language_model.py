"""What every finished model can do, whatever is inside it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lmserve.errors import OptionError
from lmserve.ngram.foretelling import best
from lmserve.ngram.texts import as_text, join_lines, written_words
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.sampling import Drawn, SamplingOptions, choose
from lmserve.scorer import NextWord, Text, TextScores, TokenScores, WordScore, perplexity
from lmserve.text.batching import line_offsets
from lmserve.text.special_tokens import BOS, EOS, SpecialTokens
from lmserve.text.tokenization import Segment
from lmserve.text.word_table import Ids, Offsets


class Reader(Protocol):
    """Scores texts one after the other, each perhaps in the light of those before it."""

    def read(self, texts: Sequence[Text]) -> TokenScores:
        """Scores the tokens of the next texts, sentence ends included."""
        ...


class LanguageModel(ABC):
    """A model that was opened; satisfies `lmserve.scorer.Scorer`.

    Attributes:
        special_tokens: what `<unk>`, `<s>`, `</s>` in a text stand for.
        segment: turns text into tokens.
        vocabulary: its words.
        carries_state: whether what it reads depends on the lines before.
        costly: whether a text takes milliseconds rather than microseconds, and less of them in a
            batch of texts.
    """

    carries_state: bool = False
    costly: bool = False
    special_tokens: SpecialTokens
    segment: Segment
    vocabulary: Vocabulary

    @property
    @abstractmethod
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that determines a score."""

    @abstractmethod
    def score_tokens(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TokenScores:
        """Scores every token of a batch of texts; the options as in `score_texts`."""

    @abstractmethod
    def begin_state(self) -> Any:
        """The state at the start of a sentence."""

    @abstractmethod
    def null_state(self) -> Any:
        """The state after nothing at all."""

    @abstractmethod
    def score_word(self, state: Any, word: Text) -> tuple[WordScore, Any]:
        """Scores one word after what `state` remembers.

        Args:
            state: from `begin_state`, `null_state`, or the call before.
            word: one word; `</s>` is the end of the sentence.

        Returns:
            The word's score; the state after it.
        """

    def next_sentence(self, state: Any) -> Any:
        """The state at the start of a sentence, as `reader` has it.

        Args:
            state: after the end of the sentence before; models that carry it go on from it.
        """
        return state if self.carries_state else self.begin_state()

    @abstractmethod
    def pack_state(self, state: Any) -> bytes:
        """A state as bytes, for a model of the same digest in any process on any machine."""

    @abstractmethod
    def unpack_state(self, data: bytes) -> Any:
        """The state of `pack_state`, to the bit. Nothing in `data` is trusted.

        Raises:
            StateError: it is damaged, or another model's.
        """

    @abstractmethod
    def advance(self, state: Any, word_id: int) -> Any:
        """The state after one more word, an id of the vocabulary other than `BOS`."""

    @abstractmethod
    def state_after(self, context: Text, *, bos: bool = True) -> Any:
        """The state after some words, as `log10_distribution` takes it."""

    @abstractmethod
    def log10_distribution(self, state: Any) -> npt.NDArray[np.float64]:
        """log10 P(w | state) of every vocabulary word, float64 [V]; minus infinity for `<s>`."""

    def distribution(self, context: Text, *, bos: bool = True) -> npt.NDArray[np.float64]:
        """P(w | context) of every vocabulary word, float64 [V]; sums to 1, with 0 for `<s>`."""
        return np.power(10.0, self.log10_distribution(self.state_after(context, bos=bos)))

    def next_words(self, context: Text, *, top: int = 10, bos: bool = True) -> list[NextWord]:
        """The most probable next words; see `lmserve.scorer.Scorer`.

        Equally probable words come in the vocabulary's order. `<unk>` is no word to propose.

        Raises:
            OptionError: `top` is below 1.
        """
        return self.next_words_after(self.state_after(context, bos=bos), top=top)

    def next_words_after(self, state: Any, *, top: int = 10) -> list[NextWord]:
        """The most probable next words after what a state remembers, as `next_words` gives them.

        Raises:
            OptionError: `top` is below 1.
        """
        if top < 1:
            raise OptionError(f"top is {top}", "Ask for 1 next word or more.")
        return self.likeliest(self.log10_distribution(state), top)

    def likeliest(self, scores: npt.NDArray[np.float64], top: int) -> list[NextWord]:
        """The most probable words of a `log10_distribution`, as `next_words` gives them."""
        # The words that cannot be proposed have the first two ids.
        return [
            NextWord(as_text(self.vocabulary[word]), float(scores[word]))
            for word in best(scores[BOS + 1 :], top) + BOS + 1
        ]

    def draw(
        self, state: Any, options: SamplingOptions, *, index: int = 0, max_words: int = 100
    ) -> Iterator[Drawn]:
        """Draws words until the sentence ends, which is the last, or there are `max_words`.

        Args:
            state: what the model remembers of the words before.
            options: how words are drawn.
            index: which of the sentences with this seed.
            max_words: 0 or more.
        """
        stream = options.stream(index)
        for _ in range(max_words):
            scores = self.log10_distribution(state)
            word = choose(scores, options, stream)
            yield Drawn(word, float(scores[word]), scores)
            if word == EOS:
                return
            state = self.advance(state, word)

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        max_words: int = 100,
        context: Text = "",
        bos: bool = True,
    ) -> list[str]:
        """Draws sentences by their probabilities; n-gram models the same ones on every machine.

        The probabilities of a network depend on the processor in their last digits, and so may,
        once in a long while, a word.

        Args:
            n: how many; the first ones do not depend on it.
            seed: any integer; another one, other sentences.
            max_words: a sentence that has not ended by then is cut off.
            context: words that every sentence goes on from; they are not repeated.
            bos: the context begins a sentence.

        Raises:
            OptionError: `n` or `max_words` is negative.
        """
        if n < 0 or max_words < 0:
            raise OptionError(f"{n} sentences of {max_words} words are asked for", "Ask for more.")
        first, options = self.state_after(context, bos=bos), SamplingOptions(seed=seed)
        sentences = (self.draw(first, options, index=i, max_words=max_words) for i in range(n))
        return [
            " ".join(as_text(self.vocabulary[word]) for word, *_ in drawn if word != EOS)
            for drawn in sentences
        ]

    def encode_texts(self, texts: Sequence[Text], *, eos: bool) -> tuple[Ids, Offsets]:
        """Ids of all texts' tokens, uint32 [N], and where each text's begin, int64 [B + 1].

        Tokens outside the vocabulary are `OOV`.
        """
        data = np.frombuffer(self.segment(join_lines(texts)), np.uint8)
        offsets = line_offsets(data)
        return self.vocabulary.encode_texts(data, offsets, self.special_tokens, eos=eos)

    def score_texts(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TextScores:
        """Scores a batch of texts; see `lmserve.scorer.Scorer`."""
        return self.score_tokens(texts, bos=bos, eos=eos).texts()

    def score_words(self, text: Text, *, bos: bool = True, eos: bool = True) -> list[WordScore]:
        """Scores one text word by word; see `lmserve.scorer.Scorer`."""
        return self.score_words_of([text], bos=bos, eos=eos)[0]

    def score_words_of(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> list[list[WordScore]]:
        """Scores a batch of texts word by word, each as `score_words` does."""
        scores = self.score_tokens(texts, bos=bos, eos=eos)
        every: list[list[WordScore]] = []
        for text, (begin, end) in zip(texts, pairwise(scores.starts.tolist()), strict=True):
            data = self.segment(join_lines([text]))
            words = written_words(data, end - begin - eos, self.special_tokens)
            columns = (
                column[begin:end].tolist()
                for column in (scores.log10_prob, scores.ngram_length, scores.oov)
            )
            every.append(list(map(WordScore, *columns, [*words, "</s>"] if eos else words)))
        return every

    def score(self, text: Text, *, bos: bool = True, eos: bool = True) -> float:
        """log10 P(text); `bos`, `eos` as in `score_texts`. Like `kenlm.Model.score`."""
        return float(self.score_texts([text], bos=bos, eos=eos).log10_prob[0])

    def full_scores(self, text: Text, *, bos: bool = True, eos: bool = True) -> Iterator[WordScore]:
        """Scores word by word, the first three fields like `kenlm.Model.full_scores`."""
        return iter(self.score_words(text, bos=bos, eos=eos))

    def perplexity(self, text: Text) -> float:
        """10^(-log10 P(text) / words), the sentence end counted as a word; infinite for P = 0."""
        scores = self.score_texts([text])
        return perplexity(float(scores.log10_prob[0]), int(scores.tokens[0]))

    def reader(self) -> Reader:
        """Reads texts as a model of sentences does: each begins anew."""
        return _Sentences(self)


class _Sentences:
    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def read(self, texts: Sequence[Text]) -> TokenScores:
        return self._model.score_tokens(texts)
