r"""Words scored a second, beside KenLM's `query` where its programs and its binary are given.

    python -m benchmarks.queries MODEL TEXT [--kenlm BIN --binary MODEL.bin] [--python PYTHON] \
        [--no-indexed]

All run on one core, in turns, and of each the best of some passes counts: what is measured then is
the program, not the machine's other work. PYTHON is one that has KenLM's module; it scores sentence
by sentence, as that module does. Last, our threads share all processors.
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

from benchmarks.measure import environment
from lmserve.ngram.model import NgramModel

_PASSES = 4
# Processor seconds for all sentences; decoding and reading apart, as ours are.
_KENLM_LOOP = """
import sys, time, kenlm
model = kenlm.Model(sys.argv[1])
sentences = sys.stdin.buffer.read().decode("utf-8", "replace").split("\\n")[:-1]
started_s = time.process_time()
for sentence in sentences:
    model.score(sentence)
print(time.process_time() - started_s)
"""


def main(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    texts: Annotated[list[Path], typer.Argument(help="Files of sentences, one a line.")],
    kenlm: Annotated[Path | None, typer.Option(help="Folder of KenLM's programs.")] = None,
    binary: Annotated[Path | None, typer.Option(help="The same model as KenLM's binary.")] = None,
    python: Annotated[Path | None, typer.Option(help="A Python with KenLM's module.")] = None,
    lines: Annotated[int, typer.Option(help="Sentences of each text.")] = 200_000,
    core: Annotated[int, typer.Option(help="The processor to run on.")] = 0,
    indexed: Annotated[bool, typer.Option(help="Use the model's hash index, if any.")] = True,
) -> None:
    """Measure queries and print them as Markdown."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    started_s = time.perf_counter()
    scorer = NgramModel.load(model, indexed=indexed)
    opened_ms = 1e3 * (time.perf_counter() - started_s)
    index = f"by its index of {scorer.index.slots.nbytes:,} bytes" if scorer.index else "no index"
    print(f"\n{environment()}\n\nopened in {opened_ms:.1f} ms, {index}\n")
    print("| text | words | lmserve, words/s | KenLM, words/s |")
    print("| --- " * 4 + "|")
    rows = [_row(scorer, text, lines, kenlm, binary) for text in texts]
    print("\n".join(rows))
    print("\n| text | sentences/s, list | Arrow column | KenLM's module | column, all processors |")
    print("| --- " * 5 + "|")
    for text in texts:
        print(_python_row(scorer, text, lines, python, binary, allowed), flush=True)


def _row(
    scorer: NgramModel, text: Path, lines: int, kenlm: Path | None, binary: Path | None
) -> str:
    data = b"".join(_first(text, lines))
    words = int(scorer.score_buffer(data).tokens.sum())
    ours, theirs, loading = ([] for _ in range(3))
    for _ in range(_PASSES):
        ours.append(_cpu_s(lambda: scorer.score_buffer(data)))
        if kenlm and binary:
            query = [str(kenlm / "query"), "-v", "summary", str(binary)]
            loading.append(_child_cpu_s(query, b""))
            theirs.append(_child_cpu_s(query, data))
    peer = f"{words / (min(theirs) - min(loading)):,.0f}" if theirs else "-"
    return f"| {text.name} | {words:,} | {words / min(ours):,.0f} | {peer} |"


def _python_row(
    scorer: NgramModel,
    text: Path,
    lines: int,
    python: Path | None,
    binary: Path | None,
    allowed: set[int],
) -> str:
    data = _first(text, lines)
    strings = b"".join(data).decode("utf-8", "replace").split("\n")[:-1]
    column = pa.array(strings, pa.large_string())
    listed, arrow, theirs = ([] for _ in range(3))
    for _ in range(_PASSES):
        listed.append(_cpu_s(lambda: scorer.score_texts(strings)))
        arrow.append(_cpu_s(lambda: scorer.score_array(column)))
        if python and binary:
            command = [str(python), "-c", _KENLM_LOOP, str(binary)]
            output = subprocess.run(command, input=b"".join(data), capture_output=True, check=True)
            theirs.append(float(output.stdout))
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed)
    threads = len(allowed)
    shared = [_wall_s(lambda: scorer.score_array(column, threads=threads)) for _ in range(_PASSES)]
    os.sched_setaffinity(0, pinned)
    rates = (f"{len(strings) / min(s):,.0f}" if s else "-" for s in (listed, arrow, theirs, shared))
    return f"| {text.name} | {' | '.join(rates)} |"


def _first(text: Path, lines: int) -> list[bytes]:
    with text.open("rb") as file:
        return [line for line, _ in zip(file, range(lines), strict=False)]


def _wall_s(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


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
