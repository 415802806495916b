"""Putting a model into a model directory, and moving the pointer of its name."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from lmserve.errors import ModelError
from lmserve.loading import kind_of, load
from lmserve.manifests import MANIFEST_FILE
from lmserve.mixing.manifest import MixtureManifest
from lmserve.publishing import heldout
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.naming import checked_name
from lmserve.publishing.records import (
    POINTER_FILE,
    PUBLISHED_FILE,
    Action,
    FileRecord,
    Pointer,
    Published,
    record_bytes,
)
from lmserve.remote_folder import Source

_DIGEST_CHARACTERS = 12


def publish(
    model: Path,
    directory: ModelDirectory,
    *,
    name: str | None = None,
    version: str | None = None,
    heldout_perplexity: float | None = None,
) -> tuple[str, Pointer]:
    """Adds a model to a directory and makes it the current version of its name.

    Publishing what is there already only moves the pointer, and takes down another perplexity.

    Args:
        model: a model folder of any kind; of a mixture, the components come along.
        directory: where to.
        name: None is the folder's.
        version: None is the beginning of the model's digest.
        heldout_perplexity: of a text that the model was not made from; None is what its manifest
            tells, if it does.

    Returns:
        The name; its pointer.

    Raises:
        OptionError: the name or the version is none, or the perplexity cannot be one.
        ModelError: the folder is no model, or the version is there already and another model.
        CorruptModelError: a byte of the model was changed.
    """
    name = checked_name(model.resolve().name if name is None else name)
    digest = load(model, check=True).digest
    version = checked_name(version or digest[:_DIGEST_CHARACTERS], "version")
    if heldout_perplexity is not None:
        heldout.check(heldout_perplexity)
    with directory.store.locked(name):
        there = directory.published(name, version)
        if there is None:
            _add(model, digest, directory, f"{name}/{version}", heldout_perplexity)
        else:
            _require_same(there, digest, f"version {version!r} of {name!r}")
            if heldout_perplexity is not None:
                told = there.model_copy(update={"heldout_perplexity": heldout_perplexity})
                directory.store.write(f"{name}/{version}/{PUBLISHED_FILE}", record_bytes(told))
        return name, _move(directory, name, version, "publish")


def rollback(directory: ModelDirectory, name: str, *, to: str | None = None) -> Pointer:
    """Makes a former version of a name the current one.

    Args:
        directory: where it is.
        name: of the model.
        to: which; None is the one before the current, not counting those gone back from.

    Raises:
        ModelError: there is no such name or version, or none before the current one.
    """
    with directory.store.locked(checked_name(name)):
        pointer = directory.require_pointer(name)
        if to is None and not pointer.former:
            raise ModelError(
                f"there is no version of {name!r} before {pointer.current!r}",
                "Name a version with --to; lmserve models lists them.",
            )
        version = pointer.former[-1] if to is None else checked_name(to, "version")
        directory.require_published(name, version)
        return _move(directory, name, version, "rollback")


def model_files(folder: Path) -> dict[str, Source]:
    """All files that a model is made of, by path in a folder that can be moved by itself.

    Raises:
        ModelError: the folder holds no model.
    """
    if kind_of(folder) != "mixture":
        return {path.name: path for path in sorted(folder.iterdir()) if _is_of_model(path)}
    manifest = MixtureManifest.read(folder)
    moved = []
    files: dict[str, Source] = {}
    for k, facts in enumerate(manifest.components):
        place = f"components/{k}"
        moved.append(facts.model_copy(update={"path": place}))
        for name, source in model_files(folder / facts.path).items():
            files[f"{place}/{name}"] = source
    files[MANIFEST_FILE] = record_bytes(manifest.model_copy(update={"components": moved}))
    return files


def _is_of_model(path: Path) -> bool:
    # A model that was published before has the record of that.
    return path.is_file() and not path.name.startswith(".") and path.name != PUBLISHED_FILE


def _require_same(there: Published, digest: str, what: str) -> None:
    if there.digest != digest:
        raise ModelError(
            f"{what} is there already and another model: "
            f"{there.digest[:16]}..., not {digest[:16]}...",
            "Versions never change: give another --version, or none.",
        )


def _add(
    model: Path,
    digest: str,
    directory: ModelDirectory,
    place: str,
    heldout_perplexity: float | None,
) -> None:
    files = model_files(model)
    published = Published(
        kind=kind_of(model),
        digest=digest,
        at=datetime.now(UTC),
        files={name: file_record(source) for name, source in files.items()},
        heldout_perplexity=heldout_perplexity or heldout.told_by(model),
    )
    directory.store.add(place, files, record_bytes(published))


def _move(directory: ModelDirectory, name: str, version: str, action: Action) -> Pointer:
    before = directory.pointer(name)
    if before is not None and before.current == version:
        return before
    pointer = Pointer.after(before, version, action, datetime.now(UTC))
    directory.store.write(f"{name}/{POINTER_FILE}", record_bytes(pointer))
    return pointer


def file_record(source: Source) -> FileRecord:
    """Size and checksum of a file."""
    if isinstance(source, bytes):
        return FileRecord(size_bytes=len(source), sha256=hashlib.sha256(source).hexdigest())
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(size_bytes=source.stat().st_size, sha256=digest)
