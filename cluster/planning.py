"""The two ends of a build: what is decided before it begins, and how its result is published."""

import sys

from cluster.config import BuildConfig
from cluster.disk import check_room
from cluster.outputs import open_output
from cluster.stored_workspace import StoredWorkspace
from cluster.workspace import Workspace
from lmserve.errors import BuildError, LmserveError
from lmserve.text.sources import STDIN, Piece, find_files, require_regular, split

# So many that each worker has several; files of their records are then about as large as those
# that are written over them later.
_PIECES = 24
_MIN_PIECE_BYTES, _MAX_PIECE_BYTES = 1 << 20, 64 << 20


def open_workspace(config: BuildConfig) -> Workspace:
    """Where a build keeps what it does meanwhile."""
    if config.url is None:
        return Workspace(config.folder)
    return StoredWorkspace.open(config.url, config.temp_dir)


def plan(config: BuildConfig, files: Workspace) -> list[Piece]:
    """The pieces to read, from the unfinished build or anew. Checks all that can be checked now.

    Raises:
        InputError: the text cannot be found, or there is none.
        BuildError: the output is in the way, there is an unfinished build, or none to resume.
    """
    unfinished = files.planned()
    if unfinished and not config.resume:
        raise BuildError(
            f"there is an unfinished build in {files.where!r}",
            "Continue it with --resume, or delete that folder to start anew.",
        )
    if config.resume and not unfinished:
        files.remove()
        raise BuildError(
            f"nothing to resume: there is no unfinished build in {files.where!r}",
            "Run the same command without --resume.",
        )
    try:
        check_output(config, files)
        if config.resume:
            pieces = files.resume(config.facts(_inputs(config, files)))
            if config.tokenization.file_name:
                files.need(files.model / config.tokenization.file_name)
            check_room(config, files, pieces)
            return pieces
        files.clear()
        if config.inputs == (STDIN,):
            files.keep_stdin(sys.stdin.buffer)
        return _new_plan(config, files)
    except BaseException:
        if not unfinished:
            files.remove()
        raise


def check_output(config: BuildConfig, files: Workspace) -> None:
    """Raises `BuildError` where the output exists, unless it is one that may be replaced."""
    output = open_output(config)
    if not output.exists() or (config.resume and output.begun(files)):
        return
    if output.read(config.manifest_file) is None:
        raise BuildError(
            f"{config.place!r} exists and is no {config.makes}; it is not touched",
            "Give another --output.",
        )
    if not config.overwrite:
        raise BuildError(
            f"{config.place!r} exists already",
            "Give another --output, or --overwrite to replace it once the new one is complete.",
        )


def published(config: BuildConfig, files: Workspace) -> bytes | None:
    """The manifest of a build to be resumed that was stopped when its result was in its place."""
    output = open_output(config)
    if not files.planned() or not output.published(files):
        return None
    return output.read(config.manifest_file)


def publish(config: BuildConfig, files: Workspace) -> None:
    """Moves the finished model, or counts, into place; what is there gives way only now.

    Raises:
        BuildError: something has taken that place meanwhile.
    """
    check_output(config, files)
    open_output(config).publish(files)
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
    kept = files.save_stdin(config.output) if files.has_stdin() else None
    files.remove()
    if kept:
        remedy = f"{error.remedy} The text is kept: give {kept!r} as INPUT."
        raise type(error)(error.problem, remedy) from error


def _new_plan(config: BuildConfig, files: Workspace) -> list[Piece]:
    inputs = _inputs(config, files)
    facts = config.facts(inputs)
    total_bytes = sum(size_bytes or 0 for _, size_bytes, _ in facts["input"])
    piece_bytes = min(max(total_bytes // _PIECES, _MIN_PIECE_BYTES), _MAX_PIECE_BYTES)
    pieces = split(inputs, piece_bytes, config.text_column)
    check_room(config, files, pieces)
    files.create_folders()
    if config.tokenizer_file is not None:
        config.tokenization.keep(config.tokenizer_file, files.model)
        files.share(*files.model.iterdir())
    files.create(facts, pieces)
    return pieces


def _inputs(config: BuildConfig, files: Workspace) -> list[str]:
    if config.inputs == (STDIN,):
        return [files.stdin_name]
    inputs = find_files(config.inputs)
    require_regular(inputs)
    return inputs
