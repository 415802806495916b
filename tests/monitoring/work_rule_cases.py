"""Cases of the rules about jobs, trainings, and the nodes that they fill."""

from rule_case import Case

JOB = 'run="r",kind="build"'
RUNNING, ADVANCED = (
    f"lmserve_job_running{{{JOB}}}",
    f"lmserve_job_last_progress_time_seconds{{{JOB}}}",
)
NODE = 'job="lmserve",instance="n"'
UP = f"up{{{NODE}}}"
FAILED = f'lmserve_jobs_total{{kind="build",state="failed",{NODE}}}'
STOPPED = f'lmserve_jobs_total{{kind="build",state="stopped",{NODE}}}'
RESTARTS = f'lmserve_build_worker_restarts_total{{run="r",{NODE}}}'
TRAINING = 'run="r",cell="lstm"'
TRAINS = 'lmserve_job_running{run="r",kind="train"}'
SKIPPED = f"lmserve_training_skipped_steps_total{{{TRAINING}}}"
PERPLEXITY = f'lmserve_training_perplexity{{{TRAINING},split="train"}}'
HORIZON = f'lmserve_training_memory_horizon_words{{{TRAINING},layer="%d"}}'
DISK = f'{NODE},mount="/data"'
FREE, SIZE = f"lmserve_disk_free_bytes{{{DISK}}}", f"lmserve_disk_size_bytes{{{DISK}}}"

WORK_CASES = (
    Case(
        alert="LmserveJobStalled",
        series={ADVANCED: "0+60x10 600x20 1860+60x10", RUNNING: "1x60"},
        before=18,
        fires=25,
        ends=33,
        below=({ADVANCED: "0+60x60"}, {RUNNING: "1x10 0x50"}),
    ),
    Case(
        alert="LmserveJobFailed",
        series={FAILED: "_x20 1x40", UP: "1x60"},
        before=19,
        fires=25,
        ends=45,
        below=({FAILED: "1x60"}, {FAILED: "0x60", STOPPED: "0+1x60"}),
    ),
    Case(
        alert="LmserveJobFailed",
        series={FAILED: "3x20 4x40", UP: "1x60"},
        before=20,
        fires=25,
        ends=45,
    ),
    Case(
        alert="LmserveWorkerRestarting",
        series={RESTARTS: "0x20 1x5 2x40", UP: "1x60"},
        before=20,
        fires=25,
        ends=50,
        below=({RESTARTS: "2x60"},),
    ),
    Case(
        alert="LmserveGradientsExploding",
        series={SKIPPED: "0x5 0+1x10 10x30"},
        before=5,
        fires=14,
        ends=30,
        below=({SKIPPED: "0x5 2x40"},),
    ),
    Case(
        alert="LmserveTrainingDiverged",
        series={PERPLEXITY: f"100x5 {'NaN ' * 20} 100x20", TRAINS: "1x60"},
        before=8,
        fires=15,
        ends=35,
        below=({PERPLEXITY: "100x5 150x40"}, {TRAINS: "0x60"}),
    ),
    Case(
        alert="LmserveTrainingDiverged",
        series={PERPLEXITY: "100x5 900x20 100x20", TRAINS: "1x60"},
        before=8,
        fires=15,
        ends=35,
    ),
    Case(
        alert="LmserveGradientsVanish",
        series={HORIZON % 0: "3x90", HORIZON % 1: "4x60 30x30", TRAINS: "1x90"},
        before=20,
        fires=40,
        ends=70,
        below=({HORIZON % 1: "12x90"}, {HORIZON % 1: "Inf " * 90}, {TRAINS: "0x90"}),
    ),
    Case(
        alert="LmserveTargetDown",
        series={UP: "1x10 0x20 1x20"},
        before=14,
        fires=20,
        ends=35,
        below=({UP: "1x50", 'up{job="other"}': "0x50"},),
    ),
    Case(
        alert="LmserveDiskNearlyFull",
        series={FREE: "50x10 5x20 50x20", SIZE: "100x60"},
        before=14,
        fires=20,
        ends=35,
        below=({FREE: "15x60"},),
    ),
    Case(
        alert="LmserveDiskFills",
        series={FREE: "100-1x60 40x120", SIZE: "100x200"},
        before=10,
        fires=50,
        ends=150,
        below=({FREE: "100-0.2x180"},),
    ),
)
