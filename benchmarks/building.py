"""Builds to be measured: ours on Ray, and KenLM's two programs."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import Cost, run_pipeline
from benchmarks.memory import MemorySampler, Sample
from cluster.build import build
from cluster.config import BuildConfig
from cluster.session import connect, connected
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.smoothing_methods import SmoothingOptions
from lmserve.text.special_tokens import SpecialTokens

_FALLBACK = SmoothingOptions(discount_fallback=FALLBACK_DISCOUNTS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A build and what it cost.

    Attributes:
        cost: its wall and CPU time without the start of Ray and its workers, and peak memory.
        start_s: the start of Ray and of workers, in seconds.
        ray_bytes: peak memory of Ray's own processes.
        ngrams: rows of the model, all orders.
        model_bytes: the model's size.
        stages: rows of `build.json`.
        samples: memory over time.
    """

    cost: Cost
    start_s: float
    ray_bytes: int
    ngrams: int
    model_bytes: int
    stages: list[dict[str, Any]]
    samples: list[Sample]


def build_ours(text: Path, output: Path, order: int, memory_bytes: int) -> Built:
    """Builds a model on a Ray of this machine; kernels are compiled and Ray is up before."""
    workers = psutil.cpu_count() or 1
    started_s = time.monotonic()
    if not connected():
        connect(None, num_cpus=workers)
        # Kernels are compiled once for a machine; a first build of a small text is that once.
        small = text.with_name(text.name + "-small")
        with text.open("rb") as source:
            small.write_bytes(b"".join(line for line, _ in zip(source, range(1000), strict=False)))
        warm = output.with_name("warm")
        build(_config(small, warm, order, workers, memory_bytes))
        shutil.rmtree(warm)
    ray_s = time.monotonic() - started_s
    started_s = time.monotonic()
    with MemorySampler() as sampler:
        manifest = build(_config(text, output, order, workers, memory_bytes))
    wall_s = time.monotonic() - started_s
    stages = json.loads((output / "build.json").read_text())["stages"]
    starting = sum(stage["wall_s"] for stage in stages if stage["name"].startswith("start"))
    return Built(
        cost=Cost(
            wall_s=wall_s - starting,
            cpu_s=sum(stage["cpu_s"] for stage in stages),
            memory_bytes=sampler.peak_bytes,
        ),
        start_s=ray_s + starting,
        ray_bytes=sampler.ray_bytes,
        ngrams=sum(manifest.ngrams),
        model_bytes=sum(path.stat().st_size for path in output.iterdir()),
        stages=stages,
        samples=sampler.samples,
    )


def build_kenlm(programs: Path, text: Path, order: int, memory_bytes: int) -> Cost:
    """The two programs, lmplz piped into build_binary; leaves `kenlm.bin` beside the text."""
    scratch = text.parent
    estimate = [str(programs / "lmplz"), "-o", str(order), "-S", f"{memory_bytes}b"]
    estimate += ["-T", str(scratch), "--skip_symbols", "--discount_fallback"]
    binary = [str(programs / "build_binary"), "-T", str(scratch), "probing", "/dev/stdin"]
    return run_pipeline(estimate, [*binary, str(scratch / "kenlm.bin")], stdin=text)


def _config(text: Path, output: Path, order: int, workers: int, memory_bytes: int) -> BuildConfig:
    return BuildConfig(
        inputs=(str(text),),
        output=output,
        order=order,
        workers=workers,
        memory_bytes=memory_bytes,
        special_tokens=SpecialTokens.SPACE,
        options=_FALLBACK,
        overwrite=True,
    )
