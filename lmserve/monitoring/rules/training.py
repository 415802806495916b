"""Trainings: gradients that explode or vanish, and what comes of it."""

from lmserve.monitoring.rules.jobs import RUNNING
from lmserve.monitoring.rules.objectives import Objectives
from lmserve.monitoring.rules.rule import Alert, Clock, Group, Severity

_PERPLEXITY = 'lmserve_training_perplexity{split="train"}'


def groups(clock: Clock, objectives: Objectives) -> list[Group]:
    """Alerts about the training of networks."""
    return [
        Group(
            name="lmserve-training",
            rules=(
                _exploding(clock, objectives),
                _diverged(clock, objectives),
                _vanishing(clock, objectives),
            ),
        )
    ]


def _exploding(clock: Clock, objectives: Objectives) -> Alert:
    skipped = f"lmserve_training_skipped_steps_total[{clock('10m')}]"
    return Alert(
        name="LmserveGradientsExploding",
        severity=Severity.WARNING,
        expression=f"sum by (cluster, run, cell) (increase({skipped})) > "
        f"{objectives.skipped_steps}",
        summary="The gradients of {{ $labels.run }} explode.",
        description="{{ $value | humanize }} updates of {{ $labels.run }} ({{ $labels.cell }}) "
        "were left out in 10 minutes, as the gradient was not finite or too large.",
    )


def _diverged(clock: Clock, objectives: Objectives) -> Alert:
    best = f"min_over_time({_PERPLEXITY}[{clock('1h')}])"
    # What is no number is not equal to itself.
    broken = f"{_PERPLEXITY} != {_PERPLEXITY} or {_PERPLEXITY} == Inf"
    worse = f"{_PERPLEXITY} > {objectives.divergence:g} * {best}"
    return Alert(
        name="LmserveTrainingDiverged",
        severity=Severity.WARNING,
        expression=f"({broken} or {worse}) and on (cluster, run) ({RUNNING})",
        lasting=clock("5m"),
        summary="{{ $labels.run }} unlearns.",
        description="The training perplexity of {{ $labels.run }} ({{ $labels.cell }}) is "
        f"{{{{ $value | humanize }}}}: no number, or more than {objectives.divergence:g} times the "
        "best of the last hour.",
    )


def _vanishing(clock: Clock, objectives: Objectives) -> Alert:
    horizon = "max by (cluster, run, cell) (lmserve_training_memory_horizon_words)"
    return Alert(
        name="LmserveGradientsVanish",
        severity=Severity.WARNING,
        expression=f"{horizon} < {objectives.horizon_words} and on (cluster, run) ({RUNNING})",
        lasting=clock("30m"),
        summary="The gradients of {{ $labels.run }} vanish.",
        description="In no layer of {{ $labels.run }} ({{ $labels.cell }}) a gradient reaches "
        "farther back than {{ $value }} words: it learns nothing from what came before.",
    )
