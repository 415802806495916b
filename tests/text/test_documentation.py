import ast
import sysconfig
import warnings
from pathlib import Path

import pytest

from lmserve.errors import InputError, OptionError
from lmserve.text import documentation
from lmserve.text.documentation import (
    OVERLAP_WORDS,
    Document,
    collect_documentation,
    documentation_texts,
    split_held_out,
)
from lmserve.text.sentences import normalise


@pytest.fixture(scope="module")
def stdlib_documents() -> list[Document]:
    return collect_documentation(installed_packages=False)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the standard library, and no topics."""
    monkeypatch.setattr(documentation, "topics", {})
    monkeypatch.setattr(sysconfig, "get_path", lambda _scheme: str(tmp_path))
    return tmp_path


def sentences(documents: list[Document]) -> list[str]:
    return [sentence for document in documents for sentence in document.sentences]


def test_standard_library_alone_is_a_corpus(stdlib_documents: list[Document]) -> None:
    found = sentences(stdlib_documents)
    assert sum(len(sentence.split()) for sentence in found) > 50_000
    assert len(found) == len(set(found))
    for sentence in found:
        assert sentence == normalise(sentence)
        assert sentence[0].isalpha()
        assert sentence.endswith((" .", " !", " ?"))


def test_topics_come_first(stdlib_documents: list[Document]) -> None:
    assert stdlib_documents[0].name.startswith("topics/")


def test_same_installation_gives_same_result(stdlib_documents: list[Document]) -> None:
    assert collect_documentation(installed_packages=False) == stdlib_documents


def test_scan_finds_what_a_parser_finds() -> None:
    definitions = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    compared = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-h]*.py")):
        source = path.read_text(encoding="utf-8")
        scanned = set(documentation_texts(source))
        with warnings.catch_warnings(action="ignore"):
            nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, definitions)]
        for node in nodes:
            docstring = ast.get_docstring(node, clean=False) or ""
            # Without escape sequences, for they stay as they stand in the source.
            verbatim = "\n" in docstring and docstring in source
            if verbatim and docstring.lstrip()[0].isupper() and docstring.rstrip().endswith("."):
                compared += 1
                assert docstring in scanned
    assert compared > 300


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('"""The module is here."""', ["The module is here."]),
        ("def f():\n    r'''The function is here.'''", ["The function is here."]),
        ("# One line of it\n# is here.\nx = 1", ["One line of it\nis here."]),
        (
            "# This is the first one.\n\n# This is the second one.",
            ["This is the first one.", "This is the second one."],
        ),
        (
            "x = 1  # This is the first one.\ny = 2  # This is the second one.",
            ["This is the first one.", "This is the second one."],
        ),
        ("#: The attribute is here.", ["The attribute is here."]),
        ("x = '# The string is no comment.'", []),
        ("x = 'it is \\' # The string is no comment.'", []),
        ("x = \"'''\"; y = \"The string is no docstring. '''\"", []),
        ('"""It has a \\""" quote. And """', ['It has a \\""" quote. And ']),
        ('"""The line goes on \\\nand on."""', ["The line goes on and on."]),
        ('"""no sentence"""', []),
        ('def f(:\n    """The syntax is wrong here."""', ["The syntax is wrong here."]),
        ('"""The string is never closed.', []),
    ],
)
def test_documentation_texts(source: str, texts: list[str]) -> None:
    assert documentation_texts(source) == texts


def test_what_is_skipped(library: Path) -> None:
    for name in (
        "tests/a.py",
        "b/test_c.py",
        "_vendor/d.py",
        "e.txt",
        "f_pb2.py",
        "site-packages/g.py",
    ):
        path = library / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('"""This is a text that is skipped."""', encoding="utf-8")
    (library / "latin.py").write_bytes(
        '"""This is a caf\u00e9. It is skipped too."""'.encode("latin-1")
    )
    (library / "dangling.py").symlink_to(library / "nowhere.py")
    (library / "escape.py").write_text(
        '"""It is found.\\d This is the only text."""', encoding="utf-8"
    )
    (library / "crlf.py").write_bytes(b'"""This is a text of\r\nanother system."""')
    documents = collect_documentation()
    assert documents == [
        Document(name="crlf.py", sentences=("this is a text of another system .",))
    ]


def test_description_of_package(library: Path) -> None:
    folder = library / "frob-1.0.dist-info"
    folder.mkdir()
    text = (
        "Name: frob\nSummary: This is the summary of it.\n\n# Frob\n\nThis is a package for all.\n"
    )
    (folder / "METADATA").write_text(text, encoding="utf-8")
    assert sentences(collect_documentation()) == ["this is a package for all ."]


def test_sentence_belongs_to_first_document(library: Path) -> None:
    for name in ("b", "a", "c"):
        text = f'"""This is in all of them.\n\nThis is only in the file {name}."""'
        (library / f"{name}.py").write_text(text, encoding="utf-8")
    assert [(document.name, len(document.sentences)) for document in collect_documentation()] == [
        ("a.py", 2),
        ("b.py", 1),
        ("c.py", 1),
    ]


def test_limit_and_progress(library: Path) -> None:
    text = '"""This is the text of file {}."""'
    for number in range(200):
        (library / f"{number:03}.py").write_text(text.format(number), encoding="utf-8")
    reports: list[tuple[int, int]] = []
    limit_bytes = 100 * len(text.format(100))
    documents = collect_documentation(
        limit_bytes=limit_bytes, on_progress=lambda done, total: reports.append((done, total))
    )
    assert 100 <= len(documents) <= 105
    assert reports == [(64, 200), (200, 200)]


def test_no_documentation(library: Path) -> None:
    assert not list(library.iterdir())
    with pytest.raises(InputError, match="built without docstrings"):
        collect_documentation()


def test_negative_limit() -> None:
    with pytest.raises(OptionError, match="-1"):
        collect_documentation(limit_bytes=-1)


def word_ngrams(lines: list[str], order: int) -> set[tuple[str, ...]]:
    ngrams = set()
    for line in lines:
        words = line.split()
        ngrams |= {tuple(words[i : i + order]) for i in range(len(words) - order + 1)}
    return ngrams


def test_split_shares_nothing(stdlib_documents: list[Document]) -> None:
    training, held_out = split_held_out(stdlib_documents, fraction=0.1)
    every = sentences(stdlib_documents)
    assert set(training).isdisjoint(held_out)
    assert set(training) | set(held_out) <= set(every)
    assert len(every) * 0.05 < len(held_out) < len(every) * 0.15
    shared = word_ngrams(training, OVERLAP_WORDS) & word_ngrams(held_out, OVERLAP_WORDS)
    assert not shared


def test_split_holds_out_whole_documents(stdlib_documents: list[Document]) -> None:
    training = set(split_held_out(stdlib_documents)[0])
    for document in stdlib_documents:
        assert training.isdisjoint(document.sentences) or training.issuperset(document.sentences)


def test_split_depends_on_seed_alone(stdlib_documents: list[Document]) -> None:
    assert split_held_out(stdlib_documents, seed=3) == split_held_out(stdlib_documents, seed=3)
    assert split_held_out(stdlib_documents, seed=3) != split_held_out(stdlib_documents, seed=4)


def test_overlap_is_dropped_from_held_out_only() -> None:
    near = "this is the very long way in which it is said in"
    documents = [
        Document(name=name, sentences=(f"{near} {name} .", f"that is something else in {name} ."))
        for name in "ab"
    ]
    training, held_out = split_held_out(documents, fraction=0.5)
    assert len(training) == 2
    assert len(held_out) == 1
    assert held_out[0].startswith("that is something else")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_split_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(OptionError, match="between 0 and 1"):
        split_held_out([], fraction=fraction)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_documents_to_split(count: int) -> None:
    with pytest.raises(InputError, match="too few"):
        split_held_out([Document(name="a", sentences=("it is the only one .",))] * count)
