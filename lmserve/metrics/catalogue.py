"""All metrics there are."""

from collections.abc import Mapping
from types import ModuleType

from lmserve.metrics import job_metrics, node_metrics, service_metrics, training_metrics
from lmserve.metrics.declaration import Declaration


def _of(*modules: ModuleType) -> dict[str, Declaration]:
    declared = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Declaration)
    ]
    named = {one.name: one for one in declared}
    if len(named) != len(declared):
        raise ValueError("two metrics have the same name")
    return named


# By name, without the `_total` of counters.
CATALOGUE: Mapping[str, Declaration] = _of(
    service_metrics, job_metrics, training_metrics, node_metrics
)
