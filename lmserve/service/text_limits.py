"""How long a text may be, in words."""

from starlette.exceptions import HTTPException


class TextTooLongError(HTTPException, ValueError):
    """A text with more words than allowed: 422 for a body, a line's error in a stream."""

    def __init__(self, max_words: int) -> None:
        super().__init__(422, f"a text has more than {max_words} words; send shorter ones")

    def __str__(self) -> str:
        return self.detail


def check_length(text: bytes, max_words: int | None) -> bytes:
    """The text itself, or `TextTooLongError` where it has more than `max_words`."""
    # A word and the white space after it take two bytes.
    if max_words is not None and len(text) >= 2 * max_words:
        words = text.split(maxsplit=max_words)
        if len(words) > max_words:
            raise TextTooLongError(max_words)
    return text
