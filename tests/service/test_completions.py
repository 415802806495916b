"""OpenAI's completions by OpenAI's own client, and as evaluation harnesses ask for them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from live_server import LiveServer, serving_models
from mixable import train_network
from openai.types import Completion

import lmserve
from lmserve import NgramModel
from lmserve.language_model import LanguageModel

LN_10 = math.log(10)
TEXTS = ["w0 w1 w2", " w3\tw0  unheard-of\nw1 ", "grün w5", "", "w0"]


@pytest.fixture(scope="module")
def models(
    tiny_model: NgramModel, tiny_text: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, LanguageModel]:
    network = train_network(tiny_text, tmp_path_factory.mktemp("network") / "model")
    return {"ngram": tiny_model, "network": lmserve.load(network)}


@pytest.fixture(scope="module")
def server(models: dict[str, LanguageModel]) -> Iterator[LiveServer]:
    with serving_models(models) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def score(server: LiveServer, text: str, *, model: str, eos: bool = False) -> float:
    body = {"text": text, "eos": eos, "model": model}
    [answer] = httpx.post(f"{server.url}/v1/score", json=body).json()["scores"]
    return float(answer["log10_prob"])


@pytest.mark.parametrize("name", ["ngram", "network"])
@pytest.mark.parametrize("text", TEXTS)
def test_log_probs_of_an_echoed_text_add_up_to_its_score(
    server: LiveServer, client: openai.OpenAI, name: str, text: str
) -> None:
    answer = client.completions.create(
        model=name, prompt=text, max_tokens=0, echo=True, logprobs=2, temperature=0
    )
    assert answer.model == name
    [choice] = answer.choices
    assert choice.text == text
    assert choice.finish_reason == "length"
    told = choice.logprobs
    assert told is not None
    assert told.token_logprobs is not None
    expected = score(server, text, model=name) * LN_10
    # A network scores a whole text in other steps than word by word, in 32 bits.
    error = 1e-9 if name == "ngram" else 1e-4
    assert math.fsum(told.token_logprobs) == pytest.approx(expected, abs=error)
    assert told.tokens == text.split()
    assert told.text_offset is not None
    for token, offset in zip(told.tokens, told.text_offset, strict=True):
        assert text[offset:].startswith(token)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == len(text.split())


def test_the_likeliest_words_are_told_with_each(
    client: openai.OpenAI, tiny_model: NgramModel
) -> None:
    [choice] = client.completions.create(
        model="ngram", prompt="w0 unheard-of w150", max_tokens=3, echo=True, logprobs=3, seed=4
    ).choices
    told = choice.logprobs
    assert told is not None
    assert told.tokens is not None
    assert told.top_logprobs is not None
    assert told.token_logprobs is not None
    for i, (token, top) in enumerate(zip(told.tokens, told.top_logprobs, strict=True)):
        expected = tiny_model.next_words(" ".join(told.tokens[:i]), top=3)
        words = {word: pytest.approx(log10_prob * LN_10) for word, log10_prob in expected}
        if token != "unheard-of":
            words[token] = told.token_logprobs[i]
        assert top == words


def test_a_completion_goes_on_from_its_prompt(
    server: LiveServer, client: openai.OpenAI, tiny_model: NgramModel
) -> None:
    answer = client.completions.create(
        model="ngram", prompt=["w0 w1", "w0 w1 ", ""], n=3, seed=6, max_tokens=12, logprobs=0
    )
    assert [choice.index for choice in answer.choices] == list(range(9))
    sampled = tiny_model.sample(3, seed=6, max_words=12, context="w0 w1")
    texts = [choice.text for choice in answer.choices]
    # A space comes between prompt and completion, unless the prompt has it.
    assert texts[:3] == [f" {text}" if text else "" for text in sampled]
    assert texts[3:6] == sampled
    assert texts[6:] == tiny_model.sample(3, seed=6, max_words=12)
    for choice in answer.choices[6:]:
        assert choice.logprobs is not None
        assert choice.logprobs.tokens is not None
        assert choice.logprobs.top_logprobs is None
        ended = choice.finish_reason == "stop"
        assert choice.logprobs.tokens == choice.text.split() + ["</s>"] * ended
        expected = score(server, choice.text, model="ngram", eos=ended) * LN_10
        assert math.fsum(choice.logprobs.token_logprobs or ()) == pytest.approx(expected)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 4
    assert answer.usage.completion_tokens == sum(
        len(choice.logprobs.tokens or ()) for choice in answer.choices if choice.logprobs
    )


def test_temperature_0_takes_the_most_probable_words(
    client: openai.OpenAI, tiny_model: NgramModel
) -> None:
    [choice] = client.completions.create(
        model="ngram", prompt="w1", max_tokens=4, temperature=0
    ).choices
    words = ["w1"]
    while len(words) < 5 and words[-1] != "</s>":
        words.append(tiny_model.next_words(" ".join(words), top=1)[0].word)
    assert f"w1{choice.text}" == " ".join(word for word in words if word != "</s>")


def test_a_stop_sequence_ends_the_text_and_is_no_part_of_it(client: openai.OpenAI) -> None:
    def complete(stop: list[str] | None) -> list[Any]:
        return client.completions.create(
            model="ngram", prompt="", n=10, seed=3, max_tokens=20, stop=stop, logprobs=1
        ).choices

    stopped = 0
    for whole, cut in zip(complete(None), complete([" w2", "w1 w"]), strict=True):
        places = [whole.text.find(stop) for stop in (" w2", "w1 w") if stop in whole.text]
        assert cut.text == whole.text[: min(places, default=len(whole.text))].rstrip()
        if places:
            assert cut.finish_reason == "stop"
            stopped += 1
    assert 0 < stopped < 10


def merged(chunks: list[Completion]) -> list[tuple[Any, ...]]:
    """The choices of a stream."""
    choices: dict[int, tuple[Any, ...]] = {}
    for chunk in chunks:
        for one in chunk.choices:
            text, tokens, log_probs, top, offsets, finish = choices.get(
                one.index, ("", [], [], [], [], None)
            )
            assert finish is None
            told = one.logprobs
            assert told is not None
            choices[one.index] = (
                text + one.text,
                tokens + (told.tokens or []),
                log_probs + (told.token_logprobs or []),
                top + (told.top_logprobs or []),
                offsets + (told.text_offset or []),
                one.finish_reason,
            )
    return [choices[index] for index in sorted(choices)]


@pytest.mark.parametrize("echo", [True, False])
def test_chunks_add_up_to_the_whole_answer(client: openai.OpenAI, echo: bool) -> None:
    asked: dict[str, Any] = {
        "model": "ngram",
        "prompt": ["w0 w1", "w2"],
        "n": 2,
        "seed": 5,
        "max_tokens": 8,
        "logprobs": 2,
        "stop": ["w1 w"],
        "echo": echo,
    }
    whole = client.completions.create(**asked)
    *chunks, last = client.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == []
    assert last.usage == whole.usage
    assert all(chunk.usage is None and chunk.id == last.id for chunk in chunks)
    expected = [
        Completion(**whole.model_dump(exclude={"choices"}), choices=[choice])
        for choice in whole.choices
    ]
    assert merged(chunks) == merged(expected)
    assert len(chunks) > 8


def test_a_stream_ends_with_done(server: LiveServer) -> None:
    body = {"prompt": "w0", "max_tokens": 2, "stream": True, "temperature": 0}
    response = httpx.post(f"{server.url}/v1/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done, nothing = response.text.split("\n\n")
    assert (done, nothing) == ("data: [DONE]", "")
    assert all(chunk.startswith('data: {"id":"cmpl-') for chunk in chunks)


def test_token_ids_are_word_ids(client: openai.OpenAI, tiny_model: NgramModel) -> None:
    words = ["w0", "w1", "unheard-of"]
    ids = [tiny_model.vocabulary.find(word.encode()) or 0 for word in words]
    asked: dict[str, Any] = {"model": "ngram", "echo": True, "logprobs": 1, "max_tokens": 0}
    [as_text] = client.completions.create(prompt=" ".join(words), **asked).choices
    assert as_text.logprobs is not None
    assert as_text.logprobs.token_logprobs is not None
    for prompt in (ids, [ids], [[1, *ids]]):
        [as_ids] = client.completions.create(prompt=prompt, **asked).choices
        assert as_ids.text == "w0 w1 <unk>"
        assert as_ids.logprobs is not None
        assert as_ids.logprobs.token_logprobs is not None
        assert as_ids.logprobs.token_logprobs[-3:] == as_text.logprobs.token_logprobs
    # Nothing comes before the mark of the sentence's start.
    assert as_ids.logprobs.tokens == ["<s>", "w0", "w1", "<unk>"]
    assert as_ids.logprobs.token_logprobs[0] is None
    assert as_ids.logprobs.text_offset == [0, 0, 3, 6]


def test_after_the_sentences_end_another_begins(
    server: LiveServer, client: openai.OpenAI, tiny_model: NgramModel
) -> None:
    word = tiny_model.vocabulary.find(b"w0")
    assert word is not None
    [choice] = client.completions.create(
        model="ngram", prompt=[word, 2, word], echo=True, logprobs=1, max_tokens=0
    ).choices
    assert choice.text == "w0 w0"
    assert choice.logprobs is not None
    assert choice.logprobs.text_offset == [0, 2, 3]
    expected = score(server, "w0", model="ngram", eos=True) + score(server, "w0", model="ngram")
    assert math.fsum(choice.logprobs.token_logprobs or ()) == pytest.approx(expected * LN_10)


def test_what_makes_no_difference_is_accepted(client: openai.OpenAI) -> None:
    neutral: dict[str, Any] = {
        "best_of": 1,
        "frequency_penalty": 0.0,
        "presence_penalty": 0,
        "logit_bias": {},
        "suffix": None,
        "stop": [],
        "top_p": None,
        "user": "somebody",
    }
    plain = client.completions.create(model="ngram", prompt="w0", seed=1)
    same = client.completions.create(model="ngram", prompt="w0", seed=1, **neutral)
    assert same.choices == plain.choices
    assert len(plain.choices[0].text.split()) <= 16
