"""Nodes: whether they can be looked at, and their disks."""

from lmserve.monitoring.rules.objectives import Objectives
from lmserve.monitoring.rules.rule import Alert, Clock, Group, Recording, Severity

_LABELS = "cluster, instance, mount"
_FREE = "mount:lmserve_disk_free:ratio"


def groups(clock: Clock, objectives: Objectives) -> list[Group]:
    """Alerts about nodes."""
    free_bytes = f"min by ({_LABELS}) (lmserve_disk_free_bytes)"
    size_bytes = f"min by ({_LABELS}) (lmserve_disk_size_bytes)"
    soon = f"predict_linear(lmserve_disk_free_bytes[{clock('1h')}], {clock.seconds('4h'):g})"
    return [
        Group(
            name="lmserve-nodes",
            rules=(
                Recording(name=_FREE, expression=f"{free_bytes} / ({size_bytes} > 0)"),
                Alert(
                    name="LmserveTargetDown",
                    severity=Severity.CRITICAL,
                    expression='up{job="lmserve"} == 0',
                    lasting=clock("5m"),
                    summary="Nothing is known of the node {{ $labels.instance }}.",
                    description="Prometheus gets no metrics from {{ $labels.instance }}: the node, "
                    "its network or its `lmserve metrics` is down.",
                ),
                Alert(
                    name="LmserveDiskNearlyFull",
                    severity=Severity.CRITICAL,
                    expression=f"{_FREE} < {objectives.free:g}",
                    lasting=clock("5m"),
                    summary="{{ $labels.mount }} of {{ $labels.instance }} is nearly full.",
                    description="{{ $value | humanizePercentage }} of {{ $labels.mount }} on "
                    "{{ $labels.instance }} are free.",
                ),
                Alert(
                    name="LmserveDiskFills",
                    severity=Severity.WARNING,
                    expression=f"min by ({_LABELS}) ({soon}) < 0",
                    lasting=clock("15m"),
                    summary="{{ $labels.mount }} of {{ $labels.instance }} is full soon.",
                    description="At the last hour's rate, {{ $labels.mount }} on "
                    "{{ $labels.instance }} is full in less than 4 hours.",
                ),
            ),
        )
    ]
