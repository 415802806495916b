"""A finished n-gram model: a folder of tables, mapped into memory and queried."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lmserve.errors import CorruptModelError
from lmserve.language_model import LanguageModel
from lmserve.ngram import probing, query
from lmserve.ngram.foretelling import score_all
from lmserve.ngram.hash_index import open_index
from lmserve.ngram.manifest import Manifest, verify
from lmserve.ngram.packed import Int64s, open_tables
from lmserve.ngram.parting import score_parts
from lmserve.ngram.probing import probe_lines
from lmserve.ngram.query import score_lines
from lmserve.ngram.states import State, pack_rows, unpack_rows
from lmserve.ngram.stepping import step, trim
from lmserve.ngram.summing import sum_lines
from lmserve.ngram.tables import text_parts
from lmserve.ngram.texts import (
    as_bytes,
    as_text,
    check_texts,
    concatenate,
    join_lines,
)
from lmserve.ngram.vocabulary import Vocabulary
from lmserve.ngram.window import Floats
from lmserve.packed_states import seal, unseal
from lmserve.scorer import Text, TextScores, TokenScores, WordScore
from lmserve.text.batching import line_offsets
from lmserve.text.special_tokens import BOS, EOS, SPECIAL_WORDS, UNK, SpecialTokens
from lmserve.text.tokenization import identity
from lmserve.text.word_table import OOV, Bytes, Ids, Offsets

_NO_ROWS = np.empty(0, np.int64)


class NgramModel(LanguageModel):
    """An n-gram model opened for queries; satisfies `lmserve.scorer.Scorer`.

    The tables are mapped, not read: opening costs the same for any size, and the processes of one
    machine share them. Text becomes tokens as when the model was built, at spaces, tabs and
    carriage returns or by its tokenizer; a line feed inside a text counts as a space. The marks
    `<s>`, `</s>` and `<unk>` in a text are unknown words, or what `--special-tokens` said when the
    model was built.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        special_tokens: SpecialTokens | None = None,
        *,
        indexed: bool = True,
        check: bool = False,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.special_tokens = special_tokens or manifest.special_tokens
        self.segment = manifest.tokenization.open(folder)
        self.vocabulary = Vocabulary.open(folder)
        self.tables = open_tables(folder, manifest)
        self.index = open_index(folder, manifest, check=check) if indexed else None
        if manifest.ngrams[0] != len(self.vocabulary):
            raise CorruptModelError(
                f"{folder}: {len(self.vocabulary):,} words, but {manifest.ngrams[0]:,} unigrams",
                "Build the model again, or copy it again.",
            )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        special_tokens: SpecialTokens | None = None,
        indexed: bool = True,
        check: bool = False,
    ) -> "NgramModel":
        """Opens the model in a folder.

        Args:
            path: the folder that `lmserve build` wrote.
            special_tokens: how to take them in a text; None means as the model was built.
            indexed: use the hash index, if there is one; scores are the same.
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
        return cls(folder, manifest, special_tokens, indexed=indexed, check=check)

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
        return self.vocabulary.find(as_bytes(word)) is not None

    def score_texts(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TextScores:
        """Scores a batch of texts; see `lmserve.scorer.Scorer`."""
        if self.segment is not identity:
            return self.score_buffer(join_lines(texts), bos=bos, eos=eos)
        return self._score(*text_parts(concatenate(texts)), bos=bos, eos=eos)

    def score_array(
        self,
        texts: pa.Array | pa.ChunkedArray,
        *,
        bos: bool = True,
        eos: bool = True,
        threads: int = 1,
    ) -> TextScores:
        """Scores an Arrow column: the fastest way in, no Python object for any text.

        Args:
            texts: of type string, large_string, binary or large_binary, without nulls.
            bos: and `eos`, as in `score_texts`.
            threads: processors to use, once a tokenizer, if there is one, is done.

        Raises:
            OptionError: the column has another type, or nulls, or `threads` is below 1.
        """
        check_texts(texts)
        chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
        if self.segment is not identity:
            documents = [text for chunk in chunks for text in chunk.to_pylist()]
            return self.score_buffer(join_lines(documents), bos=bos, eos=eos, threads=threads)
        return TextScores.concatenate(
            [self._score(*text_parts(chunk), bos=bos, eos=eos, threads=threads) for chunk in chunks]
        )

    def score_buffer(
        self, data: bytes, *, bos: bool = True, eos: bool = True, threads: int = 1
    ) -> TextScores:
        """Scores every line of some bytes; the options as in `score_array`."""
        text = np.frombuffer(self.segment(data), np.uint8)
        return self._score(text, line_offsets(text), bos=bos, eos=eos, threads=threads)

    def _score(
        self, text: Bytes, offsets: Offsets, *, bos: bool, eos: bool, threads: int = 1
    ) -> TextScores:
        """Scores text[offsets[t]:offsets[t + 1]] for every t."""

        def score(part: Offsets) -> TextScores:
            ids, starts = self.vocabulary.encode_texts(text, part, self.special_tokens, eos=eos)
            scores, _ = self.score_ids(ids, starts, bos=bos)
            total, known, oov = sum_lines(ids, starts, scores)
            return TextScores(
                log10_prob=total, known_log10_prob=known, tokens=np.diff(starts), oov=oov
            )

        return score_parts(offsets, score, threads)

    def score_tokens(
        self, texts: Sequence[Text], *, bos: bool = True, eos: bool = True
    ) -> TokenScores:
        """Scores every token of a batch of texts; see `lmserve.language_model`."""
        ids, starts = self.encode_texts(texts, eos=eos)
        scores, lengths = self.score_ids(ids, starts, bos=bos)
        return TokenScores(log10_prob=scores, ngram_length=lengths, oov=ids == OOV, starts=starts)

    def encode(self, data: bytes, *, eos: bool) -> tuple[Ids, Offsets]:
        """Ids of every line of tokens, uint32 [N], and where each line's begin, int64 [L + 1]."""
        text = np.frombuffer(data, np.uint8)
        ids, lines, _ = self.vocabulary.encode(text, self.special_tokens, eos=eos, querying=True)
        return ids, lines

    def score_ids(
        self, ids: Ids, lines: Offsets, *, bos: bool
    ) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """log10 probability, float64 [N], and n-gram length, uint8 [N], of encoded words."""
        # A window as large as a few words costs less to make.
        room = len(ids) + 1
        if self.index is not None:
            scores, lengths = probe_lines(ids, lines, bos, self.index, min(probing.WINDOW, room))
        else:
            scores, lengths = score_lines(ids, lines, bos, self.tables, min(query.WINDOW, room))
        return scores, lengths

    def begin_state(self) -> State:
        """The state at the start of a sentence."""
        return self._state(np.array([BOS], np.int64)[: self.order - 1])

    def null_state(self) -> State:
        """The state after nothing at all."""
        return State()

    def score_word(self, state: State, word: Text) -> tuple[WordScore, State]:
        """Scores one word after what `state` remembers.

        Args:
            state: from `begin_state`, `null_state`, or the call before.
            word: one word; `</s>` is the end of the sentence, `<s>` an unknown word.

        Returns:
            The word's score, to the bit that of `score_words`; the state after it.
        """
        written = as_bytes(word)
        found = EOS if written == SPECIAL_WORDS[EOS] else self._find(written)
        score, length, rows = step(self.tables, state.as_array(), UNK if found is None else found)
        text = as_text(written)
        return WordScore(score, length, found is None, text), State(tuple(rows.tolist()))

    def advance(self, state: State, word_id: int) -> State:
        """The state after one more word, an id of the vocabulary other than `BOS`."""
        *_, rows = step(self.tables, state.as_array(), word_id)
        return State(tuple(rows.tolist()))

    def pack_state(self, state: State) -> bytes:
        """A state as bytes: 8 a remembered word, see `lmserve.packed_states`."""
        return seal(pack_rows(state), self.digest)

    def unpack_state(self, data: bytes) -> State:
        """The state of `pack_state`; see `lmserve.language_model`."""
        return unpack_rows(unseal(data, self.digest), self.manifest.ngrams[: self.order - 1])

    def state_after(self, context: Text, *, bos: bool = True) -> State:
        """The state after some words."""
        ids, _ = self.encode(self.segment(join_lines([context])), eos=False)
        history = np.concatenate(([BOS], ids) if bos else (ids,))
        rows = _NO_ROWS
        for word in history[max(0, len(history) - self.order + 1) :].tolist():
            *_, rows = step(self.tables, rows, UNK if word == OOV else word)
        return self._state(rows)

    def log10_distribution(self, state: State) -> Floats:
        """log10 P(w | state) of every vocabulary word, float64 [V]."""
        return score_all(self.tables, state.as_array())

    def _state(self, rows: Int64s) -> State:
        return State(tuple(trim(self.tables, rows).tolist()))

    def _find(self, word: bytes) -> int | None:
        ids, _ = self.encode(word, eos=False)
        return int(ids[0]) if len(ids) == 1 and ids[0] != OOV else None
