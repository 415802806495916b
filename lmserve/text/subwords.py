"""Tokenizers that were trained elsewhere: SentencePiece models, Hugging Face's tokenizer.json.

Their files are data, a protocol buffer and JSON: reading one runs no code of it. They take Unicode,
so bytes that are no UTF-8 reach them as U+FFFD, one for each maximal invalid part. A carriage
return at the end of a line belongs to the line's end; all other characters are the tokenizer's.

A token of theirs may hold a space or a line break, which would end it in a line of tokens: such
characters are written as symbols, see `_SYMBOLS`.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lmserve.errors import DependencyError, OptionError

_SYMBOLS = str.maketrans({" ": "\u2581", "\t": "\u2409", "\n": "\u240a", "\r": "\u240d"})


def sentencepiece_splitter(content: bytes, path: Path) -> Callable[[bytes], bytes]:
    """What turns lines of text into lines of pieces, as the model cuts them best.

    Args:
        content: a SentencePiece model.
        path: its file, for errors.

    Raises:
        OptionError: it is no SentencePiece model.
        DependencyError: the package is not installed.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise _missing("sentencepiece", path) from error
    processor = sentencepiece.SentencePieceProcessor()
    try:
        # An empty buffer would be taken for one that is not given, and crash later.
        if not content or not processor.LoadFromSerializedProto(content):
            raise RuntimeError("it is empty")
    except RuntimeError as error:
        raise _invalid(path, "SentencePiece model", error) from error

    def split(data: bytes) -> bytes:
        # One thread: a worker has one processor.
        return _joined(processor.encode(_lines(data), out_type=str, num_threads=1))

    return split


def huggingface_splitter(content: bytes, path: Path) -> Callable[[bytes], bytes]:
    """What turns lines of text into lines of tokens, without the special tokens around them.

    What would make the tokens of a text depend on other texts or on chance is switched off:
    padding, truncation, dropout and sampling.

    Args:
        content: a tokenizer.json.
        path: its file, for errors.

    Raises:
        OptionError: it is no tokenizer.json.
        DependencyError: the package is not installed.
    """
    # One thread, unless the user says otherwise: a worker has one processor.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise _missing("tokenizers", path) from error
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the package raises nothing more specific
        raise _invalid(path, "Hugging Face tokenizer.json", error) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model: Any = tokenizer.model
    for chance in ("dropout", "alpha", "nbest_size"):
        if getattr(model, chance, None) is not None:
            setattr(model, chance, None)

    def split(data: bytes) -> bytes:
        encodings = tokenizer.encode_batch(_lines(data), add_special_tokens=False)
        return _joined(encoding.tokens for encoding in encodings)

    return split


def _lines(data: bytes) -> list[str]:
    """The lines of text whose last line is ended."""
    lines = data.decode("utf-8", "replace").split("\n")[:-1]
    return [line.removesuffix("\r") for line in lines]


def _joined(lines: Iterable[list[str]]) -> bytes:
    return "".join([_line(tokens) + "\n" for tokens in lines]).encode()


def _line(tokens: list[str]) -> str:
    line = " ".join(tokens)
    spaces = line.count(" ") + line.count("\t") + line.count("\n") + line.count("\r")
    if spaces == max(len(tokens) - 1, 0):
        return line
    return " ".join(token.translate(_SYMBOLS) for token in tokens)


def _missing(package: str, path: Path) -> DependencyError:
    return DependencyError(
        f"{path} needs the package {package}, which is not installed",
        "Install it: pip install 'lmserve[tokenizers]'.",
    )


def _invalid(path: Path, kind: str, error: Exception) -> OptionError:
    return OptionError(
        f"{path} is no {kind}: {error}",
        "Give the file that the tokenizer was saved in, of the kind that its suffix says.",
    )
