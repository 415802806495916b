"""Mixtures: they are distributions, their weights are the best, and they are what was saved."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from corpora import zipf_text
from mixable import train_network

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from lmserve.errors import CorruptModelError, ModelError, OptionError
from lmserve.mixing.combining import Method
from lmserve.mixing.components import check_components
from lmserve.mixing.making import MixConfig, mix
from lmserve.mixing.model import Mixture, MixtureState
from lmserve.mixing.word_cache import CacheSettings
from lmserve.ngram.limiting import VocabularyLimit
from lmserve.ngram.smoothing_methods import Smoothing
from lmserve.rnn.scoring import RecurrentModel
from lmserve.scorer import Scorer

BOTH = pytest.mark.parametrize("method", list(Method))
CACHE = CacheSettings(window=20, decay=0.95, theta=1.5, strength=10)
CACHES = pytest.mark.parametrize("cache", [None, CACHE], ids=["plain", "cached"])
LINES = [*zipf_text(12, seed=5).splitlines(), "", "w0 never-seen w1"]


@pytest.fixture(scope="module")
def network_path(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_network(tiny_text, tmp_path_factory.mktemp("network") / "network")


@pytest.fixture(scope="module")
def network(network_path: Path) -> RecurrentModel:
    return RecurrentModel.load(network_path)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dev") / "dev.txt"
    path.write_text(zipf_text(40, seed=7))
    return path


def mixture(
    method: Method,
    *models: lmserve.LanguageModel,
    weights: list[float] | None = None,
    cache: CacheSettings | None = None,
) -> Mixture:
    components = check_components(models, range(len(models)), method)
    return Mixture(components, weights or [1 / len(models)] * len(models), method, cache)


@BOTH
@pytest.mark.parametrize("weights", [[0.3, 0.7], [1.0, 0.0], [0.0, 1.0]])
def test_a_mixture_is_a_distribution(
    tiny_model: lmserve.NgramModel, network: RecurrentModel, method: Method, weights: list[float]
) -> None:
    mixed = mixture(method, tiny_model, network, weights=weights)
    assert isinstance(mixed, Scorer)
    for context, bos in itertools.product(("", "w0 w1", "never-seen"), (True, False)):
        found = mixed.distribution(context, bos=bos)
        assert found.sum() == pytest.approx(1, abs=1e-6)
        assert found[1] == 0
        alone = [model.distribution(context, bos=bos) for model in (tiny_model, network)]
        if method is Method.LINEAR:
            expected = weights[0] * alone[0] + weights[1] * alone[1]
        else:
            expected = alone[0] ** weights[0] * alone[1] ** weights[1]
            expected[1] = 0
            expected /= expected.sum()
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-12)


@BOTH
@CACHES
def test_words_texts_states_and_distributions_agree(
    tiny_model: lmserve.NgramModel,
    network: RecurrentModel,
    method: Method,
    cache: CacheSettings | None,
) -> None:
    mixed = mixture(method, tiny_model, network, weights=[0.6, 0.4], cache=cache)
    for line, bos in itertools.product(LINES, (True, False)):
        state = mixed.begin_state() if bos else mixed.null_state()
        words = mixed.score_words(line, bos=bos)
        for word, written in zip(words, [*line.split(), "</s>"], strict=True):
            found = mixed.log10_distribution(state)
            assert (10**found).sum() == pytest.approx(1, abs=1e-6)
            score, state = mixed.score_word(state, written)
            assert score.log10_prob == pytest.approx(word.log10_prob, abs=1e-5)
            assert score.oov == word.oov == (written not in tiny_model)
            word_id = 0 if score.oov else mixed.vocabulary.find(written.encode())
            assert found[word_id] == pytest.approx(word.log10_prob, abs=1e-5)
        total = sum(word.log10_prob for word in words)
        assert mixed.score(line, bos=bos) == pytest.approx(total, abs=1e-9)
    texts = mixed.score_texts(LINES)
    assert texts.log10_prob.tolist() == pytest.approx([mixed.score(x) for x in LINES], abs=1e-4)
    assert texts.oov[-1] == 1


@BOTH
def test_a_model_mixed_with_itself_is_itself(
    tiny_model: lmserve.NgramModel, method: Method
) -> None:
    mixed = mixture(method, tiny_model, tiny_model, weights=[0.25, 0.75])
    found = mixed.score_tokens(LINES)
    expected = tiny_model.score_tokens(LINES)
    assert found.log10_prob == pytest.approx(expected.log10_prob, abs=1e-6)
    assert (found.starts == expected.starts).all()
    assert [w.word for w in mixed.next_words("w0", top=4)] == [
        w.word for w in tiny_model.next_words("w0", top=4)
    ]


@BOTH
def test_a_reader_carries_what_its_components_carry(
    tiny_model: lmserve.NgramModel, network: RecurrentModel, method: Method
) -> None:
    mixed = mixture(method, tiny_model, network, weights=[0.5, 0.5])
    reader = mixed.reader()
    found = np.concatenate([reader.read(LINES[:5]).log10_prob, reader.read(LINES[5:]).log10_prob])
    running = network.reader().read(LINES).log10_prob
    sentences = tiny_model.score_tokens(LINES).log10_prob
    if method is Method.LINEAR:
        expected = np.log10((10**running + 10**sentences) / 2)
        assert found == pytest.approx(expected, abs=1e-5)
    else:
        # The sum over the vocabulary depends on the position only: by the states, word by word.
        state, expected_parts = network.begin_state(), []
        for line in LINES:
            both = MixtureState((tiny_model.begin_state(), state))
            for word in [*line.split(), "</s>"]:
                score, both = mixed.score_word(both, word)
                expected_parts.append(score.log10_prob)
            state = both.parts[1]
        assert found == pytest.approx(expected_parts, abs=1e-4)
    assert not np.allclose(found, mixed.score_tokens(LINES).log10_prob, atol=1e-4)


@BOTH
@pytest.mark.parametrize("copy", [True, False])
def test_what_was_saved_scores_the_same(
    tiny_model_path: Path,
    network_path: Path,
    dev: Path,
    tmp_path: Path,
    method: Method,
    copy: bool,
) -> None:
    models = (tiny_model_path, network_path)
    manifest = mix(
        MixConfig(
            models=models, dev=(str(dev),), output=tmp_path / "mixed", method=method, copy=copy
        )
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]
    loaded = lmserve.load(tmp_path / "mixed", check=True)
    assert isinstance(loaded, Mixture)
    assert loaded.digest == manifest.digest
    weights = [facts.weight for facts in manifest.components]
    again = mixture(method, *map(lmserve.load, models), weights=weights)
    assert again.digest == manifest.digest
    expected = again.score_tokens(LINES).log10_prob
    assert (loaded.score_tokens(LINES).log10_prob == expected).all()
    # The mixture is better than each of its parts on the text that its weights are made for.
    parts = [facts.perplexity for facts in manifest.components]
    assert manifest.perplexity is not None
    assert all(part is not None and manifest.perplexity < part for part in parts)
    scores = loaded.reader().read(dev.read_bytes().splitlines())
    assert len(scores.log10_prob) == manifest.tokens
    assert 10 ** -scores.log10_prob.mean() == pytest.approx(manifest.perplexity, rel=1e-4)
    (tmp_path / "mixed").rename(tmp_path.parent / f"{tmp_path.name}-moved")
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    if copy:
        assert lmserve.load(moved).digest == manifest.digest


def test_the_digest_tells_weights_methods_and_components_apart(
    tiny_model: lmserve.NgramModel, network: RecurrentModel
) -> None:
    digests = {
        mixture(method, *models, weights=weights).digest
        for method in Method
        for models in ((tiny_model, network), (network, tiny_model))
        for weights in ([0.5, 0.5], [0.25, 0.75], [np.nextafter(0.25, 1), 0.75])
    }
    assert len(digests) == 2 * 2 * 3


def test_only_some_of_the_text_is_read(
    tiny_model_path: Path, network_path: Path, dev: Path, tmp_path: Path
) -> None:
    for method in Method:
        manifest = mix(
            MixConfig(
                models=(tiny_model_path, network_path),
                dev=(str(dev),),
                output=tmp_path / method,
                method=method,
                dev_tokens=25,
            )
        )
        if method is Method.LINEAR:
            assert manifest.tokens == 25
        else:
            lines = dev.read_bytes().splitlines()
            ends = np.cumsum(lmserve.load(tiny_model_path).score_texts(lines).tokens)
            assert manifest.tokens == ends[ends >= 25][0]
    with pytest.raises(OptionError, match="dev-tokens is 0"):
        MixConfig(models=(), dev=(), output=tmp_path, dev_tokens=0)


def test_other_words_are_refused_by_name(
    tiny_model: lmserve.NgramModel, tiny_text: Path, tmp_path: Path
) -> None:
    other = RecurrentModel.load(
        train_network(tiny_text, tmp_path / "few", limit=VocabularyLimit(20))
    )
    with pytest.raises(OptionError) as raised:
        check_components([tiny_model, other], ["one", "two"], Method.LINEAR)
    missing = set(tiny_model.vocabulary) - set(other.vocabulary)
    assert f"one has {len(tiny_model.vocabulary):,} words, two 23" in raised.value.problem
    assert f"{len(missing):,}, such as: {min(missing).decode()}" in raised.value.problem
    assert "--vocab" in raised.value.remedy


def test_models_that_do_not_go_together_are_refused(
    tiny_model: lmserve.NgramModel, tiny_model_path: Path
) -> None:
    spaced = lmserve.load(tiny_model_path, special_tokens=lmserve.SpecialTokens.SPACE)
    with pytest.raises(OptionError, match="special tokens: error, space"):
        check_components([tiny_model, spaced], ["one", "two"], Method.LINEAR)
    nested = mixture(Method.LINEAR, tiny_model, tiny_model)
    with pytest.raises(OptionError, match="two is a mixture itself"):
        check_components([tiny_model, nested], ["one", "two"], Method.LINEAR)
    with pytest.raises(OptionError, match="a mixture of no models"):
        check_components([], [], Method.LINEAR)
    for weights in ([0.5, 0.6], [-0.5, 1.5], [1.0]):
        with pytest.raises(OptionError, match="are none of a linear mixture"):
            mixture(Method.LINEAR, tiny_model, tiny_model, weights=weights)


def test_changed_mixtures_and_components_are_noticed(
    tiny_model_path: Path, network_path: Path, tiny_text: Path, dev: Path, tmp_path: Path
) -> None:
    output = tmp_path / "mixed"
    shutil.copytree(network_path, tmp_path / "network")
    models = (tiny_model_path, tmp_path / "network")
    mix(MixConfig(models=models, dev=(str(dev),), output=output))
    with pytest.raises(ModelError, match="exists already"):
        mix(MixConfig(models=models, dev=(str(dev),), output=output))
    shutil.rmtree(tmp_path / "network")
    with pytest.raises(ModelError, match="is not a model"):
        lmserve.load(output)
    train_network(tiny_text, tmp_path / "network", seed=2)
    with pytest.raises(CorruptModelError, match="the model that was mixed had"):
        lmserve.load(output)
    content = json.loads((output / "manifest.json").read_text())
    content["components"][0]["weight"] /= 2
    (output / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CorruptModelError, match="no valid manifest of a mixture"):
        lmserve.load(output)


def test_special_tokens_are_taken_as_asked_for(
    tiny_model_path: Path, network_path: Path, dev: Path, tmp_path: Path
) -> None:
    models = (tiny_model_path, network_path)
    mix(MixConfig(models=models, dev=(str(dev),), output=tmp_path / "mixed"))
    usual, spaced = (
        lmserve.load(tmp_path / "mixed", special_tokens=choice)
        for choice in (None, lmserve.SpecialTokens.SPACE)
    )
    assert spaced.score("w0 <s> w1") == usual.score("w0 w1") != usual.score("w0 <s> w1")
    assert spaced.digest != usual.digest


def test_scores_that_are_no_probabilities_are_not_added(tiny_text: Path, tmp_path: Path) -> None:
    config = BuildConfig(
        inputs=(str(tiny_text),),
        output=tmp_path / "backoff",
        order=2,
        smoothing=Smoothing.STUPID_BACKOFF,
    )
    build(config, on_ray=False)
    model = lmserve.load(config.output)
    with pytest.raises(OptionError, match="one are no probabilities") as raised:
        check_components([model], ["one"], Method.LINEAR)
    assert "--method log-linear" in raised.value.remedy
    divided = mixture(Method.LOG_LINEAR, model).distribution("w0 w1")
    assert divided.sum() == pytest.approx(1, abs=1e-9)
