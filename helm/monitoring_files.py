"""Copies the rules and dashboards into the chart: `python helm/monitoring_files.py`.

Helm packs nothing from outside a chart's folder, and links get lost where a repository is copied.
"""

import shutil
from pathlib import Path

_ROOT = Path(__file__).parent.parent
SOURCE, TARGET = _ROOT / "lmserve" / "monitoring", _ROOT / "helm" / "lmserve" / "files"
PATTERNS = {"rules": "*.yml", "dashboards": "*.json"}


def copy() -> None:
    """Makes the chart's files those of the package; others there go."""
    for name, pattern in PATTERNS.items():
        shutil.rmtree(TARGET / name, ignore_errors=True)
        (TARGET / name).mkdir(parents=True)
        for path in (SOURCE / name).glob(pattern):
            shutil.copyfile(path, TARGET / name / path.name)


if __name__ == "__main__":
    copy()
