"""Mixtures with a cache of words: what they carry, what it brings, and what was saved."""

import json
from pathlib import Path

import numpy as np
import pytest
from corpora import zipf_text

import lmserve
from lmserve.errors import CorruptModelError
from lmserve.mixing.combining import Method
from lmserve.mixing.making import MixConfig, mix
from lmserve.mixing.model import Mixture
from lmserve.mixing.word_cache import CacheSettings, WordCache

BOTH = pytest.mark.parametrize("method", list(Method))
CACHE = CacheSettings(window=20, decay=0.95, theta=1.5, strength=10)
LINES = [*zipf_text(12, seed=5).splitlines(), "", "w0 never-seen w1"]


@BOTH
def test_a_cache_goes_on_from_line_to_line(tiny_model: lmserve.NgramModel, method: Method) -> None:
    plain, mixed = (Mixture([tiny_model], [1.0], method, cache) for cache in (None, CACHE))
    assert mixed.carries_state
    reader = mixed.reader()
    found = np.concatenate([reader.read(LINES[:5]).log10_prob, reader.read(LINES[5:]).log10_prob])
    scores = plain.score_tokens(LINES)
    ids, _ = tiny_model.encode_texts(LINES, eos=True)
    cache = WordCache(CACHE, len(tiny_model.vocabulary))
    recalled = cache.recall(ids, np.array([0, len(ids)]))
    assert found == pytest.approx(cache.blend(scores.log10_prob, recalled), abs=1e-9)
    state, by_word = mixed.begin_state(), []
    for line in LINES:
        for word in [*line.split(), "</s>"]:
            score, state = mixed.score_word(state, word)
            by_word.append(score.log10_prob)
        state = mixed.next_sentence(state)
    assert by_word == pytest.approx(found, abs=1e-9)
    # By itself every line begins with nothing read.
    assert not np.allclose(found, mixed.score_tokens(LINES).log10_prob, atol=1e-3)
    first = [mixed.score_words(line)[0].log10_prob for line in LINES]
    assert first == pytest.approx([plain.score_words(line)[0].log10_prob for line in LINES])


@BOTH
def test_a_text_that_repeats_itself_is_better_with_a_cache(
    tiny_model_path: Path, other_model_path: Path, tmp_path: Path, method: Method
) -> None:
    dev = tmp_path / "dev.txt"
    dev.write_text(zipf_text(10, seed=3) * 3 + zipf_text(10, seed=4) * 3)
    models = (tiny_model_path, other_model_path)
    plain, cached = (
        mix(
            MixConfig(
                models=models, dev=(str(dev),), output=tmp_path / name, method=method, cache=cache
            )
        )
        for name, cache in (("plain", None), ("cached", 300))
    )
    assert plain.perplexity is not None
    assert cached.perplexity is not None
    assert cached.perplexity < plain.perplexity / 2
    assert cached.cache is not None
    assert cached.cache.window == 300
    assert cached.digest != plain.digest
    assert "cache" not in json.loads((tmp_path / "plain" / "manifest.json").read_text())
    loaded = lmserve.load(tmp_path / "cached")
    assert loaded.digest == cached.digest
    scores = loaded.reader().read(dev.read_bytes().splitlines()).log10_prob
    assert 10 ** -scores.mean() == pytest.approx(cached.perplexity, rel=1e-4)
    written = tmp_path / "cached" / "manifest.json"
    content = json.loads(written.read_text())
    content["cache"]["theta"] += 1
    written.write_text(json.dumps(content))
    with pytest.raises(CorruptModelError, match="method or cache"):
        lmserve.load(tmp_path / "cached")


@BOTH
@pytest.mark.parametrize("cache", [None, CACHE], ids=["plain", "cached"])
def test_white_space_around_a_word_is_none_of_it(
    tiny_model: lmserve.NgramModel, method: Method, cache: CacheSettings | None
) -> None:
    mixed = Mixture([tiny_model], [1.0], method, cache)
    state = mixed.state_after("w1 w0")
    expected, after = mixed.score_word(state, "w0")
    for written in (" w0", "w0\n", "\tw0 "):
        score, other = mixed.score_word(state, written)
        assert score[:3] == expected[:3]
        assert mixed.pack_state(other) == mixed.pack_state(after)
