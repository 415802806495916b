"""`lmserve serve`: scores over HTTP, on Ray Serve."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from jobs.placing import Role
from jobs.shell import messages, run
from lmserve.service.cache import CachePolicy
from lmserve.text.storage import shown

LogFormat = Literal["none", "json", "text"]


def serve(
    model: Annotated[
        str,
        Argument(
            help="Model folder, or directory of published models: a path that is the same on every "
            "node, or the directory's URL."
        ),
    ],
    *,
    port: Annotated[int, Option(help="Port to listen on.")] = 8000,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    redis: Annotated[
        str | None,
        Option(help="Shared score cache, like redis://localhost:6379/0 (no password in it)."),
    ] = None,
    cache: Annotated[
        CachePolicy,
        Option(help="Keep scores of recurrent models and mixtures with one (auto), all, or none."),
    ] = CachePolicy.AUTO,
    replicas: Annotated[int, Option(help="Copies of the models.")] = 1,
    cpus: Annotated[float, Option(help="Processors set aside for each.")] = 1.0,
    gpus: Annotated[float, Option(help="GPUs set aside for each; 0.5 shares one.")] = 0.0,
    device: Annotated[
        str, Option(help="Where recurrent models compute: cpu, or cuda with --gpus.")
    ] = "cpu",
    haproxy: Annotated[
        bool,
        Option(
            "--haproxy", help="HAProxy before the replicas: faster, and loses no request of one."
        ),
    ] = False,
    poll: Annotated[
        float, Option(help="Seconds between two looks for newly published models.")
    ] = 2.0,
    model_cache: Annotated[
        Path | None,
        Option(help="Folder for models fetched from a URL.", show_default="~/.cache/lmserve"),
    ] = None,
    api_keys: Annotated[
        Path | None,
        Option(
            envvar="LMSERVE_API_KEYS_FILE",
            help="Keys of `lmserve keys`, under this path on every node; without, all may use it.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat,
        Option(envvar="LMSERVE_LOG_FORMAT", help="Log a line for every request, on the replicas."),
    ] = "none",
    role: Role = None,
    address: Annotated[
        str | None,
        Option(
            help="Ray cluster to use, ray://HOST:10001 from elsewhere; without one, a local one is "
            "started."
        ),
    ] = None,
) -> None:
    """Serve the scores of MODEL, or of all published models, over HTTP until interrupted."""
    # Here, so that the command line starts without Ray.
    from cluster.serve_config import ServeConfig
    from cluster.serving import serving

    config = ServeConfig(
        model=model,
        host=host,
        port=port,
        redis_url=redis,
        cache=cache,
        replicas=replicas,
        cpus_per_replica=cpus,
        gpus_per_replica=gpus,
        device=device,
        haproxy=haproxy,
        poll_s=poll,
        model_cache=model_cache,
        api_keys=api_keys,
        log_format=log_format,
        role=role,
    )
    with suppress(KeyboardInterrupt), serving(config, address) as url:
        # Now, since Ray brings handlers of its own: either signal ends this block in good order.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        messages.print(
            f"Serving {shown(model)} at {url} (documentation: {url}/docs); Ctrl-C stops. Try:\n"
            f"curl {url}/v1/score -H 'Content-Type: application/json' "
            """-d '{"text": "the cat sat on the mat"}'""",
            highlight=False,
            soft_wrap=True,
        )
        while True:
            signal.pause()


if __name__ == "__main__":
    run(serve)
