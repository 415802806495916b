"""Words scored a second, beside KenLM's `query` where its programs and its binary are given.

    python -m benchmarks.queries MODEL TEXT [--kenlm BIN --binary MODEL.bin]

Both run on one core, in turns, and of each the best of some passes counts: what is measured then is
the program, not the machine's other work.
"""

import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

import lmserve
from benchmarks.measure import environment
from lmserve.ngram.model import NgramModel

_PASSES = 4


def main(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    texts: Annotated[list[Path], typer.Argument(help="Files of sentences, one a line.")],
    kenlm: Annotated[Path | None, typer.Option(help="Folder of KenLM's programs.")] = None,
    binary: Annotated[Path | None, typer.Option(help="The same model as KenLM's binary.")] = None,
    lines: Annotated[int, typer.Option(help="Sentences of each text.")] = 200_000,
    core: Annotated[int, typer.Option(help="The processor to run on.")] = 0,
) -> None:
    """Measure queries and print them as Markdown."""
    os.sched_setaffinity(0, {core})
    started_s = time.perf_counter()
    scorer = lmserve.load(model)
    print(f"\n{environment()}\n\nopened in {1e3 * (time.perf_counter() - started_s):.1f} ms\n")
    print("| text | words | lmserve, words/s | KenLM, words/s | sentences/s, list | column |")
    print("| --- " * 6 + "|")
    for text in texts:
        print(_row(scorer, text, lines, kenlm, binary))


def _row(
    scorer: NgramModel, text: Path, lines: int, kenlm: Path | None, binary: Path | None
) -> str:
    with text.open("rb") as file:
        sentences = [line for line, _ in zip(file, range(lines), strict=False)]
    data = b"".join(sentences)
    strings = data.decode("utf-8", "replace").split("\n")[:-1]
    column = pa.array(strings, pa.large_string())
    words = int(scorer.score_buffer(data).tokens.sum())
    ours, listed, arrow, theirs, loading = ([] for _ in range(5))
    for _ in range(_PASSES):
        ours.append(_cpu_s(lambda: scorer.score_buffer(data)))
        listed.append(_cpu_s(lambda: scorer.score_texts(strings)))
        arrow.append(_cpu_s(lambda: scorer.score_array(column)))
        if kenlm and binary:
            query = [str(kenlm / "query"), "-v", "summary", str(binary)]
            loading.append(_child_cpu_s(query, b""))
            theirs.append(_child_cpu_s(query, data))
    peer = f"{words / (min(theirs) - min(loading)):,.0f}" if theirs else "-"
    rates = (f"{len(strings) / min(times):,.0f}" for times in (listed, arrow))
    return f"| {text.name} | {words:,} | {words / min(ours):,.0f} | {peer} | {' | '.join(rates)} |"


def _cpu_s(call: Callable[[], object]) -> float:
    started_s = time.process_time()
    call()
    return time.process_time() - started_s


def _child_cpu_s(command: list[str], data: bytes) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, input=data, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    typer.run(main)
