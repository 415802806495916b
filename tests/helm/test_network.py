"""The network's policies: the paths that are needed, and no others."""

import itertools

import pytest
from chart import Manifest, manifests, of_kind, pod_templates
from feature_values import ALL_ON, BUILD, FEATURES, together
from reachability import Peer, reaches

EVERYTHING = together(
    "nodes that scale",
    "redis",
    "traces",
    "policies",
    "ingress",
    "lasting cluster",
    "build",
    "score",
)
OPERATOR = Peer({"app.kubernetes.io/name": "kuberay-operator"}, "kuberay")
PROMETHEUS = Peer({"app.kubernetes.io/name": "prometheus"}, "monitoring")
DNS = Peer({"k8s-app": "kube-dns"}, "kube-system")
NEIGHBOUR = Peer({"app": "other"})
FRIEND = Peer({"lmserve-client": "true"})
INGRESS = Peer({"app": "controller"}, "there")
STRANGER = Peer({"app": "other"}, "elsewhere")
STORE = Peer(namespace=None, address="52.1.2.3")
OUTSIDE = {
    "operator": OPERATOR,
    "prometheus": PROMETHEUS,
    "neighbour": NEIGHBOUR,
    "stranger": STRANGER,
}
PORTS = (22, 443, 6379, 6443, 8000, 8080, 8265, 9465, 10001, 12345, 30000, 44217, 44227, 52365)


def pods(objects: list[Manifest]) -> dict[str, Peer]:
    """The release's pods, with the labels that KubeRay adds."""
    found = {}
    for name, pod in pod_templates(objects):
        labels = dict(pod["metadata"]["labels"])
        if "lmserve/cluster" in labels:
            labels["ray.io/is-ray-node"] = "yes"
            labels["ray.io/node-type"] = labels["app.kubernetes.io/component"]
        found[name.removeprefix("lm-lmserve").lstrip("-/")] = Peer(labels)
    return found


def expected(source: str, target: str, port: int) -> bool:
    """Whether one of the pods of `EVERYTHING` is meant to reach another."""
    if source == "build-news/submitter" or source == "score-news/submitter":
        return target.endswith("head") and port == 8265
    if source == "test":
        return target in ("head", "serve") and port == 8000
    if target == "redis":
        return source in ("head", "serve", "ray/head", "ray/work") and port == 6379
    cluster = {"head": "serve", "serve": "serve"}
    of_source, of_target = (cluster.get(name, name.partition("/")[0]) for name in (source, target))
    return (
        of_source == of_target
        and source not in ("redis", "test")
        and not target.endswith("submitter")
    )


def test_within_the_release() -> None:
    objects = manifests(EVERYTHING)
    there = pods(objects)
    assert set(there) == {
        *("head", "serve", "ray/head", "ray/work", "build-news/head", "build-news/work"),
        *("build-news/submitter", "score-news/head", "score-news/work", "score-news/submitter"),
        *("redis", "test"),
    }
    wrong = [
        (source, target, port)
        for source, target in itertools.permutations(there, 2)
        for port in PORTS
        if reaches(objects, there[source], there[target], port) != expected(source, target, port)
    ]
    assert wrong == []


def test_from_outside() -> None:
    objects = manifests(FEATURES["lasting cluster"], FEATURES["build"])
    there = pods(objects)
    heads = {name for name in there if name.endswith("head")}
    rays = {name for name in there if name.split("/")[-1] in ("head", "serve", "work")}
    allowed = {
        *(("operator", head, 8265) for head in heads),
        *(("operator", name, 8000) for name in ("head", "serve")),
        *(("prometheus", ray, port) for ray in rays for port in (9465, 8080, 44217, 44227)),
    }
    found = {
        (name, target, port)
        for name, source in OUTSIDE.items()
        for target in there
        for port in PORTS
        if reaches(objects, source, there[target], port)
    }
    assert found == allowed


def test_clients_are_those_that_are_named() -> None:
    objects = manifests(FEATURES["ingress"])
    service = pods(objects)["serve"]
    assert reaches(objects, INGRESS, service, 8000)
    assert reaches(objects, FRIEND, service, 8000)
    assert not reaches(objects, INGRESS, service, 8265)
    assert not reaches(objects, NEIGHBOUR, service, 8000)
    assert not reaches(objects, STRANGER, service, 8000)


def test_dashboards_are_for_those_that_are_named() -> None:
    for case, named in (("policies", True), ("cluster", False)):
        objects = manifests(FEATURES[case], FEATURES["cluster"])
        head = pods(objects)["ray/head"]
        assert reaches(objects, INGRESS, head, 8265) == named
        # Whatever extraIngress lets through besides.
        if not named:
            assert not reaches(objects, INGRESS, head, 10001)


def test_to_the_outside() -> None:
    build = {**BUILD, "text": ["s3://texts/news"], "output": "s3://models/news"}
    scaled = together("object store", "nodes that scale", "redis")
    objects = manifests(scaled, {"jobs": {"build": [build]}})
    there = pods(objects)
    rays = {name for name in there if name.split("/")[-1] in ("head", "serve", "work")}
    store = {name for name in there if reaches(objects, there[name], STORE, 443)}
    assert store == rays
    # Kubernetes's own server, from the one head that has an autoscaler.
    assert {name for name in there if reaches(objects, there[name], STORE, 6443)} == {"head"}
    assert all(
        reaches(objects, one, DNS, 53, protocol)
        for one in there.values()
        for protocol in ("UDP", "TCP")
    )
    assert not any(
        reaches(objects, one, STRANGER, port) for one in there.values() for port in PORTS
    )
    plain = manifests({})
    assert not any(
        reaches(plain, one, STORE, port) for one in pods(plain).values() for port in PORTS
    )


def test_redis_elsewhere_and_collectors() -> None:
    objects = manifests(FEATURES["other redis"])
    service = pods(objects)["serve"]
    assert reaches(objects, service, INGRESS, 6380)
    assert not reaches(objects, service, INGRESS, 6379)
    traced = manifests(FEATURES["traces"])
    assert reaches(traced, pods(traced)["serve"], INGRESS, 4318)
    assert not reaches(traced, pods(traced)["test"], INGRESS, 4318)


def test_stores_within_private_networks_stay_out_where_they_are_excepted() -> None:
    to = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]
    objects = manifests(FEATURES["object store"], {"networkPolicy": {"storage": {"to": to}}})
    service = pods(objects)["serve"]
    assert reaches(objects, service, STORE, 443)
    assert not reaches(objects, service, Peer(namespace=None, address="10.1.2.3"), 443)


@pytest.mark.parametrize("case", ["all on", *FEATURES])
def test_every_pod_has_policies_unless_there_are_none(case: str) -> None:
    objects = manifests(ALL_ON if case == "all on" else FEATURES[case])
    if case == "no policies":
        assert of_kind(objects, "NetworkPolicy") == []
        return
    for peer in pods(objects).values():
        assert not reaches(objects, STRANGER, peer, 22)
        assert not reaches(objects, peer, STRANGER, 22)
