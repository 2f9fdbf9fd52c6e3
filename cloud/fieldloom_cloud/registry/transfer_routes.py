"""Devices as files over HTTP; these routes come before those of one device. (R5)"""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from fieldloom_cloud.auth.dependencies import Operator, Viewer, origin
from fieldloom_cloud.registry import rows, transfer
from fieldloom_cloud.registry.search import DeviceQuery
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/devices", tags=["registry"], route_class=StrictRoute)

MAX_FILE_BYTES = 64 * 1024 * 1024
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
# Without a schema: whatever is in a file, it is taken, and its rows are reported.
_FILE: dict[str, Any] = {"requestBody": {"required": True, "content": {rows.CSV: {}, rows.NDJSON: {}}}}
READERS = {rows.CSV: rows.from_csv, rows.NDJSON: rows.from_ndjson}
MEDIA = {"csv": rows.CSV, "ndjson": rows.NDJSON}


class RowFault(BaseModel):
    path: str
    reason: str


class RowReport(BaseModel):
    row: int
    id: str | None
    outcome: Literal["created", "updated", "unchanged", "refused"]
    errors: list[RowFault]


class ImportReport(BaseModel):
    dry_run: bool
    created: int
    updated: int
    unchanged: int
    refused: int
    rows: list[RowReport]


class Exported(DeviceQuery):
    """A filter, and the kind of the file."""

    format: Literal["csv", "ndjson"] = "csv"


@router.post("/import", max_body_size=MAX_FILE_BYTES, openapi_extra=_FILE)
async def import_devices(request: Request, _: Operator, dry_run: bool = False) -> ImportReport:
    """Register or change a device a row of a CSV or NDJSON file, and report of each row.

    The rows are stored as they come in, a hundred at once; one that is refused stops no other. With `dry_run` nothing
    is changed.
    """
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if told not in READERS:
        raise HTTPException(415, f"send {' or '.join(READERS)}, not {told or 'no content type'}")
    read = READERS[told](rows.lines(request.stream()))
    outcomes = await transfer.take_in(request.app.state.database, origin(request), read, dry_run=dry_run)
    counts = Counter(one.outcome for one in outcomes)
    kinds = (transfer.CREATED, transfer.UPDATED, transfer.UNCHANGED, transfer.REFUSED)
    report = {**{kind: counts[kind] for kind in kinds}, "dry_run": dry_run}
    return ImportReport.model_validate({**report, "rows": [one._asdict() for one in outcomes]})


@router.get(
    "/export", response_class=StreamingResponse, responses={200: {"content": dict.fromkeys(MEDIA.values(), _TEXT)}}
)
async def export_devices(request: Request, _: Viewer, asked: Annotated[Exported, Query()]) -> StreamingResponse:
    """Return the devices that a filter finds as a file, which `import` takes."""
    pieces = transfer.give_out(request.app.state.database, asked, as_csv=asked.format == "csv")
    first = await anext(pieces)  # what is refused is refused before the answer begins

    async def whole() -> AsyncIterator[str]:
        yield first
        async for piece in pieces:
            yield piece

    return StreamingResponse(whole(), media_type=MEDIA[asked.format])
