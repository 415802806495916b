"""What the service counts, for Prometheus.

Where its node's processes share their metrics (`lmserve.metrics.sharing`), they are added up,
whichever of them answers `/metrics`.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from lmserve.metrics import families
from lmserve.metrics import service_metrics as declared
from lmserve.metrics.reading import Collected, registry_of
from lmserve.metrics.sharing import exposition, shared_folder
from lmserve.scorer import TextScore, TextScores
from lmserve.service import request_record
from lmserve.service.breaker import Breaker
from lmserve.service.tallying import Buckets


class ServiceMetrics:
    """All metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(families.counter, registry=self.registry)
        gauge = partial(families.gauge, registry=self.registry)
        histogram = partial(families.histogram, registry=self.registry)
        self.requests = counter(declared.REQUESTS)
        self.received_bytes = counter(declared.RECEIVED_BYTES)
        self.sent_bytes = counter(declared.SENT_BYTES)
        self.request_duration = histogram(declared.REQUEST_DURATION)
        self.in_flight = gauge(declared.REQUESTS_IN_FLIGHT)
        self.disconnects = counter(declared.DISCONNECTS)
        self.idle_requests = counter(declared.IDLE_REQUESTS)
        self.stalled_clients = counter(declared.STALLED_CLIENTS)
        self.refused_requests = counter(declared.REFUSED_REQUESTS)
        self.rate_limited = counter(declared.RATE_LIMITED_REQUESTS)
        self.rate_limiter_errors = counter(declared.RATE_LIMITER_ERRORS)
        self.queued = gauge(declared.QUEUED_REQUESTS)
        self.sentences = counter(declared.SENTENCES)
        self.words = counter(declared.WORDS)
        self.oov_words = counter(declared.OOV_WORDS)
        self.generated_words = counter(declared.GENERATED_WORDS)
        self.scored_nats = counter(declared.SCORED_NATS)
        self.likely_words = counter(declared.LIKELY_WORDS)
        self.sentence_perplexity = histogram(declared.SENTENCE_PERPLEXITY)
        self._perplexities = Buckets(self.sentence_perplexity.bounds)
        self.cache_hits = counter(declared.CACHE_HITS)
        self.cache_misses = counter(declared.CACHE_MISSES)
        self.cache_errors = counter(declared.CACHE_ERRORS)
        self.cache_late = counter(declared.CACHE_LATE)
        self.breaker_open = gauge(declared.BREAKER_OPEN)
        self.batches = counter(declared.BATCHES)
        self.batched_texts = counter(declared.BATCHED_TEXTS)
        self.overdue_batches = counter(declared.OVERDUE_BATCHES)
        self.stream_line_errors = counter(declared.STREAM_LINE_ERRORS)
        self.sessions = gauge(declared.SESSIONS)
        self.session_words = counter(declared.SESSION_WORDS)
        self.session_word_seconds = histogram(declared.SESSION_WORD_SECONDS)
        self.state_store_errors = counter(declared.STATE_STORE_ERRORS)
        self.replicas = gauge(declared.REPLICAS)
        self.replicas_wanted = gauge(declared.REPLICAS_WANTED)
        self.replica_starts = counter(declared.REPLICA_STARTS)
        self._model_info = gauge(declared.MODEL_INFO)
        self._model_perplexity = gauge(declared.MODEL_PERPLEXITY)
        self.model_swaps = counter(declared.MODEL_SWAPS)
        self.model_load_errors = counter(declared.MODEL_LOAD_ERRORS)

    def serves(
        self, name: str, version: str, digest: str, heldout_perplexity: float | None = None
    ) -> None:
        """Tells of a model that requests reach from now on.

        Args:
            name: its name.
            version: which.
            digest: its digest.
            heldout_perplexity: what it came to when it was published, if that is known.
        """
        self._model_info.labels(name, version, digest).set(1)
        if heldout_perplexity is not None:
            self._model_perplexity.labels(name, version).set(heldout_perplexity)

    def serves_no_more(self, name: str, version: str, digest: str) -> None:
        """Tells of a model that no new request reaches."""
        self._model_info.labels(name, version, digest).set(0)
        self._model_perplexity.labels(name, version).set(0)

    def breaker(self, store: str) -> Breaker:
        """A breaker for a store, of which it is told whether it is open."""
        return Breaker(on_change=self.breaker_open.labels(store).set)

    def scored(self, scores: Sequence[TextScore]) -> None:
        """Counts a batch of answered texts, also for the request that is being answered."""
        self._count(len(scores), sum(score.tokens for score in scores))
        likely = [score for score in scores if score.log10_prob > -math.inf]
        self._count_likely(
            math.fsum(score.log10_prob for score in likely), sum(score.tokens for score in likely)
        )
        if oov := sum(score.oov for score in scores):
            self.oov_words.inc(oov)
        self.sentence_perplexity.observe_many([score.perplexity for score in scores])

    def scored_batch(self, scores: TextScores, perplexity: npt.NDArray[np.float64]) -> None:
        """Counts a batch of answered texts given as columns.

        Args:
            scores: of the texts.
            perplexity: float64 [B], `scores.perplexity()`.
        """
        tally, counts = self._perplexities.tally(scores, perplexity)
        self._count(len(scores), tally.words)
        self._count_likely(tally.log10_prob, tally.likely_words)
        if tally.oov:
            self.oov_words.inc(tally.oov)
        self.sentence_perplexity.add(counts, tally.perplexity)

    def _count(self, texts: int, words: int) -> None:
        self.sentences.inc(texts)
        self.words.inc(words)
        if (record := request_record.current()) is not None:
            record.count(texts, words)

    def _count_likely(self, log10_prob: float, words: int) -> None:
        self.scored_nats.inc(-log10_prob * math.log(10))
        self.likely_words.inc(words)

    def exposition(self) -> bytes:
        """The metrics in Prometheus text format, of all processes of this node where they share."""
        return self.encoded("")[0]

    def encoded(self, accept: str) -> tuple[bytes, str]:
        """The metrics in a format that a scraper accepts, and its media type.

        What processes share has no exemplars, and is in Prometheus text format.
        """
        if folder := shared_folder():
            return exposition(folder), CONTENT_TYPE_LATEST
        encode, media_type = choose_encoder(accept)
        return encode(registry_of(Collected(self.registry.collect()))), media_type
