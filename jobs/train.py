"""`lmserve train`: train a recurrent model on Ray."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.progress import Progress, TaskID
from rich.table import Table
from typer import Option

from jobs.counting_options import (
    Address,
    Inputs,
    Marks,
    ModelOutput,
    Normalize,
    PushMetrics,
    Tokenizer,
    telling_what_is_kept,
)
from jobs.following import LogFormatOption, following
from jobs.leaving_reports import trying_to_report
from jobs.placing import Role
from jobs.shell import TextColumnOption, messages, progress_bar
from jobs.shell import run as run_job
from jobs.training_events import TrainingEvents
from lmserve.local_folder import open_folder
from lmserve.metrics.pushing import pushing
from lmserve.ngram.limiting import VocabularyLimit
from lmserve.publishing.remote_models import model_folder, model_name
from lmserve.remote_folder import RemoteFolder
from lmserve.text.sources import BLOCK_BYTES, DEFAULT_COLUMN, find_files, split
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.storage import is_url, shown
from lmserve.text.tokenization import Tokenization

if TYPE_CHECKING:
    from lmserve.rnn.run_config import RunConfig

_REPORT_FILE = "report.html"
# Words that the report looks back.
_LAGS = 50


def train(
    inputs: Inputs,
    valid: Annotated[
        list[str],
        Option(help="Text that perplexities are measured on after every epoch; again for more."),
    ],
    output: ModelOutput,
    recipe: Annotated[
        str, Option(help="Named settings to begin with, see 'lmserve recipes'.")
    ] = "lstm-small",
    config: Annotated[
        Path | None,
        Option(help="Settings to begin with instead: JSON with network and training."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        Option("--set", metavar="NAME=VALUE", help="Change one setting; again for more."),
    ] = None,
    workers: Annotated[int, Option(help="Processes that train together.")] = 1,
    gpus: Annotated[bool, Option("--gpus", help="A GPU for each of them.")] = False,
    role: Role = None,
    max_failures: Annotated[int, Option(help="Workers that may die on the way.")] = 3,
    vocab_size: Annotated[
        int | None,
        Option(
            help="Take all but so many most frequent words for <unk>.",
            show_default="words that occur twice, or all if the text holds <unk>",
        ),
    ] = None,
    vocab_file: Annotated[
        Path | None, Option(help="Take all words but those in this file for <unk>.")
    ] = None,
    special_tokens: Marks = SpecialTokens.ERROR,
    tokenizer: Tokenizer = "whitespace",
    normalize: Normalize = "none",
    text_column: TextColumnOption = DEFAULT_COLUMN,
    temp_dir: Annotated[
        Path | None,
        Option(
            help="Where each machine keeps its part of a training whose OUTPUT is a URL.",
            show_default="the system's",
        ),
    ] = None,
    checkpoint_every: Annotated[float, Option(help="Seconds between checkpoints.")] = 60.0,
    probe_lags: Annotated[
        int,
        Option(help="Measure after every epoch how far back gradients reach, up to so many words."),
    ] = 0,
    metrics_port: Annotated[
        int | None, Option(help="Serve metrics for Prometheus there.", show_default="not at all")
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with an unfinished training.")] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace OUTPUT once the new model is complete.")
    ] = False,
    log_format: LogFormatOption = "text",
    address: Address = None,
    push_metrics: PushMetrics = None,
) -> None:
    """Train a recurrent network on a text, and watch its gradients."""
    # Here, so that the other commands start without torch and Ray.
    from cluster.training import Scale, train_on_ray
    from jobs.recipes import find
    from lmserve.rnn.metrics import TrainingMetrics
    from lmserve.rnn.run_config import RunConfig
    from lmserve.rnn.runs import run_name
    from lmserve.rnn.settings import configure, read_config
    from lmserve.rnn.stored_runs import run_url

    chosen = find(recipe)
    base = read_config(config) if config else (chosen.network, chosen.training)
    network, training = configure(settings or (), *base)
    tokenization = Tokenization.choose(tokenizer, normalize)
    run_config = RunConfig(
        inputs=tuple(inputs),
        valid=tuple(valid),
        output=Path(model_name(output) if is_url(output) else output),
        url=output if is_url(output) else None,
        temp_dir=temp_dir,
        network=network,
        training=training,
        special_tokens=special_tokens,
        vocabulary=VocabularyLimit(vocab_size, vocab_file),
        tokenization=tokenization,
        tokenizer_file=Path(tokenizer) if tokenization.file_name else None,
        text_column=text_column,
        checkpoint_every=checkpoint_every,
        probe_lags=probe_lags,
        resume=resume,
        overwrite=overwrite,
    )
    run = run_name(run_config)
    scale = Scale(workers=workers, gpus=gpus, max_failures=max_failures, role=role)
    kept, there = f"{output}.training", _kept(run_config)
    if run_config.url is not None:
        kept = shown(run_url(run_config.url))
    with pushing(push_metrics, run, "train"), following(run, "train", log_format) as job:
        measured = TrainingMetrics(run, network.cell)
        if metrics_port is not None:
            measured.serve(metrics_port)
        with telling_what_is_kept(there, kept), progress_bar() as progress:
            display, events = _Display(progress), TrainingEvents(job)

            def watch(log: dict[str, Any]) -> None:
                display(log)
                events(log)
                measured.update(log)

            manifest = train_on_ray(run_config, scale, watch, address=address)
            measured.finished(manifest.epochs[-1].valid_perplexity)
        job.tell("model made", output=shown(output), digest=manifest.digest)
        trying_to_report(
            partial(_write_report, output, valid, text_column),
            "losses, gradients and memory as pictures",
            job,
        )
    name = shown(output)
    table = Table("epoch", "train", "valid", "seconds", title=f"{name}: perplexities")
    for epoch in manifest.epochs:
        perplexities = (f"{epoch.train_perplexity:.2f}", f"{epoch.valid_perplexity:.2f}")
        table.add_row(str(epoch.epoch), *perplexities, f"{epoch.seconds:.0f}")
    messages.print(table)
    for line in (
        f"{manifest.parameters:,} numbers, {manifest.words:,} words, digest {manifest.digest}",
        f"Next: lmserve eval {name} TEXT, lmserve next {name} 'the'",
    ):
        messages.print(line, highlight=False, soft_wrap=True)


def _kept(config: "RunConfig") -> Path | Callable[[], bool]:
    """Where an unfinished training is, or what tells whether it is anywhere."""
    from lmserve.rnn.runs import FACTS_FILE
    from lmserve.rnn.stored_runs import run_url

    if config.url is None:
        return config.folder
    url = run_url(config.url)
    return lambda: RemoteFolder(url).exists(FACTS_FILE)


def _write_report(output: str, text: list[str], column: str) -> str:
    """The finished model's report, beside it."""
    from lmserve.rnn.report import models_page, probe_model

    pieces = split(find_files(text), BLOCK_BYTES, column)
    model = model_folder(output)
    content = models_page([probe_model(model, pieces, lags=_LAGS, windows=1, shorten=True)])
    place = open_folder(output)
    place.put(_REPORT_FILE, content.encode())
    return f"{place.location}/{_REPORT_FILE}"


class _Display:
    """Shows how far a training is: a bar with the time left, or a line now and then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._epoch = -1

    def __call__(self, log: dict[str, Any]) -> None:
        """Shows the newest steps, as `lmserve.rnn.step_log` writes them."""
        if self._task is None:
            self._task = self._progress.add_task("train", total=1.0)
        loss = log["loss"] if log["loss"] is not None else float("nan")
        told = (
            f"epoch {log['epoch']:.2f}  loss {loss:.3f}  norm {log['norm'] or float('nan'):.3f}  "
            f"clipped {log['clipped']:.0%}  skipped {log['skipped']}  "
            f"{log['tokens_per_s']:,.0f} tokens/s"
        )
        self._progress.update(self._task, completed=log["done"], description=told)
        if not messages.is_terminal and int(log["epoch"]) != self._epoch:
            self._epoch = int(log["epoch"])
            messages.print(told)


if __name__ == "__main__":
    run_job(train)
