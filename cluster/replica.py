"""One copy of the models, with the service around them, as Ray Serve runs it.

A replica reads the models and the Redis password on its own node: folders have the same path on
every node (a file of keys, too), models of an object store are fetched to each, and the password
comes from the node's environment (`LMSERVE_REDIS_PASSWORD` or `LMSERVE_REDIS_PASSWORD_FILE`), as
Ray shows a deployment's arguments in its logs and dashboard. It counts in its node's folder.
"""

from fastapi import FastAPI
from ray import serve

from cluster.service_arguments import ServiceArguments
from lmserve.metrics.sharing import join_node, share_metrics


@serve.ingress()
class Replica:
    """One copy of the models with the service around them.

    Args:
        arguments: what to serve.
    """

    def __init__(self, arguments: ServiceArguments) -> None:
        self._arguments = arguments

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Loads the models and builds the application, on the replica."""
        share_metrics()
        join_node("replica")
        # Here, as it may be imported only where metrics are shared.
        from cluster.replica_app import build_app

        return build_app(self._arguments)
