"""Cases of the rules about requests, replicas and texts."""

from rule_case import Case


def requests(status: int, route: str = "/v1/score") -> str:
    return f'lmserve_requests_total{{route="{route}",status="{status}"}}'


SCORES = 'lmserve_request_duration_seconds_count{route="/v1/score"}'
FAST = 'lmserve_request_duration_seconds_bucket{route="/v1/score",le="0.5"}'
WANTED = "lmserve_replicas_wanted"
OVERLOADED = 'lmserve_refused_requests_total{reason="overloaded"}'
DRAINING = 'lmserve_refused_requests_total{reason="draining"}'
BREAKER = 'lmserve_breaker_open{store="cache"}'
LOAD_ERRORS = 'lmserve_model_load_errors_total{name="m"}'
NATS, LIKELY, WORDS = (
    "lmserve_scored_nats_total",
    "lmserve_likely_words_total",
    "lmserve_words_total",
)
HELDOUT = 'lmserve_model_heldout_perplexity{name="m",version="1"}'
OOV = "lmserve_oov_words_total"

SERVICE_CASES = (
    Case(
        alert="LmserveErrorsBurnFast",
        series={requests(200): "0+980x400", requests(500): "0x5 0+20x60 1200x300"},
        before=4,
        fires=60,
        ends=100,
        below=(
            {requests(500): "0+5x400"},
            {requests(500): "0x400", requests(429): "0+500x400"},
            {requests(500): "0x400", requests(503, "/readyz"): "0+500x400"},
        ),
    ),
    Case(
        # Not enough for an hour's alert.
        alert="LmserveErrorsBurnFast",
        series={requests(200): "0+990x900", requests(503): "0x5 0+10x400 4000x400"},
        before=4,
        fires=360,
        ends=440,
    ),
    Case(
        alert="LmserveErrorsBurnSlowly",
        series={requests(200): "0+998x500", requests(500): "0+2x400 800x100"},
        step=10,
        before=0,
        fires=4000,
        ends=4400,
        below=({requests(200): "0+9990x500", requests(500): "0+5x500"},),
    ),
    Case(
        alert="LmserveLatencyBurnsFast",
        series={SCORES: "0+100x400", FAST: "0+100x5 500+80x60 5300+100x300"},
        before=4,
        fires=60,
        ends=100,
        below=({FAST: "0+95x400"},),
    ),
    Case(
        alert="LmserveLatencyBurnsSlowly",
        series={SCORES: "0+100x500", FAST: "0+98x400 39200+100x100"},
        step=10,
        before=0,
        fires=4000,
        ends=4400,
        below=({FAST: "0+99.5x500"},),
    ),
    Case(
        alert="LmserveReplicaDown",
        series={"lmserve_replicas": "2x10 1x20 2x20", WANTED: "2x60"},
        before=14,
        fires=18,
        ends=35,
        below=({"lmserve_replicas": "2x60"}, {WANTED: "1x60"}),
    ),
    Case(
        alert="LmserveNoReplicas",
        series={"lmserve_replicas": "2x10 stale _x20 2x20"},
        before=10,
        fires=20,
        ends=40,
        below=({"lmserve_replicas": "2x60"}, {"lmserve_replicas": "_x60"}),
    ),
    Case(
        # They try to start for hours, and each tells what is wanted before it fails.
        alert="LmserveNoReplicas",
        series={
            "lmserve_replicas": f"2x10 {'_ 0 _ ' * 60} 2x20",
            WANTED: f"2x10 {'_ 2 _ ' * 60} 2x20",
        },
        before=10,
        fires=180,
        ends=200,
        # The first start takes its time.
        below=({"lmserve_replicas": "_x100 0x10 2x100", WANTED: "_x100 2x120"},),
    ),
    Case(
        alert="LmserveReplicaRestarting",
        series={"lmserve_replica_starts_total": "2x10 2+1x30 32x60", WANTED: "2x100"},
        before=12,
        fires=30,
        ends=80,
        below=({"lmserve_replica_starts_total": "2x10 2+1x4 6x90"}, {WANTED: "40x100"}),
    ),
    Case(
        # None lives for long enough to tell what is wanted.
        alert="LmserveReplicaRestarting",
        series={"lmserve_replica_starts_total": "2x10 2+1x30 32x60", WANTED: "2x15 stale _x90"},
        before=12,
        fires=30,
        ends=80,
    ),
    Case(
        alert="LmserveOverloaded",
        series={OVERLOADED: "0x10 0+5x20 100x40"},
        before=12,
        fires=20,
        ends=40,
        below=(
            {OVERLOADED: "0x70", DRAINING: "0+5x70"},
            # Moments only.
            {OVERLOADED: "0x14 3x70"},
        ),
    ),
    Case(
        alert="LmserveRequestsQueue",
        series={"lmserve_queued_requests": "0x5 3x30 0x20"},
        before=10,
        fires=20,
        ends=40,
        below=({"lmserve_queued_requests": "3x8 0 3x8 0 3x8 0x40"},),
    ),
    Case(
        alert="LmserveBreakerOpen",
        series={BREAKER: "0x5 1x10 0x20"},
        before=6,
        fires=9,
        ends=20,
        below=({BREAKER: "0x9 1 0x20"},),
    ),
    Case(
        alert="LmserveRateLimiterFailing",
        series={"lmserve_rate_limiter_errors_total": "0x10 0+10x20 200x30"},
        before=15,
        fires=25,
        ends=45,
        below=({"lmserve_rate_limiter_errors_total": "0x18 1x40"},),
    ),
    Case(
        alert="LmserveModelLoadFailing",
        series={LOAD_ERRORS: "0x5 0+1x20 20x40"},
        before=5,
        fires=10,
        ends=45,
        below=({LOAD_ERRORS: "20x60"},),
    ),
    Case(
        alert="LmservePerplexityDrift",
        series={
            NATS: "0+6000x90 546000+4000x200",
            LIKELY: "0+1000x300",
            WORDS: "0+1000x300",
            HELDOUT: "100x300",
        },
        before=20,
        fires=60,
        ends=250,
        below=(
            {NATS: "0+5000x300"},
            {HELDOUT: "300x300"},
            # A version that is served no more.
            {HELDOUT: "0x300"},
            {NATS: "0+60x300", LIKELY: "0+10x300", WORDS: "0+10x300"},
        ),
    ),
    Case(
        alert="LmservePerplexityRise",
        series={
            NATS: "0+4000x60 246000+6000x40 486000+4000x60",
            LIKELY: "0+1000x160",
            WORDS: "0+1000x160",
        },
        step=5,
        before=300,
        fires=400,
        ends=700,
        below=({NATS: "0+4000x60 244500+4500x100"}, {HELDOUT: "1000x160"}),
    ),
    Case(
        alert="LmserveUnknownWords",
        series={OOV: "0x10 0+300x100 30000x100", WORDS: "0+1000x210"},
        before=10,
        fires=90,
        ends=200,
        below=({OOV: "0+100x210"}, {OOV: "0+3x210", WORDS: "0+10x210"}),
    ),
)
