"""The option that says on which nodes of a cluster a job does its work."""

from typing import Annotated

from typer import Option

Role = Annotated[
    str | None,
    Option(
        envvar="LMSERVE_ROLE",
        help="Work on nodes that have this label lmserve/role alone, such as build.",
        show_default="any node",
    ),
]
