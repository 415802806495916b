"""A short job's last values, pushed to a Prometheus Pushgateway when it ends."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from lmserve.errors import OptionError
from lmserve.metrics.sharing import shared_folder

USER_VARIABLE = "LMSERVE_PUSH_USER"
PASSWORD_VARIABLE = "LMSERVE_PUSH_PASSWORD"  # noqa: S105 - the variable's name
_TIMEOUT_S = 10.0

logger = logging.getLogger(__name__)


@contextmanager
def pushing(url: str | None, run: str, kind: str) -> Iterator[None]:
    """Pushes what this process counted, but for live gauges, when the block ends or fails.

    A failure to push is logged as a warning.

    Args:
        url: of the Pushgateway; nothing is pushed without.
        run: of the job; takes the place of what it pushed before.
        kind: of the job.

    Raises:
        OptionError: the URL holds a password.
    """
    if url is not None and "@" in url:
        raise OptionError(
            "the Pushgateway's URL holds a user or a password",
            f"Give them in {USER_VARIABLE} and {PASSWORD_VARIABLE}.",
        )
    try:
        yield
    finally:
        if url is not None:
            _push(url, run, kind)


def _push(url: str, run: str, kind: str) -> None:
    # Here, for jobs that push nothing.
    from prometheus_client.exposition import (
        basic_auth_handler,
        default_handler,
        push_to_gateway,
    )

    from lmserve.metrics.reading import Collected, read_own, registry_of

    folder = shared_folder()
    if folder is None:
        logger.warning("metrics were not pushed to %s: they are not shared", url)
        return
    user, password = (os.environ.get(name) for name in (USER_VARIABLE, PASSWORD_VARIABLE))
    handler = (
        partial(basic_auth_handler, username=user, password=password) if user else default_handler
    )
    try:
        push_to_gateway(
            url,
            "lmserve",
            registry_of(Collected(read_own(folder))),
            {"run": run, "kind": kind},
            _TIMEOUT_S,
            handler,
        )
    except (OSError, ValueError) as error:
        logger.warning("metrics were not pushed to %s: %s", url, error)
