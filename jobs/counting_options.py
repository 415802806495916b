"""What the jobs that count a text share: their options, and what they say when stopped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from jobs.shell import messages
from lmserve.sizes import parse_size
from lmserve.stopping import is_stop
from lmserve.text.special_tokens import SpecialTokens
from lmserve.text.storage import is_url

if TYPE_CHECKING:
    from cluster.config import BuildConfig

Inputs = Annotated[
    list[str],
    Argument(
        metavar="INPUT...",
        help="Text, one sentence a line, .jsonl or .parquet: files, URLs, 'patterns*', or - "
        "for standard input. Compressed by suffix: .gz .bz2 .xz .zst.",
    ),
]
ModelOutput = Annotated[
    str,
    Option(
        "--output",
        "-o",
        help="Folder of the model to make, or its URL: all that machines need share.",
    ),
]
Order = Annotated[int, Option(help="Words of the longest n-gram.")]
Marks = Annotated[
    SpecialTokens,
    Option(
        help="<s>, </s>, <unk> in the text: refuse it, count <unk> as a word, or drop them all."
    ),
]
Tokenizer = Annotated[
    str,
    Option(
        help="What cuts a line: whitespace, characters, a SentencePiece model FILE.model, or a "
        "Hugging Face FILE.json."
    ),
]
Normalize = Annotated[
    str, Option(help="Before that: none, lower, nfkc, or steps in their order: nfkc,lower.")
]
Workers = Annotated[
    int | None, Option(help="Ray actors, one processor each.", show_default="all processors")
]
Memory = Annotated[
    str | None,
    Option(help="For all workers together: 2GB, 500MiB.", show_default="half of this machine's"),
]
Address = Annotated[
    str | None, Option(help="Ray cluster.", show_default="RAY_ADDRESS, or a local Ray")
]

PushMetrics = Annotated[
    str | None,
    Option(
        metavar="URL",
        help="Prometheus Pushgateway that gets the job's last values.",
        show_default="none",
    ),
]


def memory_bytes(memory: str | None) -> int:
    """What `--memory` says, or half of what this machine or container has."""
    from cluster.config import machine_memory_bytes

    return machine_memory_bytes() // 2 if memory is None else parse_size(memory)


def output_settings(output: str) -> dict[str, Any]:
    """What `--output` says, as settings of a build."""
    return {"url": output} if is_url(output) else {"output": Path(output)}


def kept_at(config: "BuildConfig", output: str) -> tuple[Path | Callable[[], bool], Path | str]:
    """Where the work done so far is, for `telling_what_is_kept`; `output` is as it was given."""
    from cluster.planning import open_workspace

    if config.url is None:
        return config.folder, f"{output}.building" if config.temp_dir is None else config.folder
    files = open_workspace(config)
    return files.planned, files.where


@contextmanager
def telling_what_is_kept(folder: Path | Callable[[], bool], shown: Path | str) -> Iterator[None]:
    """Says where the work done so far is, if any is kept, to whoever stops a job.

    Args:
        folder: where it would be, or what tells whether it is.
        shown: what to call that place.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if is_stop(error) and (folder.exists() if isinstance(folder, Path) else folder()):
            messages.print(f"stopped; what is done is kept in {shown}: --resume goes on")
        raise
