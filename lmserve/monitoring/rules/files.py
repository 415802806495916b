"""Rules as the files that Prometheus reads."""

from pathlib import Path

import yaml

from lmserve.monitoring.rules import jobs, nodes, replicas, requests, text, training
from lmserve.monitoring.rules.objectives import Objectives
from lmserve.monitoring.rules.rule import Clock, Group

# Where those of the default objectives are.
FOLDER = Path(__file__).parent
_MODULES = (requests, replicas, text, jobs, training, nodes)
_DEFAULT = Objectives()


def groups(clock: Clock | None = None, objectives: Objectives = _DEFAULT) -> list[Group]:
    """All groups of rules.

    Args:
        clock: how long durations last.
        objectives: the numbers in them.
    """
    return [one for part in _MODULES for one in part.groups(clock or Clock(), objectives)]


def files(clock: Clock | None = None, objectives: Objectives = _DEFAULT) -> dict[str, str]:
    """The rules as YAML, by file name; see `groups`."""
    return {f"{group.name}.yml": _as_yaml(group) for group in groups(clock, objectives)}


def write(folder: Path, objectives: Objectives = _DEFAULT, clock: Clock | None = None) -> None:
    """Writes the files into a folder."""
    for name, content in files(clock, objectives).items():
        (folder / name).write_text(content)


def _as_yaml(group: Group) -> str:
    rules = [rule.as_rule() for rule in group.rules]
    content = {"groups": [{"name": group.name, "rules": rules}]}
    return yaml.safe_dump(content, sort_keys=False, width=100)
