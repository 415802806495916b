"""Scoring for every route: through the cache, and in batches where the model gains by them."""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

import orjson

from lmserve.language_model import LanguageModel
from lmserve.records import score_record
from lmserve.scorer import Scorer, TextScore, WordScore
from lmserve.service import tracing
from lmserve.service.batching import Batcher, BatchLimits
from lmserve.service.cache import ScoreCache
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.single_flight import SingleFlight

# Texts handled between two looks at other requests: some 15 ms of bookkeeping on the event loop.
SLICE = 4096
# 128 bits of the model's digest and of each text's: enough that no two ever share a key.
_DIGEST_BYTES = 16
_KEY_PREFIX = b"lmserve:score:1:"
# A request waits for the cache about as long as the model would take, but at least so long, and
# this for each text: ten times what a healthy Redis needs.
_LEAST_PATIENCE_S = 0.01
_TEXT_PATIENCE_S = 50e-6
# Scores on their way to the cache; where it takes in fewer than come, the rest is not kept.
_MAX_UNWRITTEN = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreOptions:
    """What a client asks to know about its texts.

    Attributes:
        words: add the score of each word.
        bos: condition the first word on the start of a sentence.
        eos: add the probability of the sentence's end.
    """

    words: bool = False
    bos: bool = True
    eos: bool = True


class Scored(NamedTuple):
    """A text's score, and those of its words where they are asked for."""

    score: TextScore
    words: list[WordScore] | None = None


def model_batcher(
    model: LanguageModel, limits: BatchLimits, metrics: ServiceMetrics
) -> Batcher[ScoreOptions, Scored]:
    """Batches for a model, counted."""

    def score(texts: list[bytes], options: ScoreOptions) -> list[Scored]:
        if not options.words:
            return list(
                map(Scored, model.score_texts(texts, bos=options.bos, eos=options.eos).rows())
            )
        every = model.score_words_of(texts, bos=options.bos, eos=options.eos)
        return [Scored(_sum(words), words) for words in every]

    def counted(texts: int) -> None:
        metrics.batches.inc()
        metrics.batched_texts.inc(texts)

    return Batcher(score, limits, on_batch=counted, on_overdue=metrics.overdue_batches.inc)


class CachedScorer:
    """A `Scorer` behind a cache, for use on an event loop.

    Args:
        scorer: the model.
        cache: where scores of whole texts are kept; word scores are not. None keeps nothing.
        metrics: told of every text, hit and miss.
        thread_bytes: batches with more text than this are scored in a worker thread.
        batcher: scores the texts of concurrent requests together, each of them once.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        cache: ScoreCache | None,
        metrics: ServiceMetrics,
        thread_bytes: int,
        batcher: Batcher[ScoreOptions, Scored] | None = None,
    ) -> None:
        self._scorer = scorer
        self._cache = cache
        self._metrics = metrics
        self._thread_bytes = thread_bytes
        self._batcher = batcher
        self._flights: SingleFlight[bytes, TextScore] = SingleFlight()
        self._unwritten: dict[bytes, TextScore] = {}
        self._writer: asyncio.Task[None] | None = None
        # What requests that the cache doesn't answer take now, some ten of them long.
        self._patience_s = _LEAST_PATIENCE_S
        self._model_key = _KEY_PREFIX + scorer.digest[: 2 * _DIGEST_BYTES].encode()

    @property
    def digest(self) -> str:
        """The model's digest."""
        return self._scorer.digest

    @property
    def batches(self) -> bool:
        """Whether texts wait their turn: who leaves before should tell."""
        return self._batcher is not None

    async def answers(self, texts: Sequence[bytes], options: ScoreOptions) -> list[bytes]:
        """The JSON of a `ScoreAnswer` for each text, in order.

        Raises:
            HTTPException: 503, the model takes too long.
        """
        answers: list[bytes] = []
        for part in self._slices(texts):
            if options.words:
                answers += await self._with_words(part, options)
            else:
                scores = await self._scores(part, options)
                answers += [orjson.dumps(score_record(score)) for score in scores]
                self._metrics.scored(scores)
            await asyncio.sleep(0)  # Other requests' turn, and that of a cache in memory.
        return answers

    def _slices(self, texts: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        if self._batcher:
            return self._batcher.slices(texts)
        return (texts[start : start + SLICE] for start in range(0, len(texts), SLICE))

    async def _with_words(self, texts: Sequence[bytes], options: ScoreOptions) -> list[bytes]:
        if self._batcher:
            scored = await self._batcher.score(texts, options)
            answers = await asyncio.to_thread(lambda: [_answer(one) for one in scored])
            self._metrics.scored([one.score for one in scored])
            return answers
        scores = await self._scores(texts, options)
        self._metrics.scored(scores)
        return await asyncio.to_thread(self._add_words, texts, scores, options)

    def _add_words(
        self, texts: Sequence[bytes], scores: Sequence[TextScore], options: ScoreOptions
    ) -> list[bytes]:
        """Answers with word scores, text by text: as objects they are larger than as JSON."""
        score = partial(self._scorer.score_words, bos=options.bos, eos=options.eos)
        pairs = zip(texts, scores, strict=True)
        return [_answer(Scored(whole, score(text))) for text, whole in pairs]

    async def _scores(self, texts: Sequence[bytes], options: ScoreOptions) -> list[TextScore]:
        """The score of each text, from the cache or else from the model."""
        if self._cache is None and self._batcher is None:
            with tracing.span("score", texts=len(texts)):
                return await self._compute(texts, options)
        prefix = self._model_key + b":%d%d:" % (options.bos, options.eos)
        keys = [prefix + blake2b(text, digest_size=_DIGEST_BYTES).digest() for text in texts]
        known = await self._look_up(keys)
        # A dict, so that a text that comes twice is scored once.
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            with tracing.span("score", texts=len(missing)):
                fresh = await self._fresh(missing, options)
            self._keep(fresh)
            known |= fresh
        return [known[key] for key in keys]

    async def _look_up(self, keys: Sequence[bytes]) -> dict[bytes, TextScore]:
        """What the cache knows."""
        if self._cache is None:
            return {}
        within_s = max(self._patience_s, _LEAST_PATIENCE_S + _TEXT_PATIENCE_S * len(keys))
        with tracing.span("cache.get", texts=len(keys)):
            found = await self._cache.get_many(keys, within_s=within_s)
        known = {key: one for key, one in zip(keys, found, strict=True) if one is not None}
        hits = sum(key in known for key in keys)
        self._metrics.cache_hits.inc(hits)
        self._metrics.cache_misses.inc(len(keys) - hits)
        return known

    def _keep(self, scores: Mapping[bytes, TextScore]) -> None:
        """Has the cache keep scores, for which nobody waits."""
        if self._cache is None or len(self._unwritten) >= _MAX_UNWRITTEN:
            return
        self._unwritten |= scores
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(self._cache))

    async def _write(self, cache: ScoreCache) -> None:
        """Writes what has come meanwhile at once: lookups need the connections more."""
        while self._unwritten:
            scores, self._unwritten = self._unwritten, {}
            await cache.set_many(scores)

    async def _fresh(
        self, texts: Mapping[bytes, bytes], options: ScoreOptions
    ) -> dict[bytes, TextScore]:
        """What the model says, by key."""
        started_s = time.perf_counter()
        compute = partial(self._compute, options=options)
        if self._batcher:
            fresh = await self._flights.values(texts, compute)
        else:
            fresh = dict(zip(texts, await compute(list(texts.values())), strict=True))
        self._patience_s += 0.1 * (time.perf_counter() - started_s - self._patience_s)
        return fresh

    async def _compute(self, texts: Sequence[bytes], options: ScoreOptions) -> list[TextScore]:
        if self._batcher:
            return [one.score for one in await self._batcher.score(texts, options)]
        score = partial(self._scorer.score_texts, texts, bos=options.bos, eos=options.eos)
        # A byte more a text, for its line break: empty texts cost time, too.
        in_thread = sum(map(len, texts)) + len(texts) > self._thread_bytes
        batch = await asyncio.to_thread(score) if in_thread else score()
        return batch.rows()


def _answer(scored: Scored) -> bytes:
    return orjson.dumps(score_record(*scored))


def _sum(words: Sequence[WordScore]) -> TextScore:
    log10_prob = math.fsum(word.log10_prob for word in words)
    return TextScore(log10_prob, len(words), sum(word.oov for word in words))
