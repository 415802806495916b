"""The board of trainings: perplexity, gradients, how far they reach."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from lmserve.metrics import job_metrics
from lmserve.metrics import training_metrics as m
from lmserve.monitoring.expressions import Chosen
from lmserve.monitoring.layout import CLUSTER, Annotation, Row, Variable, board
from lmserve.monitoring.panels import curves, number

_OF = Chosen({"run": "run"})
_RUN = "{{run}} ({{cell}})"
_BY_RUN = m.LABELS


def training_board() -> Dashboard:
    """Whether trainings learn, and whether their gradients vanish or explode."""
    return board(
        "training",
        "Training and gradients",
        "Perplexity, gradient norms before and after clipping, how far gradients reach back.",
        (_now(), _learning(), _gradients(), _reach()),
        variables=(CLUSTER, Variable("run", f'{m.STEPS.shown}{{cluster=~"$cluster"}}', "run")),
        annotations=(
            Annotation(
                "Start",
                f"1000 * {_OF.largest(job_metrics.STARTED, 'run', kind='train')}",
                "{{run}}",
                "blue",
                at_value=True,
            ),
            Annotation(
                "Restart",
                f"{_OF.of(m.STEPS)} < {_OF.of(m.STEPS)} offset $__interval",
                "{{run}} goes on from a checkpoint",
                "orange",
            ),
        ),
    )


def _now() -> Row:
    return Row(
        "Now",
        (
            (
                number(
                    "Progress",
                    "percentunit",
                    "Part of all epochs that is done.",
                    _OF.largest(m.PROGRESS, *_BY_RUN),
                    legend=_RUN,
                ),
                number(
                    "Valid perplexity",
                    "short",
                    "Of all valid text, when it was last measured.",
                    _OF.largest(m.PERPLEXITY, *_BY_RUN, split="valid"),
                    legend=_RUN,
                ),
                number(
                    "Steps",
                    "short",
                    "Updates tried.",
                    _OF.largest(m.STEPS, *_BY_RUN),
                    legend=_RUN,
                ),
                number(
                    "Skipped steps",
                    "short",
                    "Updates not applied, as the gradient had exploded, in all.",
                    _OF.added(m.SKIPPED_STEPS, *_BY_RUN),
                    legend=_RUN,
                    limits=(1, 10),
                ),
            ),
        ),
    )


def _learning() -> Row:
    return Row(
        "Learning",
        (
            (
                curves(
                    "Perplexity",
                    "short",
                    "Of the last steps' text, and of all valid text. A valid perplexity that rises "
                    "while the other falls: the network learns by heart.",
                    [(_OF.largest(m.PERPLEXITY, *_BY_RUN, "split"), f"{_RUN}, {{{{split}}}}")],
                    logarithmic=True,
                ),
                curves(
                    "Tokens",
                    "suffix: words/s",
                    "Words learned from a second, of all workers.",
                    [(_OF.largest(m.TOKENS_PER_SECOND, *_BY_RUN), _RUN)],
                ),
                curves(
                    "Learning rate",
                    "short",
                    "Of the last step.",
                    [(_OF.largest(m.LEARNING_RATE, *_BY_RUN), _RUN)],
                ),
            ),
        ),
    )


def _gradients() -> Row:
    norm = _OF.largest(m.GRADIENT_NORM, *_BY_RUN, "clipping")
    return Row(
        "Gradients",
        (
            (
                curves(
                    "Gradient norm",
                    "short",
                    "Of the synchronised gradient, before and after clipping: mean of the last "
                    "steps, and the largest of them before. Exploding gradients jump by powers of "
                    "ten.",
                    [
                        (norm, f"{_RUN}, {{{{clipping}}}} clipping"),
                        (_OF.largest(m.GRADIENT_NORM_MAX, *_BY_RUN), f"{_RUN}, largest"),
                    ],
                    logarithmic=True,
                ),
                curves(
                    "Clipped steps",
                    "percentunit",
                    "Part of the last steps that were clipped. Near 1, clipping sets the step's "
                    "length, not the learning rate.",
                    [(_OF.largest(m.CLIPPED, *_BY_RUN), _RUN)],
                    limits=(0.9,),
                    most=1,
                ),
                curves(
                    "Skipped steps",
                    "short",
                    "Updates not applied, as the gradient had exploded, in all.",
                    [(_OF.added(m.SKIPPED_STEPS, *_BY_RUN), _RUN)],
                    limits=(1,),
                ),
            ),
        ),
    )


def _reach() -> Row:
    return Row(
        "By part of the network",
        (
            (
                curves(
                    "Norm by parameter group",
                    "short",
                    "Before clipping. A group whose norm falls by powers of ten no longer learns.",
                    [
                        (
                            _OF.largest(m.GRADIENT_GROUP_NORM, *_BY_RUN, "group"),
                            "{{run}}: {{group}}",
                        )
                    ],
                    logarithmic=True,
                ),
                curves(
                    "Memory horizon by layer",
                    "short",
                    "Lag, in words, at which a state's gradient is below 1% of its first. Short: "
                    "gradients vanish. Infinite where it is farther than was probed.",
                    [
                        (
                            _OF.largest(m.MEMORY_HORIZON, *_BY_RUN, "layer"),
                            f"{_RUN}, layer {{{{layer}}}}",
                        )
                    ],
                ),
            ),
        ),
    )
