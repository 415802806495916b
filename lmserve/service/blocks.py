"""Cutting a stream of bytes into blocks of whole lines."""

from collections.abc import Iterator
from itertools import groupby

# Scored in one go: little enough for others to have their turn, enough to be worth a thread. Lines
# are limited, too, as an empty one is one byte and its answer 70.
BLOCK_BYTES = 1 << 19
BLOCK_LINES = 1 << 13


class BlockSplitter:
    r"""Cuts pieces of bytes into blocks of whole lines, holding back at most one line's limit.

    A block is bytes that end with the `\n` of its last line. Each line that is longer than allowed
    is a block by itself, None; its bytes are dropped as they come.

    Args:
        max_line_bytes: of a line, its line break not counted.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._held = bytearray()
        self._too_long = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """The blocks of the lines that this piece completes."""
        if self._too_long:
            _, found, piece = piece.partition(b"\n")
            if not found:
                return
            self._too_long = False
            yield None
        end = piece.rfind(b"\n") + 1
        if end:
            lines = bytes(self._held + piece[:end])
            self._held.clear()
            yield from self._blocks(lines)
        self._held += piece[end:]
        if len(self._held) > self._max_line_bytes:
            self._too_long = True
            self._held.clear()

    def finish(self) -> Iterator[bytes | None]:
        """The last line, where it has no line break."""
        if self._too_long:
            yield None
        elif self._held:
            yield bytes(self._held + b"\n")

    def _blocks(self, lines: bytes) -> Iterator[bytes | None]:
        if len(lines) <= self._max_line_bytes:
            yield from _parts(lines)
            return
        every = lines.split(b"\n")[:-1]
        for too_long, run in groupby(every, lambda line: len(line) > self._max_line_bytes):
            if too_long:
                yield from (None for _ in run)
            else:
                yield from _parts(b"\n".join([*run, b""]))


def _parts(lines: bytes) -> Iterator[bytes]:
    """Whole lines in parts of at most `BLOCK_LINES`, and of `BLOCK_BYTES` but for a longer line."""
    while len(lines) > BLOCK_BYTES or lines.count(b"\n") > BLOCK_LINES:
        end = lines.rfind(b"\n", 0, BLOCK_BYTES) + 1 or lines.find(b"\n") + 1
        *head, _ = lines[:end].split(b"\n", BLOCK_LINES)
        part = b"\n".join([*head, b""])
        yield part
        lines = lines[len(part) :]
    if lines:
        yield lines
