"""Room on the disk: how much a build will need meanwhile, and whether it is there.

What the text will turn out to hold is not known before it is read, so this is a rule of thumb made
from English books of 4 and 40 MB. The longer a text, the fewer of its n-grams are new: of longer
texts it tells too much.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cluster.config import BuildConfig
from cluster.workspace import Workspace
from lmserve.errors import BuildError
from lmserve.text.sources import Piece
from lmserve.text.storage import COMPRESSED_SUFFIXES, plain_path

_BYTES_PER_WORD = 4.5
_COMPRESSION = 4.0
# Of one word of text: its token and its record, whose ids have 21 bits or fewer.
_TOKEN_BYTES = 4
_WORDS_PER_COLUMN = 3
_COLUMN_BYTES = 8
# Of each n-gram: counted, smoothed, and in the model.
_NGRAM_BYTES = 32
# Of the words of a text, how many end an n-gram not met before, of order 2, 3, 4, 5, and more; and
# how many of those pruning leaves.
_NEW_NGRAMS = (0.3, 0.65, 0.85, 0.9, 1.0)
_NOT_PRUNED = 0.2


def temporary_bytes(pieces: Sequence[Piece], thresholds: npt.NDArray[np.int64]) -> int:
    """About how much disk a build needs in its own folder, the finished model included.

    Args:
        pieces: of the text.
        thresholds: int64 [n], of pruning.
    """
    text_bytes = 0.0
    for piece in pieces:
        compressed = plain_path(piece.path).endswith(COMPRESSED_SUFFIXES)
        text_bytes += piece.size_bytes * (_COMPRESSION if compressed else 1.0)
    words = text_bytes / _BYTES_PER_WORD
    order = len(thresholds)
    record_bytes = -(-order // _WORDS_PER_COLUMN) * _COLUMN_BYTES if order > 1 else 0
    ngrams = 0.0
    for k, threshold in enumerate(thresholds[1:], 2):
        new = _NEW_NGRAMS[min(k - 2, len(_NEW_NGRAMS) - 1)]
        ngrams += min(new, _NOT_PRUNED) if threshold else new
    return int(words * (_TOKEN_BYTES + record_bytes + ngrams * _NGRAM_BYTES))


def check_room(config: BuildConfig, files: Workspace, pieces: Sequence[Piece]) -> None:
    """Refuses a build that would fill the disk, where all is done on one.

    Raises:
        BuildError: there is less room than it will need.
    """
    if files.private:
        return
    needed = temporary_bytes(pieces, config.thresholds)
    missing = needed - files.used_bytes()
    free = shutil.disk_usage(_existing(files.folder)).free
    if missing > free:
        raise BuildError(
            f"the build needs about {missing / 1e6:,.1f} MB in {str(files.folder)!r}, and that "
            f"disk has {free / 1e6:,.1f} MB free",
            "Name a folder on a larger disk with --temp-dir, make room, or give a lower --order.",
        )


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
