"""A finished network as a scorer."""

import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmserve
from lmserve.errors import CorruptModelError, ModelError, OptionError
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.reading import Reading
from lmserve.rnn.scoring import RecurrentModel
from lmserve.scorer import Scorer

WORDS = st.lists(st.sampled_from(["w0", "w1", "w2", "w3", "unheard"]), max_size=9).map(" ".join)


def stepwise(model: RecurrentModel, text: str, *, bos: bool = True) -> list[float]:
    state = model.begin_state() if bos else model.null_state()
    scores = []
    for word in [*text.split(), "</s>"]:
        score, state = model.score_word(state, word)
        scores.append(score.log10_prob)
    return scores


def test_it_is_a_scorer_and_opened_by_load(recurrent: RecurrentModel, recurrent_path: Path) -> None:
    assert isinstance(recurrent, Scorer)
    model = lmserve.load(recurrent_path)
    assert isinstance(model, RecurrentModel)
    assert model.digest == recurrent.digest
    assert model.score("w0 w1") == recurrent.score("w0 w1")
    other = lmserve.load(recurrent_path, special_tokens=lmserve.SpecialTokens.SPACE)
    assert other.digest != recurrent.digest


@given(text=WORDS, bos=st.booleans())
@settings(max_examples=30)
def test_a_text_is_its_words_one_by_one(recurrent: RecurrentModel, text: str, bos: bool) -> None:
    words = recurrent.score_words(text, bos=bos)
    assert [word.log10_prob for word in words] == pytest.approx(
        stepwise(recurrent, text, bos=bos), abs=1e-5
    )
    assert [word.word for word in words] == [*text.split(), "</s>"]
    assert [word.oov for word in words[:-1]] == [word == "unheard" for word in text.split()]
    total = recurrent.score_texts([text], bos=bos)
    assert total.log10_prob[0] == pytest.approx(sum(w.log10_prob for w in words), abs=1e-9)
    assert total.oov[0] == text.split().count("unheard")


@given(texts=st.lists(WORDS, max_size=12))
@settings(max_examples=20)
def test_a_batch_is_its_texts(recurrent: RecurrentModel, texts: list[str]) -> None:
    together = recurrent.score_texts(texts)
    alone = [recurrent.score(text) for text in texts]
    assert together.log10_prob.tolist() == pytest.approx(alone, abs=1e-5)
    without_end = recurrent.score_texts(texts, eos=False)
    assert without_end.tokens.tolist() == [len(text.split()) for text in texts]


def test_a_long_text_is_scored_piece_by_piece(recurrent: RecurrentModel) -> None:
    text = " ".join(["w0 w1 w2 w3"] * 150)
    assert recurrent.score(text) == pytest.approx(sum(stepwise(recurrent, text)), rel=1e-5)


@pytest.mark.parametrize("bos", [True, False])
def test_probabilities_add_up_to_1(recurrent: RecurrentModel, bos: bool) -> None:
    for context in ("", "w0 w1", "unheard"):
        distribution = recurrent.distribution(context, bos=bos)
        assert distribution.sum() == pytest.approx(1, abs=1e-5)
        assert distribution[1] == 0


def test_the_next_words_are_the_most_probable(recurrent: RecurrentModel) -> None:
    found = recurrent.next_words("w0", top=5)
    scores = [word.log10_prob for word in found]
    assert scores == sorted(scores, reverse=True)
    assert "<unk>" not in [word.word for word in found]
    for word, score in found:
        expected = recurrent.score_words(f"w0 {word}", eos=False)[-1].log10_prob
        if word != "</s>":
            assert score == pytest.approx(expected, abs=1e-5)
    every = recurrent.next_words("w0", top=10**6)
    assert len(every) == len(recurrent.vocabulary) - 2
    with pytest.raises(OptionError, match="top is 0"):
        recurrent.next_words("", top=0)


def test_a_reader_goes_on_from_line_to_line(recurrent: RecurrentModel) -> None:
    lines = ["w0 w1", "", "w2 w0 w1", "w3"]
    reader = recurrent.reader()
    found = np.concatenate([reader.read(lines[:1]).log10_prob, reader.read(lines[1:]).log10_prob])
    state, expected = recurrent.begin_state(), []
    for line in lines:
        for word in [*line.split(), "</s>"]:
            score, state = recurrent.score_word(state, word)
            expected.append(score.log10_prob)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
    # The first line is as it would be alone; the last is not.
    anew = recurrent.score_tokens(lines)
    assert anew.log10_prob[:3] == pytest.approx(found[:3], abs=1e-5)
    assert abs(anew.log10_prob[-1] - found[-1]) > 1e-7


def test_memory_does_not_grow_with_the_text(recurrent: RecurrentModel) -> None:
    reading = Reading(recurrent.network, recurrent.numbering.eos)
    rows = np.random.default_rng(1).integers(0, len(recurrent.numbering), 2_000)

    def numbers() -> int:
        return sum(part.numel() for state in reading.states for part in state)

    before = numbers()
    reading.read(rows)
    process = psutil.Process()
    after_some = process.memory_info().rss
    for _ in range(50):
        reading.read(rows)
    assert numbers() == before
    # A state kept for every word would be 20 MB by now, and its graph a multiple of that.
    assert process.memory_info().rss - after_some < 10e6


def test_sampling_is_seeded(recurrent: RecurrentModel) -> None:
    drawn = recurrent.sample(4, seed=3, max_words=6)
    assert drawn == recurrent.sample(4, seed=3, max_words=6)
    assert drawn[:2] == recurrent.sample(2, seed=3, max_words=6)
    assert drawn != recurrent.sample(4, seed=4, max_words=6)
    assert all(len(text.split()) <= 6 for text in drawn)
    with pytest.raises(OptionError, match="-1 sentences"):
        recurrent.sample(-1)


def test_a_changed_file_is_refused(recurrent_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recurrent_path, copy)
    path = copy / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptModelError, match=r"weights\.safetensors changed"):
        lmserve.load(copy)
    path.unlink()
    with pytest.raises(CorruptModelError, match=r"weights\.safetensors changed"):
        lmserve.load(copy)


def test_a_changed_manifest_is_refused(recurrent_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recurrent_path, copy)
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace('"hidden_size": 16', '"hidden_size": 17'))
    with pytest.raises(CorruptModelError, match="the manifest changed"):
        lmserve.load(copy)
    path.write_text(path.read_text().replace('"hidden_size": 17', '"hidden_size": 1e99'))
    with pytest.raises(CorruptModelError, match="no valid manifest"):
        lmserve.load(copy)
    with pytest.raises(ModelError, match="not a model"):
        RecurrentModel.load(tmp_path)


def test_a_manifest_of_enormous_sizes_takes_no_memory(recurrent_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recurrent_path, copy)
    manifest = RecurrentManifest.read(copy)
    sizes = {"hidden_size": 1 << 16, "layers": 64}
    network = manifest.network.model_copy(update=sizes)
    # With checksums that are right.
    manifest.model_copy(update={"network": network}).seal(copy)
    with pytest.raises(CorruptModelError, match="weights of another network"):
        lmserve.load(copy)
