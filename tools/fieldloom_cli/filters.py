"""Filters of devices, as the API's lists and groups take them: `--where NAME=VALUE`. (R1)"""

from typing import Annotated

import typer

from fieldloom_cli.errors import CommandFailed

Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Only devices that are like this; may be repeated. NAME is a field as type, site or status, or tag "
        "(tag=floor:2), capability, group, q (free text), created_from, created_to, updated_from, updated_to.",
    ),
]
SEVERAL = ("tag", "capability")


def read(where: list[str] | None) -> dict[str, str | list[str]]:
    """Return a filter by its names. Raises CommandFailed."""
    found: dict[str, str | list[str]] = {}
    for text in where or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise CommandFailed(f"--where {text} is no NAME=VALUE: write it as --where type=pump")
        if name in SEVERAL:
            found[name] = [*found.get(name, []), value]
        elif name in found:
            raise CommandFailed(f"--where {name} is there twice: only {' and '.join(SEVERAL)} may be")
        else:
            found[name] = value
    return found
