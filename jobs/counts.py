"""`lmserve counts`: count all n-grams of a text on Ray, and write them as Parquet."""

from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Option

from jobs.counting_options import (
    Address,
    Inputs,
    Marks,
    Memory,
    Normalize,
    Order,
    PushMetrics,
    Tokenizer,
    Workers,
    kept_at,
    memory_bytes,
    output_settings,
    telling_what_is_kept,
)
from jobs.following import LogFormatOption, following
from jobs.leaving_reports import leave_report
from jobs.placing import Role
from jobs.shell import TextColumnOption, messages, progress_bar, run
from lmserve.metrics.pushing import pushing
from lmserve.text.sources import DEFAULT_COLUMN
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Tokenization


def counts(
    inputs: Inputs,
    output: Annotated[
        str, Option("--output", "-o", help="Folder of Parquet files to make, or its URL.")
    ],
    order: Order = 5,
    min_count: Annotated[
        int, Option(help="Leave out n-grams that stand in the text less often than this.")
    ] = 1,
    special_tokens: Marks = SpecialTokens.ERROR,
    tokenizer: Tokenizer = "whitespace",
    normalize: Normalize = "none",
    text_column: TextColumnOption = DEFAULT_COLUMN,
    workers: Workers = None,
    role: Role = None,
    memory: Memory = None,
    resume: Annotated[bool, Option("--resume", help="Go on with what was stopped.")] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace OUTPUT once the new counts are complete.")
    ] = False,
    log_format: LogFormatOption = "text",
    address: Address = None,
    push_metrics: PushMetrics = None,
) -> None:
    """Count all n-grams of a text and write them as Parquet."""
    # Here, so that the other commands start without Ray.
    from cluster.counts import CountsConfig, count
    from jobs.build_watching import watching

    tokenization = Tokenization.choose(tokenizer, normalize)
    config = CountsConfig(
        inputs=tuple(inputs),
        **output_settings(output),
        order=order,
        min_count=min_count,
        special_tokens=special_tokens,
        tokenization=tokenization,
        tokenizer_file=Path(tokenizer) if tokenization.file_name else None,
        text_column=text_column,
        workers=workers,
        role=role,
        memory_bytes=memory_bytes(memory),
        resume=resume,
        overwrite=overwrite,
    )
    with (
        pushing(push_metrics, config.name, "counts"),
        following(config.name, "counts", log_format) as job,
    ):
        with telling_what_is_kept(*kept_at(config, output)), progress_bar() as progress:
            counted = count(config, watching(job, progress), address=address)
        job.tell("counts made", output=config.place, rows=counted.rows)
        leave_report(config, job)
    folder = output if config.url is None else config.place
    table = Table("order", "n-grams", title=folder)
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
        f"Next, in DuckDB: FROM '{folder}/order={order}/*.parquet' ORDER BY count DESC LIMIT 10"
    )
    for line in lines:
        messages.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(counts)
