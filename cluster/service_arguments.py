"""What a replica is told when it is deployed."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lmserve.errors import OptionError
from lmserve.publishing.fetching import default_cache
from lmserve.service.cache import CachePolicy
from lmserve.service.protection_settings import LogFormat, ProtectionSettings, protection_from
from lmserve.service.redis_connection import check_url
from lmserve.text.storage import is_url


class ServiceArguments(BaseModel):
    """Which models are served, and how: `args` of the application in a file for `serve deploy`.

    Ray shows them in its logs and dashboard: secrets are refused, and come from the nodes'
    environment, as all other settings do.

    Attributes:
        model: an absolute path that is the same on every node, of a model folder or a model
            directory with all its models; or the URL of a model directory.
        redis_url: shared score cache, see `redis_connection.connect`; without one, each replica
            keeps scores of its own.
        cache: for which models scores are kept.
        device: where recurrent models compute, for example "cuda"; a GPU for it is set aside by
            `ray_actor_options`.
        poll_s: see `ServiceSettings`.
        model_cache: folder on each node for models fetched from a URL; None: its user's own.
        api_keys: file of keys, under the same absolute path on every node; None: what
            LMSERVE_API_KEYS_FILE says there.
        log_format: of the log's line for every request; None: what LMSERVE_LOG_FORMAT says there.
        replicas: how many there are to be, for metrics; with autoscaling, the fewest.

    Raises:
        ValueError: a value that cannot be used.
    """

    # A refused value may hold a password, and Ray shows the error.
    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True
    )

    model: str
    redis_url: str | None = None
    cache: CachePolicy = CachePolicy.AUTO
    device: str = "cpu"
    poll_s: float = Field(default=2.0, gt=0)
    model_cache: Path | None = None
    api_keys: Path | None = None
    log_format: LogFormat | None = None
    replicas: int = Field(default=1, ge=1)

    @field_validator("model")
    @classmethod
    def _checked_model(cls, model: str) -> str:
        if not is_url(model):
            return str(_absolute("model", Path(model)))
        if urlsplit(model).password is not None:
            raise OptionError(
                "the model's URL has a password in it, which Ray would log",
                "Give credentials to the nodes, by their environment or their cloud's roles.",
            )
        return model

    @field_validator("redis_url")
    @classmethod
    def _checked_redis_url(cls, url: str | None) -> str | None:
        if url is not None:
            check_url(url)
        return url

    @field_validator("api_keys", "model_cache")
    @classmethod
    def _checked_path(cls, path: Path | None) -> Path | None:
        return None if path is None else _absolute("path", path)

    @property
    def cache_folder(self) -> Path:
        """Where this node keeps models that it fetched."""
        return default_cache() if self.model_cache is None else self.model_cache

    @property
    def protection(self) -> ProtectionSettings:
        """What this process's environment and these arguments demand of clients."""
        settings = protection_from()
        path = settings.api_keys_file if self.api_keys is None else os.fspath(self.api_keys)
        return replace(
            settings, api_keys_file=path, log_format=self.log_format or settings.log_format
        )


def checked(**values: Any) -> ServiceArguments:
    """The arguments.

    Raises:
        OptionError: a value that cannot be used.
    """
    try:
        return ServiceArguments(**values)
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, OptionError):
            raise cause from None
        raise OptionError(f"{first['loc'][0]}: {first['msg']}", "Correct it.") from None


def _absolute(name: str, path: Path) -> Path:
    if not path.is_absolute():
        raise OptionError(
            f"the {name} {str(path)!r} is relative, and every node has a working folder of its own",
            "Give an absolute path that is the same on every node, or a URL.",
        )
    return path
