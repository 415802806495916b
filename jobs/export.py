"""`lmserve export`: a model as ARPA text."""

from pathlib import Path
from typing import Annotated

from typer import Option

from jobs.shell import ModelArgument, messages, progress_bar, run
from lmserve.ngram.arpa import STDOUT, write_arpa
from lmserve.ngram.model import NgramModel
from lmserve.publishing.remote_models import model_folder


def export(
    model: ModelArgument,
    arpa: Annotated[Path, Option("--arpa", help="The file to write; - is standard output.")],
) -> None:
    """Write MODEL as ARPA text, which KenLM and SRILM read."""
    loaded = NgramModel.load(model_folder(model))
    with progress_bar() as progress:
        task = progress.add_task("export", total=sum(loaded.manifest.ngrams))
        write_arpa(loaded, arpa, lambda ngrams: progress.advance(task, ngrams))
    if arpa != STDOUT:
        messages.print(f"wrote {arpa}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(export)
