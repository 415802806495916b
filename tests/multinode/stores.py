"""What the hosts share: an object store that speaks S3, and Redis; both real servers."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hosts import Host, running
from pyarrow import fs
from waiting import wait_for_port

from lmserve.remote_folder import RemoteFolder

_BUCKET, _REGION, _S3_KEY = "lmserve", "us-east-1", "lmserve"
_S3_PORT, _REDIS_PORT = 9000, 6379
_REDIS = "bind {address}\nport {port}\nsave ''\nrequirepass {password}\ndir {folder}\n"


@dataclass(frozen=True)
class Stores:
    """Where they are, and who may use them.

    Args:
        host: on which both run.
    """

    host: Host
    redis_password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    s3_secret: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)

    @property
    def query(self) -> str:
        """What leads URLs to the object store."""
        return f"endpoint_override={self._s3}&scheme=http&region={_REGION}"

    @property
    def redis_url(self) -> str:
        return f"redis://{self.host.address}:{self.host.port(_REDIS_PORT)}"

    @property
    def _s3(self) -> str:
        return f"{self.host.address}:{self.host.port(_S3_PORT)}"

    def url(self, path: str) -> str:
        """The URL of a file or folder in the bucket."""
        return f"s3://{_BUCKET}/{path}?{self.query}"

    def make_bucket(self) -> None:
        """At the beginning, there is none."""
        fs.S3FileSystem(
            access_key=_S3_KEY,
            secret_key=self.s3_secret,
            endpoint_override=self._s3,
            scheme="http",
            region=_REGION,
            allow_bucket_creation=True,
        ).create_dir(_BUCKET)

    @property
    def bucket(self) -> RemoteFolder:
        """The bucket, for a process with `credentials` in its environment."""
        return RemoteFolder(f"s3://{_BUCKET}?{self.query}")

    @property
    def credentials(self) -> dict[str, str]:
        """What those have in their environment who may use the object store."""
        return {"AWS_ACCESS_KEY_ID": _S3_KEY, "AWS_SECRET_ACCESS_KEY": self.s3_secret}

    @property
    def environment(self) -> dict[str, str]:
        """What those have in their environment who may use both."""
        return {**self.credentials, "LMSERVE_REDIS_PASSWORD": self.redis_password}


@contextmanager
def running_stores(host: Host, redis_server: str) -> Iterator[Stores]:
    """The servers, on one host, from when they answer on.

    Args:
        host: that has nothing else to do.
        redis_server: path of the program.
    """
    stores = Stores(host)
    place = {
        "address": host.address,
        "port": host.port(_REDIS_PORT),
        "password": stores.redis_password,
    }
    settings = _REDIS.format(folder=host.temporary, **place)
    s3 = ("python", "-m", "moto.server", "-H", host.address, "-p", host.port(_S3_PORT))
    with (
        running(host, *s3, log="s3"),
        running(host, redis_server, "-", log="redis", stdin=settings),
    ):
        wait_for_port(host, _S3_PORT)
        wait_for_port(host, _REDIS_PORT)
        stores.make_bucket()
        yield stores
