"""`fieldloom device credential`: what a device proves itself by that is no certificate. (P8)"""

from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.certificate import Reason
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_contract import topics

COLUMNS = ("id", "device", "kind", "created", "ends", "revoked", "reason")

app = typer.Typer(no_args_is_help=True, help="Credentials that are not certificates: issue, list and revoke them.")

Name = Annotated[str, typer.Argument(help="The device's id.")]


@app.command(epilog="Example: fieldloom device credential issue meter-3 --kind http --json")
def issue(
    name: Name,
    kind: Annotated[str, typer.Option(help="http (a token), psk (CoAP, DTLS), oscore (CoAP) or amqp (a password).")],
    overlap: Annotated[int, typer.Option(min=0, max=744, help="Hours that the one before of this kind goes on.")] = 24,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Issue a credential; its secret is shown this once. The one that the device had goes on for the overlap."""
    body = {"device": topics.device_id(name), "kind": kind, "overlap_hours": overlap}
    made = Api(data).call("POST", "/credentials", json=body)
    if as_json:
        show_json(made)
        return
    show_table(["FIELD", "VALUE"], ((field, made[field]) for field in ("id", "device", "kind", "secret")))


@app.command("list", epilog="Example: fieldloom device credential list meter-3")
def list_credentials(
    name: Annotated[str | None, typer.Argument(help="A device; by default all.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List credentials, without their secrets, the newest first."""
    found = list(Api(data).pages("/credentials", **({"device": name} if name else {})))
    if as_json:
        show_json({"items": found, "next": None})
        return
    _show(found)


@app.command(epilog="Example: fieldloom device credential revoke meter-3.9f3a1c20aa01 --reason key_compromise")
def revoke(
    credential: Annotated[str, typer.Argument(help="One of `fieldloom device credential list`.")],
    reason: Reason = "unspecified",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Revoke a credential for good: within seconds, at a gateway without a link when the link is back."""
    told = Api(data).call("POST", f"/credentials/{credential}/revoke", json={"reason": reason})
    if as_json:
        show_json(told)
        return
    _show([told])


def revoke_all(api: Api, name: str, reason: str) -> list[dict[str, Any]]:
    """Revoke every credential of a device that still counts, and return them."""
    known = [one for one in api.pages("/credentials", device=name) if one["revoked"] is None]
    return [api.call("POST", f"/credentials/{one['id']}/revoke", json={"reason": reason}) for one in known]


def _show(credentials: list[dict[str, Any]]) -> None:
    show_table([name.upper() for name in COLUMNS], ([one[name] for name in COLUMNS] for one in credentials))
