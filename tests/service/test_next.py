"""The route that proposes the next word, and the same of the model itself."""

import asyncio
import math

import httpx
import pytest
from harness import Harness, problem

from lmserve import NgramModel


def propose(harness: Harness, **body: object) -> list[dict[str, object]]:
    response = harness.request("POST", "/v1/next", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["model"] == harness.scorer.digest
    words: list[dict[str, object]] = answer["words"]
    return words


@pytest.mark.parametrize("context", ["", "w0 w1", "unheard-of w0 ", "w3\nw1\tw0"])
@pytest.mark.parametrize("bos", [True, False])
def test_the_words_are_the_models(tiny_model: NgramModel, context: str, bos: bool) -> None:
    words = propose(Harness(tiny_model), context=context, top=7, bos=bos)
    expected = tiny_model.next_words(context, top=7, bos=bos)
    assert [(word["word"], word["log10_prob"]) for word in words] == expected
    assert [word["probability"] for word in words] == [10**log10 for _, log10 in expected]


def test_all_words_and_the_unknown_have_probability_1(tiny_model: NgramModel) -> None:
    words = propose(Harness(tiny_model), context="w0", top=10_000)
    assert len(words) == len(tiny_model.vocabulary) - 2
    assert "</s>" in [word["word"] for word in words]
    unknown = float(tiny_model.distribution("w0")[0])
    total = math.fsum(float(str(word["probability"])) for word in words)
    assert total + unknown == pytest.approx(1, abs=1e-6)


def test_without_a_body_of_words_the_sentence_begins(tiny_model: NgramModel) -> None:
    harness = Harness(tiny_model)
    assert propose(harness) == propose(harness, context="", top=10, bos=True, model="table")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"top": 0}, 422, "top"),
        ({"top": 10_001}, 422, "top"),
        ({"context": ["a"]}, 422, "context"),
        ({"words": True}, 422, "words"),
        ({"model": "tabel"}, 404, "there are: table"),
        ({"context": "w" * 100}, 413, "longer than 100 bytes; send a shorter context"),
    ],
)
def test_what_is_refused(
    tiny_model: NgramModel, body: dict[str, object], status: int, says: str
) -> None:
    response = Harness(tiny_model, max_context_bytes=100).request("POST", "/v1/next", json=body)
    refused = problem(response)
    assert refused.status == status
    assert says in refused.detail


def test_a_long_context_lets_others_be_answered(tiny_model: NgramModel) -> None:
    """The event loop has its turn between two slices of the work."""
    harness = Harness(tiny_model)

    async def use(client: httpx.AsyncClient) -> None:
        long = asyncio.create_task(client.post("/v1/next", json={"context": "w0 w1 " * 20_000}))
        turns = 0
        while not long.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await long).status_code == 200
        assert turns > 100

    harness.run(use)
