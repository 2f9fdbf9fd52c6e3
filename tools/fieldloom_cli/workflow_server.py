"""`fieldloom workflow deploy|list|show|start|check|undeploy` and of instances: workflows at a cloud. (W4, W5, W7)"""

import json
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_cli import definition_file
from fieldloom_cli.api import Api
from fieldloom_cli.definition_file import placed
from fieldloom_cli.errors import CommandFailed, NotFound
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_cli.rule import refusal

FINAL = ("succeeded", "failed", "terminated")
POLL_S = 0.2
INSTANCES = 20
COLUMNS = ("id", "workflow", "version", "status", "device", "created")

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Workflows, a file each, YAML or JSON.")]
Workflow = Annotated[str, typer.Argument(metavar="ID", help="One of `fieldloom workflow list`.")]
Instance = Annotated[str, typer.Argument(metavar="INSTANCE", help="One of `fieldloom workflow list ID`.")]
Version = Annotated[str | None, typer.Option(help="By default the one that starts instances.")]
Values = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A variable; its value as JSON, or a text.")
]


def deploy(files: Files, data: Data = None, as_json: Json = False) -> None:
    """Deploy workflows; nothing is sent while a file has a fault. Instances that run finish on their version."""
    documents = [document(file) for file in files]
    api = Api(data)
    deployed = [_deploy(api, file, one) for file, one in zip(files, documents, strict=True)]
    if as_json:
        show_json({"items": deployed})
        return
    for one in deployed:
        print(f"{one['id']} {one['version']} is deployed.")
        for warned in one["warnings"]:
            print(f"  warning: {warned['path']}: {warned['reason']}")


def list_workflows(
    workflow: Annotated[str | None, typer.Argument(metavar="[ID]", help="List the instances of this one.")] = None,
    status: Annotated[str | None, typer.Option(help="Instances that are waiting, failed, ...")] = None,
    device: Annotated[str | None, typer.Option(help="Instances that are about a device.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many instances, the newest.")] = INSTANCES,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List the workflows that are deployed; with ID, --status or --device, instances."""
    api = Api(data)
    wanted = {"workflow": workflow, "status": status, "device": device}
    told = {name: value for name, value in wanted.items() if value is not None}
    if told:
        found = api.call("GET", "/instances", params={**told, "limit": limit})["items"]
    else:
        found = list(api.pages("/workflows"))
    if as_json:
        show_json({"items": found, "next": None})
    elif told:
        rows = ([*(one[name] for name in COLUMNS), ", ".join(one["states"])] for one in found)
        show_table([*(name.upper() for name in COLUMNS), "STATES"], rows)
    else:
        names = ("id", "version", "name", "description")
        rows = ([*(one[name] for name in names), _counts(one["instances"])] for one in found)
        show_table([*(name.upper() for name in names), "INSTANCES"], rows)


def start(
    workflow: Workflow,
    values: Values = None,
    device: Annotated[str | None, typer.Option(help="The device that it is about: `device_id`.")] = None,
    version: Version = None,
    key: Annotated[str | None, typer.Option(help="Sent again with the same key, it starts once.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for its end.")] = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Start an instance; with --wait, until its end (exit code 1 unless it has succeeded)."""
    variables = _variables(values) | ({"device_id": device} if device else {})
    body = {"variables": variables, **({"version": version} if version else {})}
    api = Api(data)
    headers = {"Idempotency-Key": key or secrets.token_hex(8)}
    begun = api.call("POST", f"/workflows/{workflow}/start", json=body, headers=headers)
    if not wait:
        if as_json:
            show_json(begun)
        else:
            reason = f" ({begun['reason']})" if begun["reason"] else ""
            print(f"{begun['id']} is {begun['outcome']}{reason}.")
        return
    found = _after(api, begun["id"], wait)
    _show(found, as_json=as_json)
    if found["status"] != "succeeded":
        raise typer.Exit(1)


def show(
    name: Annotated[str, typer.Argument(metavar="ID|INSTANCE", help="A workflow that is deployed, or an instance.")],
    version: Version = None,
    as_document: Annotated[bool, typer.Option("--document", help="Print the workflow itself, as JSON.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show a workflow with its versions, or an instance with all that it has done."""
    api = Api(data)
    try:
        found = api.call("GET", f"/workflows/{name}", params={"version": version} if version else {})
    except NotFound:
        _show(_whole(api, name), as_json=as_json)
        return
    if as_document:
        print(json.dumps(found["document"], indent=2, ensure_ascii=False))
    elif as_json:
        show_json(found)
    else:
        print(f"{found['id']} {found['version']}: {found['name']}")
        if found["description"]:
            print(found["description"])
        rows = ([one["version"], one["created"], _counts(one["instances"])] for one in found["versions"])
        show_table(["VERSION", "CREATED", "INSTANCES"], rows)
        if found["gateways"]:
            print()
            rows = ([one["gateway"], one["version"], one["status"], refusal(one)] for one in found["gateways"])
            show_table(["GATEWAY", "VERSION", "STATUS", "WHY"], rows)


def terminate(
    instance: Instance,
    reason: Annotated[str, typer.Option(help="Why; it stands in the history.")],
    undo: Annotated[bool, typer.Option("--undo/--no-undo", help="Whether what it did is undone first.")] = True,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """End an instance."""
    _act(Api(data), instance, "terminate", {"reason": reason, "undo": undo}, as_json=as_json)


def signal(
    instance: Instance,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="The type of the event that it waits for.")],
    values: Values = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """End a wait of an instance, as an approval does; what is --set is the event's data."""
    _act(Api(data), instance, "signal", {"type": kind, "data": _variables(values)}, as_json=as_json)


def retry(
    instance: Instance,
    state: Annotated[str | None, typer.Option(help="By default the one in which it failed.")] = None,
    values: Values = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Begin again with an instance that is over, at a state."""
    body = {"variables": _variables(values), **({"state": state} if state else {})}
    _act(Api(data), instance, "retry", body, as_json=as_json)


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A workflow, YAML or JSON.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say which running instances could not go on under a file, and where (exit code 1 if there is any).

    They finish on their own version in any case.
    """
    told = document(file)
    found = Api(data).call("POST", f"/workflows/{told['id']}/check", json={"document": told})
    if as_json:
        show_json(found)
    else:
        rows = [
            (one["instance"], one["version"], part["state"], part["reason"])
            for one in found["items"]
            for part in one["breaks"]
        ]
        if rows:
            show_table(["INSTANCE", "VERSION", "STATE", "WHY"], rows)
        of = "" if found["complete"] else " of more"
        print(f"{found['checked']}{of} instances checked, {len(found['items'])} could not go on")
    if found["items"]:
        raise typer.Exit(1)


def undeploy(
    workflow: Workflow,
    version: Annotated[str | None, typer.Option(help="By default all.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let a version, or all, start nothing any more; instances that run go on to their end."""
    Api(data).call("DELETE", f"/workflows/{workflow}", params={"version": version} if version else {})
    if as_json:
        show_json({"id": workflow, "version": version, "undeployed": True})
        return
    print(f"{workflow}{f' {version}' if version else ''} is undeployed.")


def document(file: Path) -> dict[str, Any]:
    """Return the workflow of a file. Raises CommandFailed with each fault on a line."""
    told = definition_file.engine("workflows").check(file)
    if told["faults"]:
        faults = (placed(file, fault) for fault in told["faults"])
        raise CommandFailed("\n  ".join([f"{file} is no workflow:", *faults]))
    found: dict[str, Any] = told["document"]
    return found


def _deploy(api: Api, file: Path, told: dict[str, Any]) -> dict[str, Any]:
    try:
        deployed: dict[str, Any] = api.call("PUT", f"/workflows/{told['id']}", json={"document": told})
    except CommandFailed as error:
        raise type(error)(f"{file}: {error}") from None
    return deployed


def _act(api: Api, instance: str, verb: str, body: dict[str, Any], *, as_json: bool) -> None:
    told = api.call("POST", f"/instances/{instance}/{verb}", json=body)
    if as_json:
        show_json(told)
        return
    print(f"{instance} of {told['workflow']} was {told['status']}, and is told.")


def _after(api: Api, instance: str, wait: float) -> dict[str, Any]:
    """Return an instance once it is over, or as it is after so many seconds; a queued one is not there yet."""
    until = time.monotonic() + wait
    while True:
        try:
            found = api.call("GET", f"/instances/{instance}")
        except NotFound:
            found = None
        if found is not None and (found["status"] in FINAL or time.monotonic() > until):
            return _whole(api, instance)
        if time.monotonic() > until:
            raise CommandFailed(f"{instance} still waits for its turn")
        time.sleep(POLL_S)


def _whole(api: Api, instance: str) -> dict[str, Any]:
    """Return an instance with all of its history."""
    found: dict[str, Any] = api.call("GET", f"/instances/{instance}")
    following = found["next"]
    while following is not None:
        more = api.call("GET", f"/instances/{instance}", params={"after": following})
        found["history"] += more["history"]
        following = more["next"]
    return found | {"next": None}


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    about = f", about {found['device']}" if found["device"] else ""
    print(f"{found['id']} of {found['workflow']} {found['version']}{about}: {found['status']}")
    for name in ("gateway", "fault", "correlation", "deadline"):
        if found[name]:
            print(f"{name}: {found[name]}")
    for one in found["awaits"]:
        print(f"waits for {one['type']} of {one['key'] or 'any'}")
    for one in found["effects"]:
        print(f"has asked for {one['kind']}: {one['status']}, {one['attempts']} attempts")
    for one in found["requests"]:
        why = f": {one['refused']}" if one["refused"] else ""
        print(f"{one['gateway']} was asked to {one['kind']} ({one['about']}): {one['status']}{why}")
    rows = [(one["at"], one["state"] or one["kind"], one["outcome"], _took(one), _why(one)) for one in found["history"]]
    show_table(["AT", "STATE", "OUTCOME", "TOOK", "WHAT"], rows)
    if found["failure"] and not rows:
        print(f"failed: {found['failure']['message']}")
    if found["output"] is not None:
        print(f"output: {json.dumps(found['output'], ensure_ascii=False)}")


def _took(record: dict[str, Any]) -> str:
    return "" if record["took_ms"] is None else f"{record['took_ms'] / 1000:g} s"


def _why(record: dict[str, Any]) -> str:
    if record["failure"]:
        return str(record["failure"]["message"])
    if record["reason"]:
        return str(record["reason"])
    return ", ".join(one["kind"] for one in record["actions"])


def _variables(told: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in told or []:
        name, equals, text = one.partition("=")
        if not (name and equals):
            raise CommandFailed(f"{one} is no NAME=VALUE")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)
