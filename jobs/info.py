"""`lmserve info`: what a model is."""

import json
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

import lmserve
from jobs.shell import output, run
from lmserve.ngram.manifest import Manifest


def info(
    model: Annotated[Path, Argument(help="Model folder.")],
    verify: Annotated[
        bool, Option("--verify", help="Read every byte and compare its checksum.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="The manifest, as JSON.")] = False,
) -> None:
    """Print a model's order, n-grams, discounts, digest and sizes."""
    manifest = lmserve.load(model, check=verify).manifest
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json")))  # noqa: T201 - this is the result
        return
    table = Table("order", "n-grams", "D1", "D2", "D3+", title=f"{model}: {manifest.smoothing}")
    for k, count in enumerate(manifest.ngrams, 1):
        discounts = manifest.discounts[k - 1] if manifest.discounts else ()
        table.add_row(str(k), f"{count:,}", *(f"{d:.4f}" for d in discounts))
    output.print(table)
    _print_facts(manifest, verified=verify)


def _print_facts(manifest: Manifest, *, verified: bool) -> None:
    size_bytes = sum(file.size_bytes for file in manifest.files.values())
    per_ngram = size_bytes / sum(manifest.ngrams)
    facts = {
        "built from": f"{manifest.words:,} words in {manifest.sentences:,} sentences"
        if manifest.sentences
        else "ARPA text",
        "values": f"codes of {manifest.quantized_bits} bits"
        if manifest.quantized_bits
        else "exact",
        "left out below": ", then ".join(f"{rise:g}" for rise in manifest.entropy_pruning)
        or "nothing by entropy",
        "vocabulary": f"{manifest.ngrams[0]:,} words",
        "special tokens": manifest.special_tokens,
        "tokens": str(manifest.tokenization),
        "size": f"{size_bytes / 1e6:,.1f} MB, {per_ngram:.1f} bytes an n-gram",
        "digest": manifest.digest + (" (every byte checked)" if verified else ""),
    } | {name: f"{file.size_bytes:,} bytes" for name, file in manifest.files.items()}
    for name, fact in facts.items():
        output.print(f"{name:<22} {fact}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(info)
