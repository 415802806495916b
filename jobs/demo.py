"""`lmserve demo`: the whole way once, from text to streamed scores.

Collects English text (or takes yours), builds a model on Ray, evaluates it on sentences it has not
seen, serves it, streams sentences through the service, and shows what the scores tell.
"""

import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
from typer import Option

import lmserve
from jobs.shading import score_table, write_picture
from jobs.shell import output, progress_bar, run
from lmserve.errors import OptionError
from lmserve.evaluation import evaluate
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.text.documentation import Document, collect_documentation, split_held_out
from lmserve.text.examples import distinct_lines, examples, split_lines
from lmserve.text.sources import BLOCK_BYTES, find_files, split
from lmserve.text.special_tokens import SpecialTokens

if TYPE_CHECKING:
    from lmserve.client import Client

_STREAMED = 5000
_SEED = 1
# The system gives such a port to nobody who asks for any.
_FIRST_PORT = 8000
# Lies in folders that a demo made, and may fill anew.
_MARKER = ".lmserve-demo"


def demo(
    corpus: Annotated[
        Path | None,
        Option(
            help="Text of your own, one sentence a line.",
            show_default="the documentation of this Python",
        ),
    ] = None,
    folder: Annotated[Path, Option(help="Where text and model are left.")] = Path("lmserve-demo"),
    order: Annotated[int, Option(help="Words of the longest n-gram.")] = 5,
) -> None:
    """Build a model of real text, evaluate it, serve it, and stream sentences through it."""
    # Here, so that what is not installed is named before anything is written.
    import cluster.build
    import cluster.serving  # noqa: F401
    import lmserve.client  # noqa: F401

    started_s = time.monotonic()
    files = None if corpus is None else find_files([str(corpus)])
    _claim(folder, [Path(file) for file in files or []])
    _step("1. Text")
    training, held_out = (
        split_held_out(_documentation(), seed=_SEED)
        if files is None
        else split_lines(distinct_lines(files), seed=_SEED)
    )
    _write(folder / "train.txt", training)
    _write(folder / "held-out.txt", held_out)
    _step("2. Model: counting and Kneser-Ney smoothing on Ray")
    _build(folder, order)
    _step("3. Perplexity of the held-out text")
    _evaluate(folder)
    _step("4. Service")
    _serve(folder, held_out, examples(held_out, training, seed=_SEED))
    output.print(f"\nDone in {time.monotonic() - started_s:.0f} s. Next, with text of your own:\n")
    _next_steps(folder)


def _claim(folder: Path, corpus: Sequence[Path]) -> None:
    """Makes the demo's folder. Another's files are never written over.

    Raises:
        OptionError: the folder is not the demo's, cannot be made, or holds the corpus.
    """
    remedy = "Give --folder a new or empty folder."
    for path in corpus:
        if path.is_relative_to(folder.resolve()):
            raise OptionError(f"{path} lies in {folder}, which the demo fills anew", remedy)
    marker = folder / _MARKER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not marker.exists():
            raise OptionError(f"{folder} holds files that are not the demo's", remedy)
        marker.touch()
    except OSError as error:
        raise OptionError(f"cannot write to {folder}: {error.strerror}", remedy) from error


def _write(path: Path, sentences: Sequence[str]) -> None:
    path.write_text("\n".join(sentences) + "\n", encoding="utf-8", newline="\n")
    words = sum(sentence.count(" ") + 1 for sentence in sentences)
    output.print(f"{path}: {len(sentences):,} sentences, {words:,} words")


def _build(folder: Path, order: int) -> None:
    from cluster.build import build
    from cluster.config import BuildConfig
    from jobs.build_display import BuildDisplay

    # Of an earlier demo that was stopped.
    shutil.rmtree(folder / "model.building", ignore_errors=True)
    config = BuildConfig(
        inputs=(str(folder / "train.txt"),),
        output=folder / "model",
        order=order,
        # Any text will do: small, or with marks in it.
        special_tokens=SpecialTokens.SPACE,
        options=SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS),
        overwrite=True,
    )
    with progress_bar() as progress:
        manifest = build(config, BuildDisplay(progress))
    output.print(
        f"{sum(manifest.ngrams):,} n-grams up to order {order}, {manifest.ngrams[0]:,} words"
    )


def _evaluate(folder: Path) -> None:
    scorer = lmserve.load(folder / "model")
    pieces = split([folder / "held-out.txt"], BLOCK_BYTES)
    result = evaluate(scorer, pieces, scorer.special_tokens)
    output.print(
        f"{result.perplexity:.1f} ({result.perplexity_without_oov:.1f} without the {result.oov:,} "
        f"words, of {result.tokens:,}, that the model does not know)"
    )


def _step(title: str) -> None:
    output.print(f"\n{title}", style="bold")


def _documentation() -> list[Document]:
    with progress_bar() as progress:
        task = progress.add_task("read", total=None)
        return collect_documentation(
            on_progress=lambda done, total: progress.update(task, completed=done, total=total)
        )


def _serve(folder: Path, sentences: list[str], examples: list[tuple[str, str]]) -> None:
    """Serves the model for as long as it takes to show what it says."""
    from cluster.serve_config import ServeConfig
    from cluster.serving import serving
    from lmserve.client import Client

    config = ServeConfig(model=folder / "model", port=_free_port())
    with serving(config) as url, Client(url) as client:
        output.print(f"up at {url}")
        _step("5. Sentences streamed through the service, as lines and as a table")
        streamed = sentences[:_STREAMED]
        table = pa.table({"text": streamed})
        ways: dict[str, Callable[[], int]] = {
            "lines": lambda: len(list(client.score_stream(streamed))),
            "table": lambda: client.score_arrow(table).num_rows,
        }
        for name, score in ways.items():
            started_s = time.monotonic()
            answers = score()
            seconds = time.monotonic() - started_s
            output.print(
                f"{name}: {answers:,} answers to {len(streamed):,} sentences, "
                f"{answers / seconds:,.0f} a second"
            )
        _step("6. What the scores tell")
        if not examples:
            output.print("No held-out sentence is of a length to show.")
            return
        _show(client, examples, folder / "scores.svg")


def _show(client: "Client", examples: list[tuple[str, str]], picture: Path) -> None:
    answers = client.score([text for _, text in examples], words=True)
    scored = [(kind, answer) for (kind, _), answer in zip(examples, answers, strict=True)]
    output.print(score_table(scored, colours=output.color_system is not None))
    write_picture(score_table(scored, colours=True), picture, "lmserve demo")
    output.print(f"The same as a picture: {picture}")


def _next_steps(folder: Path) -> None:
    for command in (
        "source .venv/bin/activate",
        f"lmserve serve {folder}/model",
        f"echo 'the file is closed .' | lmserve score {folder}/model --words",
        "lmserve build my-text.txt --output my-model",
        "lmserve eval my-model my-other-text.txt",
        "lmserve demo --corpus my-text.txt",
    ):
        output.print(f"  {command}", highlight=False, soft_wrap=True)


def _free_port() -> int:
    return next(port for port in range(_FIRST_PORT, 1 << 16) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    run(demo)
