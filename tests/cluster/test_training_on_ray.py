"""Training on Ray: killed workers, resumed runs, and errors that reach the driver."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from corpora import zipf_text
from safetensors.torch import load_file

from cluster import training
from cluster.training import Scale, train_on_ray
from lmserve.errors import OptionError, TrainingError
from lmserve.rnn.checkpoints import WEIGHTS_FILE, checkpoints
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import locked, prepare, publish, train
from lmserve.rnn.workers import Workers

pytestmark = pytest.mark.usefixtures("ray_session")


def config(output: Path, **training: Any) -> RunConfig:
    text = output.parent / "text.txt"
    if not text.exists():
        text.write_text(zipf_text(600))
    settings = {"epochs": 12, "batch_size": 4, "length": 10, "threads": 1} | training
    return RunConfig(
        inputs=(str(text),),
        valid=(str(text),),
        output=output,
        network=NetworkConfig(embedding_size=16, hidden_size=16, drop_inputs=0.2, drop_words=0.1),
        training=TrainingConfig.model_validate(settings),
        checkpoint_every=0.2,
    )


def training_processes() -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in " ".join(process.cmdline())
    ]


def test_a_killed_worker_costs_time_only(tmp_path: Path) -> None:
    whole = config(tmp_path / "whole")
    expected = train_on_ray(whole, Scale(workers=2))
    stopped = config(tmp_path / "stopped")
    killed: list[int] = []

    def kill() -> None:
        folder = stopped.folder / "checkpoints"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = checkpoints(folder)
            # In the middle of an epoch, some epochs from the beginning.
            if len(found) == 2 and int(found[-1].name.removeprefix("step-")) > 200:
                process = training_processes()[-1]
                process.kill()
                killed.append(process.pid)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=kill)
    thread.start()
    manifest = train_on_ray(stopped, Scale(workers=2))
    thread.join()
    assert killed
    steps = [epoch.model_copy(update={"seconds": 0}) for epoch in manifest.epochs]
    assert steps == [epoch.model_copy(update={"seconds": 0}) for epoch in expected.epochs]
    one, two = (load_file(path / WEIGHTS_FILE) for path in (whole.output, stopped.output))
    assert all((one[name] == two[name]).all() for name in one)
    assert manifest.digest == expected.digest


def test_ray_trains_what_one_process_trains(tmp_path: Path) -> None:
    alone = config(tmp_path / "alone", epochs=2)
    prepare(alone)
    train(alone, Workers.joined())
    expected = publish(alone)
    told: list[dict[str, Any]] = []
    manifest = train_on_ray(config(tmp_path / "ray", epochs=2), Scale(), told.append)
    assert manifest.digest == expected.digest
    assert told[-1]["done"] == 1
    assert [log["step"] for log in told] == sorted({log["step"] for log in told})


def test_others_are_kept_out_until_the_workers_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config(tmp_path / "model")
    refused: list[str] = []

    def end_ray() -> None:
        with pytest.raises(TrainingError) as caught, locked(run):
            pass
        refused.append(caught.value.problem)

    monkeypatch.setattr(training, "connected", lambda: False)
    monkeypatch.setattr(training, "disconnect", end_ray)
    with pytest.raises(OptionError, match="workers is 1000"):
        train_on_ray(run, Scale(workers=1000))
    assert refused == [f"another process is training {str(run.output)!r}"]
    with locked(run):
        pass


def test_an_explosion_reaches_the_driver(tmp_path: Path) -> None:
    failing = config(tmp_path / "model", epochs=2, explosion=1e-9, max_skipped=3)
    with pytest.raises(TrainingError, match="exploded 3 steps in a row"):
        train_on_ray(failing, Scale())
    assert failing.folder.exists()
    with pytest.raises(TrainingError, match="unfinished training"):
        train_on_ray(failing, Scale())


def test_a_damaged_checkpoint_reaches_the_driver(tmp_path: Path) -> None:
    stopped = config(tmp_path / "model", epochs=2)
    prepare(stopped)
    damaged = stopped.folder / "checkpoints" / "step-0000000001"
    damaged.mkdir(parents=True)
    (damaged / "progress.json").write_text("{")
    with pytest.raises(TrainingError, match=r"progress\.json is damaged"):
        train_on_ray(replace(stopped, resume=True), Scale())


def test_what_workers_cannot_share_is_refused_before_a_text_is_read(tmp_path: Path) -> None:
    unshared = config(tmp_path / "model", batch_size=5)
    with pytest.raises(OptionError, match="batch_size is 5, which 2 workers"):
        train_on_ray(unshared, Scale(workers=2))
    assert not unshared.folder.exists()


def test_more_workers_than_processors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="workers is 400, and the cluster has"):
        train_on_ray(config(tmp_path / "model"), Scale(workers=400))
