"""The metrics of jobs: those of all kinds, and those of counting and estimation.

A job's run is named after its output, or after the model where it only scores; its kind is the
command's name: "build", "counts", "train", "score".
"""

from lmserve.metrics.declaration import Sharing, counter, gauge, histogram

_TASK_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
LATEST = Sharing.LATEST

RUNNING = gauge("lmserve_job_running", "1 while the job's process lives.", "run", "kind")
STARTED = gauge(
    "lmserve_job_start_time_seconds",
    "When the job's process began, in seconds since 1970.",
    "run",
    "kind",
    sharing=LATEST,
)
ADVANCED = gauge(
    "lmserve_job_last_progress_time_seconds",
    "When the job last came on, in seconds since 1970.",
    "run",
    "kind",
    sharing=LATEST,
)
ENDED = counter("lmserve_jobs", "Jobs that ended: done, failed or stopped.", "kind", "state")

STAGE_PROGRESS = gauge(
    "lmserve_build_stage_progress_ratio",
    "Part of a stage's work that is done.",
    "run",
    "stage",
    sharing=LATEST,
)
STAGE_SECONDS = gauge(
    "lmserve_build_stage_seconds", "Time that a stage took.", "run", "stage", sharing=LATEST
)
TASKS = counter("lmserve_build_tasks", "Pieces, shards and buckets done.", "run", "stage")
TASK_SECONDS = histogram(
    "lmserve_build_task_seconds",
    "Time that a piece, a shard or a bucket took.",
    "stage",
    buckets=_TASK_S,
)
ROWS = counter("lmserve_build_rows", "Words, records and n-grams made.", "run", "stage")
WORDS = counter(
    "lmserve_build_words", "Words of the text that were read, sentence ends included.", "run"
)
WRITTEN_BYTES = counter(
    "lmserve_build_written_bytes", "Bytes given to the kernel to write.", "run", "stage"
)
PROCESSOR_SECONDS = counter(
    "lmserve_build_processor_seconds", "Processor time of all workers.", "run", "stage"
)
SPILLED_BYTES = gauge(
    "lmserve_build_temporary_bytes",
    "Disk that the work takes beside the model it makes.",
    "run",
    sharing=LATEST,
)
PEAK_MEMORY = gauge(
    "lmserve_build_peak_memory_bytes",
    "Largest resident memory of one process up to the stage's end.",
    "run",
    "stage",
    sharing=LATEST,
)
SKEW = gauge(
    "lmserve_build_skew_ratio",
    "Longest task of a stage against the mean of all.",
    "run",
    "stage",
    sharing=LATEST,
)
WORKERS = gauge("lmserve_build_workers", "Workers that have started.", "run")
WORKER_RESTARTS = counter(
    "lmserve_build_worker_restarts", "Workers that died and were started again.", "run"
)
