"""The program `prometheus`, run on a folder that `write_folder` wrote."""

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmserve.errors import LmserveError

_READY_S = 60.0
_STOP_S = 30.0
_SHOWN_LINES = 5


def check_configuration(folder: Path) -> None:
    """Has `promtool`, where it is installed, check the folder's configuration and rules.

    Raises:
        LmserveError: it finds a fault.
    """
    if (promtool := shutil.which("promtool")) is None:
        return
    checked = subprocess.run(  # noqa: S603
        [promtool, "check", "config", folder / "prometheus.yml"], capture_output=True, text=True
    )
    if checked.returncode:
        raise LmserveError(
            f"promtool refuses {folder / 'prometheus.yml'}: {_end(checked.stderr)}",
            "An older Prometheus may not know all of it: 2.42 or newer does. Else mend the file, "
            "and start Prometheus with it yourself.",
        )


@contextmanager
def running(program: str, folder: Path, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A Prometheus that answers, and is stopped at the block's end; its log lies in the folder.

    Raises:
        LmserveError: it ends before it answers.
    """
    log = folder / "prometheus.log"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={host}:{port}",
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)  # noqa: S603
    try:
        _wait_until_ready(process, f"http://{host}:{port}/-/ready", log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end_s = time.monotonic() + _READY_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end_s:
                raise LmserveError(
                    f"Prometheus does not start: {_end(log.read_text(errors='replace'))}",
                    f"All it says is in {log}.",
                ) from error
            time.sleep(0.1)


def _end(text: str) -> str:
    return " ".join(text.strip().splitlines()[-_SHOWN_LINES:])
