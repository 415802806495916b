"""A mixture with a cache as a service: sessions remember, requests begin with nothing read."""

from collections.abc import Iterator

import numpy as np
import pytest
from corpora import zipf_text
from live_service import Live, live

import lmserve
from lmserve.mixing.combining import Method
from lmserve.mixing.model import Mixture
from lmserve.mixing.word_cache import CacheSettings

LINES = zipf_text(3, seed=11).splitlines() * 2


@pytest.fixture(scope="module")
def mixed(tiny_model: lmserve.NgramModel) -> Mixture:
    cache = CacheSettings(window=30, decay=0.95, theta=1.5, strength=10)
    return Mixture([tiny_model], [1.0], Method.LINEAR, cache)


@pytest.fixture(scope="module")
def running(mixed: Mixture) -> Iterator[Live]:
    with live(mixed) as service:
        yield service


def test_a_session_remembers_the_sentences_before(running: Live, mixed: Mixture) -> None:
    expected = mixed.reader().read(LINES).log10_prob
    states, found = [], []
    with running.session() as session:
        session.ready()
        for line in LINES:
            session.send(words=line.split())
            session.send(end=True)
            for answer in session.answers(len(line.split()) + 1):
                found.append(answer["log10_prob"])
                states.append(answer["state"])
    assert found == pytest.approx(expected, abs=1e-9)
    assert not np.allclose(found, mixed.score_tokens(LINES).log10_prob, atol=1e-2)
    # Whoever comes back is remembered, too.
    half = [len(line.split()) + 1 for line in LINES[:3]]
    with running.session(state=states[sum(half) - 1]) as session:
        session.ready()
        session.send(words=LINES[3].split())
        again = [answer["log10_prob"] for answer in session.answers(len(LINES[3].split()))]
    assert again == pytest.approx(expected[sum(half) : sum(half) + len(again)], abs=1e-9)


def test_every_text_of_a_request_begins_with_nothing_read(running: Live, mixed: Mixture) -> None:
    found = running.post(texts=LINES).json()["scores"]
    expected = [mixed.score(line) for line in LINES]
    assert [score["log10_prob"] for score in found] == pytest.approx(expected, abs=1e-9)
