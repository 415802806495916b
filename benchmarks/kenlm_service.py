"""The peer of `benchmarks.serving_requests`: KenLM's module behind FastAPI, as one writes it first.

Run by a Python that has kenlm, fastapi and uvicorn, which need not be the one of lmserve:

    KENLM_MODEL=model.bin python -m uvicorn kenlm_service:app --app-dir benchmarks --workers 2
"""

import os

import kenlm
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = kenlm.Model(os.environ["KENLM_MODEL"])


class Request(BaseModel):
    """A sentence."""

    text: str


class Answer(BaseModel):
    """Its score."""

    log10_prob: float
    perplexity: float


@app.post("/v1/score")
async def score(request: Request) -> Answer:
    """Scores a sentence."""
    log10_prob = model.score(request.text)
    words = len(request.text.split()) + 1
    return Answer(log10_prob=log10_prob, perplexity=10 ** (-log10_prob / words))


@app.get("/healthz")
async def healthz() -> str:
    """Answers."""
    return "ok"
