"""Texts that come one by one, cut into requests."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator

from lmserve.client.calls import Answer, Call, ScoreOptions, encoded, score_encoded, score_lines
from lmserve.client.one_model import Scored
from lmserve.errors import OptionError

KIB = 1024
# Below what a service accepts unless it is told otherwise: 16 MiB, and 256 KiB with words, after or
# keep.
_MAX_BYTES = 1024 * KIB
_MAX_BYTES_STEPWISE = 128 * KIB
# Answers to lines come while lines are still sent, and are read afterwards: those to so many, some
# 100 KB, are few enough to wait in the connection's buffers.
_MAX_TEXTS = 1024


class Blocks:
    """Puts texts together.

    Args:
        options: how they are scored.
        batch: texts a request, or fewer where they are long; at most 1024.

    Raises:
        OptionError: `batch` is below 1.
    """

    def __init__(self, options: ScoreOptions, batch: int) -> None:
        if batch < 1:
            raise OptionError(f"batch is {batch}", "Give a number of texts of at least 1.")
        self._options = options
        self._batch = min(batch, _MAX_TEXTS)
        self._stepwise = any(options.get(name) for name in ("words", "after", "keep"))
        self._max_bytes = _MAX_BYTES_STEPWISE if self._stepwise else _MAX_BYTES
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._cut = 0

    def cut(self, texts: Iterable[str]) -> Iterator[Call[Scored[Answer]]]:
        """The requests, each as soon as it is complete."""
        for text in texts:
            yield from self._add(text)
        yield from self._rest()

    async def cut_async(
        self, texts: Iterable[str] | AsyncIterable[str]
    ) -> AsyncGenerator[Call[Scored[Answer]]]:
        """As `cut`."""
        if isinstance(texts, AsyncIterable):
            async for text in texts:
                for call in self._add(text):
                    yield call
            for call in self._rest():
                yield call
        else:
            for call in self.cut(texts):
                yield call

    def _add(self, text: str) -> Iterator[Call[Scored[Answer]]]:
        line = encoded(text)
        if self._held_bytes + len(line) > self._max_bytes:
            yield from self._rest()
        self._held.append(line)
        self._held_bytes += len(line)
        if len(self._held) == self._batch:
            yield from self._rest()

    def _rest(self) -> Iterator[Call[Scored[Answer]]]:
        if not self._held:
            return
        first, self._cut = self._cut + 1, self._cut + len(self._held)
        if self._stepwise:
            yield score_encoded(self._held, self._options, f"texts {first} to {self._cut}")
        else:
            yield score_lines(self._held, self._options, first)
        self._held = []
        self._held_bytes = 0
