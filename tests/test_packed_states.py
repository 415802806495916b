"""States as bytes: the same to the bit, and nothing else is taken for one."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixable import train_network

import lmserve
from lmserve.errors import StateError
from lmserve.mixing.combining import Method
from lmserve.mixing.model import Mixture
from lmserve.mixing.state_packing import join_states, split_states
from lmserve.mixing.word_cache import CacheSettings
from lmserve.ngram.states import State, pack_rows, unpack_rows
from lmserve.packed_states import seal, unseal
from lmserve.positions import beginning, end_sentence, pack_position, read_text, unpack_position
from lmserve.rnn.cells import Cell
from lmserve.rnn.config import CellKind, NetworkConfig
from lmserve.rnn.network import Network
from lmserve.rnn.scoring import RecurrentModel
from lmserve.rnn.state_packing import pack_states, unpack_states

KINDS = ("ngram", "network", "linear", "log-linear", "cached")
SOME = ["w0", "w1", "w2", "w17", "unheard"]
WORDS = st.lists(st.sampled_from(SOME), max_size=6).map(" ".join)
CACHE = CacheSettings(window=3, decay=0.9, theta=1, strength=20)
DIGESTS = ("ab" * 32, "cd" * 32)


@pytest.fixture(scope="module")
def models(
    tiny_text: Path, tiny_model: lmserve.NgramModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = train_network(tiny_text, tmp_path_factory.mktemp("network") / "network")
    network = RecurrentModel.load(folder)
    both = (tiny_model, network)
    return {
        "ngram": tiny_model,
        "network": network,
        "linear": Mixture(both, [0.4, 0.6], Method.LINEAR),
        "log-linear": Mixture(both, [0.4, 0.6], Method.LOG_LINEAR),
        "cached": Mixture(both, [0.4, 0.6], Method.LINEAR, CACHE),
    }


@given(kind=st.sampled_from(KINDS), text=WORDS, bos=st.booleans(), word=st.sampled_from(SOME))
@settings(max_examples=60)
def test_an_unpacked_state_scores_to_the_bit_as_before(
    models: dict[str, Any], kind: str, text: str, bos: bool, word: str
) -> None:
    model = models[kind]
    state = model.state_after(text, bos=bos)
    packed = model.pack_state(state)
    again = model.unpack_state(packed)
    assert model.pack_state(again) == packed
    before, after = model.log10_distribution(state), model.log10_distribution(again)
    assert before.tobytes() == after.tobytes()
    (score, state), (same, again) = model.score_word(state, word), model.score_word(again, word)
    assert score == same
    assert model.pack_state(state) == model.pack_state(again)


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_small_whatever_the_length(models: dict[str, Any], kind: str) -> None:
    model = models[kind]
    sizes = {len(model.pack_state(model.state_after("w0 w1 w2 " * n))) for n in (1, 10, 100)}
    assert len(sizes) == 1
    # Two rows; one layer of LSTM with two vectors of 16 numbers.
    ngram, network = 17 + 2 * 8, 17 + 2 * 16 * 4
    mixture = 17 + 4 + ngram + 4 + network
    expected = {"ngram": ngram, "network": network, "cached": mixture + 4 + 4 * CACHE.window}
    assert max(sizes) <= expected.get(kind, mixture)


@given(kind=st.sampled_from(KINDS), data=st.binary(max_size=300))
def test_random_bytes_are_no_state(models: dict[str, Any], kind: str, data: bytes) -> None:
    with pytest.raises(StateError):
        models[kind].unpack_state(data)
    with pytest.raises(StateError):
        unpack_position(models[kind], data)


@given(kind=st.sampled_from(KINDS), data=st.binary(max_size=300))
def test_random_bytes_under_a_seal_are_a_state_or_an_error(
    models: dict[str, Any], kind: str, data: bytes
) -> None:
    model = models[kind]
    try:
        state = model.unpack_state(seal(data, model.digest))
    except StateError:
        return
    score, _ = model.score_word(state, "w0")
    assert not np.isnan(score.log10_prob)


@given(st.data(), st.sampled_from(KINDS))
@settings(max_examples=60)
def test_a_damaged_byte_is_noticed(models: dict[str, Any], data: st.DataObject, kind: str) -> None:
    model = models[kind]
    packed = bytearray(model.pack_state(model.state_after("w0 w1")))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateError):
        model.unpack_state(bytes(packed))


def test_states_of_other_models_are_refused(models: dict[str, Any]) -> None:
    for kind, other in itertools.permutations(KINDS, 2):
        packed = models[kind].pack_state(models[kind].begin_state())
        with pytest.raises(StateError, match=models[other].digest[:16]):
            models[other].unpack_state(packed)


@given(st.binary(max_size=50))
def test_a_seal_holds_for_one_digest(payload: bytes) -> None:
    assert unseal(seal(payload, DIGESTS[0]), DIGESTS[0]) == payload
    with pytest.raises(StateError, match="another model"):
        unseal(seal(payload, DIGESTS[0]), DIGESTS[1])


@given(st.lists(st.integers(-2, 7), max_size=4))
def test_rows_are_inside_their_levels(rows: list[int]) -> None:
    levels = (5, 7, 3)
    packed = pack_rows(State(tuple(rows)))
    if len(rows) <= 3 and all(0 <= r < n for r, n in zip(rows, levels, strict=False)):
        assert unpack_rows(packed, levels) == State(tuple(rows))
    else:
        with pytest.raises(StateError):
            unpack_rows(packed, levels)
    with pytest.raises(StateError):
        unpack_rows(packed + b"x", levels)


@given(st.data())
def test_rows_that_do_not_belong_together_harm_nobody(
    tiny_model: lmserve.NgramModel, data: st.DataObject
) -> None:
    levels = tiny_model.manifest.ngrams[:-1]
    rows = tuple(data.draw(st.integers(0, level_rows - 1)) for level_rows in levels)
    packed = seal(pack_rows(State(rows)), tiny_model.digest)
    state = tiny_model.unpack_state(packed)
    assert np.isfinite(tiny_model.score_word(state, "w0")[0].log10_prob)
    assert len(tiny_model.log10_distribution(state)) == len(tiny_model.vocabulary)


@pytest.mark.parametrize("cell", list(CellKind))
def test_the_states_of_every_cell_come_back(cell: CellKind) -> None:
    network = Network(NetworkConfig(cell=cell, embedding_size=6, hidden_size=5, layers=2), 9).eval()
    with torch.inference_mode():
        output, states = network.step(torch.tensor([3]), network.initial_states(1))
    again = unpack_states(pack_states(states), network)
    flat = [part for state in states for part in state]
    assert len(flat) == 2 * _layer(network).states
    assert all(map(torch.equal, flat, [part for state in again for part in state]))
    assert torch.equal(again[-1][0], output)


def _layer(network: Network) -> Cell:
    return network.layers[0]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_of_a_state_are_finite(models: dict[str, Any], number: float) -> None:
    network = models["network"].network
    states = network.initial_states(1)
    states[0][0][0, 3] = number
    with pytest.raises(StateError, match="not finite"):
        unpack_states(pack_states(states), network)
    with pytest.raises(StateError, match="bytes"):
        unpack_states(b"\0" * 4, network)


@given(st.lists(st.binary(max_size=9), max_size=4))
def test_joined_states_are_split_again(states: list[bytes]) -> None:
    joined = join_states(states)
    assert split_states(joined, len(states)) == states
    for wrong, count in ((joined, len(states) + 1), (joined + b"x", len(states))):
        with pytest.raises(StateError, match="mixture"):
            split_states(wrong, count)


@given(kind=st.sampled_from(KINDS), first=WORDS, second=WORDS, bos=st.booleans())
@settings(max_examples=60)
def test_a_text_read_in_two_parts_is_the_text(
    models: dict[str, Any], kind: str, first: str, second: str, bos: bool
) -> None:
    model = models[kind]
    scores, position = read_text(model, beginning(model, bos=bos), first)
    position = unpack_position(model, pack_position(model, position))
    more, position = read_text(model, position, second)
    end, after = end_sentence(model, position)
    found = [*scores, *more, end]
    whole = model.score_words(f"{first} {second}", bos=bos)
    exact = 0.0 if kind == "ngram" else 1e-5
    assert [s[1:] for s in found] == [s[1:] for s in whole]
    assert [s.log10_prob for s in found] == pytest.approx(
        [s.log10_prob for s in whole], abs=exact, rel=0
    )
    assert after.words == len(found)
    assert not after.begun
    assert after.log10_prob == pytest.approx(model.score(f"{first} {second}", bos=bos), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_follow_one_another_as_a_reader_reads_them(
    models: dict[str, Any], kind: str
) -> None:
    model = models[kind]
    lines = ["w0 w1 w2", "", "w1 unheard"]
    found, position = [], beginning(model)
    for line in lines:
        scores, position = read_text(model, position, line)
        end, position = end_sentence(model, position)
        found += [score.log10_prob for score in (*scores, end)]
    assert found == pytest.approx(model.reader().read(lines).log10_prob.tolist(), abs=1e-5)


@pytest.mark.parametrize("special", list(lmserve.SpecialTokens))
def test_marks_in_a_text_are_what_they_are_in_a_whole_one(
    tiny_model_path: Path, special: lmserve.SpecialTokens
) -> None:
    model = lmserve.load(tiny_model_path, special_tokens=special)
    text = "w0 </s> w1 <s> <unk> w2"
    scores, _ = read_text(model, beginning(model), text)
    assert scores == model.score_words(text, eos=False)


@pytest.mark.parametrize("place", [0, 1, 48, 60])
def test_a_damaged_place_is_refused(models: dict[str, Any], place: int) -> None:
    model = models["ngram"]
    packed = bytearray(pack_position(model, beginning(model)))
    packed[place : place + 2] = b"\xff\xff"
    with pytest.raises(StateError):
        unpack_position(model, bytes(packed))
