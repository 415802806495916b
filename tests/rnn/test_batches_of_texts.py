"""A text's score does not depend on the texts beside it, but for float32's rounding."""

import numpy as np
import pytest

from lmserve.rnn.scoring import RecurrentModel

# Of a word's log10 P: sums of float32 are rounded otherwise in matrices of another size.
TOLERANCE = 1e-5
TEXTS = [f"{'w0 w3 ' * (i % 7)}w{i} w1 {'unheard-of' * (i % 2)}" for i in range(40)] + ["", "w1"]


@pytest.mark.parametrize("bos", [True, False])
def test_texts_score_alone_as_they_do_in_a_batch(recurrent: RecurrentModel, bos: bool) -> None:
    together = recurrent.score_tokens(TEXTS, bos=bos)
    alone = [recurrent.score_tokens([text], bos=bos).log10_prob for text in TEXTS]
    np.testing.assert_allclose(together.log10_prob, np.concatenate(alone), rtol=TOLERANCE)


def test_words_of_a_batch_are_those_of_each_text(recurrent: RecurrentModel) -> None:
    for text, words in zip(TEXTS, recurrent.score_words_of(TEXTS, eos=False), strict=True):
        expected = recurrent.score_words(text, eos=False)
        assert [word[1:] for word in words] == [word[1:] for word in expected]
        assert [word.log10_prob for word in words] == pytest.approx(
            [word.log10_prob for word in expected], rel=TOLERANCE
        )
