"""prometheus_client's shared values, of which gauges outlive a change of their process's name.

prometheus_client takes a new name for a fork, after which all values begin at 0. That is right for
what is counted: what came before stands under the old name. What a gauge tells, such as the model
being served, is so still.
"""

import os
from collections.abc import Callable
from typing import Any

from prometheus_client.values import MultiProcessValue


def shared(process_name: Callable[[], str]) -> type:
    """The class of values that are shared under the name that a function gives."""
    base: Any = MultiProcessValue(process_name)  # type: ignore[no-untyped-call]

    class KeptValue(base):  # type: ignore[misc]
        # The mangled name of what prometheus_client calls to begin, and for each new name.
        def _MmapedValue__reset(self) -> None:  # noqa: N802
            before = dict(vars(self))
            keeps = before.get("_params", [""])[0] == "gauge" and before.get("_pid") == os.getpid()
            super()._MmapedValue__reset()
            self._pid = os.getpid()
            if keeps:
                self._value, self._timestamp = before["_value"], before["_timestamp"]
                self._file.write_value(self._key, self._value, self._timestamp)

    return KeptValue
