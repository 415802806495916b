"""Options by which a network goes on adapting to the text it is evaluated on."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from typer import Option

from lmserve.errors import OptionError
from lmserve.language_model import LanguageModel, Reader
from lmserve.text.pieces import Piece

Dynamic = Annotated[
    bool, Option("--dynamic", help="Let a copy of the network go on learning from the text.")
]
DynamicRule = Annotated[
    Literal["rms", "sgd"] | None,
    Option(help="Divide gradients by their usual size, or not.", show_default="rms"),
]
DynamicRate = Annotated[float | None, Option(help="Of learning.", show_default="0.005; 1 with sgd")]
DynamicDecay = Annotated[
    float | None, Option(help="Of what was learned, 0 to 1.", show_default="0.002")
]
DynamicEpsilon = Annotated[
    float | None, Option(help="Least size of a gradient, with rms.", show_default="0.001")
]
DynamicLength = Annotated[int | None, Option(help="Words between updates.", show_default="20")]
DynamicText = Annotated[
    list[str] | None,
    Option(
        help="Text, such as the training text, to take the usual size of gradients from.",
        show_default="what was read so far",
    ),
]
Cache = Annotated[
    bool, Option("--cache", help="Let a network look up the words of similar states before.")
]
CacheWindow = Annotated[int | None, Option(help="Words it remembers.", show_default="2000")]
CacheTheta = Annotated[float | None, Option(help="How similar states must be.", show_default="1")]
CacheWeight = Annotated[
    float | None, Option(help="Of what is remembered, below 1.", show_default="0.1")
]

# Options of the same reader; None is one that was not given.
Options = Mapping[str, Any]


def adapting_reader(
    model: LanguageModel,
    *,
    dynamic: Options | None,
    cache: Options | None,
    statistics: Sequence[Piece],
) -> Reader:
    """What reads a text with a network that adapts to it.

    Args:
        model: a recurrent model.
        dynamic: of `DynamicConfig`; None is no dynamic evaluation.
        cache: of `CacheConfig`; None is no cache.
        statistics: for dynamic evaluation, text to take the mean squares of gradients from.

    Raises:
        OptionError: the model is no recurrent one, both are asked for, or a value is out of range.
        InputError: `statistics` cannot be read.
    """
    if dynamic is not None and cache is not None:
        raise OptionError("--dynamic and --cache are asked for", "Give one of them.")
    _check_recurrent(model, "--cache" if dynamic is None else "--dynamic")
    # Only who has a recurrent model has torch.
    from lmserve.rnn.corpus import read_rows
    from lmserve.rnn.dynamic import DynamicConfig, DynamicReading, mean_squares
    from lmserve.rnn.neural_cache import CacheConfig, CachedReading
    from lmserve.rnn.reading import Reading
    from lmserve.rnn.scoring import RecurrentModel, RunningReader

    assert isinstance(model, RecurrentModel)
    network, eos = model.network, model.numbering.eos
    reading: Reading
    if dynamic is None:
        reading = CachedReading(network, eos, CacheConfig(**_given(cache or {})))
    else:
        config, squares = DynamicConfig(**_given(dynamic)), None
        if statistics:
            rows = read_rows(statistics, model.vocabulary, model.special_tokens, model.segment)
            squares = mean_squares(network, eos, rows, config.length)
        reading = DynamicReading(network, eos, config, squares)
    return RunningReader(model, reading)


def check_unused(switch: str, options: Options) -> None:
    """Refuses options that say how to do what was not asked for."""
    for name in _given(options):
        raise OptionError(
            f"{switch}-{name} is given without {switch}", f"Give {switch} as well, or leave it out."
        )


def _check_recurrent(model: LanguageModel, switch: str) -> None:
    # Asked by its manifest, so that other models can be refused without torch.
    kind = getattr(getattr(model, "manifest", None), "kind", None)
    if kind != "rnn":
        raise OptionError(
            f"{switch} is for recurrent models; this one has no state that goes on learning",
            f"Leave out {switch}, or name a folder written by 'lmserve train'. Models of all kinds "
            "have a cache in a mixture: 'lmserve mix --cache'.",
        )


def _given(options: Options) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
