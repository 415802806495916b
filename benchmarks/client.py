"""Texts scored a second by `lmserve.client`, beside one request that stays open.

    python -m benchmarks.client URL TEXT [--lines 20000] [--passes 3] [--round-trips 500]

The service runs already. All ways take turns, each pass with texts that the service has not seen,
and of each the median counts. What comes back is parsed in every case.
"""

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Annotated
from urllib.parse import urlsplit

import orjson
import pyarrow as pa
import typer

from benchmarks.measure import environment
from lmserve.client import Client


def main(
    url: Annotated[str, typer.Argument(help="Of a running service.")],
    text: Annotated[Path, typer.Argument(help="Sentences, one a line.")],
    lines: Annotated[int, typer.Option(help="Sentences a pass.")] = 20_000,
    passes: Annotated[int, typer.Option(help="Of each way; the median counts.")] = 3,
    round_trips: Annotated[int, typer.Option(help="Texts sent one after the other.")] = 500,
) -> None:
    """Measure clients and print them as Markdown."""
    with text.open(errors="replace") as file:
        sentences = [line.rstrip("\n") for line in islice(file, lines)]
    ways: dict[str, Callable[[Sequence[str]], int]] = {
        "one open request, 256 texts a chunk": lambda texts: _open_request(url, texts, 256)
    }
    with Client(url, in_flight=1) as one, Client(url) as two, Client(url, in_flight=4) as four:
        for in_flight, client in ((1, one), (2, two), (4, four)):
            for batch in (256, 1024, 4096):
                ways[f"`score_stream`, batch={batch}, in_flight={in_flight}"] = _stream(
                    client, batch
                )
        ways["`score_arrow`"] = lambda texts: two.score_arrow(pa.table({"text": texts})).num_rows
        print(f"{environment()}; {len(sentences):,} sentences\n\n| | texts/s |\n| --- | --- |")
        _print(ways, sentences, passes)
        trips: dict[str, Callable[[Sequence[str]], int]] = {
            "one open request, a text at a time": lambda texts: _open_request(url, texts, 1),
            # The next text is taken when the answer to the last one was.
            "`score_stream`, batch=1, in_flight=1": _stream(one, 1),
        }
        _print(trips, sentences[:round_trips], passes)


def _print(
    ways: dict[str, Callable[[Sequence[str]], int]], sentences: list[str], passes: int
) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    # The first pass warms up both sides.
    for number in range(passes + 1):
        for place, (name, way) in enumerate(ways.items()):
            texts = [f"{sentence} {place} {number}" for sentence in sentences]
            started_s = time.perf_counter()
            answers = way(texts)
            seconds[name].append(time.perf_counter() - started_s)
            if answers != len(texts):
                raise SystemExit(f"{name}: {answers} answers to {len(texts)} texts")
    for name, every in seconds.items():
        print(f"| {name} | {len(sentences) / median(every[1:]):,.0f} |", flush=True)


def _stream(client: Client, batch: int) -> Callable[[Sequence[str]], int]:
    return lambda texts: sum(1 for _ in client.score_stream(texts, batch=batch))


def _open_request(url: str, texts: Sequence[str], batch: int) -> int:
    """Answers to texts sent in chunks while others come back; with a batch of 1, in turns."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/v1/score/stream")
        connection.putheader("Content-Type", "application/x-ndjson")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        places = threading.Semaphore(1 if batch == 1 else len(texts))
        sender = threading.Thread(target=_send, args=(connection, texts, batch, places))
        sender.start()
        count = 0
        for line in connection.getresponse():
            orjson.loads(line)
            count += 1
            places.release()
        sender.join()
    return count


def _send(
    connection: http.client.HTTPConnection,
    texts: Sequence[str],
    batch: int,
    places: threading.Semaphore,
) -> None:
    lines = iter(texts)
    while places.acquire() and (block := list(islice(lines, batch))):
        body = b"".join(orjson.dumps({"text": text}) + b"\n" for text in block)
        connection.send(b"%x\r\n%b\r\n" % (len(body), body))
    connection.send(b"0\r\n\r\n")


if __name__ == "__main__":
    typer.run(main)
