"""What all jobs share, without a process for each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cluster.build import build
from cluster.config import BuildConfig
from jobs.evaluate import evaluate
from jobs.info import info
from jobs.next_words import next_words
from jobs.shell import run_app
from lmserve.errors import InputError, LmserveError, OptionError
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.sizes import parse_size

MARKS = ("[applause]", "[/i]", ":smile:", "[red]")


@pytest.mark.parametrize(
    ("text", "size"),
    [("12", 12), ("2GB", 2 * 10**9), (" 1.5 kib ", 1536), ("500M", 5 * 10**8), ("1TiB", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1", "1 PB", "9" * 400, "1e9"])
def test_what_is_no_size_is_an_error_of_the_user(text: str) -> None:
    with pytest.raises(OptionError, match="is no size"):
        parse_size(text)


STOPPED = """
import signal, sys, time
from jobs.shell import run

class Stopped:
    def __del__(self) -> None:
        signal.raise_signal(signal.{number})

def job() -> None:
    try:
        {stop}
        time.sleep(20)
    finally:
        print("unwound", file=sys.stderr)

run(job)
"""


# A finaliser's exceptions are lost.
@pytest.mark.parametrize("stop", ["signal.raise_signal(signal.{number})", "Stopped()"])
@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signals_end_a_job_in_good_order(stop: str, number: str, status: int) -> None:
    script = STOPPED.format(number=number, stop=stop.format(number=number))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (status, "unwound\n")


@pytest.fixture(scope="module")
def marked_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text and a model, with words and names that Rich would take for markup."""
    folder = tmp_path_factory.mktemp("marked")
    text = folder / "[b]text[red].txt"
    text.write_text(f"{' '.join(MARKS)}\n" * 9)
    config = BuildConfig(
        inputs=(str(text),),
        output=folder / "[i]model",
        order=2,
        options=SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS),
    )
    build(config, on_ray=False)
    return folder


def test_words_and_names_are_printed_as_they_are(
    marked_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(marked_folder)
    model = "[i]model"
    next_words(model, "")
    shown = capsys.readouterr().out
    assert all(mark in shown for mark in MARKS)
    evaluate(model, ["[b]text[red].txt"])
    shown = capsys.readouterr().out
    assert "[b]text[red].txt" in shown
    assert "[i]model" in shown
    info(model)
    assert "[i]model: modified-kneser-ney" in capsys.readouterr().out


def app_raising(error: BaseException) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def job() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("a [/b] :smile:", "do [i]"), 1),
        (OptionError("a [/b] :smile:", "do [i]"), 2),
    ],
)
def test_errors_are_printed_as_they_are(
    error: LmserveError,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["job"])
    with pytest.raises(SystemExit) as ended:
        run_app(app_raising(error))
    assert ended.value.code == status
    assert capsys.readouterr().err == "error: a [/b] :smile:\ntry: do [i]\n"


def test_an_interrupted_job_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["job"])
    with pytest.raises(SystemExit) as ended:
        run_app(app_raising(KeyboardInterrupt()))
    assert ended.value.code == 130


@pytest.mark.parametrize("arguments", [["next", "MODEL", "", "--json"], ["info", "MODEL"]])
def test_a_job_whose_reader_has_gone_ends_without_a_word(
    tiny_model_path: Path, arguments: list[str]
) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [str(tiny_model_path) if x == "MODEL" else x for x in arguments]
    result = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *command],
        stdout=write_end,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    os.close(write_end)
    assert result.stderr == b""
    assert result.returncode == 1


def test_a_full_disk_is_named(tiny_model_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.cli", "next", str(tiny_model_path), "", "--json"]
    with open("/dev/full", "wb") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert "error: cannot write: [Errno 28] No space left on device\ntry: Make" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_closed_standard_input_is_named(tiny_model_path: Path) -> None:
    command = f"{sys.executable} -m jobs.cli score {tiny_model_path} <&-"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("error: standard input is closed\ntry: Pipe")
