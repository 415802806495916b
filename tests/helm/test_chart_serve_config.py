"""What Ray Serve is told: Ray's own schema takes it, and so does the application."""

from typing import Any

import pytest
import yaml
from chart import EXAMPLES, Values, environment, manifests, pod_templates, the
from feature_values import ALL_ON, FEATURES
from ray.serve.schema import ServeDeploySchema

from cluster.application import APPLICATION, DEPLOYMENT, scorer, service
from cluster.placement import ROLE_LABEL
from cluster.service_arguments import ServiceArguments
from lmserve.service.protection_settings import protection_from

CASES: dict[str, Any] = {
    name: values
    for name, values in {"no values": {}, "all on": ALL_ON, **FEATURES}.items()
    if values.get("serving", {}).get("enabled", True)
} | {path.name: [path, {"serving": {"enabled": True}}] for path in EXAMPLES}


def config(*values: Values) -> ServeDeploySchema:
    """What the chart tells Serve, as Ray reads it."""
    given = the(manifests(*values), "RayService")["spec"]["serveConfigV2"]
    return ServeDeploySchema.model_validate(yaml.safe_load(given))


@pytest.mark.parametrize("case", CASES)
def test_ray_and_the_application_take_it(case: str) -> None:
    values = CASES[case] if isinstance(CASES[case], list) else [CASES[case]]
    told = config(*values)
    [application] = told.applications
    assert application.import_path == f"{service.__module__}:{service.__name__}"
    assert application.name == APPLICATION
    assert application.route_prefix == "/"
    assert str(told.proxy_location.value) == "EveryNode"
    assert (told.http_options.host, told.http_options.port) == ("0.0.0.0", 8000)
    arguments = ServiceArguments(**application.args)
    [deployment] = application.deployments
    assert deployment.name == DEPLOYMENT
    given = deployment.model_dump(exclude_unset=True)
    scaling = given.get("autoscaling_config")
    fewest = scaling["min_replicas"] if scaling else given["num_replicas"]
    assert arguments.replicas == max(1, fewest)


@pytest.mark.parametrize("case", ["no values", "protection", "draining"])
def test_limits_are_those_of_the_application_itself(case: str) -> None:
    """As many places, and as much time to end, as without a file."""
    objects = manifests(CASES[case])
    [worker] = [pod for name, pod in pod_templates(objects) if name.endswith("/serve")]
    variables = {name: text for name, text in environment(worker).items() if isinstance(text, str)}
    own = scorer(protection_from(variables))
    [deployment] = config(CASES[case]).applications[0].deployments
    assert deployment.max_ongoing_requests == own.max_ongoing_requests
    ending_s = own._deployment_config.graceful_shutdown_timeout_s
    assert deployment.graceful_shutdown_timeout_s == ending_s
    pause_s = int(worker["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert worker["spec"]["terminationGracePeriodSeconds"] > pause_s + variables_drain_s(variables)


def variables_drain_s(variables: dict[str, str]) -> float:
    return protection_from(variables).drain_s


def test_where_replicas_run() -> None:
    told = config().applications[0].deployments[0].ray_actor_options
    assert told.label_selector == {ROLE_LABEL: "serve"}
    assert config(FEATURES["any node"]).applications[0].deployments[
        0
    ].ray_actor_options.label_selector in (None, {})


@pytest.mark.parametrize(
    ("case", "url"),
    [
        ("no values", None),
        ("redis", "redis://lm-lmserve-redis.models.svc.cluster.local:6379/0"),
        ("redis for ray alone", None),
        (
            "redis with existing secrets",
            "rediss://lm-lmserve-redis.models.svc.cluster.local:6379/0"
            "?ssl_ca_certs=/etc/lmserve/redis-ca/ca.crt",
        ),
        (
            "other redis",
            "rediss://someone@redis.example.org:6380/3?ssl_ca_certs=/etc/lmserve/redis-ca/ca.crt",
        ),
        ("redis by sentinels", "redis+sentinel://one,two:26379/scores"),
    ],
)
def test_redis(case: str, url: str | None) -> None:
    assert ServiceArguments(**config(CASES[case]).applications[0].args).redis_url == url


@pytest.mark.parametrize(
    ("case", "address", "user"),
    [
        ("redis", "redis://lm-lmserve-redis.models.svc.cluster.local:6379", None),
        ("other redis", "rediss://redis.example.org:6380", "someone"),
    ],
)
def test_the_head_survives_in_redis(case: str, address: str, user: str | None) -> None:
    spec = the(manifests(CASES[case]), "RayService")["spec"]["rayClusterConfig"]
    told = spec["gcsFaultToleranceOptions"]
    assert told["redisAddress"] == address
    assert told.get("redisUsername", {}).get("value") == user
    assert "secretKeyRef" in told["redisPassword"]["valueFrom"]
    # Two clusters of an upgrade would write over each other; older operators know no backends.
    assert not {"externalStorageNamespace", "backend"} & set(told)


@pytest.mark.parametrize("case", ["no values", "redis for the service alone", "redis by sentinels"])
def test_the_head_does_without_redis(case: str) -> None:
    spec = the(manifests(CASES[case]), "RayService")["spec"]["rayClusterConfig"]
    assert "gcsFaultToleranceOptions" not in spec
