"""`lmserve score-corpus`: a score for every text of a corpus, as Parquet, on Ray."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from rich.table import Table
from typer import Argument, Option

from jobs.counting_options import Address, PushMetrics
from jobs.following import Job, LogFormatOption, following
from jobs.placing import Role
from jobs.shell import (
    ModelArgument,
    SpecialTokensOption,
    TextColumnOption,
    messages,
    progress_bar,
    run,
)
from jobs.shell import output as terminal
from lmserve.metrics.pushing import pushing
from lmserve.publishing.remote_models import model_name
from lmserve.sizes import parse_size
from lmserve.stopping import is_stop
from lmserve.text.sources import DEFAULT_COLUMN
from lmserve.text.storage import shown


def score_corpus(
    model: ModelArgument,
    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT...",
            help="Texts, one a line, .jsonl or .parquet: files, URLs, 'patterns*'. Compressed by "
            "suffix: .gz .bz2 .xz .zst.",
        ),
    ],
    output: Annotated[
        str, Option("--output", "-o", help="Folder, or its URL, for Parquet and summary.json.")
    ],
    min_perplexity: Annotated[
        float | None, Option(metavar="X", help="Leave out texts of less.", show_default="no limit")
    ] = None,
    max_perplexity: Annotated[
        float | None, Option(metavar="X", help="Leave out texts of more.", show_default="no limit")
    ] = None,
    keep_text: Annotated[
        bool, Option("--keep-text/--scores-only", help="Write texts beside their scores.")
    ] = True,
    keep_column: Annotated[
        list[str] | None,
        Option(
            metavar="NAME", help="A further field of .jsonl or .parquet to write; again for more."
        ),
    ] = None,
    text_column: TextColumnOption = DEFAULT_COLUMN,
    special_tokens: SpecialTokensOption = None,
    part_size: Annotated[
        str | None,
        Option(help="Text that a part is of, at most.", show_default="8MiB; from 4 GiB on 64MiB"),
    ] = None,
    workers: Annotated[
        int | None,
        Option(help="Processes that score, a processor each.", show_default="all processors"),
    ] = None,
    gpus: Annotated[bool, Option("--gpus", help="A GPU for each of them.")] = False,
    role: Role = None,
    resume: Annotated[
        bool, Option("--resume", help="Do what is missing, or of changed input.")
    ] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Delete the scoring that is in OUTPUT.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="The summary, as JSON.")] = False,
    log_format: LogFormatOption = "text",
    address: Address = None,
    push_metrics: PushMetrics = None,
) -> None:
    """Score every text of a corpus by MODEL: a row of Parquet each, to filter by perplexity.

    Of text files, a text is a line; of .jsonl and .parquet, a record, whose lines are sentences.
    """
    # Here, so that the other commands start without Ray.
    from cluster.corpus_config import CorpusConfig
    from cluster.corpus_scoring import score_corpus as score_on_ray

    config = CorpusConfig(
        model=model,
        inputs=tuple(inputs),
        output=output,
        text_column=text_column,
        special_tokens=special_tokens,
        min_perplexity=min_perplexity,
        max_perplexity=max_perplexity,
        keep_text=keep_text,
        keep_columns=tuple(keep_column or ()),
        part_bytes=None if part_size is None else parse_size(part_size),
        workers=workers,
        gpus=gpus,
        role=role,
        resume=resume,
        overwrite=overwrite,
    )
    name = model_name(output)
    with (
        pushing(push_metrics, name, "score-corpus"),
        following(name, "score-corpus", log_format) as job,
        _telling_how_to_go_on(output),
        _Watch(job) as watch,
    ):
        summary = score_on_ray(config, watch.part, address=address)
        fields = {field: value for field, value in summary.items() if field != "parts"}
        job.tell("corpus scored", output=shown(output), **fields)
    if as_json:
        print(json.dumps(summary))  # noqa: T201 - this is the result
        return
    terminal.print(_table(summary, shown(output)))


@contextmanager
def _telling_how_to_go_on(output: str) -> Iterator[None]:
    """Says to whoever stops the job that finished parts are kept."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if is_stop(error):
            kept = f"stopped; finished parts are kept in {shown(output)}: --resume goes on"
            messages.print(kept, highlight=False, soft_wrap=True)
        raise


class _Watch:
    """Shows how far a scoring is: a bar with the time left, or a line now and then; and logs it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._progress = progress_bar()
        self._task = self._progress.add_task("score", total=None)
        self._done = self._told = self._texts = 0

    def __enter__(self) -> "_Watch":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def part(self, all_bytes: int, part_bytes: int, totals: Mapping[str, Any]) -> None:
        """Takes a part that is done; the arguments as in `cluster.corpus_scoring.Watch`."""
        self._job.advanced()
        self._done += part_bytes
        self._texts += totals["texts"]
        self._job.tell(
            "part scored",
            texts=totals["texts"],
            kept=totals["kept"],
            seconds=totals["seconds"],
            done=round(self._done / max(all_bytes, 1), 4),
        )
        self._progress.update(self._task, total=all_bytes, completed=self._done)
        tenths = 10 * self._done // max(all_bytes, 1)
        if not messages.is_terminal and tenths > self._told:
            self._told = tenths
            messages.print(f"scored {tenths}0%: {self._texts:,} texts", highlight=False)


def _table(summary: Mapping[str, Any], title: str) -> Table:
    table = Table("", "", title=title)
    median = summary["quantiles"]["0.5"]
    for name, value in {
        "texts": f"{summary['rows']:,}",
        "kept": f"{summary['kept']:,}",
        "perplexity of all": f"{summary['perplexity']:,.2f}",
        "median perplexity of a text": "" if median is None else f"{median:,.1f}",
        "words, sentence ends included": f"{summary['tokens']:,}",
        "unknown words": f"{summary['oov']:,}",
        "parts": f"{len(summary['parts']):,}",
        "MB read, written": f"{summary['input_bytes'] / 1e6:,.1f}, "
        f"{summary['output_bytes'] / 1e6:,.1f}",
        "seconds": f"{summary['seconds']:,.1f}",
        "texts a second": f"{summary['rows_per_s']:,.0f}",
    }.items():
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    run(score_corpus)
