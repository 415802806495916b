"""What OpenAI's client is told where a completion cannot be had."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from live_server import LiveServer, serving_models

from lmserve import NgramModel


@pytest.fixture(scope="module")
def server(tiny_model: NgramModel) -> Iterator[LiveServer]:
    limits = {"max_sentences": 20, "max_answer_words": 2000, "max_context_bytes": 4000}
    with serving_models({"ngram": tiny_model}, **limits) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("asked", "error", "param", "says"),
    [
        ({"model": "ngrams"}, openai.NotFoundError, "model", "There is no model 'ngrams'"),
        ({"suffix": "w1"}, openai.BadRequestError, "suffix", "not supported"),
        ({"best_of": 2}, openai.BadRequestError, "best_of", "not supported"),
        ({"logit_bias": {"5": 1}}, openai.BadRequestError, "logit_bias", "not supported"),
        ({"logprobs": 6}, openai.BadRequestError, "logprobs", "5"),
        ({"temperature": 2.5}, openai.BadRequestError, "temperature", "2"),
        ({"max_tokens": -1}, openai.BadRequestError, "max_tokens", "0"),
        ({"extra_body": {"min_p": 0.1}}, openai.BadRequestError, "min_p", "not permitted"),
        ({"prompt": []}, openai.BadRequestError, "prompt", "none in the list"),
        ({"prompt": [1.5]}, openai.BadRequestError, "prompt", "a list of token ids"),
        ({"prompt": ["w0", [3]]}, openai.BadRequestError, "prompt", "a list of token ids"),
        ({"prompt": [-1]}, openai.BadRequestError, "prompt", "token -1 is none"),
        ({"prompt": [[3], [10**6]]}, openai.BadRequestError, "prompt", "token 1000000 is none"),
        ({"prompt": [3, 1]}, openai.BadRequestError, "prompt", "only in place 0"),
        ({"n": 21}, openai.BadRequestError, "n", "at most 20"),
        ({"prompt": ["w0"] * 7, "n": 3}, openai.BadRequestError, "n", "are 21 completions"),
        ({"max_tokens": 2001}, openai.BadRequestError, "max_tokens", "at most 2000"),
        (
            {"prompt": "w0 " * 1001, "n": 2, "max_tokens": 0, "echo": True},
            openai.BadRequestError,
            "max_tokens",
            "2002 tokens together",
        ),
        ({"prompt": "w" * 4000}, openai.APIStatusError, None, "longer than 4000 bytes"),
    ],
)
def test_errors_are_those_that_the_client_knows(
    client: openai.OpenAI,
    asked: dict[str, Any],
    error: type[openai.APIStatusError],
    param: str | None,
    says: str,
) -> None:
    with pytest.raises(error) as raised:
        client.completions.create(**{"model": "ngram", "prompt": "w0"} | asked)
    body = raised.value.body
    assert isinstance(body, dict)
    assert set(body) == {"message", "type", "param", "code"}
    assert says in body["message"]
    assert body["type"] == "invalid_request_error"
    assert body["param"] == param
    assert body["code"] == ("model_not_found" if error is openai.NotFoundError else None)


def test_a_body_that_is_no_json_has_an_error_of_the_same_shape(server: LiveServer) -> None:
    response = httpx.post(f"{server.url}/v1/completions", content=b"{")
    assert response.status_code == 400
    assert "JSON" in response.json()["error"]["message"]
