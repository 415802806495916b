"""`lmserve health` asks a service as a container's health check does."""

import socket

import pytest
from live_service import live
from programs import run

import lmserve


def test_a_service_that_is_ready(tiny_model: lmserve.NgramModel) -> None:
    with live(tiny_model) as service:
        result = run("health", f"http://127.0.0.1:{service.port}/readyz")
    assert result.returncode == 0, result.stderr
    assert '"status":"ready"' in result.stderr


def test_a_service_without_a_model() -> None:
    with live() as service:
        result = run("health", f"http://127.0.0.1:{service.port}/readyz")
    assert result.returncode == 1
    assert "/readyz answers 503" in result.stderr


def test_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(
            "LMSERVE_HEALTH_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/readyz"
        )
        result = run("health")
    assert result.returncode == 1
    assert "does not answer" in result.stderr


def test_a_service_that_takes_too_long() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        result = run("health", f"http://127.0.0.1:{silent.getsockname()[1]}/", "--timeout", "0.2")
    assert result.returncode == 1
    assert "timed out" in result.stderr


@pytest.mark.parametrize(
    "url", ["localhost:8000", "file:///etc/passwd", "https://there/", "http://"]
)
def test_what_is_no_url_over_http(url: str) -> None:
    result = run("health", url)
    assert result.returncode == 2
    assert "no http:// URL" in result.stderr
