"""`fieldloom rule`: what fires when, from a file to the fleet. (E2, E5, E6, E10)"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_cli import rule_file
from fieldloom_cli.api import Api
from fieldloom_cli.backtest import backtest
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_cli.rule_file import Files, document, values_shown

COLUMNS = ("id", "version", "mode", "placement", "description")
FIRINGS = 10

app = typer.Typer(no_args_is_help=True, help="Rules: check, try, explain, deploy and see them at work.")

Rule = Annotated[str, typer.Argument(metavar="ID", help="One of `fieldloom rule list`.")]
Shadow = Annotated[bool, typer.Option("--shadow", help="It is judged and recorded, and does nothing.")]

app.command(epilog="Example: fieldloom rule validate rules/*.yaml")(rule_file.validate)
app.command(epilog="Example: fieldloom rule test rules/overheat.yaml --json")(rule_file.test)
app.command(epilog="Example: fieldloom rule explain overheat.yaml --event event.json")(rule_file.explain)
app.command(epilog="Example: fieldloom rule schema > rule.schema.json")(rule_file.schema)
app.command(epilog="Example: fieldloom rule backtest overheat.yaml --since 30d --against overheat-2.yaml")(backtest)


@app.command("list", epilog="Example: fieldloom rule list --json")
def list_rules(data: Data = None, as_json: Json = False) -> None:
    """List the rules that are deployed, each in the version that is at work."""
    found = list(Api(data).pages("/rules"))
    if as_json:
        show_json({"items": found, "next": None})
        return
    rows = ([*(one[name] for name in COLUMNS), _gateways(one["gateways"])] for one in found)
    show_table([*(name.upper() for name in COLUMNS), "GATEWAYS"], rows)


@app.command(epilog="Example: fieldloom rule show overheat")
def show(
    rule: Rule,
    version: Annotated[str | None, typer.Option(help="By default the one at work.")] = None,
    as_document: Annotated[bool, typer.Option("--document", help="Print the rule itself, as JSON.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show a rule: its versions, the gateways that apply it, and why it fired last."""
    api = Api(data)
    found = api.call("GET", f"/rules/{rule}", params={"version": version} if version else {})
    if as_document:
        print(json.dumps(found["document"], indent=2, ensure_ascii=False))
        return
    firings = api.call("GET", f"/rules/{rule}/firings", params={"limit": FIRINGS})["items"]
    if as_json:
        show_json({**found, "firings": firings})
        return
    _say(found)
    if found["description"]:
        print(found["description"])
    show_table(["VERSION", "CREATED"], ([one["version"], one["created"]] for one in found["versions"]))
    if found["gateways"]:
        print()
        rows = ([one["gateway"], one["version"], one["status"], refusal(one)] for one in found["gateways"])
        show_table(["GATEWAY", "VERSION", "STATUS", "WHY"], rows)
    if firings:
        print()
        rows = ([one["at"], one["device"], one["mode"], _does(one), values_shown(one["values"])] for one in firings)
        show_table(["FIRED AT", "DEVICE", "MODE", "DOES", "VALUES"], rows)


@app.command(epilog="Example: fieldloom rule deploy rules/*.yaml --shadow")
def deploy(files: Files, shadow: Shadow = False, data: Data = None, as_json: Json = False) -> None:
    """Put rules to work, in the cloud and at gateways as they say; nothing is sent while a file has a fault."""
    documents = [document(file) for file in files]
    api = Api(data)
    deployed = [_deploy(api, file, one, shadow=shadow) for file, one in zip(files, documents, strict=True)]
    if as_json:
        show_json({"items": deployed})
        return
    for one in deployed:
        _say(one)
        for warned in one["warnings"]:
            print(f"  warning: {warned['path']}: {warned['reason']}")


@app.command(epilog="Example: fieldloom rule activate overheat --version 1.1.0")
def activate(
    rule: Rule,
    version: Annotated[str | None, typer.Option(help="By default the one at work.")] = None,
    shadow: Shadow = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Put a version that was deployed to work, or take the one at work out of the shadow, or into it."""
    _activate(Api(data), rule, version, shadow=shadow, as_json=as_json)


@app.command(epilog="Example: fieldloom rule rollback overheat")
def rollback(
    rule: Rule,
    to: Annotated[str | None, typer.Option(help="By default the one deployed before the one at work.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Go back to an earlier version; its mode stays."""
    api = Api(data)
    found = api.call("GET", f"/rules/{rule}")
    _activate(api, rule, to or _before(found), shadow=found["mode"] == "shadow", as_json=as_json)


@app.command(epilog="Example: fieldloom rule delete overheat")
def delete(rule: Rule, data: Data = None, as_json: Json = False) -> None:
    """Delete a rule with all its versions, at the gateways too; what it has told stays."""
    Api(data).call("DELETE", f"/rules/{rule}")
    if as_json:
        show_json({"id": rule, "deleted": True})
        return
    print(f"{rule} is deleted.")


def _deploy(api: Api, file: Path, told: dict[str, Any], *, shadow: bool) -> dict[str, Any]:
    body = {"document": told, "mode": "shadow" if shadow else "active"}
    try:
        deployed: dict[str, Any] = api.call("PUT", f"/rules/{told['id']}", json=body)
    except CommandFailed as error:
        raise type(error)(f"{file}: {error}") from None
    return deployed


def _activate(api: Api, rule: str, version: str | None, *, shadow: bool, as_json: bool) -> None:
    body = {"mode": "shadow" if shadow else "active", **({"version": version} if version else {})}
    found = api.call("POST", f"/rules/{rule}/activate", json=body)
    if as_json:
        show_json(found)
        return
    _say(found)


def _before(found: dict[str, Any]) -> str:
    versions = [one["version"] for one in sorted(found["versions"], key=lambda one: one["created"])]
    at = versions.index(found["version"])
    if at == 0:
        raise CommandFailed(f"{found['id']} {found['version']} is its first version: there is none to go back to")
    return str(versions[at - 1])


def _say(rule: dict[str, Any]) -> None:
    print(f"{rule['id']} {rule['version']} is {rule['mode']}, placement {rule['placement']}.")


def _gateways(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def refusal(gateway: dict[str, Any]) -> str:
    """Return why a gateway has refused what it was told, and which version it goes on with."""
    told = "; ".join(f"{fault['path']}: {fault['reason']}" for fault in gateway["faults"])
    return f"{told} (runs {gateway['applied']})" if told and gateway["applied"] else told


def _does(firing: dict[str, Any]) -> str:
    done = [effect["kind"] for effect in firing["effects"] if not effect["withheld"]]
    return ", ".join(done) or "nothing"
