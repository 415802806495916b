"""What the Language Model Evaluation Harness asks `local-completions` for, request by request.

Its own code is not installed here, as it needs some 35 packages. The requests and the reading of
their answers follow its version 0.4.13.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from live_server import LiveServer, serving_models

from lmserve import NgramModel

LINES = ["w0 w1 w2 w5", "unheard-of w3", "w0 w4 w1"]


@pytest.fixture(scope="module")
def server(tiny_model: NgramModel) -> Iterator[LiveServer]:
    with serving_models({"tiny": tiny_model}) as server:
        yield server


def post(server: LiveServer, path: str, body: dict[str, Any]) -> Any:
    response = httpx.post(f"{server.url}{path}", json=body)
    response.raise_for_status()
    return response.json()


def encode(server: LiveServer, text: str) -> list[int]:
    answer = post(server, "/tokenize", {"prompt": text, "add_special_tokens": False})
    assert answer["count"] == len(answer["tokens"])
    ids: list[int] = answer["tokens"]
    return ids


def log_likelihoods(
    server: LiveServer, pairs: list[tuple[list[int], list[int]]]
) -> list[tuple[float, bool]]:
    """ln P of each continuation after its context, and whether it is the most probable path."""
    body = {
        "model": "tiny",
        "prompt": [context + continuation for context, continuation in pairs],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    choices = sorted(
        post(server, "/v1/completions", body)["choices"], key=lambda choice: choice["index"]
    )
    results = []
    for choice, (context, continuation) in zip(choices, pairs, strict=True):
        # The last token is the one that had to be generated.
        own = slice(len(context), -1)
        log_probs = choice["logprobs"]["token_logprobs"][own]
        tops = choice["logprobs"]["top_logprobs"][own]
        assert len(log_probs) == len(continuation)
        greedy = all(own == max(top.values()) for own, top in zip(log_probs, tops, strict=True))
        results.append((sum(log_probs), greedy))
    return results


def test_the_tokenizer_is_found(server: LiveServer) -> None:
    info = httpx.get(f"{server.url}/tokenizer_info").json()
    assert (info["bos_token"], info["eos_token"]) == ("<s>", "</s>")
    assert encode(server, info["bos_token"]) == [1]
    assert encode(server, info["eos_token"]) == [2]
    assert encode(server, "") == []


def test_words_to_ids_and_back(server: LiveServer, tiny_model: NgramModel) -> None:
    ids = encode(server, " w0  unheard-of w1")
    assert ids == [tiny_model.vocabulary.find(b"w0"), 0, tiny_model.vocabulary.find(b"w1")]
    assert post(server, "/detokenize", {"tokens": [1, *ids, 2]}) == {"prompt": "w0 <unk> w1"}
    with_start = post(server, "/tokenize", {"prompt": "w0", "model": "tiny"})
    assert with_start == {"count": 2, "tokens": [1, ids[0]]}
    refused = httpx.post(f"{server.url}/detokenize", json={"tokens": [10**6]})
    assert refused.status_code == 400
    assert "token 1000000" in refused.json()["error"]["message"]


def test_perplexity_of_lines(server: LiveServer, tiny_model: NgramModel) -> None:
    """`loglikelihood_rolling`: every line after the mark of a sentence's start."""
    pairs = [([1], encode(server, line)) for line in LINES]
    expected = tiny_model.score_texts(LINES, eos=False).log10_prob * 2.302585092994046
    got = [log_prob for log_prob, _ in log_likelihoods(server, pairs)]
    assert got == pytest.approx(expected.tolist())


def test_the_most_probable_path_is_recognised(server: LiveServer, tiny_model: NgramModel) -> None:
    """`loglikelihood`: what a task such as LAMBADA takes for a right answer."""
    context = encode(server, "w0 w1")
    best = tiny_model.next_words("w0 w1", top=2)
    pairs = [(context, encode(server, word)) for word, _ in best]
    pairs.append((context, encode(server, "unheard-of")))
    results = log_likelihoods(server, pairs)
    assert [greedy for _, greedy in results] == [True, False, False]
    assert [log_prob for log_prob, _ in results[:2]] == pytest.approx(
        [log10_prob * 2.302585092994046 for _, log10_prob in best]
    )


def test_texts_are_generated_until(server: LiveServer, tiny_model: NgramModel) -> None:
    """`generate_until`: the most probable words, to a stop sequence or the sentence's end."""
    prompts = [encode(server, line) for line in LINES]
    body = {
        "prompt": prompts,
        "model": "tiny",
        "max_tokens": 256,
        "temperature": 0,
        "stop": ["\n\n", "</s>"],
        "seed": 1234,
    }
    choices = post(server, "/v1/completions", body)["choices"]
    texts: list[str | None] = [None] * len(choices)
    for choice in choices:
        texts[choice["index"]] = choice["text"]
    assert len(texts) == len(LINES)
    for line, text in zip(LINES, texts, strict=True):
        best = tiny_model.next_words(line, top=1)[0].word
        assert text is not None
        assert (text.split() or ["</s>"])[0] == best
