"""`lmserve serve`: scores over HTTP, on Ray Serve."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jobs.shell import messages, run


def serve(
    model: Annotated[Path, Argument(help="Model folder, under this path on every node.")],
    *,
    port: Annotated[int, Option(help="Port to listen on.")] = 8000,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    redis: Annotated[
        str | None,
        Option(help="Shared score cache, like redis://localhost:6379/0 (no password in it)."),
    ] = None,
    replicas: Annotated[int, Option(help="Copies of the model.")] = 1,
    address: Annotated[
        str | None, Option(help="Ray cluster to use; without one, a local one is started.")
    ] = None,
) -> None:
    """Serve the scores of MODEL over HTTP until interrupted."""
    # Here, so that the command line starts without Ray.
    from cluster.serving import ServeConfig, serving

    config = ServeConfig(model=model, host=host, port=port, redis_url=redis, replicas=replicas)
    with suppress(KeyboardInterrupt), serving(config, address) as url:
        # Now, since Ray brings handlers of its own: either signal ends this block in good order.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        messages.print(
            f"Serving {model} at {url} (documentation: {url}/docs); Ctrl-C stops. Try:\n"
            f"curl {url}/v1/score -H 'Content-Type: application/json' "
            """-d '{"text": "the cat sat on the mat"}'""",
            highlight=False,
            soft_wrap=True,
        )
        while True:
            signal.pause()


if __name__ == "__main__":
    run(serve)
