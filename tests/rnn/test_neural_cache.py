"""The continuous cache: exact probabilities, by the paper's formula."""

import numpy as np
import pytest
import torch
from corpora import zipf_text
from hypothesis import given, settings
from hypothesis import strategies as st

from lmserve.errors import OptionError
from lmserve.rnn.corpus import Rows
from lmserve.rnn.network import Network
from lmserve.rnn.neural_cache import CacheConfig, CachedReading
from lmserve.rnn.reading import Reading
from lmserve.rnn.scoring import RecurrentModel


@pytest.fixture(scope="module")
def rows(recurrent: RecurrentModel) -> Rows:
    ids, _ = recurrent.encode_texts(zipf_text(40, seed=3).splitlines(), eos=True)
    return recurrent.numbering.rows(ids)


def plain_cache(network: Network, eos: int, rows: Rows, config: CacheConfig) -> list[float]:
    """P of each word, from all words before it, one by one."""
    seen = torch.from_numpy(np.concatenate(([eos], rows[:-1]))).unsqueeze(1)
    activity, _ = network.activity(seen, network.initial_states(1))
    hidden = activity.whole[:, 0].double()
    probs = network.output.log_probs(activity.whole[:, 0]).double().exp()
    found = []
    for t, word in enumerate(rows):
        cached = range(max(0, t - config.window), t)
        scores = [float(torch.exp(config.theta * hidden[t] @ hidden[i])) for i in cached]
        same = [score for i, score in zip(cached, scores, strict=True) if rows[i] == word]
        weight = config.weight if t else 0.0
        found.append((1 - weight) * float(probs[t, word]) + weight * sum(same) / (sum(scores) or 1))
    return found


@pytest.mark.parametrize("window", [1, 7, 10_000])
def test_it_follows_the_formula(recurrent: RecurrentModel, rows: Rows, window: int) -> None:
    config = CacheConfig(window=window, theta=0.7, weight=0.3)
    network, eos = recurrent.network, recurrent.numbering.eos
    # Longer than what is read at once, in parts of other lengths than the window.
    assert len(rows) > 256
    reading = CachedReading(network, eos, config)
    found = np.concatenate(
        [reading.read(rows[:5]), reading.read(rows[5:300]), reading.read(rows[300:])]
    )
    assert np.exp(found) == pytest.approx(plain_cache(network, eos, rows, config), rel=1e-4)


@given(
    st.integers(0, 60),
    st.integers(1, 40),
    st.floats(0, 5),
    st.floats(0, 0.99),
)
@settings(max_examples=40)
def test_probabilities_add_up_to_1(
    recurrent: RecurrentModel, rows: Rows, before: int, window: int, theta: float, weight: float
) -> None:
    config = CacheConfig(window=window, theta=theta, weight=weight)
    reading = CachedReading(recurrent.network, recurrent.numbering.eos, config)
    reading.read(rows[:before])
    distribution = reading.distribution()
    assert distribution.sum() == pytest.approx(1, abs=1e-5)
    assert (distribution == reading.distribution()).all(), "looking changes nothing"
    (found,) = reading.read(rows[before : before + 1])
    assert np.exp(found) == pytest.approx(distribution[rows[before]], rel=1e-4)


def test_a_cache_of_no_weight_changes_nothing(recurrent: RecurrentModel, rows: Rows) -> None:
    network, eos = recurrent.network, recurrent.numbering.eos
    found = CachedReading(network, eos, CacheConfig(weight=0.0)).read(rows)
    assert found == pytest.approx(Reading(network, eos).read(rows), abs=1e-6)


def test_it_finds_what_comes_again(recurrent: RecurrentModel) -> None:
    ids, _ = recurrent.encode_texts(["w7 w1 w9 w2 w8"] * 20, eos=True)
    rows, network, eos = recurrent.numbering.rows(ids), recurrent.network, recurrent.numbering.eos
    plain = Reading(network, eos).read(rows)
    cached = CachedReading(network, eos, CacheConfig(weight=0.5)).read(rows)
    assert cached[0] == pytest.approx(plain[0], abs=1e-6)
    assert cached[6:].mean() > plain[6:].mean() + 0.5


@pytest.mark.parametrize(
    "settings", [{"window": 0}, {"theta": -1.0}, {"theta": float("inf")}, {"weight": 1.0}]
)
def test_settings_outside_their_range_are_refused(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(OptionError, match=f"cache-{name} is"):
        CacheConfig(**settings)
