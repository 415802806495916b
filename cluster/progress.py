"""How a build tells what it is doing, to whoever wants to know."""

from typing import Protocol

from cluster.costs import StageReport


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
