"""Every request that clients make, and how its answer is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar
from urllib.parse import urlencode

import orjson

from lmserve.client.one_model import Scored
from lmserve.errors import OptionError

Answer = dict[str, Any]
Result = TypeVar("Result")


class Reply(NamedTuple):
    """An answer of status 200."""

    body: bytes
    headers: Mapping[str, str]


class ProblemError(Exception):
    """A problem, as in problem+json, within an answer of status 200."""

    def __init__(self, problem: object) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request that may be made again: it leaves nothing behind that a second one would change.

    Attributes:
        method: of HTTP.
        path: below the service's URL.
        body: what is sent.
        content_type: of `body`.
        subject: what the request is about, for errors.
    """

    method: str
    path: str
    body: bytes | None = None
    content_type: str = "application/json"
    subject: str = "the request"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Request, Generic[Result]):
    """A request whose answer is read as a whole.

    Attributes:
        read: the result from an answer of status 200. `ValueError` says what is wrong with it,
            `ProblemError` what the service says in the midst of it.
    """

    read: Callable[[Reply], Result]


class ScoreOptions(TypedDict, total=False):
    """How texts are scored.

    Attributes:
        words: add the score of each word.
        model: name of the model; without one, the service's first.
        bos: condition the first word on the start of a sentence.
        eos: add the probability of the sentence's end.
        after: ID of a state that texts continue.
        keep: answers have a `state`, the ID of the one after the text.
    """

    words: bool
    model: str | None
    bos: bool
    eos: bool
    after: str | None
    keep: bool


def score(texts: Sequence[str], options: ScoreOptions) -> Call[Scored[Answer]]:
    """Scores of texts."""
    return score_encoded([encoded(text) for text in texts], options)


def score_encoded(
    texts: Sequence[bytes], options: ScoreOptions, subject: str = "the texts"
) -> Call[Scored[Answer]]:
    """Scores of texts that are JSON strings already."""

    def read(reply: Reply) -> Scored[Answer]:
        answer = read_object(reply.body)
        scores = read_objects(answer.get("scores"))
        if len(scores) != len(texts):
            raise ValueError(f"{len(scores)} answers to {len(texts)} texts")
        return Scored(digest=str(answer.get("model")), scores=scores)

    members = orjson.dumps({name: value for name, value in options.items() if value is not None})
    # An object without its end takes one member more.
    separator = b"," if len(members) > len(b"{}") else b""
    body = b'%b%b"texts":[%b]}' % (members[:-1], separator, b",".join(texts))
    return Call(method="POST", path="/v1/score", read=read, body=body, subject=subject)


def score_lines(texts: Sequence[bytes], options: ScoreOptions, first: int) -> Call[Scored[Answer]]:
    """Scores of texts that are JSON strings already, by the route that scores faster.

    It refuses single texts, and knows neither `after` nor `keep`; of word scores it is no faster.

    Args:
        texts: the JSON strings.
        options: `model`, `bos` and `eos` alone.
        first: number of the first text, for errors.
    """

    def read(reply: Reply) -> Scored[Answer]:
        *lines, rest = reply.body.split(b"\n")
        if rest:
            raise ValueError("the last line has no end")
        answers = read_objects(orjson.loads(b"[%b]" % b",".join(lines)))
        count = next((n for n, answer in enumerate(answers) if "error" in answer), len(answers))
        problem = answers[count]["error"] if count < len(answers) else None
        if len(answers) != len(texts):
            if problem:
                raise ProblemError(problem)
            raise ValueError(f"{len(answers)} answers to {len(texts)} texts")
        return Scored(
            digest=reply.headers.get("X-Model-Digest", ""),
            scores=answers[:count],
            refused=f"text {first + count}",
            problem=problem,
        )

    query = {name: options.get(name) for name in ("model", "bos", "eos")}
    return Call(
        method="POST",
        path=with_query("/v1/score/stream", query),
        read=read,
        body=b"".join(b'{"text":%b}\n' % text for text in texts),
        content_type="application/x-ndjson",
        subject=f"texts {first} to {first + len(texts) - 1}",
    )


def health() -> Call[Answer]:
    """Whether the service answers."""
    return Call(method="GET", path="/healthz", read=_read_reply)


def models() -> Call[list[Answer]]:
    """The models being served."""
    return Call(
        method="GET",
        path="/v1/models",
        read=lambda reply: read_objects(read_object(reply.body).get("data")),
    )


def metrics() -> Call[str]:
    """The service's metrics."""
    return Call(method="GET", path="/metrics", read=lambda reply: reply.body.decode())


def with_query(path: str, query: Mapping[str, object]) -> str:
    """A path with the parameters that are not None."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def encoded(text: object) -> bytes:
    """A text as JSON; raises `OptionError` where it is no Unicode."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError as error:
        raise OptionError(
            f"{text!r:.100} cannot be sent: {error}",
            "Read text as UTF-8, with errors='replace' where it may be something else.",
        ) from error


def read_object(body: bytes | str) -> Answer:
    """The object that a body is; raises `ValueError`."""
    answer = orjson.loads(body)
    if not isinstance(answer, dict):
        raise ValueError(f"expected an object, not {answer!r:.100}")
    return answer


def _read_reply(reply: Reply) -> Answer:
    return read_object(reply.body)


def read_objects(value: object) -> list[Answer]:
    """What is a list of objects; raises `ValueError` for anything else."""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return value
    raise ValueError(f"expected a list of objects, not {value!r:.100}")
