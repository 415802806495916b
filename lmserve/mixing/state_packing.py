"""The states of a mixture's components, one after the other: 4 bytes of length before each."""

from collections.abc import Iterable

from lmserve.errors import StateError

_LENGTH_BYTES = 4


def join_states(states: Iterable[bytes]) -> bytes:
    """Packed states of components as one."""
    return b"".join(len(state).to_bytes(_LENGTH_BYTES, "little") + state for state in states)


def split_states(payload: bytes, components: int) -> list[bytes]:
    """The states that `join_states` joined.

    Raises:
        StateError: they are more or fewer than the components, or cut short.
    """
    states: list[bytes] = []
    while payload:
        end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "little")
        if len(states) == components or end > len(payload):
            break
        states.append(payload[_LENGTH_BYTES:end])
        payload = payload[end:]
    if payload or len(states) != components:
        raise StateError(
            f"a state that is not one of a mixture of {components} models",
            "Begin the text again.",
        )
    return states
