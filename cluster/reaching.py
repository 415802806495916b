"""Whether a Ray cluster answers, and takes this process's token: asked once, before Ray does.

Ray itself asks a cluster that refuses it for 20 s, and then says nothing of the token; where none
answers, it waits for minutes.
"""

import os
from typing import Any

import grpc
from ray._private import services
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import (
    gcs_service_pb2,
    gcs_service_pb2_grpc,
    ray_client_pb2,
    ray_client_pb2_grpc,
)
from ray.exceptions import AuthenticationError

from lmserve.errors import BuildError

# Their classes are made when they are imported, so that nobody knows their types.
_head_messages: Any = gcs_service_pb2
_client_messages: Any = ray_client_pb2
_TIMEOUT_S = 10.0
_CLIENT = "ray://"
_REMEDY = (
    "Give this process what the cluster was started with: RAY_AUTH_MODE=token, and the token in "
    "RAY_AUTH_TOKEN, or in a file that RAY_AUTH_TOKEN_PATH names ('ray get-auth-token' on the head "
    "tells it)."
)


def reachable(address: str) -> str:
    """Asks the cluster something that only those who have its token may ask.

    Args:
        address: as in `cluster.session.connect`.

    Returns:
        The address as HOST:PORT or ray://HOST:PORT; for "auto", the one that was found.

    Raises:
        BuildError: it does not answer, or refuses.
    """
    try:
        place = address if address.startswith(_CLIENT) else _head(address)
        _ask(place)
        return place
    except (ConnectionError, ValueError) as error:
        raise BuildError(
            f"there is no Ray at {address}: {error}",
            "Name the head as HOST:PORT, or start one: ray start --head.",
        ) from error
    except AuthenticationError as error:
        raise BuildError(
            f"RAY_AUTH_MODE is token, and there is no token for the Ray at {address}", _REMEDY
        ) from error
    except grpc.RpcError as error:
        raise _refusal(place, error) from None


def _head(address: str) -> str:
    return str(services.canonicalize_bootstrap_address_or_die(address))


def _ask(place: str) -> None:
    with init_grpc_channel(place.removeprefix(_CLIENT)) as channel:
        if place.startswith(_CLIENT):
            kind = _client_messages.ClusterInfoType.PING
            ping = _client_messages.ClusterInfoRequest(type=kind)
            ray_client_pb2_grpc.RayletDriverStub(channel).ClusterInfo(ping, timeout=_TIMEOUT_S)
        else:
            request = _head_messages.GetClusterIdRequest()
            head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
            head.GetClusterId(request, timeout=_TIMEOUT_S)


def _refusal(place: str, error: grpc.RpcError) -> BuildError:
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        mode = os.environ.get("RAY_AUTH_MODE")
        ours = "another" if mode == "token" else f"none, as RAY_AUTH_MODE is {mode or 'unset'}"
        problem = f"the Ray at {place} demands its token, and this process has {ours}"
        return BuildError(problem, _REMEDY)
    return BuildError(
        f"the Ray at {place} does not answer: {error.details()}",
        "Check that its head runs (there: 'ray status') and that a firewall lets this machine "
        "reach it; HOST:6379 is for the cluster's own machines, ray://HOST:10001 for others.",
    )
