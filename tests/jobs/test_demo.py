"""The main job, end to end, on a real Ray and a real service."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from corpora import zipf_text

import lmserve
from jobs.demo import demo as run_demo
from lmserve.errors import InputError, LmserveError, OptionError


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("demo")
    corpus = folder / "corpus.txt"
    # Words without figures, as the examples are made of such.
    names = str.maketrans("0123456789", "abcdefghij")
    marked = "<s> this line has marks in it </s>\n"
    corpus.write_text(marked + zipf_text(4000, length=10).translate(names))
    command = [sys.executable, "-m", "jobs.demo", "--corpus", str(corpus)]
    command += ["--folder", str(folder / "out")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    return folder / "out", result.stdout, result.stderr


def test_it_leaves_text_and_model(demo: tuple[Path, str, str]) -> None:
    folder, _, _ = demo
    training = (folder / "train.txt").read_text().splitlines()
    held_out = (folder / "held-out.txt").read_text().splitlines()
    assert len(training) > 10 * len(held_out) > 0
    assert not set(training) & set(held_out)
    assert lmserve.load(folder / "model", check=True).order == 5


def test_every_sentence_is_answered(demo: tuple[Path, str, str]) -> None:
    folder, stdout, _ = demo
    sentences = len((folder / "held-out.txt").read_text().splitlines())
    passes = re.findall(r"(lines|table): ([\d,]+) answers to ([\d,]+) sentences", stdout)
    numbers = {name: [int(x.replace(",", "")) for x in rest] for name, *rest in passes}
    assert numbers == {"lines": [sentences, sentences], "table": [sentences, sentences]}


def test_fluent_text_is_less_surprising_than_nonsense(demo: tuple[Path, str, str]) -> None:
    _, stdout, _ = demo
    rows = re.findall(r"(fluent|shuffled|nonsense) +│ ([\d,]+) ", stdout)
    perplexity = {kind: float(value.replace(",", "")) for kind, value in rows}
    assert perplexity["fluent"] < perplexity["nonsense"]


def test_it_says_how_to_go_on_and_nothing_of_ray(demo: tuple[Path, str, str]) -> None:
    _, stdout, stderr = demo
    assert "lmserve build my-text.txt" in stdout
    assert "raylet" not in stdout + stderr
    assert "Traceback" not in stderr


def test_a_folder_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "train.txt"
    text.write_text("mine\n")
    with pytest.raises(OptionError, match="lies in") as error:
        run_demo(corpus=text, folder=tmp_path)
    assert "--folder" in error.value.remedy
    for corpus in (None, Path("/dev/null")):
        with pytest.raises(OptionError, match="not the demo's"):
            run_demo(corpus=corpus, folder=tmp_path)
    assert text.read_text() == "mine\n"
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


def test_a_corpus_in_the_demos_own_folder_is_refused(demo: tuple[Path, str, str]) -> None:
    folder, _, _ = demo
    before = (folder / "train.txt").read_bytes()
    with pytest.raises(OptionError, match=r"train\.txt lies in"):
        run_demo(corpus=folder / "train.txt", folder=folder)
    assert (folder / "train.txt").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(LmserveError, match="cannot write to"):
            run_demo(folder=folder)


def test_the_demo_fills_its_own_folder_anew(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.write_text("one line\n")
    for _ in range(2):
        with pytest.raises(InputError, match="too few to hold"):
            run_demo(corpus=corpus, folder=tmp_path / "out")
