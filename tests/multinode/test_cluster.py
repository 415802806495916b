"""Jobs and the service on several hosts: the results of a single machine, whatever happens.

The order of the tests matters: on the way, hosts are lost.
"""

import json
import os
import re
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hosts import Host
from programs import output
from ray_nodes import RayNodes, give_token, joining, wait_for_nodes
from safetensors.torch import load_file
from serving_nodes import answers_of_a_stream, deploy, entrances, session_on, sessions, words_on
from single_machine import ORDER, SETTINGS_FILE, train_alone
from waiting import paused, wait_until
from whole_cluster import Running, prepare

import lmserve
from lmserve.records import score_lines

pytestmark = pytest.mark.timeout(900)

_LARGEST_BYTES = 1 << 24
_WORDS = ["w0", "w1", "w2", "unheard", "w3", "w5", "w0", "w8"]


def build_job(nodes: RayNodes, name: str, *options: str) -> tuple[object, ...]:
    job = ("jobs.build_ngram", nodes.stores.url("text/part-*.txt"))
    return (*job, "--output", nodes.stores.url(name), "--order", ORDER, *options)


def read(nodes: RayNodes, name: str) -> dict[str, object]:
    """A file of JSON in the bucket."""
    content = nodes.stores.bucket.read(name, _LARGEST_BYTES)
    assert content is not None, f"there is no {name}"
    found: dict[str, object] = json.loads(content)
    return found


def wait_for_pieces(nodes: RayNodes, name: str) -> None:
    """Waits until a build has done something, and is not yet done with it."""
    bucket = nodes.stores.bucket
    wait_until(lambda: bucket.files(f"{name}.building/pieces") != [], "pieces of a text")
    assert not bucket.exists(f"{name}/manifest.json")


def test_every_host_has_its_role(nodes: RayNodes) -> None:
    roles = {address: labels["lmserve/role"] for address, labels in nodes.alive().items()}
    workers = {worker.address: "build" for worker in nodes.workers}
    assert roles == {nodes.head.address: "head", **workers}


def test_who_has_no_token_submits_nothing(nodes: RayNodes) -> None:
    refused = nodes.submit("jobs.info", "model", RAY_AUTH_MODE="disabled")
    assert refused.returncode != 0
    assert "Missing authentication token" in refused.stdout
    refused = nodes.submit("jobs.info", "model", RAY_AUTH_TOKEN="0" * 64, RAY_AUTH_TOKEN_PATH="")
    assert refused.returncode != 0
    assert "Invalid authentication token" in refused.stdout
    assert nodes.ask("/api/jobs/") == []


def test_a_build_is_that_of_one_machine(nodes: RayNodes, model: Path) -> None:
    result = nodes.submit(*build_job(nodes, "model"))
    assert result.returncode == 0, result.stdout
    assert read(nodes, "model/manifest.json")["digest"] == lmserve.load(model).digest
    assert read(nodes, "model/build.json")["workers"] == len(nodes.workers)
    assert nodes.took_part("NgramWorker") == {worker.address for worker in nodes.workers}
    for worker in nodes.workers:
        left = worker.path(worker.temporary).glob("*.building/**/*")
        assert list(left) == [], result.stdout
        if nodes.hosts.apart:
            # On the loopback network, all requests come from one address.
            written = rf'^{re.escape(worker.address)} .*"PUT /lmserve/model.building/pieces/'
            assert re.search(written, nodes.stores.host.log("s3"), re.MULTILINE)


def test_a_path_that_not_all_hosts_see_is_refused(nodes: RayNodes) -> None:
    if not nodes.hosts.apart:
        pytest.skip("these hosts see each other's folders")
    text = nodes.stores.url("text/small.txt")
    result = nodes.submit("jobs.build_ngram", text, "--output", "/tmp/model")
    assert result.returncode != 0
    assert any(worker.name in result.stdout for worker in nodes.workers)
    assert "URL" in result.stdout


def test_a_network_is_that_of_one_machine(nodes: RayNodes, texts: Path, tmp_path: Path) -> None:
    text = nodes.stores.url("text/small.txt")
    job = ("jobs.train", text, "--valid", text, "--output", nodes.stores.url("lstm"))
    result = nodes.submit(*job, "--workers", "2", "--config", SETTINGS_FILE)
    assert result.returncode == 0, result.stdout
    train_alone(texts / "small.txt", tmp_path / "alone", workers=2)
    nodes.stores.bucket.get("lstm/weights.safetensors", tmp_path / "weights.safetensors")
    alone = load_file(tmp_path / "alone" / "weights.safetensors")
    together = load_file(tmp_path / "weights.safetensors")
    assert alone.keys() == together.keys()
    assert all((alone[name] == together[name]).all() for name in alone)
    digest = read(nodes, "lstm/manifest.json")["digest"]
    assert digest == lmserve.load(tmp_path / "alone").digest


def test_scores_of_a_corpus_are_those_of_one_machine(
    nodes: RayNodes, texts: Path, model: Path, tmp_path: Path
) -> None:
    job = ("jobs.score_corpus", nodes.stores.url("model"), nodes.stores.url("text/*.txt"))
    result = nodes.submit(*job, "--output", nodes.stores.url("scores"), "--part-size", "1MiB")
    assert result.returncode == 0, result.stdout
    bucket = nodes.stores.bucket
    parts = [name for name in bucket.files("scores") if name.endswith(".parquet")]
    for name in parts:
        bucket.get(name, tmp_path / Path(name).name)
    assert read(nodes, "scores/summary.json")["workers"] == len(nodes.workers)
    for path in texts.iterdir():
        # Parts of one text have names in its order.
        own = pa.concat_tables(map(pq.read_table, sorted(tmp_path.glob(f"{path.name}-*"))))
        scores = map(json.loads, output("score", model, path).splitlines())
        names = ("log10_prob", "perplexity", "tokens", "oov")
        expected = [tuple(score[name] for name in names) for score in scores]
        assert list(zip(*(own[name].to_pylist() for name in names), strict=True)) == expected


def test_a_job_that_was_stopped_is_resumed(nodes: RayNodes, model: Path) -> None:
    nodes.submit_aside("stopped", *build_job(nodes, "resumed"))
    wait_for_pieces(nodes, "resumed")
    with paused(nodes.workers, "ray::NgramWorker"):
        assert "RUNNING" in nodes.ray("job", "status", "stopped").stdout
        assert "start workers: " in nodes.ray("job", "logs", "stopped").stdout
        assert nodes.ray("job", "stop", "stopped").returncode == 0
    assert nodes.job("stopped")["status"] == "STOPPED"
    assert not nodes.stores.bucket.exists("resumed/manifest.json")
    result = nodes.submit(*build_job(nodes, "resumed", "--resume"))
    assert result.returncode == 0, result.stdout
    assert read(nodes, "resumed/manifest.json")["digest"] == lmserve.load(model).digest


def test_a_build_outlives_a_host(nodes: RayNodes, model: Path, running_nodes: Running) -> None:
    nodes.submit_aside("bereft", *build_job(nodes, "survived"))
    wait_for_pieces(nodes, "survived")
    nodes.workers.pop().end()
    spare = join(nodes, "worker3", running_nodes.stack)
    said = nodes.finished("bereft")
    assert nodes.job("bereft")["status"] == "SUCCEEDED", said
    assert read(nodes, "survived/manifest.json")["digest"] == lmserve.load(model).digest
    assert spare.address in nodes.took_part("NgramWorker")
    assert read(nodes, "survived/build.json")["restarts"]


def join(nodes: RayNodes, name: str, stack: ExitStack) -> Host:
    """A new host, once it is a node."""
    host = nodes.hosts.add(name)
    prepare(host, nodes)
    give_token(nodes.client, [host])
    stack.enter_context(joining(nodes, host, "build"))
    wait_for_nodes(nodes, [host])
    nodes.workers.append(host)
    return host


def test_the_service_answers_on_every_host(nodes: RayNodes, texts: Path, model: Path) -> None:
    published = nodes.client.run(
        *("lmserve", "publish", nodes.stores.url("model"), "--to", nodes.stores.url("models")),
        *("--name", "words"),
    )
    assert published.returncode == 0, published.stdout
    deploy(nodes, replicas=len(nodes.workers))
    lines = (texts / "part-0.txt").read_bytes().splitlines(keepends=True)
    scorer = lmserve.load(model)
    expected = list(score_lines(scorer, lines, scorer.score_texts(lines), words=False))
    for host in entrances(nodes):
        assert answers_of_a_stream(host, lines) == expected


def test_a_session_goes_on_at_another_host(nodes: RayNodes) -> None:
    with session_on(entrances(nodes)[0]) as connection:
        unbroken = words_on(connection, _WORDS)
    wait_until(lambda: holders(nodes) == [], "the end of the session")
    with session_on(entrances(nodes)[0]) as connection:
        told = words_on(connection, _WORDS[:4])
        wait_until(lambda: len(holders(nodes)) == 1, "one host with a session")
        [holder] = holders(nodes)
        nodes.workers.remove(holder)
        holder.end()
    with session_on(entrances(nodes)[0], state=told[-1]["state"]) as connection:
        told += words_on(connection, _WORDS[4:])
        assert holders(nodes) == nodes.workers
    for answer in (*told, *unbroken):
        answer.pop("state")
    assert told == unbroken


def holders(nodes: RayNodes) -> list[Host]:
    """The hosts whose replicas have a session."""
    return [worker for worker in nodes.workers if sessions(worker) > 0]


def test_nothing_is_left(running_nodes: Running) -> None:
    nodes = running_nodes.nodes
    assert nodes.hosts.left() != set()
    folders = {host.path(host.temporary) for host in nodes.hosts.all}
    running_nodes.stack.close()
    assert nodes.hosts.left() == set()
    assert not any(os.path.exists(folder) for folder in folders)
