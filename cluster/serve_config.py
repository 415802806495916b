"""Which models are served on Ray, where, and to whom."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from lmserve.errors import DependencyError, OptionError
from lmserve.publishing.fetching import default_cache
from lmserve.text.storage import is_url

try:
    from lmserve.service.cache import CachePolicy
    from lmserve.service.protection_settings import (
        LogFormat,
        ProtectionSettings,
        protection_from,
    )
    from lmserve.service.redis_connection import check_url
except ImportError as error:
    raise DependencyError(
        f"the service needs a package that is not installed: {error}",
        "Install it: pip install 'lmserve[serve]'.",
    ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeConfig:
    """Which models are served, and where.

    Attributes:
        model: a model folder, or a model directory with all its models; a path that is the same on
            every node, or the URL of a model directory.
        host: address that the HTTP proxies listen on.
        port: port that the HTTP proxies listen on.
        redis_url: shared score cache, see `redis_connection.connect`; without one, each replica
            keeps scores of its own.
        cache: for which models scores are kept.
        replicas: copies of the models.
        cpus_per_replica: CPU cores that Ray sets aside for each.
        gpus_per_replica: GPUs that Ray sets aside for each; several can share one (0.5).
        device: where recurrent models compute, for example "cuda".
        haproxy: where this process starts a Ray of its own, HAProxy stands before the replicas and
            sends requests of replicas that died to others.
        poll_s: see `ServiceSettings`.
        model_cache: folder on each node for models fetched from a URL.
        api_keys: file of keys, under the same path on every node; without one, the service is open.
        log_format: of the replicas' log line for every request.

    All other settings of `ProtectionSettings` come from this process's environment.

    Raises:
        OptionError: a value outside its range, or a password in `redis_url`.
    """

    model: Path | str
    host: str = "127.0.0.1"
    port: int = 8000
    redis_url: str | None = None
    cache: CachePolicy = CachePolicy.AUTO
    replicas: int = 1
    cpus_per_replica: float = 1.0
    gpus_per_replica: float = 0.0
    device: str = "cpu"
    haproxy: bool = False
    poll_s: float = 2.0
    model_cache: Path = field(default_factory=default_cache)
    api_keys: Path | None = None
    log_format: LogFormat = "none"

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise OptionError(f"port is {self.port}", "Give a port of 1 to 65535.")
        if self.replicas < 1 or self.cpus_per_replica < 0 or self.gpus_per_replica < 0:
            raise OptionError(
                f"{self.replicas} replicas with {self.cpus_per_replica} CPUs and "
                f"{self.gpus_per_replica} GPUs each are asked for",
                "Give at least 1 replica, and 0 or more CPUs and GPUs for each.",
            )
        if self.device != "cpu" and not self.gpus_per_replica:
            raise OptionError(
                f"device is {self.device!r}, and no GPU is asked for",
                "Give --gpus 1, or a part of one (0.5) where replicas share it.",
            )
        if self.redis_url is not None:
            check_url(self.redis_url)

    @property
    def location(self) -> str:
        """The models' URL, or their absolute path."""
        name = os.fspath(self.model)
        return name if is_url(name) else str(Path(name).resolve())

    @property
    def protection(self) -> ProtectionSettings:
        """What the replicas demand of their clients; raises `OptionError`, see `KeyRing`."""
        path = None if self.api_keys is None else str(self.api_keys.resolve())
        return replace(protection_from(), api_keys_file=path, log_format=self.log_format)

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the service."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
