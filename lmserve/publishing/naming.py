"""What models and their versions may be called: names that are safe in paths and URLs."""

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from lmserve.errors import OptionError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
# Of a model's tables and tokenizers; a mixture's components are in folders of their own.
_FILE_PARTS = 3
# What stands beside names and versions in a model directory.
_RESERVED_SUFFIXES = (".json", ".partial")


def is_name(value: str) -> bool:
    """Whether a model or a version may be called so."""
    return _NAME.fullmatch(value) is not None and not value.endswith(_RESERVED_SUFFIXES)


def checked_name(value: str, what: str = "name") -> str:
    """A name of a model or a version, as it is.

    Raises:
        OptionError: it is none.
    """
    if not is_name(value):
        raise OptionError(
            f"{value!r} cannot be the {what} of a model",
            "Begin with a letter or a digit; up to 99 letters, digits, dots, dashes and "
            f"underscores may follow; it may not end in {' or '.join(_RESERVED_SUFFIXES)}.",
        )
    return value


def _name_in_record(value: str) -> str:
    if not is_name(value):
        raise ValueError(f"{value!r} is no name of a model or version")
    return value


def _file_in_record(value: str) -> str:
    parts = value.split("/")
    if len(parts) > _FILE_PARTS or not all(_NAME.fullmatch(part) for part in parts):
        raise ValueError(f"{value!r} is no file of a model")
    return str(PurePosixPath(value))


# As they stand in records that somebody else may have written: nothing leads out of the folder.
Name = Annotated[str, AfterValidator(_name_in_record)]
FileName = Annotated[str, AfterValidator(_file_in_record)]
