"""What the generating route takes and gives."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from lmserve.generation import Finish

# Looking for them takes time at every word.
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256

Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]
Stops = Annotated[
    Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)],
    Field(description="The text ends before the first of these that comes."),
]
Seed = Annotated[int, Field(description="Same seed, same text.", ge=-(2**63), lt=2**63)]
TopK = Annotated[int, Field(description="Draw from so many of the most probable words.", ge=1)]
TopP = Annotated[
    float,
    Field(description="Draw from the most probable words with this share together.", ge=0, le=1),
]


def as_list(stops: str | list[str] | None) -> list[str]:
    """Stop sequences as a list, however they were given."""
    return [stops] if isinstance(stops, str) else stops or []


class GenerateRequest(BaseModel):
    """Sentences to draw."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"context": "the cat", "max_words": 20, "n": 3, "seed": 1},
                {"temperature": 0.7, "top_p": 0.9, "stop": ["."], "stream": True},
            ]
        },
    )

    context: Annotated[
        str, Field(description="Words that every sentence goes on from; they are not repeated.")
    ] = ""
    max_words: Annotated[
        int, Field(description="A sentence is cut off after so many words.", ge=0)
    ] = 100
    n: Annotated[int, Field(description="How many; the first do not depend on it.", ge=1)] = 1
    seed: Seed | None = None
    temperature: Annotated[
        float,
        Field(
            description="Below 1, likelier words become likelier still; 0 takes the likeliest.",
            ge=0,
        ),
    ] = 1.0
    top_k: TopK | None = None
    top_p: TopP = 1.0
    stop: Stops | None = None
    model: Annotated[
        str | None, Field(description="Name of the model; without one, the first.")
    ] = None
    bos: Annotated[bool, Field(description="The context begins a sentence.")] = True
    stream: Annotated[
        bool, Field(description="Answer with server-sent events, one a word, as they come.")
    ] = False


class WordAnswer(BaseModel):
    """A word of a sentence that is being drawn."""

    index: Annotated[int, Field(description="Which of the sentences with this seed.", ge=0)]
    word: Annotated[str, Field(description="The word; `</s>` for the sentence's end.")]
    log10_prob: Annotated[float | None, Field(description="log10 P(word | the words before it).")]


class SentenceAnswer(BaseModel):
    """A sentence that was drawn."""

    index: Annotated[int, Field(description="Which of the sentences with this seed.", ge=0)]
    text: Annotated[str, Field(description="Without the context.")]
    finish: Annotated[
        Finish, Field(description="The model ended it, a stop sequence came, or it was cut off.")
    ]
    tokens: Annotated[int, Field(description="Its words, a sentence end included.", ge=0)]
    log10_prob: Annotated[float | None, Field(description="log10 P of these, by the model.")]


class GenerateResponse(BaseModel):
    """The sentences in the order of their indices."""

    model: Annotated[str, Field(description="SHA-256 of the model.")]
    seed: Annotated[int, Field(description="The seed that was given, or else chosen.")]
    sentences: list[SentenceAnswer]
