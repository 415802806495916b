"""From model folders and a development text to a mixture's folder."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lmserve.errors import InputError, ModelError, OptionError
from lmserve.evaluation import checked_blocks
from lmserve.loading import load
from lmserve.mixing.cache_fitting import fit_cache
from lmserve.mixing.combining import LN_10, Floats, Method
from lmserve.mixing.components import Component, check_components
from lmserve.mixing.foretelling import Foreteller
from lmserve.mixing.manifest import ComponentFacts, MixtureManifest, mixture_digest
from lmserve.mixing.weights import Fit, Foretold, fit_linear, fit_log_linear
from lmserve.mixing.word_cache import LARGEST_WINDOW, CacheSettings
from lmserve.ngram.tables import partial_name
from lmserve.scorer import Text, perplexity
from lmserve.text.sources import DEFAULT_COLUMN, find_files, split
from lmserve.text.word_table import Ids

_PIECE_BYTES = 8 << 20
# Lines that are read at once.
_LINES = 1000
# Of whole distributions kept to find log-linear weights: 512 MB.
_FIT_NUMBERS = 1 << 27
_FIT_TOKENS = 5000


@dataclass(frozen=True, kw_only=True)
class MixConfig:
    """Settings of a mixture to be made.

    Attributes:
        models: folders of its components.
        dev: the text that the weights are made for: files, URLs and patterns.
        output: the folder to make.
        method: how components are combined.
        dev_tokens: take only so many tokens of the text, and of a log-linear mixture the rest of
            their line. None is all of them for a linear mixture; for a log-linear one, which keeps
            4 V bytes a token and component, as many as 512 MB hold, and no more than 5,000.
        cache: remember the last so many words that were read; None is none of them.
        copy: copy the components into the output, so that it can be moved by itself; otherwise it
            says where they lie, as seen from it.
        text_column: the field of JSON and Parquet that holds the text.

    Raises:
        OptionError: `dev_tokens` is below 1, or `cache` is no number of words.
    """

    models: tuple[Path, ...]
    dev: tuple[str, ...]
    output: Path
    method: Method = Method.LINEAR
    dev_tokens: int | None = None
    cache: int | None = None
    copy: bool = False
    text_column: str = DEFAULT_COLUMN

    def __post_init__(self) -> None:
        """Checks the values."""
        if self.dev_tokens is not None and self.dev_tokens < 1:
            raise OptionError(f"dev-tokens is {self.dev_tokens}", "Give 1 or more, or none.")
        if self.cache is not None and not 1 <= self.cache <= LARGEST_WINDOW:
            raise OptionError(
                f"cache is {self.cache:,} words",
                f"Give 1 to {LARGEST_WINDOW:,}, such as 500, or none.",
            )


def mix(config: MixConfig) -> MixtureManifest:
    """Finds the weights and writes the mixture.

    Returns:
        The mixture's manifest: each component's perplexity and weight, and the mixture's.

    Raises:
        OptionError: the models cannot be mixed.
        InputError: the text cannot be read, or holds no line.
        ModelError: a folder holds no model, or the output exists.
    """
    if config.output.exists():
        raise ModelError(f"{config.output} exists already", "Name another folder, or remove it.")
    models = [load(path) for path in config.models]
    components = check_components(models, config.models, config.method)
    read = _read if config.method is Method.LINEAR else _read_all
    dev = read(config, components)
    manifest = _manifest(config, components, dev, *_fit(config, dev, len(models[0].vocabulary)))
    _write(config, manifest)
    return manifest


@dataclass(frozen=True, slots=True)
class _Dev:
    """The development text.

    Attributes:
        log10_probs: float64 [K, N], of its tokens under each component.
        ids: uint32 [N], the tokens.
        blocks: for a log-linear mixture, what the components say of all words before each token.
    """

    log10_probs: Floats
    ids: Ids
    blocks: Sequence[Foretold] = ()


def _fit(config: MixConfig, dev: _Dev, words: int) -> tuple[Fit, CacheSettings | None]:
    """The best weights, and the best cache if one is wanted."""
    if config.method is Method.LINEAR:
        fit = fit_linear(dev.log10_probs)
        if config.cache is None:
            return fit, None
        return fit_cache(dev.log10_probs, dev.ids, fit.weights, window=config.cache, words=words)
    fit = fit_log_linear(dev.blocks)
    if config.cache is None:
        return fit, None
    # The cache is added to the product: to one distribution, with the weight 1.
    mixed = np.concatenate([block.mixed_ln_probs(fit.weights) for block in dev.blocks]) / LN_10
    alone = np.ones(1)
    cached, cache = fit_cache(mixed[np.newaxis], dev.ids, alone, window=config.cache, words=words)
    return replace(cached, weights=fit.weights), cache


def _read(config: MixConfig, components: Sequence[Component]) -> _Dev:
    readers = [model.reader() for model in components]
    parts: list[Floats] = []
    ids: list[Ids] = []
    tokens = 0
    for lines in _lines(config, components[0]):
        scores = [reader.read(lines) for reader in readers]
        parts.append(np.stack([score.log10_prob for score in scores]))
        ids.append(components[0].encode_texts(lines, eos=True)[0])
        tokens += len(ids[-1])
        if config.dev_tokens is not None and tokens >= config.dev_tokens:
            break
    kept = slice(config.dev_tokens)
    return _Dev(np.concatenate(parts, axis=1)[:, kept], np.concatenate(ids)[kept])


def _read_all(config: MixConfig, components: Sequence[Component]) -> _Dev:
    blocks = list(_foretell(config, components))
    came = np.concatenate([block.came_ln_probs() for block in blocks], axis=1)
    return _Dev(came / LN_10, np.concatenate([block.ids for block in blocks]), blocks)


def _foretell(config: MixConfig, components: Sequence[Component]) -> Iterator[Foretold]:
    """What the components say of all words, before each token of the text."""
    words = len(components[0].vocabulary)
    wanted = config.dev_tokens
    if wanted is None:
        wanted = max(1, min(_FIT_TOKENS, _FIT_NUMBERS // (words * len(components))))
    foreteller = Foreteller(components)
    for lines in _lines(config, components[0]):
        for line in lines:
            foreteller.next_line()
            ids, _ = components[0].encode_texts([line], eos=True)
            for log10_probs, came in foreteller.read(ids):
                yield Foretold.of(log10_probs, came)
                wanted -= len(came)
            if wanted <= 0:
                return


def _lines(config: MixConfig, model: Component) -> Iterator[Sequence[Text]]:
    """The development text, some lines at a time."""
    found = False
    for piece in split(find_files(config.dev), _PIECE_BYTES, config.text_column):
        for block in checked_blocks(piece, model.special_tokens, model.segment):
            lines = block.lines()
            for start in range(0, len(lines), _LINES):
                found = True
                yield lines[start : start + _LINES]
    if not found:
        raise InputError("the input holds no line", "Give text with one sentence a line.")


def _manifest(
    config: MixConfig,
    components: Sequence[Component],
    dev: _Dev,
    fit: Fit,
    cache: CacheSettings | None,
) -> MixtureManifest:
    tokens = len(dev.ids)
    weights = fit.weights.tolist()
    digests = [model.digest for model in components]
    base = os.path.abspath(config.output)
    facts = [
        ComponentFacts(
            path=f"components/{k}" if config.copy else os.path.relpath(path, base),
            digest=digests[k],
            weight=weights[k],
            perplexity=_finite(perplexity(float(dev.log10_probs[k].sum()), tokens)),
        )
        for k, path in enumerate(config.models)
    ]
    total = fit.log_likelihoods[-1] / LN_10 * tokens
    return MixtureManifest(
        method=config.method,
        components=facts,
        cache=cache,
        perplexity=_finite(perplexity(total, tokens)) if fit.possible else None,
        tokens=tokens,
        digest=mixture_digest(config.method, weights, digests, cache),
    )


def _write(config: MixConfig, manifest: MixtureManifest) -> None:
    """Makes the folder; it appears when it is complete."""
    folder = partial_name(config.output)
    folder.mkdir(parents=True)
    try:
        if config.copy:
            for path, facts in zip(config.models, manifest.components, strict=True):
                shutil.copytree(path, folder / facts.path)
        manifest.write(folder)
        folder.rename(config.output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
