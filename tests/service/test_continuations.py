"""Texts that go on from kept states, of every kind of model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_service import Live, live
from mixable import train_network
from redis_server import running_redis
from tokenizers_made import TEXT, train_bpe, train_sentencepiece

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from lmserve.mixing.combining import Method
from lmserve.mixing.model import Mixture
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.rnn.scoring import RecurrentModel
from lmserve.service.redis_state_store import RedisStateStore
from lmserve.service.schemas import ScoreResponse
from lmserve.text.tokenization import Tokenization

# An n-gram model, a network, their linear mixture and their log-linear one.
EVERY = pytest.mark.parametrize("model", ["0", "1", "2", "3"])


@pytest.fixture(scope="module")
def running(
    tiny_text: Path, tiny_model: lmserve.NgramModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    folder = train_network(tiny_text, tmp_path_factory.mktemp("network") / "network")
    network = RecurrentModel.load(folder)
    both = (tiny_model, network)
    mixtures = [Mixture(both, [0.5, 0.5], method) for method in Method]
    with live(tiny_model, network, *mixtures, max_kept_texts=4) as service:
        yield service


def scored(running: Live, **body: Any) -> list[dict[str, Any]]:
    answer = running.post(**body)
    assert answer.status_code == 200, answer.text
    ScoreResponse.model_validate_json(answer.content)
    scores: list[dict[str, Any]] = answer.json()["scores"]
    return scores


@EVERY
def test_a_beginning_and_its_end_are_the_whole(running: Live, model: str) -> None:
    texts = ["w0 w1 w2 unheard w3", "w0 w1 w5", "w0 w1"]
    wholes = scored(running, model=model, texts=texts)
    [begun] = scored(running, model=model, text="w0 w1", eos=False, keep=True)
    ends = scored(
        running,
        model=model,
        texts=["w2 unheard w3", "w5", ""],
        after=begun["state"],
        words=True,
        keep=True,
    )
    for whole, end in zip(wholes, ends, strict=True):
        assert begun["tokens"] + end["tokens"] == whole["tokens"]
        assert begun["oov"] + end["oov"] == whole["oov"]
        assert begun["log10_prob"] + end["log10_prob"] == pytest.approx(
            whole["log10_prob"], abs=1e-9 if model == "0" else 1e-5
        )
        assert sum(word["log10_prob"] for word in end["words"]) == pytest.approx(end["log10_prob"])
    assert len({begun["state"], *(end["state"] for end in ends)}) == 4


@EVERY
def test_a_session_goes_on_from_a_kept_state(running: Live, model: str) -> None:
    [kept] = scored(running, model=model, text="w0 w1", eos=False, keep=True)
    with running.session(model=model, state=kept["state"]) as session:
        ready = session.ready()
        assert ready["words"] == 2
        assert ready["log10_prob"] == pytest.approx(kept["log10_prob"])
        session.send(words=["w2"])
        session.send(end=True)
        *_, last = session.answers(2)
    [whole] = scored(running, model=model, text="w0 w1 w2")
    assert last["total_log10_prob"] == pytest.approx(whole["log10_prob"], abs=1e-5)
    assert last["perplexity"] == pytest.approx(whole["perplexity"], rel=1e-4)
    [after] = scored(running, model=model, text="w7", after=last["state"], keep=True)
    assert after["tokens"] == 2


@EVERY
def test_sentences_of_a_session_are_those_of_a_reader(running: Live, model: str) -> None:
    lines = ["w0 w1 w2", "w3 w1"]
    with running.session(model=model) as session:
        session.ready()
        for line in lines:
            session.send(text=line)
            session.send(end=True)
        answers = session.answers(7)
    expected = running.service.models.find(model).model.reader().read(lines)
    assert [answer["log10_prob"] for answer in answers] == pytest.approx(
        expected.log10_prob.tolist(), abs=1e-5
    )


def test_without_bos_a_text_is_no_beginning(running: Live) -> None:
    kept = {"keep": True, "bos": False, "eos": False}
    [score] = scored(running, text="w0 w1", **kept)
    [expected] = scored(running, text="w0 w1", bos=False, eos=False)
    assert score["log10_prob"] == pytest.approx(expected["log10_prob"])
    assert score["state"]
    assert "state" not in expected


def test_limits_and_errors_say_what_to_do(running: Live) -> None:
    too_many = running.post(texts=["w0"] * 5, keep=True)
    assert too_many.status_code == 413
    assert "at most 4" in too_many.json()["detail"]
    too_long = running.post(text="w0 " * 100_000, keep=True)
    assert too_long.status_code == 413
    for unknown in ("A" * 22, "", "%00"):
        answer = running.post(text="w0", after=unknown)
        assert answer.status_code == 404
        assert "begin the text again" in answer.json()["detail"]
    assert running.post(text="w0", after=1).status_code == 422
    [kept] = scored(running, model="0", text="w0", keep=True)
    assert running.post(text="w0", model="1", after=kept["state"]).status_code == 409


def test_scores_come_without_redis(tiny_model: lmserve.NgramModel) -> None:
    with running_redis() as redis, live(tiny_model, states=RedisStateStore(redis.url)) as service:
        [kept] = scored(service, text="w0", keep=True)
        redis.kill()
        [score] = scored(service, text="w0", keep=True)
        assert score["state"] is None
        assert score["log10_prob"] == kept["log10_prob"]
        assert service.post(text="w1", after=kept["state"]).status_code == 503


@pytest.fixture(scope="module", params=["characters", "sentencepiece", "bpe"])
def pieces(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> lmserve.NgramModel:
    folder = tmp_path_factory.mktemp("pieces")
    trained = {"sentencepiece": train_sentencepiece, "bpe": train_bpe}.get(request.param)
    file = trained(folder) if trained else None
    (folder / "text").write_text(TEXT)
    config = BuildConfig(
        inputs=(str(folder / "text"),),
        output=folder / "model",
        order=4,
        options=SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS),
        tokenization=Tokenization.choose(str(file or request.param)),
        tokenizer_file=file,
    )
    build(config, on_ray=False)
    return lmserve.load(folder / "model")


def test_a_word_of_several_tokens_has_one_answer(pieces: lmserve.NgramModel) -> None:
    words = ["w0", "caf\u00e9", "na\u00efve", "w1"]
    whole = pieces.score_words(" ".join(words))
    with live(pieces) as service, service.session() as session:
        session.ready()
        for character in " ".join(words[:2]) + " ":
            session.send(text=character)
        first = session.answers(2)
        session.send(words=words[2:])
        session.send(end=True)
        answers = [*first, *session.answers(3)]
        [kept] = scored(service, text=" ".join(words[2:]), after=first[-1]["state"], words=True)
    assert [answer["word"] for answer in answers] == [*words, "</s>"]
    tokens = [token for answer in answers for token in answer["tokens"]]
    assert [(token["word"], token["log10_prob"]) for token in tokens] == [
        (score.word, score.log10_prob) for score in whole
    ]
    for answer in answers:
        total = sum(token["log10_prob"] for token in answer["tokens"])
        assert answer["log10_prob"] == pytest.approx(total)
    assert answers[-1]["words"] == len(whole)
    assert answers[-1]["perplexity"] == pytest.approx(pieces.perplexity(" ".join(words)))
    assert kept["words"] == [token for answer in answers[2:] for token in answer["tokens"]]
