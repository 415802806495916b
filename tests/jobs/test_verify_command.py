"""`lmserve verify`: every byte of what is to be served."""

from pathlib import Path

import pytest
from s3_server import running_s3
from typer.testing import CliRunner

import lmserve
from jobs.cli import app
from lmserve.errors import CorruptModelError, ModelError
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.publishing import publish


def verify(*arguments: object) -> list[str]:
    """The lines that `lmserve verify ARGUMENTS...` writes."""
    result = CliRunner().invoke(app, ["verify", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    # A hard link of the model that was published.
    path.unlink()
    path.write_bytes(content)


def test_current_versions_of_a_directory(
    tiny_model_path: Path, other_model_path: Path, tmp_path: Path
) -> None:
    models = ModelDirectory.at(tmp_path / "models")
    publish(tiny_model_path, models, name="one", version="1")
    publish(other_model_path, models, name="two", version="a")
    publish(tiny_model_path, models, name="two", version="b")
    digest = lmserve.load(tiny_model_path).digest
    expected = [f"{name}: every byte checked, digest {digest}" for name in ("one 1", "two b")]
    assert verify(tmp_path / "models") == expected
    # What is not current is not asked for.
    change_a_byte(tmp_path / "models" / "two" / "a" / "ngrams.arrow")
    assert verify(tmp_path / "models") == expected
    change_a_byte(tmp_path / "models" / "two" / "b" / "ngrams.arrow")
    with pytest.raises(CorruptModelError, match=r"two/b/ngrams\.arrow"):
        verify(tmp_path / "models")


def test_a_folder(tiny_model_path: Path) -> None:
    digest = lmserve.load(tiny_model_path).digest
    name = tiny_model_path.name
    assert verify(tiny_model_path) == [f"{name}: every byte checked, digest {digest}"]


def test_nothing_published(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no published model"):
        verify(tmp_path)


def test_another_model_than_was_published(
    tiny_model_path: Path, other_model_path: Path, tmp_path: Path
) -> None:
    models = ModelDirectory.at(tmp_path / "models")
    publish(tiny_model_path, models, name="m", version="1")
    for path in other_model_path.iterdir():
        target = tmp_path / "models" / "m" / "1" / path.name
        target.unlink(missing_ok=True)
        target.write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="published was"):
        verify(tmp_path / "models")


def test_an_object_store_is_fetched_where_services_look(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    with running_s3() as (query, system):
        url = f"s3://bucket/models{query}"
        publish(tiny_model_path, ModelDirectory.at(url), name="m", version="1")
        cache = tmp_path / "cache"
        assert len(verify(url, "--model-cache", cache)) == 1
        digest = lmserve.load(tiny_model_path).digest
        assert lmserve.load(cache / "m" / f"1-{digest}").digest == digest
        system.delete_file("bucket/models/m/1/published.json")
        with pytest.raises(ModelError, match="no version '1'"):
            verify(url, "--model-cache", tmp_path / "other")
