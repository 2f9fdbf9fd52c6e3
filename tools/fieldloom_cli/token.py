"""`fieldloom token`: who may use the cloud's interface, and as what."""

from typing import Annotated

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Tokens: make one, list and revoke them.")


@app.command(epilog="Example: fieldloom token create dashboard --role viewer")
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a token and print its secret, which is never shown again."""
    made = Api(data).call("POST", "/tokens", json={"name": name, "role": role})
    if as_json:
        show_json(made)
    else:
        print(made["token"])


@app.command("list", epilog="Example: fieldloom token list --json")
def list_tokens(data: Data = None, as_json: Json = False) -> None:
    """List the tokens, without their secrets."""
    tokens = list(Api(data).pages("/tokens"))
    if as_json:
        show_json({"items": tokens, "next": None})
        return
    names = ("id", "name", "role", "created", "revoked")
    show_table([name.upper() for name in names], ([token[name] for name in names] for token in tokens))


@app.command(epilog="Example: fieldloom token revoke 3f9c0a1b2c3d4e5f")
def revoke(token_id: Annotated[str, typer.Argument(metavar="ID")], data: Data = None) -> None:
    """Let a token open nothing any more."""
    Api(data).call("DELETE", f"/tokens/{token_id}")
