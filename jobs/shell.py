"""What all jobs share with a person at a terminal: errors, sizes, progress."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from lmserve.errors import DependencyError, LmserveError, OptionError
from lmserve.metrics.sharing import share_metrics
from lmserve.stopping import SIGTERM_STATUS, is_sigterm, stop_on_sigterm
from lmserve.text.special_tokens import SpecialTokens

# Results go to standard output; everything said to a person goes to standard error. Words, names
# and errors are printed as they are: in [square brackets] and :colons: too.
messages = Console(stderr=True, markup=False, emoji=False)
output = Console(markup=False, emoji=False)

SpecialTokensOption = Annotated[
    SpecialTokens | None,
    typer.Option(
        help="<s>, </s>, <unk> in the text: refuse them (eval) or take them for unknown words, "
        "take <unk> for a word, or drop them all.",
        show_default="as the model was built",
    ),
]

ModelArgument = Annotated[str, typer.Argument(help="Model folder, or its URL.")]

TextColumnOption = Annotated[
    str, typer.Option(help="The field of .jsonl and .parquet input that holds the text.")
]

# Packages that only some jobs need, and what installs them.
_EXTRAS = {
    "torch": "rnn",
    "safetensors": "rnn",
    "ray": "ray",
    "starlette": "serve",
    "fastapi": "serve",
    "matplotlib": "reports",
    "yaml": "monitor",
}


def run(job: Callable[..., Any]) -> None:
    """Runs one job as a program of its own: `python -m jobs.NAME`."""
    share_metrics_if_possible()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(job)
    run_app(app)


def share_metrics_if_possible() -> None:
    """Has this process count in its node's folder, before anything in it counts.

    A job does its work without the folder, too.
    """
    try:
        share_metrics()
    except LmserveError as error:
        messages.print(f"{error.problem}. {error.remedy}", highlight=False, soft_wrap=True)


def run_app(app: typer.Typer) -> None:
    """Runs a command line.

    Exit status: 0 done, 1 the job failed or its reader has gone (then without a word), 2 wrong
    options, 130 stopped by Ctrl-C, 143 by SIGTERM, both in good order. An error says what happened
    and what to do; a traceback means a fault in lmserve.
    """
    stop_on_sigterm()
    try:
        try:
            app()
        finally:
            # Not left to the end of Python, where nobody could answer an error any more.
            if sys.stdout is not None:
                sys.stdout.flush()
    except LmserveError as error:
        _print_error(error)
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _EXTRAS:
            raise
        install = f"Install it: pip install 'lmserve[{_EXTRAS[name]}]'."
        _print_error(DependencyError(f"this needs {name}, which is not installed", install))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as error:
        sys.exit(SIGTERM_STATUS if is_sigterm(error) else error.code)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # What is left unwritten goes nowhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno == errno.ENOSPC:
            _print_error(LmserveError(f"cannot write: {error}", "Make room, or write elsewhere."))
        sys.exit(1)


def _print_error(error: LmserveError) -> None:
    for label, style, text in (
        ("error:", "bold red", error.problem),
        ("try:", "bold green", error.remedy),
    ):
        messages.print(Text.assemble((label, style), " ", text), soft_wrap=True)


def progress_bar() -> Progress:
    """A progress display with elapsed and remaining time, on standard error."""
    return Progress(
        TextColumn("[bold]{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=messages,
        disable=not messages.is_terminal,
    )
