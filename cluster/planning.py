"""The two ends of a build: what is decided before it begins, and how its result is published."""

import os
import shutil
import sys
from pathlib import Path

from cluster.config import BuildConfig
from cluster.disk import check_room
from cluster.workspace import Workspace
from lmserve.errors import BuildError, LmserveError
from lmserve.text.sources import STDIN, Piece, find_files, require_regular, split

_MIN_PIECE_BYTES, _MAX_PIECE_BYTES = 1 << 20, 64 << 20


def plan(config: BuildConfig, files: Workspace) -> list[Piece]:
    """The pieces to read, from the unfinished build or anew. Checks all that can be checked now.

    Raises:
        InputError: the text cannot be found, or there is none.
        BuildError: the output is in the way, there is an unfinished build, or none to resume.
    """
    unfinished = files.plan_file.is_file()
    if unfinished and not config.resume:
        raise BuildError(
            f"there is an unfinished build in {str(files.folder)!r}",
            "Continue it with --resume, or delete that folder to start anew.",
        )
    if config.resume and not unfinished:
        files.remove()
        raise BuildError(
            f"nothing to resume: there is no unfinished build in {str(files.folder)!r}",
            "Run the same command without --resume.",
        )
    try:
        check_output(config)
        if config.resume:
            pieces = files.resume(config.facts(_inputs(config, files)))
            check_room(config, files, pieces)
            return pieces
        files.clear()
        if config.inputs == (STDIN,):
            with files.stdin_copy.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy, 1 << 20)
        return _new_plan(config, files)
    except BaseException:
        if not unfinished:
            files.remove()
        raise


def check_output(config: BuildConfig) -> None:
    """Raises `BuildError` where the output exists, unless it is one that may be replaced."""
    if not os.path.lexists(config.output):
        return
    if not (config.output / config.manifest_file).is_file():
        raise BuildError(
            f"{str(config.output)!r} exists and is no {config.makes}; it is not touched",
            "Give another --output.",
        )
    if not config.overwrite:
        raise BuildError(
            f"{str(config.output)!r} exists already",
            "Give another --output, or --overwrite to replace it once the new one is complete.",
        )


def is_published(config: BuildConfig, files: Workspace) -> bool:
    """Whether a build to be resumed has been stopped after its result was in its place."""
    here, there = (folder / config.manifest_file for folder in (files.model, config.output))
    if not files.plan_file.is_file() or not there.is_file():
        return False
    # It was moved; or copied, and the original not yet deleted.
    return not files.model.exists() or (here.is_file() and here.read_bytes() == there.read_bytes())


def publish(config: BuildConfig, files: Workspace) -> None:
    """Moves the finished model, or counts, into place; what is there gives way only now.

    Raises:
        BuildError: something has taken that place meanwhile.
    """
    check_output(config)
    landing = files.folder
    if config.temp_dir is not None:
        landing = config.output.with_name(f"{config.output.name}.arriving")
        shutil.rmtree(landing, ignore_errors=True)
        landing.mkdir()
        shutil.copytree(files.model, landing / files.model.name)
    model = landing / files.model.name
    for path in model.rglob("*"):
        _sync(path)
    _sync(model)
    if config.output.exists():
        config.output.rename(landing / "replaced")
    model.rename(config.output)
    _sync(config.output.parent)
    # First of all, for it would tell that the model is not yet in its place.
    shutil.rmtree(files.model, ignore_errors=True)
    shutil.rmtree(landing, ignore_errors=True)
    files.remove()


def clean_up(config: BuildConfig, files: Workspace, error: LmserveError | None) -> None:
    """After a failure: keeps what can be resumed, and nothing else.

    Args:
        config: of the build that failed.
        files: its workspace.
        error: set where the text itself was refused, so that going on is of no use.

    Raises:
        LmserveError: like `error`, saying also where the text is that came through a pipe.
    """
    if error is None:
        if not files.has_done_something():
            files.remove()
        return
    kept = None
    if files.stdin_copy.exists():
        kept = config.output.with_name(config.output.name + ".stdin.txt")
        shutil.move(files.stdin_copy, kept)
    files.remove()
    if kept:
        remedy = f"{error.remedy} The text is kept: give {str(kept)!r} as INPUT."
        raise type(error)(error.problem, remedy) from error


def _new_plan(config: BuildConfig, files: Workspace) -> list[Piece]:
    inputs = _inputs(config, files)
    facts = config.facts(inputs)
    total_bytes = sum(size_bytes or 0 for _, size_bytes, _ in facts["input"])
    piece_bytes = min(max(total_bytes // 16, _MIN_PIECE_BYTES), _MAX_PIECE_BYTES)
    pieces = split(inputs, piece_bytes, config.text_column)
    check_room(config, files, pieces)
    files.create_folders()
    if config.tokenizer_file is not None:
        config.tokenization.keep(config.tokenizer_file, files.model)
    files.create(facts, pieces)
    return pieces


def _inputs(config: BuildConfig, files: Workspace) -> list[str]:
    if config.inputs == (STDIN,):
        return [str(files.stdin_copy)]
    inputs = find_files(config.inputs)
    require_regular(inputs)
    return inputs


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
