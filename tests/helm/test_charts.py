"""What docs/charts.md says of this chart is rendered, row by row."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from chart import (
    CHART,
    EXAMPLES,
    ROOT,
    Manifest,
    clusters,
    containers,
    environment,
    manifests,
    of_kind,
    pod_templates,
    refusal,
    the,
)
from feature_values import ALL_ON, FEATURES


def service(case: str) -> Manifest:
    """A feature's RayService."""
    spec: Manifest = the(manifests(FEATURES[case]), "RayService")["spec"]
    return spec


def ray(case: str) -> Manifest:
    """The cluster of a feature's RayService."""
    spec: Manifest = service(case)["rayClusterConfig"]
    return spec


def worker(case: str) -> Manifest:
    """The pod of its first group."""
    pod: Manifest = ray(case)["workerGroupSpecs"][0]["template"]
    return pod


def serve(case: str) -> dict[str, Any]:
    """What it tells Ray Serve of its deployment."""
    told: dict[str, Any] = yaml.safe_load(service(case)["serveConfigV2"])
    deployment: dict[str, Any] = told["applications"][0]["deployments"][0]
    return deployment


def kinds(case: str) -> set[str]:
    return {one["kind"] for one in manifests(FEATURES[case])}


def _redis_is_complete() -> bool:
    stateful = the(manifests(FEATURES["redis"]), "StatefulSet")["spec"]
    encrypted = the(manifests(FEATURES["redis with existing secrets"]), "ConfigMap")
    return (
        bool(stateful["volumeClaimTemplates"])
        and "tls-port 6379" in encrypted["data"]["redis.conf"]
    )


def _extras_are_everywhere() -> bool:
    found = [
        pod for name, pod in pod_templates(manifests(FEATURES["extras of all pods"])) if "/" in name
    ]
    mounted = all("/more" in str(pod["spec"]["containers"][0]["volumeMounts"]) for pod in found)
    drains = [environment(pod)["LMSERVE_DRAIN_S"] for pod in found]
    own = worker("own containers")["spec"]
    names = {box["name"] for box in containers(worker("own containers"))}
    return mounted and drains == ["77"] * 2 and {"first", "logs"} <= names and bool(own)


def _is_placed() -> bool:
    spec = worker("places of all pods")["spec"]
    wanted = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
    wanted += ("runtimeClassName", "schedulerName")
    return all(spec.get(name) for name in wanted)


def _is_spread() -> bool:
    told = worker("redis")["spec"]["topologySpreadConstraints"]
    keys = [one["topologyKey"] for one in told]
    own = worker("places of all pods")["spec"]["topologySpreadConstraints"]
    return (
        keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"] and own[0]["maxSkew"] == 2
    )


def _has_gpus() -> bool:
    [path] = [path for path in EXAMPLES if path.stem == "gpu"]
    objects = manifests(path)
    limits = [
        group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
        for _, spec in clusters(objects)
        for group in spec["workerGroupSpecs"]
    ]
    return limits == [1, 1]


def _upgrades() -> bool:
    plain = service("redis")["upgradeStrategy"]
    by_steps = service("incremental upgrades")["upgradeStrategy"]
    options = by_steps["clusterUpgradeOptions"]
    return plain == {"type": "NewCluster"} and options["gatewayClassName"] == "istio"


def _drains() -> bool:
    spec = worker("draining")["spec"]
    pause = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    replicas = serve("draining")["graceful_shutdown_timeout_s"]
    return pause == 125 and replicas == 130 and spec["terminationGracePeriodSeconds"] == 270


def _monitors() -> bool:
    return "PodMonitor" in kinds("pod monitor") and "ServiceMonitor" in kinds("service monitor")


def _ways_in() -> bool:
    route = the(manifests(FEATURES["route"]), "HTTPRoute")["spec"]["rules"][0]
    target = the(manifests(FEATURES["ingress"]), "Ingress")["spec"]["rules"][0]["http"]["paths"][0]
    named = {target["backend"]["service"]["name"], route["backendRefs"][0]["name"]}
    return named == {"lm-lmserve-serve-svc"} and route["timeouts"]["request"] == "0s"


def _schema_is_closed() -> bool:
    def objects(part: Any) -> Iterator[dict[str, Any]]:
        if isinstance(part, dict):
            if isinstance(part.get("properties"), dict) and part.get("type") == "object":
                yield part
            for one in part.values():
                yield from objects(one)

    schema = json.loads((CHART / "values.schema.json").read_text())
    # Kubernetes' own structures are open: it knows them itself.
    own = [one for one in objects(schema) if "metadata" not in one["properties"]]
    closed = [one for one in own if one.get("additionalProperties") is False]
    kubernetes = {"named", "mounts", "containers", "constraints"}
    open_ones = len(own) - len(closed)
    return len(closed) > 50 and open_ones == len(kubernetes) + 1


PROOFS: dict[str, Callable[[], bool]] = {
    "RayService": lambda: "RayService" in kinds("redis"),
    "RayJob": lambda: len(of_kind(manifests(ALL_ON), "RayJob")) == 5,
    "RayCluster": lambda: "RayCluster" in kinds("cluster"),
    "zero-downtime upgrade": _upgrades,
    "fault tolerance of the head in Redis": lambda: (
        "gcsFaultToleranceOptions" in ray("redis")
        and "gcsFaultToleranceOptions" in ray("other redis")
    ),
    "Redis with password, TLS, persistence": _redis_is_complete,
    "Ray token authentication": lambda: ray("own token")["authOptions"]["mode"] == "token",
    "autoscaling of replicas": lambda: (
        serve("replicas that scale")["autoscaling_config"]["max_replicas"] == 4
    ),
    "autoscaling of nodes": lambda: ray("nodes that scale")["autoscalerOptions"]["version"] == "v2",
    "explicit probes": lambda: (
        {"startupProbe", "livenessProbe", "readinessProbe"}
        <= set(worker("redis")["spec"]["containers"][0])
    ),
    "draining matched to the end of pods": _drains,
    "restricted pods, read-only root": lambda: all(
        box["securityContext"]["readOnlyRootFilesystem"] for box in containers(worker("redis"))
    ),
    "NetworkPolicy": lambda: (
        the(manifests({}), "NetworkPolicy", "lm-lmserve-default")["spec"]["policyTypes"]
        == ["Ingress", "Egress"]
    ),
    "PodDisruptionBudget": lambda: (
        the(manifests(FEATURES["disruption"]), "PodDisruptionBudget")["spec"]["minAvailable"] == 2
    ),
    "ServiceAccount, minimal RBAC": lambda: (
        "ServiceAccount" in kinds("redis")
        and "Role" not in kinds("redis")
        and "Role" in kinds("rights")
    ),
    "Secrets by reference": lambda: not of_kind(manifests(ALL_ON), "Secret"),
    "generated Secrets kept over upgrades": lambda: (
        "Secret" in kinds("made token")
        and "lookup" in (CHART / "templates/secrets.yaml").read_text()
    ),
    "changes of Secrets and configuration roll pods": lambda: (
        "checksum/secrets" in worker("own token")["metadata"]["annotations"]
        and "checksum/config"
        in the(manifests(FEATURES["redis"]), "StatefulSet")["spec"]["template"]["metadata"][
            "annotations"
        ]
    ),
    "models checked before they are served": lambda: (
        ["lmserve", "verify", "/data/models"]
        in [box.get("command") for box in containers(worker("redis"))]
    ),
    "volume or object store": lambda: (
        "PersistentVolumeClaim" in kinds("redis")
        and "PersistentVolumeClaim" not in kinds("object store")
    ),
    "PodMonitor and ServiceMonitor": _monitors,
    "PrometheusRule whose alerts are tested": lambda: "PrometheusRule" in kinds("rules"),
    "Grafana dashboards": lambda: len(of_kind(manifests(FEATURES["dashboards"]), "ConfigMap")) == 4,
    "Ingress and Gateway API": _ways_in,
    "OpenTelemetry": lambda: (
        environment(worker("traces"))["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
    ),
    "topology spread": _is_spread,
    "priority, runtime, scheduler, affinity": _is_placed,
    "GPU groups": _has_gpus,
    "extra environment, volumes, containers": _extras_are_everywhere,
    "strict values.schema.json": _schema_is_closed,
    "cross-field rules of the operator": lambda: (
        "needs serving.nodeAutoscaling.enabled"
        in refusal({"serving": {"upgradeStrategy": {"type": "NewClusterWithIncrementalUpgrade"}}})
    ),
    "NOTES with commands": lambda: "kubectl" in (CHART / "templates" / "NOTES.txt").read_text(),
    "helm test": lambda: "* 250" in the(manifests({}), "Pod")["spec"]["containers"][0]["args"][0],
    "kubeVersion": lambda: (
        yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == ">=1.29.0-0"
    ),
    "chart tests": lambda: len(list((ROOT / "tests" / "helm").glob("test_*.py"))) >= 8,
}


def table() -> list[str]:
    """The features of the document's table."""
    lines = (ROOT / "docs" / "charts.md").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")]
    return [row[0].removeprefix("| ") for row in rows if row[0] not in ("| feature", "| ---")]


def test_every_row_has_a_proof() -> None:
    assert table() == list(PROOFS)


@pytest.mark.parametrize("feature", PROOFS)
def test_row(feature: str) -> None:
    assert PROOFS[feature]()
