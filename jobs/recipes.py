"""Recipes: named networks, how to train them, and what comes of it.

Expected perplexities are of the Penn Treebank (929,589 words of training text, one sentence end a
line, `<unk>` kept), as `lmserve eval` measures them on its test text.
"""

import json
from dataclasses import dataclass
from typing import Annotated

from rich.table import Table
from typer import Option

from jobs.shell import output, run
from lmserve.errors import OptionError
from lmserve.rnn.config import CellKind, NetworkConfig, TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and its training.

    Attributes:
        network: what is trained.
        training: how.
        about: what it is, in a line.
        expected: the test perplexity that it came to, or what the literature says.
        cost: time and machine, or that it was not measured here.
    """

    network: NetworkConfig
    training: TrainingConfig
    about: str
    expected: str
    cost: str


RECIPES = {
    "lstm-small": Recipe(
        network=NetworkConfig(drop_words=0.05, drop_inputs=0.25, drop_hidden=0.2, drop_outputs=0.4),
        training=TrainingConfig(
            optimizer="sgd", learning_rate=20, schedule="linear", epochs=16, bfloat16=True
        ),
        about="LSTM of 2 x 200 units, tied, variational dropout",
        expected="90.9",
        cost="39 minutes on 2 processors",
    ),
    "rnn-small": Recipe(
        network=NetworkConfig(
            cell=CellKind.TANH,
            layers=1,
            embedding_size=300,
            hidden_size=300,
            drop_inputs=0.2,
            drop_outputs=0.4,
        ),
        training=TrainingConfig(
            learning_rate=0.001, clip_at=1, schedule="linear", epochs=16, bfloat16=True
        ),
        about="the lecture's simple network with tanh, 300 units",
        expected="115.4",
        cost="53 minutes on 1 processor",
    ),
    "awd-lstm": Recipe(
        network=NetworkConfig(
            embedding_size=400,
            hidden_size=1150,
            layers=3,
            drop_words=0.1,
            drop_inputs=0.4,
            drop_hidden=0.25,
            drop_outputs=0.4,
            drop_weights=0.5,
        ),
        training=TrainingConfig(
            batch_size=20,
            length=70,
            vary_length=True,
            epochs=500,
            optimizer="asgd",
            learning_rate=30,
            schedule="constant",
            warmup=0,
            weight_decay=1.2e-6,
            activation_penalty=2.0,
            slowness_penalty=1.0,
        ),
        about="AWD-LSTM of Merity, Keskar and Socher 2018, 24 M numbers",
        expected="58.8 in the literature, 57.3 with fine-tuning; not measured here",
        cost="some hours on a GPU; not measured here",
    ),
    "mogrifier": Recipe(
        network=NetworkConfig(
            cell=CellKind.MOGRIFIER,
            embedding_size=850,
            hidden_size=850,
            rounds=5,
            rank=90,
            drop_words=0.1,
            drop_inputs=0.55,
            drop_hidden=0.2,
            drop_outputs=0.55,
            drop_weights=0.2,
        ),
        training=TrainingConfig(
            batch_size=64,
            length=70,
            vary_length=True,
            epochs=300,
            learning_rate=0.003,
            schedule="cosine",
            warmup=400,
            clip_at=10.0,
            weight_decay=1e-4,
            bfloat16=True,
        ),
        about="Mogrifier LSTM after Melis, Kocisky and Blunsom 2020",
        expected="44.9 in the literature with dynamic evaluation; not measured here",
        cost="some hours on a GPU; not measured here",
    ),
}


def recipes(
    name: Annotated[
        str | None, Option("--show", help="Print one recipe's settings as JSON.")
    ] = None,
) -> None:
    """List the named networks that `lmserve train --recipe` knows."""
    if name is not None:
        recipe = find(name)
        settings = {
            "network": recipe.network.model_dump(mode="json"),
            "training": recipe.training.model_dump(mode="json"),
        }
        print(json.dumps(settings, indent=2))  # noqa: T201 - this is the result
        return
    table = Table("recipe", "what", "test perplexity", "cost")
    for key, recipe in RECIPES.items():
        table.add_row(key, recipe.about, recipe.expected, recipe.cost)
    output.print(table)


def find(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        OptionError: there is none.
    """
    if name not in RECIPES:
        raise OptionError(f"recipe is {name!r}", f"Give one of {', '.join(RECIPES)}.")
    return RECIPES[name]


if __name__ == "__main__":
    run(recipes)
