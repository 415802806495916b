"""What is refused before anything is served, and how a service is reached."""

import socket
from pathlib import Path
from typing import Any

import pytest

from cluster.serve_config import ServeConfig
from cluster.serving import serving
from lmserve.errors import ModelError, OptionError


def test_a_taken_port_is_named(tiny_model_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = ServeConfig(model=tiny_model_path, port=port)
        with pytest.raises(OptionError, match=str(port)), serving(config):
            pass


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=tmp_path.name), serving(ServeConfig(model=tmp_path)):
        pass


@pytest.mark.parametrize(
    "options",
    [
        {"port": 0},
        {"replicas": 0},
        {"cpus_per_replica": -1.0},
        {"redis_url": "redis://:hunter2@host"},
        {"redis_url": "unix:///socket?password=hunter2"},
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as refused:
        ServeConfig(model=Path("model"), **options)
    assert "hunter2" not in str(refused.value)


def test_the_url_is_one_that_a_client_can_use() -> None:
    def url(host: str) -> str:
        return ServeConfig(model=Path("model"), host=host, port=80).url

    assert url("0.0.0.0") == "http://127.0.0.1:80"
    assert url("::") == "http://[::1]:80"
    assert url("example.org") == "http://example.org:80"


@pytest.mark.parametrize("url", ["redis://:hunter2@[bad", "http://localhost:6379", "localhost:1"])
def test_what_is_no_redis_url_is_refused(url: str) -> None:
    with pytest.raises(OptionError, match="is no URL of a Redis server") as refused:
        ServeConfig(model=Path("model"), redis_url=url)
    assert "hunter2" not in str(refused.value)
