"""What tests of scored corpora share: their settings."""

from pathlib import Path
from typing import Any

from cluster.corpus_config import CorpusConfig


def config(model: Path | str, *inputs: Path | str, output: Path | str, **more: Any) -> CorpusConfig:
    """Of two workers and small parts."""
    settings = {"workers": 2, "part_bytes": 10_000} | more
    return CorpusConfig(
        model=str(model), inputs=tuple(map(str, inputs)), output=str(output), **settings
    )
