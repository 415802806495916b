"""What can be found wrong before anything is served."""

import socket

import lmserve
from lmserve.errors import ModelError, OptionError
from lmserve.publishing.directory import ModelDirectory, is_directory


def check_models(location: str) -> None:
    """Looks for a model where one is said to be: better here, and at once, than in a replica.

    Raises:
        ModelError: there is none.
        InputError: the URL cannot be read.
    """
    if not is_directory(location):
        # Mapped here once as a trial.
        lmserve.load(location)
        return
    directory = ModelDirectory.at(location)
    if not any(directory.pointer(name) for name in directory.names()):
        raise ModelError(
            f"{directory.location} holds neither a model nor a directory of published models",
            "Name a model folder, or publish a model there: lmserve publish MODEL --to DIRECTORY.",
        )


def check_port_free(host: str, port: int) -> None:
    """Raises `OptionError` where something listens already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: a port whose last connections are still fading is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OptionError(
                f"{host}:{port} cannot be listened on: {error.strerror}",
                "Give another --port, or stop the program that listens there.",
            ) from error
