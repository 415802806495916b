"""Models by URL, in a real server that speaks S3: fetched once, checked, put there whole."""

import json
import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow.fs
import pytest
from mixable import train_network
from s3_server import running_s3
from typer.testing import CliRunner

import lmserve
from jobs.cli import app
from lmserve.errors import CorruptModelError, ModelError
from lmserve.ngram.hash_index import INDEX_FILES
from lmserve.ngram.indexing import index_model
from lmserve.publishing.directory import is_directory
from lmserve.publishing.remote_models import model_folder, model_name, upload
from lmserve.remote_folder import RemoteFolder


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, pyarrow.fs.S3FileSystem]]:
    """The query that leads URLs to a server of our own, and its file system."""
    with running_s3() as s3:
        yield s3


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache that every process of a test uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lmserve" / "models"


@pytest.fixture
def url(s3: tuple[str, pyarrow.fs.S3FileSystem], tmp_path: Path) -> str:
    """Where a test has a folder of its own."""
    return f"s3://bucket/{tmp_path.name}/tiny{s3[0]}"


def run(*arguments: object) -> str:
    """What `lmserve ARGUMENTS...` writes to standard output."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def load_digest(url: str) -> str:
    return lmserve.load(url).digest


def test_a_model_is_fetched_once_by_all_processes(
    tiny_model_path: Path, tiny_model: lmserve.NgramModel, url: str, cache: Path
) -> None:
    upload(tiny_model_path, RemoteFolder(url))
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as processes:
        digests = set(processes.map(load_digest, [url] * 3))
    assert digests == {tiny_model.digest}
    folder = model_folder(url)
    assert folder.name == "tiny"
    inode = (folder / "ngrams.arrow").stat().st_ino
    assert (model_folder(url) / "ngrams.arrow").stat().st_ino == inode
    assert len([path for path in cache.rglob("*") if path.name == "ngrams.arrow"]) == 1


def test_another_model_at_the_url_is_fetched_anew(
    tiny_model_path: Path, other_model_path: Path, url: str
) -> None:
    remote = RemoteFolder(url)
    upload(tiny_model_path, remote)
    assert lmserve.load(url).digest == lmserve.load(tiny_model_path).digest
    upload(other_model_path, remote)
    assert lmserve.load(url).digest == lmserve.load(other_model_path).digest


def test_an_index_goes_with_its_model(
    tiny_model_path: Path, other_model_path: Path, url: str, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model_path, tmp_path / "indexed")
    index_model(lmserve.NgramModel.load(tmp_path / "indexed"))
    remote = RemoteFolder(url)
    upload(tmp_path / "indexed", remote)
    found = lmserve.NgramModel.load(model_folder(url), check=True)
    assert found.index is not None
    upload(other_model_path, remote)
    assert not any(map(remote.exists, INDEX_FILES)), "it is of the model before"
    assert lmserve.NgramModel.load(model_folder(url)).index is None


def test_what_the_model_before_left_is_deleted_and_nothing_else(
    tiny_text: Path, tiny_model_path: Path, url: str, tmp_path: Path
) -> None:
    network, remote = train_network(tiny_text, tmp_path / "network"), RemoteFolder(url)
    remote.put("notes.txt", b"mine")
    upload(network, remote)
    upload(tiny_model_path, remote)
    assert not remote.exists("weights.safetensors")
    assert remote.read("notes.txt", 10) == b"mine"


def test_a_file_of_another_size_is_refused_before_it_is_fetched(
    tiny_model_path: Path, url: str, cache: Path
) -> None:
    remote = RemoteFolder(url)
    upload(tiny_model_path, remote)
    remote.put("ngrams.arrow", b"x" * 1_000_000)
    with pytest.raises(CorruptModelError, match=r"ngrams\.arrow has 1,000,000 bytes, its manifest"):
        lmserve.load(url)
    remote.delete_file("ngrams.arrow")
    with pytest.raises(CorruptModelError, match=r"ngrams\.arrow is not there"):
        lmserve.load(url)
    assert not list(cache.rglob("*.arrow"))


def test_a_byte_that_changed_is_found(tiny_model_path: Path, url: str, cache: Path) -> None:
    remote = RemoteFolder(url)
    upload(tiny_model_path, remote)
    content = bytearray((tiny_model_path / "ngrams.arrow").read_bytes())
    # In the middle of the only column's values.
    content[len(content) // 2] ^= 1
    remote.put("ngrams.arrow", bytes(content))
    with pytest.raises(CorruptModelError, match="a byte changed"):
        lmserve.load(url)
    assert not list(cache.rglob("*.arrow"))


def test_a_model_that_the_disk_has_no_room_for_is_refused(
    tiny_model_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(tiny_model_path, RemoteFolder(url))
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="0 MB free"):
        lmserve.load(url)


@pytest.mark.parametrize("manifest", [b"{", b"[]", b'{"kind": "rnn"}', b'{"kind": "mixture"}'])
def test_what_is_no_manifest_is_refused(url: str, manifest: bytes) -> None:
    RemoteFolder(url).put("manifest.json", manifest)
    with pytest.raises(CorruptModelError, match=r"manifest\.json is no valid manifest"):
        lmserve.load(url)


def test_no_model_at_a_url(url: str) -> None:
    with pytest.raises(ModelError, match=r"there is no model at s3://bucket/.*: no manifest\.json"):
        lmserve.load(url)


def test_a_url_of_a_model_is_no_directory_of_models(tiny_model_path: Path, url: str) -> None:
    assert is_directory(url)
    upload(tiny_model_path, RemoteFolder(url))
    assert not is_directory(url)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("some/folder/kn5", "kn5"),
        ("s3://bucket/some/kn5/?region=x", "kn5"),
        ("s3://bucket/%2e%2e", "model"),
        ("s3://", "model"),
    ],
)
def test_what_a_model_is_called(location: str, name: str) -> None:
    assert model_name(location) == name


def test_every_command_takes_urls(
    tiny_text: Path, tiny_model_path: Path, url: str, tmp_path: Path
) -> None:
    """And gives for the model at a URL what it gives for the folder."""
    upload(tiny_model_path, RemoteFolder(url))
    for command in (
        ["next", "w0 w1", "--json"],
        ["score", tiny_text],
        ["info", "--json"],
        ["export", "--arpa", "-"],
    ):
        name, *rest = command
        there, here = (run(name, model, *rest) for model in (url, tiny_model_path))
        assert there == here
    perplexities = [
        json.loads(run("eval", model, tiny_text, "--json"))["perplexity"]
        for model in (url, tiny_model_path)
    ]
    assert perplexities[0] == perplexities[1]
    run("publish", url, "--to", tmp_path / "models")
    assert (tmp_path / "models" / "tiny" / "current.json").is_file()
    with pytest.raises(ModelError, match="exists already"):
        run("quantize", tiny_model_path, "-o", url)
    for place, command in {
        "small": ["quantize", url, "--bits", "6"],
        "pruned": ["prune", url, "--entropy", "1e-4"],
    }.items():
        target = url.replace("/tiny?", f"/{place}?")
        run(*command, "--output", target)
        run(*command, "--output", tmp_path / place)
        assert lmserve.load(target).digest == lmserve.load(tmp_path / place).digest
    run("export", url, "--arpa", tmp_path / "model.arpa")
    imported = url.replace("/tiny?", "/imported?")
    run("import", tmp_path / "model.arpa", "--output", imported)
    run("import", tmp_path / "model.arpa", "--output", tmp_path / "imported")
    assert lmserve.load(imported).digest == lmserve.load(tmp_path / "imported").digest


def test_mixtures_at_urls_carry_their_components(
    tiny_text: Path, tiny_model_path: Path, url: str, tmp_path: Path
) -> None:
    upload(tiny_model_path, RemoteFolder(url))
    network = train_network(tiny_text, tmp_path / "network")
    target = url.replace("/tiny?", "/mixed?")
    run("mix", url, network, "--dev", tiny_text, "--output", target)
    run("mix", tiny_model_path, network, "--dev", tiny_text, "--output", tmp_path / "mixed")
    assert lmserve.load(target).digest == lmserve.load(tmp_path / "mixed").digest
    # A local mixture with a component of a URL does not depend on the cache.
    run("mix", url, network, "--dev", tiny_text, "--output", tmp_path / "copied")
    assert (tmp_path / "copied" / "components" / "0" / "manifest.json").is_file()
    # One whose components lie elsewhere is refused.
    broken = url.replace("/tiny?", "/broken?")
    RemoteFolder(broken).put("manifest.json", tmp_path / "mixed" / "manifest.json")
    with pytest.raises(ModelError, match="does not lie in it"):
        lmserve.load(broken)
