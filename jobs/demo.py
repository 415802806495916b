"""`lmserve demo`: the whole way once, from text to streamed scores.

Collects English text (or takes yours), builds a model on Ray, evaluates it on sentences it has not
seen, serves it, streams sentences through the service, and shows what the scores tell.
"""

import random
import re
import shutil
import socket
import time
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Option

import lmserve
from jobs.shading import legend, shaded, write_picture
from jobs.shell import BuildDisplay, output, progress_bar, run
from lmserve.client import Answer, Client
from lmserve.evaluation import evaluate
from lmserve.text.documentation import Document, collect_documentation, split_held_out
from lmserve.text.sources import BLOCK_BYTES, find_files, read_blocks, split

_STREAMED = 5000
_SEED = 1


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
    from cluster.build import build
    from cluster.config import BuildConfig

    started_s = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    training, held_out, model = (folder / name for name in ("train.txt", "held-out.txt", "model"))
    shutil.rmtree(folder / "model.building", ignore_errors=True)
    _step("1. Text")
    documents = _documentation() if corpus is None else _own_text(corpus)
    for path, sentences in zip(
        (training, held_out), split_held_out(documents, seed=_SEED), strict=True
    ):
        path.write_text("\n".join(sentences) + "\n")
        output.print(f"{path}: {len(sentences):,} sentences, {sum(map(_words, sentences)):,} words")
    _step("2. Model: counting and Kneser-Ney smoothing on Ray")
    config = BuildConfig(inputs=(str(training),), output=model, order=order, overwrite=True)
    with progress_bar() as progress:
        manifest = build(config, BuildDisplay(progress))
    output.print(
        f"{sum(manifest.ngrams):,} n-grams up to order {order}, {manifest.ngrams[0]:,} words"
    )
    _step("3. Perplexity of the held-out text")
    scorer = lmserve.load(model)
    result = evaluate(scorer, split([held_out], BLOCK_BYTES), scorer.special_tokens)
    output.print(
        f"{result.perplexity:.1f} ({result.perplexity_without_oov:.1f} without the {result.oov:,} "
        f"words, of {result.tokens:,}, that the model does not know)"
    )
    _step("4. Service")
    _serve(model, held_out.read_text().splitlines(), training.read_text().split())
    output.print(f"\nDone in {time.monotonic() - started_s:.0f} s. Next, with text of your own:\n")
    _next_steps(folder)


def _step(title: str) -> None:
    output.print(f"\n[bold]{title}[/]")


def _documentation() -> list[Document]:
    with progress_bar() as progress:
        task = progress.add_task("read", total=None)
        return collect_documentation(
            on_progress=lambda done, total: progress.update(task, completed=done, total=total)
        )


def _own_text(corpus: Path) -> list[Document]:
    """The lines of a file, each once: or the held-out text would have been seen."""
    lines = (
        line.decode("utf-8", "replace").strip()
        for piece in split(find_files([str(corpus)]), BLOCK_BYTES)
        for block in read_blocks(piece)
        for line in block.lines()
    )
    distinct = filter(None, dict.fromkeys(lines))
    return [Document(name=str(i), sentences=(line,)) for i, line in enumerate(distinct)]


def _serve(model: Path, sentences: list[str], training_words: list[str]) -> None:
    """Serves the model for as long as it takes to show what it says."""
    from cluster.serving import ServeConfig, serving

    with serving(ServeConfig(model=model, port=_free_port())) as url:
        client = Client(url)
        output.print(f"up at {url}")
        _step("5. Sentences streamed through one open request, twice")
        streamed = sentences[:_STREAMED]
        for name in ("first", "second"):
            before = _cache_hits(client)
            started_s = time.monotonic()
            answers = list(client.score_stream(streamed))
            seconds = time.monotonic() - started_s
            hits = _cache_hits(client) - before
            output.print(
                f"{name} pass: {len(answers):,} answers to {len(streamed):,} sentences, "
                f"{len(answers) / seconds:,.0f} a second, {hits:,} from the cache"
            )
        _step("6. What the scores tell")
        _show(client, _examples(sentences, training_words), model.parent / "scores.svg")


def _examples(sentences: list[str], training_words: list[str]) -> list[tuple[str, str]]:
    """Sentences that were held out, each with its words shuffled, and words picked at random."""
    rng = random.Random(_SEED)  # noqa: S311 - examples, not secrets
    known = set(training_words)
    fluent = [
        sentence
        for sentence in sentences
        if 8 <= _words(sentence) <= 12 and known.issuperset(sentence.split())
    ]
    vocabulary = sorted(word for word in known if word.isalpha())
    examples = []
    for sentence in rng.sample(fluent, min(2, len(fluent))):
        shuffled = sentence.split()
        rng.shuffle(shuffled)
        examples.append(("fluent", sentence))
        examples.append(("shuffled", " ".join(shuffled)))
        examples.append(("nonsense", " ".join(rng.choices(vocabulary, k=len(shuffled)))))
    return examples


def _show(client: Client, examples: list[tuple[str, str]], picture: Path) -> None:
    answers = client.score([text for _, text in examples], words=True)
    scored = [(kind, answer) for (kind, _), answer in zip(examples, answers, strict=True)]
    output.print(_score_table(scored, colours=output.color_system is not None))
    write_picture(_score_table(scored, colours=True), picture, "lmserve demo")
    output.print(f"The same as a picture: {picture}")


def _score_table(scored: list[tuple[str, Answer]], *, colours: bool) -> Table:
    table = Table("", "perplexity", "words, shaded by surprise", caption=legend(colours=colours))
    for kind, answer in scored:
        words = shaded(answer["words"], colours=colours)
        last = kind == "nonsense"
        table.add_row(kind, f"{answer['perplexity']:,.0f}", words, end_section=last)
    return table


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


def _cache_hits(client: Client) -> int:
    match = re.search(r"^lmserve_cache_hits_total (\S+)$", client.metrics(), re.MULTILINE)
    return int(float(match[1])) if match else 0


def _words(sentence: str) -> int:
    return sentence.count(" ") + 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    run(demo)
