"""Pods that a restricted namespace takes, and secrets that stay where they are."""

import base64
import json
import re
from typing import Any

import pytest
import yaml
from chart import CHART, EXAMPLES, clusters, containers, manifests, of_kind, pod_templates, the
from feature_values import ALL_ON, FEATURES

CASES: dict[str, Any] = {
    "all on": ALL_ON,
    **FEATURES,
    **{path.name: path for path in EXAMPLES},
}
# Users' own, which bring their own settings.
OTHERS = {"first", "logs", "exporter"}
# Variables that hold one; not those that name a file, or say whether there are headers.
SECRET = re.compile("(PASSWORD|TOKEN|KEY|OTLP_HEADERS|_AUTH)$")
ALLOWED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
    *("projected", "secret"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_standard_restricted_takes_all_pods(case: str) -> None:
    """The rules of Pod Security Standards, version 1.33, and a file system that is read-only."""
    for name, pod in pod_templates(manifests(CASES[case])):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["securityContext"]["runAsUser"] > 0
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= ALLOWED_VOLUMES, name
        for box in containers(pod):
            if box["name"] in OTHERS:
                continue
            context = box["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, (name, box["name"])
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert context["runAsNonRoot"] is True
            assert not {"privileged", "procMount"} & set(context)
            assert all("hostPort" not in port for port in box.get("ports", []))


@pytest.mark.parametrize("case", CASES)
def test_what_is_mounted_is_there(case: str) -> None:
    for name, pod in pod_templates(manifests(CASES[case])):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        claims = {"data"} if name.endswith("redis") else set()
        for box in containers(pod):
            mounted = [mount["name"] for mount in box.get("volumeMounts", [])]
            assert set(mounted) <= volumes | claims, (name, box["name"])
            places = [mount["mountPath"] for mount in box.get("volumeMounts", [])]
            assert len(set(places)) == len(places)


def test_only_autoscalers_may_ask_kubernetes() -> None:
    for values, expected in ((ALL_ON, 2), ({}, 0)):
        objects = manifests(values)
        given = [
            name
            for name, pod in pod_templates(objects)
            if pod["spec"]["automountServiceAccountToken"]
        ]
        assert len(given) == expected
        scaled = [name for name, spec in clusters(objects) if spec["enableInTreeAutoscaling"]]
        assert given == [f"{name}/head" for name in scaled]
    assert the(manifests({}), "ServiceAccount")["automountServiceAccountToken"] is False
    assert not of_kind(manifests({}), "Role")


def test_the_autoscaler_is_as_safe_as_the_rest() -> None:
    spec = the(manifests(FEATURES["nodes that scale"]), "RayService")["spec"]["rayClusterConfig"]
    context = spec["headGroupSpec"]["template"]["spec"]["containers"][0]["securityContext"]
    assert spec["autoscalerOptions"]["securityContext"] == context
    assert spec["autoscalerOptions"]["version"] == "v2"
    # KubeRay sets `Never` with version 2, and refuses anything else.
    for _, pod in pod_templates(manifests(FEATURES["nodes that scale"])):
        assert pod["spec"].get("restartPolicy", "Never") == "Never"


def test_rights_are_as_few_as_asked_for() -> None:
    roles = {
        one["metadata"]["name"]: one["rules"]
        for one in of_kind(manifests(FEATURES["rights"]), "Role")
    }
    assert set(roles) == {"lm-lmserve", "lm-lmserve-job-runner"}
    rules = [rule for some in roles.values() for rule in some]
    assert all("*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"] for rule in rules)
    assert all("secrets" not in rule["resources"] for rule in rules)
    assert of_kind(manifests(FEATURES["rights"]), "ClusterRole") == []


def test_no_secret_is_rendered_where_one_is_named() -> None:
    for case in ("all on", "production.yaml", "redis with existing secrets", "other redis"):
        objects = manifests(CASES[case])
        assert of_kind(objects, "Secret") == []
        for one in objects:
            for box in _boxes(one):
                for variable in box.get("env", []):
                    if SECRET.search(variable["name"]):
                        assert "secretKeyRef" in variable.get("valueFrom", ()), variable


def _boxes(one: dict[str, Any]) -> list[dict[str, Any]]:
    return [box for _, pod in pod_templates([one]) for box in containers(pod)]


def test_made_secrets_are_random_and_kept() -> None:
    values = {"auth": {"generate": True}, "redis": {"enabled": True, "auth": {"generate": True}}}
    first, second = (
        {
            one["metadata"]["name"]: one["data"]
            for one in of_kind(manifests(values, noise), "Secret")
        }
        for noise in ({}, {"commonLabels": {"other": "render"}})
    )
    assert set(first) == {"lm-lmserve-ray-token", "lm-lmserve-redis"}
    for name, data in first.items():
        [value] = data.values()
        assert len(base64.b64decode(value)) == 48
        assert data != second[name]
    # What is in the cluster comes before what would be made; no cluster is here to show it.
    assert "lookup" in (CHART / "templates" / "secrets.yaml").read_text()
    spec = the(manifests(values), "RayService")["spec"]["rayClusterConfig"]
    assert spec["authOptions"] == {"mode": "token", "secretName": "lm-lmserve-ray-token"}
    assert list(first["lm-lmserve-ray-token"]) == ["auth_token"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("no test", {"mode": "token"}),
        ("own token", {"mode": "token", "secretName": "token"}),
        ("no token", {"mode": "disabled"}),
    ],
)
def test_who_may_use_ray(case: str, expected: dict[str, str]) -> None:
    for _, spec in clusters(manifests(FEATURES[case])):
        assert spec["authOptions"] == expected


def test_keys_and_passwords_are_files_that_their_group_reads() -> None:
    objects = manifests(ALL_ON)
    volumes = {
        volume["name"]: volume["secret"]
        for name, pod in pod_templates(objects)
        if name.startswith("lm-scores/")
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    assert {name: secret["secretName"] for name, secret in volumes.items()} == {
        "redis-ca": "redis-tls",
        "redis-password": "redis",
        "api-keys": "keys",
    }
    assert all(secret["defaultMode"] == 0o440 for secret in volumes.values())
    # The certificate authority alone, not Redis's own key.
    assert volumes["redis-ca"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_serving_pods_only_read_the_volume() -> None:
    for name, pod in pod_templates(manifests(ALL_ON)):
        mounts = [
            m for box in containers(pod) for m in box.get("volumeMounts", []) if m["name"] == "data"
        ]
        for mount in mounts:
            if name.startswith("lm-scores/"):
                assert mount["readOnly"] is True
            elif "redis" not in name:
                assert mount["readOnly"] is False


def test_a_change_of_an_existing_secret_is_noticed_by_its_version_alone() -> None:
    def checksums(values: Any) -> set[str | None]:
        found = pod_templates(manifests(values))
        return {
            pod["metadata"].get("annotations", {}).get("checksum/secrets")
            for name, pod in found
            if "/" in name
        }

    assert checksums({}) == {None}
    [checksum] = checksums(FEATURES["own token"])
    assert checksum is not None
    unnoticed = {**FEATURES["own token"], "serving": {"rollOnSecretChange": False}}
    assert checksums(unnoticed) == {None}
    source = (CHART / "templates" / "_serve.tpl").read_text()
    assert "resourceVersion" in source
    assert ".data" not in source


def test_redis_starts_anew_when_its_configuration_changes() -> None:
    def checksum(extra: str) -> str:
        values = {"redis": {"enabled": True, "auth": {"generate": True}, "extraConfig": extra}}
        pod = the(manifests(values), "StatefulSet")["spec"]["template"]
        told: str = pod["metadata"]["annotations"]["checksum/config"]
        return told

    assert checksum("") != checksum("io-threads 2")


def test_values_have_no_place_for_a_secret() -> None:
    """By name, so that nobody adds one without thinking of it."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    names: set[str] = set()

    def collect(part: Any) -> None:
        if isinstance(part, dict):
            names.update(
                part.get("properties", {}) if isinstance(part.get("properties"), dict) else {}
            )
            for one in part.values():
                collect(one)

    collect(schema)
    assert {
        name for name in names if "password" in name.lower() or "token" in name.lower()
    } == set()
    assert yaml.safe_load((CHART / "values.yaml").read_text())["auth"]["existingSecret"] == ""
