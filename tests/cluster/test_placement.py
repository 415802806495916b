"""Work on the nodes of a role, on a real cluster whose nodes have different ones."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Nodes, nodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with nodes() as cluster:
        cluster.start_head("--num-cpus=1", "--labels=lmserve/role=serve")
        cluster.start_worker("--num-cpus=2", "--labels=lmserve/role=build")
        cluster.start_worker("--num-cpus=2", "--labels=lmserve/role=build")
        yield cluster


def test_only_the_nodes_of_a_role_count_and_work(cluster: Nodes) -> None:
    script = f"""
import json
import ray
from cluster.placement import gpus, options_for, processors
from cluster.pool import RayPool
from cluster.session import connect
connect({cluster.address!r})
class Worker:
    def __init__(self, number):
        self.number = number
    def node(self):
        return ray.get_runtime_context().get_node_id()
def used(size, role):
    pool = RayPool(Worker, size, role=role)
    pool.start()
    found = sorted(ray.get([actor.node.remote() for actor in pool._actors]))
    pool.close()
    return found
roles = {{node["NodeID"]: node["Labels"]["lmserve/role"] for node in ray.nodes()}}
print(json.dumps({{
    "processors": [processors(), processors("build"), processors("serve"), gpus("build")],
    "two": used(2, "build"),
    "all": [roles[node] for node in used(None, "build")],
    "one": [roles[node] for node in used(1, "serve")],
}}))
"""
    result = cluster.python(script)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["processors"] == [5, 4, 1, 0]
    assert found["all"] == ["build"] * 4
    # Spread.
    assert len(set(found["two"])) == 2
    assert found["one"] == ["serve"]


def test_what_no_node_can_do_is_refused_with_the_roles_there_are(cluster: Nodes) -> None:
    script = f"""
from cluster.placement import check_role
from cluster.pool import RayPool
from cluster.session import connect
from lmserve.errors import OptionError
connect({cluster.address!r})
for call in (lambda: check_role("train"), lambda: RayPool(object, 5, role="build")):
    try:
        call()
    except OptionError as error:
        print(error)
"""
    result = cluster.python(script)
    assert "none of the cluster's 3 nodes has the role 'train'; roles there: build, serve" in (
        result.stdout
    )
    assert "5 workers on nodes of the role 'build' of 4 processors" in result.stdout


def test_a_training_runs_on_its_role(cluster: Nodes, tiny_text: Path, tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch_size": 4, "length": 10, "threads": 1}
    script = f"""
import json
from pathlib import Path
import ray
from ray.util.state import list_actors
from cluster.session import connect
from cluster.training import Scale, train_on_ray
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.run_config import RunConfig
connect({cluster.address!r})
train_on_ray(
    RunConfig(
        inputs=({str(tiny_text)!r},),
        valid=({str(tiny_text)!r},),
        output=Path({str(tmp_path / "model")!r}),
        network=NetworkConfig(embedding_size=8, hidden_size=8),
        training=TrainingConfig.model_validate({settings}),
    ),
    Scale(workers=2, role="build"),
)
roles = {{node["NodeID"]: node["Labels"]["lmserve/role"] for node in ray.nodes()}}
actors = list_actors({cluster.dashboard!r}, filters=[("class_name", "=", "RayTrainWorker")])
print(json.dumps([roles[actor.node_id] for actor in actors]))
"""
    result = cluster.python(script)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == ["build", "build"]
