"""What an alert is tried with: series in promtool's notation, and what they cause."""

from collections.abc import Mapping
from dataclasses import dataclass

Series = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """An alert that fires and ends.

    Attributes:
        alert: its name.
        series: by selector, a value every `step` minutes.
        step: minutes.
        before: minute at which it does not fire yet.
        fires: minute at which it does.
        ends: minute at which it does so no more.
        below: series that differ, and with which it never fires.
    """

    alert: str
    series: Series
    step: int = 1
    before: int
    fires: int
    ends: int
    below: tuple[Series, ...] = ()
