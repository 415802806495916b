"""The manifest of a model folder as a file, whatever kind of model it describes."""

from pathlib import Path

from lmserve.errors import CorruptModelError, ModelError

MANIFEST_FILE = "manifest.json"
# More than any has; a file that claims to be one is not read without end.
MAX_MANIFEST_BYTES = 1 << 20


def read_manifest(folder: Path, *, writer: str) -> bytes:
    """The content of a model folder's manifest.

    Args:
        folder: of the model.
        writer: the command that writes such folders, such as "lmserve build", for the remedy.

    Raises:
        ModelError: there is none in this folder.
        CorruptModelError: it is larger than any manifest, or cannot be read.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ModelError(
            f"{str(folder)!r} is not a model: there is no {MANIFEST_FILE} in it",
            f"Name a folder written by '{writer} --output FOLDER'.",
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise CorruptModelError(f"{path} is larger than any manifest", "Copy it again.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptModelError(f"{path} cannot be read: {error}", "Copy it again.") from error
