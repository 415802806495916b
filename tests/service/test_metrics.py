"""Metrics of one process, and of several that share a folder."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from programs import program
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from lmserve.metrics.families import BatchHistogram
from lmserve.scorer import TextScore, TextScores
from lmserve.service.metrics import ServiceMetrics

# Two texts and a request in flight, then what the process says about all.
PROGRAM = """
from lmserve.scorer import TextScore
from lmserve.service.metrics import ServiceMetrics
metrics = ServiceMetrics()
metrics.serves("m", "1", "ab")
metrics.serves_no_more("m", "1", "ab")
metrics.serves("m", "2", "cd", 80.5)
metrics.in_flight.inc()
metrics.scored([TextScore(-2.0, 2, 0), TextScore(-6.0, 3, 1)])
print(metrics.exposition().decode())
"""


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_batch_counts_like_its_values_one_by_one() -> None:
    registry = CollectorRegistry()
    together = BatchHistogram("together", "-", buckets=(1, 2, 5), registry=registry)
    alone = BatchHistogram("alone", "-", buckets=(1, 2, 5), registry=registry)
    values = [0.5, 1, 1.5, 2, 2, 4.5, 5, 5.1, 1e300]
    together.observe_many(values)
    together.observe_many([])
    for value in values:
        alone.observe(value)
    for suffix, labels in [("sum", {}), ("count", {})] + [
        ("bucket", {"le": bound}) for bound in ("1.0", "2.0", "5.0", "+Inf")
    ]:
        expected = registry.get_sample_value(f"alone_{suffix}", labels)
        assert expected is not None
        assert registry.get_sample_value(f"together_{suffix}", labels) == expected


def test_infinite_values_count_without_ending_the_sum() -> None:
    registry = CollectorRegistry()
    histogram = BatchHistogram("h", "-", buckets=(1, 2), registry=registry)
    histogram.observe_many([1.5, math.inf])
    assert registry.get_sample_value("h_sum") == 1.5
    assert registry.get_sample_value("h_bucket", {"le": "+Inf"}) == 2


def test_scored_texts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics = ServiceMetrics()
    metrics.serves("m", "1", "ab")
    metrics.scored([TextScore(-2.0, 2, 0), TextScore(-math.inf, 3, 1)])
    got = samples(metrics.exposition().decode())
    assert got["lmserve_sentences_total",] == 2
    assert got["lmserve_words_total",] == 5
    assert got["lmserve_oov_words_total",] == 1
    assert got["lmserve_sentence_perplexity_bucket", "10.0"] == 1
    assert got["lmserve_sentence_perplexity_count",] == 2


def test_the_perplexity_of_all_that_was_scored_leaves_impossible_texts_out() -> None:
    metrics = ServiceMetrics()
    metrics.scored([TextScore(-2.0, 2, 0), TextScore(-math.inf, 3, 1)])
    batch = TextScores(
        log10_prob=np.array([-1.0, -math.inf, -3.0]),
        known_log10_prob=np.array([-1.0, 0.0, -3.0]),
        tokens=np.array([1, 7, 4]),
        oov=np.array([0, 0, 0]),
    )
    metrics.scored_batch(batch, batch.perplexity())
    get = metrics.registry.get_sample_value
    nats, words = get("lmserve_scored_nats_total"), get("lmserve_likely_words_total")
    assert nats is not None
    assert nats == pytest.approx(6 * math.log(10), rel=1e-15)
    assert words == 2 + 1 + 4
    assert math.exp(nats / words) == pytest.approx(10 ** (6 / 7))
    assert get("lmserve_words_total") == 5 + 12


# Log10 probabilities, some of which make a bucket's bound; words, and those out of vocabulary.
ROWS = st.tuples(
    st.sampled_from([-math.inf, 0.0, -1.0, -2.0]) | st.floats(-400, 0),
    st.integers(0, 400),
    st.integers(0, 400),
)


@given(st.lists(ROWS, max_size=50))
@example([(-1.0, 1, 0), (-2.0, 1, 0), (-4.0, 2, 1), (-400.0, 1, 0), (-math.inf, 1, 1)])
def test_a_batch_of_texts_counts_like_its_texts_one_by_one(
    rows: list[tuple[float, int, int]],
) -> None:
    log10_prob, tokens, oov = (np.array([row[place] for row in rows]) for place in range(3))
    batch = TextScores(
        log10_prob=log10_prob.astype(np.float64),
        known_log10_prob=log10_prob.astype(np.float64),
        tokens=tokens.astype(np.int64),
        oov=oov.astype(np.int64),
    )
    together, alone = ServiceMetrics(), ServiceMetrics()
    together.scored_batch(batch, batch.perplexity())
    for score in batch.rows():
        alone.scored([score])
    expected = {key: value for key, value in values_of(alone).items() if value}
    got = {key: value for key, value in values_of(together).items() if value}
    assert got == pytest.approx(expected, rel=1e-12)


def values_of(metrics: ServiceMetrics) -> dict[str, float]:
    """Of what texts add to."""
    return {
        f"{sample.name}{sample.labels}": sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_models_that_are_served_no_more_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics = ServiceMetrics()
    metrics.serves("m", "1", "ab", 86.5)
    metrics.serves("n", "1", "cd")
    got = samples(metrics.exposition().decode())
    assert got["lmserve_model_info", "ab", "m", "1"] == 1
    assert got["lmserve_model_heldout_perplexity", "m", "1"] == 86.5
    assert ("lmserve_model_heldout_perplexity", "n", "1") not in got
    metrics.serves_no_more("m", "1", "ab")
    metrics.serves_no_more("n", "1", "cd")
    left = metrics.exposition().decode()
    assert "lmserve_model_info{" not in left
    assert "lmserve_model_heldout_perplexity{" not in left


def test_processes_that_share_a_folder_are_added_up(tmp_path: Path) -> None:
    folder = tmp_path / "not made yet"
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    first, second = (
        samples(
            subprocess.run(
                [sys.executable, "-c", PROGRAM],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(2)
    )
    assert first["lmserve_sentences_total",] == 2
    assert second["lmserve_sentences_total",] == 4
    assert second["lmserve_words_total",] == 10
    assert second["lmserve_sentence_perplexity_count",] == 4
    assert second["lmserve_sentence_perplexity_sum",] == pytest.approx(220)
    # The first process is gone, and so is its request in flight.
    assert second["lmserve_requests_in_flight",] == 1
    # Of what processes share nothing can be removed, and yet no old version is told.
    infos = {key[1:]: value for key, value in second.items() if key[0] == "lmserve_model_info"}
    assert infos == {("cd", "m", "2"): 1}
    assert second["lmserve_model_heldout_perplexity", "m", "2"] == 80.5
    assert ("lmserve_model_heldout_perplexity", "m", "1") not in second


def test_prometheus_accepts_names_types_and_help() -> None:
    metrics = ServiceMetrics()
    metrics.scored([TextScore(-2.0, 2, 0), TextScore(-math.inf, 3, 1)])
    metrics.requests.labels("/v1/score", "200").inc()
    metrics.request_duration.labels("/v1/score").observe(0.1)
    command = [program("promtool", "prometheus"), "check", "metrics"]
    result = subprocess.run(command, input=metrics.exposition(), capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
