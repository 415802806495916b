"""What the service takes and gives, as it stands in the OpenAPI document."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# More texts belong on the stream, which holds a few of them at a time.
MAX_TEXTS = 65_536


class ScoreRequest(BaseModel):
    """Texts to score: exactly one of `text` and `texts`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"text": "the cat sat on the mat"},
                {"texts": ["the cat sat", "on the mat"], "words": True},
                {"text": "the cat", "eos": False, "keep": True},
            ]
        },
    )

    text: Annotated[str | None, Field(description="One sentence.")] = None
    texts: Annotated[
        list[str] | None, Field(description="Sentences, one score each.", max_length=MAX_TEXTS)
    ] = None
    model: Annotated[
        str | None, Field(description="Name of the model; without one, the first.")
    ] = None
    words: Annotated[bool, Field(description="Add the score of each word.")] = False
    bos: Annotated[
        bool, Field(description="Condition the first word on the start of a sentence.")
    ] = True
    eos: Annotated[bool, Field(description="Add the probability of the sentence's end.")] = True

    after: Annotated[
        str | None,
        Field(description="Identifier of a state: the texts go on from there, each by itself."),
    ] = None
    keep: Annotated[
        bool, Field(description="Keep the state after each text; `state` is its identifier.")
    ] = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either 'text' or 'texts'")
        return self

    def encoded_texts(self) -> list[bytes]:
        """The texts as UTF-8 bytes, in order."""
        texts = self.texts if self.text is None else [self.text]
        return [text.encode() for text in texts or ()]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class WordAnswer(_Answer):
    """The score of one word."""

    word: Annotated[str, Field(description="The word; `</s>` for the sentence's end.")]
    log10_prob: Annotated[
        float | None,
        Field(description="log10 P(word | the words before it); null for probability 0.", le=0),
    ]
    ngram_length: Annotated[
        int,
        Field(
            description="Words in the longest n-gram of the model that ends here; 0 if none.", ge=0
        ),
    ]
    oov: Annotated[bool, Field(description="Whether the model doesn't know the word.")]


class ScoreAnswer(_Answer):
    """The score of one text."""

    log10_prob: Annotated[
        float | None, Field(description="log10 P(text); null for probability 0.", le=0)
    ]
    perplexity: Annotated[
        float | None,
        Field(description="10^(-log10_prob / tokens); null where that is infinite.", ge=1),
    ]
    tokens: Annotated[int, Field(description="Words scored, the sentence's end included.", ge=0)]
    oov: Annotated[int, Field(description="Words that the model doesn't know.", ge=0)]
    words: Annotated[
        list[WordAnswer] | None, Field(description="One entry a token; only where asked for.")
    ] = None
    state: Annotated[
        str | None,
        Field(
            description="Identifier of the state after the text; only with `keep`, null where "
            "states cannot be kept now."
        ),
    ] = None


class ScoreResponse(_Answer):
    """One score a text, in the order of the request, also for a single `text`."""

    model: Annotated[str, Field(description="SHA-256 of the model: equal digest, equal scores.")]
    scores: list[ScoreAnswer]


class Problem(BaseModel):
    """An error after RFC 9457; `title` repeats the status, `detail` says what to change."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: Annotated[str, Field(description="As in the X-Request-ID header.")]


class Health(BaseModel):
    """The service answers."""

    status: str = "ok"
    model: str


class Readiness(BaseModel):
    """Requests should be sent here."""

    status: str = "ready"
    models: Annotated[list[str], Field(description="Names of the models being served.")]
    not_loaded: Annotated[
        list[str], Field(description="NAME/VERSION of what could not be loaded.")
    ] = []
