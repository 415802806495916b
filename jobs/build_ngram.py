"""`lmserve build`: count a text and estimate an n-gram model on Ray."""

from pathlib import Path
from typing import Annotated

import psutil
from rich.table import Table
from typer import Argument, Option

from jobs.shell import BuildDisplay, messages, parse_size, progress_bar, run
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS
from lmserve.ngram.smoothing import Smoothing
from lmserve.text.special_tokens import SpecialTokens


def build(
    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT...",
            help="Text, one sentence a line: files, 'patterns*', or - for standard input. "
            "Compressed by suffix: .gz .bz2 .xz .zst.",
        ),
    ],
    output: Annotated[Path, Option("--output", "-o", help="Folder of the model to make.")],
    order: Annotated[int, Option(help="Words of the longest n-gram.")] = 5,
    smoothing: Annotated[
        Smoothing, Option(help="How probability is set aside for what was not seen.")
    ] = Smoothing.MODIFIED_KNESER_NEY,
    special_tokens: Annotated[
        SpecialTokens,
        Option(
            help="<s>, </s>, <unk> in the text: refuse it, count <unk> as a word, or drop them all."
        ),
    ] = SpecialTokens.ERROR,
    discount_fallback: Annotated[
        bool,
        Option("--discount-fallback", help="Discounts 0.5, 1, 1.5 where none can be computed."),
    ] = False,
    workers: Annotated[
        int | None, Option(help="Ray actors, one processor each.", show_default="all processors")
    ] = None,
    memory: Annotated[
        str | None,
        Option(
            help="For all workers together: 2GB, 500MiB.", show_default="half of this machine's"
        ),
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with an unfinished build.")] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace OUTPUT once the new model is complete.")
    ] = False,
    address: Annotated[
        str | None, Option(help="Ray cluster.", show_default="RAY_ADDRESS, or a local Ray")
    ] = None,
) -> None:
    """Count a text and estimate an n-gram model from it."""
    # Here, so that the other commands start without Ray.
    from cluster.build import build as build_model
    from cluster.config import BuildConfig

    config = BuildConfig(
        inputs=tuple(inputs),
        output=output,
        order=order,
        smoothing=smoothing,
        special_tokens=special_tokens,
        discount_fallback=FALLBACK_DISCOUNTS if discount_fallback else None,
        workers=workers,
        memory_bytes=psutil.virtual_memory().total // 2 if memory is None else parse_size(memory),
        resume=resume,
        overwrite=overwrite,
    )
    try:
        with progress_bar() as progress:
            manifest = build_model(config, BuildDisplay(progress), address=address)
    except KeyboardInterrupt:
        if Path(f"{output}.building").exists():
            messages.print(f"stopped; what is done is kept in {output}.building: --resume goes on")
        raise
    table = Table(
        "order", "n-grams", "D1", "D2", "D3+", title=f"{output}: {manifest.words:,} words"
    )
    for k, (count, discounts) in enumerate(
        zip(manifest.ngrams, manifest.discounts, strict=True), 1
    ):
        table.add_row(str(k), f"{count:,}", *(f"{d:.4f}" for d in discounts))
    messages.print(table)
    for line in (
        f"digest {manifest.digest}",
        f"Next: lmserve eval {output} TEXT, lmserve serve {output}",
    ):
        messages.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(build)
