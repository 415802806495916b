"""Scoring of batches through the cache, for every route."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import orjson

from lmserve.records import score_record
from lmserve.scorer import Scorer, TextScore
from lmserve.service.cache import ScoreCache
from lmserve.service.metrics import ServiceMetrics

# Texts handled between two looks at other requests: some 15 ms of bookkeeping on the event loop.
SLICE = 4096
# 128 bits of the model's digest and of each text's: enough that no two ever share a key.
_DIGEST_BYTES = 16
_KEY_PREFIX = b"lmserve:score:1:"


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


class CachedScorer:
    """A `Scorer` behind a cache, for use on an event loop.

    Args:
        scorer: the model.
        cache: where scores of whole texts are kept; word scores are not.
        metrics: told of every text, hit and miss.
        thread_bytes: batches with more text than this are scored in a worker thread.
    """

    def __init__(
        self, scorer: Scorer, *, cache: ScoreCache, metrics: ServiceMetrics, thread_bytes: int
    ) -> None:
        self._scorer = scorer
        self._cache = cache
        self._metrics = metrics
        self._thread_bytes = thread_bytes
        self._model_key = _KEY_PREFIX + scorer.digest[: 2 * _DIGEST_BYTES].encode()

    @property
    def digest(self) -> str:
        """The model's digest."""
        return self._scorer.digest

    async def answers(self, texts: Sequence[bytes], options: ScoreOptions) -> list[bytes]:
        """The JSON of a `ScoreAnswer` for each text, in order."""
        answers: list[bytes] = []
        for start in range(0, len(texts), SLICE):
            part = texts[start : start + SLICE]
            scores = await self._scores(part, options)
            if options.words:
                answers += await asyncio.to_thread(self._with_words, part, scores, options)
            else:
                answers += [orjson.dumps(score_record(score)) for score in scores]
            await asyncio.sleep(0)  # Other requests' turn: a cache in memory never waits.
        return answers

    def _with_words(
        self, texts: Sequence[bytes], scores: Sequence[TextScore], options: ScoreOptions
    ) -> list[bytes]:
        """Answers with word scores, text by text: as objects they are larger than as JSON."""
        answers = []
        for text, score in zip(texts, scores, strict=True):
            words = self._scorer.score_words(text, bos=options.bos, eos=options.eos)
            answers.append(orjson.dumps(score_record(score, words)))
        return answers

    async def _scores(self, texts: Sequence[bytes], options: ScoreOptions) -> list[TextScore]:
        """The score of each text, from the cache or else from the model."""
        prefix = self._model_key + b":%d%d:" % (options.bos, options.eos)
        keys = [prefix + blake2b(text, digest_size=_DIGEST_BYTES).digest() for text in texts]
        cached = zip(keys, await self._cache.get_many(keys), strict=True)
        known = {key: score for key, score in cached if score is not None}
        # A dict, so that a text that comes twice is scored once.
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        hits = sum(key in known for key in keys)
        self._metrics.cache_hits.inc(hits)
        self._metrics.cache_misses.inc(len(keys) - hits)
        if missing:
            fresh = await self._compute(list(missing.values()), options)
            scored = dict(zip(missing, fresh, strict=True))
            await self._cache.set_many(scored)
            known |= scored
        scores = [known[key] for key in keys]
        self._metrics.scored(scores)
        return scores

    async def _compute(self, texts: list[bytes], options: ScoreOptions) -> list[TextScore]:
        score = partial(self._scorer.score_texts, texts, bos=options.bos, eos=options.eos)
        # A byte more a text, for its line break: empty texts cost time, too.
        in_thread = sum(map(len, texts)) + len(texts) > self._thread_bytes
        batch = await asyncio.to_thread(score) if in_thread else score()
        return batch.rows()
