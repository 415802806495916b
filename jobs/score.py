"""`lmserve score`: a score for every line of a text, as NDJSON."""

import sys
from typing import Annotated

from typer import Argument, Option

import lmserve
from jobs.following import LogFormatOption, following
from jobs.score_reports import Report, ReportTexts, watching_scores
from jobs.shell import ModelArgument, SpecialTokensOption, TextColumnOption, run
from lmserve.publishing.remote_models import model_name
from lmserve.records import score_lines
from lmserve.text.sources import BLOCK_BYTES, DEFAULT_COLUMN, find_files, read_blocks, split


def score(
    model: ModelArgument,
    text: Annotated[
        str,
        Argument(
            metavar="[FILE]",
            help="Text, one sentence a line, .jsonl or .parquet; - is standard input.",
        ),
    ] = "-",
    words: Annotated[bool, Option("--words", help="Add the score of each word.")] = False,
    special_tokens: SpecialTokensOption = None,
    text_column: TextColumnOption = DEFAULT_COLUMN,
    report: Report = None,
    report_texts: ReportTexts = False,
    log_format: LogFormatOption = "text",
) -> None:
    """Print one JSON object for each line of FILE: log10_prob, perplexity, tokens, oov.

    A probability of 0 is a log10_prob of null. Answers come as lines come: a program may write a
    line and wait for its score.
    """
    with following(model_name(model), "score", log_format) as job:
        scorer = lmserve.load(model, special_tokens=special_tokens)
        watch = watching_scores(report, report_texts, model, [text])
        for piece in split(find_files([text]), BLOCK_BYTES, text_column):
            for block in read_blocks(piece):
                lines = block.lines()
                scores = scorer.score_texts(lines)
                sys.stdout.buffer.writelines(score_lines(scorer, lines, scores, words=words))
                sys.stdout.flush()
                watch.scores(scores, lines)
                job.advanced()
        watch.write()


if __name__ == "__main__":
    run(score)
