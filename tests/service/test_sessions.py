"""Sessions over real WebSockets: words in, scores out, and coming back to where one was."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_service import Live, live
from redis_server import running_redis

import lmserve
from lmserve.language_model import LanguageModel
from lmserve.service.breaker import Breaker
from lmserve.service.redis_state_store import RedisStateStore

WORDS = ["w0", "w1", "w3", "unheard", "w2", "</s>", "w0"]


@pytest.fixture(scope="module")
def running(tiny_model: lmserve.NgramModel) -> Iterator[Live]:
    with live(tiny_model) as service:
        yield service


def told(answers: list[dict[str, Any]]) -> list[tuple[str, float, int, bool]]:
    return [(a["word"], a["log10_prob"], a["ngram_length"], a["oov"]) for a in answers]


def expected(model: LanguageModel, text: str, **options: bool) -> list[tuple[Any, ...]]:
    scores = model.score_words(text, **options)
    return [(s.word, s.log10_prob, s.ngram_length, s.oov) for s in scores]


def test_words_are_answered_with_the_scores_of_the_whole_text(
    running: Live, tiny_model: lmserve.NgramModel
) -> None:
    with running.session(model="0") as session:
        ready = session.ready()
        assert ready["model"] == "0"
        assert ready["version"] == "1"
        assert ready["digest"] == tiny_model.digest
        assert (ready["words"], ready["log10_prob"]) == (0, 0)
        session.send(words=WORDS)
        session.send(end=True)
        answers = session.answers(len(WORDS) + 1)
    assert told(answers) == expected(tiny_model, " ".join(WORDS))
    for number, answer in enumerate(answers, 1):
        assert answer["words"] == number
        total = sum(one["log10_prob"] for one in answers[:number])
        assert answer["total_log10_prob"] == pytest.approx(total)
        assert answer["perplexity"] == pytest.approx(10 ** (-total / number))
        assert answer["surprise"] == pytest.approx(-math.log2(10) * answer["log10_prob"])
        assert "next" not in answer
        assert "tokens" not in answer
    assert len({answer["state"] for answer in answers} | {ready["state"]}) == len(WORDS) + 2


def test_text_is_cut_into_words_wherever_messages_end(
    running: Live, tiny_model: lmserve.NgramModel
) -> None:
    text = "w0 w1\tunge\u00fcbt  \n w2"
    with running.session() as session:
        session.ready()
        for character in text:
            session.send(text=character)
        assert [answer["word"] for answer in session.answers(3)] == ["w0", "w1", "unge\u00fcbt"]
        session.send(end=True)
        assert [answer["word"] for answer in session.answers(2)] == ["w2", "</s>"]
        session.send(text=text)
        session.send(words=["w0"])
        answers = session.answers(5)
    assert told(answers[:4]) == expected(tiny_model, text, eos=False)
    assert answers[4]["word"] == "w0"
    assert answers[4]["words"] == 10


def test_a_text_need_not_begin_a_sentence(running: Live, tiny_model: lmserve.NgramModel) -> None:
    with running.session(bos="false") as session:
        session.ready()
        session.send(text="w0 w1 ")
        assert told(session.answers(2)) == expected(tiny_model, "w0 w1", bos=False, eos=False)


def test_next_words_come_with_every_answer(running: Live, tiny_model: lmserve.NgramModel) -> None:
    with running.session(top=3) as session:
        session.ready()
        session.send(words=["w0", "w1"])
        *_, answer = session.answers(2)
    found = [(word["word"], word["log10_prob"]) for word in answer["next"]]
    assert found == [tuple(word) for word in tiny_model.next_words("w0 w1", top=3)]


def test_a_client_comes_back_to_any_word(running: Live, tiny_model: lmserve.NgramModel) -> None:
    with running.session() as session:
        session.ready()
        session.send(words=WORDS)
        first = session.answers(len(WORDS))
    for number in (1, 4, len(WORDS)):
        with running.session(state=first[number - 1]["state"]) as session:
            ready = session.ready()
            assert ready["state"] == first[number - 1]["state"]
            assert ready["words"] == number
            assert ready["log10_prob"] == first[number - 1]["total_log10_prob"]
            session.send(words=WORDS[number:])
            session.send(end=True)
            answers = session.answers(len(WORDS) - number + 1)
        assert told(first[:number] + answers) == expected(tiny_model, " ".join(WORDS))
        assert answers[-1]["total_log10_prob"] == pytest.approx(tiny_model.score(" ".join(WORDS)))


def test_a_state_is_read_on_from_by_another_replica(tiny_model: lmserve.NgramModel) -> None:
    with (
        running_redis() as redis,
        live(tiny_model, states=RedisStateStore(redis.url)) as one,
        live(tiny_model, states=RedisStateStore(redis.url)) as other,
    ):
        with one.session() as session:
            session.ready()
            session.send(words=WORDS[:3])
            first = session.answers(3)
        with other.session(state=first[-1]["state"]) as session:
            assert session.ready()["words"] == 3
            session.send(words=WORDS[3:])
            second = session.answers(len(WORDS) - 3)
        assert told(first + second) == expected(tiny_model, " ".join(WORDS), eos=False)


def test_sessions_outlive_redis(tiny_model: lmserve.NgramModel) -> None:
    clock = [0.0]
    with running_redis() as redis:
        breaker = Breaker(clock=lambda: clock[0])
        errors: list[None] = []
        states = RedisStateStore(redis.url, breaker=breaker, on_error=lambda: errors.append(None))
        with live(tiny_model, states=states) as service, service.session() as session:
            kept = session.ready()["state"]
            assert kept is not None
            redis.kill()
            session.send(words=WORDS[:5])
            answers = session.answers(5)
            assert [answer["state"] for answer in answers] == [None] * 5
            assert len(errors) == 1
            with service.session(state=kept) as other:
                assert other.error()["status"] == 503
                assert other.close_code() == 4503
            redis.start()
            clock[0] += 60
            session.send(words=WORDS[5:])
            answers += session.answers(len(WORDS) - 5)
            assert answers[-1]["state"] is not None
            assert told(answers) == expected(tiny_model, " ".join(WORDS), eos=False)
            with service.session(state=kept) as other:
                assert other.error()["status"] == 404
                assert other.close_code() == 4404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"model": "nobody"}, 404),
        ({"state": "A" * 22}, 404),
        ({"state": "../etc"}, 404),
        ({"top": "-1"}, 422),
        ({"top": "all"}, 422),
        ({"bos": "perhaps"}, 422),
    ],
)
def test_what_cannot_be_opened_is_refused(
    running: Live, query: dict[str, str], status: int
) -> None:
    with running.session(**query) as session:
        error = session.error()
        assert error["status"] == status
        assert error["detail"]
        assert session.close_code() == 4000 + status


def test_another_models_state_is_refused(
    tiny_model: lmserve.NgramModel, tiny_model_path: Path
) -> None:
    other = lmserve.load(tiny_model_path, special_tokens=lmserve.SpecialTokens.SPACE)
    with live(tiny_model, other) as service:
        with service.session(model="0") as session:
            state = session.ready()["state"]
        with service.session(model="1", state=state) as session:
            error = session.error()
            assert error["status"] == 409
            assert tiny_model.digest[:16] in error["detail"]
            assert session.close_code() == 4409
        answer = service.post(text="w0", model="1", after=state)
        assert answer.status_code == 409


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("{", 400),
        ("[]", 422),
        ("{}", 422),
        ('{"text": 1}', 422),
        ('{"text": null}', 422),
        ('{"text": "w0 ", "end": true}', 422),
        ('{"end": false}', 422),
        ('{"words": ["w0 w1"]}', 422),
        ('{"words": [""]}', 422),
        ('{"words": "w0"}', 422),
        ('{"unheard": 1}', 422),
        (b"\x00", 422),
        ('{"text": "\\ud800 "}', 400),
        ('{"text": "%s "}' % ("w0 " * 30), 413),
        ('{"words": ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"]}', 413),
        ('{"text": "w0123456789"}', 413),
        ('{"words": ["w0123456789"]}', 413),
    ],
)
def test_a_message_that_is_refused_changes_nothing(
    tiny_model: lmserve.NgramModel, message: str | bytes, status: int
) -> None:
    limits = {"max_message_bytes": 70, "max_message_words": 8, "max_word_bytes": 10}
    with live(tiny_model, **limits) as service, service.session() as session:
        session.ready()
        session.send(text="w0 w")
        answers = session.answers(1)
        session.connection.send(message)
        assert session.error()["status"] == status
        session.send(text="1 ")
        answers += session.answers(1)
    assert told(answers) == expected(tiny_model, "w0 w1", eos=False)


def test_places_are_limited_and_come_free(tiny_model: lmserve.NgramModel) -> None:
    with live(tiny_model, max_sessions=1) as service:
        with service.session() as first:
            first.ready()
            assert service.count("lmserve_sessions") == 1
            with service.session() as second:
                assert second.error()["status"] == 503
                assert second.close_code() == 4503
        service.wait_until_left()
        with service.session() as third:
            third.ready()


def test_a_client_that_says_nothing_is_let_go(tiny_model: lmserve.NgramModel) -> None:
    with live(tiny_model, max_session_idle_s=0.1) as service, service.session() as session:
        session.ready()
        assert session.error()["status"] == 408
        assert session.close_code() == 4408


def test_a_model_that_fails_ends_the_session(
    tiny_model: lmserve.NgramModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(tiny_model) as service, service.session() as session:
        session.ready()
        monkeypatch.setattr(tiny_model, "tables", None)
        session.send(words=["w0"])
        assert session.error()["status"] == 500
        assert session.close_code() == 4500


def test_words_are_counted_and_timed(tiny_model: lmserve.NgramModel) -> None:
    with live(tiny_model) as service:
        with service.session() as session:
            session.ready()
            session.send(words=["w0"] * 40)
            session.send(end=True)
            session.answers(41)
        service.wait_until_left()
        assert service.count("lmserve_session_words_total") == 41
        assert service.count("lmserve_session_word_seconds_count") == 41


def test_a_client_that_leaves_in_the_middle_is_no_error(
    tiny_model: lmserve.NgramModel, caplog: pytest.LogCaptureFixture
) -> None:
    with live(tiny_model) as service:
        with service.session() as session:
            session.ready()
            for _ in range(20):
                session.send(words=["w0"] * 1000)
        service.wait_until_left()
        assert (service.count("lmserve_session_words_total") or 0) < 20_000
    told = [record for record in caplog.records if record.name.startswith("lmserve")]
    assert not [record for record in told if record.levelno > logging.INFO]
