"""Limits of sessions that make no sense."""

import pytest

from lmserve.errors import OptionError
from lmserve.service.settings import ServiceSettings


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("max_sessions", -1),
        ("max_session_idle_s", 0),
        ("max_message_bytes", 0),
        ("max_message_words", 0),
        ("max_word_bytes", 0),
        ("max_kept_texts", 0),
        ("state_time_to_live_s", 0),
    ],
)
def test_limits_make_sense(limit: str, value: int) -> None:
    with pytest.raises(OptionError, match=limit):
        ServiceSettings(**{limit: value})
