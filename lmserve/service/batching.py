"""Texts of concurrent requests scored together, for models whose batches are cheaper than texts.

One batch runs at a time, in a worker thread. What arrives meanwhile is the next one, so that
batches grow with the load by themselves; a request that comes alone does not wait for others.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import HTTPException

from lmserve.errors import OptionError

Options = TypeVar("Options", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimits:
    """How large batches become, and how long things may take.

    Attributes:
        words: of a batch, after which no more requests join it. A text with more words than this
            is scored beside the batches, one such text at a time.
        slice_words: of one request in a batch, its last text not counted: a large one shares
            batches with others.
        wait_s: longest wait for requests that are likely to come, as they did for the last batch.
        timeout_s: a batch that takes longer is answered by 503.

    Raises:
        OptionError: a number of words below 1, a wait below 0, or a time-out that is not above it.
    """

    words: int = 1024
    slice_words: int = 256
    wait_s: float = 0.003
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.words < 1 or self.slice_words < 1:
            raise OptionError(
                f"batches of {self.words} words, {self.slice_words} of a request",
                "Give numbers of words of at least 1.",
            )
        if not 0 <= self.wait_s < self.timeout_s:
            raise OptionError(
                f"wait_s is {self.wait_s}, timeout_s is {self.timeout_s}",
                "Give a wait of 0 seconds or more, and a longer time-out.",
            )


@dataclass(frozen=True, slots=True)
class _Job(Generic[Options, Result]):
    """A request's texts, its options, and where their results go."""

    texts: Sequence[bytes]
    options: Options
    words: int
    results: "asyncio.Future[list[Result]]"


class Batcher(Generic[Options, Result]):
    """Scores texts of concurrent requests in common batches.

    Args:
        score: one result a text, in order; called in a worker thread, with texts of any requests
            whose options are equal.
        limits: of its batches.
        on_batch: told the number of texts of each batch.
        on_overdue: told of each batch that took too long.
    """

    def __init__(
        self,
        score: Callable[[list[bytes], Options], Sequence[Result]],
        limits: BatchLimits,
        *,
        on_batch: Callable[[int], None] = lambda _: None,
        on_overdue: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        # A long text would hold up all others, and cannot be cut.
        self._short, self._long = (_Lane(score, limits, on_batch, on_overdue) for _ in range(2))

    async def score(self, texts: Sequence[bytes], options: Options) -> list[Result]:
        """One result a text; texts are best no more than a slice (`slices`).

        Raises:
            HTTPException: 503, the batch takes too long, or one before it does.
        """
        words = sum(map(_words, texts))
        results: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        lane = self._long if words > self._limits.words else self._short
        lane.add(_Job(texts, options, words, results))
        return await results

    def slices(self, texts: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """Cuts a request's texts into what it may add to one batch."""
        begin = words = 0
        for end, text in enumerate(texts):
            more = _words(text)
            if end > begin and words + more > self._limits.slice_words:
                yield texts[begin:end]
                begin, words = end, 0
            words += more
        if begin < len(texts):
            yield texts[begin:]


class _Lane(Generic[Options, Result]):
    """A queue of requests, and the one batch of it that runs."""

    def __init__(
        self,
        score: Callable[[list[bytes], Options], Sequence[Result]],
        limits: BatchLimits,
        on_batch: Callable[[int], None],
        on_overdue: Callable[[], None],
    ) -> None:
        self._score = score
        self._limits = limits
        self._on_batch = on_batch
        self._on_overdue = on_overdue
        self._waiting: deque[_Job[Options, Result]] = deque()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        # Requests that were there at once while the last batch ran.
        self._expected = 1
        self._overdue = False

    def add(self, job: _Job[Options, Result]) -> None:
        """Queues a request, or refuses it while a batch is overdue."""
        if self._overdue:
            raise self._refusal()
        self._waiting.append(job)
        self._arrived.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            await self._gather()
            if batch := self._take():
                await self._run(batch)
                self._expected = len(batch) + len(self._waiting)

    async def _gather(self) -> None:
        """Waits for those whose requests the last batch answered: they may have more to ask."""
        if self._enough():
            return
        self._arrived = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.wait_s):
                while not self._enough():
                    self._arrived.clear()
                    await self._arrived.wait()

    def _enough(self) -> bool:
        words = sum(job.words for job in self._waiting)
        return len(self._waiting) >= self._expected or words >= self._limits.words

    def _take(self) -> list[_Job[Options, Result]]:
        """The next batch, of those that still want an answer, the first come first."""
        waiting = [job for job in self._waiting if not job.results.done()]
        batch: list[_Job[Options, Result]] = []
        words = 0
        for job in waiting:
            joins = not batch or words + job.words <= self._limits.words
            if joins and job.options == waiting[0].options:
                batch.append(job)
                words += job.words
        taken = set(map(id, batch))
        self._waiting = deque(job for job in waiting if id(job) not in taken)
        return batch

    async def _run(self, batch: list[_Job[Options, Result]]) -> None:
        texts = [text for job in batch for text in job.texts]
        self._on_batch(len(texts))
        scoring = asyncio.create_task(asyncio.to_thread(self._score, texts, batch[0].options))
        await asyncio.wait({scoring}, timeout=self._limits.timeout_s)
        if not scoring.done():
            self._refuse_all(batch)
            # A thread cannot be stopped; no other batch starts beside it.
            await asyncio.wait({scoring})
            self._overdue = False
        if error := scoring.exception():
            await self._find_fault(batch, error)
        else:
            results = iter(scoring.result())
            for job in batch:
                _answer(job, [next(results) for _ in job.texts])

    async def _find_fault(self, batch: list[_Job[Options, Result]], error: BaseException) -> None:
        """Scores requests apart, so that one alone meets the error that it causes."""
        wanted = [job for job in batch if not job.results.done()]
        if len(batch) > 1:
            for job in wanted:
                await self._run([job])
        elif wanted:
            wanted[0].results.set_exception(error)

    def _refuse_all(self, batch: list[_Job[Options, Result]]) -> None:
        self._overdue = True
        self._on_overdue()
        for job in (*batch, *self._waiting):
            if not job.results.done():
                job.results.set_exception(self._refusal())
        self._waiting.clear()

    def _refusal(self) -> HTTPException:
        detail = (
            f"Scoring takes longer than {self._limits.timeout_s:g} s; "
            "try again later, or send shorter texts."
        )
        return HTTPException(503, detail, {"Retry-After": "1"})


def _answer(job: _Job[Options, Result], results: list[Result]) -> None:
    # A client may have left meanwhile.
    if not job.results.done():
        job.results.set_result(results)


def _words(text: bytes) -> int:
    """About as many steps as a text costs, its end included."""
    return text.count(b" ") + 2
