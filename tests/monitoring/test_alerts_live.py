"""Causes of alerts, made real before a real Prometheus: they fire, and end after their cause.

The causes are made side by side, each on a node of its own, so that each is seen to fire alone.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from job_causes import (
    a_build_is_stopped_and_another_fails,
    gradients_explode,
    gradients_vanish,
)
from node_causes import a_disk_is_filled, an_exporter_is_killed
from ray_causes import replicas_and_workers_are_killed
from service_causes import (
    a_replica_has_too_little_room,
    redis_stops_and_the_text_changes,
    text_is_foreign_and_a_version_is_broken,
)
from watched_nodes import Node, seconds, watched

Cause = Callable[[Node], None]
CAUSES: dict[str, Cause] = {
    cause.__name__: cause
    for cause in (
        redis_stops_and_the_text_changes,
        text_is_foreign_and_a_version_is_broken,
        a_replica_has_too_little_room,
        a_build_is_stopped_and_another_fails,
        gradients_explode,
        gradients_vanish,
        an_exporter_is_killed,
        a_disk_is_filled,
    )
}
# What Ray does on its own takes seconds, however long Prometheus's minutes are.
ON_RAY: dict[str, Cause] = {
    "replicas_and_workers_are_killed": replicas_and_workers_are_killed,
}


def longer(duration_s: float) -> float:
    """Of what is longer than `seconds` makes it."""
    return 2.4 * seconds(duration_s)


@pytest.fixture(scope="module")
def made(
    tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[None]"]]:
    """All causes, being made."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "ray").mkdir()
    with (
        watched(list(CAUSES), folder, tiny_model_path) as nodes,
        watched(list(ON_RAY), folder / "ray", tiny_model_path, longer) as on_ray,
        ThreadPoolExecutor(len(CAUSES) + len(ON_RAY)) as threads,
    ):
        yield {
            name: threads.submit(cause, {**nodes, **on_ray}[name])
            for name, cause in {**ON_RAY, **CAUSES}.items()
        }


@pytest.mark.parametrize("cause", [*CAUSES, *ON_RAY])
def test_alerts_fire_by_a_real_cause_and_end_after_it(
    made: dict[str, "Future[None]"], cause: str
) -> None:
    made[cause].result()
