"""What may be mixed with what."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from lmserve.errors import OptionError
from lmserve.language_model import LanguageModel, Reader
from lmserve.mixing.combining import Floats, Method
from lmserve.ngram.model import NgramModel
from lmserve.ngram.smoothing_methods import Smoothing
from lmserve.ngram.texts import as_text
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.scorer import Text, TokenScores, WordScore
from lmserve.text.special_tokens import UNK, SpecialTokens
from lmserve.text.tokenization import Segment
from lmserve.text.word_table import Ids, Offsets

_SHOWN_WORDS = 5


@runtime_checkable
class Component(Protocol):
    """A model with states: an n-gram model or a recurrent network."""

    special_tokens: SpecialTokens
    segment: Segment
    vocabulary: Vocabulary
    carries_state: bool
    costly: bool
    # Of the model's folder; a mixture has none, so that mixtures are not mixed.
    manifest: Any

    @property
    def digest(self) -> str:
        """See `LanguageModel`."""
        ...

    def encode_texts(self, texts: Sequence[Text], *, eos: bool) -> tuple[Ids, Offsets]:
        """See `LanguageModel`."""
        ...

    def score_tokens(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TokenScores:
        """See `LanguageModel`."""
        ...

    def reader(self) -> Reader:
        """See `LanguageModel`."""
        ...

    def begin_state(self) -> Any:
        """The state at the start of a sentence."""
        ...

    def null_state(self) -> Any:
        """The state after nothing at all."""
        ...

    def advance(self, state: Any, word_id: int) -> Any:
        """The state after one more word."""
        ...

    def state_after(self, context: Text, *, bos: bool = True) -> Any:
        """The state after some words."""
        ...

    def score_word(self, state: Any, word: Text) -> tuple[WordScore, Any]:
        """The score of one word, and the state after it."""
        ...

    def next_sentence(self, state: Any) -> Any:
        """See `LanguageModel`."""
        ...

    def pack_state(self, state: Any) -> bytes:
        """See `LanguageModel`."""
        ...

    def unpack_state(self, data: bytes) -> Any:
        """See `LanguageModel`."""
        ...

    def log10_distribution(self, state: Any) -> Floats:
        """log10 P of every word of the vocabulary, float64 [V]."""
        ...


def check_components(
    models: Sequence[LanguageModel], names: Sequence[object], method: Method
) -> tuple[Component, ...]:
    """Refuses models that cannot be mixed.

    Args:
        models: to be mixed.
        names: what to call them in an error: their folders.
        method: by which.

    Raises:
        OptionError: they are none, mixtures themselves, of different words, or take text in
            different ways; or a linear mixture would be of scores that are no probabilities.
    """
    if not models:
        raise OptionError("a mixture of no models", "Name two model folders or more.")
    components: list[Component] = []
    for name, model in zip(names, models, strict=True):
        if not isinstance(model, Component):
            raise OptionError(f"{name} is a mixture itself", "Name the models that it is made of.")
        if method is Method.LINEAR and _no_probabilities(model):
            raise OptionError(
                f"the scores of {name} are no probabilities ({Smoothing.STUPID_BACKOFF}), nor "
                "would those of a linear mixture be",
                f"Mix it by --method {Method.LOG_LINEAR}, or build it with another --smoothing.",
            )
        _check_alike(components, model, names[0], name)
        components.append(model)
    return tuple(components)


def _no_probabilities(model: Component) -> bool:
    return isinstance(model, NgramModel) and model.manifest.smoothing is Smoothing.STUPID_BACKOFF


def _check_alike(
    others: Sequence[Component], model: Component, first_name: object, name: object
) -> None:
    if not others:
        return
    first = others[0]
    _check_words(first.vocabulary, model.vocabulary, first_name, name)
    for what, one, other in (
        ("special tokens", first.special_tokens, model.special_tokens),
        ("tokens", first.manifest.tokenization, model.manifest.tokenization),
        ("<unk> counted as a word", _unk_is_a_word(first), _unk_is_a_word(model)),
    ):
        if one != other:
            raise OptionError(
                f"{first_name} and {name} take text in different ways: {what}: {one}, {other}",
                "Make both with the same --special-tokens, --tokenizer and --normalize.",
            )


def _check_words(one: Vocabulary, other: Vocabulary, name: object, other_name: object) -> None:
    if one.words().equals(other.words()):
        return
    mine, theirs = set(one), set(other)
    differing = sorted(mine ^ theirs)[:_SHOWN_WORDS]
    shown = ", ".join(as_text(word) for word in differing) or "the same words in another order"
    raise OptionError(
        f"{name} has {len(mine):,} words, {other_name} {len(theirs):,}; only one of them has "
        f"{len(mine ^ theirs):,}, such as: {shown}",
        "Make both from the same text with the same vocabulary: --vocab-size or --vocab-file.",
    )


def _unk_is_a_word(model: Component) -> bool:
    keeps = model.special_tokens is SpecialTokens.KEEP_UNK
    return keeps and bool(model.vocabulary.counts[UNK] > 0)
