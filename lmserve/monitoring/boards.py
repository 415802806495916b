"""All boards as code, and as the JSON that Grafana imports.

`python -m lmserve.monitoring.boards` writes the JSON anew; needs grafana-foundation-sdk, which
those who only use the JSON don't.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from grafana_foundation_sdk.models.dashboard import Dashboard

from lmserve.monitoring.cluster_board import cluster_board
from lmserve.monitoring.counting_board import counting_board
from lmserve.monitoring.layout import as_json
from lmserve.monitoring.service_board import service_board
from lmserve.monitoring.training_board import training_board

FOLDER = Path(__file__).parent / "dashboards"
BOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "service": service_board,
    "counting": counting_board,
    "training": training_board,
    "cluster": cluster_board,
}


def export() -> None:
    """Writes the JSON of all boards."""
    for name, make in BOARDS.items():
        (FOLDER / f"{name}.json").write_text(as_json(make()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    export()
