"""Redis as operators run it: with users, with TLS, as a cluster, behind sentinels."""

import asyncio
import logging
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from ports import free_ports
from programs import program
from redis import Redis
from redis_server import RedisServer, running_redis

from lmserve.errors import OptionError
from lmserve.scorer import TextScore
from lmserve.service.redis_cache import RedisCache
from lmserve.service.redis_connection import check_url

KEYS = [b"lmserve:" + blake2b(b"%d" % i, digest_size=16).digest() for i in range(2000)]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def errors_of(url: str, keys: list[bytes] | None = None) -> int:
    """Keeps scores and reads them again; the number of errors met, which must explain a miss."""
    keys = keys or KEYS
    errors: list[None] = []
    scores = {key: TextScore(-float(i), i, 0) for i, key in enumerate(keys)}

    async def use() -> list[TextScore | None]:
        cache = RedisCache(url, timeout_s=10, on_error=lambda: errors.append(None))
        try:
            await cache.set_many(scores)
            return await cache.get_many([*keys, b"lmserve:never kept"])
        finally:
            await cache.close()

    got = asyncio.run(use())
    assert got == [*scores.values(), None] or errors
    return len(errors)


def wait_for(holds: Any) -> None:
    deadline_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def info(client: "Redis[bytes]") -> bytes:
    found: bytes = client.execute_command("CLUSTER", "INFO")
    return found


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[RedisServer]]:
    """A cluster of three nodes, each with a third of the slots."""
    ports = free_ports(6)
    with ExitStack() as stack:
        servers = []
        for port, bus in zip(ports[:3], ports[3:], strict=True):
            options = ["--cluster-enabled", "yes", "--port", str(port), "--cluster-port", str(bus)]
            servers.append(stack.enter_context(running_redis(None, *options)))
        clients = [Redis.from_url(server.url) for server in servers]
        for at, client in enumerate(clients):
            stack.callback(client.close)
            begin, end = 16384 * at // 3, 16384 * (at + 1) // 3 - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0], ports[3])
        for client in clients:
            wait_for(lambda client=client: b"cluster_state:ok" in info(client))
        yield servers


def cluster_url(nodes: list[RedisServer]) -> str:
    ports = []
    for node in nodes:
        with Redis.from_url(node.url) as client:
            ports.append(client.config_get("port")["port"])
    return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)


def test_a_cluster_shares_the_scores_among_its_nodes(nodes: list[RedisServer]) -> None:
    assert errors_of(cluster_url(nodes)) == 0
    sizes = []
    for node in nodes:
        with Redis.from_url(node.url) as client:
            sizes.append(client.dbsize())
            assert 0 < client.ttl(client.randomkey()) <= 24 * 3600
    assert sum(sizes) == len(KEYS)
    assert min(sizes) > 0.2 * len(KEYS)


def test_a_user_of_a_cluster_needs_two_more(
    nodes: list[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    user = "scores on >hunter2 ~{*}lmserve:* -@all +mget +eval +set +cluster +command"
    for node in nodes:
        with Redis.from_url(node.url) as client:
            client.execute_command("ACL", "SETUSER", *user.split())
    monkeypatch.setenv("LMSERVE_REDIS_PASSWORD", "hunter2")
    assert errors_of(cluster_url(nodes).replace("//", "//scores@")) == 0


def test_one_node_of_a_cluster_is_enough_to_find_the_others(nodes: list[RedisServer]) -> None:
    dead = free_ports(1)[0]
    first = cluster_url(nodes).split(",")[0]
    assert errors_of(f"redis+cluster://127.0.0.1:{dead},{first.rpartition('/')[2]}") == 0


def test_a_cluster_that_is_not_there_is_a_miss() -> None:
    ports = free_ports(2)
    assert errors_of(f"redis+cluster://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}") > 0


def test_a_user_needs_no_more_than_three_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_ports(1)[0]
    user = ["--user", "scores", "on", ">hunter2", "~lmserve:*", "-@all", "+mget", "+eval", "+set"]
    with running_redis(None, "--port", str(port), *user) as server:
        url = f"redis://scores@127.0.0.1:{port}/0"
        with Redis.from_url(server.url) as client:
            client.config_set("requirepass", "other")
        assert errors_of(url) > 0
        monkeypatch.setenv("LMSERVE_REDIS_PASSWORD", "hunter2")
        assert errors_of(url) == 0
        # Of other keys it may know nothing.
        assert errors_of(url, [b"other"]) > 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key.pem and the certificate of 127.0.0.1 that it signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    command += ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_connections_may_be_encrypted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LMSERVE_REDIS_PASSWORD", "hunter2")
    port = free_ports(1)[0]
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(certificate / "cert.pem")]
    options += ["--tls-key-file", str(certificate / "key.pem")]
    with running_redis("hunter2", *options), caplog.at_level(logging.DEBUG):
        url = f"rediss://127.0.0.1:{port}/0"
        assert errors_of(f"{url}?ssl_ca_certs={certificate / 'cert.pem'}") == 0
        # Who has not signed the certificate is nobody known.
        assert errors_of(url) > 0
        assert errors_of(url.replace("rediss", "redis")) > 0
    assert "hunter2" not in caplog.text


def test_sentinels_say_where_the_server_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMSERVE_REDIS_PASSWORD", "hunter2")
    monkeypatch.setenv("LMSERVE_REDIS_SENTINEL_PASSWORD", "hunter3")
    port, watcher, dead = free_ports(3)
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {watcher}\nrequirepass hunter3\nsentinel monitor scores 127.0.0.1 {port} 1\n"
        "sentinel auth-pass scores hunter2\n"
    )
    command = [program("redis-server", "redis-server"), str(configuration), "--sentinel"]
    with running_redis("hunter2", "--port", str(port)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path)
        try:
            wait_for(lambda: listens(watcher))
            hosts = f"127.0.0.1:{dead},127.0.0.1:{watcher}"
            assert errors_of(f"redis+sentinel://{hosts}/scores") == 0
            assert errors_of(f"redis+sentinel://{hosts}/unknown") > 0
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "redis+cluster://",
        "redis+cluster://localhost:port",
        "redis+cluster://localhost/0/1",
        "redis+sentinel://localhost:26379",
        "redis+sentinel://localhost:26379/",
        "redis://localhost:6379/?socket_keepalive_options=x&health_check_interval=often",
        "redis://localhost:6379?no_such_option=1",
    ],
)
def test_urls_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(OptionError):
        RedisCache(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@localhost",
        "rediss://user:hunter2@localhost:1/0",
        "unix:///socket?password=hunter2",
        "redis+cluster://user:hunter2@one:1,two:2",
        "redis+sentinel://user:hunter2@one:1,two:2/scores",
        "redis+cluster://user:hunter2@one:port",
    ],
)
def test_passwords_are_not_taken_from_a_command_line(url: str) -> None:
    with pytest.raises(OptionError) as refused:
        check_url(url)
    assert "hunter2" not in str(refused.value)


def test_users_and_several_hosts_are_taken_from_a_command_line() -> None:
    for url in (
        "redis://user@localhost:6379/0",
        "rediss+cluster://user@one:1,[::1]:2,three?ssl_ca_certs=/ca.pem",
        "redis+sentinel://one:1,two/scores?db=1",
    ):
        check_url(url)
