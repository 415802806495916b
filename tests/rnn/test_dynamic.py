"""Dynamic evaluation: what it does to the copy, and that it does nothing to the model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from corpora import zipf_text

from lmserve.errors import OptionError
from lmserve.rnn.corpus import Rows
from lmserve.rnn.dynamic import DynamicConfig, DynamicReading, MeanSquares, mean_squares
from lmserve.rnn.network import Network
from lmserve.rnn.reading import Reading
from lmserve.rnn.scoring import RecurrentModel, RunningReader


@pytest.fixture
def network(recurrent: RecurrentModel) -> Network:
    return recurrent.network


@pytest.fixture
def eos(recurrent: RecurrentModel) -> int:
    return recurrent.numbering.eos


@pytest.fixture(scope="module")
def rows(recurrent: RecurrentModel) -> Rows:
    """A text with a phrase that comes again and again."""
    lines = zipf_text(12, seed=3).splitlines() + ["w7 w1 w9 w2 w8"] * 30
    ids, _ = recurrent.encode_texts(lines, eos=True)
    return recurrent.numbering.rows(ids)


def test_without_steps_it_is_plain_reading(network: Network, eos: int, rows: Rows) -> None:
    plain = Reading(network, eos).read(rows)
    for rule in ("rms", "sgd"):
        config = DynamicConfig(rule=rule, rate=0.0, length=7)
        assert DynamicReading(network, eos, config).read(rows) == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        DynamicConfig(rule="sgd", rate=0.5, length=5),
        DynamicConfig(rule="rms", rate=0.01, length=5),
    ],
)
def test_it_learns_what_comes_again_and_leaves_the_model_alone(
    network: Network, eos: int, rows: Rows, config: DynamicConfig
) -> None:
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    plain = Reading(network, eos).read(rows)
    reading = DynamicReading(network, eos, config)
    learned = reading.read(rows)
    assert learned[-60:].mean() > plain[-60:].mean() + 0.5
    assert learned[:5] == pytest.approx(plain[:5], abs=1e-5)
    assert len(learned) == len(plain)
    for name, weight in network.named_parameters():
        assert torch.equal(weight, before[name])
        assert not weight.requires_grad
    changed = dict(reading.network.named_parameters())
    assert all(not torch.equal(changed[name], before[name]) for name in before)


def plain_steps(
    network: Network, eos: int, rows: Rows, config: DynamicConfig, squares: MeanSquares | None
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The formulas of the paper, weight by weight."""
    copied = DynamicReading(network, eos, DynamicConfig(rate=0.0)).network
    trained = {name: p.detach().clone() for name, p in copied.named_parameters()}
    given = None if squares is None else dict(zip(trained, squares.roots(), strict=True))
    sums = {name: torch.zeros_like(p) for name, p in trained.items()}
    states, last, log_probs = copied.initial_states(1), eos, []
    for segment, start in enumerate(range(0, len(rows), config.length), 1):
        targets = torch.from_numpy(rows[start : start + config.length]).unsqueeze(1)
        words = torch.cat((torch.tensor([[last]]), targets[:-1]))
        loss, activity, states = copied(words, targets, states)
        every = copied.output.log_probs(activity.whole[:, 0]).gather(1, targets)
        log_probs += every[:, 0].tolist()
        copied.zero_grad()
        (loss / len(targets)).backward()
        states = tuple(tuple(part.detach() for part in state) for state in states)
        last = int(targets[-1])
        with torch.no_grad():
            for name, p in copied.named_parameters():
                sums[name] += p.grad**2
            roots = given or {name: (part / segment).sqrt() for name, part in sums.items()}
            mean = torch.cat([root.flatten() for root in roots.values()]).mean()
            for name, p in copied.named_parameters():
                if config.rule == "sgd":
                    p += -config.step_size * p.grad + config.decay * (trained[name] - p)
                else:
                    back = torch.clamp(config.decay * roots[name] / mean, max=1)
                    step = config.step_size * p.grad / (roots[name] + config.epsilon)
                    p += -step + back * (trained[name] - p)
    return log_probs, dict(copied.named_parameters())


@pytest.mark.parametrize("rule", ["rms", "sgd"])
@pytest.mark.parametrize("beforehand", [False, True])
def test_it_follows_the_formulas(
    network: Network, eos: int, rows: Rows, rule: str, beforehand: bool
) -> None:
    rows = rows[:61]
    rate = 0.3 if rule == "sgd" else 0.003
    config = DynamicConfig(rule=rule, rate=rate, decay=0.3, length=6)
    squares = mean_squares(network, eos, rows[::-1].copy(), 6) if beforehand else None
    expected, weights = plain_steps(network, eos, rows, config, squares)
    reading = DynamicReading(network, eos, config, squares)
    assert reading.read(rows) == pytest.approx(expected, abs=1e-4)
    for name, weight in reading.network.named_parameters():
        assert torch.allclose(weight, weights[name], atol=1e-4), name


def test_mean_squares_are_counted_once_a_segment(network: Network, eos: int, rows: Rows) -> None:
    squares = mean_squares(network, eos, rows[:50], 20)
    assert squares.segments == 3
    assert sum(root.numel() for root in squares.roots()) == sum(
        p.numel() for p in network.parameters()
    )
    DynamicReading(network, eos, DynamicConfig(), squares).read(rows)
    assert squares.segments == 3, "given statistics stay as they are"


def test_steps_that_are_too_large_are_named(network: Network, eos: int, rows: Rows) -> None:
    reading = DynamicReading(network, eos, DynamicConfig(rule="sgd", rate=3e38, length=10))
    with pytest.raises(OptionError, match=r"dynamic evaluation failed: after \d+ words") as raised:
        reading.read(rows)
    assert "it is 3e+38" in raised.value.remedy


@pytest.mark.parametrize(
    "settings",
    [{"rate": -1.0}, {"rate": float("nan")}, {"decay": 1.5}, {"epsilon": 0.0}, {"length": 257}],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(OptionError, match=f"dynamic-{name} is"):
        DynamicConfig(**settings)


def test_a_reader_of_lines_is_one_of_their_words(
    recurrent: RecurrentModel, network: Network, eos: int, texts: tuple[Path, Path]
) -> None:
    lines = texts[1].read_bytes().splitlines()
    config = DynamicConfig(rule="sgd", length=5)
    found = RunningReader(recurrent, DynamicReading(network, eos, config)).read(lines)
    ids, starts = recurrent.encode_texts(lines, eos=True)
    expected = DynamicReading(network, eos, config).read(recurrent.numbering.rows(ids))
    assert found.log10_prob == pytest.approx(expected / np.log(10), abs=1e-9)
    assert (found.starts == starts).all()
