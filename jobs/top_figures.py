"""The figures that `lmserve top` shows, from two readings: a service's, jobs', trainings'."""

import math
from typing import Any

from jobs.top_reading import Between, Reading
from lmserve.metrics import job_metrics as job
from lmserve.metrics import node_metrics as node
from lmserve.metrics import service_metrics as service
from lmserve.metrics import training_metrics as training

Figures = dict[str, Any]


def figures(between: Between) -> Figures:
    """All there is, for JSON; None is what nobody tells."""
    now = between.now
    return {
        "service": _service(between) if service.REQUESTS_IN_FLIGHT.name in now.series else None,
        "models": _models(now),
        "jobs": [_job(between, run) for run in now.values_of(job.RUNNING.name, "run")],
        "trainings": [
            _training(now, run, cell)
            for run in now.values_of(training.STEPS.name, "run")
            for cell in now.values_of(training.STEPS.name, "cell")
            if now.total(training.STEPS.name, run=run, cell=cell) is not None
        ],
        "processes": {
            role: now.total(node.PROCESSES.name, role=role)
            for role in now.values_of(node.PROCESSES.name, "role")
        },
        "failures": dict(now.failures),
    }


def _service(between: Between) -> Figures:
    now, duration = between.now, service.REQUEST_DURATION.name
    requests = service.REQUESTS.shown
    nats = between.increase(service.SCORED_NATS.shown)
    likely = between.increase(service.LIKELY_WORDS.shown)
    hits = between.increase(service.CACHE_HITS.shown) or 0.0
    asked = hits + (between.increase(service.CACHE_MISSES.shown) or 0.0)
    return {
        "requests_per_s": {
            status: between.rate(requests, status=status)
            for status in now.values_of(requests, "status")
        },
        "p50_s": between.quantile(duration, 0.5),
        "p99_s": between.quantile(duration, 0.99),
        "in_flight": now.total(service.REQUESTS_IN_FLIGHT.name),
        "queued": now.total(service.QUEUED_REQUESTS.name),
        "sessions": now.total(service.SESSIONS.name),
        "sentences_per_s": between.rate(service.SENTENCES.shown),
        "words_per_s": between.rate(service.WORDS.shown),
        "received_bytes_per_s": between.rate(service.RECEIVED_BYTES.shown),
        "sent_bytes_per_s": between.rate(service.SENT_BYTES.shown),
        "oov_ratio": between.ratio(service.OOV_WORDS.shown, service.WORDS.shown),
        "perplexity": math.exp(nats / likely) if nats is not None and likely else None,
        "cache_hit_ratio": hits / asked if asked else None,
        "cache_errors_per_s": between.rate(service.CACHE_ERRORS.shown),
        "breakers_open": {
            store: now.total(service.BREAKER_OPEN.name, store=store)
            for store in now.values_of(service.BREAKER_OPEN.name, "store")
        },
        "replicas": now.total(service.REPLICAS.name),
        "replicas_wanted": now.total(service.REPLICAS_WANTED.name),
    }


def _models(now: Reading) -> list[Figures]:
    name, perplexity = service.MODEL_INFO.name, service.MODEL_PERPLEXITY.name
    served = {(labels["name"], labels["version"]) for labels in map(dict, now.series.get(name, {}))}
    found = []
    for model, version in sorted(served):
        told = [
            value
            for labels, value in now.series.get(perplexity, {}).items()
            if {("name", model), ("version", version)} <= labels
        ]
        heldout = max(told, default=None)
        found.append({"name": model, "version": version, "heldout_perplexity": heldout})
    return found


def _job(between: Between, run: str) -> Figures:
    now = between.now
    progress = {
        stage: now.total(job.STAGE_PROGRESS.name, run=run, stage=stage)
        for stage in now.values_of(job.STAGE_PROGRESS.name, "stage")
    }
    begun = {stage: done for stage, done in progress.items() if done is not None}
    unfinished = [stage for stage, done in begun.items() if done < 1]
    stage = unfinished[0] if unfinished else None
    kinds = [
        kind
        for kind in now.values_of(job.RUNNING.name, "kind")
        if now.total(job.RUNNING.name, run=run, kind=kind) is not None
    ]
    memory = [
        now.total(job.PEAK_MEMORY.name, run=run, stage=one) or 0.0
        for one in now.values_of(job.PEAK_MEMORY.name, "stage")
    ]
    return {
        "run": run,
        "kind": kinds[0] if kinds else None,
        "stage": stage or ("done" if begun else None),
        "progress": begun[stage] if stage else (1.0 if begun else None),
        "words_per_s": between.rate(job.WORDS.shown, run=run),
        "peak_memory_bytes": max(memory, default=None) or None,
        "workers": now.total(job.WORKERS.name, run=run),
    }


def _training(now: Reading, run: str, cell: str) -> Figures:
    own = {"run": run, "cell": cell}

    def value(name: str, **labels: str) -> float | None:
        return now.total(name, **own, **labels)

    horizon = training.MEMORY_HORIZON.name
    horizons = [value(horizon, layer=layer) for layer in now.values_of(horizon, "layer")]
    return {
        **own,
        "progress": value(training.PROGRESS.name),
        "perplexity": {
            split: value(training.PERPLEXITY.name, split=split)
            for split in now.values_of(training.PERPLEXITY.name, "split")
        },
        "gradient_norm": {
            clipping: value(training.GRADIENT_NORM.name, clipping=clipping)
            for clipping in now.values_of(training.GRADIENT_NORM.name, "clipping")
        },
        "clipped_ratio": value(training.CLIPPED.name),
        "skipped_steps": value(training.SKIPPED_STEPS.shown),
        "memory_horizon_words": [horizon for horizon in horizons if horizon is not None],
        "words_per_s": value(training.TOKENS_PER_SECOND.name),
    }
