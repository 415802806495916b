"""Which models are served on Ray, where, and to whom."""

import os
from dataclasses import dataclass
from pathlib import Path

from lmserve.errors import DependencyError, OptionError
from lmserve.text.storage import is_url

try:
    from cluster.service_arguments import ServiceArguments, checked
    from lmserve.service.cache import CachePolicy
    from lmserve.service.protection_settings import LogFormat
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
        model_cache: folder on each node for models fetched from a URL; None: its user's own.
        api_keys: file of keys, under the same path on every node; without one, the service is open.
        log_format: of the replicas' log line for every request.
        role: of the nodes that get replicas, see `cluster.placement`; None: any node.

    All other settings of `ProtectionSettings` come from this process's environment.

    Raises:
        OptionError: a value outside its range, or a password in a URL.
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
    model_cache: Path | None = None
    api_keys: Path | None = None
    log_format: LogFormat = "none"
    role: str | None = None

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
        # Refuses what it can refuse.
        _ = self.arguments

    @property
    def location(self) -> str:
        """The models' URL, or their absolute path."""
        name = os.fspath(self.model)
        return name if is_url(name) else str(Path(name).resolve())

    @property
    def arguments(self) -> ServiceArguments:
        """What each replica is told."""
        return checked(
            model=self.location,
            redis_url=self.redis_url,
            cache=self.cache,
            device=self.device,
            poll_s=self.poll_s,
            model_cache=None if self.model_cache is None else self.model_cache.resolve(),
            api_keys=None if self.api_keys is None else self.api_keys.resolve(),
            log_format=self.log_format,
            replicas=self.replicas,
        )

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the service."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
