"""Builds on a Ray of two nodes, each with a temporary folder of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from corpora import zipf_text
from s3_server import running_s3

from cluster.build import build
from cluster.config import BuildConfig
from lmserve.remote_folder import RemoteFolder

SCRIPT = """
import json, sys, tempfile
from pathlib import Path
import psutil
from ray.cluster_utils import Cluster

import ray
from cluster.build import build
from cluster.config import BuildConfig
from cluster.nodes import check_nodes_see
from cluster.progress import Silent
from cluster.workspace import Workspace
from lmserve.errors import BuildError, RefusedTextError

text, refused, url, folder = sys.argv[1:]
folders = [Path(folder, name) for name in ("driver", "node-0", "node-1")]

class Watch(Silent):
    stage = killed = ""
    seen = set()
    def stage_started(self, name, total):
        self.stage = name
        if name == "count":
            self.seen = {path.name for path in folders if list(path.glob("*.building"))}
    def advanced(self, amount):
        if self.stage == "scatter" and not self.killed:
            self.killed = "yes"
            processes = psutil.Process().children(recursive=True)
            next(p for p in processes if "NgramWorker" in " ".join(p.cmdline())).kill()

def main():
    ray_cluster = Cluster()
    for path in folders[1:]:
        ray_cluster.add_node(
            num_cpus=1, include_dashboard=False, env_vars={"TMPDIR": str(path)},
        )
    ray_cluster.connect()
    tempfile.tempdir = str(folders[0])
    try:
        watch = Watch()
        config = BuildConfig(inputs=(text,), url=url, order=3, workers=2, shard_records=100_000)
        result = {"digest": build(config, watch).digest, "killed": watch.killed}
        result["seen"] = sorted(watch.seen)
        try:
            build(BuildConfig(inputs=(refused,), url=url, order=3, overwrite=True))
        except RefusedTextError as error:
            result["refused"] = error.problem
        try:
            check_nodes_see(Workspace(Path(folder, "elsewhere")))
        except BuildError as error:
            result["unseen"] = str(error)
        local = BuildConfig(inputs=(text,), output=Path(folder, "model"), order=3, workers=2)
        result["local"] = build(local).digest
        print(json.dumps(result))
    finally:
        ray.shutdown()
        ray_cluster.shutdown()

main()
"""


def test_nodes_that_share_only_a_store(tmp_path: Path) -> None:
    """Also when a worker is killed, and with text that is refused: nothing stays on any node."""
    text, refused = tmp_path / "text", tmp_path / "refused"
    text.write_text(zipf_text(16_000, length=30, words=10_000, seed=3))
    refused.write_text("a b\nc <s>\n")
    for name in ("driver", "node-0", "node-1"):
        (tmp_path / name).mkdir()
    with running_s3() as (query, _):
        arguments = [str(text), str(refused), f"s3://bucket/on-ray/model{query}", str(tmp_path)]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments],
            capture_output=True,
            text=True,
            timeout=240,
            env=os.environ | {"RAY_AUTH_MODE": "disabled"},
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        there = RemoteFolder(f"s3://bucket/on-ray{query}").files()
    local = BuildConfig(inputs=(str(text),), output=tmp_path / "expected", order=3)
    assert result["digest"] == result["local"] == build(local, on_ray=False).digest
    assert result["killed"]
    assert result["seen"] == ["driver", "node-0", "node-1"]
    assert "line 2: the text holds <s>" in result["refused"]
    assert "does not see" in result["unseen"]
    assert "s3://bucket/model" in result["unseen"]
    assert {path.partition("/")[0] for path in there} == {"model"}
    for name in ("driver", "node-0", "node-1"):
        assert not list((tmp_path / name).glob("*.building"))
