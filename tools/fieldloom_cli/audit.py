"""`fieldloom audit`: who has changed what, who was refused, and whether the log is whole. (A2)"""

from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

COLUMNS = ("number", "at", "actor", "action", "object", "change", "outcome")

app = typer.Typer(no_args_is_help=True, help="The audit log: list it, and verify that nothing is missing.")


@app.command("list", epilog="Example: fieldloom audit list --object pump-7 --from 2026-11-01T00:00:00Z --json")
def list_audit(
    data: Data = None,
    actor: Annotated[str | None, typer.Option(help="A token's name or id, a device, a gateway, a user.")] = None,
    about: Annotated[str | None, typer.Option("--object", help="An id, of a device also what belongs to it.")] = None,
    action: Annotated[str | None, typer.Option(help="As remove_device or issue_certificate.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Since this time (RFC 3339).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Rows a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="The page after this one: `next` of the page before.")] = None,
    as_json: Json = False,
) -> None:
    """List a page of what was changed and what was refused, the newest first. It needs an admin's token."""
    asked: dict[str, Any] = {"actor": actor, "object": about, "action": action, "from": start, "to": end}
    asked |= {"limit": limit, "cursor": cursor}
    page = Api(data).call("GET", "/audit", params={name: one for name, one in asked.items() if one is not None})
    if as_json:
        show_json(page)
        return
    show_table([name.upper() for name in COLUMNS], map(_cells, page["items"]))
    if page["next"] is not None:
        print(f"more: --cursor {page['next']}")


@app.command(epilog="Example: fieldloom audit verify --json")
def verify(data: Data = None, as_json: Json = False) -> None:
    """Hold every row against the hash that the next one has of it; exit code 1 if one is missing or was changed.

    The newest row's hash, kept elsewhere, shows later whether the log was written anew as a whole.
    """
    api = Api(data)
    faults: list[str] = []
    after: int | None = 0
    while after is not None:
        told = api.call("GET", "/audit/verification", params={"after": after})
        faults += told["faults"]
        after = told["next"]
    if as_json:
        show_json({"first": told["first"], "newest": told["newest"], "sha256": told["sha256"], "faults": faults})
    else:
        for fault in faults:
            print(fault)
    if faults:
        raise CommandFailed("the audit log is not as it was written: compare it with a copy of the database")
    if not as_json:
        print(f"Rows {told['first']} to {told['newest']} are as they were written; the newest is {told['sha256']}.")


def _cells(row: dict[str, Any]) -> list[Any]:
    actor = row["actor"]
    who = f"{actor['kind']} {actor['name'] or actor['id']}".rstrip()
    about = " ".join(filter(None, (row["kind"], row["object"])))
    outcome = row["outcome"] if row["status"] is None else f"{row['outcome']} {row['status']}, {row['count']}x"
    return [row["number"], row["at"], who, row["action"], about, _change(row), outcome]


def _change(row: dict[str, Any]) -> str:
    """Return a change in a line: `name: A → B`, the names alone of what was made or is gone."""
    before, after = row["before"], row["after"]
    if before is not None and after is not None:
        return ", ".join(f"{name}: {before.get(name)} → {after.get(name)}" for name in {**before, **after})
    if row["reason"] is not None:
        return str(row["reason"])
    return "made" if before is None else "removed"
