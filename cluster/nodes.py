"""What is done on every machine of a cluster, beside the work of actors."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.placement import living_nodes
from cluster.workspace import Workspace, unseen

_TIMEOUT_S = 60.0


def on_every_node(
    call: Callable[..., Any], *arguments: object, role: str | None = None
) -> list[tuple[str, Any]]:
    """Calls a function on each node that has processors, whatever these are doing.

    Args:
        call: the function.
        arguments: its arguments.
        role: of the nodes, see `cluster.placement`; None: all.

    Returns:
        The nodes' names, and what it returned; nodes that do not answer are left out.
    """
    task: Any = ray.remote(num_cpus=0, max_retries=0)(call)
    waiting = {
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(*arguments): node["NodeManagerHostname"]
        for node in working_nodes(role)
    }
    results = []
    done, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=_TIMEOUT_S)
    for reference in done:
        try:
            results.append((waiting[reference], ray.get(reference)))
        except RayError:
            continue
    return results


def check_nodes_see(files: Workspace, role: str | None = None) -> None:
    """Raises `BuildError` where a node of several, of a role, does not see a build's folder."""
    if files.private or len(working_nodes(None)) < 2:
        return
    blind = [host for host, seen in on_every_node(_exists, files.plan_file, role=role) if not seen]
    if blind:
        raise unseen(files, ", ".join(sorted(set(blind))))


def leave_nodes(open_files: Callable[[], Workspace]) -> None:
    """Removes what a build has on the nodes' own disks, as far as they answer."""
    with suppress(RayError):
        on_every_node(_leave, open_files)


def working_nodes(role: str | None) -> list[dict[str, Any]]:
    """The living nodes of a role, or all, that have processors."""
    return [node for node in living_nodes(role) if node["Resources"].get("CPU")]


def _exists(path: Path) -> bool:
    return path.exists()


def _leave(open_files: Callable[[], Workspace]) -> None:
    open_files().leave()
