"""Whether a worker's node sees the paths of this machine that its work is about."""

import os
import socket

import ray.util

from cluster.nodes import on_every_node, working_nodes
from lmserve.errors import LmserveError, ScoringError
from lmserve.text.storage import is_url


def node_name() -> str:
    """This node, as people know it."""
    return f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"


def require_seen(location: str, what: str, error: type[LmserveError] = ScoringError) -> None:
    """Raises an error where a path is not there; a URL is seen from everywhere.

    Args:
        location: path or URL.
        what: is there, for the error.
        error: which to raise.
    """
    if not is_url(location) and not os.path.exists(location):
        raise error(
            f"the node {node_name()} does not see {what} {location!r}",
            "Name a folder that all nodes share under this path, or a URL: s3://bucket/folder.",
        )


def require_all_see(path: str, what: str, error: type[LmserveError], role: str | None) -> None:
    """Raises an error where one of the cluster's nodes does not see a path of this machine.

    Nodes that do not answer within a minute are not asked again.

    Args:
        path: the path.
        what: is there, for the error.
        error: which to raise.
        role: of the nodes that are asked, see `cluster.placement`; None: all.
    """
    if len(working_nodes(None)) < 2:
        return
    names = [name for _, name in on_every_node(_unseen_at, path, role=role)]
    if blind := sorted(name for name in names if name is not None):
        raise error(
            f"the node {', '.join(blind)} does not see {what} {path!r}",
            "Name a folder that all nodes share under this path, or a URL: s3://bucket/folder.",
        )


def _unseen_at(path: str) -> str | None:
    """This node's name, if it does not see a path."""
    return None if os.path.exists(path) else node_name()
