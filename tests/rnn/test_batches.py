"""A text in columns: every word is predicted once, from the one before it."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmserve.rnn.batches import Columns, lengths
from lmserve.rnn.cross_entropy import IGNORED

TEXTS = st.lists(st.integers(0, 50), min_size=1, max_size=120)


@given(rows=TEXTS, batch=st.integers(1, 9), length=st.integers(1, 12))
def test_every_word_is_a_target_once(rows: list[int], batch: int, length: int) -> None:
    text = Columns(np.array(rows), 7, batch)
    found: list[list[int]] = [[] for _ in range(batch)]
    seen: list[list[int]] = [[] for _ in range(batch)]
    start = counted = 0
    for now in lengths(len(text), length):
        part = text.batch(start, now)
        counted += text.targets_in(start, now)
        for column in range(batch):
            found[column] += part.targets[:, column].tolist()
            seen[column] += part.words[:, column].tolist()
        start += now
    assert start == len(text)
    targets = [word for column in found for word in column]
    assert targets[: len(rows)] == rows
    assert set(targets[len(rows) :]) <= {IGNORED}
    assert counted == len(rows) == text.tokens
    words = [word for column in seen for word in column]
    assert words[: len(rows)] == [7, *rows[:-1]]


@given(rows=TEXTS, share=st.integers(1, 4), workers=st.integers(1, 4))
def test_workers_share_all_columns(rows: list[int], share: int, workers: int) -> None:
    text = Columns(np.array(rows), 7, share * workers)
    parts = [text.batch(0, 5, text.part(rank, workers)).targets for rank in range(workers)]
    torch.testing.assert_close(torch.cat(parts, 1), text.batch(0, 5).targets)


@given(steps=st.integers(1, 3000), seed=st.integers(0, 99))
def test_drawn_lengths_add_up_and_are_the_same_again(steps: int, seed: int) -> None:
    drawn = list(lengths(steps, 70, seed))
    assert sum(drawn) == steps
    assert drawn == list(lengths(steps, 70, seed))
    assert all(5 <= length < 120 for length in drawn[:-1])


def test_drawn_lengths_are_mostly_about_the_given_one() -> None:
    drawn = np.array(list(lengths(70_000, 70, 1))[:-1])
    assert abs(np.median(drawn) - 70) < 3
    assert 0.01 < (drawn < 50).mean() < 0.1
