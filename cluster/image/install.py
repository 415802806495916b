"""Fills a virtual environment with what lmserve needs, while the image is built.

What is installed is what pyproject.toml asks for, in the versions of constraints.txt and of
cuda-constraints.txt, all in the working directory; lmserve itself comes later, in a layer of its
own. Runs in Debian's Python with nothing but pip.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

# Of no use where nothing is compiled or tested: C headers, and packages' own tests.
_NOT_NEEDED = ("include", "test", "tests")
_CONSTRAINTS = ("constraints.txt", "cuda-constraints.txt")
# What a build for another CUDA, from an index of the user's choice, has in other versions.
_OF_CUDA = ("cuda-", "nvidia-", "triton==")


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    """What lmserve with these extras needs.

    Args:
        pyproject: content of pyproject.toml.
        extras: names of its optional dependencies.

    Raises:
        SystemExit: there is no such extra.
    """
    project = tomllib.loads(pyproject)["project"]
    optional = project["optional-dependencies"]
    if unknown := [extra for extra in extras if extra not in optional]:
        sys.exit(f"EXTRAS: no such extra: {', '.join(unknown)}; there are {', '.join(optional)}")
    return [*project["dependencies"], *(need for extra in extras for need in optional[extra])]


def with_torch(variant: str, extras: list[str], torch_index: str) -> list[str]:
    """The extras, with `rnn` where the other choices say that PyTorch is wanted.

    Raises:
        SystemExit: a build for processors is wanted, and nothing says where it is to be had.
    """
    if variant == "cuda" or torch_index:
        return list(dict.fromkeys([*extras, "rnn"]))
    if "rnn" in extras:
        sys.exit(
            "EXTRAS has rnn, and VARIANT is cpu: name the index of PyTorch's builds for processors "
            "in TORCH_INDEX. The ordinary index has its CUDA build, which is several GB."
        )
    return extras


def not_pinned(constraints: str, installed: list[str]) -> list[str]:
    """Which of the installed packages no line of the constraints holds.

    Args:
        constraints: content of constraints.txt.
        installed: as `pip freeze` has them: "name==version".
    """
    held = {_normal(line) for line in constraints.splitlines()}
    return [package for package in installed if _normal(package) not in held]


def _normal(requirement: str) -> str:
    name, _, version = requirement.partition("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version}"


def _install(venv: Path, constraints: list[str], *arguments: str) -> None:
    """Runs pip for the environment, which has none; nothing is compiled."""
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install"]
    options = ["--no-cache-dir", "--no-compile", "--only-binary", ":all:"]
    options += [f"--constraint={name}" for name in constraints]
    subprocess.run([*pip, *options, *arguments], check=True)


def _check_versions(venv: Path, constraints: list[str]) -> None:
    """Ends the build where another one might bring another version."""
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "freeze"]
    told = subprocess.run([*pip, "--all"], check=True, capture_output=True, text=True).stdout
    # PyTorch's own index has a version for each CUDA, "2.13.0+cpu".
    installed = [re.sub(r"^(torch==[^+]*)\+.*", r"\1", line) for line in told.splitlines()]
    if constraints != list(_CONSTRAINTS):
        installed = [line for line in installed if not line.startswith(_OF_CUDA)]
    text = "".join(Path(name).read_text(encoding="utf-8") for name in constraints)
    if found := not_pinned(text, installed):
        sys.exit(f"{' and '.join(constraints)}: no version of {', '.join(found)}")


def _check_torch(venv: Path, variant: str) -> None:
    """Ends the build where the index had PyTorch for something else."""
    ask = "from torch.version import cuda; print(cuda or '')"
    command = [str(venv / "bin" / "python"), "-c", ask]
    cuda = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if bool(cuda) != (variant == "cuda"):
        sys.exit(f"VARIANT is {variant}, and PyTorch was built for {cuda or 'processors only'}")


def _remove_what_is_not_needed(venv: Path) -> None:
    for name in _NOT_NEEDED:
        for folder in list(venv.glob(f"lib/*/site-packages/**/{name}")):
            if folder.is_dir():
                shutil.rmtree(folder)


def main() -> None:
    """Installs as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("venv", type=Path)
    parser.add_argument("--variant", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--extras", type=lambda text: [one for one in text.split(",") if one])
    parser.add_argument("--torch-index")
    options = parser.parse_args()
    extras = with_torch(options.variant, options.extras, options.torch_index)
    needed = requirements(Path("pyproject.toml").read_text(encoding="utf-8"), extras)
    constraints = list(_CONSTRAINTS[: 1 if options.torch_index else 2])
    if options.torch_index:
        # From there nothing but PyTorch, so that no other package can come from there by its name.
        _install(
            options.venv, constraints, "--index-url", options.torch_index, "--no-deps", "torch"
        )
    _install(options.venv, constraints, *needed)
    _check_versions(options.venv, constraints)
    if "rnn" in extras:
        _check_torch(options.venv, options.variant)
    _remove_what_is_not_needed(options.venv)


if __name__ == "__main__":
    main()
