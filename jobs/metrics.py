"""`lmserve metrics`: a node's metrics for Prometheus, or those of a Ray cluster's nodes."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from typer import Option

from jobs.shell import messages, run
from lmserve.metrics.sharing import join_node, share_metrics


def metrics(
    port: Annotated[int, Option(help="Port to listen on.")] = 9465,
    host: Annotated[str, Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    disk: Annotated[
        list[Path] | None, Option(help="Path whose disk is told of, too; again for more.")
    ] = None,
    address: Annotated[
        str | None, Option(help="Ray cluster: an exporter on each of its nodes.")
    ] = None,
    targets: Annotated[
        Path | None, Option(help="With --address: file of Prometheus's file_sd to keep up to date.")
    ] = None,
) -> None:
    """Serve what all processes of this node counted, for Prometheus."""
    disks = tuple(disk or ())
    if address is None:
        from lmserve.metrics.exporting import serve

        # Before there are threads. A container's process 1 is not sent what it does not block.
        ends = [signal.SIGTERM, signal.SIGINT]
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        folder = share_metrics()
        join_node("exporter")
        serve(folder, host, port, disks)
        say = f"Metrics of {folder} at http://{host}:{port}/metrics; Ctrl-C stops."
        messages.print(say, highlight=False, soft_wrap=True)
        signal.sigwait(ends)
        return
    # Here, so that a plain node needs no Ray.
    from cluster.metrics_exporting import export_all

    say = f"An exporter on each node at port {port}; Ctrl-C stops looking for new nodes."
    messages.print(say, highlight=False, soft_wrap=True)
    with suppress(KeyboardInterrupt):
        export_all(address, host=host, port=port, disks=disks, targets=targets)


if __name__ == "__main__":
    run(metrics)
