"""`fieldloom certificate`: who has been certified, and whose certificates count no more. (P3)"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.errors import NotFound
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

REASONS = "unspecified, key_compromise, affiliation_changed, superseded, cessation_of_operation or privilege_withdrawn"
COLUMNS = ("serial", "subject", "issued", "not_after", "revoked", "reason")

app = typer.Typer(no_args_is_help=True, help="Certificates: list and revoke them.")

Reason = Annotated[str, typer.Option(help=f"One of {REASONS}.")]


@app.command("list", epilog="Example: fieldloom certificate list --subject pump-7 --json")
def list_certificates(
    data: Data = None,
    subject: Annotated[str | None, typer.Option(help="A device or gateway; by default all, the newest 500.")] = None,
    as_json: Json = False,
) -> None:
    """List certificates, the newest first."""
    params = {"subject": subject} if subject else {}
    found = Api(data).call("GET", "/certificates", params=params)
    if as_json:
        show_json(found)
        return
    _show(found["items"])


@app.command(epilog="Example: fieldloom certificate revoke gw.site1 --reason key_compromise")
def revoke(
    name: Annotated[str, typer.Argument(help="A device, a gateway, or the serial of one certificate.")],
    reason: Reason = "unspecified",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Revoke all certificates of a device or gateway, or one by its serial; there is no way back.

    Who holds them is cut off at once, at a gateway without a link when the link is back.
    """
    revoke_all(Api(data), name, reason, as_json=as_json)


def revoke_all(api: Api, name: str, reason: str, *, as_json: bool, others: Sequence[dict[str, Any]] = ()) -> None:
    """Revoke every certificate of a name that still counts, or the one of a serial. Raises CommandFailed.

    `others` are credentials of the name that were revoked just now: then there need be no certificate.
    """
    known = api.call("GET", "/certificates", params={"subject": name})["items"]
    serials = [one["serial"] for one in known if one["revoked"] is None]
    if known and not serials and not others:
        raise NotFound(f"all certificates of {name} are revoked already")
    if not serials and not others:
        serials = [name]
    told = [api.call("POST", f"/certificates/{serial}/revoke", json={"reason": reason}) for serial in serials]
    if as_json:
        show_json({"items": [*told, *others], "next": None})
        return
    _show(told)
    if others:
        show_table(["CREDENTIAL", "REVOKED"], ([one["id"], one["revoked"]] for one in others))


def _show(certificates: list[dict[str, Any]]) -> None:
    show_table([name.upper() for name in COLUMNS], ([one[name] for name in COLUMNS] for one in certificates))
