"""On which nodes of a cluster work is done: those of a role.

A node gets its role when it starts, as its label `lmserve/role`: `ray start --labels
lmserve/role=build`, or the label of a KubeRay worker group. Work for a role runs on such nodes;
work for none runs on any node.
"""

from collections.abc import Iterable
from typing import Any

import ray

from lmserve.errors import OptionError

ROLE_LABEL = "lmserve/role"


def role_selector(role: str | None) -> dict[str, str]:
    """Ray's label selector of a role's nodes; empty for any node."""
    return {} if role is None else {ROLE_LABEL: role}


def options_for(role: str | None) -> dict[str, Any]:
    """Options of a Ray actor or task that is to run on a role's nodes.

    Several of them are spread over these nodes, as far as there is room, so that they share as many
    machines' memory and disks as there are.
    """
    options: dict[str, Any] = {"scheduling_strategy": "SPREAD"}
    if role is not None:
        options["label_selector"] = role_selector(role)
    return options


def processors(role: str | None = None) -> int:
    """CPUs of a role's nodes, or of all nodes, of the cluster that this process is connected to.

    Raises:
        OptionError: no node has the role.
    """
    return max(1, int(_total("CPU", role)))


def gpus(role: str | None = None) -> int:
    """GPUs of a role's nodes, or of all nodes.

    Raises:
        OptionError: no node has the role.
    """
    return int(_total("GPU", role))


def check_role(role: str | None) -> None:
    """Raises `OptionError` where no node of the cluster has the role: Ray would wait for one."""
    living_nodes(role)


def _total(resource: str, role: str | None) -> float:
    return float(sum(node["Resources"].get(resource, 0) for node in living_nodes(role)))


def living_nodes(role: str | None) -> list[dict[str, Any]]:
    """Those of a role, or all, as `ray.nodes` describes them.

    Raises:
        OptionError: no node has the role.
    """
    living = [node for node in ray.nodes() if node["Alive"]]
    if role is None:
        return living
    chosen = [node for node in living if node["Labels"].get(ROLE_LABEL) == role]
    if not chosen:
        raise OptionError(
            f"none of the cluster's {len(living)} nodes has the role {role!r}; "
            f"{_roles_there(living)}",
            f"Name one of these, or start nodes with 'ray start --labels {ROLE_LABEL}={role}'; "
            "without --role, any node will do.",
        )
    return chosen


def _roles_there(nodes: Iterable[dict[str, Any]]) -> str:
    roles = sorted({node["Labels"][ROLE_LABEL] for node in nodes if ROLE_LABEL in node["Labels"]})
    return f"roles there: {', '.join(roles)}" if roles else "no node has any role"
