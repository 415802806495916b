"""Processes of a node that share a folder: which of them live, and who may have the folder."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lmserve.metrics import membership
from lmserve.metrics.sharing import exposition


def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | variables
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@contextmanager
def waiting(script: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that ran a script and waits."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", f"{script}\nprint('ready', flush=True)\ninput()"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


COUNT = """
from prometheus_client import CollectorRegistry
from lmserve.metrics import families, service_metrics
registry = CollectorRegistry()
sentences = families.counter(service_metrics.SENTENCES, registry)
sessions = families.gauge(service_metrics.SESSIONS, registry)
sentences.inc(2)
sessions.inc(3)
"""


def test_the_living_are_known_by_role_until_they_are_killed(tmp_path: Path) -> None:
    join = "from lmserve.metrics.sharing import join_node; join_node('replica')"
    with waiting(join, tmp_path) as replica, waiting(COUNT, tmp_path) as other:
        found = {process.pid: process for process in membership.living(tmp_path).values()}
        assert {pid: process.role for pid, process in found.items()} == {
            replica.pid: "replica",
            other.pid: "other",
        }
        assert found[replica.pid].here
        assert "lmserve_sessions 3.0" in exposition(tmp_path).decode()
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert [one.pid for one in membership.living(tmp_path).values()] == [replica.pid]
        text = exposition(tmp_path).decode()
        assert "lmserve_sessions" not in text
        assert "lmserve_sentences_total 2.0" in text


def test_a_forked_process_counts_beside_its_parent(tmp_path: Path) -> None:
    script = f"""{COUNT}
import os, signal
child = os.fork()
if not child:
    sentences.inc(40)
    sessions.inc(50)
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
"""
    with waiting(script, tmp_path) as parent:
        text = exposition(tmp_path).decode()
        assert "lmserve_sentences_total 42.0" in text
        assert "lmserve_sessions 3.0" in text
        assert [one.pid for one in membership.living(tmp_path).values()] == [parent.pid]


def test_a_parent_does_not_live_on_in_its_child(tmp_path: Path) -> None:
    script = f"{COUNT}\nimport os\nif os.fork(): os.kill(os.getpid(), 9)"
    with waiting(script, tmp_path) as parent:
        assert parent.wait() == -signal.SIGKILL
        assert membership.living(tmp_path) == {}
        assert parent.stdin is not None
        parent.stdin.write("\n")


def test_a_fresh_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "node" / "metrics"
    script = "from lmserve.metrics.sharing import share_metrics; print(share_metrics())"
    result = run(script, LMSERVE_METRICS_DIR=str(folder))
    assert result.stdout == f"{folder}\n"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("hindrance", ["open to all", "a link", "a file"])
def test_a_folder_that_others_may_write_to_is_refused(hindrance: str, tmp_path: Path) -> None:
    folder = tmp_path / f"lmserve-metrics-{os.getuid()}"
    if hindrance == "open to all":
        folder.mkdir()
        folder.chmod(0o777)
    elif hindrance == "a link":
        (tmp_path / "elsewhere").mkdir(0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.touch()
    script = "from jobs.shell import share_metrics_if_possible as f; f()"
    result = run(script, LMSERVE_METRICS_DIR="", TMPDIR=str(tmp_path))
    assert result.returncode == 0
    assert f"metrics cannot be kept in {folder}" in result.stderr
    assert "LMSERVE_METRICS_DIR" in result.stderr


def test_sharing_too_late_is_a_fault(tmp_path: Path) -> None:
    script = "import prometheus_client; from lmserve.metrics import sharing as s; s.share_metrics()"
    result = run(script, LMSERVE_METRICS_DIR=str(tmp_path))
    assert "prometheus_client was imported before share_metrics()" in result.stderr


def test_a_command_that_counts_nothing_pays_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['lmserve', 'info', '--help']\n"
        "from jobs.cli import main\n"
        "try: main()\n"
        "finally: print('prometheus_client' in sys.modules)"
    )
    result = run(script, LMSERVE_METRICS_DIR=str(tmp_path))
    assert result.stdout.endswith("False\n"), result.stderr
    assert list(tmp_path.iterdir()) == []
