"""Publishing, going back and fetching: in a folder, and in a real server that speaks S3."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs
import pytest
from mixable import train_network
from s3_server import running_s3

import lmserve
from lmserve.errors import CorruptModelError, InputError, ModelError, OptionError
from lmserve.mixing.making import MixConfig, mix
from lmserve.publishing.directory import ModelDirectory, is_directory
from lmserve.publishing.fetching import local_folder
from lmserve.publishing.publishing import publish, rollback
from lmserve.publishing.records import Pointer


@pytest.fixture
def directory(tmp_path: Path) -> ModelDirectory:
    return ModelDirectory.at(tmp_path / "models")


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, pyarrow.fs.S3FileSystem]]:
    """The URL of an empty folder of a server of our own, and its file system."""
    with running_s3("hunter2") as (query, system):
        yield f"s3://bucket/models{query}", system


def fetched(directory: ModelDirectory, name: str, version: str, cache: Path) -> Path:
    published = directory.require_published(name, version)
    return local_folder(directory, name, version, published, cache)


def moves(*steps: str) -> Pointer:
    """A pointer after moves such as "publish 1", "rollback 2"."""
    pointer = None
    for step in steps:
        action, version = step.split()
        assert action in ("publish", "rollback")
        pointer = Pointer.after(pointer, version, action, datetime.now(UTC))
    assert pointer is not None
    return pointer


def test_a_published_model_is_the_model(
    tiny_model_path: Path, tiny_model: lmserve.NgramModel, directory: ModelDirectory, tmp_path: Path
) -> None:
    name, pointer = publish(tiny_model_path, directory)
    assert (name, pointer.current) == ("tiny", tiny_model.digest[:12])
    folder = fetched(directory, name, pointer.current, tmp_path / "unused")
    assert folder == tmp_path / "models" / name / pointer.current
    assert lmserve.load(folder, check=True).digest == tiny_model.digest
    # Linked, so that a version costs no room.
    tables = "ngrams.arrow"
    assert (folder / tables).stat().st_ino == (tiny_model_path / tables).stat().st_ino
    assert not (tmp_path / "unused").exists()


def test_versions_come_and_go_back(
    tiny_model_path: Path, other_model_path: Path, directory: ModelDirectory
) -> None:
    publish(tiny_model_path, directory, name="m", version="1")
    publish(other_model_path, directory, name="m", version="2")
    # Again: nothing moves.
    _, pointer = publish(other_model_path, directory, name="m", version="2")
    assert (pointer.current, pointer.former) == ("2", ["1"])
    assert rollback(directory, "m").current == "1"
    with pytest.raises(ModelError, match="no version of 'm' before '1'"):
        rollback(directory, "m")
    assert rollback(directory, "m", to="2").current == "2"
    pointer = directory.require_pointer("m")
    assert [(step.version, step.action) for step in pointer.history] == [
        ("1", "publish"),
        ("2", "publish"),
        ("1", "rollback"),
        ("2", "rollback"),
    ]


@pytest.mark.parametrize(
    ("steps", "former"),
    [
        (["publish 1", "publish 2", "publish 3"], ["1", "2"]),
        (["publish 1", "publish 2", "publish 3", "rollback 2"], ["1"]),
        # What was gone back from is never returned to by itself.
        (["publish 1", "publish 2", "publish 3", "rollback 2", "publish 4"], ["1", "2"]),
        (["publish 1", "publish 2", "publish 1"], ["2"]),
        (["publish 1", "publish 2", "rollback 1", "rollback 2"], ["1"]),
    ],
)
def test_what_a_version_is_rolled_back_to(steps: list[str], former: list[str]) -> None:
    assert moves(*steps).former == former


def test_a_version_never_changes(
    tiny_model_path: Path, other_model_path: Path, directory: ModelDirectory
) -> None:
    publish(tiny_model_path, directory, name="m", version="1")
    with pytest.raises(ModelError, match="there already and another model"):
        publish(other_model_path, directory, name="m", version="1")
    published = directory.require_published("m", "1")
    assert published.digest == lmserve.load(tiny_model_path).digest


def test_publishing_by_several_at_once_loses_no_move(
    tiny_model_path: Path, directory: ModelDirectory
) -> None:
    versions = [str(number) for number in range(8)]
    with ThreadPoolExecutor(4) as threads:
        for published in [
            threads.submit(publish, tiny_model_path, directory, name="m", version=version)
            for version in versions
        ]:
            published.result()
    assert sorted(directory.require_pointer("m").versions) == versions


def test_a_mixture_brings_its_components(
    tiny_text: Path, tiny_model_path: Path, directory: ModelDirectory, tmp_path: Path
) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(tiny_model_path, parts / "ngram")
    network = train_network(tiny_text, parts / "network")
    mix(MixConfig(models=(parts / "ngram", network), dev=(str(tiny_text),), output=parts / "mixed"))
    mixed = lmserve.load(parts / "mixed")
    digest, score = mixed.digest, mixed.score("w0 w1")
    _, pointer = publish(parts / "mixed", directory, name="m")
    shutil.rmtree(parts)
    published = directory.require_published("m", pointer.current)
    assert published.kind == "mixture"
    loaded = lmserve.load(fetched(directory, "m", pointer.current, tmp_path), check=True)
    assert (loaded.digest, loaded.score("w0 w1")) == (digest, score)
    # And once more, from where it was published.
    _, again = publish(
        tmp_path / "models" / "m" / pointer.current, directory, name="n", version="1"
    )
    assert directory.require_published("n", again.current).digest == digest


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/a", ".hidden", "a\n", "a b", "ü", "x.json", "a" * 101]
)
def test_names_that_lead_elsewhere_are_refused(
    tiny_model_path: Path, directory: ModelDirectory, tmp_path: Path, name: str
) -> None:
    with pytest.raises(OptionError, match="cannot be the name"):
        publish(tiny_model_path, directory, name=name)
    if name:
        with pytest.raises(OptionError, match="cannot be the version"):
            publish(tiny_model_path, directory, name="m", version=name)
    with pytest.raises(OptionError, match="cannot be the name"):
        rollback(directory, name)
    assert list(tmp_path.iterdir()) == []


def test_records_that_lead_elsewhere_are_refused(
    tiny_model_path: Path, directory: ModelDirectory, tmp_path: Path
) -> None:
    publish(tiny_model_path, directory, name="m", version="1")
    place = tmp_path / "models" / "m"
    pointer = json.loads((place / "current.json").read_text())
    outside = pointer | {"current": "../../x"}
    outside["history"] = [{**pointer["history"][0], "version": "../../x"}]
    for content in (outside, pointer | {"current": "2"}, pointer | {"schema_version": 2}, []):
        (place / "current.json").write_text(json.dumps(content))
        with pytest.raises(CorruptModelError, match="no valid record"):
            directory.pointer("m")
    published = json.loads((place / "1" / "published.json").read_text())
    for name in ("../x", "/x", "a/../../x", ".x"):
        files = {name: next(iter(published["files"].values()))}
        (place / "1" / "published.json").write_text(json.dumps(published | {"files": files}))
        with pytest.raises(CorruptModelError, match="no file of a model"):
            directory.published("m", "1")


def test_what_is_not_there_is_named(
    tiny_model_path: Path, directory: ModelDirectory, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="is not a model"):
        publish(tmp_path, directory, name="m")
    with pytest.raises(ModelError, match="no model 'm'"):
        rollback(directory, "m")
    publish(tiny_model_path, directory, name="m", version="1")
    with pytest.raises(ModelError, match="no version '2'") as error:
        rollback(directory, "m", to="2")
    assert "Name one of: 1." in error.value.remedy


def test_a_model_that_was_changed_is_not_published(
    tiny_model_path: Path, directory: ModelDirectory, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model_path, broken)
    table = broken / "ngrams.arrow"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    with pytest.raises(CorruptModelError):
        publish(broken, directory)
    assert directory.names() == []


def test_folders_of_models_are_told_from_models(
    s3: tuple[str, pyarrow.fs.S3FileSystem], tiny_model_path: Path, tmp_path: Path
) -> None:
    assert not is_directory(tiny_model_path)
    assert not is_directory(tmp_path / "none")
    assert is_directory(tmp_path)
    assert is_directory(s3[0])


def test_versions_of_an_object_store_are_fetched_once(
    s3: tuple[str, pyarrow.fs.S3FileSystem],
    tiny_model_path: Path,
    other_model_path: Path,
    tmp_path: Path,
) -> None:
    directory = ModelDirectory.at(s3[0])
    assert directory.names() == []
    assert directory.pointer("m") is None
    publish(tiny_model_path, directory, name="m", version="1")
    publish(other_model_path, directory, name="m", version="2")
    assert directory.names() == ["m"]
    assert directory.versions("m") == ["1", "2"]
    assert rollback(directory, "m").current == "1"
    with ThreadPoolExecutor(2) as threads:
        folders = list(threads.map(lambda _: fetched(directory, "m", "1", tmp_path), range(2)))
    assert folders[0] == folders[1]
    digest = lmserve.load(tiny_model_path).digest
    assert lmserve.load(folders[0], check=True).digest == digest
    # Not asked for again.
    s3[1].delete_file("bucket/models/m/1/ngrams.arrow")
    assert fetched(directory, "m", "1", tmp_path) == folders[0]
    with pytest.raises(InputError, match="cannot read"):
        fetched(directory, "m", "1", tmp_path / "another")
    assert [path.name for path in (tmp_path / "another" / "m").iterdir()] == [".lock"]


def test_bytes_that_changed_in_an_object_store_are_not_served(
    s3: tuple[str, pyarrow.fs.S3FileSystem], tiny_model_path: Path, tmp_path: Path
) -> None:
    directory = ModelDirectory.at(s3[0])
    publish(tiny_model_path, directory, name="changed", version="1")
    place = "bucket/models/changed/1/unigrams.arrow"
    with s3[1].open_input_stream(place) as file:
        content = bytearray(file.read())
    content[-1] ^= 1
    with s3[1].open_output_stream(place) as file:
        file.write(bytes(content))
    with pytest.raises(CorruptModelError, match="published were") as error:
        fetched(directory, "changed", "1", tmp_path)
    assert "hunter2" not in str(error.value)
    assert "endpoint_override" not in str(error.value)


def test_a_version_without_its_last_file_is_none(
    s3: tuple[str, pyarrow.fs.S3FileSystem], tiny_model_path: Path
) -> None:
    directory = ModelDirectory.at(s3[0])
    publish(tiny_model_path, directory, name="half", version="1")
    s3[1].delete_file("bucket/models/half/1/published.json")
    assert directory.published("half", "1") is None
    publish(tiny_model_path, directory, name="half", version="1")
    assert directory.require_published("half", "1").kind == "ngram"


def test_few_fetched_versions_are_kept(tiny_model_path: Path, tmp_path: Path) -> None:
    directory = ModelDirectory.at("memory://models")
    for number in range(5):
        publish(tiny_model_path, directory, name="many", version=str(number))
        fetched(directory, "many", str(number), tmp_path)
    kept = sorted(path.name[0] for path in (tmp_path / "many").iterdir() if path.is_dir())
    assert kept == ["2", "3", "4"]
