"""The figures of `lmserve top` as tables for a terminal."""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jobs.top_figures import Figures


def tables(found: Figures) -> RenderableType:
    """Everything, one table below the other."""
    parts: list[RenderableType] = []
    if found["service"]:
        parts.append(_service(found["service"], found["models"]))
    if found["jobs"]:
        parts.append(_jobs(found["jobs"]))
    if found["trainings"]:
        parts.append(_trainings(found["trainings"]))
    if not parts:
        parts.append(Text("Who answers has nothing to tell yet: no service, no job, no training."))
    parts += [Text(f"{url}: {reason}", style="red") for url, reason in found["failures"].items()]
    return Group(*parts)


def _service(found: Figures, models: Iterable[Figures]) -> Table:
    table = Table(title="service", show_header=False)
    requests = {f"{status}:": rate for status, rate in found["requests_per_s"].items()}
    wanted = found["replicas_wanted"]
    rows = {
        "requests/s": _each(requests, ",.1f"),
        "p50, p99": f"{_seconds(found['p50_s'])}, {_seconds(found['p99_s'])}",
        "in flight, queued": f"{_n(found['in_flight'])}, {_n(found['queued'])}",
        "sentences/s": _n(found["sentences_per_s"], ",.1f"),
        "words/s": _n(found["words_per_s"], ",.1f"),
        "unknown words": _n(found["oov_ratio"], ".1%"),
        "perplexity": _n(found["perplexity"], ",.1f"),
        "cache hits": _n(found["cache_hit_ratio"], ".0%"),
        "breakers open": _each({f"{k}:": v for k, v in found["breakers_open"].items()}, ",.0f"),
        "replicas": _n(found["replicas"]) + (f" of {_n(wanted)}" if wanted is not None else ""),
    }
    for name, value in rows.items():
        alarming = name == "breakers open" and any(found["breakers_open"].values())
        table.add_row(name, Text(value, style="bold red" if alarming else ""))
    for model in models:
        heldout = model["heldout_perplexity"]
        told = f", held-out perplexity {heldout:,.1f}" if heldout else ""
        table.add_row("model", Text(f"{model['name']} {model['version']}{told}"))
    return table


def _jobs(found: Iterable[Figures]) -> Table:
    table = Table("job", "kind", "stage", "done", "words/s", "peak memory", title="jobs")
    for one in found:
        memory = one["peak_memory_bytes"]
        table.add_row(
            Text(one["run"]),
            one["kind"] or "-",
            one["stage"] or "-",
            _n(one["progress"], ".0%"),
            _n(one["words_per_s"]),
            f"{memory / 1e6:,.0f} MB" if memory else "-",
        )
    return table


def _trainings(found: Iterable[Figures]) -> Table:
    names = ("training", "cell", "done", "perplexity", "norm", "clipped", "horizon", "words/s")
    table = Table(*names, title="trainings")
    for one in found:
        horizons = ", ".join(_n(horizon) for horizon in one["memory_horizon_words"])
        table.add_row(
            Text(one["run"]),
            Text(one["cell"]),
            _n(one["progress"], ".0%"),
            _each(one["perplexity"], ",.1f"),
            _each(one["gradient_norm"], ".2f"),
            _n(one["clipped_ratio"], ".0%"),
            horizons or "-",
            _n(one["words_per_s"]),
        )
    return table


def _n(value: float | None, form: str = ",.0f") -> str:
    return "-" if value is None else format(value, form)


def _each(values: Mapping[str, float | None], form: str) -> str:
    return "  ".join(f"{name} {_n(value, form)}" for name, value in values.items()) or "-"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{1000 * value:,.1f} ms" if value < 1 else f"{value:,.2f} s"
