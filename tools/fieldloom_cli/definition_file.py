"""Definitions in files, worked out here by the engine that another distribution brings. (E2, W3)"""

import sys
from importlib.metadata import entry_points
from typing import Any

import typer

from fieldloom_cli.errors import CommandFailed


def engine(of: str) -> Any:
    """Return what works rules or workflows out. Raises CommandFailed where it is not installed."""
    found = next(iter(entry_points(group=f"fieldloom.{of}")), None)
    try:
        if found is not None:
            return found.load()
    except ModuleNotFoundError:
        pass
    raise CommandFailed(f"the engine of {of} is not installed: pip install 'fieldloom[{of}]'")


def placed(file: object, fault: dict[str, Any]) -> str:
    """Return a fault with its file, line and path."""
    place = f"{file}:{fault['line']}" if fault["line"] else str(file)
    return f"{place}: {fault['path']}: {fault['reason']}"


def end_by_faults(items: list[dict[str, Any]], *, silent: bool) -> None:
    """Write the faults of files and end, if there are any."""
    found = [placed(one["file"], fault) for one in items for fault in one["faults"]]
    for line in [] if silent else found:
        print(line, file=sys.stderr)
    if found:
        raise typer.Exit(1)
