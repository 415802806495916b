"""Limits of the scoring service."""

from dataclasses import dataclass, field

from lmserve.errors import OptionError
from lmserve.service.batching import BatchLimits
from lmserve.service.protection_settings import ProtectionSettings

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """What one replica accepts, and when it leaves the event loop.

    Attributes:
        max_body_bytes: longest body of `POST /v1/score`.
        max_line_bytes: longest line of `POST /v1/score/stream`, its line break not counted.
        max_words_bytes: longest body or line that asks for the score of each word: a byte of it
            becomes some 35 bytes of the answer.
        max_context_bytes: longest body of the routes that propose, generate and complete.
        max_sentences: most sentences that one request has generated.
        max_answer_words: most words in one answer of these routes: its sentences' number times
            their greatest length, and the words of prompts that are repeated.
        max_idle_s: longest pause of a client that has not sent all of its request; idle requests
            take the places of others.
        thread_bytes: batches with more text than this are scored in a worker thread, so that other
            requests go on. 4 KiB take an n-gram model some 0.5 ms, the way to a thread and back
            0.1 ms.
        poll_s: seconds between two looks at a model directory's pointers; each replica reads all.
        blocks_in_flight: blocks of 512 KiB that one stream has in memory; all but one or two of
            them are scored at the same time.
        max_sessions: WebSocket sessions at a time; further ones are told to come back later.
        max_session_idle_s: longest pause of a session's client between two messages.
        max_message_bytes: longest message of a session.
        max_message_words: most words that a message may complete.
        max_word_bytes: longest word of a session, complete or not: what is held between messages.
        max_kept_texts: most texts of a `POST /v1/score` that keeps their states.
        state_time_to_live_s: seconds that states are kept for clients that come back.
        echo_request_id: whether answers have the header X-Request-ID; False behind a proxy that
            adds it.
        batches: of models that are costly, which score texts of several requests at once.
        protection: what it demands of its clients, and grants them.

    Raises:
        OptionError: a limit below 0, or one of 0 other than `thread_bytes` and `max_sessions`.
    """

    max_body_bytes: int = 16 * MIB
    max_line_bytes: int = MIB
    max_words_bytes: int = 256 * KIB
    max_context_bytes: int = 256 * KIB
    max_sentences: int = 128
    max_answer_words: int = 65_536
    max_idle_s: float = 300.0
    thread_bytes: int = 4 * KIB
    poll_s: float = 2.0
    blocks_in_flight: int = 4
    max_sessions: int = 192
    max_session_idle_s: float = 600.0
    max_message_bytes: int = 64 * KIB
    max_message_words: int = 4096
    max_word_bytes: int = KIB
    max_kept_texts: int = 1024
    state_time_to_live_s: int = 3600
    echo_request_id: bool = True
    batches: BatchLimits = field(default_factory=BatchLimits)
    protection: ProtectionSettings = field(default_factory=ProtectionSettings)

    def __post_init__(self) -> None:
        least = {
            "max_body_bytes": 1,
            "max_line_bytes": 1,
            "max_words_bytes": 1,
            "max_context_bytes": 1,
            "max_sentences": 1,
            "max_answer_words": 1,
            "thread_bytes": 0,
            "blocks_in_flight": 1,
            "max_sessions": 0,
            "max_message_bytes": 1,
            "max_message_words": 1,
            "max_word_bytes": 1,
            "max_kept_texts": 1,
        }
        for name, least_value in least.items():
            value = getattr(self, name)
            if value < least_value:
                raise OptionError(f"{name} is {value}", f"Give {name} at least {least_value}.")
        for name in ("max_idle_s", "max_session_idle_s", "state_time_to_live_s", "poll_s"):
            if not getattr(self, name) > 0:
                raise OptionError(
                    f"{name} is {getattr(self, name)}", "Give a number of seconds above 0."
                )
