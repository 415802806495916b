"""What of a driver's environment goes with its work to the workers of a cluster.

A cluster's nodes have an environment of their own, in which credentials belong: the driver's are
never sent, since Ray shows what is sent in its logs and in its dashboard. Sent is only where an
object store is to be found, and what LMSERVE_PASS_ENVIRONMENT names. A job that was submitted by
`ray job submit` sends nothing: Ray gives its workers what `--runtime-env-json` says.
"""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from lmserve.errors import OptionError

CHOICE_VARIABLE = "LMSERVE_PASS_ENVIRONMENT"
PASSED = (
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "GOOGLE_CLOUD_PROJECT",
)
# Ray's own, in the processes of a submitted job.
_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|AUTH")


def passed_on(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that go to the workers, with their values.

    Raises:
        OptionError: a name or a value among them is that of a secret.
    """
    if _SUBMITTED in environment:
        return {}
    chosen = [name.strip() for name in environment.get(CHOICE_VARIABLE, "").split(",")]
    names = [*PASSED, *filter(None, chosen)]
    given = {name: environment[name] for name in names if name in environment}
    for name, value in given.items():
        _check(name, value)
    return given


def _check(name: str, value: str) -> None:
    if _SECRET.search(name.upper()):
        raise OptionError(
            f"{CHOICE_VARIABLE} names {name}, which looks like a secret: Ray would show it to all "
            "who see its dashboard or its logs",
            "Set it in the environment of the cluster's nodes, where it belongs, and leave it out.",
        )
    if "://" in value and urlsplit(value).password is not None:
        raise OptionError(
            f"the URL in {name} has a password in it, which Ray would show",
            f"Unset {name} here, and set it in the environment of the cluster's nodes.",
        )
