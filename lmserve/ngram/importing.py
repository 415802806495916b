"""Importing: ARPA text of any origin -> a model folder, the same that an export came from."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lmserve.errors import InputError, ModelError
from lmserve.ngram.arpa_reading import ArpaLevel, ArpaUnigrams, read_arpa
from lmserve.ngram.manifest import Manifest, seal
from lmserve.ngram.tables import partial_name
from lmserve.ngram.trie import TrieLevel, add_level, backed_off, expand, unigram_level
from lmserve.ngram.vocabulary import save_vocabulary
from lmserve.ngram.writing import PlainLevel, PlainUnigrams, write_levels
from lmserve.text.special_tokens import SpecialTokens


def import_arpa(
    arpa: Path,
    output: Path,
    *,
    special_tokens: SpecialTokens = SpecialTokens.ERROR,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Manifest:
    """Makes a model folder of an ARPA file.

    What the format needs and the file lacks is added: the n-grams that longer ones begin or end
    with, with the probability that backing off gives them, so that no score changes.

    Args:
        arpa: the file, as SRILM, KenLM or `lmserve export` writes it, also compressed.
        output: the folder to make; it must not exist.
        special_tokens: how `<s>`, `</s>` and `<unk>` written in a text to be scored are taken.
        on_progress: called with the number of n-grams just read.

    Returns:
        The manifest of the model.

    Raises:
        InputError: the file cannot be read, or is no valid ARPA.
        ModelError: the output exists.
    """
    if output.exists():
        raise ModelError(f"{output} exists already", "Name another folder, or remove it.")
    unigrams, arpa_levels = read_arpa(arpa, on_progress)
    levels = [unigram_level(unigrams.log10_prob, unigrams.log10_backoff)]
    for level in arpa_levels:
        _add(levels, level, arpa, unigrams)
    folder = partial_name(output)
    folder.mkdir(parents=True)
    try:
        manifest = _write(folder, unigrams, levels, special_tokens)
        folder.rename(output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return manifest


def _add(levels: list[TrieLevel], level: ArpaLevel, arpa: Path, unigrams: ArpaUnigrams) -> None:
    """Adds a level, and to those below what it needs there."""
    try:
        while len(missing := add_level(levels, level.ids, level.log10_prob, level.log10_backoff)):
            top = levels[-1]
            prob = np.concatenate((top.log10_prob, backed_off(levels, missing)))
            extended = ArpaLevel(
                ids=np.concatenate((expand(levels), missing)),
                log10_prob=prob,
                log10_backoff=np.concatenate(
                    (top.log10_backoff, np.zeros(len(missing), np.float32))
                ),
            )
            levels.pop()
            _add(levels, extended, arpa, unigrams)
    except ValueError as error:
        words = [unigrams.words[i].as_py() for i in error.args[0]]
        raise InputError(
            f"{arpa}: the {len(words)}-gram {b' '.join(words).decode('utf-8', 'replace')!r} is "
            "there twice",
            "Keep one line for each n-gram.",
        ) from error


def _write(
    folder: Path,
    unigrams: ArpaUnigrams,
    levels: list[TrieLevel],
    special_tokens: SpecialTokens,
) -> Manifest:
    words = len(unigrams.words)
    save_vocabulary(unigrams.words, np.zeros(words, np.int64), folder)
    plain = [
        PlainLevel(
            positions=level.positions,
            probs=level.log10_prob.view(np.uint32),
            backoffs=level.log10_backoff.view(np.uint32),
            first_child=level.first_child.view(np.uint64),
        )
        for level in levels[1:]
    ]
    first = PlainUnigrams(
        log10_prob=unigrams.log10_prob,
        log10_backoff=unigrams.log10_backoff,
        first_child=levels[0].first_child.view(np.uint64),
    )
    layout = write_levels(folder, first, plain)
    manifest = Manifest(
        order=len(levels),
        smoothing="imported",
        special_tokens=special_tokens,
        ngrams=[words, *(level.rows for level in layout.levels)],
        levels=list(layout.levels),
    )
    return seal(folder, manifest)
