"""Scores of texts that go on from a state, or whose own states are kept."""

from collections.abc import Sequence
from functools import partial

import orjson
from starlette.exceptions import HTTPException

from lmserve.positions import Position, beginning, end_sentence, pack_position, read_text
from lmserve.records import score_record
from lmserve.scorer import TextScore, WordScore
from lmserve.service.context import Service
from lmserve.service.resuming import compute, find_position
from lmserve.service.schemas import ScoreRequest
from lmserve.service.served import ServedModel


async def continued(service: Service, served: ServedModel, asked: ScoreRequest) -> list[bytes]:
    """The JSON of a `ScoreAnswer` for each text, in order; what is before a text costs nothing.

    Raises:
        HTTPException: 404, 409 or 503, as `find_position`; 413, states of too many texts are to be
            kept.
    """
    texts, model = asked.encoded_texts(), served.model
    if asked.keep and len(texts) > service.settings.max_kept_texts:
        most = service.settings.max_kept_texts
        raise HTTPException(413, f"States of {len(texts)} texts; keep at most {most} at a time.")
    if asked.after is None:
        start = await compute(model, partial(beginning, model, bos=asked.bos), long=False)
    else:
        start = await find_position(service.states, model, asked.after)
    records, states = [], []
    for text in texts:
        read = partial(_read, served, start, text, eos=asked.eos)
        scores, position = await compute(model, read, long=True)
        total = TextScore(
            sum(score.log10_prob for score in scores),
            len(scores),
            sum(score.oov for score in scores),
        )
        service.metrics.scored([total])
        records.append(score_record(total, scores if asked.words else None))
        if asked.keep:
            states.append(pack_position(model, position))
    if asked.keep:
        identifiers = await service.states.keep(states)
        for record, identifier in zip(records, identifiers, strict=True):
            record["state"] = identifier
    return [orjson.dumps(record) for record in records]


def _read(
    served: ServedModel, start: Position, text: bytes, *, eos: bool
) -> tuple[Sequence[WordScore], Position]:
    scores, position = read_text(served.model, start, text)
    if eos:
        end, position = end_sentence(served.model, position)
        scores.append(end)
    return scores, position
