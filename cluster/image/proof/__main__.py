"""Builds the image without a container engine and tries it: `python -m cluster.image.proof`.

Debian's buildah runs the Dockerfile on a bare Debian that mmdebstrap makes, and bubblewrap runs the
image's programs as its user on a file system that is read-only. Needs Linux, root and some GB of
disk, in TMPDIR.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from cluster.image.proof import checks
from cluster.image.proof.contents import differences, unwanted
from cluster.image.proof.engine import Engine
from cluster.image.proof.sandbox import confined

_ROOT = Path(__file__).parents[3]
_PROGRAMS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap"}
# 2026-11-01; the Dockerfile's own.
_EPOCH = 1793491200
_BASE, _SUITE = "debian:bookworm-slim", "bookworm"
_UNPROVED = """Not proved here: that Docker, containerd or Kubernetes run the image; the base of a
registry (a bare Debian of the same packages is in its place); whether engines act on the health
check (its command is run); GPUs; images for other processors than this machine's."""


def main() -> None:
    """Builds, looks, compares and tries, as the command line says."""
    options = _options()
    if os.geteuid() != 0:
        sys.exit("a bare Debian can be made by root only")
    if missing := [package for name, package in _PROGRAMS.items() if shutil.which(name) is None]:
        sys.exit(f"missing: install the Debian packages {' '.join(missing)}")
    secrets = {name: getattr(options, name) for name in ("apt", "pip", "ca")}
    folder = Path(tempfile.mkdtemp(prefix="lmserve-image-"))
    engine = Engine(folder, {name: path for name, path in secrets.items() if path})
    try:
        _prove(engine, folder, options)
    finally:
        engine.clear()
        shutil.rmtree(folder)
    _say(_UNPROVED)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--apt", type=Path, help="Sources for apt, else this machine's")
    parser.add_argument("--pip", type=Path, help="Settings for pip: an index, a proxy")
    parser.add_argument("--ca", type=Path, help="Certificates of who signs for the index")
    parser.add_argument("--variant", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--torch-index", default="", help="Index of PyTorch; file:// is one, too")
    parser.add_argument("--twice", action="store_true", help="Build again and compare")
    return parser.parse_args()


def _prove(engine: Engine, folder: Path, options: argparse.Namespace) -> None:
    engine.make_base(_BASE, _SUITE, _EPOCH)
    arguments = {"VARIANT": options.variant, "TORCH_INDEX": options.torch_index}
    _build(engine, "lmserve", arguments, folder)
    config = engine.config("lmserve")
    _check_config(config)
    for layer in engine.layers("lmserve"):
        _say(f"layer {layer.digest[7:19]}  {layer.packed_bytes / 1e6:7.1f} MB packed")
    with engine.mounted("lmserve") as root:
        _say(f"files take {_bytes(root) / 1e6:,.0f} MB")
        if found := unwanted(root, uid=int(config["User"].partition(":")[0])):
            sys.exit("\n".join(found))
        _try(root, config, folder)
        if options.twice:
            _compare(engine, root, arguments, folder)


def _build(engine: Engine, tag: str, arguments: dict[str, str], folder: Path) -> None:
    begin_s = time.monotonic()
    try:
        engine.build(tag, _ROOT, arguments, _EPOCH)
    except subprocess.CalledProcessError:
        sys.exit((folder / f"{tag}.log").read_text(errors="replace")[-4000:])
    _say(f"built in {time.monotonic() - begin_s:.0f} s")


def _check_config(config: dict[str, Any]) -> None:
    """What must be so for the checks to mean something."""
    version = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert config["Labels"]["org.opencontainers.image.version"] == version
    assert config["User"] == "1000:1000"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert not config.get("Entrypoint")


def _compare(engine: Engine, root: Path, arguments: dict[str, str], folder: Path) -> None:
    _build(engine, "again", arguments, folder)
    if engine.digests("lmserve") == engine.digests("again"):
        _say("built twice: the same layers, bit for bit")
        return
    with engine.mounted("again") as other:
        found = differences(root, other)
    sys.exit("\n".join(["built twice: these differ", *(found or ["only times or order"])]))


def _try(root: Path, config: dict[str, Any], folder: Path) -> None:
    """Runs the checks in the image, as its user."""
    user = int(config["User"].partition(":")[0])
    cache = folder / "cache"
    cache.mkdir()
    os.chown(cache, user, user)
    # As engines give it to containers.
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    program = Path(checks.__file__)
    command = confined(root, config, cache, {program: "/tmp/checks.py", hosts: "/etc/hosts"})
    command += ["python", "/tmp/checks.py", *config["Healthcheck"]["Test"][1:]]
    if subprocess.run(command).returncode:
        sys.exit("the image does not do what it must")


def _bytes(root: Path) -> int:
    told = subprocess.run(["du", "-s", "-B1", str(root)], check=True, capture_output=True)
    return int(told.stdout.split()[0])


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
