"""Jobs: their commands are taken by the programs, after all shells that read them."""

import importlib
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from chart import EXAMPLES, manifests, of_kind, the
from feature_values import ALL_ON, BUILD, FEATURES, PUBLISH, SCORE, TRAIN

from jobs.cli import app

# Words that a shell would do something about.
ODD = [
    "s3://b/x?a=1&b=2",
    "*.gz",
    "0 0 1",
    "it's",
    '"two"',
    "$HOME",
    "a;b",
    "`c`",
    "\\d",
    "(e)",
    "#f",
    "~",
]


def entrypoints(*values: Any) -> list[str]:
    return [one["spec"]["entrypoint"] for one in of_kind(manifests(*values), "RayJob")]


def parse(command: str) -> dict[str, Any]:
    """What the job's program reads from its command; raises where it would refuse it."""
    python, flag, module, *words = shlex.split(command)
    assert (python, flag) == ("python", "-m")
    importlib.import_module(module)
    found = [
        one for one in app.registered_commands if one.callback and one.callback.__module__ == module
    ]
    [job] = [one for one in found if one.name == module.removeprefix("jobs.")] or found[:1]
    program = typer.Typer()
    program.command()(job.callback)
    with typer.main.get_command(program).make_context(module, words) as context:
        return dict(context.params)


@pytest.mark.parametrize(
    "values", [ALL_ON, *EXAMPLES], ids=["all on", *(path.name for path in EXAMPLES)]
)
def test_programs_take_their_commands(values: Any) -> None:
    for command in entrypoints(values):
        assert parse(command)


def test_what_programs_are_told() -> None:
    jobs = {
        "build": [{**BUILD, "role": "build", "args": ["--order", 3], "workerGroups": []}],
        "train": [TRAIN],
        "score": [SCORE],
        "publish": [PUBLISH],
    }
    build, train, score, publish = map(parse, entrypoints({"jobs": jobs}))
    assert (list(build["inputs"]), str(build["output"]), build["order"], build["role"]) == (
        ["/data/text/*.gz"],
        "/data/built/news",
        3,
        "build",
    )
    assert list(train["valid"]) == ["/data/valid.txt"]
    assert (str(score["model"]), list(score["inputs"])) == ("/data/built/news", ["/data/text/*.gz"])
    assert (str(publish["model"]), publish["to"]) == ("/data/built/news", "/data/models")


def test_words_come_through_all_shells(tmp_path: Path) -> None:
    """KubeRay has bash read the command of a submitter, and Ray's job runner a shell once more.

    Between them, `ray job submit` joins the words anew; where KubeRay submits over HTTP, the
    runner's is the only shell.
    """
    texts = [f"/data/{word}" for word in ODD]
    jobs = {"jobs": {"counts": [{**BUILD, "text": texts, "args": ODD}]}}
    [command] = entrypoints(FEATURES["policies"], jobs)
    expected = ["-m", "jobs.counts", *texts, "--output", "/data/built/news", *ODD]
    tell = "import json, sys; print(json.dumps(sys.argv[1:]))"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{tell}' \"$@\"\n")
    program.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/nowhere"}

    def run(shell: str, line: str) -> list[str]:
        done = subprocess.run(
            [shell, "-c", line], env=path, capture_output=True, text=True, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        words: list[str] = json.loads(done.stdout)
        return words

    assert run("sh", command) == expected
    submit = tmp_path / "ray"
    submit.write_text(program.read_text())
    submit.chmod(0o755)
    words = run("bash", f"ray job submit -- {command} ;")
    assert words[:3] == ["job", "submit", "--"]
    # As ray.dashboard.modules.job.cli has it.
    assert run("sh", shlex.join(words[3:])) == expected


def test_the_command_is_joined_as_the_test_above_says() -> None:
    import ray.dashboard.modules.job.cli as submitting

    assert "shlex.join(entrypoint)" in Path(submitting.__file__).read_text()


def test_what_a_job_says_comes_before_what_all_say() -> None:
    objects = manifests(FEATURES["job with all"])
    spec = the(objects, "RayJob")["spec"]
    assert spec["submissionMode"] == "SidecarMode"
    assert "submitterPodTemplate" not in spec
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (2, 0)
    assert (spec["activeDeadlineSeconds"], spec["suspend"]) == (3600, True)
    # KubeRay suspends only what it may take down.
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    assert [group["groupName"] for group in spec["rayClusterSpec"]["workerGroupSpecs"]] == ["b"]
    assert the(objects, "RayJob")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "q"
    plain = the(manifests(FEATURES["build"]), "RayJob")["spec"]
    assert plain["submissionMode"] == "K8sJobMode"
    assert plain["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"


def test_jobs_go_without_what_only_the_service_may_know() -> None:
    for job in of_kind(manifests(ALL_ON), "RayJob"):
        text = json.dumps(job)
        assert "LMSERVE_REDIS_PASSWORD_FILE" not in text
        assert "redis-tls" not in text
        assert "LMSERVE_API_KEYS_FILE" not in text
