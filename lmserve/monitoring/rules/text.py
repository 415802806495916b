"""Text that is scored: whether it still is what the model was made for."""

from lmserve.monitoring.rules.objectives import Objectives
from lmserve.monitoring.rules.rule import Alert, Clock, Group, Recording, Severity

_PERPLEXITY = "cluster:lmserve_scored_perplexity:rate"
_UNKNOWN = "cluster:lmserve_oov_words_per_word:ratio_rate1h"
# That of a model that is served no more is 0.
_HELDOUT = "max by (cluster) (lmserve_model_heldout_perplexity > 0)"


def groups(clock: Clock, objectives: Objectives) -> list[Group]:
    """Perplexity and unknown words of what is scored, and alerts about their drift."""
    hour = clock("1h")
    enough = _sum("increase", "lmserve_words_total", hour) + f" > {objectives.least_words}"
    now, past = f"{_PERPLEXITY}1h", f"{_PERPLEXITY}1w"
    return [
        Group(
            name="lmserve-text",
            rules=(
                *(_perplexity(window, clock(window)) for window in ("1h", "1w")),
                Recording(name=_UNKNOWN, expression=_unknown(hour)),
                Alert(
                    name="LmservePerplexityDrift",
                    severity=Severity.WARNING,
                    expression=f"{now} > {objectives.drift:g} * {_HELDOUT} and {enough}",
                    lasting=clock("30m"),
                    summary="Text is scored that the model was not made for.",
                    description="The perplexity of what was scored in the last hour is "
                    f"{{{{ $value | humanize }}}}, more than {objectives.drift:g} times that of "
                    "the text on which the model was evaluated.",
                ),
                Alert(
                    name="LmservePerplexityRise",
                    severity=Severity.WARNING,
                    expression=f"({now} > {objectives.drift:g} * {past} offset {hour} and {enough})"
                    f" unless {_HELDOUT}",
                    lasting=clock("30m"),
                    summary="The text that is scored has changed.",
                    description="The perplexity of what was scored in the last hour is "
                    f"{{{{ $value | humanize }}}}, more than {objectives.drift:g} times that of "
                    "the week before.",
                ),
                Alert(
                    name="LmserveUnknownWords",
                    severity=Severity.WARNING,
                    expression=f"{_UNKNOWN} > {objectives.oov:g} and {enough}",
                    lasting=clock("30m"),
                    summary="{{ $value | humanizePercentage }} of scored words are unknown.",
                    description="{{ $value | humanizePercentage }} of the words scored in the last "
                    "hour are unknown to the model: another language, another domain, or text that "
                    "is not tokenized as the model's was.",
                ),
            ),
        )
    ]


def _perplexity(window: str, duration: str) -> Recording:
    """Of all words together: long texts weigh as much as their words do."""
    nats = _sum("rate", "lmserve_scored_nats_total", duration)
    words = _sum("rate", "lmserve_likely_words_total", duration)
    return Recording(name=f"{_PERPLEXITY}{window}", expression=f"exp({nats} / ({words} > 0))")


def _unknown(duration: str) -> str:
    unknown = _sum("rate", "lmserve_oov_words_total", duration)
    words = _sum("rate", "lmserve_words_total", duration)
    return f"{unknown} / ({words} > 0)"


def _sum(function: str, metric: str, duration: str) -> str:
    return f"sum by (cluster) ({function}({metric}[{duration}]))"
