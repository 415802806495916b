"""Redis as the chart starts it: its own script and configuration, with a real server."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from chart import containers, manifests, pod_templates, the
from programs import program

# All that a shell or a configuration might take for something else.
PASSWORD = "a 'b\" $c #d\\"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(values: dict[str, Any], folder: Path, password: str) -> Iterator[tuple[int, list[str]]]:
    """The port of a server that the chart's script starts, and the command of its probes."""
    program("redis-server", "redis-server")
    objects = manifests({"redis": {"enabled": True, "auth": {"generate": True}, **values}})
    data = the(objects, "ConfigMap", "lm-lmserve-redis")["data"]
    port = _free_port()
    (folder / "data").mkdir()
    conf, script = data["redis.conf"], data["start.sh"]
    conf = conf.replace("port 6379", f"port {port}").replace("dir /data", f"dir {folder}/data")
    conf = conf.replace("bind * -::*", "bind 127.0.0.1").replace("/etc/redis/tls", str(folder))
    (folder / "redis.conf").write_text(conf)
    (folder / "start.sh").write_text(script.replace("/etc/redis/conf", str(folder)))
    [pod] = [pod for name, pod in pod_templates(objects) if name.endswith("redis")]
    [box] = containers(pod)
    probe = [
        part.replace("/etc/redis/tls", str(folder))
        for part in box["readinessProbe"]["exec"]["command"]
    ]
    assert box["command"] == ["sh", "/etc/redis/conf/start.sh"]
    environment = {**os.environ, "REDISCLI_AUTH": password}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["sh", folder / "start.sh"], env=environment, stdout=log, stderr=log
        )
    try:
        probe[1:1] = ["-p", str(port)]
        yield _ready(server, probe, environment, folder / "log") or port, probe
    finally:
        server.terminate()
        server.wait(20)


def _ready(
    server: subprocess.Popen[bytes], probe: list[str], environment: dict[str, str], log: Path
) -> None:
    end_s = time.monotonic() + 20
    while subprocess.run(probe, env=environment, capture_output=True).stdout != b"PONG\n":
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < end_s, log.read_text()
        time.sleep(0.05)


def test_with_a_password_and_kept_data(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with running({}, tmp_path / "one", PASSWORD) as (port, _):
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port, password="other").ping()
        client = redis.Redis(port=port, password=PASSWORD, decode_responses=True)
        told = client.config_get("*")
        assert told["maxmemory-policy"] == "volatile-lru"
        assert told["maxmemory"] == str(1 << 30)
        assert told["appendonly"] == "yes"
        client.set("kept", "yes")
        # No list of processes has it.
        commands = [
            path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)
        ]
        assert not any(PASSWORD.encode() in command for command in commands)
        client.close()
    assert any((tmp_path / "one" / "data" / "appendonlydir").iterdir())


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_encrypted(tmp_path: Path) -> None:
    authority = trustme.CA()
    name = "lm-lmserve-redis.models.svc.cluster.local"
    certificate = authority.issue_cert(name, "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(tmp_path / "tls.crt", append=True)
    values = {"tls": {"enabled": True, "existingSecret": "tls"}, "persistence": {"enabled": False}}
    with running(values, tmp_path, PASSWORD) as (port, _):
        ca = str(tmp_path / "ca.crt")
        client = redis.Redis(
            port=port, host="127.0.0.1", password=PASSWORD, ssl=True, ssl_ca_certs=ca
        )
        assert client.ping()
        assert client.config_get("appendonly") == {"appendonly": "no"}
        client.close()
        with pytest.raises(redis.ConnectionError):
            redis.Redis(port=port, password=PASSWORD).ping()
