"""Text drawn word by word from any model, until the sentence ends or a stop sequence comes."""

from collections.abc import Generator, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from lmserve.language_model import LanguageModel
from lmserve.ngram.texts import as_text
from lmserve.sampling import SamplingOptions
from lmserve.scorer import NextWord, Text
from lmserve.text.special_tokens import EOS, UNK
from lmserve.text.word_table import OOV


class Finish(StrEnum):
    """Why there are no more words."""

    END = "end"  # The model ended the sentence.
    STOP = "stop"  # A stop sequence came.
    LENGTH = "length"  # There are as many words as were asked for.


class Said(NamedTuple):
    """A word that was drawn.

    Attributes:
        word: itself; `</s>` for the sentence's end.
        offset: where in the text it begins, in characters.
        text: what it adds to the text: itself, a space before it where one is due, without what
            belongs to a stop sequence; nothing for the sentence's end.
        log10_prob: log10 P(word | the words before it), whatever the options make of it.
        top: the most probable words in its place, as many as were asked for.
    """

    word: str
    offset: int
    text: str
    log10_prob: float
    top: Sequence[NextWord]


def read(model: LanguageModel, context: Text, *, bos: bool = True) -> Generator[None, None, Any]:
    """Reads words one by one, as a long context may take seconds; returns the state after them.

    Args:
        model: what remembers them.
        context: the words.
        bos: they begin a sentence.
    """
    ids, _ = model.encode_texts([context], eos=False)
    state = model.begin_state() if bos else model.null_state()
    for word_id in ids.tolist():
        state = model.advance(state, UNK if word_id == OOV else word_id)
        yield
    return state


def say(
    model: LanguageModel,
    state: Any,
    options: SamplingOptions,
    *,
    index: int = 0,
    max_words: int = 100,
    stops: Sequence[str] = (),
    spaced: bool = False,
    top: int = 0,
) -> Iterator[Said | Finish | None]:
    """Yields words as soon as they are certain, then why there are no more.

    None stands for a word that was drawn and is held back, as it may begin a stop sequence: whoever
    shares a processor can turn to others after it.

    Args:
        model: what is drawn from.
        state: what it remembers of the words before.
        options: how words are drawn.
        index: which of the sentences with this seed.
        max_words: at most so many words are drawn, the sentence's end one of them.
        stops: the text ends before the first of these that comes; none is empty.
        spaced: the first word has a space before it, too.
        top: how many of the most probable words are told with each.
    """
    draft = Draft(stops, spaced=spaced)
    for drawn in model.draw(state, options, index=index, max_words=max_words):
        word = as_text(model.vocabulary[drawn.word_id])
        likeliest = model.likeliest(drawn.scores, top) if top else ()
        if drawn.word_id == EOS:
            yield from draft.rest()
            yield Said(word, len(draft.text), "", drawn.log10_prob, likeliest)
            yield Finish.END
            return
        yield None
        yield from draft.add(word, drawn.log10_prob, likeliest)
        if draft.stopped:
            yield Finish.STOP
            return
    yield from draft.rest()
    yield Finish.LENGTH


class Draft:
    """Text that grows by words until it has a stop sequence; words that may begin one are held.

    Args:
        stops: the stop sequences, none of them empty.
        spaced: the first word has a space before it, too.
    """

    def __init__(self, stops: Sequence[str], *, spaced: bool = False) -> None:
        self.text = ""
        self.stopped = False
        self._stops = stops
        self._spaced = spaced
        self._held: list[Said] = []

    def add(self, word: str, log10_prob: float, top: Sequence[NextWord]) -> Iterator[Said]:
        """Adds a word; yields the words that are certain now."""
        before = len(self.text)
        written = f" {word}" if before or self._spaced else word
        self.text += written
        offset = len(self.text) - len(word)
        self._held.append(Said(word, offset, written, log10_prob, top))
        places = [self.text.find(stop, max(0, before - len(stop) + 1)) for stop in self._stops]
        found = [place for place in places if place >= 0]
        if found:
            self.text = self.text[: min(found)]
            self.stopped = True
            yield from self.rest()
        else:
            certain = len(self.text) - max(map(self._begun, self._stops), default=0)
            while self._held and _end(self._held[0]) <= certain:
                yield self._held.pop(0)

    def rest(self) -> Iterator[Said]:
        """The words that were held, without what lies behind the text's end."""
        for said in self._held:
            if said.offset < len(self.text):
                surplus = max(0, _end(said) - len(self.text))
                yield said._replace(text=said.text[: len(said.text) - surplus])
        self._held.clear()

    def _begun(self, stop: str) -> int:
        """How many characters at the text's end may be the beginning of a stop sequence."""
        longest = min(len(stop) - 1, len(self.text))
        return next((n for n in range(longest, 0, -1) if self.text.endswith(stop[:n])), 0)


def _end(said: Said) -> int:
    return said.offset + len(said.word)
