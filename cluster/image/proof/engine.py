"""Buildah, which makes images without a daemon, in a storage of its own."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a substitute for Debian's slim image leaves out, as that does, also of later packages.
_SLIM = (
    *(f"path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
    "path-include=/usr/share/doc/*/copyright",
    "path-include=/usr/share/locale/locale.alias",
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image: SHA-256 of its content, and bytes as registries keep it, in gzip."""

    digest: str
    packed_bytes: int


class Engine:
    """Buildah with its storage in a folder.

    Args:
        folder: on a disk with several GB of room.
        secrets: files by the names that the Dockerfile's mounts have.
    """

    def __init__(self, folder: Path, secrets: dict[str, Path]) -> None:
        self._folder = folder
        self._secrets = secrets

    def make_base(self, name: str, suite: str, epoch: int) -> None:
        """Makes a bare Debian, which no registry is asked for, under the name of a registry's.

        Args:
            name: what the Dockerfile starts from.
            suite: of Debian.
            epoch: seconds since 1970 that no file is younger than.
        """
        context = self._folder / "base"
        context.mkdir()
        command = ["mmdebstrap", "--variant=apt", "--mode=root", "--quiet"]
        command += [f"--dpkgopt={option}" for option in _SLIM]
        command += [suite, str(context / "base.tar")]
        if sources := self._secrets.get("apt"):
            command.append(str(sources))
        subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)})
        (context / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        made = ["--isolation", "chroot", "--quiet", "--timestamp", str(epoch)]
        self._run("build", *made, "-t", f"localhost/{name}", context)
        (context / "base.tar").unlink()

    def build(self, tag: str, root: Path, arguments: dict[str, str], epoch: int) -> None:
        """Builds the repository's image from nothing.

        Args:
            tag: its name.
            root: the repository.
            arguments: of the build.
            epoch: seconds since 1970 that all files and the image are said to be of.
        """
        command = ["build", "--isolation", "chroot", "--network", "host", "--pull-never"]
        # `docker`, as the other format knows no HEALTHCHECK.
        command += ["--format", "docker", "--layers", "--no-cache", "--timestamp", str(epoch)]
        for name, path in self._secrets.items():
            command += ["--secret", f"id={name},src={path}"]
        for name, value in arguments.items():
            if value.startswith("file://"):
                # Where every Debian has a folder: one that is made for it would stay in the image.
                command += ["--volume", f"{value.removeprefix('file://')}:/mnt:ro"]
                value = "file:///mnt"
            command += ["--build-arg", f"{name}={value}"]
        file = root / "cluster" / "image" / "Dockerfile"
        with (self._folder / f"{tag}.log").open("wb") as log:
            self._run(*command, "-f", file, "-t", f"localhost/{tag}", root, output=log)

    def config(self, tag: str) -> dict[str, Any]:
        """What the image says of itself: user, environment, commands, labels."""
        told = json.loads(self._run("inspect", "--type", "image", f"localhost/{tag}"))
        config: dict[str, Any] = told["Docker"]["config"]
        return config

    def digests(self, tag: str) -> list[str]:
        """Of the layers' contents, the base first."""
        told = json.loads(self._run("inspect", "--type", "image", f"localhost/{tag}"))
        found: list[str] = told["Docker"]["rootfs"]["diff_ids"]
        return found

    def layers(self, tag: str) -> list[Layer]:
        """Layers with the sizes of what a registry would be sent."""
        target = self._folder / f"{tag}.packed"
        self._run("push", "--quiet", f"localhost/{tag}", f"oci:{target}:{tag}")
        blobs = target / "blobs" / "sha256"

        def blob(described: dict[str, str]) -> Any:
            return json.loads((blobs / described["digest"].removeprefix("sha256:")).read_text())

        [described] = json.loads((target / "index.json").read_text())["manifests"]
        sizes = [layer["size"] for layer in blob(described)["layers"]]
        return [Layer(*pair) for pair in zip(self.digests(tag), sizes, strict=True)]

    @contextmanager
    def mounted(self, tag: str) -> Iterator[Path]:
        """The image's files, while a `with` block runs."""
        container = self._run("from", "--pull-never", f"localhost/{tag}").strip()
        try:
            yield Path(self._run("mount", container).strip())
        finally:
            self._run("umount", container)
            self._run("rm", container)

    def clear(self) -> None:
        """Lets go of all that is mounted, so that the folder can be deleted."""
        self._run("rm", "--all")
        self._run("rmi", "--all", "--force")

    def _run(self, *arguments: object, output: Any = subprocess.PIPE) -> str:
        command = ["buildah", "--root", str(self._folder / "storage")]
        command += ["--runroot", str(self._folder / "run"), *map(str, arguments)]
        errors = None if output is subprocess.PIPE else subprocess.STDOUT
        result = subprocess.run(
            command, check=True, stdout=output, stderr=errors, text=True, env=_environment()
        )
        return result.stdout or ""


def _environment() -> dict[str, str]:
    """What buildah needs of the environment: no settings of other storages."""
    kept: Sequence[str] = ("PATH", "HOME", "TMPDIR", "STORAGE_DRIVER")
    return {name: os.environ[name] for name in kept if name in os.environ}
