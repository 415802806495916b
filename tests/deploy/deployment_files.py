"""What files for deployment are checked against: the commands as they are defined."""

from collections.abc import Sequence
from pathlib import Path

import click
import typer.main
from ray.scripts.scripts import start as ray_start
from ray.serve.scripts import cli as serve

from jobs.cli import app

DEPLOY = Path(__file__).parent.parent.parent / "cluster" / "deploy"


def check_lmserve(arguments: Sequence[str]) -> None:
    """Fails where `lmserve ARGUMENTS` names a command or an option that there isn't."""
    command: click.Command = typer.main.get_command(app)
    _check(command, arguments)


def check_ray_start(arguments: Sequence[str]) -> None:
    """Fails where `ray start ARGUMENTS` names an option that there isn't."""
    _check(ray_start, arguments)


def check_serve(arguments: Sequence[str]) -> None:
    """Fails where `serve ARGUMENTS` names a command or an option that there isn't."""
    _check(serve, arguments)


def _check(command: click.Command, arguments: Sequence[str]) -> None:
    context = click.Context(command)
    while hasattr(command, "get_command"):
        name, *arguments = arguments
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, click.Context(found, parent=context)
    # Parses values, and calls nothing.
    command.parse_args(context, list(arguments))
