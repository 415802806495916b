"""A text of one's own, split for a demonstration; sentences of it that show what scores tell."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from lmserve.errors import InputError
from lmserve.text.documentation import Document, split_held_out
from lmserve.text.sources import BLOCK_BYTES, read_blocks, split

_FEWEST_WORDS, _MOST_WORDS = 8, 12


def distinct_lines(files: Iterable[str | Path]) -> list[str]:
    """The lines of a text that are not empty, each once, where it is met first.

    Bytes that are no UTF-8 become `�`.

    Raises:
        InputError: the text cannot be read, or there is none.
    """
    lines = (
        line.decode("utf-8", "replace").strip()
        for piece in split(files, BLOCK_BYTES)
        for block in read_blocks(piece)
        for line in block.lines()
    )
    return list(filter(None, dict.fromkeys(lines)))


def split_lines(lines: Sequence[str], *, seed: int) -> tuple[list[str], list[str]]:
    """Sets lines of a text aside for evaluation, as `split_held_out` does with documents.

    Args:
        lines: each once, or the held-out text would have been seen.
        seed: of the choice.

    Returns:
        The lines to train on and the held-out ones.

    Raises:
        InputError: one of the two parts would be empty.
    """
    documents = [Document(name=str(i), sentences=(line,)) for i, line in enumerate(lines)]
    try:
        return split_held_out(documents, seed=seed)
    except InputError as error:
        raise InputError(
            f"{len(lines):,} different lines are too few to hold some of them out",
            "Give a longer text, one sentence a line.",
        ) from error


def examples(
    held_out: Sequence[str], training: Iterable[str], *, seed: int, count: int = 2
) -> list[tuple[str, str]]:
    """Held-out sentences of known words, each with its words shuffled, and with random words.

    Args:
        held_out: sentences that the model has not seen.
        training: sentences that it has.
        seed: of all choices.
        count: how many held-out sentences.

    Returns:
        ("fluent" | "shuffled" | "nonsense", sentence): three for each held-out sentence; none where
        no sentence is of the right length.
    """
    rng = random.Random(seed)  # noqa: S311 - examples, not secrets
    known = {word for sentence in training for word in sentence.split()}
    vocabulary = sorted(filter(str.isalpha, known)) or sorted(known)
    fluent = [
        sentence
        for sentence in held_out
        if _FEWEST_WORDS <= len(words := sentence.split()) <= _MOST_WORDS
        and known.issuperset(words)
    ]
    chosen = []
    for sentence in rng.sample(fluent, min(count, len(fluent))):
        shuffled = sentence.split()
        rng.shuffle(shuffled)
        chosen.append(("fluent", sentence))
        chosen.append(("shuffled", " ".join(shuffled)))
        chosen.append(("nonsense", " ".join(rng.choices(vocabulary, k=len(shuffled)))))
    return chosen
