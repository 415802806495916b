"""Sentences scored a second through the service's HTTP port, beside KenLM's module in its process.

    python -m benchmarks.serving_streams MODEL TEXT [--python PYTHON --binary MODEL.bin]

The text goes through Ray Serve as NDJSON, as plain lines and as Arrow batches, with each of its two
proxies. PYTHON is one that has KenLM's module: it calls `perplexity` for sentence after sentence
of the same text, on one core, as that module does. All run in turns, and of each the best of some
passes counts. The load generator runs on the same machine; so its processor time is told, too.
"""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import orjson
import pyarrow as pa
import typer

import lmserve
from benchmarks.measure import environment
from benchmarks.streaming import ARROW, Pass, Server, stream
from lmserve.service.bulk import format_scores, read_json_block

_ARROW_ROWS = 4096
_PROXIES = {"Ray's proxy": False, "HAProxy": True}
_KENLM_LOOP = """
import sys, time, kenlm
model = kenlm.Model(sys.argv[1])
sentences = sys.stdin.buffer.read().decode("utf-8", "replace").split("\\n")[:-1]
started_s, started_cpu_s = time.perf_counter(), time.process_time()
for sentence in sentences:
    model.perplexity(sentence)
print(time.perf_counter() - started_s, time.process_time() - started_cpu_s)
"""


def main(
    model: Annotated[Path, typer.Argument(help="Folder of an n-gram model.")],
    text: Annotated[Path, typer.Argument(help="Sentences, one a line.")],
    python: Annotated[Path | None, typer.Option(help="A Python with KenLM's module.")] = None,
    binary: Annotated[Path | None, typer.Option(help="The same model as KenLM's binary.")] = None,
    lines: Annotated[int, typer.Option(help="Sentences of the text.")] = 500_000,
    passes: Annotated[int, typer.Option(help="Of each, the best one counts.")] = 3,
    port: Annotated[int, typer.Option(help="Where the service listens.")] = 8123,
) -> None:
    """Measure streams and print them as Markdown."""
    with text.open("rb") as file:
        sentences = [line.rstrip(b"\n") for line, _ in zip(file, range(lines), strict=False)]
    plain = b"".join(sentence + b"\n" for sentence in sentences)
    bodies = {
        "NDJSON": ("application/x-ndjson", _as_json(sentences)),
        "plain": ("text/plain", plain),
        "Arrow": (ARROW, _as_arrow(sentences)),
    }
    print(f"\n{environment()}; {len(sentences):,} sentences\n")
    _print_streams(
        model, bodies, len(sentences), passes, port, lambda: _kenlm(python, binary, plain)
    )
    _print_parts(model, bodies["NDJSON"][1])


def _print_streams(
    model: Path,
    bodies: dict[str, tuple[str, bytes]],
    count: int,
    passes: int,
    port: int,
    kenlm: Callable[[], tuple[float, float] | None],
) -> None:
    print("| | answers | sentences/s | to KenLM's loop | processor time a sentence |")
    print("| --- " * 5 + "|")
    for name, ha_proxy in _PROXIES.items():
        with Server(model, port, ha_proxy=ha_proxy) as server:
            done: dict[str, list[Pass]] = {kind: [] for kind in bodies}
            loops = []
            for _ in range(passes):
                loops += [loop] if (loop := kenlm()) else []
                for kind, (media_type, body) in bodies.items():
                    done[kind].append(stream(server, media_type, body))
        peer_s = min(wall_s for wall_s, _ in loops) if loops else None
        if peer_s:
            cpu = f"{1e6 * min(cpu_s for _, cpu_s in loops) / count:.1f} us"
            print(f"| KenLM's loop | {count:,} | {count / peer_s:,.0f} | 1.00 | {cpu} |")
        for kind, results in done.items():
            best = min(results, key=lambda one: one.wall_s)
            ratio = f"{peer_s / best.wall_s:.2f}" if peer_s else "-"
            cpu = ", ".join(f"{who} {1e6 * s / count:.1f}" for who, s in best.cpu_s.items())
            print(
                f"| {kind}, {name} | {best.answers:,} | {count / best.wall_s:,.0f} | {ratio} "
                f"| {1e6 * sum(best.cpu_s.values()) / count:.1f} us: {cpu} |",
                flush=True,
            )


def _print_parts(model: Path, body: bytes) -> None:
    """Where a replica's processor time goes, step by step in this process."""
    scorer = lmserve.load(model)
    cut = body[: 1 << 18].rfind(b"\n") + 1
    block, count = body[:cut], body[:cut].count(b"\n")
    texts, _ = read_json_block(block)
    scores = scorer.score_buffer(texts)
    perplexity = scores.perplexity()
    steps: dict[str, Callable[[], object]] = {
        "read NDJSON": lambda: read_json_block(block),
        "score": lambda: scorer.score_buffer(texts),
        "perplexity": scores.perplexity,
        "write NDJSON": lambda: format_scores(scores, perplexity),
    }
    print("\n| step | processor time a sentence |\n| --- | --- |")
    for name, step in steps.items():
        print(f"| {name} | {1e6 * min(_cpu_s(step) for _ in range(20)) / count:.2f} us |")


def _cpu_s(step: Callable[[], object]) -> float:
    started_s = time.process_time()
    step()
    return time.process_time() - started_s


def _kenlm(python: Path | None, binary: Path | None, plain: bytes) -> tuple[float, float] | None:
    """Wall and processor seconds of KenLM's loop."""
    if not python or not binary:
        return None
    command = [str(python), "-c", _KENLM_LOOP, str(binary)]
    output = subprocess.run(command, input=plain, capture_output=True, check=True).stdout
    wall_s, cpu_s = map(float, output.split())
    return wall_s, cpu_s


def _as_json(sentences: list[bytes]) -> bytes:
    objects = ({"text": sentence.decode("utf-8", "replace")} for sentence in sentences)
    return b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in objects)


def _as_arrow(sentences: list[bytes]) -> bytes:
    table = pa.table({"text": pa.array(sentences, pa.binary())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ARROW_ROWS)
    return bytes(sink.getvalue())


if __name__ == "__main__":
    typer.run(main)
