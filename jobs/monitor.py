"""`lmserve monitor`: Prometheus and Grafana, ready to start."""

import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from typer import Option

from jobs.shell import messages, run


def monitor(
    *,
    folder: Annotated[
        Path, Option(help="Where configuration, dashboards and measurements lie.")
    ] = Path("lmserve-monitor"),
    node: Annotated[
        list[str] | None,
        Option(
            help="HOST:PORT of a node's `lmserve metrics`; one for each node.",
            show_default="127.0.0.1:9465",
        ),
    ] = None,
    cluster: Annotated[str, Option(help="Name of the cluster, a label on all series.")] = "local",
    ray: Annotated[
        Path, Option(help="The file in which Ray's head keeps where its own metrics are.")
    ] = Path("/tmp/ray/prom_metrics_service_discovery.json"),  # noqa: S108
    interval: Annotated[int, Option(help="Seconds between two scrapes.")] = 15,
    host: Annotated[str, Option(help="Address for Prometheus to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port for Prometheus to listen on.")] = 9090,
    start: Annotated[bool, Option(help="Start Prometheus, where it is installed.")] = True,
) -> None:
    """Write what Prometheus and Grafana need, and run Prometheus until interrupted."""
    # Here, so that the command line starts without YAML.
    from cluster.serving_checks import check_port_free
    from lmserve.monitoring.folder import MonitorConfig, write_folder
    from lmserve.monitoring.prometheus import check_configuration, running

    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104
    config = MonitorConfig(
        cluster=cluster,
        nodes=tuple(node or ("127.0.0.1:9465",)),
        ray_targets=ray,
        scrape_s=interval,
        url=url,
    )
    write_folder(folder, config)
    check_configuration(folder)
    _say(f"Written: {folder}/prometheus.yml, rules, and dashboards for Grafana. To start Grafana:")
    _say(_grafana(folder.resolve()))
    program = shutil.which("prometheus")
    if not start:
        return
    if program is None:
        _say(
            "Prometheus is not installed here (Debian: apt-get install prometheus). Where it is:\n"
            f"prometheus --config.file={folder}/prometheus.yml --storage.tsdb.path={folder}/data"
        )
        return
    check_port_free(host, port)
    with suppress(KeyboardInterrupt), running(program, folder, host, port) as process:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _say(f"Prometheus answers at {url}; its targets: {url}/targets. Ctrl-C stops.")
        process.wait()


def _grafana(folder: Path) -> str:
    provisioning = f"GF_PATHS_PROVISIONING={folder}/grafana/provisioning"
    return (
        f"{provisioning} grafana server --homepath /usr/share/grafana\n"
        f"or: docker run --network host -v {folder}:{folder}:ro -e {provisioning} grafana/grafana\n"
        "then open http://localhost:3000/dashboards (user and password are admin at first)."
    )


def _say(text: str) -> None:
    messages.print(text, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(monitor)
