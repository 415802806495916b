"""Values that would fail later are refused at once, with words that tell what to do."""

from typing import Any

import pytest
from chart import CHART, manifests, refusal, run_helm
from feature_values import BUILD, FEATURES, PUBLISH, SCORE, TRAIN, together

# What is wrong, and words of the message.
SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"serving": {"replica": 2}}, "serving: Additional property replica is not allowed"),
    ({"servings": {}}, "Additional property servings is not allowed"),
    (
        {"fullnameOverride": "a" * 48},
        "fullnameOverride: String length must be less than or equal to 47",
    ),
    ({"fullnameOverride": "1st"}, "fullnameOverride: Does not match pattern"),
    ({"fullnameOverride": "a.b"}, "fullnameOverride: Does not match pattern"),
    ({"rayVersion": "nightly"}, "rayVersion: Does not match pattern"),
    ({"auth": {"mode": "tokens"}}, 'auth.mode must be one of the following: "token", "disabled"'),
    ({"image": {"digest": "sha256:12"}}, "image.digest: Does not match pattern"),
    ({"image": {"pullPolicy": "always"}}, "image.pullPolicy must be one of"),
    (
        {"serving": {"upgradeStrategy": {"type": "Rolling"}}},
        "serving.upgradeStrategy.type must be one of",
    ),
    ({"serving": {"upgradeStrategy": {"stepSizePercent": 101}}}, "less than or equal to 100"),
    (
        {"serving": {"upgradeStrategy": {"intervalSeconds": 0}}},
        "intervalSeconds: Must be greater than or equal to 1",
    ),
    ({"serving": {"clusterDeletionDelaySeconds": -1}}, "Must be greater than or equal to 0"),
    (
        {"serving": {"initializingTimeout": "soon"}},
        "serving.initializingTimeout: Does not match pattern",
    ),
    (
        {"serving": {"model": {"location": "models"}}},
        "serving.model.location: Does not match pattern",
    ),
    ({"serving": {"model": {"cache": "some"}}}, "serving.model.cache must be one of"),
    ({"serving": {"model": {"device": "tpu"}}}, "serving.model.device: Does not match pattern"),
    (
        {"serving": {"model": {"pollSeconds": 0}}},
        "serving.model.pollSeconds: Must be greater than 0",
    ),
    ({"serving": {"replicas": 0}}, "serving.replicas: Must be greater than or equal to 1"),
    ({"serving": {"logFormat": "xml"}}, "serving.logFormat must be one of"),
    (
        {"serving": {"protection": {"MAX_REQUESTS": 1}}},
        "Additional property MAX_REQUESTS is not allowed",
    ),
    ({"serving": {"protection": {"DRAIN_S": 1}}}, "Additional property DRAIN_S is not allowed"),
    ({"serving": {"protection": {"MAX_CONCURRENT": 0}}}, "Must be greater than or equal to 1"),
    ({"serving": {"extraEnv": [{"name": "A", "value": 1}]}}, "Expected: string, given: integer"),
    ({"serving": {"extraEnv": [{"value": "1"}]}}, "serving.extraEnv.0: name is required"),
    (
        {"serving": {"head": {"resources": {"limits": {"memory": "4 GB"}}}}},
        "Does not match pattern",
    ),
    (
        {"serving": {"head": {"rayStartParams": {"num-cpus": 0}}}},
        "Expected: string, given: integer",
    ),
    ({"serving": {"workerGroups": [{"name": "a"}]}}, "resources is required"),
    (
        {"serving": {"workerGroups": [{"name": "A_b", "resources": {}}]}},
        "name: Does not match pattern",
    ),
    (
        {"serving": {"workerGroups": [{"name": "a", "resources": {}, "restartPolicy": "Always"}]}},
        "restartPolicy is not allowed",
    ),
    (
        {"serving": {"podDisruptionBudget": {"minAvailable": "50%"}}},
        "Expected: integer, given: string",
    ),
    ({"pods": {"initContainers": [{"name": "a"}]}}, "image is required"),
    ({"commonLabels": {"a": 1}}, "commonLabels.a: Invalid type. Expected: string, given: integer"),
    ({"redis": {"externalUrl": "http://redis"}}, "redis.externalUrl: Does not match pattern"),
    ({"redis": {"auth": {"password": "secret"}}}, "Additional property password is not allowed"),
    ({"redis": {"maxMemory": "lots"}}, "redis.maxMemory: Does not match pattern"),
    ({"storage": {"persistence": {"accessModes": ["RWX"]}}}, "accessModes.0 must be one of"),
    ({"rbac": {"jobRunners": [{"kind": "Person", "name": "a"}]}}, "kind must be one of"),
    ({"jobs": {"build": [{"name": "a"}]}}, "output is required"),
    ({"jobs": {"build": [{**BUILD, "text": []}]}}, "Array must have at least 1 items"),
    (
        {"jobs": {"build": [{**BUILD, "submissionMode": "InteractiveMode"}]}},
        "submissionMode must be one of",
    ),
    ({"jobs": {"build": [{**BUILD, "backoffLimit": -1}]}}, "Must be greater than or equal to 0"),
    ({"jobs": {"train": [BUILD]}}, "valid is required"),
    ({"jobs": {"score": [BUILD]}}, "model is required"),
    ({"jobs": {"publish": [BUILD]}}, "to is required"),
    ({"jobs": {"tune": []}}, "Additional property tune is not allowed"),
    (
        {"networkPolicy": {"clients": [{"namespace": "a"}]}},
        "Additional property namespace is not allowed",
    ),
    (
        {"networkPolicy": {"storage": {"to": [{"ipBlock": {"cidr": "all"}}]}}},
        "cidr: Does not match pattern",
    ),
    ({"networkPolicy": {"storage": {"ports": []}}}, "Array must have at least 1 items"),
    ({"ingress": {"hosts": ["https://a"]}}, "ingress.hosts.0: Does not match pattern"),
    ({"ingress": {"pathType": "Regex"}}, "ingress.pathType must be one of"),
    ({"httpRoute": {"timeouts": {"request": "forever"}}}, "Does not match pattern"),
    ({"monitoring": {"interval": "often"}}, "monitoring.interval: Does not match pattern"),
]
_SERVE = [{"name": "a", "role": "serve", "resources": {}}]
_NEEDS_SCALING = together("incremental upgrades")
_NEEDS_SCALING["serving"] = {**_NEEDS_SCALING["serving"], "nodeAutoscaling": {"enabled": False}}
TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({"rayVersion": "2.51.1"}, "Ray knows tokens from 2.52.0 on"),
    (
        {"auth": {"existingSecret": "a", "generate": True}},
        "auth.existingSecret and auth.generate are both given",
    ),
    ({"auth": {"mode": "disabled", "generate": True}}, "set auth.mode to token"),
    (
        {"serviceAccount": {"create": False}, "serving": {"nodeAutoscaling": {"enabled": True}}},
        "Name one.",
    ),
    (_NEEDS_SCALING, "needs serving.nodeAutoscaling.enabled"),
    (
        {"serving": {"upgradeStrategy": {"type": "NewClusterWithIncrementalUpgrade"}}},
        "needs serving.upgradeStrategy.gatewayClassName",
    ),
    (together("incremental upgrades", "ingress"), "KubeRay makes a Gateway"),
    (
        {"serving": FEATURES["incremental upgrades"]["serving"]},
        "the Gateway could not reach the service",
    ),
    (
        {"serving": {"autoscaling": {"enabled": True, "minReplicas": 9}}},
        "minReplicas is 9 and maxReplicas 4",
    ),
    ({"serving": {"model": {"device": "cuda"}}}, "serving.gpusPerReplica 0"),
    ({"storage": {"persistence": {"enabled": False}}}, "give a URL"),
    (
        {"serving": {"model": {"location": "/models"}}},
        "which is not below storage.persistence.mountPath",
    ),
    ({"serving": {"role": "scores"}}, "no worker group has"),
    ({"serving": {"workerGroups": []}}, "serving.head.role is not serve"),
    ({"serving": {"workerGroups": [*_SERVE, *_SERVE]}}, "two groups of the name a"),
    (
        {"serving": {"workerGroups": [{**_SERVE[0], "replicas": 3, "maxReplicas": 2}]}},
        "maxReplicas is 2",
    ),
    (
        {"serving": {"workerGroups": [{**_SERVE[0], "rayStartParams": {"labels": "a=b"}}]}},
        "use role",
    ),
    ({"serving": {"head": {"rayStartParams": {"redis-password": "a"}}}}, "use redis"),
    (
        {"serving": {"extraEnv": [{"name": "REDIS_PASSWORD", "value": "a"}]}},
        "KubeRay's to set, from redis",
    ),
    (
        {"pods": {"extraEnv": [{"name": "RAY_REDIS_ADDRESS", "value": "a"}]}},
        "KubeRay's to set, from redis",
    ),
    (
        {"serving": {"head": {"extraEnv": [{"name": "RAY_AUTH_TOKEN", "value": "a"}]}}},
        "KubeRay's to set, from auth",
    ),
    (
        {"serving": {"extraEnv": [{"name": "RAY_enable_autoscaler_v2", "value": "1"}]}},
        "from nodeAutoscaling",
    ),
    ({"redis": {"enabled": True}}, "redis.enabled is true and has no password"),
    ({"redis": {"enabled": True, "auth": {"generate": True, "existingSecret": "a"}}}, "give one"),
    (
        {"redis": {"enabled": True, "auth": {"generate": True}, "tls": {"enabled": True}}},
        "redis.tls.existingSecret",
    ),
    ({"redis": {"enabled": True, "externalUrl": "redis://a"}}, "choose one"),
    ({"redis": {"externalUrl": "redis://a:b@c"}}, "has a password in it"),
    ({"redis": {"externalUrl": "redis+cluster://a"}}, "which Ray's head cannot use"),
    (
        {"redis": {"externalUrl": "redis://a", "auth": {"generate": True}}},
        "name the other's Secret",
    ),
    ({"redis": {"externalUrl": "redis://a"}}, "networkPolicy.redis.to is empty"),
    ({"cluster": {"enabled": True, "gcsFaultTolerance": True}}, "there is no Redis"),
    ({"serving": {"model": {"location": "s3://a"}}}, "networkPolicy.storage.to is empty"),
    ({"serving": {"otel": {"endpoint": "http://a"}}}, "networkPolicy.otel.to is empty"),
    ({"ingress": {"enabled": True}}, "networkPolicy.clients is empty"),
    ({"httpRoute": {"enabled": True}}, "name a Gateway"),
    ({"serving": {"enabled": False}, "ingress": {"enabled": True}}, "nothing to lead to"),
    ({"jobs": {"build": [{**BUILD, "output": "s3://a"}]}}, "jobs.build, news, has a URL"),
    ({"jobs": {"build": [{**BUILD, "name": "n" * 40}]}}, "and KubeRay takes 47"),
    ({"jobs": {"build": [BUILD, BUILD]}}, "there are two of this name"),
    (
        {"jobs": {"build": [{**BUILD, "role": "build"}]}},
        "its role is build, which none of its worker groups has",
    ),
    (
        {"jobs": {"train": [{**TRAIN, "extraEnv": [{"name": "RAY_AUTH_MODE", "value": "a"}]}]}},
        "from auth",
    ),
    (
        {
            "storage": {"persistence": {"enabled": False}},
            "serving": {"enabled": False},
            "jobs": {"score": [SCORE]},
        },
        "is a path and storage.persistence.enabled is false",
    ),
    (
        {"jobs": {"build": [{**BUILD, "text": ["/database/x"]}]}},
        "/database/x is not below storage.persistence.mountPath, /data",
    ),
    (
        {"monitoring": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}},
        "counted twice",
    ),
    ({"monitoring": {"podMonitor": {"enabled": True}}, "metrics": {"enabled": False}}, "enable it"),
]


@pytest.mark.parametrize(("values", "words"), SCHEMA, ids=[words for _, words in SCHEMA])
def test_by_schema(values: dict[str, Any], words: str) -> None:
    message = refusal(values)
    assert "values don't meet the specifications of the schema" in message
    assert words in message


@pytest.mark.parametrize(("values", "words"), TOGETHER, ids=[words for _, words in TOGETHER])
def test_what_does_not_go_together(values: dict[str, Any], words: str) -> None:
    message = refusal(values)
    assert "These values do not go together:\n- " in message
    assert words in message
    # A line for each problem, and no line besides.
    problems = message.partition("together:\n")[2].partition("\n\n")[0]
    assert all(line.startswith("- ") and line[-1] in ".?" for line in problems.splitlines()), (
        problems
    )


def test_all_problems_are_told_at_once() -> None:
    message = refusal({"redis": {"enabled": True}, "ingress": {"enabled": True}})
    assert message.count("\n- ") == 2


def test_lint_refuses_as_well() -> None:
    done = run_helm("lint", CHART, "--set", "serving.logFormat=xml")
    assert done.returncode == 1
    assert "serving.logFormat must be one of" in done.stdout


def test_an_old_kubernetes_is_refused() -> None:
    done = run_helm("template", "lm", CHART, "--kube-version", "1.28.0")
    assert "which is incompatible with Kubernetes v1.28.0" in done.stderr


def test_the_values_about_are_taken_when_they_are_right() -> None:
    # So that the messages above are of what is wrong, not of what stands beside it.
    assert manifests(
        {"jobs": {"build": [BUILD], "train": [TRAIN], "score": [SCORE], "publish": [PUBLISH]}}
    )
    assert manifests({"serving": {"workerGroups": _SERVE}})
