"""English text that every machine has: the documentation of the running interpreter.

The sources, in this order: the topics of the language reference (`pydoc_data.topics`, what `help()`
shows), the docstrings and comments of the standard library, and those of the installed packages
with their descriptions. They need no network, and nothing is imported but the topics.

Source files are scanned for string literals and comments rather than parsed: building their syntax
trees takes about twenty times as long, knows no comments, and fails on files of other Python
versions. The tests hold the scan against `ast` on the standard library.
"""

import os
import random
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

from lmserve.errors import InputError, OptionError
from lmserve.text.sentences import clean

DEFAULT_LIMIT_BYTES = 96 * 1024 * 1024  # about 10 s of one core

# A held-out sentence that shares this many consecutive words with the training text is dropped.
OVERLAP_WORDS = 8

# Vendored packages are older copies of text that is found elsewhere.
_SKIPPED_FOLDERS = frozenset(
    {"__pycache__", "test", "tests", "idle_test", "_vendor", "vendored", "thirdparty_files"}
    | {"site-packages", "dist-packages", "node_modules"}
)
_SKIPPED_FILES = re.compile(r"test_.*|.*_tests?\.py|conftest\.py|.*_pb2(_grpc)?\.py")
_FILES_PER_REPORT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The sentences of one source: a topic of the language reference, a module or a description.

    Attributes:
        name: "topics/NAME", or the path of the file inside its library.
        sentences: as `lmserve.text.sentences.normalise` writes them.
    """

    name: str
    sentences: tuple[str, ...]


def collect_documentation(
    *,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
    installed_packages: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Document]:
    """Collect the English sentences of the interpreter's own documentation.

    The result is the same for the same installation. A sentence occurs once in all of it, in the
    document where it is met first. Test folders, vendored copies and unreadable files are skipped
    without a word.

    Args:
        limit_bytes: how much source text to read. Files are taken in the order given at the top of
            this file, by path, up to the first one that goes beyond the limit; the topics are not
            counted.
        installed_packages: whether to go on after the standard library.
        on_progress: called with the number of files read and of files in all.

    Returns:
        The documents that have sentences, in the order in which they were read.

    Raises:
        OptionError: if `limit_bytes` is negative.
        InputError: if no sentence was found at all.
    """
    if limit_bytes < 0:
        raise OptionError(
            f"limit_bytes is {limit_bytes}.", "Pass 0 for the topics alone, or a positive number."
        )
    documents = list(_distinct(_sources(limit_bytes, installed_packages, on_progress)))
    if not documents:
        raise InputError(
            "This Python installation has no documentation: it was built without docstrings.",
            "Pass a text file of your own.",
        )
    return documents


def _distinct(sources: Iterator[tuple[str, list[str]]]) -> Iterator[Document]:
    """Clean every source and leave out the sentences of earlier ones."""
    seen: set[str] = set()
    seen_texts: set[str] = set()
    for name, texts in sources:
        # Many docstrings are inherited word for word: not cleaning them twice saves time.
        new_texts = [text for text in dict.fromkeys(texts) if text not in seen_texts]
        seen_texts.update(new_texts)
        sentences = dict.fromkeys(sentence for text in new_texts for sentence in clean(text))
        new = tuple(sentence for sentence in sentences if sentence not in seen)
        seen.update(new)
        if new:
            yield Document(name=name, sentences=new)


def _sources(
    limit_bytes: int, installed_packages: bool, on_progress: Callable[[int, int], None] | None
) -> Iterator[tuple[str, list[str]]]:
    """Yield (name, pieces of text) for every source."""
    for topic in sorted(topics):
        yield f"topics/{topic}", [topics[topic]]
    files = list(_library_files(installed_packages))
    read_bytes = 0
    for number, (root, path) in enumerate(files, start=1):
        try:
            content = Path(path).read_bytes()
            source = content.decode("utf-8").replace("\r\n", "\n")
        except (OSError, UnicodeDecodeError):
            continue
        read_bytes += len(content)
        if read_bytes > limit_bytes:
            break
        texts = documentation_texts(source) if path.endswith(".py") else [_description(source)]
        yield os.path.relpath(path, root), texts
        if on_progress is not None and number % _FILES_PER_REPORT == 0:
            on_progress(number, len(files))
    if on_progress is not None:
        on_progress(len(files), len(files))


def _library_files(installed_packages: bool) -> Iterator[tuple[str, str]]:
    """Yield (root folder, path) of every source file and package description, in order."""
    schemes = ("stdlib", "platstdlib", "purelib", "platlib") if installed_packages else ("stdlib",)
    # A virtual environment's platstdlib is its lib folder, most paths coincide.
    for root in dict.fromkeys(sysconfig.get_path(scheme) for scheme in schemes):
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = sorted(set(subfolders) - _SKIPPED_FOLDERS)
            for name in sorted(names):
                source = name.endswith(".py") and not _SKIPPED_FILES.fullmatch(name)
                if source or (name == "METADATA" and folder.endswith(".dist-info")):
                    yield root, os.path.join(folder, name)


def _description(metadata: str) -> str:
    """The long description of a package, which follows the headers of its METADATA."""
    return metadata.partition("\n\n")[2]


# Any string literal has to be matched, or a quote inside one would open another.
_STRING_OR_COMMENT = re.compile(
    r"#(?P<comment>[^\n]*)"
    r'|"""(?P<double>[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*)"""'
    r"|'''(?P<single>[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*)'''"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    r"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'",
    re.DOTALL,
)
_CAPITAL = re.compile("[A-Z]")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_SHORTEST_SENTENCE = 16


def documentation_texts(source: str) -> list[str]:
    """Find the triple-quoted strings and the comment blocks of Python source text.

    Not only docstrings are taken, since libraries document parameters and compiled functions in
    other triple-quoted strings; those that hold something else don't get through the cleaning.
    Escape sequences stay as they stand, for a sentence with a backslash is dropped anyway.

    Args:
        source: Python source text; errors in it do no harm.

    Returns:
        The texts that may hold a sentence, in the order of the source.
    """
    texts: list[str] = []
    block: list[str] = []  # lines of comments that follow each other
    block_end = 0
    for match in _STRING_OR_COMMENT.finditer(source):
        kind = match.lastgroup
        if kind is None:
            continue
        if block and (kind != "comment" or source[block_end : match.start()].strip(" \t") != "\n"):
            texts.append("\n".join(block))
            block = []
        if kind == "comment":
            block.append(match["comment"].lstrip("#:").removeprefix(" "))
            block_end = match.end()
        else:
            texts.append(match[kind].replace("\\\n", ""))
    texts.append("\n".join(block))
    return [text for text in texts if _may_hold_sentence(text)]


def _may_hold_sentence(text: str) -> bool:
    """Whether a sentence's end comes far enough after a capital letter.

    In two searches, for one of both has to try every capital: packages carry megabytes of them.
    """
    begin = _CAPITAL.search(text)
    return begin is not None and bool(
        _SENTENCE_END.search(text, begin.start() + _SHORTEST_SENTENCE - 1)
    )


def split_held_out(
    documents: Sequence[Document], *, fraction: float = 0.05, seed: int = 1
) -> tuple[list[str], list[str]]:
    """Set documents aside for evaluation.

    Sentences of one module resemble each other ("Return the width." "Return the height."), so that
    a random choice of sentences would flatter every model. Whole documents are held out instead,
    and of those every sentence that shares `OVERLAP_WORDS` words in a row with the training text
    is dropped, as is done to decontaminate benchmarks. Whole packages are not held out: a few hold
    most of the text, and the figure would depend on which one is drawn.

    Args:
        documents: as `collect_documentation` returns them, no sentence in two of them.
        fraction: part of the words to hold out, before the overlapping sentences are dropped.
        seed: of the choice of documents.

    Returns:
        The sentences to train on and the held-out ones, both in the order of `documents`.

    Raises:
        OptionError: if `fraction` is not between 0 and 1.
        InputError: if one of the two parts would be empty.
    """
    if not 0 < fraction < 1:
        raise OptionError(
            f"The held-out fraction is {fraction}.", "Pass a number between 0 and 1, such as 0.05."
        )
    chosen = _choose(documents, fraction, random.Random(seed))  # noqa: S311 -- not cryptography
    training: list[str] = []
    held_out: list[str] = []
    for number, document in enumerate(documents):
        (held_out if number in chosen else training).extend(document.sentences)
    held_out = _without_overlap(held_out, training)
    if not training or not held_out:
        raise InputError(
            f"{len(documents)} documents are too few to hold out {fraction:.0%} of their words.",
            "Raise limit_bytes, or choose another fraction.",
        )
    return training, held_out


def _choose(documents: Sequence[Document], fraction: float, rng: random.Random) -> set[int]:
    """Draw documents until they have `fraction` of the words; the last one may go beyond."""
    words = [sum(map(_count_words, document.sentences)) for document in documents]
    missing = fraction * sum(words)
    chosen = set()
    for number in rng.sample(range(len(documents)), len(documents)):
        if missing <= 0:
            break
        chosen.add(number)
        missing -= words[number]
    return chosen


def _count_words(sentence: str) -> int:
    return sentence.count(" ") + 1


def _without_overlap(held_out: list[str], training: list[str]) -> list[str]:
    """Drop the held-out sentences that share `OVERLAP_WORDS` words in a row with training."""
    ngrams_by_sentence = [set(_ngrams(sentence)) for sentence in held_out]
    wanted = set().union(*ngrams_by_sentence)
    # Only the n-grams of the held-out part are kept: those of the training part take much memory.
    shared = {ngram for sentence in training for ngram in _ngrams(sentence) if ngram in wanted}
    return [
        sentence
        for sentence, ngrams in zip(held_out, ngrams_by_sentence, strict=True)
        if ngrams.isdisjoint(shared)
    ]


def _ngrams(sentence: str) -> Iterator[str]:
    """Yield every `OVERLAP_WORDS` consecutive words of a sentence."""
    padded = f" {sentence} "
    spaces = [position for position, character in enumerate(padded) if character == " "]
    for start, end in zip(spaces, spaces[OVERLAP_WORDS:], strict=False):
        yield padded[start:end]
