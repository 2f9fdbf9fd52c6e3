"""`fieldloom discovery`: devices that gateways have found and that nobody has registered. (C8)"""

from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_contract import topics

COLUMNS = ("device", "site", "type", "board", "firmware", "adapter", "gateway", "last_seen")

app = typer.Typer(no_args_is_help=True, help="Found devices: list, approve and dismiss them.")

Name = Annotated[str, typer.Argument(help="The device's id.")]


@app.command("list", epilog="Example: fieldloom discovery list --site barn --json")
def list_discoveries(
    site: Annotated[str | None, typer.Option(help="Only of this site.")] = None,
    dismissed: Annotated[bool, typer.Option("--dismissed", help="Those that were dismissed.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List devices that were found and are not registered."""
    asked = {**({"site": site} if site else {}), **({"dismissed": "true"} if dismissed else {})}
    found = list(Api(data).pages("/discoveries", **asked))
    if as_json:
        show_json({"items": found, "next": None})
        return
    _show(found)


@app.command(epilog='Example: fieldloom discovery approve pump-7 --name "North pump"')
def approve(
    name: Name,
    called: Annotated[str | None, typer.Option("--name", help="For people.")] = None,
    site: Annotated[str | None, typer.Option(help="By default the one where it was heard.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Register a found device with what it said; what it sent before stays with the dead letters."""
    told = {field: value for field, value in (("name", called), ("site", site)) if value is not None}
    made = Api(data).call("POST", f"/discoveries/{topics.device_id(name)}/approve", json=told)
    if as_json:
        show_json(made)
        return
    print(f"{made['id']} is registered at the site {made['site']}.")


@app.command(epilog="Example: fieldloom discovery dismiss pump-7")
def dismiss(name: Name, data: Data = None, as_json: Json = False) -> None:
    """Take a found device off the list; it stays off when it is heard again."""
    told = Api(data).call("POST", f"/discoveries/{topics.device_id(name)}/dismiss")
    if as_json:
        show_json(told)
        return
    print(f"{told['device']} is dismissed; `fieldloom discovery approve` takes it all the same.")


@app.command(epilog="Example: fieldloom discovery automatic barn --on")
def automatic(
    site: Annotated[str, typer.Argument(help="The site's id.")],
    on: Annotated[bool, typer.Option("--on/--off", help="Whether found devices are registered at once.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say whether devices that are found at a site are registered without anybody's approval; off by default."""
    told = Api(data).call("PATCH", f"/sites/{topics.device_id(site)}", json={"automatic_entry": on})
    if as_json:
        show_json(told)
        return
    print(f"{told['id']}: automatic entry is {'on' if told['automatic_entry'] else 'off'}.")


def _show(found: list[dict[str, Any]]) -> None:
    show_table([name.upper() for name in COLUMNS], ([one[name] for name in COLUMNS] for one in found))
