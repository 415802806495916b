"""How a build tells what it is doing, to whoever wants to know."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import psutil


@dataclass(frozen=True, kw_only=True, slots=True)
class StageReport:
    """What one stage of a build cost.

    Attributes:
        name: of the stage.
        wall_s: elapsed time, in seconds.
        cpu_s: processor time of all processes, in seconds.
        tasks: pieces or shards.
        peak_memory_bytes: the largest resident memory of one worker up to the stage's end.
    """

    name: str
    wall_s: float
    cpu_s: float
    tasks: int
    peak_memory_bytes: int

    @classmethod
    def of_driver(cls, name: str, wall_s: float, cpu_s: float = 0.0) -> "StageReport":
        """Of a stage that this process does alone."""
        memory_bytes = psutil.Process().memory_info().rss
        return cls(name=name, wall_s=wall_s, cpu_s=cpu_s, tasks=1, peak_memory_bytes=memory_bytes)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Observer(Protocol):
    """Watches a build. Totals and amounts of one stage are in one unit, of bytes or records."""

    def stage_started(self, name: str, total: int) -> None:
        """A stage begins; `total` is what `advanced` will add up to."""
        ...

    def advanced(self, amount: int) -> None:
        """A part of the stage is done."""
        ...

    def stage_finished(self, report: StageReport) -> None:
        """The stage is done."""
        ...


class Silent:
    """An observer that says nothing."""

    def stage_started(self, name: str, total: int) -> None:
        """Nothing."""

    def advanced(self, amount: int) -> None:
        """Nothing."""

    def stage_finished(self, report: StageReport) -> None:
        """Nothing."""
