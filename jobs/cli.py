"""The `lmserve` command line: every job is a subcommand."""

import typer

from jobs.build_ngram import build
from jobs.counts import counts
from jobs.demo import demo
from jobs.evaluate import evaluate
from jobs.export import export
from jobs.gradient_report import gradient_report
from jobs.health import health
from jobs.import_arpa import import_model
from jobs.index import index
from jobs.info import info
from jobs.keys import keys
from jobs.metrics import metrics
from jobs.mix import mix_models
from jobs.monitor import monitor
from jobs.next_words import next_words
from jobs.prune import prune
from jobs.publish import list_models, publish, rollback
from jobs.quantize import quantize_model
from jobs.recipes import recipes
from jobs.score import score
from jobs.score_corpus import score_corpus
from jobs.serve import serve
from jobs.shell import run_app, share_metrics_if_possible
from jobs.top import top
from jobs.train import train
from jobs.verify import verify

app = typer.Typer(
    name="lmserve",
    help="Language models: build, evaluate, score, serve.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command("build")(build)
app.command("counts")(counts)
app.command("train")(train)
app.command("recipes")(recipes)
app.command("gradients")(gradient_report)
app.command("eval")(evaluate)
app.command("score")(score)
app.command("score-corpus")(score_corpus)
app.command("next")(next_words)
app.command("info")(info)
app.command("verify")(verify)
app.command("export")(export)
app.command("import")(import_model)
app.command("index")(index)
app.command("quantize")(quantize_model)
app.command("prune")(prune)
app.command("mix")(mix_models)
app.command("publish")(publish)
app.command("rollback")(rollback)
app.command("models")(list_models)
app.command("serve")(serve)
app.command("health")(health)
app.command("metrics")(metrics)
app.command("top")(top)
app.add_typer(keys, name="keys")
app.command("monitor")(monitor)
app.command("demo")(demo)


def main() -> None:
    """Entry point of the `lmserve` program."""
    share_metrics_if_possible()
    run_app(app)


if __name__ == "__main__":
    main()
