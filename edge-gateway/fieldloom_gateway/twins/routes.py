"""The twins of the site's devices over the gateway's own HTTP interface: they work while the cloud is away. (R4)"""

import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, FastAPI, Header, Request, Response

from fieldloom_contract.compat import loads
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine import twin
from fieldloom_engine.twin import Desired, Patch, Reported
from fieldloom_gateway.ingest.twins import Decided, Row
from fieldloom_gateway.local import Refused, admit

MAX_BODY_BYTES = 64 * 1024


class Shown(NamedTuple):
    """A twin as this gateway knows it."""

    desired: Desired
    reported: Reported
    seen: int | None
    """The version that the device has, None if it was never heard of here."""
    pending: list[Row]
    """The patches that wait here until the site decides."""


class Ports(NamedTuple):
    """What the routes are over."""

    show: Callable[[str], Awaitable[Shown]]
    ask: Callable[[str, Patch, int | None], Awaitable[Decided | str | None]]
    """As `Runtime.ask`."""


def add_twins(app: FastAPI, token: str, ports: Ports) -> None:
    """Add `GET` and `PATCH /api/v1/devices/{id}/twin` to an interface."""
    router = APIRouter(prefix="/api/v1/devices/{device_id}/twin")

    @router.get("")
    async def show_twin(
        device_id: str, response: Response, authorization: Annotated[str, Header()] = ""
    ) -> dict[str, Any]:
        admit(authorization, token)
        return _tagged(device_id, await _known(ports, device_id), response)

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
        shown = await _known(ports, device_id)
        patch = Patch(idempotency_key or secrets.token_hex(8), await _changes(request))
        expected = _hold_against(shown, if_match, patch)
        try:
            answer = await ports.ask(device_id, patch, expected)
        except sqlite3.Error as error:
            raise Refused(503, "Not available", f"the disk has not taken it: {error}") from None
        if answer is None:
            response.status_code = 202  # no majority of the site's gateways has decided yet
        else:
            _look_at(answer, if_match)
        return _tagged(device_id, await ports.show(device_id), response)

    app.include_router(router)


async def _known(ports: Ports, device: str) -> Shown:
    shown = await ports.show(device)
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


def _hold_against(shown: Shown, if_match: str | None, patch: Patch) -> int | None:
    """Return the version for which alone a patch is meant, None for any. Raises Refused."""
    version = shown.desired.version
    if any(answer.id == patch.id for answer in shown.desired.answers):
        return None
    if if_match is not None:
        if if_match.strip('"') != str(version):
            raise _changed(version, if_match)
        return version
    if (shown.seen or 0) > version:
        detail = f"the device has version {shown.seen} and this gateway {version}, since it lost its disk: wait for "
        raise Refused(409, "Behind", detail + f'the cloud, or begin anew with `If-Match: "{version}"`')
    return None


def _look_at(answer: Decided | str, if_match: str | None) -> None:
    """Raise Refused for a patch that was not applied."""
    if isinstance(answer, Decided) and answer.is_late:
        raise _changed(answer.desired.version, if_match)
    refused = answer if isinstance(answer, str) else answer.error
    if refused is not None:
        raise Refused(422, "Bad content", f"no device would take this: {refused}")


def _changed(version: int, if_match: str | None) -> Refused:
    return Refused(412, "Changed meanwhile", f"the twin is at version {version}, not {if_match}")


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
        "pending": [_pending(row) for row in shown.pending],  # as the cloud answers, so that its command works here
    }


def _pending(row: Row) -> dict[str, Any]:
    changes = row.told.changes if isinstance(row.told, Patch) else {}
    created = datetime.fromtimestamp(row.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": row.patch, "desired": changes, "created": created}
