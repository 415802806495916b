"""What a session has said, what is answered, and what has to be said again after a disconnect."""

from collections.abc import Iterable
from typing import Any

import orjson

from lmserve.client.calls import Answer, read_object
from lmserve.client.remote import Remote
from lmserve.errors import ServiceError
from lmserve.text.continuing import words_of

# Below what services accept unless they are told otherwise: 4096 words, 64 KiB.
_MESSAGE_WORDS = 512
_MESSAGE_BYTES = 32 * 1024
# Words that are remembered while the service keeps no states.
_MOST_REMEMBERED = 65_536

# A word, or None for the end of a sentence.
Step = str | None


class Dialogue:
    """One side of the session protocol, whatever carries its messages.

    The service gives every word's state an ID, unless its store does not work. So the steps after
    the last state with an ID are remembered; they are said again on the next connection, and the
    answers that were had before are dropped.

    Args:
        remote: for errors.
        query: what the session is opened with: `model`, `state`, `top`, `bos`.

    Attributes:
        ready: what the service said at the beginning.
        state: ID of the latest state that the service keeps.
    """

    def __init__(self, remote: Remote, query: dict[str, Any]) -> None:
        self.ready: Answer = {}
        self.state: str | None = query["state"]
        self._remote = remote
        self._query = query
        self._held = ""
        self._steps: list[Step] = []
        self._known = 0  # How many steps were answered, be it on an earlier connection.
        self._sent = 0  # How many were sent on this connection;
        self._answered = 0  # how many of these were answered,
        self._kept = 0  # and how many of these are before `state`.
        self._forgotten = False
        self._answers: list[Answer] = []

    @property
    def url(self) -> str:
        """Where the next connection goes; raises `ServiceError` if nothing can go on from there."""
        if self._forgotten:
            raise ServiceError(
                f"the session broke off, and the service kept no state of its last "
                f"{_MOST_REMEMBERED} words",
                "Begin again, and see in the service's log why it keeps no states.",
            )
        query = self._query | {"state": self.state, "bos": str(self._query["bos"]).lower()}
        query = {name: value for name, value in query.items() if value is not None}
        return self._remote.websocket_url("/v1/stream", query)

    def say(self, text: str) -> None:
        """Adds characters; the unfinished word at their end waits for the rest."""
        text = self._held + text
        words = [word.decode() for word in words_of(text.encode())]
        self._held = words.pop() if words and text.endswith(words[-1]) else ""
        self._steps += words

    def say_words(self, words: Iterable[str]) -> None:
        """Adds whole words, after the unfinished one."""
        self._steps += [self._held] if self._held else []
        self._held = ""
        self._steps += words

    def say_end(self) -> None:
        """Adds the sentence's end, after the unfinished word."""
        self.say_words(())
        self._steps.append(None)

    def opened(self, message: str | bytes) -> None:
        """Takes the first message of a connection; raises `ServiceError` if it refuses."""
        ready = self._read(message).get("ready")
        if not isinstance(ready, dict):
            raise self._remote.broken(ValueError(f"{message!r:.100} is not ready"), "a session")
        if self.ready and ready.get("digest") != self.ready.get("digest"):
            raise ServiceError(
                f"the service changed its model from {self.ready.get('digest')} to "
                f"{ready.get('digest')} while the session was broken off",
                "Begin again.",
            )
        self.ready = self.ready or ready
        self.state = ready.get("state") or self.state
        self._query["model"] = ready.get("model")
        self._forget_kept()
        self._sent = self._answered = 0

    def next_message(self) -> str | None:
        """What to send now; None if all is sent."""
        if self._sent == len(self._steps):
            return None
        words: list[str] = []
        size_bytes = 0
        for step in self._steps[self._sent : self._sent + _MESSAGE_WORDS]:
            size_bytes += len(orjson.dumps(step))
            if step is None or (words and size_bytes > _MESSAGE_BYTES):
                break
            words.append(step)
        self._sent += max(1, len(words))
        return orjson.dumps({"words": words} if words else {"end": True}).decode()

    @property
    def waits(self) -> bool:
        """Whether something sent on this connection is not answered."""
        return self._answered < self._sent

    def take(self, message: str | bytes) -> None:
        """Takes the answer to a step; raises `ServiceError` if it refuses."""
        answer = self._read(message)
        self._answered += 1
        if self._answered > self._known:
            self._known = self._answered
            self._answers.append(answer)
        state = answer.get("state")
        if state is not None or self._known > _MOST_REMEMBERED:
            self._forgotten = state is None
            self.state = state
            self._kept = self._answered
        if not self.waits:
            self._forget_kept()

    def answers(self) -> list[Answer]:
        """The answers since this was last asked for."""
        answers, self._answers = self._answers, []
        return answers

    def _forget_kept(self) -> None:
        """What is before `state` need not be said again."""
        del self._steps[: self._kept]
        self._known -= self._kept
        self._sent -= self._kept
        self._answered -= self._kept
        self._kept = 0

    def _read(self, message: str | bytes) -> Answer:
        try:
            answer = read_object(message)
        except ValueError as error:
            raise self._remote.broken(error, "a session") from error
        problem = answer.get("error")
        if problem is None:
            return answer
        refusal = self._remote.refused_within(problem, "a session")
        if not refusal.passing:
            # A message is refused as a whole.
            del self._steps[self._answered :]
            self._known = self._sent = self._answered
        raise refusal
