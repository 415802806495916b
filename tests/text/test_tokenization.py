import hashlib
import json
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers_made import byte_level_bpe, train_bpe, train_sentencepiece

from lmserve.errors import CorruptModelError, DependencyError, OptionError
from lmserve.text import tokenization
from lmserve.text.characters import split_characters
from lmserve.text.normalizing import Normalization, normalize
from lmserve.text.tokenization import Tokenization, identity

anything = st.lists(
    st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=4)
    | st.sampled_from([b" ", b"\t", b"\r", b"\n", "\u00a0".encode(), "\ufb01".encode(), b"A"]),
    max_size=12,
).map(b"".join)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tokenizers")
    return {"sentencepiece": train_sentencepiece(folder), "huggingface": train_bpe(folder)}


def opened(
    tokenizer: Path | str, folder: Path, normalization: str = "none"
) -> tokenization.Segment:
    chosen = Tokenization.choose(str(tokenizer), normalization)
    chosen.keep(Path(tokenizer), folder)
    return chosen.open(folder)


def plain_characters(line: bytes) -> bytes:
    """Tokens of one line, the slow way."""
    tokens, pending = [], False
    for char in line.decode("utf-8", "surrogateescape"):
        if char in " \t\r":
            pending = bool(tokens)
            continue
        tokens += [b"\xe2\x96\x81"] * pending + [char.encode("utf-8", "surrogateescape")]
        pending = False
    return b" ".join(tokens)


@given(anything)
@example(b"\xe0\x80\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xc1\xbf \xe2\x82 \xf0\x9f\x98\x80")
def test_characters_are_those_of_python(data: bytes) -> None:
    expected = b"\n".join(map(plain_characters, data.split(b"\n")))
    assert split_characters(data) == expected


@given(anything)
def test_normalisation_is_that_of_unicode(data: bytes) -> None:
    lower, nfkc = normalize(data, [Normalization.LOWER]), normalize(data, [Normalization.NFKC])
    for changed in (lower, nfkc):
        assert changed.count(b"\n") == data.count(b"\n")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    assert nfkc.decode() == unicodedata.normalize("NFKC", text)
    # Python's lower case looks at neighbours, and may make two letters of one.
    # Arrow's Unicode may be newer than Python's, and know letters that this one does not.
    plain = (len(c.lower()) == 1 and unicodedata.category(c) != "Cn" for c in text)
    simple = [c.lower() if is_plain else "" for c, is_plain in zip(text, plain, strict=True)]
    assert all(a in ("", b) for a, b in zip(simple, lower.decode(), strict=True))


def test_invalid_bytes_pass_unchanged() -> None:
    data = "\u00c9A".encode() + b"\xff\xc3" + "\ufb01 ".encode() + b"\xed\xa0\x80B\n"
    steps = [Normalization.NFKC, Normalization.LOWER]
    assert normalize(data, steps) == "\u00e9a".encode() + b"\xff\xc3fi \xed\xa0\x80b\n"
    assert normalize(data, steps[:1]).count(b"A") == 1


def test_the_order_of_steps_counts() -> None:
    # A capital that has a compatibility form only: MATHEMATICAL BOLD CAPITAL A.
    bold = "\U0001d400".encode()
    assert Tokenization.choose("whitespace", "nfkc,lower").open(Path())(bold) == b"a\n"
    assert Tokenization.choose("whitespace", "lower,nfkc").open(Path())(bold) == b"A\n"


def test_words_of_plain_text_are_not_copied() -> None:
    data = b"a  b\r\n"
    assert Tokenization().open(Path()) is identity
    assert identity(data) is data


@pytest.mark.parametrize("name", ["characters", "sentencepiece", "huggingface"])
@given(data=anything)
@example(data=b" \t\r")
@example(data=b"")
@example(data=b"\n\n")
def test_lines_stay_lines(made: dict[str, Path], name: str, data: bytes) -> None:
    chosen = Tokenization.choose(str(made.get(name, name)))
    segment = cached_segment(chosen, made.get(name))
    lines = data.count(b"\n") + (1 if data and not data.endswith(b"\n") else 0)
    whole = segment(data)
    assert whole.count(b"\n") == lines
    assert whole == b"" or whole.endswith(b"\n")
    # A line's tokens do not depend on other lines.
    ended = data.removesuffix(b"\n") if data.endswith(b"\n") else data
    parts = ended.split(b"\n") if data else []
    assert whole == b"".join(segment(part + b"\n") for part in parts)


_segments: dict[Tokenization, tokenization.Segment] = {}


def cached_segment(chosen: Tokenization, path: Path | None) -> tokenization.Segment:
    if chosen not in _segments:
        folder = path.parent / "model" if path else Path()
        if path:
            folder.mkdir(exist_ok=True)
            chosen.keep(path, folder)
        _segments[chosen] = chosen.open(folder)
    return _segments[chosen]


def test_sentencepiece_pieces_are_those_of_the_package(
    made: dict[str, Path], tmp_path: Path
) -> None:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(made["sentencepiece"]))
    text = "The caf\u00e9 is w1 w22 <s>"
    tokens = opened(made["sentencepiece"], tmp_path)(f"{text}\r\n".encode()).decode().split()
    assert tokens == processor.encode(text, out_type=str)
    assert processor.decode(tokens) == text


def test_huggingface_tokens_are_those_of_the_package(made: dict[str, Path], tmp_path: Path) -> None:
    text = "The caf\u00e9 is\tw1 w22"
    tokens = opened(made["huggingface"], tmp_path)(f"{text}\r\n".encode()).decode().split()
    assert tokens == byte_level_bpe().encode(text).tokens
    assert "\u0120w" in tokens


def test_padding_truncation_and_chance_are_switched_off(tmp_path: Path) -> None:
    noisy = byte_level_bpe()
    noisy.enable_padding(length=50)
    noisy.enable_truncation(3)
    noisy.model.dropout = 0.9
    path = tmp_path / "noisy.json"
    noisy.save(str(path))
    folder = tmp_path / "model"
    folder.mkdir()
    text = "the words w1 w22 w333 again and again"
    expected = " ".join(byte_level_bpe().encode(text).tokens)
    assert opened(path, folder)(text.encode()).decode() == expected + "\n"


def test_spaces_inside_a_token_become_symbols(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    whole_lines = Tokenizer(models.WordLevel({"a b\tc": 0, "?": 1}, unk_token="?"))
    path = tmp_path / "lines.json"
    whole_lines.save(str(path))
    folder = tmp_path / "model"
    folder.mkdir()
    assert opened(path, folder)(b"a b\tc\nx\n").decode() == "a\u2581b\u2409c\n?\n"


def test_bytes_that_are_no_utf8_become_replacement_characters(
    made: dict[str, Path], tmp_path: Path
) -> None:
    segment = opened(made["huggingface"], tmp_path)
    assert segment(b"a\xff\n") == segment("a\ufffd\n".encode())


@pytest.mark.parametrize(
    ("tokenizer", "normalization", "message"),
    [
        ("words", "none", "tokenizer is 'words': unknown"),
        ("no.json", "none", "there is no such file"),
        ("whitespace", "upper", "normalize is 'upper'"),
        ("whitespace", "lower,,nfkc", "normalize is"),
    ],
)
def test_what_cannot_be_chosen(tokenizer: str, normalization: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as error:
        Tokenization.choose(tokenizer, normalization)
    assert "Give" in error.value.remedy


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04K\x01.", b"no tokenizer"])
@pytest.mark.parametrize("suffix", [".json", ".model"])
def test_files_that_are_no_tokenizers(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"tokenizer{suffix}"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=r"is no (SentencePiece model|Hugging Face)"):
        Tokenization.choose(str(path))


def test_a_file_larger_than_any_tokenizer_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenization, "_MAX_FILE_BYTES", 10)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b"x" * 11)
    with pytest.raises(OptionError, match="has 11 bytes"):
        Tokenization.choose(str(path))


@pytest.mark.parametrize(
    ("package", "name"), [("sentencepiece", "sentencepiece"), ("tokenizers", "huggingface")]
)
def test_a_missing_package_is_named(
    made: dict[str, Path], package: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=f"needs the package {package}") as error:
        Tokenization.choose(str(made[name]))
    assert "lmserve[tokenizers]" in error.value.remedy


def test_the_kept_file_is_checked(made: dict[str, Path], tmp_path: Path) -> None:
    chosen = Tokenization.choose(str(made["huggingface"]))
    with pytest.raises(CorruptModelError, match="it is missing"):
        chosen.open(tmp_path)
    chosen.keep(made["huggingface"], tmp_path)
    path = tmp_path / "tokenizer.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == chosen.sha256
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(CorruptModelError, match="its SHA-256 is"):
        chosen.open(tmp_path)


def test_settings_survive_json(made: dict[str, Path]) -> None:
    chosen = Tokenization.choose(str(made["sentencepiece"]), "nfkc,lower")
    assert Tokenization.model_validate_json(chosen.model_dump_json()) == chosen
    assert Tokenization.model_validate(json.loads("{}")) == Tokenization()
    for wrong in ({"tokenizer": "huggingface"}, {"sha256": "0" * 64}, {"tokenizer": "pickle"}):
        with pytest.raises(ValidationError):
            Tokenization.model_validate(wrong)


@pytest.mark.parametrize("name", ["characters", "sentencepiece", "huggingface"])
def test_a_line_of_a_million_words(made: dict[str, Path], name: str) -> None:
    chosen = Tokenization.choose(str(made.get(name, name)))
    segment = cached_segment(chosen, made.get(name))
    # Long lines are split by their tokenizer at spaces: the middle repeats itself.
    tokens = np.array(segment(b"w1 " * (10**6 if name == "characters" else 10**4)).split())
    length = len(segment(b"w1 w1\n").split()) - len(segment(b"w1\n").split())
    assert (tokens[length : 2 * length] == tokens[2 * length : 3 * length]).all()
