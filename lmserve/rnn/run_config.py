"""Settings of a training from text to finished model."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmserve.errors import OptionError
from lmserve.ngram.limiting import ALL_WORDS, VocabularyLimit
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.text.sources import DEFAULT_COLUMN, file_stat, find_files, shown
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Tokenization


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of a training.

    Attributes:
        inputs: the text to train on: files, URLs and patterns.
        valid: the text that perplexities are measured on after every epoch.
        output: folder of the model to make; of one at a URL, only the name counts.
        url: where the model goes instead of a folder, see `stored_runs`.
        temp_dir: of a training at a URL, where each machine keeps its part meanwhile; None is the
            system's folder for such.
        network: what is trained.
        training: how.
        special_tokens: what to do about `<s>`, `</s>`, `<unk>` in the text.
        vocabulary: which words are known; see `corpus.count_words`.
        tokenization: how the text becomes tokens.
        tokenizer_file: the tokenizer's file, where the tokenization has one.
        text_column: the field of JSON and Parquet that holds the text.
        checkpoint_every: seconds between checkpoints.
        probe_lags: measure memory horizons after every epoch, up to so many words; 0 for not.
        resume: go on with an unfinished training.
        overwrite: replace a model that is there already, once the new one is complete.
    """

    inputs: tuple[str, ...]
    valid: tuple[str, ...]
    output: Path
    url: str | None = None
    temp_dir: Path | None = None
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    special_tokens: SpecialTokens = SpecialTokens.ERROR
    vocabulary: VocabularyLimit = ALL_WORDS
    tokenization: Tokenization = field(default_factory=Tokenization)
    tokenizer_file: Path | None = None
    text_column: str = DEFAULT_COLUMN
    checkpoint_every: float = 60.0
    probe_lags: int = 0
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Makes the output's path absolute: workers have other current folders."""
        object.__setattr__(self, "output", Path(os.path.abspath(self.output)))
        if self.checkpoint_every <= 0:
            raise OptionError(
                f"checkpoint_every is {self.checkpoint_every}", "Give seconds, such as 60."
            )
        if self.probe_lags < 0:
            raise OptionError(f"probe_lags is {self.probe_lags}", "Give words, or 0 for none.")

    @property
    def folder(self) -> Path:
        """The folder of the unfinished training."""
        return self.output.with_name(f"{self.output.name}.training")

    @property
    def place(self) -> str:
        """Where the model goes, to be shown."""
        return str(self.output) if self.url is None else shown(self.url)

    def facts(self) -> dict[str, Any]:
        """What must be the same for a training to be resumed."""
        files = [[name, *self._stat(name)] for name in find_files([*self.inputs, *self.valid])]
        return {
            "files": files,
            "network": self.network.model_dump(mode="json"),
            # Workers and threads may be others.
            "training": self.training.model_dump(mode="json", exclude={"threads"}),
            "special_tokens": str(self.special_tokens),
            "vocab_size": self.vocabulary.size,
            "vocab_file": self.vocabulary.file_sha256(),
            "tokenization": self.tokenization.model_dump(mode="json"),
            "text_column": self.text_column,
        }

    @staticmethod
    def _stat(name: str) -> tuple[int | None, int | None]:
        stat = file_stat(name)
        return stat.size_bytes, stat.changed_ns
