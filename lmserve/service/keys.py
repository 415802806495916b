"""The keys of the service: who may use it, and how much.

A key is 256 random bits. Its file keeps SHA-256 of it alone: nobody can try 2^256 keys, so that a
slow hash, which protects passwords that people think up, would only make every request slow; and as
no two keys are equal and no table of hashes of random keys can exist, a salt would add nothing.
"""

import hmac
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from lmserve.errors import InputError, OptionError
from lmserve.service.problems import describe

# Tells people and scanners of published text what they have found.
KEY_PREFIX = "lms_"
_RANDOM_BYTES = 32
# How old the knowledge of the file may be.
_LOOK_INTERVAL_S = 1.0

logger = logging.getLogger(__name__)


class ApiKey(BaseModel):
    """What is known of a key; never the key itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[\w.@-]{1,64}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    created: AwareDatetime
    expires: AwareDatetime | None = None
    disabled: bool = False
    requests_per_s: Annotated[float | None, Field(gt=0)] = None
    burst: Annotated[int | None, Field(ge=1)] = None
    words_per_min: Annotated[float | None, Field(gt=0)] = None

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[ApiKey]


def new_key() -> str:
    """A key that nobody can guess."""
    return KEY_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def digest(key: str) -> str:
    """What the file keeps of a key: hexadecimal SHA-256."""
    return sha256(key.encode()).hexdigest()


def find_key(keys: Sequence[ApiKey], given: str) -> ApiKey | None:
    """The entry of a key; the time this takes tells nothing about which one it is, or nearly is."""
    given_digest = digest(given)
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256, given_digest):
            found = key
    return found


def read_keys(path: Path) -> list[ApiKey]:
    """The keys of a file.

    Raises:
        OptionError: the file cannot be read, or is no file of keys.
    """
    try:
        keys = _KeyFile.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise OptionError(
            f"the keys cannot be read from {path}: {error.strerror}",
            f"Make a first key: lmserve keys create NAME --file {path}",
        ) from error
    except ValidationError as error:
        reasons = error.errors(include_url=False, include_context=False, include_input=False)
        raise OptionError(
            f"{path} is no file of keys: {describe(list(reasons))}",
            "Correct it, or let `lmserve keys` write another.",
        ) from error
    names = [key.name for key in keys]
    if len(set(names)) != len(names):
        raise OptionError(
            f"{path} has two keys of the same name", "Give every key a name of its own."
        )
    return keys


def write_keys(path: Path, keys: Sequence[ApiKey]) -> None:
    """Replaces the file at once, readable by its owner alone.

    Raises:
        InputError: the file cannot be written.
    """
    records = [key.model_dump(mode="json", exclude_defaults=True) for key in keys]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # Mode 0600.
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"keys": records}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        raise InputError(
            f"the keys cannot be written to {path}: {error.strerror}",
            "Give a file in a folder that you may write to.",
        ) from error


def add_key(
    path: Path,
    name: str,
    *,
    expires_in: timedelta | None = None,
    requests_per_s: float | None = None,
    burst: int | None = None,
    words_per_min: float | None = None,
) -> str:
    """Adds a key to a file, which need not exist; returns the key.

    Raises:
        OptionError: the name is taken or no name, a limit makes no sense, or the file is no file
            of keys.
        InputError: the file cannot be written.
    """
    present = read_keys(path) if path.exists() else []
    if name in (key.name for key in present):
        raise OptionError(
            f"{path} has a key {name!r} already", "Give another name, or delete that key first."
        )
    key = new_key()
    created = now().replace(microsecond=0)
    try:
        entry = ApiKey(
            name=name,
            sha256=digest(key),
            created=created,
            expires=created + expires_in if expires_in else None,
            requests_per_s=requests_per_s,
            burst=burst,
            words_per_min=words_per_min,
        )
    except ValidationError as error:
        raise OptionError(
            f"this is no key: {describe(list(error.errors()))}",
            "A name has up to 64 letters, digits, dots, dashes, @ and _; limits are above 0.",
        ) from error
    write_keys(path, [*present, entry])
    return key


class KeyRing:
    """The keys of a file, as it is now: it is read again when it has changed.

    A file that then cannot be used is logged, and the keys stay those that they were.

    Args:
        path: the file.
        clock: monotonic seconds; another one in tests.

    Raises:
        OptionError: the file cannot be read, or is no file of keys.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._state = _state(path)
        self._keys = read_keys(path)
        self._look_after_s = clock() + _LOOK_INTERVAL_S

    def find(self, given: str) -> ApiKey | None:
        """The entry of a key, which may be disabled or expired; None for an unknown key."""
        self._look()
        return find_key(self._keys, given)

    def _look(self) -> None:
        if self._clock() < self._look_after_s:
            return
        self._look_after_s = self._clock() + _LOOK_INTERVAL_S
        state = _state(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            self._keys = read_keys(self._path)
            logger.info("read %d keys again", len(self._keys))
        except OptionError as error:
            logger.error("the keys stay as they were: %s", error.problem)


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes with the file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def now() -> datetime:
    """The present, by which keys expire."""
    return datetime.now(UTC)
