"""Truncated distributions against plain ones, the greedy path, and text that stops."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmserve import NgramModel
from lmserve.errors import OptionError
from lmserve.generation import Draft, Finish, Said, say
from lmserve.sampling import SamplingOptions, choose, truncate
from lmserve.text.special_tokens import EOS

# Coarse, so that many are equal.
log10_probs = st.lists(st.integers(-12, 0).map(lambda n: n / 4), min_size=1, max_size=40)


def plain(log10_probs: list[float], temperature: float, top_k: int | None) -> dict[int, float]:
    """The probabilities of the best words by definition, the most probable first."""
    weights = [10 ** (score / temperature) for score in log10_probs]
    order = sorted(range(len(weights)), key=lambda word: -weights[word])[:top_k]
    total = math.fsum(weights[word] for word in order)
    return {word: weights[word] / total for word in order}


@given(
    log10_probs,
    st.floats(0.2, 3),
    st.none() | st.integers(1, 50),
    st.floats(0, 1),
)
def test_truncated_distributions_are_the_plain_ones(
    log10_probs: list[float], temperature: float, top_k: int | None, top_p: float
) -> None:
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p)
    kept, weights = truncate(np.array(log10_probs), options)
    best = plain(log10_probs, temperature, top_k)
    order = list(best)[: len(kept)]
    assert kept.tolist() == sorted(order)
    # The fewest that have the share; a sum may meet it to the last digit.
    mass = math.fsum(best[word] for word in order)
    assert mass >= top_p - 1e-9
    assert len(order) == 1 or mass - best[order[-1]] <= top_p + 1e-9
    assert len(order) == len(best) or top_p < 1
    expected = [best[word] / mass for word in kept.tolist()]
    assert weights / weights.sum() == pytest.approx(expected)


def test_a_nucleus_of_thousands_of_words() -> None:
    scores = -np.log10(np.arange(1, 30_001))
    kept, weights = truncate(scores, SamplingOptions(top_p=0.9))
    sums = np.cumsum(1 / np.arange(1, 30_001))
    assert kept.tolist() == list(range(int(np.searchsorted(sums, 0.9 * sums[-1])) + 1))
    assert weights == pytest.approx(1 / (1 + kept))
    every, _ = truncate(scores, SamplingOptions(top_p=1 - 1e-16))
    assert len(every) >= 29_990


def test_words_are_drawn_as_often_as_the_truncated_distribution_says() -> None:
    scores = np.log10([0.3, 1e-300, 0.1, 0.2, 0.2, 0.05, 0.15])
    options = SamplingOptions(temperature=0.5, top_k=4, top_p=0.9, seed=3)
    stream = options.stream(0)
    counts = Counter(choose(scores, options, stream) for _ in range(20_000))
    # Squared: 0.04, 0.04, 0.0225, 0.01; the first three have 91 percent.
    assert set(counts) == {3, 4, 6}
    for word, square in ((1, 0.04), (2, 0.04), (4, 0.0225)):
        probability = square / 0.1025
        spread = 5 * math.sqrt(probability / 20_000)
        assert counts[EOS + word] / 20_000 == pytest.approx(probability, abs=spread)


def test_a_small_temperature_comes_to_the_best_word_and_none_is_it() -> None:
    scores = np.array([0.0, 0.0, -3.0, -2.0, -2.0, -40.0])
    for options in (
        SamplingOptions(temperature=0),
        SamplingOptions(temperature=1e-300, top_k=1),
        SamplingOptions(top_p=0),
    ):
        assert choose(scores, options, options.stream(0)) == 3
    close = SamplingOptions(temperature=1e-9)
    stream = close.stream(0)
    assert {choose(scores, close, stream) for _ in range(50)} == {3, 4}


def test_where_every_word_is_impossible_the_sentence_ends() -> None:
    scores = np.full(6, -np.inf)
    for options in (SamplingOptions(), SamplingOptions(temperature=0), SamplingOptions(top_p=0.5)):
        assert choose(scores, options, options.stream(0)) == EOS


@pytest.mark.parametrize(
    "bad", [{"temperature": -1}, {"temperature": math.inf}, {"top_k": 0}, {"top_p": 1.1}]
)
def test_options_have_ranges(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(bad))):
        SamplingOptions(**bad)  # type: ignore[arg-type]


def test_greedy_words_are_the_most_probable_path(tiny_model: NgramModel) -> None:
    drawn = tiny_model.draw(
        tiny_model.begin_state(), SamplingOptions(temperature=0, seed=9), max_words=20
    )
    path: list[str] = []
    for word_id, log10_prob, _ in drawn:
        best = tiny_model.next_words(" ".join(path), top=1)[0]
        word = tiny_model.vocabulary[word_id].decode()
        assert (word, log10_prob) == best
        path.append(word)
    assert len(path) == 20 or path[-1] == "</s>"


def test_what_is_said_is_what_is_sampled(tiny_model: NgramModel) -> None:
    sampled = tiny_model.sample(20, seed=5, max_words=12)
    ends = set()
    for index, sentence in enumerate(sampled):
        *said, finish = say(
            tiny_model,
            tiny_model.begin_state(),
            SamplingOptions(seed=5),
            index=index,
            max_words=12,
        )
        words = [word for word in said if isinstance(word, Said)]
        assert "".join(word.text for word in words) == sentence
        ended = finish is Finish.END
        assert sum(word.log10_prob for word in words) == pytest.approx(
            tiny_model.score(sentence, eos=ended)
        )
        ends.add(finish)
    assert ends == {Finish.END, Finish.LENGTH}


def drafted(words: list[str], stops: list[str], *, spaced: bool = False) -> tuple[str, Draft]:
    """What came out of a draft, and the draft."""
    draft = Draft(stops, spaced=spaced)
    said: list[Said] = []
    for word in words:
        said += draft.add(word, 0.0, ())
        if draft.stopped:
            break
    said += draft.rest()
    text = "".join(one.text for one in said)
    for one in said:
        assert one.word.startswith(text[one.offset :][: len(one.word)])
    return text, draft


@given(
    st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab"]), max_size=8),
    st.lists(st.text("ab ", min_size=1, max_size=5), max_size=3),
    st.booleans(),
)
def test_text_ends_before_the_first_stop_sequence(
    words: list[str], stops: list[str], spaced: bool
) -> None:
    text, draft = drafted(words, stops, spaced=spaced)
    # Where several are possible, the one that is complete after the fewest words.
    for count in range(len(words) + 1):
        whole = " " * (spaced and count > 0) + " ".join(words[:count])
        places = [whole.find(stop) for stop in stops if stop in whole]
        if places:
            break
    assert draft.stopped == bool(places)
    # A space whose word is cut off goes with it.
    assert text == (whole[: min(places)].rstrip(" ") if places else whole)


def test_words_are_held_only_while_they_may_begin_a_stop_sequence() -> None:
    draft = Draft(["cat sat"])
    words = ["the", "cat", "cat", "ran"]
    certain = [[one.word for one in draft.add(word, 0.0, ())] for word in words]
    assert certain == [["the"], [], ["cat"], ["cat", "ran"]]
