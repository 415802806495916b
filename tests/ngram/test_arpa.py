import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from arpa_text import write_reference_arpa
from corpora import zipf_text
from reference import maximum_likelihood

import lmserve
from lmserve.errors import LmserveError
from lmserve.ngram.arpa import ngrams_of_order, write_arpa
from lmserve.ngram.importing import import_arpa
from lmserve.ngram.model import NgramModel


def read_arpa(path: Path) -> tuple[list[int], list[dict[str, tuple[float, float | None]]]]:
    """The header's counts, and of each order: n-gram -> log10 probability, log10 backoff."""
    counts: list[int] = []
    orders: list[dict[str, tuple[float, float | None]]] = []
    lines = path.read_text().split("\n")
    assert lines[0] == "\\data\\"
    assert lines[-3:] == ["", "\\end\\", ""]
    for line in lines[1:-2]:
        if line.startswith("ngram "):
            counts.append(int(line.partition("=")[2]))
        elif line.startswith("\\"):
            orders.append({})
            assert line == f"\\{len(orders)}-grams:"
        elif line:
            prob, ngram, *backoff = line.split("\t")
            orders[-1][ngram] = float(prob), float(backoff[0]) if backoff else None
    return counts, orders


def test_all_ngrams_are_written_exactly(tiny_model: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "tiny.arpa"
    progress: list[int] = []
    write_arpa(tiny_model, path, progress.append)
    counts, orders = read_arpa(path)
    assert counts == [len(order) for order in orders] == tiny_model.manifest.ngrams
    assert sum(progress) == sum(counts)
    assert orders[0]["<s>"][0] == -99
    for k, order in enumerate(orders, 1):
        for ids, log10_probs, log10_backoffs in ngrams_of_order(tiny_model, k, chunk_rows=1000):
            for row, prob, backoff in zip(ids, log10_probs, log10_backoffs, strict=True):
                ngram = " ".join(tiny_model.vocabulary[word].decode() for word in row)
                if ngram != "<s>":
                    assert np.float32(order[ngram][0]) == prob
                written = order[ngram][1]
                assert np.isnan(backoff) if written is None else np.float32(written) == backoff


def test_the_file_alone_gives_the_same_scores(tiny_model: NgramModel, tmp_path: Path) -> None:
    """Scores by the definition of ARPA models: the longest n-gram, else back off."""
    path = tmp_path / "tiny.arpa"
    write_arpa(tiny_model, path)
    _, orders = read_arpa(path)

    def log10_prob(words: list[str]) -> float:
        found = orders[len(words) - 1].get(" ".join(words))
        if found:
            return found[0]
        context = orders[len(words) - 2].get(" ".join(words[:-1]))
        return log10_prob(words[1:]) + ((context and context[1]) or 0.0)

    for sentence in ("w0 w1 w5 w0", "w3 w3", "w0 zzz w1"):
        words = ["<s>", *sentence.split(), "</s>"]
        known = [word if word in orders[0] else "<unk>" for word in words]
        total = sum(log10_prob(known[max(0, i - 2) : i + 1]) for i in range(1, len(known)))
        assert tiny_model.score(sentence) == pytest.approx(total, rel=1e-5)


def test_probability_0_is_minus_99(tmp_path: Path) -> None:
    sentences = [line.split() for line in zipf_text(100).encode().splitlines()]
    write_reference_arpa(maximum_likelihood(sentences, 2), tmp_path / "reference.arpa")
    import_arpa(tmp_path / "reference.arpa", tmp_path / "model")
    model = lmserve.load(tmp_path / "model")
    assert model.score("never-seen") == -math.inf
    write_arpa(model, tmp_path / "ml.arpa")
    assert "inf" not in (tmp_path / "ml.arpa").read_text()
    _, orders = read_arpa(tmp_path / "ml.arpa")
    assert orders[0]["<unk>"][0] == -99
    assert orders[0]["w0"][1] == -99


def test_links_are_followed(tiny_model: NgramModel, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_arpa(tiny_model, link)
    assert link.is_symlink()
    assert read_arpa(target)[0] == tiny_model.manifest.ngrams


def test_a_fifo_is_written_to_and_stays(tiny_model: NgramModel, tmp_path: Path) -> None:
    fifo, copy = tmp_path / "fifo", tmp_path / "copy"
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: copy.write_bytes(fifo.read_bytes()))
    reader.start()
    write_arpa(tiny_model, fifo)
    reader.join()
    assert fifo.is_fifo()
    assert read_arpa(copy)[0] == tiny_model.manifest.ngrams


def test_what_is_open_already_is_appended_to(tiny_model: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"kept\n")
        file.flush()
        write_arpa(tiny_model, Path(f"/dev/fd/{file.fileno()}"))
    assert path.read_text().startswith("kept\n\\data\\\n")
    assert os.listdir(tmp_path) == ["file"]


def test_minus_is_standard_output(
    tiny_model: NgramModel, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    write_arpa(tiny_model, Path("-"))
    (tmp_path / "copy").write_bytes(capfdbinary.readouterr().out)
    assert read_arpa(tmp_path / "copy")[0] == tiny_model.manifest.ngrams


@pytest.mark.parametrize("name", ["none/tiny.arpa", "file/tiny.arpa", "folder", "/dev/full"])
def test_a_file_that_cannot_be_written_is_named(
    tiny_model: NgramModel, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = tmp_path / name  # An absolute name stays as it is.
    with pytest.raises(LmserveError, match=f"cannot write {path}: ") as error:
        write_arpa(tiny_model, path)
    assert "Name a file" in error.value.remedy


def test_nothing_is_left_of_a_file_that_was_not_finished(
    tiny_model: NgramModel, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.arpa"
    path.write_text("old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_arpa(tiny_model, path, interrupt)
    assert os.listdir(tmp_path) == ["tiny.arpa"]
    assert path.read_text() == "old"
