"""Spreading lmserve's work with Ray: sessions, counting actors, builds, the serving deployment."""

from importlib.util import find_spec

from lmserve.errors import DependencyError

if find_spec("ray") is None:
    raise DependencyError(
        "Ray is not installed; it runs builds and the service",
        "Install it: pip install 'lmserve[ray,serve]'.",
    )
