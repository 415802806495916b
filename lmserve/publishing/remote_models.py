"""Models by URL: fetched once into this machine's cache, and put there when they are made.

A model at a URL is a model folder's files, of which the manifest comes last: where there is one,
the others are there, too. What it says of them is checked before anything is opened.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lmserve.errors import CorruptModelError, DependencyError, ModelError
from lmserve.loading import kind_told, load
from lmserve.manifests import MANIFEST_FILE, MAX_MANIFEST_BYTES
from lmserve.mixing.manifest import MixtureManifest
from lmserve.ngram.hash_index import INDEX_FACTS_FILE, INDEX_FILES
from lmserve.ngram.manifest import Manifest
from lmserve.publishing.fetching import default_cache, fetched_once
from lmserve.publishing.naming import is_name
from lmserve.publishing.publishing import model_files
from lmserve.remote_folder import RemoteFolder
from lmserve.text.storage import is_url, plain_path
from lmserve.text.tokenization import Tokenization

# Beside the names of published models, of which none can be this.
_FOLDER = "_urls"
# Files of a model by name, with their sizes in bytes where the manifest tells them.
_Files = dict[str, int | None]


def model_name(location: str | os.PathLike[str]) -> str:
    """What a model is called by where it lies: the last part of its path or URL."""
    name = os.fspath(location)
    if not is_url(name):
        return Path(name).name
    last = plain_path(name).rstrip("/").rpartition("/")[2]
    return last if is_name(last) else "model"


def model_folder(location: str | os.PathLike[str], cache: Path | None = None) -> Path:
    """A model's folder on this machine: its own, or a copy of the one at a URL.

    The copy is made once for all processes that name the same cache, and again when the URL's
    manifest has become another.

    Args:
        location: a path, which is returned as it is, or a URL.
        cache: folder for copies; None is `default_cache()`.

    Raises:
        ModelError: there is no model at the URL, or no room for it.
        CorruptModelError: its files are not those of its manifest.
        InputError: the URL cannot be read.
        DependencyError: a package that the URL or the model needs is not installed.
    """
    name = os.fspath(location)
    if not is_url(name):
        return Path(name)
    remote = RemoteFolder(name)
    manifest = _read_manifest(remote)
    # Each URL keeps its own former versions, however alike their last parts are.
    place = (cache or default_cache()) / _FOLDER / hashlib.sha256(name.encode()).hexdigest()[:32]
    target = place / hashlib.sha256(manifest).hexdigest()
    label = model_name(name)
    fetched_once(target, lambda unfinished: _fetch_checked(remote, manifest, unfinished / label))
    return target / label


@contextmanager
def made_at(output: str) -> Iterator[Path]:
    """Where a `with` block makes the folder of a model that is wanted at a path or a URL.

    That of a URL is made on this machine, and copied there when the block ends.

    Raises:
        ModelError: there is a model at the URL.
        InputError: the URL cannot be written to.
    """
    if not is_url(output):
        yield Path(output)
        return
    remote = RemoteFolder(output)
    if remote.exists(MANIFEST_FILE):
        raise ModelError(f"{remote.location} exists already", "Name another URL, or delete it.")
    with tempfile.TemporaryDirectory(prefix="lmserve-") as scratch:
        folder = Path(scratch) / model_name(output)
        yield folder
        upload(folder, remote)


def upload(folder: Path, remote: RemoteFolder) -> None:
    """Copies a model to a URL, its manifest last; a model that is there gives way.

    Of a mixture, the components come along.

    Raises:
        ModelError: the folder holds no model.
        InputError: the URL cannot be written to.
    """
    files = model_files(folder)
    manifest = files.pop(MANIFEST_FILE)
    replaced = _named_files(remote)
    if remote.exists(MANIFEST_FILE):
        # What is half one model and half another is none.
        remote.delete_file(MANIFEST_FILE)
    for name, source in files.items():
        remote.put(name, source)
    remote.put(MANIFEST_FILE, manifest)
    for name in sorted(replaced - set(files)):
        if remote.exists(name):
            remote.delete_file(name)


def _named_files(remote: RemoteFolder) -> set[str]:
    """Of the files at a URL those of the model, by its manifest, if there is one; its index."""
    written = remote.read(MANIFEST_FILE, MAX_MANIFEST_BYTES) or b"{}"
    try:
        content = json.loads(written)
    except ValueError:
        return set()
    files = content.get("files") if isinstance(content, dict) else None
    return {name for name in files or () if is_name(name)} | set(INDEX_FILES)


def _read_manifest(remote: RemoteFolder) -> bytes:
    content = remote.read(MANIFEST_FILE, MAX_MANIFEST_BYTES + 1)
    if content is None:
        raise ModelError(
            f"there is no model at {remote.location}: no {MANIFEST_FILE}",
            "Check the URL; a model folder is copied there with its manifest last.",
        )
    if len(content) > MAX_MANIFEST_BYTES:
        raise CorruptModelError(
            f"{remote.location}/{MANIFEST_FILE} is larger than any manifest", "Copy it again."
        )
    return content


def _fetch_checked(remote: RemoteFolder, manifest: bytes, folder: Path) -> None:
    _fetch(remote, manifest, folder)
    # Every byte, once; whoever finds it in the cache need not do so again.
    load(folder, check=True)


def _fetch(remote: RemoteFolder, manifest: bytes, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / MANIFEST_FILE).write_bytes(manifest)
    kind = kind_told(manifest)
    if kind == "mixture":
        for path in _component_paths(manifest, remote.location):
            component = remote.below(path)
            written = _read_manifest(component)
            if kind_told(written) == "mixture":
                raise CorruptModelError(
                    f"{component.location} is a mixture in a mixture", "Mix the models again."
                )
            _fetch(component, written, folder / path)
        return
    files = _rnn_files(remote, manifest) if kind == "rnn" else _ngram_files(remote, manifest)
    _check_sizes(remote, files, folder)
    for name in files:
        remote.get(name, folder / name)


def _component_paths(manifest: bytes, place: str) -> list[str]:
    paths = [facts.path for facts in MixtureManifest.parse(manifest, place).components]
    for path in paths:
        if not all(map(is_name, path.split("/"))):
            raise ModelError(
                f"{place}: its component {path!r} does not lie in it",
                "Mix the models again with --copy, or with this URL as --output.",
            )
    return paths


def _ngram_files(remote: RemoteFolder, manifest: bytes) -> _Files:
    parsed = Manifest.parse(manifest, remote.location)
    sizes = {name: facts.size_bytes for name, facts in parsed.files.items()}
    files: _Files = {**sizes, **_tokenizer_files(parsed.tokenization)}
    return files | (dict.fromkeys(INDEX_FILES) if remote.exists(INDEX_FACTS_FILE) else {})


def _rnn_files(remote: RemoteFolder, manifest: bytes) -> _Files:
    try:
        from lmserve.rnn.manifest import FILES, RecurrentManifest
        from lmserve.rnn.step_log import STEPS_FILE
    except ImportError as error:
        raise DependencyError(
            f"{remote.location} is a recurrent model, which needs a package that is not "
            f"installed: {error}",
            "Install it: pip install 'lmserve[rnn]'.",
        ) from error
    parsed = RecurrentManifest.parse(manifest, remote.location)
    files: _Files = {**dict.fromkeys(FILES), **_tokenizer_files(parsed.tokenization)}
    # For reports; a network is whole without.
    return files | ({STEPS_FILE: None} if remote.exists(STEPS_FILE) else {})


def _tokenizer_files(tokenization: Tokenization) -> _Files:
    return {tokenization.file_name: None} if tokenization.file_name else {}


def _check_sizes(remote: RemoteFolder, files: Mapping[str, int | None], folder: Path) -> None:
    """Refuses files that are not as large as they should be, or more than there is room for."""
    total = 0
    for name, expected in files.items():
        found = remote.size_bytes(name)
        if found is None or expected not in (None, found):
            shown = "is not there" if found is None else f"has {found:,} bytes"
            raise CorruptModelError(
                f"{remote.location}/{name} {shown}"
                + (f", its manifest says {expected:,}" if expected is not None else ""),
                "Copy the whole model there again, its manifest last.",
            )
        total += found
    free = shutil.disk_usage(folder).free
    if total > free:
        raise ModelError(
            f"{remote.location} has {total / 1e6:,.0f} MB, and the disk of {folder.parent} has "
            f"{free / 1e6:,.0f} MB free",
            "Make room there, or name a folder on a larger disk by XDG_CACHE_HOME.",
        )
