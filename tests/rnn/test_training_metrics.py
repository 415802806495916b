"""What Prometheus is told of a training."""

import math
import subprocess
import urllib.request
from typing import Any

import pytest
from ports import free_port
from programs import program

from lmserve.errors import OptionError
from lmserve.rnn.metrics import TrainingMetrics

LOG: dict[str, Any] = {
    "step": 40,
    "epoch": 1.5,
    "done": 0.25,
    "loss": math.log(120),
    "norm": 2.0,
    "largest_norm": 9.0,
    "clipped_norm": 0.25,
    "clipped": 0.5,
    "skipped": 3,
    "groups": {"embedding": 1.0, "cells.0": 1.5},
    "rate": 0.01,
    "tokens_per_s": 5000.0,
    "valid_perplexity": 99.0,
    "horizons": [12, None],
}


def value(metrics: TrainingMetrics, name: str, **labels: str) -> float | None:
    wanted = {"run": "r", "cell": "lstm", **labels}
    return metrics.registry.get_sample_value(f"lmserve_training_{name}", wanted)


def test_a_log_becomes_metrics() -> None:
    metrics = TrainingMetrics("r", "lstm")
    metrics.update(LOG)
    assert value(metrics, "perplexity", split="train") == pytest.approx(120)
    assert value(metrics, "perplexity", split="valid") == 99
    assert value(metrics, "gradient_norm", clipping="before") == 2
    assert value(metrics, "gradient_norm", clipping="after") == 0.25
    assert value(metrics, "gradient_group_norm", group="cells.0") == 1.5
    assert value(metrics, "memory_horizon_words", layer="0") == 12
    assert value(metrics, "memory_horizon_words", layer="1") == math.inf
    assert value(metrics, "clipped_ratio") == 0.5
    assert value(metrics, "skipped_steps_total") == 3


def test_skipped_steps_only_rise() -> None:
    metrics = TrainingMetrics("r", "lstm")
    for skipped, expected in ((3, 3), (5, 5), (4, 5), (6, 7)):
        metrics.update(LOG | {"skipped": skipped})
        assert value(metrics, "skipped_steps_total") == expected


def test_what_is_no_number_is_told_as_none() -> None:
    metrics = TrainingMetrics("r", "lstm")
    metrics.update(LOG | {"loss": None, "norm": None, "valid_perplexity": None})
    found = value(metrics, "gradient_norm", clipping="before")
    assert found is not None
    assert math.isnan(found)
    assert value(metrics, "perplexity", split="valid") is None


def test_prometheus_gets_them_and_their_names_follow_its_rules() -> None:
    metrics = TrainingMetrics("r", "lstm")
    metrics.update(LOG)
    port = free_port()
    metrics.serve(port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    assert 'lmserve_training_learning_rate{cell="lstm",run="r"} 0.01' in text
    command = [program("promtool", "prometheus"), "check", "metrics"]
    result = subprocess.run(command, input=text, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with pytest.raises(OptionError, match=f"metrics port {port}"):
        metrics.serve(port)
