"""`lmserve keys`: makes, lists and revokes the keys of a service."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from typer import Argument, Option

from jobs.shell import messages, output, run_app
from lmserve.errors import OptionError

keys = typer.Typer(
    help="The keys of a service: create, list, revoke.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

KeysFile = Annotated[
    Path,
    Option(envvar="LMSERVE_API_KEYS_FILE", help="File of keys; running services read it again."),
]
KeyName = Annotated[str, Argument(help="Name of the key, as it stands in logs.")]


@keys.command("create")
def create(
    name: KeyName,
    *,
    file: KeysFile,
    days: Annotated[int | None, Option(help="Days until it expires.", min=1)] = None,
    requests_per_s: Annotated[float | None, Option(help="Requests a second.")] = None,
    burst: Annotated[int | None, Option(help="Requests at once; without, a second's.")] = None,
    words_per_min: Annotated[float | None, Option(help="Words scored a minute.")] = None,
) -> None:
    """Make a key and print it, this once; the file keeps a hash alone."""
    # Here, so that the command line starts without the service's packages.
    from lmserve.service.keys import add_key

    expires_in = None if days is None else timedelta(days=days)
    key = add_key(
        file,
        name,
        expires_in=expires_in,
        requests_per_s=requests_per_s,
        burst=burst,
        words_per_min=words_per_min,
    )
    messages.print(f"The key {name!r}; it is not shown again:")
    typer.echo(key)


@keys.command("list")
def list_keys(*, file: KeysFile) -> None:
    """Show names and limits of the keys."""
    from lmserve.service.keys import now, read_keys

    table = Table("name", "created", "expires", "state", "requests/s", "burst", "words/min")
    for key in read_keys(file):
        state = "disabled" if key.disabled else "expired" if key.expired(now()) else "valid"
        limits = (key.requests_per_s, key.burst, key.words_per_min)
        table.add_row(
            key.name,
            f"{key.created:%Y-%m-%d}",
            f"{key.expires:%Y-%m-%d}" if key.expires else "",
            state,
            *("" if limit is None else f"{limit:g}" for limit in limits),
        )
    output.print(table)


@keys.command("revoke")
def revoke(
    name: KeyName,
    *,
    file: KeysFile,
    delete: Annotated[
        bool, Option(help="Forget it: its requests are answered 401, as those of unknown keys.")
    ] = False,
) -> None:
    """Disable a key: its requests are answered 403."""
    from lmserve.service.keys import read_keys, write_keys

    present = read_keys(file)
    if name not in (key.name for key in present):
        raise OptionError(f"{file} has no key {name!r}", f"See `lmserve keys list --file {file}`.")
    if delete:
        write_keys(file, [key for key in present if key.name != name])
    else:
        disabled = {"disabled": True}
        write_keys(
            file,
            [key.model_copy(update=disabled) if key.name == name else key for key in present],
        )
    messages.print(f"The key {name!r} is {'deleted' if delete else 'disabled'}.")


if __name__ == "__main__":
    run_app(keys)
