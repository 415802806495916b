"""The service as a Serve application: `import_path: cluster.application:service`.

A file for `serve deploy` or for KubeRay's `serveConfigV2` names it, with `ServiceArguments` as
`args`; cluster/deploy/serve.yaml is one. What the file says about the deployment "scorer" takes the
place of what is said here.
"""

from typing import Any

from ray import serve

from cluster.replica import Replica
from cluster.service_arguments import ServiceArguments
from lmserve.service.protection_settings import ProtectionSettings

APPLICATION = "lmserve"
DEPLOYMENT = "scorer"
LOGGING = {"enable_access_log": False}
# Requests that reach a replica beyond those that it works on or lets wait: health, metrics, and
# those that it refuses itself.
_SPARE_REQUESTS = 64
# What Ray gives a replica to end, after what the replica gives its streams.
_ENDING_S = 10.0
# Of all replicas, how many more there may be while new ones take the place of old ones: at least
# one, so that a service of one replica goes on while the next one loads its models.
_SURGE_PERCENT = 25


def scorer(protection: ProtectionSettings, **options: Any) -> serve.Deployment:
    """The deployment of the replicas.

    Args:
        protection: that they get.
        options: further ones of `serve.deployment`.
    """
    deployment: serve.Deployment = serve.deployment(
        name=DEPLOYMENT,
        max_ongoing_requests=protection.max_concurrent + protection.max_queued + _SPARE_REQUESTS,
        graceful_shutdown_timeout_s=protection.drain_s + _ENDING_S,
        max_surge_percent=_SURGE_PERCENT,
        logging_config=LOGGING,
        **options,
    )(Replica)
    return deployment


def service(args: ServiceArguments) -> serve.Application:
    """The application, for nodes whose environment has all other settings."""
    return scorer(args.protection).bind(args)
