"""Real tokenizers, trained on a small text."""

from pathlib import Path

import sentencepiece
from corpora import zipf_text
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXT = zipf_text(300) + "The caf\u00e9 is closed. na\u00efve \u65e5\u672c\u8a9e\n" * 20


def train_sentencepiece(folder: Path) -> Path:
    """A unigram model of 120 pieces."""
    text = folder / "text.txt"
    text.write_text(TEXT)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "pieces"),
        vocab_size=60,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return folder / "pieces.model"


def byte_level_bpe() -> Tokenizer:
    """A byte-level BPE tokenizer of 400 tokens, as GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    return tokenizer


def train_bpe(folder: Path) -> Path:
    """`byte_level_bpe` in a file."""
    path = folder / "tokenizer-of-ours.json"
    byte_level_bpe().save(str(path))
    return path
