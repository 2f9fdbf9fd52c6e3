"""The twins of the site's devices over the gateway's own HTTP interface: they work while the cloud is away. (R4)"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, FastAPI, Header, Request, Response

from fieldloom_contract.compat import loads
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine import twin
from fieldloom_engine.twin import Desired, Patch, Reported
from fieldloom_gateway.local import Refused, admit

MAX_BODY_BYTES = 64 * 1024


class Shown(NamedTuple):
    """A twin on the gateway's disk."""

    desired: Desired
    reported: Reported
    seen: int | None
    """The version that the device has, None if it was never heard of here."""


Show = Callable[[str], Awaitable[Shown]]
Change = Callable[[str, Patch, Callable[[Shown], None]], Awaitable[str | None]]
"""(device, patch, check): nothing comes between the check and the patch; returns why it was refused, if it was."""


def add_twins(app: FastAPI, token: str, show: Show, change: Change) -> None:
    """Add `GET` and `PATCH /api/v1/devices/{id}/twin` to an interface."""
    router = APIRouter(prefix="/api/v1/devices/{device_id}/twin")

    @router.get("")
    async def show_twin(
        device_id: str, response: Response, authorization: Annotated[str, Header()] = ""
    ) -> dict[str, Any]:
        admit(authorization, token)
        return _tagged(device_id, await _known(show, device_id), response)

    @router.patch("")
    async def patch_twin(
        device_id: str,
        request: Request,
        response: Response,
        authorization: Annotated[str, Header()] = "",
        if_match: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(max_length=MAX_NAME)] = None,
    ) -> dict[str, Any]:
        admit(authorization, token)
        await _known(show, device_id)
        patch = Patch(idempotency_key or secrets.token_hex(8), await _changes(request))
        if refused := await change(device_id, patch, lambda shown: _hold_against(shown, if_match, patch)):
            raise Refused(422, "Bad content", f"no device would take this: {refused}")
        return _tagged(device_id, await show(device_id), response)

    app.include_router(router)


async def _known(show: Show, device: str) -> Shown:
    shown = await show(device)
    if shown.seen is None and not shown.desired.version:
        raise Refused(404, "Not found", f"no device {device} has been heard of here")
    return shown


async def _changes(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, "Too large", f"a patch has at most {MAX_BODY_BYTES} bytes")
    try:
        told = loads(body)
    except ValueError as error:
        raise Refused(422, "Bad content", f"the body is not JSON: {error}") from None
    if not isinstance(told, dict) or told.keys() != {"desired"} or not isinstance(told["desired"], dict):
        raise Refused(422, "Bad content", 'send {"desired": {...}}, a merge patch (RFC 7396)')
    return dict(told["desired"])


def _hold_against(shown: Shown, if_match: str | None, patch: Patch) -> None:
    version = shown.desired.version
    if patch.id in shown.desired.applied:
        return
    if if_match is not None:
        if if_match.strip('"') != str(version):
            raise Refused(412, "Changed meanwhile", f"the twin is at version {version}, not {if_match}")
    elif (shown.seen or 0) > version:
        detail = f"the device has version {shown.seen} and this gateway {version}, since it lost its disk: wait for "
        raise Refused(409, "Behind", detail + f'the cloud, or begin anew with `If-Match: "{version}"`')


def _tagged(device: str, shown: Shown, response: Response) -> dict[str, Any]:
    response.headers["ETag"] = f'"{shown.desired.version}"'
    desired, reported = shown.desired, shown.reported
    return {
        "device": device,
        "version": desired.version,
        "desired": desired.values,
        "reported_version": reported.version,
        "reported": reported.values,
        "errors": reported.errors,
        "delta": twin.delta(desired.values, reported.values),
        "pending": [],  # as the cloud answers, so that `fieldloom device twin` works here too: an owner decides at once
    }
