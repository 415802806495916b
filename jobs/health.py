"""`lmserve health`: whether a service answers, for health checks of containers and init systems."""

import http.client
from typing import Annotated
from urllib.parse import urlsplit

from typer import Argument, Option

from jobs.shell import messages, run
from lmserve.errors import OptionError, ServiceError


def health(
    url: Annotated[
        str, Argument(envvar="LMSERVE_HEALTH_URL", help="What to ask for, over http.")
    ] = "http://127.0.0.1:8000/readyz",
    timeout: Annotated[float, Option(help="Seconds until an answer.")] = 5.0,
) -> None:
    """Exit with 0 where the service is ready, with 1 where it is not."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise OptionError(f"{url!r} is no http:// URL", "Give one such as http://host:8000/readyz.")
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        text = answer.read(1 << 16).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(
            f"{url} does not answer: {error}",
            "See whether the service is up there, and what its log says.",
        ) from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise ServiceError(f"{url} answers {answer.status}: {text}", "Its log says more.")
    messages.print(text, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(health)
