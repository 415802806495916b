"""A model beside a smaller copy of it: what the copy saves, and what it costs."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from lmserve import evaluation
from lmserve.ngram.model import NgramModel
from lmserve.text.sources import find_files, split

_PIECE_BYTES = 8 << 20


def comparison(named: Mapping[str, NgramModel], text: Sequence[str]) -> Table:
    """A table with a column a model: sizes, and the perplexity of a text if one is given.

    Args:
        named: the models, by what to call them.
        text: files, URLs, patterns; empty for none.
    """
    models = list(named.values())
    table = Table("", *named)
    for k in range(1, models[0].order + 1):
        table.add_row(f"{k}-grams", *(f"{model.manifest.ngrams[k - 1]:,}" for model in models))
    table.add_row("bytes", *(f"{_size_bytes(model):,}" for model in models))
    per_ngram = (f"{_size_bytes(model) / sum(model.manifest.ngrams):.2f}" for model in models)
    table.add_row("bytes an n-gram", *per_ngram)
    if text:
        table.add_row("perplexity", *(f"{_perplexity(model, text):,.3f}" for model in models))
    return table


def _size_bytes(model: NgramModel) -> int:
    return sum(file.size_bytes for file in model.manifest.files.values())


def _perplexity(model: NgramModel, text: Sequence[str]) -> float:
    pieces = split(find_files(text), _PIECE_BYTES)
    result = evaluation.evaluate(model, pieces, model.special_tokens, segment=model.segment)
    return result.perplexity
