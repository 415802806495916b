"""Prompts as tokens: their words, the words' ids, and where in the text each begins."""

import re
from dataclasses import dataclass

from lmserve.language_model import LanguageModel
from lmserve.ngram.texts import as_text, join_lines, written_words
from lmserve.service.openai_errors import InvalidRequestError
from lmserve.text.special_tokens import BOS, EOS, SPECIAL_WORDS, UNK, SpecialTokens
from lmserve.text.tokenization import identity
from lmserve.text.word_table import OOV

# What parts words, see `lmserve.text.tokenizer`.
_WORD = re.compile(r"[^ \t\r\n]+")
_MARKS = tuple(map(as_text, SPECIAL_WORDS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A prompt of N tokens.

    Attributes:
        text: as it was written; of token ids, and of models with a tokenizer of their own, the
            tokens joined by spaces, `<s>` and `</s>` left out.
        tokens: as they are shown.
        ids: of the vocabulary; `UNK` for unknown words.
        offsets: where in the text each begins, in characters.
    """

    text: str
    tokens: list[str]
    ids: list[int]
    offsets: list[int]


def prompt_of_text(model: LanguageModel, text: str) -> Prompt:
    """The tokens of a text, as the model's scores have them."""
    found, _ = model.encode_texts([text], eos=False)
    ids = [UNK if word == OOV else word for word in found.tolist()]
    if model.segment is not identity:
        tokens = written_words(model.segment(join_lines([text])), len(ids), model.special_tokens)
        return _joined(tokens, tokens, ids)
    dropped = _MARKS if model.special_tokens is SpecialTokens.SPACE else ()
    words = [word for word in _WORD.finditer(text) if word[0] not in dropped]
    assert len(words) == len(ids), "splitting in Python and in the kernel must agree"
    tokens, offsets = [word[0] for word in words], [word.start() for word in words]
    return Prompt(text=text, tokens=tokens, ids=ids, offsets=offsets)


def prompt_of_ids(model: LanguageModel, ids: list[int]) -> Prompt:
    """A prompt that was given as ids.

    Raises:
        InvalidRequestError: one is none of the vocabulary, or `<s>` does not come first.
    """
    _check(ids, len(model.vocabulary))
    tokens = [as_text(model.vocabulary[word]) for word in ids]
    parts = zip(ids, tokens, strict=True)
    written = ["" if word in (BOS, EOS) else token for word, token in parts]
    return _joined(tokens, written, ids)


def _check(ids: list[int], words: int) -> None:
    for i, word in enumerate(ids):
        if not 0 <= word < words:
            raise InvalidRequestError(
                f"prompt: token {word} is none of the model's, which are 0 to {words - 1}.",
                "prompt",
            )
        if word == BOS and i > 0:
            raise InvalidRequestError(
                f"prompt: token {BOS}, <s>, is in place {i}; it is possible only in place 0.",
                "prompt",
            )


def _joined(tokens: list[str], written: list[str], ids: list[int]) -> Prompt:
    """A prompt whose text is `written`, joined by spaces; what is empty takes no space."""
    text = ""
    offsets = []
    for part in written:
        space = " " if text and part else ""
        offsets.append(len(text) + len(space))
        text += space + part
    return Prompt(text=text, tokens=tokens, ids=ids, offsets=offsets)
