"""What was measured of networks, as pages for people and as JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmserve.errors import CorruptModelError
from lmserve.pages.html import heading, page, paragraph, picture, table
from lmserve.rnn.config import CellKind
from lmserve.rnn.corpus import read_rows
from lmserve.rnn.experiment import Experiment, ExperimentConfig, Run
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.pictures import draw_explosion, draw_gradients, draw_lags, draw_learning, svg
from lmserve.rnn.probing import WARM, LagCurve, probe
from lmserve.rnn.scoring import RecurrentModel
from lmserve.rnn.step_log import STEPS_FILE, Log
from lmserve.rnn.stepping import StepFacts
from lmserve.text.pieces import Piece
from lmserve.text.special_tokens import SpecialTokens


@dataclass(frozen=True)
class Probed:
    """A finished network and what was measured of it.

    Attributes:
        name: as people call it.
        manifest: of its folder.
        logs: of its training's steps.
        curves: of its layers.
    """

    name: str
    manifest: RecurrentManifest
    logs: Sequence[Log]
    curves: Sequence[LagCurve]


def probe_model(
    path: Path,
    text: Sequence[Piece],
    *,
    lags: int,
    windows: int,
    special_tokens: SpecialTokens | None = None,
    shorten: bool = False,
) -> Probed:
    """Probes a finished network on a text.

    Args:
        path: its folder.
        text: from `lmserve.text.sources.split`.
        lags: see `probing.probe`.
        windows: see `probing.probe`.
        special_tokens: how to take them in the text; None means as the network was trained.
        shorten: measure fewer lags of a text that is too short for all, rather than refuse it.

    Raises:
        OptionError: the text is too short.
    """
    model = RecurrentModel.load(path, special_tokens=special_tokens)
    rows = read_rows(text, model.vocabulary, model.special_tokens, model.segment)
    reach = min(lags, max(0, len(rows) - WARM)) if shorten else lags
    curves = probe(model.network, rows, lags=reach, windows=windows) if reach or not shorten else []
    return Probed(str(path), model.manifest, read_logs(path), curves)


def read_logs(folder: Path) -> list[Log]:
    """The log of steps in a folder; empty where there is none.

    Raises:
        CorruptModelError: it was changed.
    """
    path = folder / STEPS_FILE
    if not path.exists():
        return []
    try:
        return [_log(json.loads(line)) for line in path.read_text().splitlines()]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptModelError(
            f"{path} is no log of steps: {error}", "Delete it, or copy it again."
        ) from error


def _log(fields: dict[str, Any]) -> Log:
    """JSON has no word for what is not finite: it is written as null."""
    groups = _numbers(fields["groups"])
    return Log(**{**_numbers(fields), "groups": groups})


def _numbers(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in fields.items()}


def models_page(models: Sequence[Probed]) -> str:
    """A page about some finished networks, the first table and picture about all of them.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    parts: list[str] = []
    if curves := labelled(models):
        parts += [
            table("How far back they remember", HORIZON_HEADS, horizon_rows(curves)),
            picture(svg(draw_lags({"Memory by lag": curves})), "norms by lag"),
        ]
    for model in models:
        parts += [heading(model.name), *_model(model)]
    return page("How far back gradients reach", parts)


def experiment_page(config: ExperimentConfig, found: Experiment) -> str:
    """A page about the lecture's experiment."""
    clip_at = config.exploding(clipped=True).clip_at
    before, after = named_curves(found.before), named_curves(found.after)
    perplexities = [(str(cell), value) for cell, value in found.perplexities.items()]
    return page(
        "Vanishing and exploding gradients",
        [
            heading("How far back cells remember"),
            picture(svg(draw_lags(experiment_panels(found))), "norms by lag"),
            table("At initialisation", HORIZON_HEADS, horizon_rows(before)),
            table(f"After {config.steps} steps", HORIZON_HEADS, horizon_rows(after)),
            table("Held-out text after training", ("", "perplexity"), perplexities),
            heading("What clipping is for"),
            picture(svg(draw_explosion(explosion_runs(found), clip_at)), "loss and norms"),
            paragraph(outcome("Not clipped", found.unclipped)),
            paragraph(outcome("Clipped", found.clipped)),
            table("Settings", ("setting", "value"), asdict(config).items()),
        ],
    )


def experiment_panels(found: Experiment) -> dict[str, dict[str, LagCurve]]:
    """What `draw_lags` draws of the experiment."""
    return {
        "At initialisation": named_curves(found.before),
        "After training": named_curves(found.after),
    }


def explosion_runs(found: Experiment) -> dict[str, Sequence[StepFacts]]:
    """What `draw_explosion` draws of the experiment."""
    return {"not clipped": found.unclipped.facts, "clipped": found.clipped.facts}


def named_curves(curves: Mapping[CellKind, LagCurve]) -> dict[str, LagCurve]:
    """Curves of cells by the cells' names."""
    return {str(cell): curve for cell, curve in curves.items()}


def outcome(name: str, run: Run) -> str:
    """How a training ended, in a sentence."""
    losses = [fact.loss / fact.tokens for fact in run.facts]
    applied = sum(fact.applied for fact in run.facts)
    if run.error is None:
        return f"{name}: loss {losses[0]:.3g} nats a word at first, {losses[-1]:.3g} at the end."
    worst = max(filter(math.isfinite, losses))
    return (
        f"{name}: loss {losses[0]:.3g} nats a word at first, {worst:.3g} at its worst; after step "
        f"{applied} no gradient was finite."
    )


def labelled(models: Sequence[Probed]) -> dict[str, LagCurve]:
    """The curves of all models, by a name that tells them apart."""
    return {
        f"{model.name} ({model.manifest.network.cell}), layer {curve.layer + 1}": curve
        for model in models
        for curve in model.curves
    }


def _model(model: Probed) -> list[str]:
    manifest, logs = model.manifest, model.logs
    facts = {
        "words in the vocabulary": manifest.words,
        "words trained on": manifest.tokens,
        "parameters": manifest.parameters,
        "digest": manifest.digest,
    }
    parts = [
        table("Model", ("", ""), facts.items()),
        table("Network", ("setting", "value"), manifest.network.model_dump(mode="json").items()),
        table("Training", ("setting", "value"), manifest.training.model_dump(mode="json").items()),
        table(
            "Epochs",
            ("epoch", "training perplexity", "validation perplexity", "seconds", "averaged"),
            [tuple(epoch.model_dump().values()) for epoch in manifest.epochs],
        ),
    ]
    if not logs:
        return [*parts, paragraph(f"Its folder holds no {STEPS_FILE}: nothing about its steps.")]
    training = manifest.training
    clip_at = training.clip_at if training.clip == "norm" else None
    largest = max((log.largest_norm for log in logs if math.isfinite(log.largest_norm)), default=0)
    steps = {
        "steps": logs[-1].step,
        "steps not applied": logs[-1].skipped,
        "part of the steps that were clipped": f"{clipped_part(logs):.1%}",
        "largest finite gradient norm": largest,
    }
    return [
        *parts,
        table("Steps", ("", ""), steps.items()),
        picture(svg(draw_learning(logs, manifest.epochs)), "loss and perplexity"),
        picture(svg(draw_gradients(logs, clip_at)), "gradient norms"),
    ]


def clipped_part(logs: Sequence[Log]) -> float:
    """The part of all steps that were clipped, from 0 to 1."""
    clipped, before = 0.0, 0
    for log in logs:
        clipped += log.clipped * (log.step - before)
        before = log.step
    return clipped / before


HORIZON_HEADS = ("", "memory horizon (words)", "norm at the last lag", "|W_hh|", "radius of W_hh")


def horizon_rows(curves: Mapping[str, LagCurve]) -> list[tuple[str, ...]]:
    """For a table: what each curve comes to."""
    return [
        (
            name,
            f"over {curve.lags[-1]}" if curve.horizon is None else str(curve.horizon),
            f"{curve.norms[-1]:.2g}",
            *("-" if x is None else f"{x:.3f}" for x in (curve.weight_norm, curve.weight_radius)),
        )
        for name, curve in curves.items()
    ]


def models_facts(models: Sequence[Probed]) -> dict[str, Any]:
    """What `models_page` draws, for JSON."""
    return {
        model.name: {
            "digest": model.manifest.digest,
            "cell": model.manifest.network.cell,
            "layers": [_curve_facts(curve) for curve in model.curves],
        }
        for model in models
    }


def experiment_facts(config: ExperimentConfig, found: Experiment) -> dict[str, Any]:
    """What `experiment_page` draws, for JSON."""
    return {
        "config": asdict(config),
        "before": {name: _curve_facts(c) for name, c in named_curves(found.before).items()},
        "after": {name: _curve_facts(c) for name, c in named_curves(found.after).items()},
        "perplexities": {str(cell): _finite(value) for cell, value in found.perplexities.items()},
        **{
            name: {
                "losses": [_finite(fact.loss / fact.tokens) for fact in run.facts],
                "norms": [_finite(fact.gradient.norm) for fact in run.facts],
                "error": run.error and run.error.problem,
            }
            for name, run in (("unclipped", found.unclipped), ("clipped", found.clipped))
        },
    }


def _curve_facts(curve: LagCurve) -> dict[str, Any]:
    bound = curve.bound and [_finite(value) for value in curve.bound]
    measured = {
        name: [_finite(value) for value in values]
        for name, values in (("norms", curve.norms), ("means", curve.means))
    }
    return {**asdict(curve), **measured, "bound": bound, "horizon": curve.horizon}


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
