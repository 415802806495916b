"""KenLM's lmplz, where there is one: in LMSERVE_LMPLZ or on the PATH."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from reference_counts import Ngram
from reference_methods import Discounts

LMPLZ = os.environ.get("LMSERVE_LMPLZ") or shutil.which("lmplz")
needs_lmplz = pytest.mark.skipif(LMPLZ is None, reason="no lmplz on the PATH or in LMSERVE_LMPLZ")

# KenLM computes in 32 bits, and prints discounts with six digits.
TOLERANCE_LOG10 = 1e-5

Arpa = dict[Ngram, tuple[float, float | None]]


def lmplz(text: str, order: int, *options: str, folder: Path) -> tuple[Arpa, list[Discounts]]:
    """The n-grams that lmplz writes, in log10, and the discounts that it prints."""
    (folder / "text").write_text(text)
    command = [str(LMPLZ), "-o", str(order), "-S", "64M", "-T", str(folder), *options]
    with (folder / "text").open() as stdin:
        process = subprocess.run(command, stdin=stdin, capture_output=True, check=True)
    ngrams: Arpa = {}
    for line in process.stdout.decode().splitlines():
        log10_prob, *rest = line.split("\t")
        if rest:
            backoff = float(rest[1]) if len(rest) > 1 else None
            ngrams[tuple(rest[0].encode().split())] = float(log10_prob), backoff
    printed = re.findall(r"^\d+ \S+ D1=(\S+) D2=(\S+) D3\+=(\S+)", process.stderr.decode(), re.M)
    return ngrams, [(float(d1), float(d2), float(d3)) for d1, d2, d3 in printed]
