"""What lmserve costs, beside KenLM where the folder of its programs is given.

python -m benchmarks build TEXT [--kenlm FOLDER] [--memory 4GB] [--runs 3]
python -m benchmarks growth TEXT [--memory 4GB]
python -m benchmarks agreement TEXT --kenlm FOLDER
python -m benchmarks queries MODEL ...
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated

from typer import Argument, Option, Typer

from benchmarks.agreement import compare
from benchmarks.building import Built, build_kenlm, build_ours
from benchmarks.measure import Cost, environment
from benchmarks.memory import Sample
from benchmarks.pictures import draw_growth, draw_memory
from lmserve.sizes import parse_size

app = Typer(no_args_is_help=True, add_completion=False)
Text = Annotated[Path, Argument(help="One sentence a line.")]
Programs = Annotated[Path | None, Option(help="Folder with lmplz, build_binary and query.")]
Picture = Annotated[Path | None, Option(help="An SVG file to draw.")]
_GROWTH = (1, 2, 4, 8)


@app.command("build")
def measure_build(
    text: Text,
    kenlm: Programs = None,
    order: int = 5,
    memory: Annotated[list[str] | None, Option(help="One build for each.")] = None,
    runs: Annotated[int, Option(min=1, help="In turn with KenLM; medians are told.")] = 1,
    picture: Picture = None,
) -> None:
    """Text to a model that answers: time, memory, and where they go."""
    curves: dict[str, tuple[list[Sample], int]] = {}
    with _folder() as folder:
        source = _copy(text, folder)
        print(f"{environment()}\n")
        for limit in memory or ["4GB"]:
            builds: list[Built] = []
            peers: list[Cost] = []
            for _ in range(runs):
                builds.append(build_ours(source, folder / "model", order, parse_size(limit)))
                if kenlm:
                    peers.append(build_kenlm(kenlm, source, order, parse_size(limit)))
            built = sorted(builds, key=lambda built: built.cost.cpu_s)[runs // 2]
            curves[f"--memory {limit}"] = (built.samples, parse_size(limit))
            print(f"## order {order}, --memory {limit}: {built.ngrams:,} n-grams\n")
            _print_costs([built.cost for built in builds], peers)
            print(
                f"\nThe start of Ray and its workers, not counted above, took "
                f"{built.start_s:.1f} s; Ray's own processes had {built.ray_bytes / 1e9:.2f} GB. "
                f"The model has {built.model_bytes / built.ngrams:.2f} bytes an n-gram.\n"
            )
            _print_stages(built)
    if picture:
        draw_memory(picture, curves)


@app.command("growth")
def measure_growth(
    text: Text, order: int = 5, memory: str = "4GB", picture: Picture = None
) -> None:
    """1, 2, 4, 8 times the text, every copy with words of its own."""
    tokens, curves = [], {name: [] for name in ("seconds", "CPU seconds", "peak GB")}
    print(f"{environment()}, order {order}, --memory {memory}\n")
    print("| text | tokens | n-grams | wall | CPU | tokens/s | peak memory |")
    print("| --- " * 7 + "|")
    for times in _GROWTH:
        with _folder() as folder:
            source = _multiply(text, folder, times)
            built = build_ours(source, folder / "model", order, parse_size(memory))
            count = sum(len(line.split()) + 1 for line in source.open("rb"))
        cost = built.cost
        tokens.append(count)
        for curve, value in zip(
            curves.values(), (cost.wall_s, cost.cpu_s, cost.memory_bytes / 1e9), strict=True
        ):
            curve.append(value)
        print(
            f"| {times} x | {count:,} | {built.ngrams:,} | {cost.wall_s:.1f} s "
            f"| {cost.cpu_s:.1f} s | {count / cost.wall_s:,.0f} "
            f"| {cost.memory_bytes / 1e9:.2f} GB |",
            flush=True,
        )
    if picture:
        draw_growth(picture, tokens, curves)


@app.command("agreement")
def measure_agreement(text: Text, kenlm: Annotated[Path, Option()], order: int = 5) -> None:
    """Every n-gram of a text's model against lmplz's."""
    with _folder() as folder:
        compare(_copy(text, folder), kenlm, order, folder)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder of this disk: memory file systems would count as memory."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        yield Path(folder)


def _copy(text: Path, folder: Path) -> Path:
    """The text without marks that lmplz would refuse or skip: `<unk>` becomes a word."""
    copy = folder / "text"
    with text.open("rb") as source, copy.open("wb") as target:
        target.writelines(line.replace(b"<unk>", b"UNK") for line in source)
    return copy


def _multiply(text: Path, folder: Path, times: int) -> Path:
    multiplied = folder / "text"
    with multiplied.open("wb") as target:
        for copy in range(times):
            prefix = b" %d~" % copy
            with text.open("rb") as source:
                target.writelines(prefix.join([b"", *line.split()])[1:] + b"\n" for line in source)
    return multiplied


def _print_costs(ours: list[Cost], peers: list[Cost]) -> None:
    print(
        "| | lmserve | lmplz piped into build_binary probing | ratio |\n| --- | --- | --- | --- |"
    )
    for name, field, unit, suffix in (
        ("wall", "wall_s", 1.0, "s"),
        ("CPU", "cpu_s", 1.0, "s"),
        ("peak memory", "memory_bytes", 1e9, "GB"),
    ):
        mine, theirs = ([getattr(cost, field) / unit for cost in costs] for costs in (ours, peers))
        compared = "- | -"
        if theirs:
            compared = f"{_median(theirs, suffix)} | {median(theirs) / median(mine):.2f}"
        print(f"| {name} | {_median(mine, suffix)} | {compared} |")


def _median(values: list[float], unit: str) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f} {unit}"
    return f"{median(values):.2f} {unit} ({min(values):.2f} to {max(values):.2f})"


def _print_stages(built: Built) -> None:
    print("| stage | wall s | CPU s | tasks | worker's peak MB |\n" + "| --- " * 5 + "|")
    for stage in built.stages:
        print(
            f"| {stage['name']} | {stage['wall_s']:.1f} | {stage['cpu_s']:.1f} "
            f"| {stage['tasks']} | {stage['peak_memory_bytes'] / 1e6:,.0f} |"
        )
    print(flush=True)


if __name__ == "__main__":
    app()
