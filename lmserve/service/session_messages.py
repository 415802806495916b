"""What a session's client says: characters or words as they come, and where sentences end."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

from lmserve.service.settings import ServiceSettings
from lmserve.text.continuing import words_of

MAX_TOP = 100


class SessionOptions(BaseModel):
    """The query of `WS /v1/stream`."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    state: str | None = None
    top: Annotated[int, Field(ge=0, le=MAX_TOP)] = 0
    bos: bool = True


class SessionMessage(BaseModel):
    """Exactly one of `text`, `words` and `end`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | None = None
    words: list[str] | None = None
    end: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = [value for value in (self.text, self.words, self.end) if value is not None]
        if len(given) != 1:
            raise ValueError("give one of 'text', 'words' and 'end'")
        return self


class WordBuffer:
    """Puts words together from pieces of text; an unfinished one is held.

    Args:
        settings: its limits on words.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._held = b""

    def take(self, message: SessionMessage) -> list[bytes]:
        """The words that a message completes.

        Raises:
            HTTPException: 413 or 422; the message changes nothing then.
        """
        words, held = self._parse(message)
        if len(words) > self._settings.max_message_words:
            raise HTTPException(
                413,
                f"{len(words)} words in a message; send at most "
                f"{self._settings.max_message_words}.",
            )
        if max(map(len, [*words, held])) > self._settings.max_word_bytes:
            raise HTTPException(
                413,
                f"A word is longer than {self._settings.max_word_bytes} bytes; send white space.",
            )
        self._held = held
        return words

    def _parse(self, message: SessionMessage) -> tuple[list[bytes], bytes]:
        """Complete words, and what is held after them."""
        if message.text is not None:
            text = self._held + message.text.encode()
            words = words_of(text)
            # The last word is complete if the text doesn't end with it.
            return (words[:-1], words[-1]) if words and text.endswith(words[-1]) else (words, b"")
        held = [self._held] if self._held else []
        words = [word.encode() for word in message.words or ()]
        for word in words:
            if words_of(word) != [word]:
                raise HTTPException(422, "words: each is one word, without white space")
        return held + words, b""
