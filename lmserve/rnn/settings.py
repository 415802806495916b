"""What is trained, put together from a recipe or file and single settings."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from lmserve.errors import OptionError
from lmserve.rnn.config import NetworkConfig, TrainingConfig

Config = TypeVar("Config", bound=BaseModel)

_FIELDS = NetworkConfig.model_fields | TrainingConfig.model_fields


def configure(
    assignments: Sequence[str],
    network: NetworkConfig | None = None,
    training: TrainingConfig | None = None,
) -> tuple[NetworkConfig, TrainingConfig]:
    """Changes single settings.

    Args:
        assignments: such as "cell=gru", "hidden_size=650", "cutoffs=2000,10000": any field of
            `NetworkConfig` or `TrainingConfig`.
        network: what they change.
        training: what they change.

    Raises:
        OptionError: there is no such setting, or it cannot have this value.
    """
    changes: dict[str, dict[str, Any]] = {"network": {}, "training": {}}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in _FIELDS:
            close = difflib.get_close_matches(name, _FIELDS, 3) or sorted(_FIELDS)
            raise OptionError(
                f"{assignment!r} is no setting", f"Give NAME=VALUE; NAME is one of {close}."
            )
        part = "network" if name in NetworkConfig.model_fields else "training"
        changes[part][name] = _parse(name, value.strip())
    return (
        _changed(network or NetworkConfig(), changes["network"]),
        _changed(training or TrainingConfig(), changes["training"]),
    )


def read_config(path: Path) -> tuple[NetworkConfig, TrainingConfig]:
    """Reads {"network": {...}, "training": {...}} from JSON, such as a model's manifest.

    Raises:
        OptionError: it cannot be read, or a setting cannot have its value.
    """
    try:
        content = json.loads(path.read_bytes())
        return (
            NetworkConfig.model_validate(content.get("network", {})),
            TrainingConfig.model_validate(content.get("training", {})),
        )
    except (OSError, ValueError, AttributeError) as error:
        raise OptionError(
            f"{str(path)!r} holds no settings: {_told(error)}",
            'Give JSON: {"network": {...}, "training": {...}}.',
        ) from error


def _parse(name: str, value: str) -> Any:
    if value.lower() == "none" and type(None) in get_args(_FIELDS[name].annotation):
        return None
    if name == "cutoffs":
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    try:
        return type(config).model_validate({**config.model_dump(), **changes})
    except ValidationError as error:
        raise OptionError(
            f"settings that cannot be: {_told(error)}", "Give values that these settings can have."
        ) from error


def _told(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'together'}: {part['msg']}"
        + (f" (got {part['input']!r})" if part["loc"] else "")
        for part in error.errors()
    )
