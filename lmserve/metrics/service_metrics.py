"""The metrics of a replica."""

from lmserve.metrics.declaration import Sharing, counter, gauge, histogram

_DURATION_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_WORD_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_PERPLEXITY = (5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6)

REQUESTS = counter("lmserve_requests", "Requests answered.", "route", "status")
REQUEST_DURATION = histogram(
    "lmserve_request_duration_seconds",
    "Time from the request's head to the answer's end; a stream's whole life.",
    "route",
    buckets=_DURATION_S,
)
REQUESTS_IN_FLIGHT = gauge("lmserve_requests_in_flight", "Requests being answered.")
QUEUED_REQUESTS = gauge("lmserve_queued_requests", "Requests that wait for a place.")
DISCONNECTS = counter(
    "lmserve_disconnects", "Requests that broke off before their answer was complete."
)
IDLE_REQUESTS = counter(
    "lmserve_idle_requests", "Requests ended because their client sent nothing for long."
)
STALLED_CLIENTS = counter(
    "lmserve_stalled_clients", "Requests ended because their client took no answer for long."
)
REFUSED_REQUESTS = counter(
    "lmserve_refused_requests", "Requests that were not worked on.", "reason"
)
RATE_LIMITED_REQUESTS = counter(
    "lmserve_rate_limited_requests", "Requests over a rate limit.", "limit"
)
RATE_LIMITER_ERRORS = counter(
    "lmserve_rate_limiter_errors", "Errors and time-outs of the shared rate limits."
)
RECEIVED_BYTES = counter("lmserve_received_bytes", "Bytes of requests' bodies.", "route")
SENT_BYTES = counter("lmserve_sent_bytes", "Bytes of answers' bodies.", "route")

SENTENCES = counter("lmserve_sentences", "Texts scored.")
WORDS = counter("lmserve_words", "Words scored, sentence ends included.")
OOV_WORDS = counter("lmserve_oov_words", "Scored words unknown to the model.")
GENERATED_WORDS = counter("lmserve_generated_words", "Words generated, sentence ends included.")
SCORED_NATS = counter(
    "lmserve_scored_nats",
    "Sum of -ln P over the words of texts whose probability is not 0; with "
    "lmserve_likely_words_total, the perplexity of all that was scored.",
)
LIKELY_WORDS = counter("lmserve_likely_words", "Words of scored texts whose probability is not 0.")
SENTENCE_PERPLEXITY = histogram(
    "lmserve_sentence_perplexity",
    "Perplexity of each text; the sum leaves out infinite ones.",
    buckets=_PERPLEXITY,
)
STREAM_LINE_ERRORS = counter("lmserve_stream_line_errors", "Streamed lines that were no text.")

CACHE_HITS = counter("lmserve_cache_hits", "Texts found in the cache.")
CACHE_MISSES = counter("lmserve_cache_misses", "Texts not found in the cache.")
CACHE_ERRORS = counter(
    "lmserve_cache_errors", "Errors, time-outs and malformed values of the cache."
)
CACHE_LATE = counter(
    "lmserve_cache_late", "Lookups of the cache that requests no longer waited for."
)
BREAKER_OPEN = gauge(
    "lmserve_breaker_open",
    "Replicas that leave a store alone for a while because it failed.",
    "store",
)

BATCHES = counter("lmserve_batches", "Batches that a costly model scored.")
BATCHED_TEXTS = counter("lmserve_batched_texts", "Texts in these batches.")
OVERDUE_BATCHES = counter(
    "lmserve_overdue_batches", "Batches that took too long, whose requests were refused."
)

SESSIONS = gauge("lmserve_sessions", "WebSocket sessions open.")
SESSION_WORDS = counter("lmserve_session_words", "Words answered in sessions.")
SESSION_WORD_SECONDS = histogram(
    "lmserve_session_word_seconds",
    "Time from the message that completes a word to its answer being sent.",
    buckets=_WORD_S,
)
STATE_STORE_ERRORS = counter(
    "lmserve_state_store_errors", "Errors and time-outs of the store of states."
)

REPLICAS = gauge("lmserve_replicas", "Replicas that have loaded their models.")
REPLICAS_WANTED = gauge(
    "lmserve_replicas_wanted",
    "Replicas that the service was told to have.",
    sharing=Sharing.LIVE_MAX,
)
REPLICA_STARTS = counter("lmserve_replica_starts", "Replicas that have started.")
MODEL_INFO = gauge(
    "lmserve_model_info",
    "1 for each model being served.",
    "name",
    "version",
    "digest",
    sharing=Sharing.LIVE_MAX,
)
MODEL_PERPLEXITY = gauge(
    "lmserve_model_heldout_perplexity",
    "Of the text that the model was evaluated on when it was published, where it was.",
    "name",
    "version",
    sharing=Sharing.LIVE_MAX,
)
MODEL_SWAPS = counter("lmserve_model_swaps", "Versions that took the place of another.", "name")
MODEL_LOAD_ERRORS = counter(
    "lmserve_model_load_errors",
    "Attempts to load a version, or to read the model directory (no name), that failed.",
    "name",
)
