"""Connecting to Ray: a cluster where one is named, else one on this machine for this process."""

import io
import logging
import os
from contextlib import redirect_stdout

import ray

from lmserve.errors import BuildError
from lmserve.metrics.sharing import not_inherited


def connect(address: str | None, *, num_cpus: int | None = None) -> None:
    """Connects this process to Ray, unless it is connected already.

    Args:
        address: a cluster ("auto", "host:port", "ray://host:port"); None means what the
            environment variable RAY_ADDRESS names, or else a new Ray on this machine that ends
            with this process.
        num_cpus: processors that a new Ray may use; None means all.

    Raises:
        BuildError: the named cluster does not answer.
    """
    if connected():
        return
    # Ray reports usage to its makers unless told otherwise; lmserve's users decide for themselves.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        # Ray's own processes count with prometheus_client, too, in no folder of ours.
        with not_inherited():
            if address:
                ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
            else:
                ray.init(
                    address="local",
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BuildError(
            f"cannot connect to Ray at {address or 'this machine'}: {error}",
            "Check that the cluster is up ('ray status') and that RAY_AUTH_MODE and its token are "
            "the same here as there; without --address and RAY_ADDRESS, a local Ray is started.",
        ) from error


def disconnect() -> None:
    """Ends the connection, and the Ray that `connect` started with all that runs in it."""
    # Ray tells of every actor that thereby ends, on standard output, where results belong.
    with redirect_stdout(io.StringIO()):
        # Else a process that takes a second to die is left to nobody.
        ray.shutdown(wait_for_processes=True)


def connected() -> bool:
    """Whether this process is connected to Ray."""
    return bool(ray.is_initialized())


def processors() -> int:
    """CPUs of the cluster that this process is connected to."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
