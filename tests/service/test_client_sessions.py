"""Sessions of both clients with the real service, on connections that break."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client_kinds import AT_ONCE, KINDS, ONCE
from live_service import Live, live
from relay import cutting_relay

import lmserve
from lmserve.client import AsyncClient, Client, dialogue
from lmserve.errors import ServiceError
from lmserve.positions import beginning, read_text
from lmserve.service.state_store import MemoryStateStore

Say = list[tuple[str, Any]]
SAID: Say = [
    ("send", "w0 w1\n\tun"),
    ("send", ""),
    ("send", "ge\u00fcbt w2"),
    ("send_words", ["w3", "w0"]),
    ("end", None),
    ("send", "  w1 w1 "),
    ("end", None),
]


@pytest.fixture(scope="module")
def running(tiny_model: lmserve.NgramModel) -> Iterator[Live]:
    # Compiles kernels, which is longer than connections wait.
    read_text(tiny_model, beginning(tiny_model), "w0")
    tiny_model.next_words("", top=1)
    with live(tiny_model) as service:
        yield service


def talk(kind: str, url: str, said: Say, *, retry: Any = ONCE, **options: Any) -> list[Any]:
    """The answers to what is said, each call's by itself."""
    if kind == "sync":
        with Client(url, retry=retry) as client, client.session(**options) as session:
            return [_call(session, *one) for one in said]

    async def in_loop() -> list[Any]:
        async with AsyncClient(url, retry=retry) as client, client.session(**options) as session:
            return [await _call(session, *one) for one in said]

    return asyncio.run(in_loop())


def _call(session: Any, method: str, argument: Any) -> Any:
    call: Callable[..., Any] = getattr(session, method)
    return call() if argument is None else call(argument)


def without_states(answers: list[Any]) -> list[Any]:
    """One list of all answers, without what differs from session to session."""
    every = [one for some in answers for one in some]
    return [{name: one[name] for name in one if name != "state"} for one in every]


def url(running: Live) -> str:
    return f"http://127.0.0.1:{running.port}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_call_returns_the_words_that_it_completes(
    kind: str, running: Live, tiny_model: lmserve.NgramModel
) -> None:
    answers = talk(kind, url(running), SAID)
    assert [[one["word"] for one in some] for some in answers] == [
        ["w0", "w1"],
        [],
        ["unge\u00fcbt"],
        ["w2", "w3", "w0"],
        ["</s>"],
        ["w1", "w1"],
        ["</s>"],
    ]
    expected = tiny_model.score_words("w0 w1 unge\u00fcbt w2 w3 w0")
    expected += tiny_model.score_words("w1 w1")
    every = [one for some in answers for one in some]
    assert [one["log10_prob"] for one in every] == [score.log10_prob for score in expected]
    assert [one["words"] for one in every] == list(range(1, 11))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [True, False], ids=["states kept", "no states kept"])
def test_sessions_that_break_go_on_with_one_answer_a_word(
    kind: str, kept: bool, running: Live, tiny_model: lmserve.NgramModel
) -> None:
    expected = without_states(talk(kind, url(running), SAID))
    cuts = [*range(150, 2600, 177), None]
    with (
        live(tiny_model, states=MemoryStateStore() if kept else Forgetful()) as service,
        cutting_relay(service.port, cuts) as relay,
    ):
        answers = talk(kind, relay.url, SAID, retry=AT_ONCE)
        assert relay.connections > 3
    assert without_states(answers) == expected
    assert all((one["state"] is not None) == kept for some in answers for one in some)


class Forgetful(MemoryStateStore):
    """A store that does not work, as its users see it."""

    async def keep(self, states: Any) -> list[str | None]:
        return [None] * len(states)


@pytest.mark.usefixtures("running")
def test_what_is_no_longer_remembered_cannot_be_gone_on_with(
    tiny_model: lmserve.NgramModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "_MOST_REMEMBERED", 3)
    with (
        live(tiny_model, states=Forgetful(), max_session_idle_s=0.2) as service,
        Client(url(service), retry=AT_ONCE) as client,
        client.session() as session,
    ):
        session.send("w0 w1 w2 ")
        service.wait_until_left()
        assert session.send("w3 w0 ")[-1]["words"] == 5
        service.wait_until_left()
        with pytest.raises(ServiceError, match="kept no state of its last 3 words"):
            session.send("w1 ")


@pytest.mark.parametrize("kind", KINDS)
def test_long_texts_go_in_several_messages(kind: str, running: Live) -> None:
    words = [f"w{number % 40}" for number in range(1300)]
    [answers] = talk(kind, url(running), [("send", " ".join(words) + " ")])
    assert [one["word"] for one in answers] == words
    assert answers[-1]["words"] == 1300


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_goes_on_from_a_state(kind: str, running: Live) -> None:
    whole = talk(kind, url(running), [("send_words", ["w0", "w1", "w2"])])[0]
    [[last]] = talk(kind, url(running), [("send_words", ["w2"])], state=whole[1]["state"], top=3)
    assert last["total_log10_prob"] == whole[2]["total_log10_prob"]
    assert len(last["next"]) == 3
    [[cold]] = talk(kind, url(running), [("send_words", ["w2"])], bos=False, model="0")
    assert cold["words"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_sessions_are_refused_with_the_reason(kind: str, running: Live) -> None:
    for options, status in (({"model": "none"}, 404), ({"state": "ab"}, 404), ({"top": -1}, 422)):
        with pytest.raises(ServiceError) as caught:
            talk(kind, url(running), [], retry=AT_ONCE, **options)
        assert caught.value.status == status


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_message_does_not_end_the_session(kind: str, running: Live) -> None:
    too_long = "x" * 2000 + " "
    if kind == "sync":
        with Client(url(running)) as client, client.session() as session:
            session.send("w0 ")
            with pytest.raises(ServiceError, match="answered 413"):
                session.send(too_long)
            answers = session.send("w1 ")
    else:

        async def in_loop() -> list[Any]:
            async with AsyncClient(url(running)) as client, client.session() as session:
                await session.send("w0 ")
                with pytest.raises(ServiceError, match="answered 413"):
                    await session.send(too_long)
                return await session.send("w1 ")

        answers = asyncio.run(in_loop())
    assert [(one["word"], one["words"]) for one in answers] == [("w1", 2)]


def test_a_session_that_was_idle_for_long_goes_on(tiny_model: lmserve.NgramModel) -> None:
    with (
        live(tiny_model, max_session_idle_s=0.1) as service,
        Client(url(service), retry=AT_ONCE) as client,
        client.session() as session,
    ):
        session.send("w0 ")
        service.wait_until_left()
        assert session.send("w1 ")[0]["words"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_places_are_waited_for(kind: str, tiny_model: lmserve.NgramModel) -> None:
    with live(tiny_model, max_sessions=1) as service:
        with service.session() as other:
            other.ready()
            with pytest.raises(ServiceError, match="answered 503") as caught:
                talk(kind, url(service), [])
            assert caught.value.passing
        service.wait_until_left()
        assert talk(kind, url(service), [("send", "w0 ")])[0][0]["word"] == "w0"


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_there_is_an_error(kind: str) -> None:
    with pytest.raises(ServiceError, match="does not answer a session"):
        talk(kind, "http://127.0.0.1:1", [])
