"""What `helm test` runs, against a real service."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chart import environment, manifests, the
from feature_values import FEATURES
from live_server import serving_models

import lmserve
from lmserve.service.keys import add_key
from lmserve.service.protection_settings import ProtectionSettings


def run(url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    pod = the(manifests({}), "Pod")
    [box] = pod["spec"]["containers"]
    assert box["command"] == ["python", "-c"]
    assert set(environment(pod)) == {"LMSERVE_URL"}
    path = os.environ["PATH"]
    return subprocess.run(
        [sys.executable, "-c", *box["args"]],
        env={
            "PATH": path,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LMSERVE_URL": url,
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_service_that_works(tiny_model: lmserve.NgramModel) -> None:
    with serving_models({"tiny": tiny_model}) as server:
        done = run(server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"1000 answers to 1000 sentences, model {tiny_model.digest}\n"


def test_a_service_with_keys(tiny_model: lmserve.NgramModel, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "test")
    protection: Any = ProtectionSettings(api_keys_file=str(tmp_path / "keys.json"))
    with serving_models({"tiny": tiny_model}, protection=protection) as server:
        assert run(server.url, LMSERVE_API_KEY=key).returncode == 0
        refused = run(server.url)
    assert refused.returncode != 0
    assert "LMSERVE_API_KEY" in refused.stderr
    pod = the(manifests(FEATURES["keys"]), "Pod")
    assert environment(pod)["LMSERVE_API_KEY"] == {
        "secretKeyRef": {"name": "test", "key": "api-key"}
    }


@pytest.mark.parametrize("release", ["lm", "other"])
def test_where_it_asks(release: str) -> None:
    objects = manifests({}, release=release)
    service = the(objects, "RayService")["metadata"]["name"]
    pod = the(objects, "Pod")
    assert environment(pod) == {"LMSERVE_URL": f"http://{service}-serve-svc:8000"}
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["restartPolicy"] == "Never"
