"""The two ways of answering lines, side by side, without a server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from lmserve.ngram.model import NgramModel
from lmserve.service.bulk import BulkAnswers, read_json_block, read_plain_block
from lmserve.service.cache import LruCache
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.scoring import CachedScorer, ScoreOptions
from lmserve.service.settings import ServiceSettings
from lmserve.service.stream import LineAnswers, read_json, read_plain


async def as_pieces(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def bulk(
    model: NgramModel, *, plain: bool = False, options: ScoreOptions | None = None, **limits: Any
) -> BulkAnswers:
    return BulkAnswers(
        model=model,
        metrics=ServiceMetrics(),
        read=read_plain_block if plain else read_json_block,
        settings=ServiceSettings(**limits),
        options=options or ScoreOptions(),
    )


def line_by_line(
    model: NgramModel, *, plain: bool = False, options: ScoreOptions | None = None, **limits: Any
) -> LineAnswers:
    metrics = ServiceMetrics()
    settings = ServiceSettings(**limits)
    scorer = CachedScorer(
        model, cache=LruCache(0), metrics=metrics, thread_bytes=settings.thread_bytes
    )
    return LineAnswers(
        scorer=scorer,
        metrics=metrics,
        read=read_plain if plain else read_json,
        max_line_bytes=settings.max_line_bytes,
        options=options or ScoreOptions(),
    )


def run(answers: BulkAnswers | LineAnswers, pieces: list[bytes]) -> bytes:
    async def collect() -> bytes:
        return b"".join([part async for part in answers.stream(as_pieces(pieces))])

    return asyncio.run(collect())


def counted(answers: BulkAnswers | LineAnswers) -> dict[tuple[str, ...], float]:
    """What was counted, but for the cache and times."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in answers.metrics.registry.collect()
        for sample in family.samples
        if "cache" not in sample.name and "created" not in sample.name
    }
