"""Keeps two jobs with one output apart where there are no locks: in an object store.

A job leaves a claim, and then looks for those of others, so that of two that come at once one at
least sees the other. A claim is written anew every few seconds; one that is not belongs to a job
that died. Nobody's clock is asked: a claim lives if it changes while it is watched.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import psutil

from lmserve.errors import LmserveError
from lmserve.remote_folder import RemoteFolder

BEAT_S = 5.0
# Beats that a living job may miss, because of its network.
_BEATS = 4
_MAX_BYTES = 1 << 12


@contextmanager
def store_locked(url: str, work: str, refusal: type[LmserveError]) -> Iterator[None]:
    """Keeps other jobs away while the block runs.

    Args:
        url: of a folder for the claims; nothing stays there.
        work: the kind of job, named to those who are refused because of it: "build".
        refusal: the class of the error.

    Raises:
        LmserveError: a `refusal`: another job is at work.
    """
    claims, ours = RemoteFolder(url), f"{uuid.uuid4().hex}.json"
    facts = {
        "work": work,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }

    def claim(beat: int) -> None:
        claims.put(ours, json.dumps(facts | {"beat": beat}).encode())

    def go_on_claiming() -> None:
        beat = 0
        while not ended.wait(BEAT_S):
            beat += 1
            # The next one may get through.
            with suppress(LmserveError):
                claim(beat)

    ended = Event()
    claim(0)
    beating = Thread(target=go_on_claiming, daemon=True)
    beating.start()
    try:
        for other in claims.files():
            if other != ours:
                _outlive(claims, other, refusal)
        yield
    finally:
        ended.set()
        beating.join()
        with suppress(LmserveError):
            claims.delete_file(ours)
            if not claims.files():
                # Not only the claim: what stands for its folder, too.
                claims.delete()


def _outlive(claims: RemoteFolder, other: str, refusal: type[LmserveError]) -> None:
    """Takes away another's claim if it is dead.

    Raises:
        LmserveError: a `refusal`: it lives.
    """
    found = claims.read(other, _MAX_BYTES)
    if found is None:
        return
    facts = json.loads(found)
    here = facts["host"] == socket.gethostname()
    if not here or psutil.pid_exists(facts["pid"]):
        for _ in range(_BEATS):
            time.sleep(BEAT_S)
            now = claims.read(other, _MAX_BYTES)
            if now is None:
                return
            if now != found:
                raise _at_work(refusal, claims.location, facts)
    with suppress(LmserveError):
        claims.delete_file(other)


def _at_work(refusal: type[LmserveError], place: str, facts: dict[str, Any]) -> LmserveError:
    """The error for a claim that lives."""
    return refusal(
        f"a {facts['work']} is at work: {place!r} is claimed by process {facts['pid']} on "
        f"{facts['host']}, since {facts['began']}",
        "Wait until it has ended, or give another --output.",
    )
