"""The answers to a file's lines, in another file; an interrupted run leaves it to the next one."""

import math
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

import orjson

from lmserve.client.calls import Answer
from lmserve.errors import OptionError, ServiceError


class AnswerFile:
    """NDJSON, a line for each line of a text.

    Until it is complete it has another name, with ".partial" at its end. Where that exists, what it
    answers is not asked for again, except for its last line: it shows whether text, model and
    options are those of the answers before.

    Args:
        text: UTF-8, one text a line.
        output: where the answers go.

    Raises:
        OptionError: there is an output already, or a file cannot be read or written.
    """

    def __init__(self, text: Path, output: Path) -> None:
        self._text = text
        self._output = output
        self._partial = output.with_name(f"{output.name}.partial")
        if output.exists():
            raise OptionError(f"{output} exists", "Remove it, or name another file.")
        try:
            self._file = self._partial.open("a+b")
            self.answered, self._last = _cut_to_lines(self._file)
        except OSError as error:
            raise OptionError(f"cannot write to {self._partial}: {error}", "Mend that.") from error

    def texts(self) -> Iterator[str]:
        """The lines to send: the last one that is answered, and those without an answer."""
        try:
            # Invalid bytes and carriage returns are part of a line, as in all of lmserve.
            with self._text.open(encoding="utf-8", errors="replace", newline="\n") as lines:
                for line in islice(lines, max(0, self.answered - 1), None):
                    yield line.removesuffix("\n")
        except OSError as error:
            raise OptionError(f"cannot read {self._text}: {error}", "Mend that.") from error

    def add(self, answer: Answer) -> None:
        """Takes the answer to the next of `texts`; raises `ServiceError` if it contradicts."""
        if self._last is None:
            self._file.write(orjson.dumps(answer) + b"\n")
            self.answered += 1
            return
        if not _agree(answer, self._last):
            raise ServiceError(
                f"line {self.answered} of {self._text} is answered otherwise than in "
                f"{self._partial}: by another model, with other options, or it is another text",
                f"Go on with the same, or remove {self._partial}.",
            )
        self._last = None

    def finish(self) -> int:
        """Gives the file its name, and returns how many lines it has."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._partial.replace(self._output)
        return self.answered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _cut_to_lines(file: BinaryIO) -> tuple[int, Answer | None]:
    """Cuts off a line without an end; returns the number of lines and the last of them."""
    file.seek(0)
    complete_bytes = lines = 0
    last = b""
    for line in file:
        if line.endswith(b"\n"):
            complete_bytes += len(line)
            lines += 1
            last = line
    file.truncate(complete_bytes)
    return lines, orjson.loads(last) if last else None


def _agree(answer: Answer, other: Answer) -> bool:
    """Whether two answers may be of one model: networks round differently in other batches."""
    if any(answer[name] != other.get(name) for name in ("tokens", "oov")):
        return False
    one, two = answer["log10_prob"], other.get("log10_prob")
    if one is None or two is None:
        return one is two
    return math.isclose(one, two, rel_tol=1e-5)
