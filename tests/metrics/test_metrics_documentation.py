"""The documentation's table of metrics."""

from pathlib import Path

from lmserve.metrics.documentation import with_table

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_table_is_that_of_the_catalogue() -> None:
    text = PAGE.read_text()
    assert with_table(text) == text
    assert "`lmserve_sentences_total` | counter" in text
