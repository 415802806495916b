"""`lmserve export`: a model as ARPA text."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jobs.shell import messages, progress_bar, run
from lmserve.ngram.arpa import STDOUT, write_arpa
from lmserve.ngram.model import NgramModel


def export(
    model: Annotated[Path, Argument(help="Model folder.")],
    arpa: Annotated[Path, Option("--arpa", help="The file to write; - is standard output.")],
) -> None:
    """Write MODEL as ARPA text, which KenLM and SRILM read."""
    loaded = NgramModel.load(model)
    with progress_bar() as progress:
        task = progress.add_task("export", total=sum(loaded.manifest.ngrams))
        write_arpa(loaded, arpa, lambda ngrams: progress.advance(task, ngrams))
    if arpa != STDOUT:
        messages.print(f"wrote {arpa}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(export)
