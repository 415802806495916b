"""The manifest of a finished network: what its folder holds, and how to tell that it is whole.

manifest.json            this
weights.safetensors      the network's parameters
vocabulary*.arrow        its words, as in an n-gram model's folder
tokenizer.*              where a tokenizer has a file
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmserve.errors import CorruptModelError
from lmserve.manifests import MANIFEST_FILE, read_manifest
from lmserve.ngram.vocabulary import SLOTS_FILE, WORDS_FILE
from lmserve.rnn.checkpoints import WEIGHTS_FILE, Epoch
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.tokenization import Tokenization

FILES = (WEIGHTS_FILE, WORDS_FILE, SLOTS_FILE)

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RecurrentManifest(BaseModel):
    """Everything about a network but its weights and words.

    Attributes:
        words: of the vocabulary, `<s>` among them.
        tokens: of the text it was trained on, sentence ends included.
        parameters: numbers in the network.
        network: what it is.
        training: how it was trained.
        special_tokens: what to do about `<s>`, `</s>`, `<unk>` in a text.
        tokenization: how text becomes tokens.
        epochs: what each time through the text came to.
        files: SHA-256 of each.
        digest: of all that determines a score.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["rnn"] = "rnn"
    schema_version: Literal[1] = 1
    words: Annotated[int, Field(ge=3, lt=1 << 32)]
    tokens: Annotated[int, Field(ge=0)]
    parameters: Annotated[int, Field(ge=0)]
    network: NetworkConfig
    training: TrainingConfig
    special_tokens: SpecialTokens
    tokenization: Tokenization
    epochs: list[Epoch]
    files: dict[str, Sha256] = {}
    digest: str = ""

    def compute_digest(self) -> str:
        """The digest that this manifest should carry."""
        facts = {
            "network": self.network.model_dump(mode="json"),
            "special_tokens": str(self.special_tokens),
            "tokenization": self.tokenization.model_dump(mode="json"),
            "files": self.files,
        }
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def seal(self, folder: Path) -> "RecurrentManifest":
        """Adds the checksums of finished files and the digest, and writes the manifest."""
        sealed = self.model_copy(
            update={"files": {name: file_sha256(folder / name) for name in FILES}}
        )
        sealed = sealed.model_copy(update={"digest": sealed.compute_digest()})
        (folder / MANIFEST_FILE).write_text(sealed.model_dump_json(indent=2) + "\n")
        return sealed

    @classmethod
    def read(cls, folder: Path) -> "RecurrentManifest":
        """Reads and checks the manifest of a network, and its files' checksums.

        Weights are read whole when a network is opened, so that their checksum costs little.

        Raises:
            ModelError: the folder holds no network.
            CorruptModelError: the manifest or a file was changed or cut short.
        """
        manifest = cls.parse(read_manifest(folder, writer="lmserve train"), str(folder))
        manifest._check(folder)
        return manifest

    @classmethod
    def parse(cls, written: bytes, place: str) -> "RecurrentManifest":
        """A manifest as it was written; whether the files fit it is not looked at.

        Args:
            written: its bytes.
            place: the model's folder, for errors.

        Raises:
            CorruptModelError: it is no network's.
        """
        try:
            return cls.model_validate_json(written)
        except ValidationError as error:
            raise CorruptModelError(
                f"{place}/{MANIFEST_FILE} is no valid manifest: {error}",
                "Train the model again, or copy it again.",
            ) from error

    def _check(self, folder: Path) -> None:
        found = {
            name: file_sha256(folder / name) if (folder / name).is_file() else "no file"
            for name in FILES
        }
        wrong = sorted(name for name in FILES if found[name] != self.files.get(name))
        if wrong or self.compute_digest() != self.digest:
            raise CorruptModelError(
                f"{folder}: {', '.join(wrong) or 'the manifest'} changed after the training",
                "Copy the whole folder again, or train the model again.",
            )


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
