"""The page that a build leaves beside what it made: what it was, what it cost, and why."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cluster.build_pictures import draw_balance, draw_memory, draw_rates, draw_timeline
from cluster.config import BuildConfig
from cluster.counts import CountsConfig
from cluster.outputs import open_output, read_summary
from lmserve.ngram.counts import Counts
from lmserve.ngram.manifest import Manifest
from lmserve.pages.figures import picture
from lmserve.pages.html import heading, page, paragraph, table

Summary = Mapping[str, Any]
_MB = 1e6
_STAGE_HEADS = (
    "stage", "wall s", "CPU s", "I/O s", "rows", "rows/s", "MB written", "MB/s", "tasks",
    "longest / mean", "peak MB",
)  # fmt: skip


def write_build_report(config: BuildConfig) -> str:
    """Writes the page into the finished output, and tells its name."""
    output, summary = open_output(config), read_summary(config)
    manifest = output.read(config.manifest_file) or b""
    if isinstance(config, CountsConfig):
        made = _counts(Counts.parse(manifest, config.place))
        title = f"How the counts {config.name!r} were made"
    else:
        made = _model(Manifest.parse(manifest, config.place))
        title = f"How the model {config.name!r} was built"
    output.write(config.report_file, build_page(title, summary, made).encode())
    return f"{config.place}/{config.report_file}"


def build_page(title: str, summary: Summary, made: Sequence[str]) -> str:
    """The page.

    Args:
        title: of it.
        summary: see `cluster.summary`.
        made: parts about the result.
    """
    many = [stage for stage in summary["tasks"] if stage["tasks"] > 1]
    return page(
        title,
        [
            table("The run", ("", ""), _facts(summary)),
            *made,
            heading("Over time"),
            picture(partial(draw_timeline, summary), "stages and tasks over time"),
            paragraph(_restarts(summary)),
            heading("Stages"),
            table("What each cost", _STAGE_HEADS, _stages(summary)),
            picture(partial(draw_rates, summary), "rows and bytes a second by stage"),
            heading("Memory and disk"),
            picture(partial(draw_memory, summary), "peak memory by stage, disk over time"),
            *(_balance(many) if many else ()),
        ],
    )


def _facts(summary: Summary) -> list[tuple[str, Any]]:
    machine, disk = summary["machine"], summary["temporary_disk"]
    facts = [
        ("began", summary["began"]),
        ("took", f"{summary['took_s']:,.1f} s, {summary['wall_s']:,.1f} s of it after the start"),
        ("text", f"{summary['text_bytes'] / _MB:,.1f} MB: {', '.join(summary['inputs'])}"),
        ("workers", f"{summary['workers']}, {summary['memory_bytes'] / _MB:,.0f} MB for all"),
        (
            "driver's machine",
            f"{machine['processors']} processors, {machine['memory_bytes'] / _MB:,.0f} MB, "
            f"{machine['system']}",
        ),
        (
            "temporary disk",
            f"{disk['used_bytes'] / _MB:,.1f} of {disk['estimated_bytes'] / _MB:,.1f} MB estimated",
        ),
        *((name, _shown(value)) for name, value in summary["settings"].items()),
        ("versions", ", ".join(f"{name} {v}" for name, v in summary["versions"].items())),
        ("lmserve", summary["lmserve"]),
    ]
    return [("digest", summary["digest"]), *facts] if "digest" in summary else facts


def _shown(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _model(manifest: Manifest) -> list[str]:
    """n-grams, discounts and what they follow from."""
    heads = ["order", "n-grams"]
    rows: list[list[Any]] = [[k, count] for k, count in enumerate(manifest.ngrams, 1)]
    if any(any(discounts) for discounts in manifest.discounts):
        heads += ["D1", "D2", "D3+"]
        for row, discounts in zip(rows, manifest.discounts, strict=True):
            row += list(discounts)
    if manifest.counts_of_counts:
        heads += [f"counted {times}" for times in ("once", "twice", "3 times", "4 times")]
        for row, counted in zip(rows, manifest.counts_of_counts, strict=True):
            row += counted
    text = f"{manifest.words:,} words in {manifest.sentences:,} sentences"
    return [table(f"The model, of {text}", heads, rows)]


def _counts(counts: Counts) -> list[str]:
    text = f"{counts.words:,} words in {counts.sentences:,} sentences"
    return [table(f"The counts, of {text}", ("order", "n-grams"), list(enumerate(counts.rows, 1)))]


def _restarts(summary: Summary) -> str:
    restarts = summary["restarts"]
    if not restarts:
        return "No worker died. Each bar is a task, or several where there were many."
    workers = ", ".join(str(start["worker"]) for start in restarts)
    return (
        f"Workers died and were started again {len(restarts)} times, where the picture has a "
        f"cross: {workers}. What they had done is kept; what they were doing was done again."
    )


def _stages(summary: Summary) -> list[list[Any]]:
    # A stage may be run more than once.
    tasks = iter(summary["tasks"])
    following = next(tasks, None)
    rows = []
    for stage in summary["stages"]:
        longest = ""
        if following and following["stage"] == stage["name"]:
            wall_s = following["wall_s"]
            longest = f"{wall_s['at'][-1] / wall_s['mean']:.2f}" if wall_s["mean"] else ""
            following = next(tasks, None)
        wall = max(stage["wall_s"], 1e-9)
        written = stage["bytes_written"] / _MB
        rows.append(
            [
                stage["name"],
                *(round(stage[name], 2) for name in ("wall_s", "cpu_s", "io_s")),
                stage["rows"],
                round(stage["rows"] / wall),
                *(round(written, 1), round(written / wall, 1)),
                stage["tasks"],
                longest,
                round(stage["peak_memory_bytes"] / _MB),
            ]
        )
    return rows


def _balance(tasks: Sequence[Summary]) -> list[str]:
    return [
        heading("Balance of pieces, shards and buckets"),
        paragraph(
            "Boxes hold the middle half of a stage's tasks, lines reach from the smallest to the "
            "largest. A task of many times the mean makes the others wait: give less --memory, for "
            "more and smaller shards."
        ),
        picture(partial(draw_balance, tasks), "distribution of tasks by stage"),
    ]
