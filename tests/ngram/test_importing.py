"""ARPA text of every origin becomes a model that scores by it."""

import bz2
import gzip
import itertools
import lzma
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from arpa_text import write_reference_arpa
from corpora import zipf_text
from hypothesis import given
from hypothesis import strategies as st
from lmplz import LMPLZ
from reference import ReferenceModel

import lmserve
from lmserve.errors import InputError, ModelError
from lmserve.ngram.arpa import write_arpa
from lmserve.ngram.arpa_formatting import format_number
from lmserve.ngram.arpa_parsing import parse_number
from lmserve.ngram.importing import import_arpa
from lmserve.ngram.model import NgramModel

# What SRILM may write: no <unk>, spaces and tabs, backoffs missing, lower orders incomplete.
SPARSE = """
a comment may stand before

\\data\\
ngram 1=5
ngram 2=2
ngram 3=2

\\1-grams:
-99\t<s>\t-0.5
-1.0\t</s>
-0.7\ta\t-0.3
-0.8 b -0.2
-0.9\tc

\\2-grams:
-0.4\t<s> a\t-0.1
-0.6\ta b

\\3-grams:
-0.25 <s> a b
-0.35\tb c </s>

\\end\\
"""


def from_text(text: str, folder: Path) -> NgramModel:
    (folder / "some.arpa").write_text(text)
    import_arpa(folder / "some.arpa", folder / "model")
    return lmserve.load(folder / "model", check=True)


def test_an_export_imported_is_the_same_model(tiny_model: NgramModel, tmp_path: Path) -> None:
    write_arpa(tiny_model, tmp_path / "tiny.arpa")
    manifest = import_arpa(tmp_path / "tiny.arpa", tmp_path / "again")
    assert manifest.digest == tiny_model.digest
    write_arpa(lmserve.load(tmp_path / "again"), tmp_path / "again.arpa")
    assert (tmp_path / "again.arpa").read_bytes() == (tmp_path / "tiny.arpa").read_bytes()


def test_the_order_of_lines_does_not_matter(reference: ReferenceModel, tmp_path: Path) -> None:
    write_reference_arpa(reference, tmp_path / "a.arpa")
    lines = (tmp_path / "a.arpa").read_text().split("\n")
    heads = [i for i, line in enumerate(lines) if line.startswith("\\")][1:]
    for begin, end in itertools.pairwise(heads):
        lines[begin + 1 : end - 1] = lines[begin + 1 : end - 1][::-1]
    (tmp_path / "b.arpa").write_text("\n".join(lines).replace("\n", "\r\n"))
    digests = {import_arpa(tmp_path / f"{n}.arpa", tmp_path / n).digest for n in ("a", "b")}
    assert len(digests) == 1


def test_missing_lower_orders_are_backed_off_to(tmp_path: Path) -> None:
    model = from_text(SPARSE, tmp_path)
    # b c and c </s> are added: the first begins, the second ends b c </s>.
    assert model.manifest.ngrams == [6, 4, 2]
    assert model.manifest.smoothing == "imported"
    found = [(w.log10_prob, w.ngram_length) for w in model.score_words("a b c")]
    # <s> a; <s> a b; c after a b backs off by nothing, then by b; b c </s>.
    expected = [(-0.4, 2), (-0.25, 3), (-0.2 - 0.9, 2), (-0.35, 3)]
    assert [length for _, length in found] == [length for _, length in expected]
    assert [p for p, _ in found] == pytest.approx([p for p, _ in expected], abs=1e-6)
    assert model.score("zzz", eos=False) == pytest.approx(-100.5)


def test_a_backoff_counts_though_nothing_follows(tmp_path: Path) -> None:
    model = from_text(SPARSE.replace("-0.9\tc", "-0.9\tc\t-0.4"), tmp_path)
    score, state = model.score_word(model.null_state(), "c")
    assert score.log10_prob == pytest.approx(-0.9)
    assert model.score_word(state, "a")[0].log10_prob == pytest.approx(-0.4 - 0.7)
    assert model.score("c a", bos=False, eos=False) == pytest.approx(-0.9 - 0.4 - 0.7)


def test_unk_in_capitals(tmp_path: Path) -> None:
    text = SPARSE.replace("ngram 1=5", "ngram 1=6").replace("-0.9\tc", "-0.9\tc\n-2.5\t<UNK>")
    model = from_text(text.replace("<s> a b", "<s> a <UNK>"), tmp_path)
    assert model.score("zzz", bos=False, eos=False) == pytest.approx(-2.5)
    assert model.score_words("a zzz")[1].ngram_length == 3


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files(tmp_path: Path, suffix: str, compress: object) -> None:
    path = tmp_path / f"some.arpa{suffix}"
    path.write_bytes(compress(SPARSE.encode()))  # type: ignore[operator]
    assert import_arpa(path, tmp_path / "model").ngrams == [6, 4, 2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-0.6\ta b", "0.6\ta b", "line 18: its log10 probability is positive.*'0.6.ta b'"),
        ("-0.6\ta b", "nan\ta b", "line 18: it begins with no log10 probability"),
        ("-0.6\ta b", "-0.6\ta", "line 18: it has too few words"),
        ("-0.6\ta b", "-0.6\ta zzz", "line 18: a word of it is not among the 1-grams"),
        ("-0.6\ta b", "-0.6\ta b\tnan", "line 18: its backoff weight is no number"),
        ("-0.6\ta b", "-0.6\ta b -1 -2", "line 18: something follows its backoff weight"),
        ("-0.7\ta", "-0.7x\ta", "line 12: it begins with no log10 probability"),
        ("-0.6\ta b", "-0.6\t<s> a", "the 2-gram '<s> a' is there twice"),
        ("-0.9\tc", "-0.9\tb", "1 words stand twice among the 1-grams"),
        ("ngram 2=2", "ngram 2=900000000000", "2 2-grams are there, its header says 900,000,"),
        ("ngram 2=2", "ngram 2=x", "line 6: b'ngram 2=x' where the number of 2-grams"),
        ("\\2-grams:", "\\3-grams:", "line 16: the 3-grams begin where those of order 1 or 2"),
        ("\\2-grams:", "\\2-gram:", "line 16: .* is no head of a section"),
        ("\\end\\", "", "it was cut short"),
        ("\\data\\", "", "is no ARPA file"),
        ("-1.0\t</s>", "-1.0\td", "has no </s>"),
    ],
)
def test_wrong_files_are_told_what_is_wrong(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        from_text(SPARSE.replace(old, new), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["some.arpa"]


def test_an_output_that_exists(tmp_path: Path) -> None:
    from_text(SPARSE, tmp_path)
    with pytest.raises(ModelError, match="exists already"):
        import_arpa(tmp_path / "some.arpa", tmp_path / "model")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numbers_are_read_as_they_were_written(value: float) -> None:
    text = np.zeros(32, np.uint8)
    end = format_number(text, 0, np.float32(value))
    written = text[:end].tobytes()
    assert np.float32(float(written)) == np.float32(value)
    assert parse_number(text, 0, end)[0]
    assert np.float32(parse_number(text, 0, end)[1]) == np.float32(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("-2.5", -2.5), ("+1e-3", 1e-3), (".5", 0.5), ("7.", 7.0), ("-inf", -np.inf), ("1E2", 100.0)],
)
def test_numbers(text: str, value: float) -> None:
    data = np.frombuffer(text.encode(), np.uint8)
    assert parse_number(data, 0, len(data)) == (True, value)


@pytest.mark.parametrize("text", ["", "-", ".", "1e", "1.2.3", "0x1", "nan", "1,5", "e5", "infx"])
def test_no_numbers(text: str) -> None:
    data = np.frombuffer(text.encode(), np.uint8)
    assert not parse_number(data, 0, len(data))[0]


def _totals(answer: bytes) -> list[float]:
    lines = answer.decode().split("\n")
    return [float(line.split()[1]) for line in lines if line.startswith("Total:")]


def kenlm(program: str) -> str:
    """One of KenLM's programs: beside lmplz, wherever that is."""
    found = LMPLZ and shutil.which(program, path=Path(LMPLZ).parent)
    if not found:
        pytest.skip(f"{program} of KenLM is not here: set LMSERVE_LMPLZ to its lmplz")
    return found


def test_a_model_of_lmplz_scores_as_in_kenlm(tiny_text: Path, tmp_path: Path) -> None:
    arpa = tmp_path / "lmplz.arpa"
    estimate = [kenlm("lmplz"), "-o", "4", "--discount_fallback", "-S", "100M", "-T", str(tmp_path)]
    with tiny_text.open("rb") as text, arpa.open("wb") as output:
        subprocess.run(estimate, stdin=text, stdout=output, stderr=subprocess.DEVNULL, check=True)
    query = [kenlm("query"), "-v", "sentence", str(arpa)]
    texts = zipf_text(100, seed=7) + "w0 zzz w1\n"
    answer = subprocess.run(query, input=texts.encode(), capture_output=True, check=True)
    theirs = _totals(answer.stdout)
    import_arpa(arpa, tmp_path / "model")
    model = lmserve.load(tmp_path / "model")
    ours = model.score_texts(texts.removesuffix("\n").split("\n")).log10_prob
    assert ours == pytest.approx(np.array(theirs), abs=2e-4)
    # And back: KenLM reads what an export writes.
    write_arpa(model, tmp_path / "export.arpa")
    query[-1] = str(tmp_path / "export.arpa")
    answer = subprocess.run(query, input=texts.encode(), capture_output=True, check=True)
    assert _totals(answer.stdout) == theirs
