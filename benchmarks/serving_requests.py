"""Small requests a second through the service as users start it, beside simpler services.

    python -m benchmarks.serving_requests MODEL TEXT [--kenlm-python PYTHON --kenlm-model MODEL.bin]

Single sentences, POST /v1/score, connections that each wait for their answer. In one run, one after
the other, with as many processes each: lmserve on Ray Serve by its own proxy and by HAProxy, its
application on uvicorn alone, with or without batches where the model is costly, and KenLM's module
behind FastAPI (`benchmarks/kenlm_service.py`) where PYTHON has both.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import orjson
import psutil
import typer

import lmserve
from benchmarks.measure import environment

_START_S = 400


def main(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    text: Annotated[Path, typer.Argument(help="Sentences, one a line.")],
    kenlm_python: Annotated[Path | None, typer.Option(help="With kenlm and fastapi.")] = None,
    kenlm_model: Annotated[Path | None, typer.Option(help="KenLM's binary.")] = None,
    processes: Annotated[int, typer.Option(help="Replicas, or workers.")] = 1,
    connections: Annotated[int, typer.Option(help="At once.")] = 32,
    seconds: Annotated[float, typer.Option(help="Of each service.")] = 10.0,
    ray: Annotated[bool, typer.Option(help="With lmserve on Ray Serve.")] = True,
) -> None:
    """Measure requests and print them as Markdown."""
    bare = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.bare_service:make"]
    bare += ["--no-access-log", "--log-level", "warning", "--workers", str(processes)]
    serve = [sys.executable, "-m", "jobs.serve", str(model), "--replicas", str(processes)]
    here = {"LMSERVE_MODEL": str(model)}
    services: list[tuple[str, list[str], dict[str, str]]] = []
    if ray:
        services.append(("lmserve, Ray Serve", serve, {}))
        services.append(("lmserve, Ray Serve with HAProxy", [*serve, "--haproxy"], {}))
    services.append(("lmserve's application, uvicorn", bare, here))
    if lmserve.load(model).costly:
        unbatched = here | {"LMSERVE_UNBATCHED": "1"}
        services.append(("the same without batches", bare, unbatched))
    if kenlm_python and kenlm_model:
        peer = [str(kenlm_python), "-m", "uvicorn", "kenlm_service:app"]
        peer += ["--app-dir", str(Path(__file__).parent), *bare[5:]]
        services.append(("KenLM, FastAPI, uvicorn", peer, {"KENLM_MODEL": str(kenlm_model)}))
    print(f"{environment()}; {processes} process(es), {connections} connections, {seconds:g} s\n")
    print(
        "| service | requests/s | p50 | p99 | its CPU a request "
        "| generator's share of a processor |"
    )
    print("| --- " * 6 + "|", flush=True)
    for name, command, variables in services:
        port = _free_port()
        with _running([*command, "--port", str(port)], variables, port) as process:
            url = f"http://127.0.0.1:{port}/v1/score"
            before_s = _cpu_s(process)
            row = _measure(url, text, connections, seconds)
            cpu_ms = 1e3 * (_cpu_s(process) - before_s) / row["requests"]
        print(
            f"| {name} | {row['requests_per_s']:,.0f} | {row['p50_ms']:.1f} ms "
            f"| {row['p99_ms']:.1f} ms | {cpu_ms:.2f} ms | {row['generator_cpu_share']:.0%} |",
            flush=True,
        )


def _measure(url: str, text: Path, connections: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.http_load", url, str(text)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    result: dict[str, Any] = orjson.loads(output)
    return result


@contextmanager
def _running(
    command: list[str], variables: dict[str, str], port: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """A service that answers, until the block ends."""
    process = subprocess.Popen(
        command, env=os.environ | variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        deadline_s = time.monotonic() + _START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                process.kill()
                raise SystemExit(f"{command} did not start:\n{process.communicate()[1].decode()}")
            time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _cpu_s(process: "subprocess.Popen[bytes]") -> float:
    """Processor time of a program and all that it has started."""
    parent = psutil.Process(process.pid)
    total_s = 0.0
    for one in (parent, *parent.children(recursive=True)):
        with suppress(psutil.Error):
            times = one.cpu_times()
            total_s += times.user + times.system
    return total_s


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    typer.run(main)
