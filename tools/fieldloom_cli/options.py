"""Options that many commands share."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="FIELDLOOM_DATA", help="The folder of a running demo.", show_default="data"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
