"""What an image must do, tried inside it by its own Python and with nothing but that.

python checks.py HEALTH_CHECK..., the image's command; a line for each check that holds. The first
that fails ends it.
"""

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

# Long, for machines that have other work, too.
_PATIENCE_S = 300
_TEXT = Path("/tmp/text.txt")
_SENTENCE = "the name of the file is a string"
_WRITE_TEXT = """
from lmserve.text.documentation import collect_documentation
documents = collect_documentation(limit_bytes=4 << 20, installed_packages=False)
for document in documents:
    print("\\n".join(document.sentences))
"""
# All modules, but for those that need PyTorch where it is not, and those that make dashboards.
_IMPORT_ALL = """
import importlib, pkgutil
count = 0
for package in map(importlib.import_module, ("lmserve", "cluster", "jobs")):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "safetensors", "grafana_foundation_sdk"):
                raise
        count += 1
assert count > 200, count
"""


def output(*command: str, stdin: str = "") -> str:
    """What a command prints; it must succeed."""
    result = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=_PATIENCE_S
    )
    assert result.returncode == 0, f"{command}: {result.returncode}: {result.stdout}{result.stderr}"
    return result.stdout


def log_of(*command: str) -> Path:
    """Where a program that goes on writes what it prints."""
    return Path(f"/tmp/{command[0]}-{command[1]}.log")


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program while a `with` block runs; then it is asked to end, which it must do in time."""
    log = log_of(*command)
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield process
    except BaseException:
        sys.stderr.write(log.read_text()[-4000:])
        process.kill()
        raise
    process.terminate()
    if process.wait(60) < 0:
        sys.stderr.write(log.read_text()[-4000:])


def until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Waits until something holds, as long as a process lives."""
    end_s = time.monotonic() + _PATIENCE_S
    while not holds():
        assert process.poll() is None, f"{process.args!r} ended"
        assert time.monotonic() < end_s, f"{process.args!r} is not ready after {_PATIENCE_S} s"
        time.sleep(1)


def succeeds(*command: str) -> bool:
    """Whether a command does."""
    return subprocess.run(command, capture_output=True, timeout=_PATIENCE_S).returncode == 0


def check_the_user() -> None:
    """Number 1000, without rights, on files that cannot be changed."""
    assert (os.getuid(), os.getgid()) == (1000, 1000)
    assert set(os.getgroups()) <= {1000}
    told = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert int(told["CapBnd"], 16) == int(told["CapEff"], 16) == 0
    for folder in ("/", "/opt/venv", str(Path.home())):
        assert os.statvfs(folder).f_flag & os.ST_RDONLY, f"{folder} can be written"


def check_the_programs() -> None:
    """Those that the image is for are found, in login shells, too."""
    programs = ("lmserve", "lmserve-haproxy", "ray", "python", "serve")
    for shell in (["sh", "-c"], ["bash", "-lc"]):
        for program in programs:
            found = output(*shell, f"command -v {program}").strip()
            assert found == f"/opt/venv/bin/{program}", found
    assert "serve" in output("lmserve", "--help")
    assert output("lmserve-haproxy", "-v").startswith("HAProxy version")


def check_the_modules() -> None:
    """Every module can be imported: nothing that they need was left out."""
    output("python", "-c", _IMPORT_ALL)


def check_a_build() -> None:
    """A model of the documentation in the image, on a Ray of its own, evaluated."""
    _TEXT.write_text(output("python", "-c", _WRITE_TEXT))
    output("lmserve", "build", str(_TEXT), "--output", "/tmp/model", "--workers", "2")
    evaluated = json.loads(output("lmserve", "eval", "/tmp/model", str(_TEXT), "--json"))
    assert 1 < evaluated["perplexity"] < 1000, evaluated
    assert "order" in output("python", "-m", "jobs.info", "/tmp/model")


def check_a_submitted_build() -> None:
    """A Ray with a token, probed as KubeRay does, and a job: the same model, bit for bit."""
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.update(environment)
    raylet, gcs = ("52365/api/local_raylet_healthz", "8265/api/gcs_healthz")
    with running("ray", "start", "--head", "--block", "--num-cpus=2") as head:
        for place in (raylet, gcs):
            probe = f"wget --tries 1 -T 5 -q -O- http://localhost:{place} | grep success"
            until(partial(succeeds, "bash", "-c", probe), head)
        job = ["python", "-m", "jobs.build_ngram", str(_TEXT), "--output", "/tmp/submitted"]
        output("ray", "job", "submit", "--", *job, "--workers", "2")
    for name in environment:
        del os.environ[name]
    first, second = (
        json.loads(Path(folder, "manifest.json").read_text())["digest"]
        for folder in ("/tmp/model", "/tmp/submitted")
    )
    assert first == second, (first, second)


def check_the_service() -> None:
    """A sentence through HAProxy and Ray; the health check; metrics from a process beside it."""
    health_check = sys.argv[1:]
    text = json.dumps({"text": _SENTENCE}).encode()
    expected = json.loads(output("lmserve", "score", "/tmp/model", "-", stdin=_SENTENCE))
    assert not succeeds(*health_check)
    command = ["lmserve", "serve", "/tmp/model", "--host", "0.0.0.0", "--haproxy"]
    with running("lmserve", "metrics", "--host", "0.0.0.0") as exporter:
        with running(*command) as service:
            until(lambda: succeeds(*health_check), service)
            # Only then does it listen to signals; it answers a little earlier.
            until(lambda: "Serving" in log_of(*command).read_text(), service)
            assert json.loads(output("wget", "-q", "-O-", "http://localhost:8000/healthz"))
            request = urllib.request.Request(
                "http://localhost:8000/v1/score", text, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                [score] = json.load(answer)["scores"]
            assert score["log10_prob"] == expected["log10_prob"], (score, expected)
            told = output("wget", "-q", "-O-", "http://localhost:9465/metrics")
            assert "lmserve_sentences_total 1.0" in told, told
        assert service.returncode == 0, service.returncode
        assert not succeeds(*health_check)
    assert exporter.returncode == 0, exporter.returncode


def check_a_training() -> None:
    """A small recurrent network, where PyTorch is in the image."""
    small = Path("/tmp/small.txt")
    small.write_text("".join(_TEXT.open().readlines()[:400]))
    command = ["lmserve", "train", str(small), "--valid", str(small), "--output", "/tmp/network"]
    settings = ("epochs=1", "hidden_size=16", "embedding_size=16")
    command += [word for setting in settings for word in ("--set", setting)]
    output(*command, "--vocab-size", "500")
    assert json.loads(output("lmserve", "eval", "/tmp/network", str(small), "--json"))


def main() -> None:
    """Tries all in turn."""
    checks: list[Callable[[], None]] = [check_the_user, check_the_programs, check_the_modules]
    checks += [check_a_build, check_a_submitted_build]
    checks += [check_the_service]
    if find_spec("torch"):
        checks.append(check_a_training)
    for check in checks:
        begin_s = time.monotonic()
        check()
        print(f"ok {time.monotonic() - begin_s:5.1f} s  {check.__doc__}", flush=True)


if __name__ == "__main__":
    main()
