"""A session: one client's way through a text, word by word."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import orjson

from lmserve.positions import Position, beginning, end_sentence, pack_position, read_text
from lmserve.scorer import WordScore
from lmserve.service.context import Service
from lmserve.service.resuming import compute, find_position
from lmserve.service.served import ServedModel
from lmserve.service.session_messages import SessionOptions
from lmserve.text.tokenization import identity

# Words computed, and kept in the store, at once: the first answers of a long message come soon.
_BATCH = 16
_BITS = math.log2(10)


@dataclass(kw_only=True, slots=True)
class Session:
    """A client's place in a text; moved on by its words.

    Attributes:
        service: where states are kept.
        served: the model, the same until the session ends.
        top: how many next words each answer proposes.
        position: after the last word.
    """

    service: Service
    served: ServedModel
    top: int
    position: Position

    @classmethod
    async def open(cls, service: Service, options: SessionOptions) -> Self:
        """Begins a text, or goes on with one; raises `HTTPException` where that cannot be."""
        served = service.models.find(options.model)
        if options.state is not None:
            position = await find_position(service.states, served.model, options.state)
        else:
            begin = partial(beginning, served.model, bos=options.bos)
            position = await compute(served.model, begin, long=False)
        return cls(service=service, served=served, top=options.top, position=position)

    async def ready(self, state: str | None) -> bytes:
        """The first message.

        Args:
            state: the identifier of the state that the client came with, if any.
        """
        if state is None:
            packed = pack_position(self.served.model, self.position)
            (state,) = await self.service.states.keep([packed])
        ready = {
            "model": self.served.name,
            "version": self.served.version,
            "digest": self.served.digest,
            "state": state,
            "words": self.position.words,
            "log10_prob": self.position.log10_prob,
        }
        return orjson.dumps({"ready": ready})

    async def read(self, words: Sequence[bytes], *, end: bool) -> AsyncIterator[list[bytes]]:
        """Reads words, and then perhaps the sentence's end.

        Yields:
            Batch by batch an answer for each; its state is kept before.
        """
        steps: list[bytes | None] = [*words, None] if end else [*words]
        for start in range(0, len(steps), _BATCH):
            read = partial(self._read, steps[start : start + _BATCH])
            records, states = await compute(self.served.model, read, long=self.top > 0)
            identifiers = await self.service.states.keep(states)
            yield [
                orjson.dumps(record | {"state": identifier})
                for record, identifier in zip(records, identifiers, strict=True)
            ]
            await asyncio.sleep(0)  # Other sessions' turn: a store in memory never waits.

    def _read(self, steps: Sequence[bytes | None]) -> tuple[list[dict[str, Any]], list[bytes]]:
        """The answers to words, None for a sentence's end, without states; the packed states."""
        model = self.served.model
        records, states = [], []
        for step in steps:
            if step is None:
                score, self.position = end_sentence(model, self.position)
                records.append(self._record(score.word, [score]))
            else:
                scores, self.position = read_text(model, self.position, step)
                records.append(self._record(step.decode(), scores))
            states.append(pack_position(model, self.position))
        return records, states

    def _record(self, word: str, scores: list[WordScore]) -> dict[str, Any]:
        position, model = self.position, self.served.model
        log10_prob = math.fsum(score.log10_prob for score in scores)
        record: dict[str, Any] = {
            "word": word,
            "log10_prob": log10_prob,
            "surprise": abs(log10_prob) * _BITS,
            "ngram_length": scores[-1].ngram_length if scores else 0,
            "oov": any(score.oov for score in scores),
            "words": position.words,
            "total_log10_prob": position.log10_prob,
            "perplexity": position.perplexity,
        }
        if model.segment is not identity:
            record["tokens"] = [score._asdict() for score in scores]
        if self.top:
            proposed = model.next_words_after(position.state, top=self.top)
            record["next"] = [candidate._asdict() for candidate in proposed]
        return record
