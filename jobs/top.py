"""`lmserve top`: a service, jobs and trainings at a glance, in a terminal."""

import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from rich.live import Live
from typer import Argument, Option

from jobs.shell import output, run
from jobs.top_figures import figures
from jobs.top_reading import Between, Reading, address, read
from jobs.top_tables import tables
from lmserve.errors import LmserveError

_DEFAULT = "http://localhost:9465"
_QUIT = frozenset(b"qQ\x1b\x03\x04")


def top(
    urls: Annotated[
        list[str] | None,
        Argument(
            metavar="[URL]...", help=f"Exporters or services; {_DEFAULT} where none is named."
        ),
    ] = None,
    interval: Annotated[
        float, Option(min=0.1, help="Seconds between two readings, which rates are of.")
    ] = 2.0,
    once: Annotated[bool, Option("--once", help="Print the tables once and end.")] = False,
    as_json: Annotated[bool, Option("--json", help="The same once, as JSON.")] = False,
) -> None:
    """Show what services, jobs and trainings do, from their metrics; q ends it."""
    places = [address(url) for url in urls or [_DEFAULT]]
    before = _read(places)
    if once or as_json or not output.is_terminal:
        time.sleep(interval)
        found = figures(Between(before, _read(places)))
        if as_json:
            print(json.dumps(found))  # noqa: T201 - this is the result
        else:
            output.print(tables(found))
        return
    _follow(places, before, interval)


def _follow(places: Sequence[str], before: Reading, interval_s: float) -> None:
    """Shows new figures again and again, until a key says that it is enough."""
    shown = tables(figures(Between(before, before)))
    with _single_keys(), Live(shown, console=output, screen=True, auto_refresh=False) as live:
        while not _quits_within(interval_s):
            now = read(places)
            live.update(tables(figures(Between(before, now))), refresh=True)
            before = now if now.series else before


def _read(places: Sequence[str]) -> Reading:
    """What is there; raises `LmserveError` where nobody answers."""
    reading = read(places)
    if len(reading.failures) == len(set(places)):
        problems = "; ".join(f"{url}: {reason}" for url, reason in reading.failures.items())
        raise LmserveError(
            f"nobody answers: {problems}",
            "Start the exporter on the node, lmserve metrics --port 9465, or name a service, "
            "lmserve top http://localhost:8000.",
        )
    return reading


@contextmanager
def _single_keys() -> Iterator[None]:
    """Has keys come at once and unseen, where they come from a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _quits_within(seconds: float) -> bool:
    """Waits; whether meanwhile a key was pressed that ends the program."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left_s)[0]:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys or _QUIT.intersection(keys):
                return True
    return False


if __name__ == "__main__":
    run(top)
