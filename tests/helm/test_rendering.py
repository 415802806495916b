"""Every manifest is one that Kubernetes and the operators take, whatever is switched on."""

import functools
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from chart import (
    CHART,
    EXAMPLES,
    KUBERNETES,
    ROOT,
    Manifest,
    containers,
    manifests,
    of_kind,
    pod_templates,
    rendered,
    run_helm,
    the,
)
from feature_values import ALL_OFF, ALL_ON, FEATURES, PUBLISH

CASES: dict[str, Any] = {
    "no values": {},
    "all on": ALL_ON,
    "all off": ALL_OFF,
    **FEATURES,
    **{path.name: path for path in EXAMPLES},
}
# Of a release, what Helm takes and what labels and names make of it.
RELEASES = ("n", "1", "true", "1e3", "a.b", "x" * 53, "lmserve", "0-lmserve-0")
CUSTOM = {
    "ray.io/v1": {"RayService", "RayJob", "RayCluster"},
    "monitoring.coreos.com/v1": {"PodMonitor", "ServiceMonitor", "PrometheusRule"},
    "gateway.networking.k8s.io/v1": {"HTTPRoute"},
}
_NAME = {"type": "string", "minLength": 1}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


# What of Gateway API's HTTPRoute, version v1, the chart uses.
HTTP_ROUTE = _closed(
    ["parentRefs", "rules"],
    parentRefs={
        "type": "array",
        "items": _closed(["name"], name=_NAME, namespace=_NAME, sectionName=_NAME, port={}),
    },
    hostnames={"type": "array", "items": _NAME},
    rules={
        "type": "array",
        "items": _closed(
            ["backendRefs"],
            matches={
                "type": "array",
                "items": _closed(["path"], path=_closed([], type=_NAME, value=_NAME)),
            },
            timeouts=_closed([], request=_NAME, backendRequest=_NAME),
            backendRefs={
                "type": "array",
                "items": _closed(["name", "port"], name=_NAME, port={"type": "integer"}),
            },
        ),
    },
)


def check_manifest(one: Manifest) -> None:
    """Raises where Kubernetes would refuse a manifest, or it is of a kind that nothing knows."""
    if one["kind"] in CUSTOM.get(one["apiVersion"], ()):
        if one["kind"] == "HTTPRoute":
            jsonschema.validate(one["spec"], HTTP_ROUTE)
        return
    _check_core(json.dumps(one))


@functools.cache
def _check_core(one: str) -> None:
    kubernetes_validate.validate(json.loads(one), KUBERNETES, strict=True)


@pytest.mark.parametrize("path", [None, *EXAMPLES], ids=str)
def test_lint(path: Path | None) -> None:
    values = ["--values", path] if path else []
    done = run_helm("lint", "--strict", CHART, *values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_manifests(case: str) -> None:
    objects = manifests(CASES[case])
    assert objects or case == "all off"
    for one in objects:
        check_manifest(one)
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)


def test_a_kind_that_nothing_knows_is_seen() -> None:
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        check_manifest({"apiVersion": "ray.io/v1", "kind": "RayServices", "metadata": {}})


@pytest.mark.parametrize("release", RELEASES)
def test_names_of_releases(release: str) -> None:
    # Jobs would make names too long of some, which is refused: see test_refusals.py.
    without_jobs = {"jobs": {kind: [] for kind in ALL_ON["jobs"]}}
    objects = manifests(ALL_ON, without_jobs if len(release) > 20 else {}, release=release)
    for one in objects:
        check_manifest(one)
        labels = one["metadata"].get("labels", {})
        assert all(isinstance(value, str) for value in labels.values()), labels
    service = the(objects, "RayService")["metadata"]["name"]
    assert len(service) <= 47
    assert service[0].isalpha()
    assert "." not in service
    for _, pod in pod_templates(objects):
        assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == release
    # A label is made of it, and of a dash and a hash of 10 characters.
    assert len(the(objects, "StatefulSet")["metadata"]["name"]) <= 52


def test_long_names_that_begin_alike_stay_apart() -> None:
    names = {
        the(manifests(release="x" * 52 + end), "RayService")["metadata"]["name"] for end in "ab"
    }
    assert len(names) == 2


@pytest.fixture(scope="module")
def crds() -> tuple[Path, Path]:
    """The program that checks custom resources, and their definitions."""
    # Beside the checkout, or beside a folder of several.
    places = [folder / "shared" for folder in (ROOT.parent, ROOT.parent.parent)]
    found = [place for place in places if (place / "crds").is_dir()]
    if not found:
        pytest.skip("there are no definitions of custom resources: ../shared is absent")
    return found[0] / "tools" / "check_crds.py", found[0] / "crds"


def test_custom_resources(crds: tuple[Path, Path], tmp_path: Path) -> None:
    program, definitions = crds
    expected = 0
    for number, case in enumerate(CASES):
        custom = [one for one in manifests(CASES[case]) if one["apiVersion"] in CUSTOM]
        expected += len([one for one in custom if one["kind"] != "HTTPRoute"])
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump_all(custom))
    files = sorted(tmp_path.glob("*.yaml"))
    command = [sys.executable, program, definitions, *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"{expected} checked 0 errors", done.stdout + done.stderr
    # It sees what is wrong.
    [service] = of_kind(manifests(CASES["no values"]), "RayService")
    service["spec"]["rayClusterConfig"]["headGroupSpecs"] = {}
    files[0].write_text(json.dumps(service))
    assert subprocess.run([*command[:3], files[0]], capture_output=True).returncode == 1


def test_a_package_renders_the_same(tmp_path: Path) -> None:
    assert run_helm("package", CHART, "--destination", tmp_path).returncode == 0
    [package] = tmp_path.glob("*.tgz")
    values = {**CASES["rules"]["monitoring"], **CASES["dashboards"]["monitoring"]}
    given = {"monitoring": values, "jobs": {"publish": [PUBLISH]}}
    assert rendered(given, chart=package) == rendered(given)
    with tarfile.open(package) as archive:
        names = archive.getnames()
    files = sorted(name.removeprefix("lmserve/files/") for name in names if "/files/" in name)
    monitoring = ROOT / "lmserve" / "monitoring"
    told = [*monitoring.glob("rules/*.yml"), *monitoring.glob("dashboards/*.json")]
    assert files == sorted(
        [*(str(path.relative_to(monitoring)) for path in told), "stream_test.py"]
    )


def test_notes_name_what_there_is(tmp_path: Path) -> None:
    notes = _notes({}, tmp_path / "plain")
    assert "kubectl get rayservice lm-lmserve --namespace models" in notes
    assert "service/lm-lmserve-serve-svc 8000" in notes
    assert "whoever reaches the service may use it" in notes
    assert "mounted by pods of one node" in notes
    full = _notes(ALL_ON, tmp_path / "full")
    assert "Authorization: Bearer $KEY" in full
    assert "kubectl get rayjob lm-scores-build-news" in full
    assert "kubectl get secret token" in full
    assert "whoever reaches the service" not in full
    assert "mounted by pods of one node" not in full


def _notes(values: Any, folder: Path) -> str:
    """The notes, which `helm template` leaves out: of a copy of the chart, as a manifest."""
    shutil.copytree(CHART, folder, ignore=shutil.ignore_patterns("*.py"))
    (folder / "files" / "stream_test.py").write_text("")
    notes = (folder / "templates" / "NOTES.txt").read_text()
    defined = '{{- define "the.notes" -}}' + notes + "{{- end -}}"
    (folder / "templates" / "_notes.tpl").write_text(defined)
    (folder / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: the-notes}\ndata:\n  notes: |\n"
        '    {{- include "the.notes" . | nindent 4 }}\n'
    )
    documents = yaml.load_all(rendered(values, chart=folder), yaml.CSafeLoader)
    [found] = [one for one in documents if one and one["metadata"]["name"] == "the-notes"]
    text: str = found["data"]["notes"]
    return text


def test_every_container_says_what_it_needs() -> None:
    for _, pod in pod_templates(manifests(ALL_ON)):
        others = ("first:1", "logs:1", "exporter:1")
        own = [one for one in containers(pod) if one["image"] not in others]
        assert all(one["resources"]["requests"] for one in own)
