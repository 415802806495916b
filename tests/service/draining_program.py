"""The application in a process of its own, on a real uvicorn that signals end."""

import socket
import sys

import uvicorn
from harness import Harness

from lmserve.service.protection_settings import protection_from


def main() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        # Requests wait in the socket's queue until the server takes them.
        listening.listen()
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        harness = Harness(protection=protection_from())
        config = uvicorn.Config(harness.app, log_level="critical", ws="websockets-sansio")
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
