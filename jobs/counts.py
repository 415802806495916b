"""`lmserve counts`: count all n-grams of a text on Ray, and write them as Parquet."""

from pathlib import Path
from typing import Annotated

import psutil
from rich.table import Table
from typer import Argument, Option

from jobs.shell import BuildDisplay, TextColumnOption, messages, parse_size, progress_bar, run
from lmserve.text.sources import DEFAULT_COLUMN
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Tokenization


def counts(
    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT...",
            help="Text, one sentence a line, .jsonl or .parquet: files, URLs, 'patterns*', or - "
            "for standard input. Compressed by suffix: .gz .bz2 .xz .zst.",
        ),
    ],
    output: Annotated[Path, Option("--output", "-o", help="Folder of Parquet files to make.")],
    order: Annotated[int, Option(help="Words of the longest n-gram.")] = 5,
    min_count: Annotated[
        int, Option(help="Leave out n-grams that stand in the text less often than this.")
    ] = 1,
    special_tokens: Annotated[
        SpecialTokens,
        Option(
            help="<s>, </s>, <unk> in the text: refuse it, count <unk> as a word, or drop them all."
        ),
    ] = SpecialTokens.ERROR,
    tokenizer: Annotated[
        str,
        Option(
            help="What cuts a line: whitespace, characters, a SentencePiece model FILE.model, or a "
            "Hugging Face FILE.json."
        ),
    ] = "whitespace",
    normalize: Annotated[
        str, Option(help="Before that: none, lower, nfkc, or steps in their order: nfkc,lower.")
    ] = "none",
    text_column: TextColumnOption = DEFAULT_COLUMN,
    workers: Annotated[
        int | None, Option(help="Ray actors, one processor each.", show_default="all processors")
    ] = None,
    memory: Annotated[
        str | None,
        Option(
            help="For all workers together: 2GB, 500MiB.", show_default="half of this machine's"
        ),
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with what was stopped.")] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace OUTPUT once the new counts are complete.")
    ] = False,
    address: Annotated[
        str | None, Option(help="Ray cluster.", show_default="RAY_ADDRESS, or a local Ray")
    ] = None,
) -> None:
    """Count all n-grams of a text and write them as Parquet."""
    # Here, so that the other commands start without Ray.
    from cluster.counts import CountsConfig, count

    tokenization = Tokenization.choose(tokenizer, normalize)
    config = CountsConfig(
        inputs=tuple(inputs),
        output=output,
        order=order,
        min_count=min_count,
        special_tokens=special_tokens,
        tokenization=tokenization,
        tokenizer_file=Path(tokenizer) if tokenization.file_name else None,
        text_column=text_column,
        workers=workers,
        memory_bytes=psutil.virtual_memory().total // 2 if memory is None else parse_size(memory),
        resume=resume,
        overwrite=overwrite,
    )
    try:
        with progress_bar() as progress:
            counted = count(config, BuildDisplay(progress), address=address)
    except KeyboardInterrupt:
        if Path(f"{output}.building").exists():
            messages.print(f"stopped; what is done is kept in {output}.building: --resume goes on")
        raise
    table = Table("order", "n-grams", title=str(output))
    for k, rows in enumerate(counted.rows, 1):
        table.add_row(str(k), f"{rows:,}")
    messages.print(table)
    lines = [f"{counted.words:,} words in {counted.sentences:,} sentences"]
    if counted.words_not_utf8:
        lines.append(
            f"distinct words that are no UTF-8: {counted.words_not_utf8:,}; they are written with "
            "\ufffd, and may read alike"
        )
    lines.append(
        f"Next, in DuckDB: FROM '{output}/order={order}/*.parquet' ORDER BY count DESC LIMIT 10"
    )
    for line in lines:
        messages.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(counts)
