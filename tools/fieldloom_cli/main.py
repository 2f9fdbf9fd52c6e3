"""The `fieldloom` command: its own groups, and those that other distributions bring by an entry point."""

import gc
import os
import sys
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from fieldloom_cli.errors import CommandFailed
from fieldloom_contract.errors import Rejected
from fieldloom_runtime.importing import uncollected

GROUP = "fieldloom.commands"
# Loaded when they are asked for: an HTTP client that nobody uses would double the time of --help.
OWN = {
    "alarm": ("fieldloom_cli.alarm", "Alarms: list, acknowledge, clear and mute them."),
    "audit": ("fieldloom_cli.audit", "The audit log: list it, and verify that nothing is missing."),
    "certificate": ("fieldloom_cli.certificate", "Certificates: list and revoke them."),
    "command": ("fieldloom_cli.command", "Commands: send one, see what became of it."),
    "dead-letters": ("fieldloom_cli.dead_letters", "Dead letters: what could not be used, with the reason."),
    "device": ("fieldloom_cli.device", "Devices: list them, make a new one, flash it, watch it, update it."),
    "discovery": ("fieldloom_cli.discovery", "Found devices: list, approve and dismiss them."),
    "group": ("fieldloom_cli.group", "Groups: make one of a query or of listed devices, change and show it."),
    "release": ("fieldloom_cli.release", "Releases of the firmware: upload, list, show and delete them."),
    "rule": ("fieldloom_cli.rule", "Rules: check, try, explain, deploy and see them at work."),
    "series": ("fieldloom_cli.series", "Time series: rules of downsampling, how long points are kept."),
    "telemetry": ("fieldloom_cli.telemetry", "Telemetry: query what the devices measured."),
    "token": ("fieldloom_cli.token", "Tokens: make one, list and revoke them."),
    "type": ("fieldloom_cli.type", "Device types: what a kind of device measures, takes and wants."),
    "workflow": ("fieldloom_cli.workflow", "Workflows: check and draw them."),
}


class Fieldloom(TyperGroup):
    """Finds a group among our own and the installed ones, and imports only the one that runs."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is Typer's
        """Return all names, sorted."""
        return sorted([*OWN, *entry_points(group=GROUP).names])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the signature is Typer's
        """Return the group or command of a name, None if there is none."""
        with uncollected():
            if cmd_name in OWN:
                group = import_module(OWN[cmd_name][0]).app
            else:
                found = entry_points(group=GROUP, name=cmd_name)
                if not found:
                    return None
                group = next(iter(found)).load()
        named = get_command(group)
        named.name = cmd_name
        return named

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each group with what it does; a plug-in is described by its distribution, so nothing is imported."""
        rows = [(name, OWN[name][1] if name in OWN else _summary(name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _summary(name: str) -> str:
    plug_in = next(iter(entry_points(group=GROUP, name=name)))
    return str(plug_in.dist.metadata["Summary"]).removeprefix("Fieldloom: ") if plug_in.dist else ""


app = typer.Typer(cls=Fieldloom, no_args_is_help=True, rich_markup_mode=None, add_completion=True)


@app.callback()
def fieldloom() -> None:
    """Run your own devices: boards, gateways and the cloud that runs the fleet."""


def main() -> None:
    """Run the command; a failure is one line on standard error with the way out, and an exit code that scripts know."""
    os.umask(0o077)  # whatever any of our processes writes is for its owner alone: databases, their logs, keys, tokens
    try:
        app()
    except CommandFailed as error:
        print(f"fieldloom: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Rejected as error:
        print(f"fieldloom: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        _end_soon()


def _end_soon() -> None:
    """Keep the interpreter from looking through all modules, several times, for what it could collect before it ends.

    Not with DuckDB, whose binding complains on standard error of what was not collected.
    """
    if "duckdb" not in sys.modules:
        gc.freeze()
