"""`fieldloom gateway dead-letters`: what a gateway could not use, seen, replayed and dropped. (T1)"""

import base64
import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from fieldloom_gateway.client import Data, Json, NotDone, ask, call, end

app = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be used, with the reason.")

Device = Annotated[str | None, typer.Option("--device", help="Of this device.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Whose reason holds this text.")]
Since = Annotated[str | None, typer.Option("--since", help="That came at this time or later, RFC 3339.")]
Numbers = Annotated[list[int] | None, typer.Argument(help="The letters' numbers.")]
All = Annotated[bool, typer.Option("--all", help="All that the other options leave.")]


@app.command("list", epilog="Example: fieldloom gateway dead-letters list --data /var/lib/fieldloom --device pump-7")
def list_letters(
    data: Data,
    device: Device = None,
    reason: Reason = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Letters a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="The page after this one: `next` of the page before.")] = None,
    as_json: Json = False,
) -> None:
    """List a page of them, the newest first."""
    asked = {"device": device, "reason": reason, "since": since, "limit": limit, "cursor": cursor}
    page = ask(data, "GET", "/dead-letters", **asked)
    if as_json:
        typer.echo(json.dumps(page))
        return
    for one in page["items"]:
        typer.echo(f"{one['number']:>8}  {one['at']}  {one['device'] or '-':20}  {one['reason']}")
    if page["next"] is not None:
        typer.echo(f"more: --cursor {page['next']}")


@app.command(epilog="Example: fieldloom gateway dead-letters show 17 --data /var/lib/fieldloom")
def show(number: Annotated[int, typer.Argument()], data: Data, as_json: Json = False) -> None:
    """Show one of them, and what is kept of its payload."""
    letter = ask(data, "GET", f"/dead-letters/{number}")
    if as_json:
        typer.echo(json.dumps(letter))
        return
    payload = base64.b64decode(letter.pop("payload"))
    for name, value in letter.items():
        typer.echo(f"{name:8}{'-' if value is None else value}")
    typer.echo(f"payload {payload.decode(errors='backslashreplace')}")


@app.command(
    epilog='Example: fieldloom gateway dead-letters replay --all --reason "no number" --data /var/lib/fieldloom'
)
def replay(
    data: Data,
    numbers: Numbers = None,
    every: All = False,
    device: Device = None,
    reason: Reason = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """Put them through the ingest again: what is taken now leaves the dead letters, the rest gets the new reason."""
    chosen = _chosen(data, numbers, every=every, device=device, reason=reason, since=since)
    _each(data, "POST", "/replay", chosen, as_json=as_json)


@app.command(epilog="Example: fieldloom gateway dead-letters drop 17 18 --data /var/lib/fieldloom")
def drop(
    data: Data,
    numbers: Numbers = None,
    every: All = False,
    device: Device = None,
    reason: Reason = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """Forget them, at this gateway; the cloud keeps its own."""
    chosen = _chosen(data, numbers, every=every, device=device, reason=reason, since=since)
    _each(data, "DELETE", "", chosen, as_json=as_json)


def _chosen(data: Any, numbers: list[int] | None, *, every: bool, **filters: Any) -> list[int]:
    if bool(numbers) == every:
        end("name the letters by their numbers, or all that the filters leave by --all", 2)
    if numbers:
        return numbers
    return sorted(one["number"] for one in _pages(data, **filters))


def _pages(data: Any, **filters: Any) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = ask(data, "GET", "/dead-letters", limit=500, cursor=cursor, **filters)
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _each(data: Any, method: str, what: str, numbers: list[int], *, as_json: bool) -> None:
    """Do it letter by letter; exit code 1 if any was refused."""
    told = []
    for number in numbers:
        try:
            told.append(call(data, method, f"/dead-letters/{number}{what}"))
        except NotDone as error:
            told.append({"number": number, "outcome": "refused", "reason": str(error)})
    if as_json:
        typer.echo(json.dumps({"items": told}))
    else:
        for one in told:
            typer.echo(f"{one['number']:>8}  {one['outcome']}  {one.get('reason', '')}".rstrip())
    if any(one["outcome"] == "refused" for one in told):
        raise typer.Exit(1)
