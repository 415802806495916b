"""Places in texts, shared by all replicas in a Redis server, which may be slow, full or dead."""

from collections.abc import Callable, Sequence

from redis.exceptions import RedisError, ResponseError

from lmserve.errors import OptionError, ServiceError
from lmserve.service import tracing
from lmserve.service.breaker import Breaker
from lmserve.service.redis_connection import connect, disconnect
from lmserve.service.state_store import new_id
from lmserve.service.troubles import Troubles

_KEY_PREFIX = "lmserve:state:1:"


class RedisStateStore:
    """A `StateStore` in Redis.

    Args:
        url: as `redis_connection.connect` takes it.
        time_to_live_s: seconds until Redis forgets a state.
        timeout_s: longest wait for a connection or a reply. Longer than a cache's: who has no state
            must begin again.
        on_error: called for every error and time-out.
        breaker: says when to try again after an error.

    Raises:
        OptionError: the URL or a number makes no sense, or the password file cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        time_to_live_s: int = 3600,
        timeout_s: float = 1.0,
        on_error: Callable[[], None] = lambda: None,
        breaker: Breaker | None = None,
    ) -> None:
        if time_to_live_s < 1 or timeout_s <= 0:
            raise OptionError(
                f"time_to_live_s is {time_to_live_s}, timeout_s is {timeout_s}",
                "Give a time to live of at least 1 s and a time-out above 0 s.",
            )
        self._redis = connect(url, timeout_s=timeout_s)
        self._time_to_live_s = time_to_live_s
        self._troubles = Troubles("state store", on_error)
        self._breaker = breaker or Breaker()
        # A server that is full or read-only refuses to write, and can be read from all the same.
        self._writing = Breaker()

    async def keep(self, states: Sequence[bytes]) -> list[str | None]:
        """Keeps states, in one round trip; the identifier of each, or None for all on an error."""
        nothing: list[str | None] = [None] * len(states)
        if not states or not self._writing.allows() or not self._breaker.allows():
            return nothing
        identifiers: list[str | None] = []
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for state in states:
                    identifier = new_id()
                    pipeline.set(_KEY_PREFIX + identifier, state, ex=self._time_to_live_s)
                    identifiers.append(identifier)
                with tracing.redis_span("SET"):
                    replies = await pipeline.execute()
            if replies != [True] * len(states):
                raise RedisError(f"{len(replies)} replies to {len(states)} SETs, not all OK")
        except ResponseError as error:
            self._breaker.succeeded()
            self._writing.failed()
            self._troubles.report(error)
            return nothing
        except Exception as error:
            # Any: what isn't Redis at all may answer in ways that its client doesn't expect.
            self._breaker.failed()
            self._troubles.report(error)
            return nothing
        self._breaker.succeeded()
        self._writing.succeeded()
        return identifiers

    async def find(self, identifier: str) -> bytes | None:
        """The state, or None where there is none, or none any more.

        Raises:
            ServiceError: Redis doesn't answer.
        """
        if not self._breaker.allows():
            raise _not_working()
        try:
            with tracing.redis_span("GET"):
                state = await self._redis.get(_KEY_PREFIX + identifier)
            if not isinstance(state, bytes | None):
                raise RedisError(f"a {type(state).__name__} in reply to GET")
        except Exception as error:
            self._breaker.failed()
            self._troubles.report(error)
            raise _not_working() from error
        self._breaker.succeeded()
        return state

    async def close(self) -> None:
        """Ends the connections."""
        await disconnect(self._redis)


def _not_working() -> ServiceError:
    return ServiceError(
        "The store of states does not answer", "try again later, or begin the text again."
    )
