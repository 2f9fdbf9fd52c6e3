"""`fieldloom device import|export`: many devices at once, as a file. (R5)"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.filters import Where, read
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

MEDIA = {".csv": "text/csv", ".ndjson": "application/x-ndjson", ".jsonl": "application/x-ndjson"}
COUNTS = ("created", "updated", "unchanged", "refused")
TIMEOUT_S = 1800.0


def import_devices(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A .csv or .ndjson file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of each row.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Register or change a device a row; rows that are refused are shown, and make the exit code 1.

    CSV has a line of column names: id, site, name, type, manufacturer, model, capabilities (parted by semicolons) and
    tag:KEY for each tag. What the file does not speak of stays.
    """
    media = MEDIA.get(file.suffix.lower())
    if media is None:
        raise CommandFailed(f"{file} is neither .csv nor .ndjson: give it the name of what it is")
    request: dict[str, Any] = {"headers": {"Content-Type": media}, "params": {"dry_run": dry_run}}
    with file.open("rb") as content:
        report = Api(data).call("POST", "/devices/import", content=content, timeout=TIMEOUT_S, **request)
    if as_json:
        show_json(report)
    else:
        _show(report)
    if report["refused"]:
        raise typer.Exit(1)


def _show(report: dict[str, Any]) -> None:
    rows = [
        (row["row"], row["id"], fault["path"], fault["reason"]) for row in report["rows"] for fault in row["errors"]
    ]
    if rows:
        show_table(["ROW", "ID", "FIELD", "REASON"], rows)
    counts = ", ".join(f"{report[name]} {name}" for name in COUNTS)
    print(f"{'nothing was changed; it would be: ' if report['dry_run'] else ''}{counts}")


def export_devices(
    file: Annotated[Path | None, typer.Option("--output", "-o", help="By default standard output.")] = None,
    kind: Annotated[Literal["csv", "ndjson"], typer.Option("--format", help="The kind of file.")] = "csv",
    where: Where = None,
    data: Data = None,
) -> None:
    """Write the devices that a filter finds as a file, which `import` takes."""
    pieces = Api(data).stream("/devices/export", format=kind, **read(where))
    if file is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return
    with file.open("wb") as output:
        output.writelines(pieces)
