"""The metrics of a training."""

from lmserve.metrics.declaration import Declaration, Sharing, counter, gauge

LABELS = ("run", "cell")


def _gauge(name: str, about: str, *labels: str) -> Declaration:
    name = f"lmserve_training_{name}"
    return gauge(name, about, *LABELS, *labels, sharing=Sharing.LATEST)


PERPLEXITY = _gauge("perplexity", "Of the last steps, or of all valid text.", "split")
TOKENS_PER_SECOND = _gauge("tokens_per_second", "Words learned from, of all workers.")
GRADIENT_NORM = _gauge(
    "gradient_norm", "Of the synchronised gradient, mean of the last steps.", "clipping"
)
GRADIENT_NORM_MAX = _gauge("gradient_norm_max", "The largest of the last steps.")
GRADIENT_GROUP_NORM = _gauge("gradient_group_norm", "Before clipping, by parameter group.", "group")
CLIPPED = _gauge("clipped_ratio", "Part of the last steps that were clipped.")
LEARNING_RATE = _gauge("learning_rate", "Of the last step.")
PROGRESS = _gauge("progress_ratio", "Part of all epochs that is done.")
MEMORY_HORIZON = _gauge(
    "memory_horizon_words", "Lag at which a state's gradient is below 1%.", "layer"
)
STEPS = _gauge("steps", "Updates tried.")
SKIPPED_STEPS = counter(
    "lmserve_training_skipped_steps",
    "Updates not applied, as the gradient had exploded.",
    *LABELS,
)
