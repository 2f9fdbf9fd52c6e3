"""`fieldloom alarm`: what is wrong with the fleet, who has seen it, and whom it must not wake. (E7)"""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.moments import duration, moment
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

COLUMNS = ("id", "device", "name", "severity", "state", "raised_at", "count", "message")
OPEN = ("active", "acknowledged")

app = typer.Typer(no_args_is_help=True, help="Alarms: list, acknowledge, clear and mute them.")

Number = Annotated[int, typer.Argument(help="The alarm's number, as `fieldloom alarm list` shows it.")]
Note = Annotated[str, typer.Option(help="What to remember of it.")]


@app.command("list", epilog="Example: fieldloom alarm list --severity critical --site barn --json")
def list_alarms(
    device: Annotated[str | None, typer.Option(help="Only of this device.")] = None,
    site: Annotated[str | None, typer.Option(help="Only of this site.")] = None,
    group: Annotated[str | None, typer.Option(help="Only of this group.")] = None,
    severity: Annotated[list[str] | None, typer.Option(help="Only of this severity; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List alarms, the newest first; by default those that are not over."""
    asked: dict[str, Any] = {"device": device, "site": site, "group": group, "severity": severity}
    asked["state"] = None if everything else OPEN
    found = list(Api(data).pages("/alarms", **{name: value for name, value in asked.items() if value}))
    if as_json:
        show_json({"items": found, "next": None})
        return
    show_table([name.upper() for name in COLUMNS], ([one[name] for name in COLUMNS] for one in found))


@app.command(epilog="Example: fieldloom alarm show 17")
def show(number: Number, data: Data = None, as_json: Json = False) -> None:
    """Show an alarm with its history."""
    found = Api(data).call("GET", f"/alarms/{number}")
    if as_json:
        show_json(found)
        return
    _say(found)
    if found["message"]:
        print(found["message"])
    rows = ([change["at"], change["what"], change["by"], change["note"]] for change in found["history"])
    show_table(["AT", "WHAT", "BY", "NOTE"], rows)


@app.command(epilog='Example: fieldloom alarm acknowledge 17 --note "on my way"')
def acknowledge(number: Number, note: Note = "", data: Data = None, as_json: Json = False) -> None:
    """Say that you have seen an alarm and care: it escalates no more."""
    _change(number, "acknowledge", note, data, as_json=as_json)


@app.command(epilog='Example: fieldloom alarm clear 17 --note "mended"')
def clear(number: Number, note: Note = "", data: Data = None, as_json: Json = False) -> None:
    """End an alarm by hand; its rule may raise it again."""
    _change(number, "clear", note, data, as_json=as_json)


@app.command(epilog='Example: fieldloom alarm mute --site barn --for 2h --reason "maintenance"')
def mute(
    reason: Annotated[str, typer.Option(help="Why, for those who wonder.")],
    lasts: Annotated[str, typer.Option("--for", help="How long from its start, as 30m or 2h.")],
    device: Annotated[str | None, typer.Option(help="A device.")] = None,
    group: Annotated[str | None, typer.Option(help="A group.")] = None,
    site: Annotated[str | None, typer.Option(help="A site.")] = None,
    starts: Annotated[str | None, typer.Option("--from", help="RFC 3339; by default now.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let the alarms of a device, a group or a site wake nobody for a time; they are recorded all the same."""
    begin = moment("--from", starts) if starts else datetime.now(UTC)
    ends = begin + duration("--for", lasts)
    told: dict[str, Any] = {"device": device, "group": group, "site": site, "reason": reason}
    told |= {"starts": begin.isoformat(), "ends": ends.isoformat()}
    made = Api(data).call("POST", "/mutes", json={name: value for name, value in told.items() if value})
    if as_json:
        show_json(made)
        return
    print(f"Mute {made['id']} holds from {made['starts']} to {made['ends']}.")


@app.command(epilog="Example: fieldloom alarm mutes")
def mutes(data: Data = None, as_json: Json = False) -> None:
    """List the mutes that hold or will."""
    found = list(Api(data).pages("/mutes"))
    if as_json:
        show_json({"items": found, "next": None})
        return
    rows = ([one["id"], _target(one), one["starts"], one["ends"], one["reason"]] for one in found)
    show_table(["ID", "MUTED", "FROM", "TO", "REASON"], rows)


@app.command(epilog="Example: fieldloom alarm unmute 3")
def unmute(
    number: Annotated[int, typer.Argument(help="The mute's number, as `fieldloom alarm mutes` shows it.")],
    data: Data = None,
) -> None:
    """End a mute now, or take one back that has not begun."""
    Api(data).call("DELETE", f"/mutes/{number}")
    print(f"Mute {number} is over.")


def _change(number: int, verb: str, note: str, data: Data, *, as_json: bool) -> None:
    changed = Api(data).call("POST", f"/alarms/{number}/{verb}", json={"note": note})
    if as_json:
        show_json(changed)
        return
    _say(changed)


def _say(alarm: dict[str, Any]) -> None:
    print(f"Alarm {alarm['id']}, {alarm['name']} of {alarm['device']}: {alarm['severity']}, {alarm['state']}.")


def _target(mute: dict[str, Any]) -> str:
    return next(f"{kind} {mute[kind]}" for kind in ("device", "group", "site") if mute[kind])
