"""A rule, and how long durations in rules last."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RUNBOOK = "docs/alerts.md"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+)([smhdw])")


class Severity(StrEnum):
    """Whom an alert concerns: somebody at once, or somebody at work."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A recording rule.

    Attributes:
        name: `level:metric:operations`.
        expression: what is recorded under it.
    """

    name: str
    expression: str

    def as_rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {"record": self.name, "expr": self.expression}


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """An alerting rule.

    Attributes:
        name: of a section of the runbook, too.
        severity: whom it concerns.
        expression: each series that it has is an alert.
        lasting: how long it must have the series before the alert fires; empty for at once.
        summary: a sentence with the labels that tell which.
        description: what was measured, and what it means.
    """

    name: str
    severity: Severity
    expression: str
    lasting: str = ""
    summary: str
    description: str

    def as_rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        lasting = {"for": self.lasting} if self.lasting else {}
        return {
            "alert": self.name,
            "expr": self.expression,
            **lasting,
            "labels": {"severity": self.severity.value},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOK}#{self.name.lower()}",
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Rules that are evaluated one after the other, so that later ones may use earlier ones.

    Attributes:
        name: of the group, and of its file.
        rules: of the group.
    """

    name: str
    rules: tuple[Recording | Alert, ...]


class Clock:
    """How long durations last: what they say, or in tests less.

    Args:
        lasting: seconds of a duration that is so many seconds long by name.
    """

    def __init__(self, lasting: Callable[[float], float] = lambda seconds: seconds) -> None:
        self._lasting = lasting

    def seconds(self, duration: str) -> float:
        """The seconds of a duration like "5m"."""
        return self._lasting(_named_s(duration))

    def __call__(self, duration: str) -> str:
        """The duration as PromQL writes it."""
        seconds = self.seconds(duration)
        return duration if seconds == _named_s(duration) else f"{seconds * 1000:.0f}ms"


def _named_s(duration: str) -> int:
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(f"{duration!r} is no duration of one unit")
    return int(match[1]) * _SECONDS[match[2]]
