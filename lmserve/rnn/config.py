"""What a network is and how it is trained, as people write it and as JSON keeps it."""

import itertools
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0, lt=1)]
Size = Annotated[int, Field(ge=1, le=1 << 16)]


class CellKind(StrEnum):
    """The recurrent cells."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    IRNN = "irnn"
    GRU = "gru"
    LSTM = "lstm"
    MOGRIFIER = "mogrifier"
    MINGRU = "mingru"


class NetworkConfig(BaseModel):
    """A recurrent language model but for its vocabulary.

    Attributes:
        cell: of all layers.
        embedding_size: numbers of a word's vector.
        hidden_size: units of a layer; the last layer has `embedding_size`, where weights are tied.
        layers: one upon the other.
        tied: the output's weights are the word vectors.
        identity_scale: of "irnn", the multiple of the identity that recurrent weights begin as.
        rounds: of "mogrifier", gatings of input and state.
        rank: of "mogrifier", of these gates; None is full.
        output: how probabilities are computed.
        cutoffs: of the adaptive softmax, where clusters begin, counted by falling frequency.
        experts: of the mixture of softmaxes.
        drop_words: word vectors left out, by word.
        drop_inputs: numbers of the first layer's input left out.
        drop_hidden: numbers between layers left out.
        drop_outputs: numbers of the last layer left out.
        drop_weights: recurrent weights left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    cell: CellKind = CellKind.LSTM
    embedding_size: Size = 200
    hidden_size: Size = 200
    layers: Annotated[int, Field(ge=1, le=64)] = 2
    tied: bool = True
    identity_scale: Annotated[float, Field(gt=0)] = 1.0
    rounds: Annotated[int, Field(ge=0, le=64)] = 5
    rank: Size | None = None
    output: Literal["softmax", "adaptive", "mixture"] = "softmax"
    cutoffs: tuple[Annotated[int, Field(ge=1)], ...] = ()
    experts: Annotated[int, Field(ge=1, le=1024)] = 10
    drop_words: Probability = 0.0
    drop_inputs: Probability = 0.0
    drop_hidden: Probability = 0.0
    drop_outputs: Probability = 0.0
    drop_weights: Probability = 0.0

    @model_validator(mode="after")
    def _fits_together(self) -> "NetworkConfig":
        if (self.output == "adaptive") != bool(self.cutoffs):
            raise ValueError(f"output is {self.output!r} with cutoffs {self.cutoffs}")
        if list(self.cutoffs) != sorted(set(self.cutoffs)):
            raise ValueError(f"cutoffs must rise: {self.cutoffs}")
        if self.output == "adaptive" and self.tied:
            raise ValueError("an adaptive softmax has weights of its own: set tied to false")
        if self.hidden_size < 4 ** len(self.cutoffs):
            raise ValueError(
                f"{len(self.cutoffs)} clusters, each of a quarter of the numbers of the one "
                f"before, leave nothing of a layer of {self.hidden_size}"
            )
        return self

    def layer_sizes(self) -> list[tuple[int, int]]:
        """Numbers that go into and come out of each layer."""
        sizes = [self.embedding_size, *[self.hidden_size] * self.layers]
        if self.tied:
            sizes[-1] = self.embedding_size
        return list(itertools.pairwise(sizes))


class TrainingConfig(BaseModel):
    """How a network is trained.

    Attributes:
        batch_size: columns of text read side by side, of all workers together.
        length: words of a column that gradients reach back through.
        vary_length: draw the length anew for every batch, about `length` (Merity et al. 2018).
        epochs: times through the text.
        optimizer: "sgd", "adamw", or "asgd", which is sgd that begins to average its weights when
            the validation perplexity has not improved for `patience` epochs.
        learning_rate: at its highest.
        schedule: how it falls until the end: not at all, in a line or a half cosine to 0, or to a
            quarter whenever an epoch did not improve the validation perplexity.
        warmup: steps in which it rises to its highest.
        weight_decay: of the optimizer.
        patience: of "asgd".
        clip: by the norm of the whole gradient, by each value, or not at all.
        clip_at: the largest norm or value that is let through.
        explosion: a gradient of a norm above this, or not finite, is not applied.
        max_skipped: so many steps in a row that were not applied end the training.
        activation_penalty: of the last layer's outputs, squared (AR, Merity et al. 2017).
        slowness_penalty: of their change from step to step, squared (TAR).
        seed: of the weights and of all that is left out.
        bfloat16: products of the softmax's matrix, the largest of them, in bfloat16.
        compiled: let torch.compile fuse what it can, on a GPU.
        threads: of torch on a CPU, for each worker; None means all processors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    batch_size: Annotated[int, Field(ge=1, le=1 << 20)] = 20
    length: Annotated[int, Field(ge=1, le=1 << 16)] = 35
    vary_length: bool = False
    epochs: Annotated[int, Field(ge=1)] = 20
    optimizer: Literal["sgd", "adamw", "asgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    schedule: Literal["constant", "linear", "cosine", "plateau"] = "cosine"
    warmup: Annotated[int, Field(ge=0)] = 100
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    patience: Annotated[int, Field(ge=1)] = 5
    clip: Literal["norm", "value", "none"] = "norm"
    clip_at: Annotated[float, Field(gt=0)] = 0.25
    explosion: Annotated[float, Field(gt=0)] = 1e4
    max_skipped: Annotated[int, Field(ge=1)] = 10
    activation_penalty: Annotated[float, Field(ge=0)] = 0.0
    slowness_penalty: Annotated[float, Field(ge=0)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=1 << 62)] = 1
    bfloat16: bool = False
    compiled: bool = False
    threads: Annotated[int, Field(ge=1)] | None = None
