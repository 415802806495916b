"""Opening a model folder, whatever kind of model is in it."""

import json
import os
from pathlib import Path

from lmserve.errors import DependencyError, ModelError
from lmserve.language_model import LanguageModel
from lmserve.manifests import read_manifest
from lmserve.ngram.model import NgramModel
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.storage import is_url


def load(
    path: str | os.PathLike[str],
    *,
    special_tokens: SpecialTokens | None = None,
    check: bool = False,
    device: str = "cpu",
) -> LanguageModel:
    """Opens the model in a folder.

    Args:
        path: the folder that `lmserve build`, `lmserve train` or `lmserve mix` wrote, or its URL,
            from which it is fetched once.
        special_tokens: what `<unk>`, `<s>`, `</s>` in a text stand for; None means what was said
            when the model was made.
        check: read every byte of it and compare checksums first.
        device: where recurrent models compute, for example "cuda"; n-gram models need none.

    Raises:
        OptionError: this machine has no such device.
        ModelError: there is no model in this folder, or one of another format version.
        CorruptModelError: it was changed or cut short.
        InputError: a URL cannot be read.
        DependencyError: the package that a recurrent model needs is not installed.
    """
    if is_url(os.fspath(path)):
        # Checks what it fetches by this function.
        from lmserve.publishing.remote_models import model_folder

        path = model_folder(path)
    kind = kind_of(Path(path))
    if kind == "mixture":
        # Opens its components by this function.
        from lmserve.mixing.model import Mixture

        return Mixture.load(path, special_tokens=special_tokens, check=check, device=device)
    if kind == "rnn":
        try:
            from lmserve.rnn.scoring import RecurrentModel
        except ImportError as error:
            raise DependencyError(
                f"{path} is a recurrent model, which needs a package that is not installed: "
                f"{error}",
                "Install it: pip install 'lmserve[rnn]'.",
            ) from error
        return RecurrentModel.load(path, special_tokens=special_tokens, device=device)
    return NgramModel.load(path, special_tokens=special_tokens, check=check)


def kind_of(folder: Path) -> str:
    """What kind of model a folder says that it holds: "ngram" where it says nothing else."""
    try:
        return kind_told(read_manifest(folder, writer="lmserve build"))
    except ModelError:
        # The n-gram model's own reading says what is wrong.
        return "ngram"


def kind_told(manifest: bytes) -> str:
    """What kind of model the bytes of a manifest tell of; see `kind_of`."""
    try:
        content = json.loads(manifest)
    except ValueError:
        return "ngram"
    return str(content.get("kind", "ngram")) if isinstance(content, dict) else "ngram"
