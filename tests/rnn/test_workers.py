"""Several workers: the same as one, and as many as one likes, from one run to the next."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lmserve.rnn.checkpoints import WEIGHTS_FILE, Epoch
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import prepare
from lmserve.rnn.runs import train as train_run
from lmserve.rnn.step_log import Log
from lmserve.rnn.workers import Workers

ALONE = Workers(0, 1, torch.device("cpu"))


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    "settings",
    ["", "cell=mingru output=adaptive cutoffs=9,60 tied=no hidden_size=16 optimizer=sgd clip=none"],
    ids=["lstm", "mingru-adaptive"],
)
def test_two_workers_do_what_one_does(
    settings: str, tmp_path: Path, texts: tuple[Path, Path]
) -> None:
    def train(name: str, *launcher: str) -> Path:
        output = tmp_path / name
        command = [sys.executable, "-m", *launcher, "lmserve.rnn.train", str(texts[0])]
        options = "embedding_size=8 hidden_size=8 epochs=2 batch_size=4 length=8 threads=1"
        for option in [*options.split(), *settings.split()]:
            command += ["--set", option]
        command += ["--valid", str(texts[1]), "--output", str(output)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert result.returncode == 0, result.stderr
        return output

    one = train("one")
    two = train("two", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
    expected, found = (load_file(path / WEIGHTS_FILE) for path in (one, two))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=0)
    manifests = [RecurrentManifest.read(path) for path in (one, two)]
    perplexities = [[epoch.valid_perplexity for epoch in m.epochs] for m in manifests]
    assert perplexities[1] == pytest.approx(perplexities[0], rel=1e-6)


def test_the_number_of_workers_may_change(tmp_path: Path, texts: tuple[Path, Path]) -> None:
    def train(output: Path, *launcher: str, epochs: int, resume: bool = False) -> Path:
        command = [sys.executable, "-m", *launcher, "lmserve.rnn.train", str(texts[0])]
        options = f"embedding_size=8 hidden_size=8 epochs={epochs} batch_size=4 length=8 threads=1"
        command += [part for option in options.split() for part in ("--set", option)]
        command += ["--valid", str(texts[1]), "--output", str(output)]
        result = subprocess.run(
            [*command, *(["--resume"] if resume else [])],
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert result.returncode == 0, result.stderr
        return output

    expected = RecurrentManifest.read(train(tmp_path / "one", epochs=2))
    # One worker does the first epoch; two go on from its checkpoint.
    config = RunConfig(
        inputs=(str(texts[0]),),
        valid=(str(texts[1]),),
        output=tmp_path / "two",
        network=NetworkConfig(embedding_size=8, hidden_size=8),
        training=TrainingConfig(epochs=2, batch_size=4, length=8, threads=1),
    )
    prepare(config)

    def stop(what: Log | Epoch) -> None:
        if isinstance(what, Epoch):
            raise StoppedError

    with pytest.raises(StoppedError):
        train_run(config, ALONE, stop)
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
    found = RecurrentManifest.read(train(config.output, *launcher, epochs=2, resume=True))
    assert [epoch.valid_perplexity for epoch in found.epochs] == pytest.approx(
        [epoch.valid_perplexity for epoch in expected.epochs], rel=1e-6
    )
