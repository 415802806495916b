"""Every n-gram of a text's model against the one that lmplz estimates."""

import math
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from lmserve.ngram.arpa import write_arpa
from lmserve.ngram.discounting import Discounts
from lmserve.ngram.smoothing_methods import SmoothingOptions

_DISCOUNTS = re.compile(rb"D1=(\S+) D2=(\S+) D3\+=(\S+)")


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest differences in one order, in log10."""

    ngrams: int
    probability: float
    backoff: float


def compare(text: Path, programs: Path, order: int, folder: Path) -> None:
    """Prints the largest differences, with our discounts and with lmplz's."""
    theirs, printed = folder / "lmplz.arpa", folder / "lmplz.err"

    def show(options: SmoothingOptions, title: str) -> list[Discounts]:
        output, ours = folder / "model", folder / "ours.arpa"
        config = BuildConfig(
            inputs=(str(text),), output=output, order=order, options=options, overwrite=True
        )
        manifest = build(config, on_ray=False)
        write_arpa(lmserve.load(output), ours)
        print(
            f"## {title}\n\n| order | n-grams | largest difference of log10 P | of log10 backoff |"
        )
        print("| --- " * 4 + "|")
        for k, worst in enumerate(differences_by_order(ours, theirs), 1):
            print(f"| {k} | {worst.ngrams:,} | {worst.probability:.1e} | {worst.backoff:.1e} |")
        print()
        return manifest.discounts

    command = [str(programs / "lmplz"), "-o", str(order), "-S", "2G", "-T", str(folder)]
    with text.open("rb") as source, theirs.open("wb") as arpa, printed.open("wb") as log:
        subprocess.run(command, stdin=source, stdout=arpa, stderr=log, check=True)
    found = _DISCOUNTS.findall(printed.read_bytes())[:order]
    rounded = [Discounts(*(float(number) for number in three)) for three in found]
    own = show(SmoothingOptions(), "discounts from the counts of counts")
    # It prints six digits, too few where little is left of a count. Those of ours that round to
    # them are what it used; others, in order 1, it has of other counts: see docs/smoothing.md.
    discounts = tuple(
        Discounts(
            *(x if math.isclose(x, y, rel_tol=5e-6) else y for x, y in zip(ours, its, strict=True))
        )
        for ours, its in zip(own, rounded, strict=True)
    )
    show(SmoothingOptions(discounts=discounts), "lmplz's discounts")


def differences_by_order(ours: Path, theirs: Path) -> list[Difference]:
    """Compares two ARPA files n-gram by n-gram.

    Raises:
        ValueError: one holds an n-gram that the other does not.
    """
    mine, other = _read_arpa(ours), _read_arpa(theirs)
    differences = []
    for k, (a, b) in enumerate(zip(mine, other, strict=True), 1):
        if a.keys() != b.keys():
            missing = next(iter(a.keys() ^ b.keys()))
            raise ValueError(f"only one of the files has the {k}-gram {missing!r}")
        pairs = np.array([(*a[ngram], *b[ngram]) for ngram in a if ngram != b"<s>"])
        differences.append(
            Difference(
                len(a),
                float(np.abs(pairs[:, 0] - pairs[:, 2]).max()),
                float(np.abs(pairs[:, 1] - pairs[:, 3]).max()),
            )
        )
    return differences


def _read_arpa(path: Path) -> list[dict[bytes, tuple[float, float]]]:
    orders: list[dict[bytes, tuple[float, float]]] = []
    with path.open("rb") as lines:
        for line in lines:
            if line.startswith(b"\\") and line.rstrip().endswith(b"-grams:"):
                orders.append({})
            fields = line.rstrip(b"\n").split(b"\t")
            if orders and len(fields) > 1:
                backoff = float(fields[2]) if len(fields) > 2 else 0.0
                orders[-1][fields[1]] = (float(fields[0]), backoff)
    return orders
