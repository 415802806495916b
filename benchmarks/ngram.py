"""Text to model to scores, beside KenLM where its programs are given.

    make bench [TEXT=books.txt] [KENLM=kenlm/build/bin]

Without TEXT the text is the demo's: the documentation of the running Python. Every 20th line is
kept out of the model and queried.
"""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

import lmserve
from benchmarks.measure import Cost, MemorySampler, environment, run_pipeline
from cluster.build import build
from cluster.config import BuildConfig
from cluster.session import connect
from jobs.shell import parse_size
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.text.documentation import collect_documentation
from lmserve.text.special_tokens import SpecialTokens

_HELD_OUT_EVERY = 20
_QUERY_PASSES = 3


def main(
    text: Annotated[Path | None, typer.Option(help="One sentence a line.")] = None,
    kenlm: Annotated[Path | None, typer.Option(help="Folder of lmplz and its like.")] = None,
    order: int = 5,
    memory: str = "4GB",
) -> None:
    """Measure a build and queries, and print them as Markdown."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        training, unseen = _split(text, Path(folder))
        print(f"\n{environment()}\n")
        memory_bytes = parse_size(memory)
        ours, rows = _build(training, Path(folder) / "model", order, memory_bytes)
        peer = _kenlm_build(kenlm, training, order, memory_bytes) if kenlm else None
        print(f"text to answering model, order {order}, --memory {memory}:\n")
        _print_costs(ours, peer)
        print("\nstages:\n")
        print("| stage | wall s | CPU s | tasks | worker's peak MB |\n| --- " + "| --- " * 4 + "|")
        print("\n".join(rows))
        print("\nqueries, one core, words with sentence ends a second:\n")
        print("| text | lmserve | KenLM query (probing) | ratio |\n| --- | --- | --- | --- |")
        for name, path in (("seen", training), ("unseen", unseen)):
            _print_queries(name, _head(path), Path(folder) / "model", kenlm)


def _split(text: Path | None, folder: Path) -> tuple[Path, Path]:
    if text is None:
        sentences = [s for document in collect_documentation() for s in document.sentences]
        text = folder / "documentation"
        text.write_text("\n".join(sentences) + "\n")
    training, unseen = folder / "training", folder / "unseen"
    with text.open("rb") as lines, training.open("wb") as most, unseen.open("wb") as rest:
        for i, line in enumerate(lines):
            (most if i % _HELD_OUT_EVERY else rest).write(line)
    return training, unseen


def _head(path: Path, lines: int = 200_000) -> Path:
    head = path.with_name(f"{path.name}-head")
    with path.open("rb") as source, head.open("wb") as target:
        target.writelines(line for line, _ in zip(source, range(lines), strict=False))
    return head


def _build(training: Path, output: Path, order: int, memory_bytes: int) -> tuple[Cost, list[str]]:
    started_s = time.monotonic()
    workers = psutil.cpu_count() or 1
    connect(None, num_cpus=workers)
    print(f"Ray's start, not counted below: {time.monotonic() - started_s:.1f} s")
    config = BuildConfig(
        inputs=(str(training),),
        output=output,
        order=order,
        workers=workers,
        memory_bytes=memory_bytes,
        special_tokens=SpecialTokens.SPACE,
    )
    # Kernels are compiled once for a machine; a first build of a small text is that once.
    small = _head(training, 1000)
    _warm_up(small, output.with_name("warm"))
    started_s = time.monotonic()
    with MemorySampler() as sampler:
        build(config)
    wall_s = time.monotonic() - started_s
    stages = json.loads((output / "build.json").read_text())["stages"]
    print(f"Ray's own processes: {sampler.ray_bytes / 1e6:,.0f} MB\n")
    rows = [
        f"| {s['name']} | {s['wall_s']:.1f} | {s['cpu_s']:.1f} | {s['tasks']} | "
        f"{s['peak_memory_bytes'] / 1e6:,.0f} |"
        for s in stages
    ]
    cpu_s = sum(stage["cpu_s"] for stage in stages)
    return Cost(wall_s=wall_s, cpu_s=cpu_s, memory_bytes=sampler.workers_bytes), rows


def _warm_up(text: Path, output: Path) -> None:
    build(
        BuildConfig(
            inputs=(str(text),),
            output=output,
            workers=1,
            special_tokens=SpecialTokens.SPACE,
            discount_fallback=FALLBACK_DISCOUNTS,
        )
    )
    shutil.rmtree(output)


def _kenlm_build(programs: Path, training: Path, order: int, memory_bytes: int) -> Cost:
    scratch = training.parent
    estimate = [str(programs / "lmplz"), "-o", str(order), "-S", f"{memory_bytes}b"]
    estimate += ["-T", str(scratch), "--skip_symbols", "--discount_fallback"]
    binary = [str(programs / "build_binary"), "-T", str(scratch), "probing", "/dev/stdin"]
    return run_pipeline(estimate, [*binary, str(scratch / "kenlm.bin")], stdin=training)


def _print_costs(ours: Cost, peer: Cost | None) -> None:
    print("| | lmserve | KenLM (lmplz, build_binary probing) | ratio |\n| --- | --- | --- | --- |")
    for name, field, unit in (
        ("wall", "wall_s", 1.0),
        ("CPU", "cpu_s", 1.0),
        ("peak memory", "memory_bytes", 1e9),
    ):
        mine = getattr(ours, field) / unit
        theirs = getattr(peer, field) / unit if peer else None
        suffix = "GB" if unit > 1 else "s"
        compared = f"{theirs:.2f} {suffix} | {theirs / mine:.2f}" if theirs else "- | -"
        print(f"| {name} | {mine:.2f} {suffix} | {compared} |")


def _print_queries(name: str, text: Path, model: Path, kenlm: Path | None) -> None:
    data = text.read_bytes()
    scorer = lmserve.load(model)
    best_s = float("inf")
    for _ in range(_QUERY_PASSES):
        started_s = time.monotonic()
        tokens = int(scorer.score_buffer(data).tokens.sum())
        best_s = min(best_s, time.monotonic() - started_s)
    ours = tokens / best_s
    theirs = max(_kenlm_rate(kenlm, text, tokens) for _ in range(_QUERY_PASSES)) if kenlm else None
    compared = f"{theirs:,.0f} | {ours / theirs:.2f}" if theirs else "- | -"
    print(f"| {name}, {tokens:,} words | {ours:,.0f} | {compared} |")


def _kenlm_rate(programs: Path, text: Path, tokens: int) -> float:
    """Words a second of KenLM's `query`, its loading taken off."""
    query = [str(programs / "query"), "-v", "summary", str(text.parent / "kenlm.bin")]
    subprocess.run(query, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    loading = run_pipeline(query, stdin=Path("/dev/null"))
    whole = run_pipeline(query, stdin=text)
    return tokens / (whole.wall_s - loading.wall_s)


if __name__ == "__main__":
    typer.run(main)
