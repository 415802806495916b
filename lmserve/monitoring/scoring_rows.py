"""The service's rows about what it scores: texts, cache, batches, sessions."""

from lmserve.metrics import service_metrics as m
from lmserve.monitoring.expressions import QUANTILES, or_zero
from lmserve.monitoring.layout import Line, Row
from lmserve.monitoring.panels import curves, heat
from lmserve.monitoring.request_rows import SERVICE as _OF

_OOV_RATIO = f"{_OF.rate(m.OOV_WORDS)} / {_OF.rate(m.WORDS)}"
_TEXT_PERPLEXITY = f"exp({_OF.rate(m.SCORED_NATS)} / {_OF.rate(m.LIKELY_WORDS)})"
_LOOKUPS = f"({_OF.rate(m.CACHE_HITS)} + {_OF.rate(m.CACHE_MISSES)})"


def text_row() -> Row:
    """What is scored, and how it suits the models."""
    return Row("Text", (_amounts(), _perplexity()))


def _amounts() -> Line:
    return (
        curves(
            "Words",
            "suffix: words/s",
            "Words scored and generated a second, sentence ends included.",
            [
                (_OF.rate(m.WORDS), "scored"),
                (_OF.rate(m.GENERATED_WORDS), "generated"),
            ],
        ),
        curves(
            "Texts",
            "short",
            "Texts scored a second, streamed ones too; and streamed lines that were no text.",
            [
                (_OF.rate(m.SENTENCES), "scored"),
                (_OF.rate(m.STREAM_LINE_ERRORS), "no text"),
            ],
        ),
        curves(
            "Unknown words",
            "percentunit",
            "Part of the scored words that the model does not know. A rise means other "
            "text, or text that is tokenised otherwise.",
            [(_OOV_RATIO, "unknown")],
            limits=(0.2,),
        ),
    )


def _perplexity() -> Line:
    return (
        curves(
            "Perplexity of the text against the model's",
            "short",
            "Of all words scored, beside that of the text that each model was evaluated on "
            "when it was published. Far above it, the text is of another kind.",
            [
                (_TEXT_PERPLEXITY, "scored text"),
                (
                    _OF.largest(m.MODEL_PERPLEXITY, "name", "version"),
                    "{{name}} {{version}}, held-out",
                ),
            ],
            logarithmic=True,
        ),
        curves(
            "Perplexity of single texts",
            "short",
            "Quantiles over the texts scored.",
            [
                (_OF.quantile(quantile, m.SENTENCE_PERPLEXITY), f"p{quantile * 100:.0f}")
                for quantile in QUANTILES
            ],
            logarithmic=True,
        ),
        heat(
            "Distribution of perplexity",
            "short",
            "Texts scored, by their perplexity.",
            _OF.buckets(m.SENTENCE_PERPLEXITY),
        ),
    )


def cache_row() -> Row:
    """What the cache and batching spare, and their troubles."""
    return Row("Cache and batches", (_cached(), _batched()))


def _cached() -> Line:
    return (
        curves(
            "Cache hits",
            "percentunit",
            "Part of the looked-up texts that the cache had.",
            [(f"{_OF.rate(m.CACHE_HITS)} / {_LOOKUPS}", "hits")],
            most=1,
        ),
        curves(
            "Cache troubles",
            "short",
            "Errors of the cache, and lookups that requests no longer waited for, a "
            "second. Requests are answered all the same, more slowly.",
            [
                (_OF.rate(m.CACHE_ERRORS), "errors"),
                (_OF.rate(m.CACHE_LATE), "late"),
                (_OF.rate(m.STATE_STORE_ERRORS), "errors of the store of states"),
            ],
            limits=(0.1,),
        ),
        curves(
            "Breakers open",
            "short",
            "Replicas that leave a store alone for a while because it failed.",
            [
                (
                    or_zero(_OF.added(m.BREAKER_OPEN, "store"), "store"),
                    "{{store}}",
                )
            ],
            limits=(1,),
        ),
    )


def _batched() -> Line:
    return (
        curves(
            "Batches",
            "short",
            "Batches that costly models scored a second, and those that took too long.",
            [
                (_OF.rate(m.BATCHES), "scored"),
                (_OF.rate(m.OVERDUE_BATCHES), "overdue"),
            ],
        ),
        curves(
            "Texts in a batch",
            "short",
            "Mean. Near 1 under load, batching does not help.",
            [(f"{_OF.rate(m.BATCHED_TEXTS)} / {_OF.rate(m.BATCHES)}", "texts")],
        ),
    )


def sessions_row() -> Row:
    """Words answered one by one."""
    return Row(
        "Sessions",
        (
            (
                curves(
                    "Sessions",
                    "short",
                    "WebSocket sessions open.",
                    [(_OF.added(m.SESSIONS), "open")],
                ),
                curves(
                    "Words in sessions",
                    "suffix: words/s",
                    "Words answered a second.",
                    [(_OF.rate(m.SESSION_WORDS), "words")],
                ),
                curves(
                    "Latency of a word",
                    "s",
                    "From the message that completes a word to its answer.",
                    [
                        (_OF.quantile(quantile, m.SESSION_WORD_SECONDS), f"p{quantile * 100:.0f}")
                        for quantile in QUANTILES
                    ],
                    logarithmic=True,
                ),
            ),
        ),
    )
