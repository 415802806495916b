"""The board of builds: counting and estimation."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from lmserve.metrics import job_metrics as m
from lmserve.metrics.node_metrics import DISK_FREE
from lmserve.monitoring.expressions import QUANTILES, Chosen, or_zero
from lmserve.monitoring.layout import CLUSTER, Annotation, Row, Variable, board
from lmserve.monitoring.panels import bars, curves, number

_OF = Chosen({"run": "run"})
_KINDS = "build|counts"


def counting_board() -> Dashboard:
    """How far builds are, how fast, how even, and what room they take."""
    return board(
        "counting",
        "Counting and estimation",
        "Builds: stages, rates, balance of their tasks, memory and disk.",
        (_now(), _progress(), _rates(), _balance(), _room()),
        variables=(
            CLUSTER,
            Variable("run", f'{m.STAGE_PROGRESS.shown}{{cluster=~"$cluster"}}', "run"),
        ),
        annotations=(
            Annotation(
                "Start",
                f"1000 * {_OF.largest(m.STARTED, 'run', kind=_KINDS)}",
                "{{run}}",
                "blue",
                at_value=True,
            ),
            Annotation(
                "Worker restart", _OF.new(m.WORKER_RESTARTS, "run"), "a worker of {{run}}", "red"
            ),
        ),
    )


def _now() -> Row:
    return Row(
        "Now",
        (
            (
                number(
                    "Running",
                    "short",
                    "Builds and counts whose process lives.",
                    or_zero(_OF.added(m.RUNNING, kind=_KINDS)),
                ),
                number("Workers", "short", "Workers that have started.", _OF.added(m.WORKERS)),
                number(
                    "Worker restarts",
                    "short",
                    "Workers that died and were started again: memory that is too small, or a lost "
                    "node. The work goes on.",
                    or_zero(_OF.added(m.WORKER_RESTARTS)),
                    limits=(1, 5),
                ),
                number("Words read", "short", "Of the text, in all.", _OF.added(m.WORDS)),
                number(
                    "Rows made", "short", "Words, records and n-grams, in all.", _OF.added(m.ROWS)
                ),
                number(
                    "Without progress",
                    "s",
                    "Since the running build that came on the longest ago.",
                    or_zero(
                        f"max(time() - {_OF.of(m.ADVANCED, kind=_KINDS)} "
                        f"and on(run, kind) {_OF.of(m.RUNNING, kind=_KINDS)} == 1)"
                    ),
                    limits=(300, 1800),
                ),
            ),
        ),
    )


def _progress() -> Row:
    return Row(
        "Progress",
        (
            (
                curves(
                    "Progress of stages",
                    "percentunit",
                    "Part of each stage's work that is done.",
                    [(_OF.largest(m.STAGE_PROGRESS, "run", "stage"), "{{run}}: {{stage}}")],
                    most=1,
                ),
                bars(
                    "Time of stages",
                    "s",
                    "That each stage took; the latest build of a name.",
                    _OF.largest(m.STAGE_SECONDS, "run", "stage"),
                    "{{run}}: {{stage}}",
                ),
                curves(
                    "Tasks",
                    "short",
                    "Pieces, shards and buckets done, in all.",
                    [(_OF.added(m.TASKS, "stage"), "{{stage}}")],
                ),
            ),
        ),
    )


def _rates() -> Row:
    return Row(
        "Rates",
        (
            (
                curves(
                    "Words",
                    "suffix: words/s",
                    "Words of the text read a second.",
                    [(_OF.rate(m.WORDS, "run"), "{{run}}")],
                ),
                curves(
                    "Rows",
                    "rowsps",
                    "Words, records and n-grams made a second.",
                    [(_OF.rate(m.ROWS, "stage"), "{{stage}}")],
                ),
                curves(
                    "Written",
                    "Bps",
                    "Bytes given to the kernel to write.",
                    [(_OF.rate(m.WRITTEN_BYTES, "stage"), "{{stage}}")],
                    stacked=True,
                ),
                curves(
                    "Processors",
                    "short",
                    "Processors that all workers keep busy. Far fewer than workers: they wait for "
                    "disk or for each other.",
                    [
                        (_OF.rate(m.PROCESSOR_SECONDS, "stage"), "{{stage}}"),
                        (_OF.added(m.WORKERS), "workers"),
                    ],
                ),
            ),
        ),
    )


def _balance() -> Row:
    durations = [
        curves(
            f"Time of tasks, p{quantile * 100:.0f}",
            "s",
            "By stage, of pieces, shards and buckets.",
            [(_OF.quantile(quantile, m.TASK_SECONDS, "stage"), "{{stage}}")],
            logarithmic=True,
        )
        for quantile in QUANTILES
    ]
    skew = curves(
        "Skew",
        "short",
        "Longest task of a stage against the mean of all. Workers wait for one that is far above "
        "1.",
        [(_OF.largest(m.SKEW, "run", "stage"), "{{run}}: {{stage}}")],
        limits=(3,),
    )
    return Row("Balance", ((*durations, skew),))


def _room() -> Row:
    return Row(
        "Room",
        (
            (
                curves(
                    "Peak memory",
                    "bytes",
                    "Largest resident memory of one process up to the stage's end.",
                    [(_OF.largest(m.PEAK_MEMORY, "run", "stage"), "{{run}}: {{stage}}")],
                ),
                curves(
                    "Temporary disk",
                    "bytes",
                    "That the work takes beside the model it makes.",
                    [(_OF.largest(m.SPILLED_BYTES, "run"), "{{run}}")],
                ),
                curves(
                    "Disk left",
                    "bytes",
                    "On the disks that lmserve uses.",
                    [
                        (
                            f"min by (instance, mount) ({_OF.of(DISK_FREE)})",
                            "{{instance}} {{mount}}",
                        )
                    ],
                ),
            ),
        ),
    )
