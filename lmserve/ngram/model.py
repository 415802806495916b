"""A finished n-gram model: a folder of tables, mapped into memory and queried."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmserve.errors import CorruptModelError, OptionError
from lmserve.ngram.manifest import (
    CONTEXTS_FILE,
    CONTEXTS_SCHEMA,
    NGRAMS_FILE,
    NGRAMS_SCHEMA,
    Manifest,
    verify,
)
from lmserve.ngram.query import score_lines, sum_lines, walk
from lmserve.ngram.smoothing import Floats
from lmserve.ngram.tables import as_numpy, open_table
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.scorer import NextWord, Text, TextScores, WordScore, perplexity
from lmserve.text.special_tokens import BOS, SPECIAL_WORDS, UNK, SpecialTokens
from lmserve.text.word_table import OOV, Ids, Offsets


class NgramModel:
    """An n-gram model opened for queries; satisfies `lmserve.scorer.Scorer`.

    The tables are mapped, not read: opening costs the same for any size, and the processes of one
    machine share them. Words are split at spaces, tabs and carriage returns; a line feed inside a
    text counts as a space. The marks `<s>`, `</s>` and `<unk>` in a text are unknown words, or
    what `--special-tokens` said when the model was built.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, special_tokens: SpecialTokens | None = None
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.special_tokens = special_tokens or manifest.special_tokens
        self.vocabulary = Vocabulary.open(folder)
        contexts = open_table(folder / CONTEXTS_FILE, CONTEXTS_SCHEMA)
        ngrams = open_table(folder / NGRAMS_FILE, NGRAMS_SCHEMA)
        self.context_word: Ids = as_numpy(contexts["word"])
        self.first_child = as_numpy(contexts["first_child"])
        self.first_ngram = as_numpy(contexts["first_ngram"])
        self.log10_backoff: Floats = as_numpy(contexts["log10_backoff"])
        self.ngram_word: Ids = as_numpy(ngrams["word"])
        self.log10_prob: Floats = as_numpy(ngrams["log10_prob"])
        self._check_sizes()

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        special_tokens: SpecialTokens | None = None,
        check: bool = False,
    ) -> "NgramModel":
        """Opens the model in a folder.

        Args:
            path: the folder that `lmserve build` wrote.
            special_tokens: how to take them in a text; None means as the model was built.
            check: read every byte and compare its checksum. Without it, what is compared are the
                manifest's own digest and the sizes of all files.

        Raises:
            ModelError: there is no model in this folder, or one of another format version.
            CorruptModelError: it was changed or cut short.
        """
        folder = Path(path)
        manifest = Manifest.read(folder)
        if check:
            verify(folder, manifest)
        return cls(folder, manifest, special_tokens)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that determines a score."""
        if self.special_tokens is self.manifest.special_tokens:
            return self.manifest.digest
        chosen = f"{self.manifest.digest} {self.special_tokens}"
        return hashlib.sha256(chosen.encode()).hexdigest()

    @property
    def order(self) -> int:
        """The longest n-gram's number of words."""
        return self.manifest.order

    def __contains__(self, word: Text) -> bool:
        return self.vocabulary.find(_as_bytes(word)) is not None

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

    def score_texts(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TextScores:
        """Scores a batch of texts; see `lmserve.scorer.Scorer`."""
        return self.score_buffer(_join_lines(texts), bos=bos, eos=eos)

    def score_buffer(
        self,
        data: bytes,
        *,
        bos: bool = True,
        eos: bool = True,
    ) -> TextScores:
        """Scores every line of some bytes: the fastest way in, no Python object per line."""
        ids, lines = self.encode(data, eos=eos)
        scores, _ = self.score_ids(ids, lines, bos=bos)
        total, known, oov = sum_lines(ids, lines, scores)
        return TextScores(log10_prob=total, known_log10_prob=known, tokens=np.diff(lines), oov=oov)

    def score_words(self, text: Text, *, bos: bool = True, eos: bool = True) -> list[WordScore]:
        """Scores one text word by word; see `lmserve.scorer.Scorer`."""
        data = _join_lines([text])
        ids, lines = self.encode(data, eos=eos)
        scores, lengths = self.score_ids(ids, lines, bos=bos)
        words = self._written_words(data, len(ids) - eos)
        if eos:
            words.append("</s>")
        return [
            WordScore(float(score), int(length), bool(word_id == OOV), word)
            for score, length, word_id, word in zip(scores, lengths, ids, words, strict=True)
        ]

    def encode(self, data: bytes, *, eos: bool) -> tuple[Ids, Offsets]:
        """Word ids of every line, uint32 [N], and where each line's begin, int64 [L + 1]."""
        text = np.frombuffer(data, np.uint8)
        ids, lines, _ = self.vocabulary.encode(text, self.special_tokens, eos=eos, querying=True)
        return ids, lines

    def score_ids(
        self, ids: Ids, lines: Offsets, *, bos: bool
    ) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """log10 probability, float64 [N], and n-gram length, uint8 [N], of encoded words."""
        scores, lengths = score_lines(
            ids,
            lines,
            bos,
            self.order,
            self.context_word,
            self.first_child,
            self.first_ngram,
            self.log10_backoff,
            self.ngram_word,
            self.log10_prob,
        )
        return scores, lengths

    def context_ids(self, context: Text, *, bos: bool = True) -> Ids:
        """The last words of a context that can matter, the nearest first: uint32 [<= n - 1]."""
        ids, _ = self.encode(_join_lines([context]), eos=False)
        ids = np.where(ids == OOV, UNK, ids).astype(np.uint32)
        history = np.concatenate(([BOS], ids) if bos else (ids,))[::-1][: self.order - 1]
        return np.ascontiguousarray(history, np.uint32)

    def distribution(self, context: Text, *, bos: bool = True) -> Floats:
        """P(w | context) of every vocabulary word, float64 [V]; sums to 1, with 0 for `<s>`.

        Raises:
            CorruptModelError: an n-gram ends in a word that the vocabulary does not have.
        """
        path = np.empty(self.order + 1, np.int64)
        depth = walk(self.context_ids(context, bos=bos), self.context_word, self.first_child, path)
        probability: Floats = 10.0 ** self.log10_prob[: len(self.vocabulary)]
        for row in path[1 : depth + 1]:
            grams = slice(max(self.first_ngram[row], 0), self.first_ngram[row + 1])
            probability *= 10.0 ** self.log10_backoff[row]
            words = self.ngram_word[grams]
            if len(words) and words.max() >= len(probability):
                raise CorruptModelError(
                    f"{self.folder}: an n-gram ends in word {words.max()} of {len(probability)}",
                    "Build the model again, or copy it again.",
                )
            probability[words] = 10.0 ** self.log10_prob[grams]
        return probability

    def next_words(self, context: Text, *, top: int = 10, bos: bool = True) -> list[NextWord]:
        """The most probable next words; see `lmserve.scorer.Scorer`.

        Equally probable words come in the vocabulary's order. `<unk>` is no word to propose.

        Raises:
            OptionError: `top` is below 1.
        """
        if top < 1:
            raise OptionError(f"top is {top}", "Ask for 1 next word or more.")
        probability = self.distribution(context, bos=bos)
        probability[[UNK, BOS]] = -1.0
        best = np.argsort(-probability, kind="stable")[: min(top, len(probability) - 2)]
        with np.errstate(divide="ignore"):
            log10_prob = np.log10(probability[best])
        return [
            NextWord(_as_text(self.vocabulary[word]), float(score))
            for word, score in zip(best, log10_prob, strict=True)
        ]

    def _written_words(self, data: bytes, count: int) -> list[str]:
        """The words of one line as they were written, those that `space` drops left out."""
        words = data.replace(b"\t", b" ").replace(b"\r", b" ").replace(b"\n", b" ").split(b" ")
        dropped = SPECIAL_WORDS if self.special_tokens is SpecialTokens.SPACE else ()
        written = [_as_text(word) for word in words if word and word not in dropped]
        assert len(written) == count, "splitting in Python and in the kernel must agree"
        return written

    def _check_sizes(self) -> None:
        manifest, contexts, ngrams = self.manifest, len(self.context_word), len(self.ngram_word)
        whole = (
            manifest.ngrams[:1] == [len(self.vocabulary)]
            and sum(manifest.ngrams) == ngrams
            and sum(manifest.contexts) + 1 == contexts
            and len(manifest.ngrams) == len(manifest.contexts) == manifest.order
        )
        if not whole:
            raise CorruptModelError(
                f"{self.folder}: {len(self.vocabulary):,} words, {ngrams:,} n-grams and "
                f"{contexts - 1:,} contexts, but the manifest says {manifest.ngrams} and "
                f"{manifest.contexts}",
                "Build the model again, or copy it again.",
            )


def _as_bytes(text: Text) -> bytes:
    # A lone surrogate cannot be UTF-8; it becomes bytes that no vocabulary holds, not an error.
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _as_text(word: bytes) -> str:
    return word.decode("utf-8", "replace")


def _join_lines(texts: Iterable[Text]) -> bytes:
    lines = [_as_bytes(text) for text in texts]
    joined = b"\n".join(lines)
    if joined.count(b"\n") >= max(len(lines), 1):
        joined = b"\n".join(line.replace(b"\n", b" ") for line in lines)
    return joined + b"\n" if lines else b""
