"""A node's folder in which something else than lmserve wrote or removed files."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lmserve.metrics import damage
from lmserve.metrics.sharing import exposition

COUNT = """
from prometheus_client import CollectorRegistry
from lmserve.metrics import families, service_metrics
registry = CollectorRegistry()
sentences = families.counter(service_metrics.SENTENCES, registry)
words = families.counter(service_metrics.WORDS, registry)
replicas = families.gauge(service_metrics.REPLICAS, registry)
sentences.inc(2)
words.inc(20)
replicas.set(1)
"""


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def two_dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for _ in range(2):
        run(COUNT, folder)
    return folder


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "_told_of", set())


@pytest.mark.parametrize("how", ["cut", "used", "key", "random", "short"])
def test_a_damaged_file_is_left_out_told_of_and_set_aside(
    how: str, two_dead: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(two_dead, tmp_path, dirs_exist_ok=True)
    damaged = min(tmp_path.glob("counter_*.db"))
    content = damaged.read_bytes()
    damaged.write_bytes(
        {
            "cut": content[:100],
            "used": (1 << 20).to_bytes(4, "little") + content[4:],
            "key": content[:16] + b"\xff" * 32 + content[48:],
            "random": bytes(range(1, 256)) * 300,
            "short": b"ab",
        }[how]
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert "lmserve_sentences_total 2.0" in exposition(tmp_path).decode()
    (record,) = caplog.records
    assert f"what {damaged} counted is left out" in record.getMessage()
    assert "remove the file" in record.getMessage()
    assert damaged.with_suffix(".damaged").exists()


def test_damage_of_a_living_process_and_of_the_sum_hides_nobody_else(
    two_dead: Path, tmp_path: Path
) -> None:
    shutil.copytree(two_dead, tmp_path, dirs_exist_ok=True)
    exposition(tmp_path)
    (tmp_path / "retired-1" / "counter_retired.db").write_bytes(b"ab")
    (tmp_path / "retired-1" / "names.json").write_bytes(b"")
    script = f"""{COUNT}
from lmserve.metrics.sharing import exposition, process_name, shared_folder
(shared_folder() / f"counter_other{{process_name()}}.db").write_bytes(b"no values")
(shared_folder() / f"gauge_livesum_{{process_name()}}.db").write_bytes(bytes(range(64)) * 1024)
(shared_folder() / "1-1.process").write_bytes(b"no JSON")
print(exposition(shared_folder()).decode())
"""
    told = run(script, tmp_path).stdout
    assert "lmserve_sentences_total 2.0" in told
    assert "lmserve_replicas" not in told


def test_a_process_counts_on_after_a_cleaner_removed_that_it_lives(tmp_path: Path) -> None:
    script = f"""{COUNT}
import logging
from lmserve.metrics import membership
from lmserve.metrics.sharing import exposition, join_node, process_name, shared_folder
membership._LOOK_S = 0
join_node("replica")
folder = shared_folder()
(folder / f"{{process_name()}}.process").unlink()
exposition(folder)
sentences.inc(5)
words.inc(50)
replicas.inc()
print(exposition(folder).decode())
print([process.role for process in membership.living(folder).values()])
"""
    result = run(script, tmp_path)
    assert "lmserve_sentences_total 7.0" in result.stdout
    assert "lmserve_words_total 70.0" in result.stdout
    assert "lmserve_replicas 2.0" in result.stdout
    assert "['replica']" in result.stdout
    assert result.stderr.count("LMSERVE_METRICS_DIR") == 1
    assert "lmserve_sentences_total 7.0" in exposition(tmp_path).decode()


def test_a_process_counts_on_after_its_folder_was_removed(tmp_path: Path) -> None:
    script = f"""{COUNT}
import shutil
from lmserve.metrics import membership
from lmserve.metrics.sharing import exposition, shared_folder
membership._LOOK_S = 0
shutil.rmtree(shared_folder())
sentences.inc(5)
print(exposition(shared_folder()).decode())
"""
    told = run(script, tmp_path / "node").stdout
    assert "lmserve_sentences_total 5.0" in told
    assert "lmserve_replicas 1.0" in told
