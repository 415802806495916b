"""Training whose model goes to an object store: the same network, whatever dies on the way."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from corpora import zipf_text
from s3_server import running_s3

from cluster.training import Scale, train_on_ray
from lmserve import store_lock
from lmserve.errors import TrainingError
from lmserve.remote_folder import RemoteFolder, beside_url
from lmserve.rnn.checkpoints import checkpoint_at, checkpoints
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.stored_runs import StoredRun

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The query that leads URLs to a server of our own."""
    with running_s3() as (query, _):
        yield query


@pytest.fixture
def url(s3: str, tmp_path: Path) -> str:
    # The workers' environment has no credentials: theirs began with Ray.
    return f"s3://key:secret@bucket/{tmp_path.name}/net{s3}"


def config(folder: Path, url: str | None, **training: Any) -> RunConfig:
    text = folder / "text.txt"
    if not text.exists():
        text.write_text(zipf_text(600))
    settings = {"epochs": 6, "batch_size": 4, "length": 10, "threads": 1} | training
    (folder / "temp").mkdir(exist_ok=True)
    return RunConfig(
        inputs=(str(text),),
        valid=(str(text),),
        output=folder / "net",
        url=url,
        temp_dir=folder / "temp",
        network=NetworkConfig(embedding_size=16, hidden_size=16, drop_inputs=0.2, drop_words=0.1),
        training=TrainingConfig.model_validate(settings),
        checkpoint_every=0.5,
    )


def runs_folder(url: str) -> RemoteFolder:
    return RemoteFolder(beside_url(url, ".training"))


def steps_in_store(url: str) -> list[int]:
    """Of complete checkpoints."""
    remote = runs_folder(url)
    names = remote.folders("checkpoints")
    return [
        int(name.removeprefix("step-"))
        for name in names
        if remote.exists(f"checkpoints/{name}/progress.json")
    ]


def when_far(url: str, act: Any) -> threading.Thread:
    """Does something when there are checkpoints of some epochs."""

    def wait() -> None:
        deadline_s = time.monotonic() + 120
        while time.monotonic() < deadline_s:
            steps = steps_in_store(url)
            if steps and steps[-1] > 100:
                act()
                return
            time.sleep(0.05)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def kill_a_worker() -> None:
    processes = psutil.Process().children(recursive=True)
    workers = [one for one in processes if "RayTrainWorker" in " ".join(one.cmdline())]
    workers[-1].kill()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network, trained in a folder."""
    run = config(tmp_path_factory.mktemp("expected"), None)
    train_on_ray(run, Scale(workers=2))
    return run.output


def digest_of(model: Path) -> str:
    return RecurrentManifest.read(model).digest


def test_a_killed_worker_costs_time_only(expected: Path, tmp_path: Path, url: str) -> None:
    kept: list[list[int]] = []
    told: list[dict[str, Any]] = []

    def kill() -> None:
        kept.append(steps_in_store(url))
        kill_a_worker()

    thread = when_far(url, kill)
    stored = config(tmp_path, url)
    manifest = train_on_ray(stored, Scale(workers=2), told.append)
    thread.join()
    assert manifest.digest == digest_of(expected)
    # What is superseded is deleted.
    [steps] = kept
    assert 1 <= len(steps) <= 3
    assert told[-1]["done"] == 1
    assert [log["step"] for log in told] == sorted({log["step"] for log in told})
    remote = RemoteFolder(url)
    assert set(remote.files()) >= {"manifest.json", "weights.safetensors", "steps.jsonl"}
    weights = remote.read("weights.safetensors", 1 << 30)
    assert weights == (expected / "weights.safetensors").read_bytes()
    assert runs_folder(url).files() == []
    # No worker has left anything of its own.
    assert not list((tmp_path / "temp").rglob("train-*"))
    with pytest.raises(TrainingError, match="exists already"):
        train_on_ray(stored, Scale())


def test_a_training_that_gave_up_goes_on_on_other_machines(
    expected: Path, tmp_path: Path, url: str
) -> None:
    stored = config(tmp_path, url)
    thread = when_far(url, kill_a_worker)
    with pytest.raises(TrainingError, match="workers died more than 0 times"):
        train_on_ray(stored, Scale(workers=2, max_failures=0))
    thread.join()
    with pytest.raises(TrainingError, match=r"unfinished training in s3://bucket/.*net\.training"):
        train_on_ray(stored, Scale())
    slower = stored.training.model_copy(update={"learning_rate": 1e-4})
    with pytest.raises(TrainingError, match="training changed since"):
        train_on_ray(replace(stored, training=slower, resume=True), Scale())
    # With nothing of what was on this machine.
    (tmp_path / "other").mkdir()
    resumed = replace(stored, resume=True, temp_dir=tmp_path / "other")
    assert train_on_ray(resumed, Scale(workers=2)).digest == digest_of(expected)


def test_two_trainings_keep_out_of_each_others_way(
    expected: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_lock, "BEAT_S", 0.5)
    stored = config(tmp_path, url)
    refused: list[TrainingError] = []

    def train_too(_: dict[str, Any]) -> None:
        if not refused:
            for resume in (True, False):
                with pytest.raises(TrainingError) as caught:
                    train_on_ray(replace(stored, resume=resume), Scale())
                refused.append(caught.value)

    # The first one waits for what watches it.
    assert train_on_ray(stored, Scale(workers=2), train_too).digest == digest_of(expected)
    assert len(refused) == 2
    for error in refused:
        assert re.match(r"a training is at work: 's3://bucket/.*/net\.lock'", error.problem)
    # Nor does a claim stay, which the next one would have to outlive.
    assert RemoteFolder(beside_url(url, ".lock")).files() == []


def test_a_worker_about_to_be_killed_deletes_nothing_of_who_went_on(
    tmp_path: Path, url: str
) -> None:
    run = StoredRun(config(tmp_path, url), url)
    run.prepare()
    with run.entered() as (local, keep):
        for step in (10, 40):
            runs_folder(url).put(f"checkpoints/step-{step:010}/progress.json", b"{}")
        for step in (20, 30):
            checkpoint = checkpoint_at(local.folder / "checkpoints", step)
            checkpoint.mkdir(parents=True)
            (checkpoint / "progress.json").touch()
            keep(checkpoint)
    assert steps_in_store(url) == [20, 30, 40]


def test_a_checkpoint_may_be_older_than_the_log_of_steps(tmp_path: Path, url: str) -> None:
    run = StoredRun(config(tmp_path, url), url)
    run.prepare()
    runs_folder(url).put("checkpoints/step-0000000010/progress.json", b"{}")
    with run.entered() as (local, _):
        [checkpoint] = checkpoints(local.folder / "checkpoints")
        assert [path.name for path in checkpoint.iterdir()] == ["progress.json"]


def test_an_explosion_reaches_the_driver(tmp_path: Path, url: str) -> None:
    failing = config(tmp_path, url, epochs=2, explosion=1e-9, max_skipped=3)
    with pytest.raises(TrainingError, match="exploded 3 steps in a row"):
        train_on_ray(failing, Scale())
    assert runs_folder(url).exists("run.json")
    runs_folder(url).delete()
    with pytest.raises(TrainingError, match="nothing to resume"):
        train_on_ray(replace(failing, resume=True), Scale())
