"""What the service counts, for Prometheus.

With the environment variable PROMETHEUS_MULTIPROC_DIR set before the interpreter starts, all
processes of a node that share the folder are added up, whichever of them answers `/metrics`.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from lmserve.scorer import TextScore, TextScores
from lmserve.service import request_record

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_MODEL_INFO = "lmserve_model_info"
_DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_WORD_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_PERPLEXITY_BUCKETS = (5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6)


class BatchHistogram(Histogram):
    """A histogram that takes a batch at the price of one observation a bucket."""

    def observe_many(self, values: npt.ArrayLike) -> None:
        """Observes each value; infinite ones count but don't add to the sum, which they'd end."""
        array = np.asarray(values, np.float64)
        counts = np.bincount(np.searchsorted(self._upper_bounds, array))
        for bucket in np.flatnonzero(counts):
            self._buckets[bucket].inc(int(counts[bucket]))
        self._sum.inc(float(array[np.isfinite(array)].sum()))


class ServiceMetrics:
    """All metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        if folder := os.environ.get(FOLDER_VARIABLE):
            # On nodes other than the one that chose the folder, it does not exist yet.
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self.requests = counter("lmserve_requests", "Requests answered.", ["route", "status"])
        self.request_duration = Histogram(
            "lmserve_request_duration_seconds",
            "Time from the request's head to the answer's end; a stream's whole life.",
            ["route"],
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.in_flight = gauge(
            "lmserve_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum"
        )
        self.disconnects = counter(
            "lmserve_disconnects", "Requests that broke off before their answer was complete."
        )
        self.idle_requests = counter(
            "lmserve_idle_requests", "Requests ended because their client sent nothing for long."
        )
        self.stalled_clients = counter(
            "lmserve_stalled_clients",
            "Requests ended because their client took no answer for long.",
        )
        self.refused_requests = counter(
            "lmserve_refused_requests", "Requests that were not worked on.", ["reason"]
        )
        self.rate_limited = counter(
            "lmserve_rate_limited_requests", "Requests over a rate limit.", ["limit"]
        )
        self.rate_limiter_errors = counter(
            "lmserve_rate_limiter_errors", "Errors and time-outs of the shared rate limits."
        )
        self.queued = gauge(
            "lmserve_queued_requests",
            "Requests that wait for a place.",
            multiprocess_mode="livesum",
        )
        self.sentences = counter("lmserve_sentences", "Texts scored.")
        self.words = counter("lmserve_words", "Words scored, sentence ends included.")
        self.oov_words = counter("lmserve_oov_words", "Scored words unknown to the model.")
        self.generated_words = counter(
            "lmserve_generated_words", "Words generated, sentence ends included."
        )
        self.sentence_perplexity = BatchHistogram(
            "lmserve_sentence_perplexity",
            "Perplexity of each text; the sum leaves out infinite ones.",
            buckets=_PERPLEXITY_BUCKETS,
            registry=self.registry,
        )
        self.cache_hits = counter("lmserve_cache_hits", "Texts found in the cache.")
        self.cache_misses = counter("lmserve_cache_misses", "Texts not found in the cache.")
        self.cache_errors = counter(
            "lmserve_cache_errors", "Errors, time-outs and malformed values of the cache."
        )
        self.cache_late = counter(
            "lmserve_cache_late", "Lookups of the cache that requests no longer waited for."
        )
        self.batches = counter("lmserve_batches", "Batches that a costly model scored.")
        self.batched_texts = counter("lmserve_batched_texts", "Texts in these batches.")
        self.overdue_batches = counter(
            "lmserve_overdue_batches", "Batches that took too long, whose requests were refused."
        )
        self.stream_line_errors = counter(
            "lmserve_stream_line_errors", "Streamed lines that were no text."
        )
        self.sessions = gauge(
            "lmserve_sessions", "WebSocket sessions open.", multiprocess_mode="livesum"
        )
        self.session_words = counter("lmserve_session_words", "Words answered in sessions.")
        self.session_word_seconds = Histogram(
            "lmserve_session_word_seconds",
            "Time from the message that completes a word to its answer being sent.",
            buckets=_WORD_BUCKETS_S,
            registry=self.registry,
        )
        self.state_store_errors = counter(
            "lmserve_state_store_errors", "Errors and time-outs of the store of states."
        )
        self._model_info = gauge(
            _MODEL_INFO,
            "1 for each model being served.",
            ["name", "version", "digest"],
            multiprocess_mode="livemax",
        )
        self.model_swaps = counter(
            "lmserve_model_swaps", "Versions that took the place of another.", ["name"]
        )
        self.model_load_errors = counter(
            "lmserve_model_load_errors",
            "Attempts to load a version, or to read the model directory (no name), that failed.",
            ["name"],
        )

    def serves(self, name: str, version: str, digest: str) -> None:
        """Tells of a model that requests reach from now on."""
        self._model_info.labels(name, version, digest).set(1)

    def serves_no_more(self, name: str, version: str, digest: str) -> None:
        """Tells of a model that no new request reaches."""
        self._model_info.labels(name, version, digest).set(0)

    def scored(self, scores: Sequence[TextScore]) -> None:
        """Counts a batch of answered texts, also for the request that is being answered."""
        self._count(len(scores), sum(score.tokens for score in scores))
        self.oov_words.inc(sum(score.oov for score in scores))
        self.sentence_perplexity.observe_many([score.perplexity for score in scores])

    def scored_batch(self, scores: TextScores, perplexity: npt.NDArray[np.float64]) -> None:
        """Counts a batch of answered texts given as columns.

        Args:
            scores: of the texts.
            perplexity: float64 [B], `scores.perplexity()`.
        """
        self._count(len(scores), int(scores.tokens.sum()))
        self.oov_words.inc(int(scores.oov.sum()))
        self.sentence_perplexity.observe_many(perplexity)

    def _count(self, texts: int, words: int) -> None:
        self.sentences.inc(texts)
        self.words.inc(words)
        if (record := request_record.current()) is not None:
            record.count(texts, words)

    def exposition(self) -> bytes:
        """The metrics in Prometheus text format, of all processes of this node where they share."""
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return generate_latest(_Exposed(self.registry))
        _forget_the_dead(Path(folder))
        node = CollectorRegistry()
        MultiProcessCollector(node, folder)  # type: ignore[no-untyped-call]
        return generate_latest(_Exposed(node))


class _Exposed(CollectorRegistry):
    """What a registry has, but for models that are served no more.

    Of what several processes share nothing can be removed: it is 0 instead.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            if metric.name == _MODEL_INFO:
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


def _forget_the_dead(folder: Path) -> None:
    """Drops gauges of processes that were killed: their requests are no longer in flight."""
    pids = {int(path.stem.rsplit("_", 1)[1]) for path in folder.glob("gauge_live*_*.db")}
    for pid in pids:
        if not _is_alive(pid):
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # Signal 0 only asks.
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
