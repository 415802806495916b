"""What `lmserve info` says of a model: a table of its parts, and facts."""

from typing import TYPE_CHECKING

from rich.table import Table

from lmserve.ngram.model import NgramModel

if TYPE_CHECKING:
    # Needs torch, which only who has a recurrent model has.
    from lmserve.rnn.manifest import RecurrentManifest

Facts = dict[str, object]


def describe_ngrams(model: NgramModel, title: str) -> tuple[Table, Facts]:
    """Of an n-gram model: its orders; where it comes from, how it is kept, sizes."""
    manifest = model.manifest
    table = Table("order", "n-grams", "D1", "D2", "D3+", title=f"{title}: {manifest.smoothing}")
    for k, count in enumerate(manifest.ngrams, 1):
        discounts = manifest.discounts[k - 1] if manifest.discounts else ()
        table.add_row(str(k), f"{count:,}", *(f"{d:.4f}" for d in discounts))
    size_bytes = sum(file.size_bytes for file in manifest.files.values())
    per_ngram = size_bytes / sum(manifest.ngrams)
    facts: Facts = {
        "built from": f"{manifest.words:,} words in {manifest.sentences:,} sentences"
        if manifest.sentences
        else "ARPA text",
        "values": f"codes of {manifest.quantized_bits} bits"
        if manifest.quantized_bits
        else "exact",
        "left out below": ", then ".join(f"{rise:g}" for rise in manifest.entropy_pruning)
        or "nothing by entropy",
        "vocabulary": f"{manifest.ngrams[0]:,} words",
        "special tokens": manifest.special_tokens,
        "tokens": str(manifest.tokenization),
        "size": f"{size_bytes / 1e6:,.1f} MB, {per_ngram:.1f} bytes an n-gram",
    }
    facts["hash index"] = (
        f"{model.index.slots.nbytes / 1e6:,.1f} MB: texts are scored faster"
        if model.index
        else "none: lmserve index adds one, and texts are scored faster"
    )
    facts |= {name: f"{file.size_bytes:,} bytes" for name, file in manifest.files.items()}
    return table, facts


def describe_recurrent(manifest: "RecurrentManifest", title: str) -> tuple[Table, Facts]:
    """Of a network: what its epochs came to; what it is, and how it was trained."""
    network, training = manifest.network, manifest.training
    table = Table(
        "epoch", "perplexity in training", "of validation text", "seconds",
        title=f"{title}: {network.cell}",
    )  # fmt: skip
    for epoch in manifest.epochs:
        table.add_row(
            str(epoch.epoch),
            f"{epoch.train_perplexity:,.2f}",
            f"{epoch.valid_perplexity:,.2f}" + (", averaged" if epoch.averaged else ""),
            f"{epoch.seconds:,.1f}",
        )
    sizes = " -> ".join(str(size) for size in (network.embedding_size, *_outputs(manifest)))
    facts: Facts = {
        "trained on": f"{manifest.tokens:,} tokens, sentence ends included",
        "layers": f"{network.layers} of {network.cell}, sizes {sizes}",
        "output": network.output + (", tied to the word vectors" if network.tied else ""),
        "parameters": f"{manifest.parameters:,}",
        "optimizer": f"{training.optimizer}, learning rate {training.learning_rate:g}, "
        f"{training.schedule}; clipped by {training.clip} at {training.clip_at:g}",
        "batches": f"{training.batch_size} columns of {training.length} words",
        "vocabulary": f"{manifest.words:,} words",
        "special tokens": manifest.special_tokens,
        "tokens": str(manifest.tokenization),
    }
    return table, facts


def _outputs(manifest: "RecurrentManifest") -> list[int]:
    return [outputs for _, outputs in manifest.network.layer_sizes()]
