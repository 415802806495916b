"""What the cluster's results are compared with: the same, made on this machine without Ray."""

import json
import subprocess
import sys
from pathlib import Path

from corpora import zipf_text
from hosts import ROOT

from cluster.build import build
from cluster.config import BuildConfig

ORDER = 4
_NETWORK = {"cell": "lstm", "embedding_size": 8, "hidden_size": 8, "drop_words": 0.1}
_TRAINING = {"epochs": 2, "batch_size": 4, "length": 10, "threads": 1}
SETTINGS_FILE = "network.json"
SETTINGS = json.dumps({"network": _NETWORK, "training": _TRAINING})


def write_texts(folder: Path) -> None:
    """Some pieces for builds to cut up, a small one to train on, and lines for a stream."""
    for number in range(2):
        text = zipf_text(13_000, seed=number, length=30, words=10_000)
        (folder / f"part-{number}.txt").write_text(text)
    (folder / "small.txt").write_text(zipf_text(400))


def build_alone(texts: Path, output: Path) -> None:
    """Builds a model of all parts."""
    inputs = tuple(map(str, sorted(texts.glob("part-*.txt"))))
    build(BuildConfig(inputs=inputs, output=output, order=ORDER), on_ray=False)


def train_alone(text: Path, output: Path, workers: int) -> None:
    """Trains a small network in so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={workers}", "-m", "lmserve.rnn.train", str(text)]
    settings = output.with_suffix(".json")
    settings.write_text(SETTINGS)
    command += ["--valid", str(text), "--output", str(output), "--config", str(settings)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert result.returncode == 0, result.stderr
