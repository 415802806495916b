"""`--report` of the jobs that score texts."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from jobs.leaving_reports import trying_to_report
from lmserve.errors import OptionError
from lmserve.score_summary import ScoreSummary
from lmserve.scorer import TextScores
from lmserve.text.sources import shown

Report = Annotated[
    Path | None,
    Option(metavar="FILE.html", help="Leave a page there: perplexities, unknown words, rates."),
]
ReportTexts = Annotated[
    bool, Option("--report-texts", help="Show texts in it, not only their numbers.")
]


class ScoreWatch:
    """Collects scores for a page, if one is wanted."""

    def __init__(self, path: Path | None, summary: ScoreSummary, facts: list[tuple[str, str]]):
        self._path = path
        self._summary = summary
        self._facts = facts

    def scores(self, scores: TextScores, lines: Sequence[bytes]) -> None:
        """Takes the scores of some lines."""
        if self._path is not None:
            self._summary.add(scores, lines)

    def write(self) -> None:
        """Writes the page; what keeps it from being written fails no job."""
        if self._path is None:
            return
        trying_to_report(partial(self._write, self._path), "perplexities as pictures")

    def _write(self, path: Path) -> Path:
        from lmserve.pages.score_report import score_page

        content = score_page("Scores of texts", self._facts, self._summary)
        path.write_text(content, encoding="utf-8", newline="\n")
        return path


def watching_scores(
    path: Path | None, texts: bool, model: str, inputs: Sequence[str]
) -> ScoreWatch:
    """What collects the scores of a job.

    Raises:
        OptionError: no page can be written there, or texts are wanted without a page.
        ModuleNotFoundError: matplotlib is missing, before anything was scored.
    """
    if texts and path is None:
        raise OptionError("--report-texts without --report", "Name a page: --report FILE.html.")
    if path is not None:
        import lmserve.pages.figures  # noqa: F401 - whether it can be imported

        if not path.absolute().parent.is_dir():
            raise OptionError(
                f"the folder {str(path.parent)!r} does not exist", "Make it, or name another."
            )
        if path.is_dir():
            raise OptionError(f"{str(path)!r} is a folder", "Name a page in it: FILE.html.")
    facts = [("model", shown(model)), ("text", ", ".join(map(shown, inputs)))]
    return ScoreWatch(path, ScoreSummary(keep_texts=texts), facts)
