r"""What metrics cost a stream: the same stream, with counting and without, in turns.

    python -m benchmarks.metrics_cost MODEL TEXT [--lines 200000] [--turns 2000] [--rounds 24]

Two services answer, each a process of its own with lmserve's application on uvicorn: with metrics
in the process, and with metrics in a folder that processes share, as `lmserve serve` has them. In
every round each gets the same streams twice, counted and not (`switched_service`), the one or the
other first: plain lines as fast as they go, and lines sent one by one, each when the one before is
answered. It is one process that does both, for of two one may be some hundredths faster for as long
as it lives. Told are medians and quartiles of the rounds.
"""

import itertools
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import typer

from benchmarks.measure import environment
from benchmarks.one_process import Cost, Service, increments, one_by_one, whole
from benchmarks.switched_service import UNCOUNTED

_PROCESS, _SHARED = "in the process", "shared by processes"

# By stream, service, and whether it is counted.
Costs = dict[tuple[str, str, bool], list[Cost]]


def main(
    model: Annotated[Path, typer.Argument(help="Folder of an n-gram model.")],
    text: Annotated[Path, typer.Argument(help="Sentences, one a line.")],
    lines: Annotated[int, typer.Option(help="Of the stream as fast as it goes.")] = 200_000,
    turns: Annotated[int, typer.Option(help="Lines sent one by one.")] = 2000,
    rounds: Annotated[int, typer.Option(min=2)] = 24,
) -> None:
    """Measure what metrics cost and print it as Markdown."""
    found = text.read_bytes().splitlines(keepends=True)
    sentences = list(itertools.islice(itertools.cycle(found), max(lines, turns)))
    streams = {"as fast as they go": sentences[:lines], "one by one": sentences[:turns]}
    print(f"{environment()}; {rounds} rounds\n")
    costs = _measure(model, streams, rounds)
    print("| lines | counting | lines/s | CPU a line | CPU more | throughput less |")
    print("| --- " * 6 + "|")
    for name, kind in itertools.product(streams, (_PROCESS, _SHARED)):
        count, mine, bare = len(streams[name]), costs[name, kind, True], costs[name, kind, False]
        row = f"{count / median(one.wall_s for one in mine):,.0f}"
        row += f" | {1e6 * median(one.cpu_s for one in mine) / count:,.2f} µs"
        pairs = list(zip(mine, bare, strict=True))
        row += f" | {_more([(one.cpu_s, other.cpu_s) for one, other in pairs])}"
        row += f" | {_spread([1 - other.wall_s / one.wall_s for one, other in pairs])}"
        print(f"| {name} | {kind} | {row} |")
    print("\n| lines | increments a line |\n| --- | --- |")
    for name, part in streams.items():
        counted = increments(model, part, apart=name == "one by one")
        print(f"| {name} | {counted / len(part):.4f} |")


def _measure(model: Path, streams: dict[str, list[bytes]], rounds: int) -> Costs:
    costs: Costs = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        services = {
            kind: stack.enter_context(Service("switched_service", model, shared))
            for kind, shared in ((_PROCESS, None), (_SHARED, Path(folder)))
        }
        # The first round warms up, and doesn't count.
        for number in range(rounds + 1):
            for (name, lines), kind in itertools.product(streams.items(), services):
                send = one_by_one if name == "one by one" else whole
                for counted in (number % 2 == 0, number % 2 == 1):
                    cost = send(services[kind], lines, *([] if counted else [UNCOUNTED]))
                    costs[name, kind, counted] += [cost] if number else []
    return costs


def _more(pairs: Sequence[tuple[float, float]]) -> str:
    """By how much the first of each pair is more; processor time is told in steps of 10 ms."""
    if not all(bare for _, bare in pairs):
        return "too short to tell"
    return _spread([mine / bare - 1 for mine, bare in pairs])


def _spread(parts: Sequence[float]) -> str:
    low, middle, high = quantiles(parts, n=4)
    return f"{middle:+.1%} ({low:+.1%} to {high:+.1%})"


if __name__ == "__main__":
    typer.run(main)
