"""States of models as bytes, sealed so that accidents are noticed before anything is computed.

    1 byte    version of this format
    16 bytes  BLAKE2b of the payload, keyed with the model's digest
    payload   the model's own

The seal tells damaged states and those of other models. Digests are no secret, so it stops nobody
who makes a state on purpose: models check what is in it as well.
"""

import hashlib

from lmserve.errors import StateError

_VERSION = b"\x01"
_SEAL_BYTES = 16


def seal(payload: bytes, digest: str) -> bytes:
    """A model's state as bytes.

    Args:
        payload: the state.
        digest: hexadecimal, of the model.
    """
    return _VERSION + _seal(payload, digest) + payload


def unseal(data: bytes, digest: str) -> bytes:
    """The payload of `seal`.

    Raises:
        StateError: it is damaged, or the state of another model or version of lmserve.
    """
    payload = data[1 + _SEAL_BYTES :]
    if data[: 1 + _SEAL_BYTES] != _VERSION + _seal(payload, digest):
        raise StateError(
            f"{len(data)} bytes are no state of the model {digest[:16]}...: "
            "damaged, or of another model",
            "Use the model that the state comes from, or begin the text again.",
        )
    return payload


def _seal(payload: bytes, digest: str) -> bytes:
    return hashlib.blake2b(payload, digest_size=_SEAL_BYTES, key=bytes.fromhex(digest)).digest()
