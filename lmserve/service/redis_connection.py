"""Connections to Redis by URL: one server, a cluster, or one that sentinels watch over."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from lmserve.errors import OptionError

PASSWORD_VARIABLE = "LMSERVE_REDIS_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_FILE_VARIABLE = "LMSERVE_REDIS_PASSWORD_FILE"  # noqa: S105 - the name of a variable
SENTINEL_PASSWORD_VARIABLE = "LMSERVE_REDIS_SENTINEL_PASSWORD"  # noqa: S105 - as above
_FORMS = {
    "redis": "server",
    "rediss": "server",
    "unix": "server",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
}
_PORTS = {"cluster": 6379, "sentinel": 26379}
# Who finds none free within the time-out does without.
_MAX_CONNECTIONS = 32
# Of clients that have no such queue: as many as a replica has requests.
_MAX_UNQUEUED_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class _Address:
    """A URL taken apart.

    Attributes:
        form: "server", "cluster" or "sentinel".
        plain: the URL as redis-py takes it, of the first host.
        hosts: all of them.
        service: the name that sentinels have for the server.
    """

    form: str
    plain: str
    hosts: list[tuple[str, int]]
    service: str


def check_url(url: str) -> None:
    """Raises `OptionError` where it is no URL of Redis, or has a password in it."""
    parts = urlsplit(_parse(url).plain)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise OptionError(
            "the Redis URL has a password in it, which Ray would log",
            f"Leave it out, and set {PASSWORD_VARIABLE} where Ray's nodes start.",
        )


def connect(url: str, *, timeout_s: float) -> Redis | RedisCluster:
    """A client, which connects when it is used.

    The user may be named in the URL (`redis://user@host`). The password comes from there or from
    the environment (`password_from_environment`), certificates from its query, as redis-py has them
    (`rediss://host?ssl_ca_certs=/etc/redis/ca.pem`).

    Args:
        url: `redis://host:6379/0`, `rediss://` (TLS), `unix:///path`,
            `redis+cluster://host,host:6379` or `redis+sentinel://host,host:26379/service`, the last
            two also with `rediss`.
        timeout_s: longest wait for a connection or a reply.

    Raises:
        OptionError: the URL cannot be used, or the password file cannot be read.
    """
    address = _parse(url)
    options: dict[str, Any] = {
        "password": password_from_environment(),
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        # A trial of the options, which a pool would look at when it connects.
        trial = ConnectionPool.from_url(address.plain)
        trial.connection_class(**trial.connection_kwargs)
        if address.form == "cluster":
            return _cluster(address, options)
        if address.form == "sentinel":
            return _watched(address, options)
        pool = BlockingConnectionPool.from_url(
            address.plain, timeout=timeout_s, max_connections=_MAX_CONNECTIONS, **options
        )
        return Redis.from_pool(pool)
    except (ValueError, TypeError):
        # `from None`, as the cause may quote the URL and so the password.
        raise _unusable(url) from None


async def disconnect(client: Redis | RedisCluster) -> None:
    """Ends a client's connections, those to sentinels included."""
    pool = getattr(client, "connection_pool", None)
    await client.aclose()
    if isinstance(pool, SentinelConnectionPool):
        await pool.disconnect()
        for watcher in pool.sentinel_manager.sentinels:
            await watcher.aclose()


def password_from_environment() -> str | None:
    """The Redis password from `LMSERVE_REDIS_PASSWORD`, or the file `..._PASSWORD_FILE` names.

    Raises:
        OptionError: the file cannot be read.
    """
    if password := os.environ.get(PASSWORD_VARIABLE):
        return password
    path = os.environ.get(PASSWORD_FILE_VARIABLE)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"the Redis password cannot be read from {path}: {error}",
            f"Let {PASSWORD_FILE_VARIABLE} name a readable text file with the password.",
        ) from error


def _cluster(address: _Address, options: dict[str, Any]) -> RedisCluster:
    options = options | _from_url(address.plain)
    nodes = [ClusterNode(host, port) for host, port in address.hosts]
    return RedisCluster(startup_nodes=nodes, max_connections=_MAX_UNQUEUED_CONNECTIONS, **options)


def _watched(address: _Address, options: dict[str, Any]) -> Redis:
    """The server that sentinels call the master now."""
    options = options | _from_url(address.plain)
    # Sentinels have users and passwords of their own, but the same certificates.
    names = ("socket", "ssl", "retry")
    shared = {name: value for name, value in options.items() if name.startswith(names)}
    shared["password"] = os.environ.get(SENTINEL_PASSWORD_VARIABLE)
    watchers = Sentinel(address.hosts, sentinel_kwargs=shared)  # type: ignore[no-untyped-call]
    master: Redis = watchers.master_for(
        address.service, max_connections=_MAX_UNQUEUED_CONNECTIONS, **options
    )
    return master


def _from_url(url: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_url(url))
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    if url.startswith("rediss:"):
        options["ssl"] = True
    return options


def _parse(url: str) -> _Address:
    scheme, _, rest = url.partition("://")
    form = _FORMS.get(scheme)
    try:
        if form is None:
            raise ValueError(scheme)
        if form == "server":
            urlsplit(url)
            return _Address(form, url, [], "")
        place, mark, tail = re.fullmatch(r"([^/?]*)([/?]?)(.*)", rest).groups()  # type: ignore[union-attr]
        user, at, hosts = place.rpartition("@")
        parts = [urlsplit(f"//{host}") for host in hosts.split(",")]
        found = [(part.hostname or "", part.port or _PORTS[form]) for part in parts]
        service = unquote(urlsplit(f"//h/{tail}").path[1:]) if mark == "/" else ""
        if (form == "sentinel") != bool(service) or not all(host for host, _ in found):
            raise ValueError(service)
    except ValueError:
        raise _unusable(url) from None
    plain = f"{scheme.partition('+')[0]}://{user}{at}{hosts.split(',')[0]}{mark}{tail}"
    return _Address(form, plain, found, service)


def _unusable(url: str) -> OptionError:
    shown = re.sub("//.*@", "//...@", url).partition("?")[0]
    return OptionError(
        f"{shown!r} is no URL of a Redis server",
        "Give one like redis://localhost:6379/0, unix:///path, redis+cluster://host1,host2:6379 or "
        "redis+sentinel://host1,host2:26379/mymaster; rediss instead of redis is with TLS.",
    )
