"""`fieldloom dead-letters`: what gateways and cloud could not use, as the cloud keeps it. (T1)"""

from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Dead letters: what could not be used, with the reason.")


@app.callback()
def dead_letters() -> None:
    """Keep `list` a command of its own: what is replayed or dropped is at its gateway (`fieldloom gateway`)."""


@app.command("list", epilog="Example: fieldloom dead-letters list --device pump-7 --json")
def list_letters(
    data: Data = None,
    device: Annotated[str | None, typer.Option(help="Of this device.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Letters a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="The page after this one: `next` of the page before.")] = None,
    as_json: Json = False,
) -> None:
    """List a page of them, the newest first."""
    asked: dict[str, Any] = {"device": device, "limit": limit, "cursor": cursor}
    page = Api(data).call("GET", "/dead-letters", params={name: one for name, one in asked.items() if one is not None})
    if as_json:
        show_json(page)
        return
    columns = ("id", "ts", "gateway", "device", "reason")
    show_table([name.upper() for name in columns], ([one[name] for name in columns] for one in page["items"]))
    if page["next"] is not None:
        print(f"more: --cursor {page['next']}")
