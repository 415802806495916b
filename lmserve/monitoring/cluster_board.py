"""The board of the cluster: nodes, lmserve's processes and jobs, and Ray."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from lmserve.metrics import job_metrics
from lmserve.metrics import node_metrics as m
from lmserve.metrics.service_metrics import REPLICA_STARTS
from lmserve.monitoring.expressions import RANGE, Chosen, or_zero
from lmserve.monitoring.layout import CLUSTER, Annotation, Line, Row, board
from lmserve.monitoring.panels import bars, curves, number

_OF = Chosen()


def cluster_board() -> Dashboard:
    """Whether nodes have room, what runs on them, and how Ray fares."""
    return board(
        "cluster",
        "Cluster",
        "Nodes, lmserve's processes and jobs on them, and Ray's own view.",
        (_now(), _lmserve(), _nodes(), _ray()),
        variables=(CLUSTER,),
        annotations=(
            Annotation(
                "Replica start", _OF.new(REPLICA_STARTS, "instance"), "on {{instance}}", "orange"
            ),
            Annotation(
                "Job start",
                f"1000 * {_OF.largest(job_metrics.STARTED, 'run', 'kind')}",
                "{{kind}} {{run}}",
                "blue",
                at_value=True,
            ),
        ),
    )


def _rays(metric: str, *matchers: str) -> str:
    """The series of a metric of Ray."""
    inside = ",".join(('cluster=~"$cluster"', *matchers))
    return f"{metric}{{{inside}}}"


def _now() -> Row:
    return Row("Now", ((*_nodes_now(), *_work_now()),))


def _nodes_now() -> Line:
    return (
        number(
            "Targets down",
            "short",
            "Addresses that Prometheus scrapes in vain: a node, its exporter or Ray.",
            'count(up{cluster=~"$cluster"} == 0) or 0 * count(up{cluster=~"$cluster"})',
            limits=(1,),
        ),
        number(
            "Ray nodes",
            "short",
            "Nodes that live, as Ray knows.",
            f"sum({_rays('ray_cluster_active_nodes')})",
        ),
        number(
            "Least disk left",
            "percentunit",
            "Of the fullest disk that lmserve uses.",
            f"min({_OF.of(m.DISK_FREE)} / {_OF.of(m.DISK_SIZE)})",
        ),
    )


def _work_now() -> Line:
    return (
        number(
            "Processes",
            "short",
            "Processes of lmserve that live.",
            _OF.added(m.PROCESSES),
        ),
        number(
            "Jobs running",
            "short",
            "Jobs whose process lives.",
            or_zero(_OF.added(job_metrics.RUNNING)),
        ),
        number(
            "Jobs failed",
            "short",
            "In all.",
            or_zero(_OF.added(job_metrics.ENDED, state="failed")),
            limits=(1,),
        ),
    )


def _lmserve() -> Row:
    return Row("lmserve", (_processes(), _jobs()))


def _processes() -> Line:
    return (
        curves(
            "Processes",
            "short",
            "That live, by role.",
            [(_OF.added(m.PROCESSES, "role"), "{{role}}")],
            stacked=True,
        ),
        curves(
            "Memory",
            "bytes",
            "Resident memory of lmserve's processes, by node and role.",
            [(_OF.added(m.RESIDENT_MEMORY, "instance", "role"), "{{instance}} {{role}}")],
            stacked=True,
        ),
        curves(
            "Disk left",
            "bytes",
            "On the disks that lmserve uses.",
            [
                (
                    f"min by (instance, mount) ({_OF.of(m.DISK_FREE)})",
                    "{{instance}} {{mount}}",
                )
            ],
        ),
    )


def _jobs() -> Line:
    return (
        curves(
            "Jobs running",
            "short",
            "Jobs whose process lives, by kind.",
            [(or_zero(_OF.added(job_metrics.RUNNING, "kind"), "kind"), "{{kind}}")],
            stacked=True,
        ),
        curves(
            "Jobs ended",
            "short",
            "In all, by how they ended.",
            [(or_zero(_OF.added(job_metrics.ENDED, "state"), "state"), "{{state}}")],
        ),
        bars(
            "Versions",
            "short",
            "Nodes by the versions that run on them. Several while a release is rolled out.",
            f"count by (version, python, ray) ({_OF.of(m.BUILD_INFO)})",
            "lmserve {{version}}, Python {{python}}, Ray {{ray}}",
        ),
    )


def _nodes() -> Row:
    return Row("Nodes, measured by Ray", ((*_busy(), *_full()),))


def _busy() -> Line:
    received = f"sum by (ip) ({_rays('ray_node_network_receive_speed')})"
    sent = f"sum by (ip) ({_rays('ray_node_network_send_speed')})"
    return (
        curves(
            "Processors",
            "percent",
            "Processors of each node that are busy.",
            [(f"max by (ip) ({_rays('ray_node_cpu_utilization')})", "{{ip}}")],
            most=100,
        ),
        curves(
            "Network",
            "Bps",
            "Bytes a second.",
            [(received, "{{ip}} received"), (sent, "{{ip}} sent")],
        ),
    )


def _full() -> Line:
    used = f"sum by (ip) ({_rays('ray_node_mem_used')})"
    total = f"sum by (ip) ({_rays('ray_node_mem_total')})"
    disk_used = f"sum by (ip) ({_rays('ray_node_disk_usage')})"
    disk_free = f"sum by (ip) ({_rays('ray_node_disk_free')})"
    return (
        curves(
            "Memory",
            "percentunit",
            "Part of each node's memory that is used. Ray ends workers above 0.95.",
            [(f"{used} / {total}", "{{ip}}")],
            limits=(0.8, 0.95),
            most=1,
        ),
        curves(
            "Disk",
            "percentunit",
            "Part of the disk of Ray's temporary folder that is used.",
            [(f"{disk_used} / ({disk_used} + {disk_free})", "{{ip}}")],
            limits=(0.8, 0.95),
            most=1,
        ),
    )


def _ray() -> Row:
    return Row("Ray", (_work(), _scaling()))


def _work() -> Line:
    object_store = f"sum by (Location) ({_rays('ray_object_store_memory')})"
    tasks = f"sum by (State) ({_rays('ray_tasks')})"
    of_gcs = _rays("ray_actors", 'Source="gcs"')
    processors = _rays("ray_resources", 'Name="CPU"')
    return (
        curves(
            "Logical processors",
            "short",
            "That tasks and actors have set aside, and that are left.",
            [(f"sum by (State) ({processors})", "{{State}}")],
            stacked=True,
        ),
        curves(
            "Objects",
            "bytes",
            "In shared memory, in workers, spilled to disk.",
            [(object_store, "{{Location}}")],
            stacked=True,
        ),
        curves("Tasks", "short", "By state.", [(tasks, "{{State}}")]),
        curves("Actors", "short", "By state.", [(f"sum by (State) ({of_gcs})", "{{State}}")]),
    )


def _scaling() -> Line:
    return (
        curves(
            "Nodes",
            "short",
            "That live, and that the autoscaler waits for.",
            [
                (f"sum({_rays('ray_cluster_active_nodes')})", "live"),
                (f"sum({_rays('autoscaler_pending_nodes')})", "waited for"),
            ],
        ),
        curves(
            "Failures of the autoscaler",
            "short",
            "Nodes that could not be made, a second.",
            [
                (
                    f"sum(rate({_rays('autoscaler_failed_create_nodes_total')}[{RANGE}]))",
                    "nodes",
                )
            ],
        ),
    )
