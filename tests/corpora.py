"""Small artificial texts that look enough like language to be estimated."""

import itertools
import random


def zipf_text(sentences: int, *, seed: int = 1, words: int = 2000, length: int = 12) -> str:
    """Sentences of words w0, w1, ... drawn by Zipf's law, with some phrases that come again."""
    rng = random.Random(seed)
    names = [f"w{i}" for i in range(words)]
    cumulated = list(itertools.accumulate(1 / (i + 1) for i in range(words)))
    phrases = [rng.choices(names, cum_weights=cumulated, k=7) for _ in range(words)]
    lines = []
    for _ in range(sentences):
        line: list[str] = []
        while len(line) < length and rng.random() < 0.9:
            if rng.random() < 0.3:
                line += rng.choices(phrases, cum_weights=cumulated)[0]
            else:
                line += rng.choices(names, cum_weights=cumulated, k=2)
        lines.append(" ".join(line))
    return "\n".join(lines) + "\n"
