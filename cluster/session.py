"""Connecting to Ray: a cluster where one is named, else one on this machine for this process."""

import io
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayError

from cluster.environment import passed_on
from cluster.own_ray import own_ray_options, secured
from cluster.reaching import reachable
from lmserve.errors import BuildError
from lmserve.metrics.sharing import CHOICE_VARIABLE, metrics_folder, not_inherited

# Ray's word for one that is started here.
_OWN = "local"


def connect(address: str | None, *, num_cpus: int | None = None) -> None:
    """Connects this process to Ray, unless it is connected already.

    Args:
        address: a cluster ("auto", "host:port", "ray://host:port"); None means what the
            environment variable RAY_ADDRESS names, or else a new Ray on this machine that ends
            with this process.
        num_cpus: processors that a new Ray may use; None means all.

    Raises:
        BuildError: the named cluster does not answer, or does not take this process's token.
        OptionError: a variable that says what goes to its workers, or what a new Ray is like, has
            a value that cannot be used.
    """
    if connected():
        return
    # Ray reports usage to its makers unless told otherwise; lmserve's users decide for themselves.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != _OWN:
        environment = passed_on()
        options: dict[str, Any] = {"address": reachable(address)}
        if environment:
            options["runtime_env"] = {"env_vars": environment}
    else:
        options = {"address": _OWN, "num_cpus": num_cpus, "include_dashboard": False}
        options |= own_ray_options()
        secured()
    _connect(options, address)


def disconnect() -> None:
    """Ends the connection, and the Ray that `connect` started with all that runs in it."""
    # Ray tells of every actor that thereby ends, on standard output, where results belong.
    with redirect_stdout(io.StringIO()):
        # Else a process that takes a second to die is left to nobody.
        ray.shutdown(wait_for_processes=True)


def connected() -> bool:
    """Whether this process is connected to Ray."""
    return bool(ray.is_initialized())


def client_host(address: str | None) -> str | None:
    """The host of a cluster that `connect` reaches as a client; None where this machine is of it.

    Args:
        address: as in `connect`.
    """
    named = address or os.environ.get("RAY_ADDRESS") or ""
    return urlsplit(named).hostname if named.startswith("ray://") else None


def _connect(options: dict[str, Any], address: str | None) -> None:
    try:
        with _metrics_of_this_node():
            ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
        _take_sigterm_back()
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise BuildError(
            f"cannot connect to Ray at {address or 'this machine'}: {error}",
            "Check that the cluster is up ('ray status') and that its version of Ray and Python "
            "are those here; without --address and RAY_ADDRESS, a local Ray is started.",
        ) from error


def _take_sigterm_back() -> None:
    """Has SIGTERM come to Python at once, and not by way of Ray's handler for crashes.

    That one first logs a stack, for which it takes memory: where the signal comes in the middle of
    an allocation, it waits for ever, and the job is killed instead of being stopped.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _metrics_of_this_node() -> Iterator[None]:
    """A Ray that is started in the block has this process's folder of metrics for its node's.

    Ray's own processes count with prometheus_client, too, in no folder of ours.
    """
    before = os.environ.get(CHOICE_VARIABLE)
    os.environ[CHOICE_VARIABLE] = str(metrics_folder())
    try:
        with not_inherited():
            yield
    finally:
        if before is None:
            del os.environ[CHOICE_VARIABLE]
        else:
            os.environ[CHOICE_VARIABLE] = before
