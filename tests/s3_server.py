"""A real S3 server in this process."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow.fs
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def running_s3(secret: str = "secret") -> Iterator[tuple[str, pyarrow.fs.S3FileSystem]]:
    """The query that leads URLs to it, and its file system, in which there is a folder "bucket"."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # All servers of a process have the same memory: nothing of a former one's.
        reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
            system = pyarrow.fs.S3FileSystem(
                endpoint_override=f"{host}:{port}",
                scheme="http",
                region="us-east-1",
                allow_bucket_creation=True,
            )
            system.create_dir("bucket")
            yield f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1", system
    finally:
        server.stop()
