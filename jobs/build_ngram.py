"""`lmserve build`: count a text and estimate an n-gram model on Ray."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from typer import Option

from jobs.counting_options import (
    Address,
    Inputs,
    Marks,
    Memory,
    ModelOutput,
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
from lmserve.errors import OptionError
from lmserve.metrics.pushing import pushing
from lmserve.ngram.discounting import FALLBACK_DISCOUNTS, parse_discounts
from lmserve.ngram.limiting import VocabularyLimit
from lmserve.ngram.manifest import Manifest
from lmserve.ngram.smoothing_methods import DEFAULT_OPTIONS, Smoothing, SmoothingOptions
from lmserve.text.sources import DEFAULT_COLUMN, shown
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Tokenization

if TYPE_CHECKING:
    from cluster.config import BuildConfig


def build(
    inputs: Inputs,
    output: ModelOutput,
    order: Order = 5,
    smoothing: Annotated[
        Smoothing, Option(help="How probability is set aside for what was not seen.")
    ] = Smoothing.MODIFIED_KNESER_NEY,
    discounts: Annotated[
        list[str] | None,
        Option(
            help="Discounts for counts of 1, 2 and 3 or more, such as 0.5,1,1.5: once for every "
            "order, shortest first.",
            show_default="from the text",
        ),
    ] = None,
    discount_fallback: Annotated[
        bool,
        Option("--discount-fallback", help="Discounts 0.5, 1, 1.5 where none can be computed."),
    ] = False,
    add_k: Annotated[
        float, Option(help="What add-k smoothing adds to every count.")
    ] = DEFAULT_OPTIONS.add_k,
    backoff_factor: Annotated[
        float, Option(help="What stupid backoff multiplies shorter contexts by.")
    ] = DEFAULT_OPTIONS.backoff_factor,
    prune: Annotated[
        str,
        Option(
            help="Leave out n-grams that occur so often or less: '0 0 1' for orders 1, 2, and 3 "
            "and more."
        ),
    ] = "0",
    vocab_size: Annotated[
        int | None,
        Option(help="Count all but so many most frequent words as <unk>.", show_default="no limit"),
    ] = None,
    vocab_file: Annotated[
        Path | None,
        Option(help="Count all words but those in this file as <unk>.", show_default="no limit"),
    ] = None,
    special_tokens: Marks = SpecialTokens.ERROR,
    tokenizer: Tokenizer = "whitespace",
    normalize: Normalize = "none",
    text_column: TextColumnOption = DEFAULT_COLUMN,
    workers: Workers = None,
    role: Role = None,
    memory: Memory = None,
    temp_dir: Annotated[
        Path | None,
        Option(
            help="Where to keep what is done meanwhile; for a URL, each machine its part.",
            show_default="beside OUTPUT",
        ),
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with an unfinished build.")] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace OUTPUT once the new model is complete.")
    ] = False,
    log_format: LogFormatOption = "text",
    address: Address = None,
    push_metrics: PushMetrics = None,
) -> None:
    """Count a text and estimate an n-gram model from it."""
    # Here, so that the other commands start without Ray.
    from cluster.build import build as build_model
    from cluster.config import BuildConfig
    from jobs.build_watching import watching

    tokenization = Tokenization.choose(tokenizer, normalize)
    config = BuildConfig(
        inputs=tuple(inputs),
        **output_settings(output),
        order=order,
        smoothing=smoothing,
        special_tokens=special_tokens,
        options=SmoothingOptions(
            discounts=tuple(map(parse_discounts, discounts)) if discounts else None,
            discount_fallback=FALLBACK_DISCOUNTS if discount_fallback else None,
            add_k=add_k,
            backoff_factor=backoff_factor,
        ),
        prune=_parse_thresholds(prune),
        vocabulary=VocabularyLimit(vocab_size, vocab_file),
        tokenization=tokenization,
        tokenizer_file=Path(tokenizer) if tokenization.file_name else None,
        text_column=text_column,
        workers=workers,
        role=role,
        memory_bytes=memory_bytes(memory),
        temp_dir=temp_dir,
        resume=resume,
        overwrite=overwrite,
    )
    with (
        pushing(push_metrics, config.name, "build"),
        following(config.name, "build", log_format) as job,
    ):
        with telling_what_is_kept(*kept_at(config, output)), progress_bar() as progress:
            manifest = build_model(config, watching(job, progress), address=address)
        job.tell("model made", output=config.place, digest=manifest.digest)
        leave_report(config, job)
    _show_cost(config)
    _show_model(manifest, output if config.url is None else config.place)
    messages.print(
        f"Next: lmserve eval {shown(output)} TEXT, lmserve serve {shown(output)}",
        highlight=False,
        soft_wrap=True,
    )


def _parse_thresholds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise OptionError(
            f"{text!r} are no pruning thresholds",
            "Give one number for each order at most, such as '0 0 1'.",
        ) from None


def _show_cost(config: "BuildConfig") -> None:
    """The table of stages, from `build.json`."""
    from cluster.outputs import read_summary

    summary = read_summary(config)
    disk = summary["temporary_disk"]
    # What was moved to and from a store, where there is one.
    moved = [name for name in ("fetched_bytes", "shared_bytes") if config.url]
    table = Table(
        "stage",
        *("wall s", "CPU s", "I/O s", "rows", "MB written", "peak MB"),
        *(f"MB {name.removesuffix('_bytes')}" for name in moved),
        caption="CPU: of all processes. I/O: in the kernel or waiting, of all tasks. "
        f"Temporary disk: {_mb(disk['used_bytes'])} MB used, "
        f"{_mb(disk['estimated_bytes'])} MB estimated.",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in summary["stages"]:
        seconds = (f"{stage[name]:,.1f}" for name in ("wall_s", "cpu_s", "io_s"))
        sizes = (_mb(stage[name]) for name in ("bytes_written", "peak_memory_bytes", *moved))
        table.add_row(stage["name"], *seconds, f"{stage['rows']:,}", *sizes)
    messages.print(table)


def _show_model(manifest: Manifest, name: str) -> None:
    """What is in the model."""
    discounted = any(any(discounts) for discounts in manifest.discounts)
    table = Table(
        *("order", "n-grams", *(("D1", "D2", "D3+") if discounted else ())),
        title=f"{name}: {manifest.words:,} words",
    )
    for k, (count, discounts) in enumerate(
        zip(manifest.ngrams, manifest.discounts, strict=True), 1
    ):
        taken_off = (f"{d:.4f}" for d in discounts) if discounted else ()
        table.add_row(str(k), f"{count:,}", *taken_off)
    messages.print(table)
    messages.print(f"digest {manifest.digest}", highlight=False, soft_wrap=True)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f}"


if __name__ == "__main__":
    run(build)
