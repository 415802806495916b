"""Whether Ray Serve has begun to shut down the replica that this code runs in.

Ray tells a replica's application only when its last request has ended. The flag that it sets at the
beginning is no part of its interface: where a version of Ray has none, streams are cut instead.
"""

import logging

import ray
from ray._private import worker

logger = logging.getLogger(__name__)
_missing_is_logged = False


def shutting_down() -> bool:
    """Whether this replica takes its last requests; False where Ray does not tell."""
    global _missing_is_logged
    actor_id = ray.get_runtime_context().get_actor_id()
    actors = {actor.hex(): instance for actor, instance in worker.global_worker.actors.items()}
    implementation = getattr(actors.get(actor_id or ""), "_replica_impl", None)
    begun = getattr(implementation, "_shutting_down", None)
    if begun is None and not _missing_is_logged:
        _missing_is_logged = True
        logger.warning("Ray %s does not tell when it shuts down replicas", ray.__version__)
    return bool(begun)
