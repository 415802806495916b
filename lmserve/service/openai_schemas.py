"""What `/v1/completions` takes: OpenAI's parameters, as far as a model of words has them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from lmserve.service.generate_schemas import Seed, Stops, TopK, TopP

# What makes no difference is accepted of parameters that are otherwise not supported.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
}

TokenIds = list[int]


class StreamOptions(BaseModel):
    """What a stream says besides the text; other members are ignored."""

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """Prompts to be completed or scored."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"model": "books", "prompt": "the cat", "max_tokens": 8, "seed": 1},
                {"prompt": "the cat sat", "echo": True, "max_tokens": 0, "logprobs": 1},
            ]
        },
    )

    prompt: Annotated[
        str | list[str] | TokenIds | list[TokenIds],
        Field(description="A text, a list of texts, token ids, or a list of lists of token ids."),
    ] = ""
    model: Annotated[
        str | None, Field(description="Name of the model; without one, the first.")
    ] = None
    max_tokens: Annotated[
        int, Field(description="At most so many words, the sentence's end counted.", ge=0)
    ] = 16
    n: Annotated[int, Field(description="Completions of each prompt.", ge=1)] = 1
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: TopP = 1.0
    top_k: TopK | None = None
    seed: Seed | None = None
    stop: Stops | None = None
    echo: Annotated[bool, Field(description="Repeat the prompt before the completion.")] = False
    logprobs: Annotated[
        int | None,
        Field(
            description="Tell log probabilities, and so many of the likeliest words.", ge=0, le=5
        ),
    ] = None
    stream: Annotated[bool, Field(description="Answer with server-sent events.")] = False
    stream_options: StreamOptions = StreamOptions()
    user: Annotated[str | None, Field(description="Ignored.")] = None
    suffix: Annotated[Any, Field(description="Not supported.")] = None
    best_of: Annotated[Any, Field(description="Not supported.")] = None
    frequency_penalty: Annotated[Any, Field(description="Not supported.")] = None
    presence_penalty: Annotated[Any, Field(description="Not supported.")] = None
    logit_bias: Annotated[Any, Field(description="Not supported.")] = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_nothing(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}

    @field_validator(*_NEUTRAL)
    @classmethod
    def _makes_no_difference(cls, value: Any, info: Any) -> Any:
        if value not in _NEUTRAL[info.field_name]:
            raise PydanticCustomError("not_supported", "not supported; leave it out")
        return value

    def prompts(self) -> list[str | TokenIds]:
        """The prompts one by one, however they were given."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        ids = [item for item in self.prompt if isinstance(item, int)]
        return [ids] if ids else [item for item in self.prompt if not isinstance(item, int)]


class TokenizeRequest(BaseModel):
    """A text whose token ids are asked for; vLLM's other parameters are ignored."""

    model_config = ConfigDict(strict=True)

    prompt: str
    model: str | None = None
    add_special_tokens: Annotated[bool, Field(description="Put `<s>` before the words.")] = True


class DetokenizeRequest(BaseModel):
    """Token ids whose text is asked for; vLLM's other parameters are ignored."""

    model_config = ConfigDict(strict=True)

    tokens: TokenIds
    model: str | None = None
