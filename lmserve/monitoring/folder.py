"""The folder from which Prometheus and Grafana start: configuration, rules, dashboards."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lmserve.errors import OptionError

_DATA = Path(__file__).parent
# Of all boards' choice of a data source.
_SOURCE = "lmserve-prometheus"
_MARK = "# Written by 'lmserve monitor', which replaces it when it starts.\n"
# Of the names of what is copied.
_PREFIX = "lmserve-"


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitorConfig:
    """What is monitored, and where.

    Args:
        cluster: a name, on all series as label `cluster`.
        nodes: addresses of the nodes' `lmserve metrics`, as "host:9465".
        ray_targets: the file in which a running Ray keeps the addresses of its own metrics.
        scrape_s: seconds between two scrapes.
        url: where Prometheus will answer.
    """

    cluster: str
    nodes: tuple[str, ...]
    ray_targets: Path
    scrape_s: int
    url: str

    def __post_init__(self) -> None:
        for node in self.nodes:
            host, _, port = node.rpartition(":")
            if not host or not port.isdigit() or "/" in node:
                raise OptionError(
                    f"{node!r} is no address of a node", "Give HOST:PORT, such as 10.0.0.7:9465."
                )
        if not self.cluster:
            raise OptionError("the cluster's name is empty", "Give --cluster a name.")
        if self.scrape_s < 1:
            raise OptionError(
                f"cannot scrape every {self.scrape_s} s", "Give --interval 1 or more."
            )


def write_folder(folder: Path, config: MonitorConfig) -> None:
    """Writes the folder; what an earlier call wrote there is replaced, all else is kept.

    Raises:
        OptionError: it cannot be written, or holds another Prometheus's configuration.
    """
    _require_own(folder / "prometheus.yml")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "prometheus.yml", _prometheus(config), _MARK)
        (folder / "nodes.json").write_text(
            json.dumps([{"targets": list(config.nodes)}], indent=1) + "\n", encoding="utf-8"
        )
        _copy(sorted((_DATA / "rules").glob("*.yml")), folder / "rules")
        _copy(sorted((_DATA / "dashboards").glob("*.json")), folder / "grafana" / "dashboards")
        provisioning = folder / "grafana" / "provisioning"
        _write(provisioning / "datasources" / "lmserve.yml", _datasource(config))
        _write(
            provisioning / "dashboards" / "lmserve.yml",
            _dashboards(folder.resolve() / "grafana" / "dashboards"),
        )
    except OSError as error:
        raise OptionError(
            f"cannot write to {folder}: {error.strerror}", "Name another --folder."
        ) from error


def _prometheus(config: MonitorConfig) -> dict[str, Any]:
    def job(name: str, addresses: str) -> dict[str, Any]:
        return {
            "job_name": name,
            # Read again: nodes may come and go while Prometheus runs, and where the file's folder
            # is made later, as Ray's, its changes are not noticed.
            "file_sd_configs": [{"files": [addresses], "refresh_interval": "10s"}],
            "relabel_configs": [{"target_label": "cluster", "replacement": config.cluster}],
        }

    return {
        "global": {
            "scrape_interval": f"{config.scrape_s}s",
            "evaluation_interval": f"{config.scrape_s}s",
        },
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [
            job("lmserve", "nodes.json"),
            job("ray", str(config.ray_targets.absolute())),
        ],
    }


def _datasource(config: MonitorConfig) -> dict[str, Any]:
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "lmserve",
                "uid": _SOURCE,
                "type": "prometheus",
                "access": "proxy",
                "url": config.url,
                "isDefault": True,
                "jsonData": {"timeInterval": f"{config.scrape_s}s", "httpMethod": "POST"},
            }
        ],
    }


def _dashboards(folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "lmserve",
                "folder": "lmserve",
                "type": "file",
                "allowUiUpdates": False,
                "options": {"path": str(folder)},
            }
        ],
    }


def _require_own(configuration: Path) -> None:
    """Raises `OptionError` where a configuration is not of this program."""
    if configuration.exists() and not configuration.read_bytes().startswith(_MARK.encode()):
        raise OptionError(
            f"{configuration} is not of 'lmserve monitor'; it is not touched",
            "Name another --folder.",
        )


def _write(path: Path, content: dict[str, Any], mark: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = mark + yaml.safe_dump(content, sort_keys=False)
    path.write_text(text, encoding="utf-8", newline="\n")


def _copy(files: list[Path], folder: Path) -> None:
    """Makes a folder hold these files, and of an earlier release's no others."""
    folder.mkdir(parents=True, exist_ok=True)
    for former in folder.glob(f"{_PREFIX}*"):
        former.unlink()
    for file in files:
        shutil.copyfile(file, folder / f"{_PREFIX}{file.name.removeprefix(_PREFIX)}")
