"""What makes alerts about jobs and trainings fire."""

import signal

from corpora import zipf_text
from watched_nodes import Node


def a_build_is_stopped_and_another_fails(node: Node) -> None:
    text = node.work / "text.txt"
    text.write_text(zipf_text(20000, words=20000))
    with node.process("watched_job.py", "pause", text, node.work / "stopped") as build:
        node.sees(f'lmserve_job_running{{cluster="{node.cluster}"}} == 1')
        node.fire("LmserveJobStalled")
        assert node.firing() == {"LmserveJobStalled"}
        build.send_signal(signal.SIGCONT)
        assert build.wait(120) == 0
        node.end("LmserveJobStalled")
    text.write_text("<s> is no word </s>\n")
    with node.process("watched_job.py", "build", text, node.work / "refused") as build:
        assert build.wait(120) != 0
    node.fire("LmserveJobFailed")
    node.end("LmserveJobFailed")


def gradients_explode(node: Node) -> None:
    alerts = ("LmserveGradientsExploding", "LmserveTrainingDiverged")
    (node.work / "text.txt").write_text(zipf_text(300))
    arguments = ("train", node.work / "text.txt", node.work / "wild", "irnn", 1000)
    with node.process("watched_job.py", *arguments):
        node.fire(*alerts)
    node.end(*alerts)


def gradients_vanish(node: Node) -> None:
    (node.work / "text.txt").write_text(zipf_text(300))
    arguments = ("train", node.work / "text.txt", node.work / "short", "sigmoid", 0.1)
    with node.process("watched_job.py", *arguments):
        node.fire("LmserveGradientsVanish")
    node.end("LmserveGradientsVanish")
