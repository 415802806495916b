"""The two ends of builds through an object store: what is replaced, and who may be at work."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from storage_builds import Rows, objects, stop

import cluster.build
from cluster.build import build
from cluster.config import BuildConfig
from cluster.progress import Silent
from lmserve import store_lock
from lmserve.errors import BuildError, InputError
from lmserve.remote_folder import RemoteFolder


def test_a_model_that_is_there_is_replaced_only_if_told_so(
    config: BuildConfig, bucket: RemoteFolder
) -> None:
    digest = build(config, on_ray=False).digest
    bucket.put("models/m/notes.txt", b"of the old model")
    with pytest.raises(BuildError, match="'s3://bucket/storage-builds/models/m' exists already"):
        build(replace(config, order=2), on_ray=False)
    stop(replace(config, order=2, overwrite=True), "finish")
    manifest = bucket.read("models/m/manifest.json", 1 << 20)
    assert manifest is not None
    assert json.loads(manifest)["digest"] == digest
    build(replace(config, order=2, overwrite=True, resume=True), on_ray=False)
    manifest = bucket.read("models/m/manifest.json", 1 << 20)
    assert manifest is not None
    assert json.loads(manifest)["order"] == 2
    assert "models/m/notes.txt" not in bucket.files()
    bucket.put("models/thesis/thesis.tex", b"years of work")
    with pytest.raises(BuildError, match="exists and is no model; it is not touched"):
        build(replace(config, url=bucket.below("models/thesis").url, overwrite=True), on_ray=False)
    assert bucket.read("models/thesis/thesis.tex", 100) == b"years of work"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_build_stopped_while_it_publishes_is_continued(
    config: BuildConfig,
    bucket: RemoteFolder,
    monkeypatch: pytest.MonkeyPatch,
    overwrite: bool,
) -> None:
    """Also where its first files are in their place, and the manifest is not."""
    if overwrite:
        build(replace(config, order=2), on_ray=False)
    config = replace(config, overwrite=overwrite)
    real = RemoteFolder.put

    def fail(self: RemoteFolder, path: str, source: bytes | Path) -> None:
        if path == "manifest.json":
            raise InputError("the network is down", "Wait.")
        real(self, path, source)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "put", fail)
        with pytest.raises(InputError, match="the network is down"):
            build(config, on_ray=False)
    assert "m/ngrams.arrow" in objects(bucket)
    assert "m/manifest.json" not in objects(bucket)
    # One that is to resume, and does not say --overwrite: what is there is its own.
    manifest = build(replace(config, resume=True, overwrite=False), on_ray=False)
    there = bucket.read("models/m/manifest.json", 1 << 20)
    assert there is not None
    assert json.loads(there)["digest"] == manifest.digest


def test_a_build_stopped_after_publishing_is_done(
    config: BuildConfig, bucket: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(cluster.planning.StoredWorkspace, "remove", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(config, on_ray=False)
    rows = Rows()
    manifest = build(replace(config, resume=True), rows, on_ray=False)
    assert rows.of == {}
    assert manifest.order == 4
    assert {path.partition("/")[0] for path in objects(bucket)} == {"m"}


def test_two_builds_keep_out_of_each_others_way(
    config: BuildConfig, bucket: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_lock, "BEAT_S", 0.1)
    refused = []

    class Second(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "scatter":
                for other in (config, replace(config, resume=True)):
                    with pytest.raises(BuildError, match="a build is at work"):
                        build(other, on_ray=False)
                    refused.append(other)

    build(config, Second(), on_ray=False)
    assert len(refused) == 2
    assert {path.partition("/")[0] for path in objects(bucket)} == {"m"}


@pytest.mark.parametrize(("host", "pid"), [("another-machine", 1), (None, 4_194_304)])
def test_the_claim_of_a_dead_build_does_not_hold(
    config: BuildConfig,
    bucket: RemoteFolder,
    monkeypatch: pytest.MonkeyPatch,
    host: str | None,
    pid: int,
) -> None:
    monkeypatch.setattr(store_lock, "BEAT_S", 0.1)
    host = host or store_lock.socket.gethostname()
    claim = {"work": "build", "host": host, "pid": pid, "began": "long ago"}
    bucket.put("models/m.lock/0123.json", json.dumps(claim).encode())
    build(config, on_ray=False)
    assert {path.partition("/")[0] for path in objects(bucket)} == {"m"}
